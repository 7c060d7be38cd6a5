"""The fields of a message's header put right, one repair after the other.

A repair of the header takes the fields and gives others back, with what it did; the order is that of `_ORDER`. Those
that encode come first, so that those behind them see ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate, getaddresses, parsedate

from relayprobe.relay.repair import fields as header
from relayprobe.relay.repair.address import repaired_address
from relayprobe.relay.repair.encoded import LONGEST, encoded
from relayprobe.relay.repair.fields import Field
from relayprobe.relay.repair.terms import Terms
from relayprobe.rules.header import OLDEST
from relayprobe.wire.message import addresses

_ONCE = frozenset(
    "from sender reply-to to cc bcc message-id in-reply-to references subject date mime-version content-type "
    "content-transfer-encoding".split()
)
_LISTS = frozenset(["to", "cc", "bcc", "reply-to"])
_SEMICOLONS = frozenset(["from", "to", "cc", "reply-to"])
_GROUP = re.compile(rb"(?:^|,)[^,;:<>@]*:[^;]*;")  # RFC 5322 3.4: `undisclosed-recipients:;`
_APART = re.compile(rb'"(?:[^"\\]|\\.)*"|\([^()]*\)|<[^<>]*>|;|[^"(<;]+|.', re.DOTALL)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


@dataclass(slots=True)
class Change:
    """What one repair did, gathered while it works. `names`: the fields it touched."""

    id: str
    says: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def did(self, name: str, says: str) -> None:
        """Note that a field was changed."""
        self.says.append(says)
        self.names.add(name)


def mended(fields: list[Field], terms: Terms) -> tuple[list[Field], list[Change], list[str]]:
    """The fields put right, what was done, and what was left as it is."""
    changes: list[Change] = []
    left: list[str] = []
    for id, repair in _ORDER.items():
        if id in terms.off:
            continue
        change = Change(id)
        fields = repair(fields, terms, change, left)
        if change.says:
            changes.append(change)
    return fields, changes, left


def _once(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    """The first of each field stays that says anything; lists of addresses are put together."""
    groups: dict[str, list[Field]] = {}
    for one in fields:
        if one.name in _ONCE:
            groups.setdefault(one.name, []).append(one)
    if all(len(group) == 1 for group in groups.values()):
        return fields
    chosen: dict[str, Field] = {}
    for name, group in groups.items():
        if len(group) == 1:
            continue
        told = [one for one in group if one.value] or group
        written = told[0].written.decode("ascii")
        if name in _LISTS:
            chosen[name] = header.field(told[0].written, b", ".join(one.value for one in told))
            change.did(name, f"{len(group)} fields {written} were made one")
        else:
            chosen[name] = told[0]
            change.did(name, f"of {len(group)} fields {written} the first was kept")
    kept, seen = [], set()
    for one in fields:
        if one.name not in chosen:
            kept.append(one)
        elif one.name not in seen:
            seen.add(one.name)
            kept.append(chosen[one.name])
    return kept


def _encode(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    kept = []
    for one in fields:
        if one.name and not one.raw.isascii():
            new = encoded(one)
            if new.raw != one.raw:
                change.did(one.name, f"{_written(one)} was encoded")
            if not new.raw.isascii():
                valid = _is_utf8(new.raw)
                if not (terms.smtputf8 and valid):
                    left.append(
                        f"an address in {_written(one)} has letters beyond ASCII, which the other side may refuse"
                    )
            kept.append(new)
        else:
            kept.append(one)
    return kept


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _semicolons(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    kept = []
    for one in fields:
        value = one.value
        due = one.name in _SEMICOLONS and b";" in value and b"@" in value and len(value) <= LONGEST
        if due and not _GROUP.search(value):
            tokens = [b"," if token == b";" else token for token in _APART.findall(value)]
            pieces = [piece.strip() for piece in _split(tokens)]
            new = b", ".join(piece for piece in pieces if piece)
            if b"," in tokens:
                change.did(one.name, f"commas stand in {_written(one)} where semicolons did")
                one = header.field(one.written, new)  # noqa: PLW2901
        kept.append(one)
    return kept


def _split(tokens: list[bytes]) -> list[bytes]:
    pieces: list[list[bytes]] = [[]]
    for token in tokens:
        if token == b",":
            pieces.append([])
        else:
            pieces[-1].append(token)
    return [b"".join(piece) for piece in pieces]


def _from_missing(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    old = next((one for one in fields if one.name == "from"), None)
    if old and _named(old.value):
        return fields
    address = terms.mailbox if terms.rewrite else None
    address = address or repaired_address(terms.sender, terms.domain)[0]
    address = address or next((a for a in _named(header.first(fields, "sender"))), None) or terms.mailbox
    if not address:  # RFC 5322 3.6 wants one of every message, a report's too, and Office 365 refuses what has none
        address = f"MAILER-DAEMON@{terms.domain or terms.name}"
    if not address.isascii():
        left.append("there is no From, and the sender of the envelope has letters beyond ASCII")
        return fields
    if old is None:
        change.did("from", f"From: {address} was added")
        return [header.field(b"From", address.encode()), *fields]
    name = old.value.decode("latin-1").replace("<>", "").strip(' "<>')
    change.did("from", f"From had no address, and was given {address}")
    new = header.field(b"From", _mailbox(name, address))
    return [new if one is old else one for one in fields]


def _rewritten(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    mailbox = terms.mailbox
    old = next((one for one in fields if one.name == "from"), None)
    if not (terms.rewrite and mailbox and old):
        return fields
    named = _named(old.value)
    fields = _without_sender(fields, mailbox, terms, change)
    if not named or all(address.casefold() == mailbox.casefold() or terms.stays(address) for address in named):
        return fields
    pairs = _pairs(old.value)
    name = (pairs[0][0] if pairs else "") or named[0]
    new = header.field(old.written, _mailbox(name, mailbox))
    change.did("from", f"From names {mailbox} in place of {', '.join(named)[:200]}")
    fields = [new if one is old else one for one in fields]
    others = [address for address in named if repaired_address(address, None)[0] and address.isascii()]
    others = [address for address in others if address.casefold() != mailbox.casefold()]
    if others and not _named(header.first(fields, "reply-to")):
        names = {address: name for name, address in pairs}
        answers = b", ".join(_mailbox(names.get(address, ""), address) for address in others)
        fields = [one for one in fields if one.name != "reply-to"]
        fields.append(header.field(b"Reply-To", answers))
        change.did("reply-to", "answers go to the old address (Reply-To)")
    return fields


def _without_sender(fields: list[Field], mailbox: str, terms: Terms, change: Change) -> list[Field]:
    other = header.first(fields, "sender")
    named = _named(other)
    if not other or (len(named) == 1 and (named[0].casefold() == mailbox.casefold() or terms.stays(named[0]))):
        return fields
    change.did("sender", "Sender, which named another mailbox, was taken away")
    return [one for one in fields if one.name != "sender"]


def _sender(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    named = _named(header.first(fields, "from"))
    if len(named) < 2 or _named(header.first(fields, "sender")) or not named[0].isascii():
        return fields
    change.did("sender", f"Sender: {named[0]} was added, the first of {len(named)} addresses in From")
    return [*(one for one in fields if one.name != "sender"), header.field(b"Sender", named[0].encode())]


def _date(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    if header.first(fields, "date"):
        return fields
    now = formatdate(terms.arrived)
    change.did("date", f"Date: {now} was added, the time at which the mail arrived")
    return [*(one for one in fields if one.name != "date"), header.field(b"Date", now.encode())]


def _old_date(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    value = header.first(fields, "date").decode("latin-1")[:200]
    if not value:
        return fields
    told = _told(value)
    if told is not None and told >= OLDEST:
        return fields
    now = formatdate(terms.arrived)
    change.did("date", f"Date is now {now}, the time at which the mail arrived; it said {value[:60]}")
    new = header.field(b"Date", now.encode())
    old = Field("x-original-date", header.field(b"X-Original-Date", value.encode("latin-1")).raw)
    return [*(new if one.name == "date" else one for one in fields), old]


def _told(value: str) -> int | None:
    """The year of a date; None where it cannot be read."""
    try:
        date = parsedate(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date[0] if date else None


def _message_id(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    if header.first(fields, "message-id").strip(b"<> "):
        return fields
    name = f"<{terms.id}@{terms.name}>"
    change.did("message-id", f"Message-ID: {name} was added")
    return [*(one for one in fields if one.name != "message-id"), header.field(b"Message-ID", name.encode())]


def _bcc(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    hidden = ("bcc", "resent-bcc")
    if any(one.name in hidden for one in fields):
        change.did("bcc", "Bcc was taken away")
    return [one for one in fields if one.name not in hidden]


def _multipart(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    encoding = header.first(fields, "content-transfer-encoding").lower()
    kind = header.media_type(header.first(fields, "content-type"))
    if not kind.startswith("multipart/") or encoding not in (b"base64", b"quoted-printable"):
        return fields
    said = f"Content-Transfer-Encoding: {encoding.decode()} was taken away from {kind[:60]}"
    change.did("content-transfer-encoding", said)
    return [one for one in fields if one.name != "content-transfer-encoding"]


def _fold(fields: list[Field], terms: Terms, change: Change, left: list[str]) -> list[Field]:
    kept = []
    for one in fields:
        if header.overlong(one.raw):
            new = replace(one, raw=header.folded(one.raw))
            if new.raw != one.raw:
                change.did(one.name, f"{_written(one)} was folded")
            if header.overlong(new.raw):
                left.append(f"{_written(one)} has a line of more than 998 octets without a blank to fold it at")
            kept.append(new)
        else:
            kept.append(one)
    return kept


_Repair = Callable[[list[Field], Terms, Change, list[str]], list[Field]]

_ORDER: dict[str, _Repair] = {
    "duplicate-fields": _once,
    "header-encoded": _encode,
    "list-semicolons": _semicolons,
    "bcc": _bcc,
    "from-missing": _from_missing,
    "from-rewritten": _rewritten,
    "sender-missing": _sender,
    "date-missing": _date,
    "date-old": _old_date,
    "message-id-missing": _message_id,
    "multipart-encoding": _multipart,
    "long-lines": _fold,
}


def _named(value: bytes) -> list[str]:
    return [a for a in addresses([value[:LONGEST].decode("utf-8", "surrogateescape")]) if "@" in a]


def _pairs(value: bytes) -> list[tuple[str, str]]:
    try:
        return [pair for pair in getaddresses([value[:4096].decode("utf-8", "surrogateescape")]) if pair[1]]
    except (RecursionError, ValueError, IndexError, AttributeError):  # of four thousand parentheses, for one
        return []


def _mailbox(name: str, address: str) -> bytes:
    """`Name <address>`, the name in quotes where it has to be."""
    if not name:
        return address.encode("utf-8", "surrogateescape")
    if not _ATOMS.fullmatch(name) and "=?" not in name:
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address}>".encode("utf-8", "surrogateescape")


def _written(one: Field) -> str:
    return one.written.decode("ascii", "replace")[:60]
