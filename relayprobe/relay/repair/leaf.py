"""What becomes of one part of a text: decided from its type, its encoding, and what was counted in it."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass, replace

from relayprobe.relay.repair import fields as header
from relayprobe.relay.repair.encoded import encoded
from relayprobe.relay.repair.fields import Field
from relayprobe.relay.repair.parts import Head, Part
from relayprobe.relay.repair.recoding import AsItIs, Base64, Quoted, Recoding, ToBase64, ToQuoted
from relayprobe.relay.repair.terms import Terms
from relayprobe.wire.body import LineCounter
from relayprobe.wire.events import LineFacts

_IDENTITY = frozenset(["", "7bit", "8bit", "binary"])
_TOLD = frozenset(["8bit", "binary"])


class Count:
    """Counts what is in a part while it streams by."""

    def __init__(self) -> None:
        self._lines = LineCounter()
        self._decoder = getincrementaldecoder("utf-8")()
        self._plain = True
        self.utf8 = True
        self.nuls = 0

    def feed(self, data: bytes) -> None:
        """Count what is in a piece."""
        self._lines.feed(data)
        self.nuls += data.count(b"\0")
        if self.utf8 and not (self._plain and data.isascii()):
            self._plain = False
            try:
                self._decoder.decode(data)
            except UnicodeDecodeError:
                self.utf8 = False

    @property
    def facts(self) -> LineFacts:
        """What was counted of the lines."""
        return self._lines.facts(ended=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to a part: how its text is written anew, and what its header says then (None: as before).

    `ids`: the repairs this makes. `left`: what stays wrong, in words.
    """

    recoding: Callable[[], Recoding] | None = None
    encoding: str | None = None
    charset: str | None = None
    ids: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.recoding or self.encoding or self.charset)


def planned(part: Part, count: Count, block: bytes, terms: Terms) -> Plan:
    """What is done to a part with this header."""
    facts = count.facts
    long = facts.overlong > 0 and "long-lines" not in terms.off
    high = facts.eight_bit and not terms.eight_bit and "eight-bit" not in terms.off
    nul = facts.nul and "nul" not in terms.off
    ids = tuple(id for id, due in (("long-lines", long), ("eight-bit", high), ("nul", nul)) if due)
    if not (ids or facts.eight_bit):
        return Plan()
    text = part.type.startswith("text/")
    if part.kind == "leaf" and part.encoding == "base64":
        return Plan(Base64, ids=ids) if ids else Plan()
    if part.kind == "leaf" and part.encoding == "quoted-printable":
        return Plan(lambda: Quoted(ascii_only=high), ids=ids) if ids else Plan()
    if part.kind == "leaf" and part.encoding in _IDENTITY and not part.type.startswith("message/"):
        if text and (long or high):
            plan = Plan(ToQuoted, "quoted-printable", ids=ids)
        elif ids and not text:
            plan = Plan(ToBase64, "base64", ids=ids)
        else:
            plan = Plan(AsItIs if nul else None, ids=ids)
        return _declared(plan, part, count, block, terms)
    if part.kind == "sealed":
        return Plan(left=tuple(_undone(facts, terms, part.why or "it is sealed")))
    why = "it is no part of its own" if part.kind == "outside" else f"it is {part.encoding or part.type}"
    rest = tuple(_undone(replace(facts, nul=False), terms, why))
    return Plan(AsItIs if nul else None, ids=("nul",) if nul else (), left=rest)


def _declared(plan: Plan, part: Part, count: Count, block: bytes, terms: Terms) -> Plan:
    """The plan, with what has to be said of letters beyond ASCII."""
    if not count.facts.eight_bit or "text-declared" in terms.off:
        return plan
    encoding = plan.encoding or ("8bit" if part.encoding not in _TOLD else None)
    charset = None
    if part.type.startswith("text/") and _says_nothing(block) and (count.utf8 or part.type != "text/html"):
        charset = "utf-8" if count.utf8 else "windows-1252"
    told = encoding is not None and plan.encoding is None
    ids = (*plan.ids, "text-declared") if told or charset else plan.ids
    return replace(plan, encoding=encoding, charset=charset, ids=ids)


def _says_nothing(block: bytes) -> bool:
    return header.charset(header.first(header.parsed(block), "content-type")) in ("", "us-ascii")


def _undone(facts: LineFacts, terms: Terms, why: str) -> list[str]:
    faults = (
        (facts.overlong, "lines of more than 998 octets"),
        (facts.eight_bit and not terms.eight_bit, "letters beyond ASCII, which the other side does not take"),
        (facts.nul, "NUL octets"),
    )
    return [f"a part of the text has {fault}, and was left as it is: {why}" for there, fault in faults if there]


def told(fields: list[Field], plan: Plan) -> list[Field]:
    """The fields of a part's header, with what the plan has them say."""
    if plan.charset:
        value = header.first(fields, "content-type") or b"text/plain"
        value = header.without_charset(value) + b"; charset=" + plan.charset.encode()
        fields = _set(fields, b"Content-Type", value)
    if plan.encoding:
        fields = _set(fields, b"Content-Transfer-Encoding", plan.encoding.encode())
    return fields


def _set(fields: list[Field], name: bytes, value: bytes) -> list[Field]:
    new = header.field(name, value)
    if not any(one.name == new.name for one in fields):
        return [*fields, new]
    found = next(at for at, one in enumerate(fields) if one.name == new.name)
    return [new if at == found else one for at, one in enumerate(fields) if at <= found or one.name != new.name]


def written(head: Head, plan: Plan, terms: Terms) -> tuple[bytes, tuple[str, ...]]:
    """The header of a part as it goes up, and the repairs made in it, but for those of the plan."""
    block = head.block
    due = not block.isascii() or b"\0" in block or header.overlong(block) > 0
    if not (due or plan.encoding or plan.charset):
        return block, ()
    ids = []
    if b"\0" in block and "nul" not in terms.off:
        block = block.replace(b"\0", b"")
        ids.append("nul")
    closed = block.endswith(b"\r\n\r\n") or block == b"\r\n"
    fields = header.parsed(block.removesuffix(b"\r\n") if closed else block)
    if not block.isascii() and "header-encoded" not in terms.off:
        fields = [encoded(one) if one.name and not one.raw.isascii() else one for one in fields]
        ids.append("header-encoded")
    fields = told(fields, plan)
    if "long-lines" not in terms.off and any(header.overlong(one.raw) for one in fields):
        fields = [replace(one, raw=header.folded(one.raw)) if header.overlong(one.raw) else one for one in fields]
        ids.append("long-lines")
    return header.joined(fields) + (b"\r\n" if closed or plan.changes else b""), tuple(ids)
