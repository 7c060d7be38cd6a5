"""A dialogue that another tool printed, read back into events.

Each form is one pattern that tells the device's lines from the server's; what is said is then given to the same reader
as on a wire, so a password that stands in the text is masked as ever and is in no event. What a tool leaves out (a
password, the text of the message) is put to the reader as a stand-in, and the event it comes to says that it is not
known. A text has no octets but its own: line ends are taken for CR LF, and there are no times, except in an export of
ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from relayprobe.wire import command
from relayprobe.wire.dialogue import BodyPart, Dialogue, Output
from relayprobe.wire.events import (
    MASK,
    Body,
    BodyEnd,
    Closed,
    ClosedHow,
    Connected,
    Credentials,
    Encrypted,
    Event,
    HelloMoment,
    Line,
    LineFacts,
    Missing,
    Secret,
    Side,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.secret import masked_auth, masked_line
from relayprobe.wire.session import Source
from relayprobe.wire.tls_names import VERSIONS

LONGEST = 16 * 1024 * 1024
"""Octets of a text that is read."""

MOST_EVENTS = 50_000
"""Events of one dialogue that are read."""

_TIME = re.compile(
    r"(?:\[?\d{4}-\d\d-\d\d[ T])?\[?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?\s+"
    r"(?:(?:DEBUG|INFO|TRACE)\s+)?(?:\[[\w-]*\]\s+)?"  # nodemailer's level and connection
)
_REPLY = re.compile(r"\d{3}(?:[ -]|$)")
_QUOTED = re.compile(r"b?(['\"])(.*)\1")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

_OURS = re.compile(r"\s*(?P<at>\d+\.\d{6}) (?P<mark>->|<-|~>|<~|===|\*\*\*)  (?P<said>.*)")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a tool marks the lines: groups `client` or `server`, and `said`. A mark with `~` is inside TLS; one with
    `-` is not, where `told`."""

    pattern: re.Pattern[str]
    told: bool = False


_FORMS = (
    _Form(re.compile(r".*\) (?:(?P<client>-->)|(?P<server><--)) (?P<said>b['\"].*['\"])")),  # email-oauth2-proxy
    _Form(re.compile(r"(?:(?P<server>SERVER -> CLIENT)|(?P<client>CLIENT -> SERVER)): ?(?P<said>.*)")),  # PHPMailer
    _Form(re.compile(r"(?:(?P<client>send)|(?P<server>reply)): (?P<said>b?['\"].*['\"])")),  # Python's smtplib
    _Form(re.compile(r"(?:(?P<client>C)|(?P<server>S)): ?(?P<said>.*)")),  # nodemailer, books
    _Form(re.compile(r"(?P<client>>>>) ?(?P<said>.*)|(?P<server>)(?P<reply>\d{3}[ -].*)")),  # sendmail -v
    _Form(re.compile(r"(?:(?P<server><--)|(?P<client>-->)) (?P<said>.*)")),  # msmtp -d, email-oauth2-proxy in excerpts
    _Form(re.compile(r"(?:(?P<server><[-~*][ *]) ?| ?(?P<client>[-~*]{1,2}>) )(?P<said>.*)"), told=True),  # swaks
    _Form(re.compile(r"(?:(?P<server><)|(?P<client>>)) (?P<said>.*)")),  # curl -v
)

_UP = re.compile(
    r"(?:started with cipher|connection using|^New,)\s*(TLSv[\d.]+|SSLv3)\W+(?:Cipher is\s+)?([A-Z0-9][A-Z0-9_-]+)"
)
_FAILED = re.compile(r"TLS startup failed|SSL_connect|certificate problem|handshake fail|SSL_ERROR|alert number", re.I)
_REASON = re.compile(r"routines:[^:]*:([^:)]+)|(alert [a-z ]+|certificate [a-z ]+|handshake failure)", re.I)
_OPENED = re.compile(r"(?:=== |\*\s+|)(?:Trying|Connecting to) |connect: \(|CONNECTED\(")
_ADDRESS = re.compile(r"(?:Trying|Connecting to) (\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d+))?")
_SERVER_CLOSED = re.compile(r"Remote host closed connection|Connection closed by (?:foreign|remote) host", re.I)

# Where a tool hides what was a secret, and where it stands for the whole of a message.
_HIDDEN = re.compile(
    r"\*{3,}|/\* secret \*/|\bREDACTED\b|"
    r"[<\[](?:[\w ]*(?:credential|password|secret|hidden|redact|removed)[\w ]*)[>\]]",
    re.I,
)
_STAND_IN = "AHgAeA=="
_MESSAGE = re.compile(r"<(\d{1,12}) bytes encoded mime message")

# Our own export: `relayprobe export --as text`.
_HEAD = re.compile(r"Session \S+ from (\S+)$")
_CONNECTED = re.compile(r"(\S*) connected to (\S*)$")
_ABOUT = re.compile(
    r"  \[((?:user |empty user|password hidden|empty password|not base64|not a command|left unfinished).*)\]$"
)
_OUR_MESSAGE = re.compile(r"\[message: (?:([\d,]{1,20}) octets|of unknown size) in ([\d.]{1,12}) s, (.*)\]$")
_OUR_HELLO = re.compile(r"TLS hello: (.*)")
_OUR_UP = re.compile(r"TLS is up(?:: (\S+) with (\S+))?$")
_OUR_FAILURE = re.compile(r"TLS failed: (.*) ended the handshake: (.*?)(?: \(alert (\d{1,3})\))?$")
_OUR_ENCRYPTED = re.compile(r"in TLS, and not to be read here: ([\d,]{1,20}) octets of the device, ([\d,]{1,20}) ")
_OUR_MISSING = re.compile(r"([\d,]{1,20}) octets of (.*) are missing in the capture")
_OUR_CLOSED = re.compile(r"(the device|relayprobe|the server) (closed|reset) the connection(.*)")
_ENDS: tuple[tuple[str, BodyEnd], ...] = (
    ("ended by CRLF", "crlf"),
    ("ended by a dot", "bare-lf"),
    ("in a chunk", "bdat"),
    ("never ended", "cut"),
)
_HOW: tuple[tuple[str, ClosedHow], ...] = (
    ("after QUIT", "quit"),
    ("too long", "timeout"),
    ("a limit", "limit"),
    ("was stopped", "shutdown"),
    ("TLS had failed", "failed"),
)
_NUMBERS = {name: number for number, name in VERSIONS.items()}


@dataclass(frozen=True, slots=True)
class Pasted:
    """One dialogue of a text. `source` is `export` for one that relayprobe printed, `text` for any other."""

    events: tuple[Event, ...]
    source: Source


def read(text: str) -> list[Pasted]:
    """The dialogues in a text, in order; none where there is none."""
    lines = text.splitlines()
    if any(map(_OURS.fullmatch, lines)):
        return [Pasted(tuple(events), "export") for events in _read_ours(lines)]
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
    reader = _Reader()
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
        elif more and _REPLY.match(line.strip()):  # PHPMailer marks the first line of a reply only
            said, is_server, in_tls = line.strip(), True, None
        else:
            more = False
            if reader.opens(line):
                yield from reader.finished()
                reader = _Reader(_listener(line) or reader.listener)
            reader.note(line)
            continue
        if is_server:
            text = _unquoted(said)
            more = text[3:4] == "-"
            if text.startswith("220") and reader.parted:
                yield from reader.finished()
                reader = _Reader()
            reader.server(text, in_tls)
        else:
            more = False
            reader.client(_unquoted(said), in_tls)
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
                elif _REPLY.match(_unquoted(found["said"] or found.groupdict().get("reply") or "")):
                    server += 1
        if client and server and client + server > most:
            best, most = form, client + server
    return best


def _is_typed(lines: list[str]) -> bool:
    """Whether it is a dialogue without marks, as typed into telnet or `openssl s_client`."""
    return any(map(_REPLY.match, lines)) and any(command.parse(_octets(line)).known for line in lines)


def _read_typed(lines: list[str]) -> Iterator[list[Event]]:
    reader = _Reader()
    begun = False  # what comes before the first reply is the tool's own talk
    for line in lines:
        if reader.opens(line):
            yield from reader.finished()
            reader, begun = _Reader(_listener(line)), False
        if _REPLY.match(line) and not reader.in_text:
            if line.startswith("220") and reader.parted:
                yield from reader.finished()
                reader = _Reader()
            begun = True
            reader.server(line, None)
        elif begun and not _SERVER_CLOSED.search(line):
            if line or reader.in_text:
                reader.client(line, None)
        else:
            reader.note(line)
    yield from reader.finished()


def _listener(line: str) -> str:
    found = _ADDRESS.search(line)
    return f"{found[1]}:{found[2]}" if found and found[2] else ""


def _unquoted(said: str) -> str:
    """What Python's repr made of octets, undone; any other text as it is."""
    found = _QUOTED.fullmatch(said)
    if not found:
        return said
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES.get(m[2], m[2]), found[2])
    return text.encode("latin-1", "backslashreplace").decode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Reader:
    """Reads one dialogue."""

    def __init__(self, listener: str = "", peer: str = "") -> None:
        self.listener = listener
        self.at = 0.0
        self.parted = False  # the server has said goodbye
        self.ours = False
        self._peer = peer
        self._dialogue = Dialogue()
        self._events: list[Event] = []
        self._failed = False  # TLS has
        self._silent = False  # a chunk is known by its command: what is shown of it is passed over
        self._shown = False  # something of the text of the message is
        self._body: Callable[[Body], Body] | None = None  # what is known of the text that is to end next

    @property
    def in_text(self) -> bool:
        """Whether the text of a message is being read."""
        return self._dialogue.in_text

    @property
    def expects_tls(self) -> bool:
        """Whether STARTTLS was granted, and TLS has not begun."""
        return self._dialogue.starting_tls

    def opens(self, line: str) -> bool:
        """Whether a line of the tool begins another connection."""
        return _OPENED.match(line) is not None

    def finished(self) -> list[list[Event]]:
        """The events, where there are any."""
        self._keep(self._dialogue.close(self.at))
        if not self._events:
            return []
        self._doubt_users()
        if self.parted and not isinstance(self._events[-1], Closed):
            self._events.append(Closed(self.at, "server", "quit"))
        if (self.listener or self._peer) and not isinstance(self._events[0], Connected):
            self._events.insert(0, Connected(0.0, self._peer, self.listener))
        return [self._events]

    def _doubt_users(self) -> None:
        """A user name is one where a password is asked for next. In a text of which lines are missing, what stands in
        its place may be the password."""
        asked = False
        for at in range(len(self._events) - 1, -1, -1):
            event = self._events[at]
            if isinstance(event, Line) and event.sender == "server":
                asked = event.raw.startswith(b"334")
            elif isinstance(event, Credentials) and event.mechanism == "LOGIN" and not asked:
                if event.stage == "user":
                    self._events[at] = replace(event, raw=masked_line(event.raw), user=None)
                elif event.stage == "initial" and event.user is not None:
                    self._events[at] = replace(event, raw=masked_auth(event.raw)[0], user=None)

    # What the two sides say

    def server(self, text: str, in_tls: bool | None, end: bytes = b"\r\n") -> None:
        """A line of the server."""
        self._tls_by_mark(in_tls)
        self._silent = False
        if self._dialogue.in_text and _REPLY.match(text) and self._body is None:
            if not self._shown:
                self._body = lambda body: replace(body, raw=b"", size=0, lines=LineFacts(), purged=True)
            self._feed("client", b".\r\n")  # the tool does not show the end, or nothing of the message
        self._feed("server", _octets(text.rstrip("\r\n")) + end)
        self.parted = text.startswith(("221", "421"))

    def client(self, text: str, in_tls: bool | None, end: bytes = b"\r\n") -> None:
        """A line of the device, or several."""
        if self._silent:
            return
        if self._dialogue.starting_tls:
            self._behind_starttls(in_tls)
        self._tls_by_mark(in_tls)
        raw = _octets(text) + (b"" if text.endswith("\n") else end)
        if self._dialogue.in_text:
            if found := _MESSAGE.match(text):
                self.message(int(found[1]), "crlf")
                return
            self._shown = True
            self._feed("client", raw)
            return
        self._shown = False
        said = command.parse(raw)
        if said.verb == b"BDAT" and (chunk := command.chunk(said.argument)) and chunk[0]:
            self._chunk(raw, chunk[0], last=chunk[1])
        elif (said.verb == b"AUTH" or self._dialogue.secret_due) and _HIDDEN.search(text):
            self.hidden(text, end)
        else:
            self._feed("client", raw)

    def hidden(self, text: str, end: bytes = b"\r\n", about: str = "") -> None:
        """A line of the device in which a secret is hidden; `about`: what our own export says of it."""
        facts = about.split(", ")
        user = next((fact[5:] for fact in facts if fact.startswith("user ")), None)
        if user is not None:
            user = user.replace("\\r", "\r").replace("\\n", "\n") if user.endswith(("\\r", "\\n")) else user
        elif "empty user name" in facts:
            user = ""
        secret = None
        if "password hidden" in facts or "empty password" in facts:
            wrong = "not the expected one" in facts
            secret = Secret(empty="empty password" in facts, likeness="different" if wrong else None)
        shown = _octets(_HIDDEN.sub(MASK.decode(), text)) + end
        valid = "not base64" not in facts

        def known(event: Credentials) -> Credentials:
            return replace(event, raw=shown, user=user, secret=secret, valid_base64=valid)

        self._feed("client", _octets(_HIDDEN.sub(_STAND_IN, text)) + end, known)

    def message(self, size: int, how: BodyEnd, seconds: float = 0.0, *, refused: bool = False) -> None:
        """The text of a message, of which only this is known."""
        if self._silent:
            return
        began, until = self.at, self.at + seconds

        def known(body: Body) -> Body:
            facts = {"size": size, "end": how, "refused": refused}
            return replace(body, at=began, until=until, raw=b"", lines=LineFacts(), purged=True, **facts)  # type: ignore[arg-type]

        self._body = known
        if refused and not self._dialogue.in_text:
            self._feed("client", b"-\r\n")
        if how == "bare-lf":
            self._feed("client", b".\n")
        elif how != "cut":
            self._feed("client", b".\r\n")

    def _chunk(self, raw: bytes, size: int, *, last: bool) -> None:
        self._body = lambda body: replace(body, raw=b"", size=size, lines=LineFacts(), purged=True)
        self._feed("client", b"BDAT 1 LAST\r\n" if last else b"BDAT 1\r\n", shown=raw)
        self._feed("client", b"-")
        self._silent = True

    # TLS

    def _behind_starttls(self, in_tls: bool | None) -> None:
        if in_tls is False and self.ours:
            return  # it was thrown away
        if in_tls is False:
            self._dialogue.behind_starttls()
            self.tls_failed("client", "continued-in-clear")
        else:
            self.tls_up()  # the tool does not say, and the dialogue goes on

    def _tls_by_mark(self, in_tls: bool | None) -> None:
        if in_tls and not self._dialogue.tls:
            self.tls_up()

    def tls_up(self, version: str = "", cipher: str = "") -> None:
        """TLS is up."""
        self._dialogue.behind_starttls()
        self._dialogue.secured()
        self._events.append(TlsUp(self.at, version, cipher))

    def tls_failed(self, by: Side, reason: str, alert: int | None = None) -> None:
        """TLS has failed."""
        if not self._failed:
            self._dialogue.behind_starttls()
            self._events.append(TlsFailed(self.at, by, reason, alert))
        self._failed = not self.ours

    def note(self, line: str) -> None:
        """What a tool says beside the dialogue: of TLS, and of the end."""
        if address := _listener(line):
            self.listener = address
        if found := _UP.search(line):
            self.tls_up(found[1], found[2])
        elif _FAILED.search(line) and not self._dialogue.tls:
            reason = _REASON.search(line)
            words = (reason[1] or reason[2]).strip().lower().replace(" ", "-") if reason else "failed"
            self.tls_failed("server" if "alert" in words else "client", words)
        elif _SERVER_CLOSED.search(line) and self._events:
            self._keep(self._dialogue.close(self.at))
            self._events.append(Closed(self.at, "server", "quit" if self.parted else "fin"))

    # The reader

    def _feed(
        self,
        side: Side,
        raw: bytes,
        known: Callable[[Credentials], Credentials] | None = None,
        *,
        shown: bytes | None = None,
    ) -> None:
        found = self._dialogue.receive(side, raw, self.at)
        for event in found:
            if known is not None and isinstance(event, Credentials):
                event = known(event)  # noqa: PLW2901
            elif shown is not None and isinstance(event, Line):
                event = replace(event, raw=shown)  # noqa: PLW2901
            self._keep([event])

    def _keep(self, found: list[Output]) -> None:
        for event in found:
            if isinstance(event, BodyPart):
                continue
            if isinstance(event, Body) and self._body is not None:
                event, self._body = self._body(event), None  # noqa: PLW2901
            if len(self._events) < MOST_EVENTS:
                self._events.append(event)

    def add(self, event: Event) -> None:
        """An event that the text states."""
        if isinstance(event, Closed):
            self._keep(self._dialogue.close(self.at))
        self._events.append(event)

    def thrown_away(self, raw: bytes) -> None:
        """A line that was sent in clear behind STARTTLS."""
        self._keep(self._dialogue.thrown_away(raw, self.at))


def _read_ours(lines: list[str]) -> Iterator[list[Event]]:
    reader = _Reader()
    reader.ours = True
    for line in lines:
        found = _OURS.fullmatch(line)
        if not found:
            if head := _HEAD.match(line):
                yield from reader.finished()
                reader = _Reader(peer=head[1])
                reader.ours = True
            continue
        reader.at = float(found["at"])
        _step(reader, found["mark"], found["said"])
    yield from reader.finished()


def _step(reader: _Reader, mark: str, said: str) -> None:
    """One line of our own export."""
    if mark in ("===", "***"):
        _state(reader, said)
        return
    if mark in ("<-", "<~"):
        text, end = _ended(said)
        reader.server(text, mark == "<~", end)
        return
    in_tls = mark == "~>"
    if message := _OUR_MESSAGE.fullmatch(said):
        ending: BodyEnd = next((how for words, how in _ENDS if message[3].startswith(words)), "crlf")
        refused = message[3].endswith("DATA had been refused")
        reader.message(_number(message[1] or ""), ending, float(message[2]), refused=refused)
        return
    about = _ABOUT.search(said)
    text, end = _ended(said[: about.start()] if about else said)
    if about and "left unfinished" in about[1]:
        end = b""
    if about and MASK.decode() in text:
        reader.hidden(text, end, about[1])
    elif not in_tls and reader.expects_tls:
        reader.thrown_away(_octets(text) + end)
    elif text == MASK.decode():
        reader.hidden(text, end)
    else:
        reader.client(text, in_tls, end)


def _ended(said: str) -> tuple[str, bytes]:
    """A line without its end, and its end, which shows only where it is not CR LF."""
    said = re.sub(r" \[[\d,]{1,20} octets more\]$", "", said)
    for shown, end in ((" [no line end]", b""), ("\\n", b"\n"), ("\\r", b"\r")):
        if said.endswith(shown):
            return said.removesuffix(shown), end
    return said, b"\r\n"


def _state(reader: _Reader, said: str) -> None:
    """What is no line in our own export."""
    at = reader.at
    if found := _CONNECTED.fullmatch(said):
        reader.add(Connected(at, found[1], found[2]))
    elif found := _OUR_HELLO.fullmatch(said):
        reader.add(_hello(at, found[1]))
    elif found := _OUR_UP.fullmatch(said):
        reader.tls_up(found[1] or "", found[2] or "")
    elif found := _OUR_FAILURE.fullmatch(said):
        reader.tls_failed(_side(found[1]), found[2], int(found[3]) if found[3] else None)
    elif found := _OUR_ENCRYPTED.match(said):
        reader.add(Encrypted(at, at, _number(found[1]), _number(found[2])))
    elif found := _OUR_MISSING.fullmatch(said):
        reader.add(Missing(at, _side(found[2]), _number(found[1])))
    elif found := _OUR_CLOSED.fullmatch(said):
        how: ClosedHow = next((how for words, how in _HOW if words in found[3]), "fin")
        reader.add(Closed(at, _side(found[1]), "rst" if found[2] == "reset" else how))


def _hello(at: float, words: str) -> TlsHello:
    moment: HelloMoment = "after-starttls"
    if "before any greeting" in words:
        moment = "on-connect"
    elif "after the greeting" in words:
        moment = "late"
    versions = tuple(_NUMBERS[name] for name in words.partition(";")[0].split(", ") if name in _NUMBERS)
    if not versions:
        return TlsHello(at, b"", None, moment)
    name = re.search(r"; for ([^;]+)", words)
    form = "sslv2" if "in SSLv2 form" in words else "tls"
    return TlsHello(at, b"", ClientHello(form, max(versions), versions, (), sni=name[1] if name else None), moment)


def _side(words: str) -> Side:
    return "client" if words == "the device" else "server"


def _number(digits: str) -> int:
    return int(digits.replace(",", "") or "0")
