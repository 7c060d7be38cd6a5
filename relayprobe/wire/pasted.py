"""A dialogue that another tool printed, read back into events.

Each form is one pattern that tells the device's lines from the server's. A text has no octets but its own: line ends
are taken for CR LF, and there are no times, except in an export of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relayprobe.wire import command, exported
from relayprobe.wire.events import Event
from relayprobe.wire.retold import REPLY, SERVER_CLOSED, Reader, listener_in, octets
from relayprobe.wire.session import Source

LONGEST = 16 * 1024 * 1024
"""Octets of a text that is read."""

_TIME = re.compile(
    r"(?:\[?\d{4}-\d\d-\d\d[ T])?\[?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?\s+"
    r"(?:(?:DEBUG|INFO|TRACE)\s+)?(?:\[[\w-]*\]\s+)?"  # nodemailer's level and connection
)
_QUOTED = re.compile(r"b?(['\"])(.*)\1")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


@dataclass(frozen=True, slots=True)
class _Form:
    """How a tool marks the lines: groups `client` or `server`, and `said`. A mark with `~` is inside TLS; one with
    `-` is not, where `told`."""

    pattern: re.Pattern[str]
    told: bool = False


_POSTFIX = r" \S+\[[^]]*\](?::\d+)?: (?P<said>.*)"
_FORMS = (
    _Form(re.compile(r".*/smtpd\[\d+\]: (?:(?P<server>>)|(?P<client><))" + _POSTFIX)),  # Postfix -v, its server
    _Form(re.compile(r".*/smtp\[\d+\]: (?:(?P<client>>)|(?P<server><))" + _POSTFIX)),  # and its client
    _Form(re.compile(r".*\) (?:(?P<client>-->)|(?P<server><--)) (?P<said>b['\"].*['\"])")),  # email-oauth2-proxy
    _Form(re.compile(r"(?:(?P<server>SERVER -> CLIENT)|(?P<client>CLIENT -> SERVER)): ?(?P<said>.*)")),  # PHPMailer
    _Form(re.compile(r"(?:(?P<client>send)|(?P<server>reply)): (?P<said>b?['\"].*['\"])")),  # Python's smtplib
    _Form(re.compile(r"(?:(?P<client>C)|(?P<server>S)): ?(?P<said>.*)")),  # nodemailer, books
    _Form(re.compile(r"(?P<client>>>>) ?(?P<said>.*)|(?P<server>)(?P<reply>\d{3}[ -].*)")),  # sendmail -v
    _Form(re.compile(r"(?:(?P<server><--)|(?P<client>-->)) (?P<said>.*)")),  # msmtp -d, email-oauth2-proxy in excerpts
    _Form(re.compile(r"(?:(?P<server><[-~*][ *]) ?| ?(?P<client>[-~*]{1,2}>) )(?P<said>.*)"), told=True),  # swaks
    _Form(re.compile(r"(?:(?P<server><)|(?P<client>>)) (?P<said>.*)")),  # curl -v
)


@dataclass(frozen=True, slots=True)
class Pasted:
    """One dialogue of a text. `source` is `export` for one that relayprobe printed, `text` for any other."""

    events: tuple[Event, ...]
    source: Source


def read(text: str) -> list[Pasted]:
    """The dialogues in a text, in order; none where there is none."""
    lines = text.splitlines()
    if exported.is_export(lines):
        return [Pasted(tuple(events), "export") for events in exported.read(lines)]
    return [Pasted(tuple(events), "text") for events in _read_theirs(lines)]


def decoded(data: bytes) -> str:
    """The octets of a text file as text; what is no UTF-8 comes through all the same."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # what Windows PowerShell writes
        return data.decode("utf-16", "replace")
    return data.removeprefix(command.BOM).decode("utf-8", "surrogateescape")


def _read_theirs(lines: list[str]) -> Iterator[list[Event]]:
    form = _form_of(lines)
    if form is None:
        if _is_typed(lines):
            yield from _read_typed(lines)
        return
    reader = Reader()
    more = False  # the last line of the server announced another
    for whole in lines:
        line = _TIME.sub("", whole, count=1) if whole[:1].isdigit() or whole[:1] == "[" else whole
        found = form.pattern.fullmatch(line)
        if found:
            groups = found.groupdict()
            said = groups["said"] if groups["said"] is not None else groups.get("reply") or ""
            is_server = groups["server"] is not None
            mark = groups["server"] or groups["client"] or ""
            in_tls = True if "~" in mark else False if form.told and "-" in mark else None
        elif more and REPLY.match(line.strip()):  # PHPMailer marks the first line of a reply only
            said, is_server, in_tls = line.strip(), True, None
        else:
            more = False
            if reader.opens(line):
                yield from reader.finished()
                reader = Reader(listener_in(line) or reader.listener)
            reader.note(line)
            continue
        if is_server:
            text = _unquoted(said)
            more = text[3:4] == "-"
            if text.startswith("220") and reader.parted:
                yield from reader.finished()
                reader = Reader()
            reader.server(text, in_tls)
        else:
            more = False
            text = _unquoted(said)
            if reader.is_over(text):
                yield from reader.finished()
                reader = Reader()
            reader.client(text, in_tls)
    yield from reader.finished()


def _form_of(lines: list[str]) -> _Form | None:
    """The form that fits most lines, replies of a server and lines of a device among them."""
    best, most = None, 0
    for form in _FORMS:
        client = server = 0
        for line in lines:
            if found := form.pattern.fullmatch(_TIME.sub("", line, count=1)):
                if found["client"] is not None:
                    client += 1
                elif REPLY.match(_unquoted(found["said"] or found.groupdict().get("reply") or "")):
                    server += 1
        if client and server and client + server > most:
            best, most = form, client + server
    return best


def _is_typed(lines: list[str]) -> bool:
    """Whether it is a dialogue without marks, as typed into telnet or `openssl s_client`."""
    return any(map(REPLY.match, lines)) and any(command.parse(octets(line)).known for line in lines)


def _read_typed(lines: list[str]) -> Iterator[list[Event]]:
    reader = Reader()
    begun = False  # what comes before the first reply is the tool's own talk
    for line in _without_tickets(lines):
        if reader.opens(line):
            yield from reader.finished()
            reader, begun = Reader(listener_in(line)), False
        if REPLY.match(line) and not reader.in_text:
            if line.startswith("220") and reader.parted:
                yield from reader.finished()
                reader = Reader()
            begun = True
            reader.server(line, None)
        elif begun and not SERVER_CLOSED.search(line):
            if reader.is_over(line):
                yield from reader.finished()
                reader = Reader()
            if line or reader.in_text:
                reader.client(line, None)
        else:
            reader.note(line)
    yield from reader.finished()


def _without_tickets(lines: list[str]) -> Iterator[str]:
    """What was said, without the tickets of TLS 1.3, which `openssl s_client` prints whenever they come."""
    if not any(line.startswith("CONNECTED(") for line in lines):
        yield from lines
        return
    ticket = False
    for line in lines:
        if line.startswith(("Post-Handshake New Session Ticket", "SSL-Session:")):
            ticket = True
        elif line == "---":
            ticket = False
        elif not ticket and line not in ("read R BLOCK", "closed", "DONE"):
            yield line


def _unquoted(said: str) -> str:
    """What Python's repr made of octets, undone; any other text as it is."""
    found = _QUOTED.fullmatch(said)
    if not found:
        return said
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES.get(m[2], m[2]), found[2])
    return text.encode("latin-1", "backslashreplace").decode("utf-8", "surrogateescape")
