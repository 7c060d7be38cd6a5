"""An address of the envelope, from what a device wrote to what SMTP takes.

Devices put names, quotes and blanks around an address, or leave its domain out. What cannot be made an address for
certain is none: a guess would send mail to a stranger. Control characters are never passed on (they would end the
command and begin another).
"""

from __future__ import annotations

import re

from relayprobe.relay.repair.encoded import ascii_domain
from relayprobe.relay.repair.terms import Repair

_ENCLOSED = re.compile(r"<([^<>]*)>?")
_QUOTES = (('"', '"'), ("'", "'"), ("`", "'"), ("‘", "’"), ("“", "”"))  # noqa: RUF001
_AROUND = (
    (re.compile(r"\A(?:mailto|smtp)\s*:\s*", re.IGNORECASE), "", "what stood in front was taken away"),
    # RFC 5321 appendix C: the route is to be ignored
    (re.compile(r"\A@[^:@,\s]+(?:,@[^:@,\s]+)*:(?=[^@]+@)"), "", "the route in front was taken away"),
    (re.compile(r"\A[,;\s]+|[.,;\s]+\Z"), "", "a dot, comma or semicolon beside it was taken away"),
    (re.compile(r"(?<!\s)\s*@\s*"), "@", "blanks beside the @ were taken away"),
)
"""What devices write around an address."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOTTED = re.compile(rf"(?:{_ATOM}|\.)+")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[(?:[0-9.]{7,15}|IPv6:[0-9A-Fa-f:.]{2,45})\]")


_LONGEST = 1000


def repaired_address(text: str, domain: str | None) -> tuple[str | None, str | None]:
    """The address in what a device wrote, without brackets, and what was put right, in words.

    No address: none can be made of it. Nothing put right: it was one as it stood, or in brackets as it should be.
    """
    if len(text) > _LONGEST or any(not c.isprintable() for c in text.replace("\t", " ")):
        return None, None
    done: list[str] = []
    bare = text.strip(" \t")
    if len(bare) != len(text):
        done.append("blanks around it were taken away")
    address = _enclosed(bare, done)
    address = _trimmed(address, done)
    local, at, host = address.rpartition("@")
    if not at:
        if not domain or not address:
            return None, None
        local, host = address, domain
        done.append(f"the domain {domain} was added")
    name, place = _local(local, done), _host(host, done)
    if name is None or place is None or len(name.encode()) > 64 or len(name) + len(place) > 253:
        return None, None
    return f"{name}@{place}", "; ".join(done) or None


def repaired_sender(
    sender: str, mailbox: str | None, domain: str | None, off: frozenset[str] = frozenset()
) -> tuple[str | None, tuple[Repair, ...]]:
    """The sender of the envelope as it goes up, and the repairs made; no sender where none can be made of it.

    `mailbox`: whose address the sender has to be. With none an empty sender stays empty.
    """
    if not sender.strip(" \t<>"):
        if mailbox is None or "empty-sender" in off:
            return "", ()
        return mailbox, (Repair("empty-sender", 1, f"the sender was empty, and is now {mailbox}"),)
    address, says = repaired_address(sender, domain)
    if mailbox is not None and "sender-rewritten" not in off:
        if address is not None and address.casefold() == mailbox.casefold():
            return mailbox, ()
        was = address or "no address"
        return mailbox, (Repair("sender-rewritten", 1, f"the sender was {was}, and is now {mailbox}"),)
    if says is None:
        return address, ()
    if "address" in off:
        return None, ()
    return address, (Repair("address", 1, f"the sender {address} was not written as it should be: {says}"),)


def _enclosed(text: str, done: list[str]) -> str:
    """What stands in the brackets, if there are any."""
    if "<" not in text and ">" not in text:
        return text
    if text.startswith("<") and text.endswith(">") and text.count("<") == text.count(">") == 1:
        return text[1:-1]
    inside = [found for found in _ENCLOSED.findall(text) if found.strip()]
    address = inside[-1] if inside else text.replace("<", "").replace(">", "")
    before = text.partition("<")[0].strip(' "')
    closed = text.count("<") == text.count(">")
    done.append(
        "the name beside it was taken away"
        if before and inside and "@" not in before
        else "the brackets around it were put right"
        if not closed or text.count("<") > 1
        else "what stood outside the brackets was taken away"
    )
    return address


def _trimmed(text: str, done: list[str]) -> str:
    """Without quotes, a scheme, a route, blanks and what else stands around an address."""
    address = text.strip(" \t")
    for left, right in _QUOTES:
        if len(address) > 2 and address.startswith(left) and address.endswith(right):
            address = address[1:-1].strip(" \t")
            done.append("the quotes around it were taken off")
            break
    for pattern, instead, says in _AROUND:
        new = pattern.sub(instead, address)
        if new != address:
            address = new
            done.append(says)
    return address


def _local(text: str, done: list[str]) -> str | None:
    if _DOT_ATOM.fullmatch(text) or _QUOTED.fullmatch(text):
        return text
    if text.isascii() and _DOTTED.fullmatch(text):
        done.append("its name has dots where none may stand, and was put in quotes")
        return f'"{text}"'
    return None


def _host(text: str, done: list[str]) -> str | None:
    if _LITERAL.fullmatch(text):
        return text
    if not text.isascii():
        plain = ascii_domain(text.encode()).decode()
        if plain.isascii():
            done.append("its domain was written as the DNS has it")
        text = plain
    return text if _DOMAIN.fullmatch(text) and len(text) <= 253 else None
