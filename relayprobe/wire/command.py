"""One command line of a device, read as its author meant it.

Real devices put spaces where none belong, leave angle brackets out, write the display name into the address and
telnet negotiation in front of the verb. The server and the diagnosis must read such a line alike, so both ask here.
Nothing is repaired: the line itself stays as it crossed the wire, and the rules look there for what is odd about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KNOWN_VERBS = frozenset(
    b"HELO EHLO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT STARTTLS AUTH VRFY EXPN HELP ETRN TURN ATRN SEND SOML SAML "
    b"BURL XCLIENT XFORWARD PROXY".split()
)
"""Verbs of RFC 5321, its predecessors and extensions: what is not among these may be a stray secret."""

BOM = b"\xef\xbb\xbf"
PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
"""What a PROXY protocol version 2 header begins with (HAProxy's proxy-protocol.txt, section 2.2)."""

# RFC 854: IAC, then DO/DONT/WILL/WONT and an option, a sub-negotiation, or a single command.
_TELNET = re.compile(rb"\xff(?:[\xfb-\xfe].|\xfa[^\xff]{0,512}\xff\xf0|[\xf0-\xf9])", re.DOTALL)
_COMMAND = re.compile(rb"[\s\x00]*([A-Za-z][A-Za-z0-9-]*)(.*)", re.DOTALL)
_JOINED = re.compile(rb"(MAIL)(FROM)|(RCPT)(TO)", re.IGNORECASE)  # MAILFROM:<a@x>
_PATH = re.compile(rb"\s*(?:FROM|TO)\s*:?(.*)", re.IGNORECASE | re.DOTALL)
_SIMPLE_PATH = re.compile(rb"(?:FROM|TO):<([!#-+\--:=?-\[\]-~]*)>", re.IGNORECASE)  # as the standard has it
_BRACKETED = re.compile(r"<([^<>]*)(?:>|$)")  # the innermost, where a display name has brackets of its own
_PARAMETERS = re.compile(r"(?:\s+[A-Za-z0-9][A-Za-z0-9-]*(?:=[^\s=]*)?)*\s*")  # RFC 5321 4.1.2, esmtp-param
_LIST = re.compile(r"[,;]")
_CHUNK = re.compile(rb"(\d{1,18})(\s+LAST)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Command:
    """A verb in upper case (empty where the line has none) and what follows it, surrounding blanks taken off."""

    verb: bytes
    argument: bytes

    @property
    def known(self) -> bool:
        """Whether the verb is one of SMTP's."""
        return self.verb in KNOWN_VERBS


@dataclass(frozen=True, slots=True)
class Path:
    """What stands after `MAIL FROM:` or `RCPT TO:`: the address (a list where a device sends several) and parameters.

    The null sender `<>` is one empty address. `text` is the part before the parameters as it was written, decoded.
    """

    addresses: tuple[str, ...]
    parameters: tuple[str, ...]
    text: str

    @property
    def address(self) -> str:
        """The first address, empty for the null sender."""
        return self.addresses[0] if self.addresses else ""

    def parameter(self, name: str) -> str | None:
        """The value of a parameter such as SIZE, empty where it has none, None where it is not given."""
        for parameter in self.parameters:
            key, _, value = parameter.partition("=")
            if key.upper() == name:
                return value
        return None


def parse(raw: bytes) -> Command:
    """The command that a line of a device holds."""
    word, _, rest = raw.rstrip(b"\r\n").partition(b" ")
    if (verb := word.upper()) in KNOWN_VERBS:  # as the standard has it, and nearly always
        return Command(verb, rest.strip())
    line = raw.removeprefix(BOM)
    if b"\xff" in line:
        line = _TELNET.sub(b"", line)
    line = line.rstrip(b"\r\n").removeprefix(BOM)
    found = _COMMAND.fullmatch(line)
    if not found:
        return Command(b"", line.strip())
    verb, rest = found.groups()
    if len(verb) > 4 and (joined := _JOINED.fullmatch(verb)):
        verb, keyword = (group for group in joined.groups() if group)
        rest = keyword + rest
    return Command(verb.upper(), rest.strip())


def is_noisy(raw: bytes) -> bool:
    """Whether telnet negotiation, a BOM or a NUL stands in front of the command."""
    return raw.startswith((b"\xff", BOM, b"\0"))


def path(argument: bytes) -> Path | None:
    """The path in the argument of MAIL or RCPT; None where there is no FROM or TO in front of it."""
    if simple := _SIMPLE_PATH.fullmatch(argument):
        address = simple[1].decode()
        return Path((address,), (), f"<{address}>")
    found = _PATH.fullmatch(argument)
    if not found:
        return None
    text = decoded(found[1])
    if "<" in text:
        head, tail = _parted(text)
        bracketed = _BRACKETED.findall(head)
        if ">" not in head and bracketed:  # never closed: then a blank ends the address
            bracketed[-1], _, tail = bracketed[-1].strip().partition(" ")
    else:
        head, _, tail = text.strip().partition(" ")
        bracketed = [head]
    addresses = tuple(address.strip() for part in bracketed for address in _LIST.split(part))
    return Path(addresses, tuple(tail.split()), head.strip())


def _parted(text: str) -> tuple[str, str]:
    """What is before the parameters, and they: the first bracket behind which nothing else can stand divides them."""
    at = -1
    for _ in range(MOST_BRACKETS):
        at = text.find(">", at + 1)
        if at < 0:
            break
        if _PARAMETERS.fullmatch(text, at + 1):
            return text[: at + 1], text[at + 1 :]
    return text, ""


MOST_BRACKETS = 50
"""Brackets of a line behind which its parameters are looked for."""


def chunk(argument: bytes) -> tuple[int, bool] | None:
    """The size in the argument of BDAT, and whether it is the last (RFC 3030); None where it cannot be read."""
    found = _CHUNK.fullmatch(argument)
    return (int(found[1]), found[2] is not None) if found else None


def decoded(raw: bytes) -> str:
    """Text of a device: UTF-8 where it is that, else Latin-1, which any octets are."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
