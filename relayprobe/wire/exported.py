"""Our own export as text, `relayprobe export --as text`, read back into events. An export as packets has some of its
words in comments."""

from __future__ import annotations

import re
from collections.abc import Iterator

from relayprobe.wire.events import (
    MASK,
    BodyEnd,
    Closed,
    ClosedHow,
    Connected,
    Encrypted,
    Event,
    HelloMoment,
    Missing,
    Side,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.retold import Reader, octets
from relayprobe.wire.tls_names import VERSIONS

_LINE = re.compile(r"\s*(?P<at>\d+\.\d{6}) (?P<mark>->|<-|~>|<~|===|\*\*\*)  (?P<said>.*)")
_HEAD = re.compile(r"Session \S+ from (\S+)$")
_CONNECTED = re.compile(r"(\S*) connected to (\S*)$")
ABOUT = re.compile(
    r"\[((?:user |empty user|(?:password|secret) hidden|empty password|not base64|not a command|left unfinished).*)\]$"
)
MESSAGE = re.compile(r"\[message: (?:([\d,]{1,20}) octets|of unknown size) in ([\d.]{1,12}) s, (.*)\]$")
_ABOUT = re.compile("  " + ABOUT.pattern)
_HELLO = re.compile(r"TLS hello: (.*)")
_UP = re.compile(r"TLS is up(?:: (\S+) with (\S+))?$")
_FAILURE = re.compile(r"TLS failed: (.*) ended the handshake: (.*?)(?: \(alert (\d{1,3})\))?$")
_ENCRYPTED = re.compile(r"in TLS, and not to be read here: ([\d,]{1,20}) octets of the device, ([\d,]{1,20}) ")
_MISSING = re.compile(r"([\d,]{1,20}) octets of (.*) are missing in the capture")
_CLOSED = re.compile(r"(the device|relayprobe|the server) (closed|reset) the connection(.*)")
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
LEFT_OUT = "Left out here: "
"""In an export as packets: a reply of the server that no packet has."""

HELLO = "The octets of the hello: "
"""In the same: those of the hello that is told above, in hex."""

SECRET = "Known of the password: "
"""In the same: what may be known of a password, as JSON."""

_NUMBERS = {name: number for number, name in VERSIONS.items()}


def is_export(lines: list[str]) -> bool:
    """Whether a text is one, or holds one."""
    return any(map(_LINE.fullmatch, lines))


def read(lines: list[str]) -> Iterator[list[Event]]:
    """Its dialogues, in order."""
    reader = Reader()
    reader.ours = True
    for line in lines:
        found = _LINE.fullmatch(line)
        if not found:
            if head := _HEAD.match(line):
                yield from reader.finished()
                reader = Reader(peer=head[1])
                reader.ours = True
            continue
        reader.at = float(found["at"])
        _step(reader, found["mark"], found["said"])
    yield from reader.finished()


def _step(reader: Reader, mark: str, said: str) -> None:
    """One line of our own export."""
    if mark in ("===", "***"):
        _state(reader, said)
        return
    if mark in ("<-", "<~"):
        text, end = _ended(said)
        reader.server(text, mark == "<~", end)
        return
    in_tls = mark == "~>"
    if message := MESSAGE.fullmatch(said):
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
        reader.thrown_away(octets(text) + end)
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


def _state(reader: Reader, said: str) -> None:
    """What is no line in our own export."""
    match event_in(reader.at, said):
        case TlsUp(version=version, cipher=cipher):
            reader.tls_up(version, cipher)
        case TlsFailed(by=by, reason=reason, alert=alert):
            reader.tls_failed(by, reason, alert)
        case None:
            pass
        case event:
            reader.add(event)


def event_in(at: float, said: str) -> Event | None:
    """The event that words of our own exports tell of; None for words that tell of none."""
    if found := _CONNECTED.fullmatch(said):
        return Connected(at, found[1], found[2])
    if found := _HELLO.fullmatch(said):
        return _hello(at, found[1])
    if found := _UP.fullmatch(said):
        return TlsUp(at, found[1] or "", found[2] or "")
    if found := _FAILURE.fullmatch(said):
        return TlsFailed(at, _side(found[1]), found[2], int(found[3]) if found[3] else None)
    if found := _ENCRYPTED.match(said):
        return Encrypted(at, at, _number(found[1]), _number(found[2]))
    if said == "what came before is missing in the text":
        return Missing(at, "server", 0)
    if found := _MISSING.fullmatch(said):
        return Missing(at, _side(found[2]), _number(found[1]))
    if found := _CLOSED.fullmatch(said):
        how: ClosedHow = next((how for words, how in _HOW if words in found[3]), "fin")
        return Closed(at, _side(found[1]), "rst" if found[2] == "reset" else how)
    return None


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
