"""A session as a capture of packets that Wireshark opens: its clear text as a made-up TCP connection, in pcapng.

Each line is a packet of its own, with its own time; a message is cut into packets as a network would. What no packet
can tell stands in comments on packets, in the words of the text export, and findings stand at the line that shows them:
`relayprobe diagnose` reads it all back. What was said in TLS is written in clear text. For that one line is missing,
the 220 that grants STARTTLS: behind it Wireshark takes all that follows for TLS. It stands in a comment instead, and
the session goes on as SMTP. Where TLS failed and nothing followed, that line is there, and the octets of the hello
are, for Wireshark takes them apart.
"""

from __future__ import annotations

import heapq
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from relayprobe import __version__
from relayprobe.advice.findings import Finding
from relayprobe.report.text import SEVERITIES, event_words, secret_words
from relayprobe.report.visible import visible, visible_line
from relayprobe.wire.codec import to_object
from relayprobe.wire.events import MASK, Body, Closed, Connected, Credentials, Event, Line, Missing, Side, TlsHello
from relayprobe.wire.exported import HELLO, LEFT_OUT, SECRET
from relayprobe.wire.session import Session

TAKEN_FOR_SMTP = (25, 587)
"""Ports that Wireshark takes for SMTP; on 465 it expects TLS."""

APPLICATION = f"relayprobe {__version__}"

_FIN, _SYN, _RST, _PUSH, _ACK = 1, 2, 4, 8, 16
_WINDOW = 65535
_SCALE = bytes((3, 3, 14, 1))  # RFC 7323: a window of 1 GiB, for nobody waits here
_LINK = 101  # an IP packet and nothing around it (https://www.tcpdump.org/linktypes.html)
_MOST_COMMENT = 60_000  # the length of an option has 16 bits
_MOST_HELLO = 16_384
_COMMENT, _APPLICATION, _NAME = 1, 4, 2
_NOWHERE = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}  # RFC 5737, RFC 3849

_Address = IPv4Address | IPv6Address
Bodies = Callable[[int], Iterable[bytes]]
"""The octets of the n-th text of a session, whole, in pieces."""


@dataclass(frozen=True, slots=True)
class _Packet:
    """What one side sends. `gone`: octets that are not there, and count all the same."""

    sender: Side
    data: bytes = b""
    flags: int = _ACK
    comment: str = ""
    gone: int = 0


_Timed = tuple[int, int, _Packet]  # microseconds since the session began, the place in it


def pcapng(session: Session, findings: Sequence[Finding] = (), bodies: Bodies | None = None) -> Iterator[bytes]:
    """The file, in pieces. `bodies`: the messages whole; without it what the events hold of them."""
    wire = _Wire(session)
    yield _section(session, wire)
    yield _block(1, struct.pack("<HHI", _LINK, 0, 0), [(_NAME, b"relayprobe")])
    started = round(session.started * 1e6)
    marks = _marks(session, findings)
    for at, _, packet in _packets(session, marks, bodies, wire.mss):
        moment = started + at
        for frame, comment in wire.frames(packet):
            head = struct.pack("<5I", 0, moment >> 32, moment & 0xFFFFFFFF, len(frame), len(frame))
            options = [(_COMMENT, comment.encode())] if comment else []
            yield _block(6, head + frame + bytes(-len(frame) % 4), options)


# What is told beside the packets


def _section(session: Session, wire: _Wire) -> bytes:
    told = [
        f"Session {visible(session.id)} of {visible(session.peer)}: the clear text of an SMTP dialogue, written by "
        "relayprobe as a TCP connection. The lines and their times are those of the session, the packets around them "
        "are made up. Secrets are masked."
    ]
    if wire.renamed:
        told.append(wire.renamed)
    if session.tls:
        told.append(
            "What was said in TLS is written in clear text, from the comment `TLS is up` on. The reply 220 to STARTTLS "
            "stands in a comment, for behind it Wireshark would take everything for TLS."
        )
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(0x0A0D0D0A, head, [(_COMMENT, "\n".join(told).encode()), (_APPLICATION, APPLICATION.encode())])


def _block(kind: int, body: bytes, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    for code, value in options:
        cut = value if len(value) <= _MOST_COMMENT else value[:_MOST_COMMENT].decode("utf-8", "ignore").encode()
        body += struct.pack("<HH", code, len(cut)) + cut + bytes(-len(cut) % 4)
    if options:
        body += bytes(4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _marks(session: Session, findings: Sequence[Finding]) -> dict[int, list[str]]:
    """The comments that belong to events: what they are, and what was found there."""
    marks: dict[int, list[str]] = {}
    for finding in findings:
        for evidence in finding.evidence[:3]:
            says = f"{SEVERITIES[finding.severity]} {finding.rule.id}: {visible(evidence.says)}"
            marks.setdefault(evidence.event, []).append(says)
    spoken = _last_said(session)
    for index, event in enumerate(session.events):
        match event:
            case Line(omitted=omitted) if omitted:
                words = [f"{omitted:,} octets more of this line were not kept"]
            case Line():
                continue
            case Credentials():
                words = _of_secret(event)
            case TlsHello(raw=raw):
                words = [event_words(event)]
                if index < spoken:  # else they are in the packet
                    words.append(HELLO + (raw.hex() if len(raw) <= _MOST_HELLO else ""))
            case _:
                words = [event_words(event)]
        marks[index] = words + marks.get(index, [])
    return marks


def _of_secret(said: Credentials) -> list[str]:
    """What may be known of a secret, in words and for the reader."""
    words = secret_words(said) or ("secret hidden" if MASK in said.raw else "")
    facts = to_object(said).get("secret")
    return [*([f"[{words}]"] if words else []), *([SECRET + json.dumps(facts)] if facts else [])]


# The packets


def _packets(session: Session, marks: dict[int, list[str]], bodies: Bodies | None, mss: int) -> Iterator[_Timed]:
    """All packets in the order of their times. A side never overtakes itself; a line may come while a message does."""
    ends = next((at for at, event in enumerate(session.events) if isinstance(event, Closed)), len(session.events))
    numbers = iter(range(len(session.events)))
    texts = {at: next(numbers) for at, event in enumerate(session.events) if isinstance(event, Body)}
    spoken = _last_said(session)
    replies = {e.reply.event for e in session.commands(b"STARTTLS") if e.reply and e.reply.code == 220}
    granted = {at for at in replies if at < spoken}  # what follows is clear text here: they are not written

    def of(side: Side) -> Iterator[_Timed]:
        last = 0
        for at, event in enumerate(session.events[:ends]):
            comment = "\n".join(marks.get(at, ()))
            if isinstance(event, Body):
                if side == "client":
                    octets = _text(event, bodies(texts[at]) if bodies else [event.raw])
                    for moment, packet in _message(event, octets, comment, mss):
                        last = max(last, moment)
                        yield last, at, packet
            elif _side(event) == side:
                last = max(last, round(event.at * 1e6))
                for packet in _event_packets(event, comment, mss, at in granted, at > spoken):
                    yield last, at, packet

    last = 0
    for last, at, packet in heapq.merge(of("client"), of("server"), key=lambda timed: timed[:2]):
        yield last, at, packet
    for at, event in enumerate(session.events[ends:], ends):
        if isinstance(event, Closed):
            last = max(last, round(event.at * 1e6))
            yield from ((last, at, packet) for packet in _closing(event, "\n".join(marks.get(at, ()))))


def _side(event: Event) -> Side:
    """Who sends the packets of an event. What no side has said stands at a packet of the device without octets."""
    return event.sender if isinstance(event, (Line, Missing)) else "client"


def _last_said(session: Session) -> int:
    """The last event that is text: behind it, what is left is a hello at most."""
    texts = (at for at, event in enumerate(session.events) if isinstance(event, (Line, Credentials, Body)))
    return max(texts, default=0)


def _event_packets(event: Event, comment: str, mss: int, granted: bool, shaking: bool) -> Iterator[_Packet]:
    match event:
        case Connected():
            yield _Packet("client", flags=_SYN, comment=comment)
            yield _Packet("server", flags=_SYN | _ACK)
            yield _Packet("client")
        case Line(raw=raw) if granted:
            left_out = LEFT_OUT + visible_line(raw)
            yield _Packet("client", comment="\n".join(filter(None, (left_out, comment))))
        case Line(sender=sender, raw=raw):
            yield from _cut(sender, raw, comment, mss)
        case Credentials(raw=raw):
            yield from _cut("client", raw, comment, mss)
        case TlsHello(raw=raw) if shaking and raw:
            yield from _cut("client", raw, comment, mss)
        case Missing(sender=sender, octets=octets):
            yield _Packet(sender, comment=comment)
            yield _Packet(sender, gone=octets)
        case _:
            yield _Packet("client", comment=comment)


def _cut(sender: Side, data: bytes, comment: str, mss: int) -> Iterator[_Packet]:
    """Octets as packets; the first has the comment, the last pushes."""
    for at in range(0, len(data), mss):
        last = at + mss >= len(data)
        yield _Packet(sender, data[at : at + mss], _ACK | (_PUSH if last else 0), "" if at else comment)


def _text(body: Body, octets: Iterable[bytes]) -> Iterator[bytes]:
    """A message as it crossed the wire. One whose text is gone is ended all the same, or nothing after it is read."""
    yield from octets
    if body.purged and body.end in ("crlf", "bare-lf"):
        yield b".\r\n"


def _message(body: Body, octets: Iterable[bytes], comment: str, mss: int) -> Iterator[tuple[int, _Packet]]:
    """A message in packets, evenly spread over the time that it took; in two at least where it took any."""
    begin, took = round(body.at * 1e6), max(0, round((body.until - body.at) * 1e6))
    room = max(1, min(mss, body.size // 2)) if took else mss
    sent = 0

    def packet(data: bytes) -> tuple[int, _Packet]:
        nonlocal sent
        first, sent = not sent, sent + len(data)
        share = 0 if first else took if sent >= body.size else took * sent // body.size
        return begin + share, _Packet("client", data, _ACK, comment if first else "")

    rest = b""
    for piece in octets:
        data = rest + piece
        whole = max(0, len(data) - 1) // room * room
        for at in range(0, whole, room):
            yield packet(data[at : at + room])
        rest = data[whole:]
    if rest or not sent:
        yield packet(rest)


def _closing(closed: Closed, comment: str) -> Iterator[_Packet]:
    first, other = closed.by, "server" if closed.by == "client" else "client"
    if closed.how == "rst":
        yield _Packet(first, flags=_RST | _ACK, comment=comment)
        return
    yield _Packet(first, flags=_FIN | _ACK, comment=comment)
    yield _Packet(other, flags=_FIN | _ACK)  # type: ignore[arg-type]
    yield _Packet(first)


class _Wire:
    """Packets as octets of IP: addresses, ports, sequence numbers and checksums. `renamed`: what of the addresses is
    other than in the session, and why."""

    def __init__(self, session: Session) -> None:
        peer, client_port = _place(session.peer)
        listener, server_port = _place(session.listener)
        version = peer.version if peer else listener.version if listener else 4
        nowhere = [ip_address(host) for host in _NOWHERE[version]]
        self._hosts: dict[Side, _Address] = {
            "client": peer or nowhere[0],
            "server": listener if listener and listener.version == version else nowhere[1],
        }
        self._ports: dict[Side, int] = {"client": client_port or 49152, "server": server_port}
        self._seq: dict[Side, int] = {"client": 0, "server": 0}
        self._bare = 0
        self.mss = 1460 if version == 4 else 1440
        self.renamed = ""
        if not _last_said(session) and session.hellos:
            self._write_port(465, "which Wireshark takes for SMTP in TLS")
        elif server_port not in TAKEN_FOR_SMTP:
            self._write_port(25, "which Wireshark takes for SMTP")

    def _write_port(self, port: int, why: str) -> None:
        was, self._ports["server"] = self._ports["server"], port
        if was != port:
            self.renamed = f"The port is written as {port}, {why}" + (f"; it was {was}." if was else ".")

    def frames(self, packet: _Packet) -> Iterator[tuple[bytes, str]]:
        """A packet on the wire, with its comment."""
        sender = packet.sender
        if packet.gone:
            self._count(sender, packet.gone)
            return
        yield self._frame(packet), packet.comment
        self._count(sender, len(packet.data) + bool(packet.flags & (_SYN | _FIN)))

    def _count(self, sender: Side, octets: int) -> None:
        self._seq[sender] = (self._seq[sender] + octets) & 0xFFFFFFFF

    def _frame(self, packet: _Packet) -> bytes:
        source = packet.sender
        target: Side = "server" if source == "client" else "client"
        options = struct.pack("!BBH", 2, 4, self.mss) + _SCALE if packet.flags & _SYN else b""
        bare = not packet.data and packet.flags == _ACK
        self._bare += bare
        acknowledged = self._seq[target] if packet.flags & _ACK else 0
        head = struct.pack(
            "!HHIIBBH",
            self._ports[source],
            self._ports[target],
            self._seq[source],
            acknowledged,
            (20 + len(options)) // 4 << 4,
            packet.flags,
            _WINDOW - (self._bare % 1024 if bare else 0),  # two that are alike would be taken for a sign of loss
        )
        rest = b"\0\0" + options + packet.data  # no urgent pointer
        size = len(head) + 2 + len(rest)
        addresses = self._hosts[source].packed + self._hosts[target].packed
        tcp = head + _checksum(addresses + struct.pack("!II", size, 6) + head + rest) + rest
        if self.mss == 1440:
            return struct.pack("!IHBB", 6 << 28, size, 6, 64) + addresses + tcp
        ip = struct.pack("!BBHIBB", 0x45, 0, 20 + size, 0x4000, 64, 6)  # not to be fragmented, so without a number
        return ip + _checksum(ip + addresses) + addresses + tcp


def _checksum(octets: bytes) -> bytes:
    """RFC 1071. A sum of 16-bit words with its carries added in is a remainder by 65535."""
    words = int.from_bytes(octets + bytes(len(octets) % 2), "big")
    return struct.pack("!H", 0xFFFF - (words % 0xFFFF or 0xFFFF))


def _place(place: str) -> tuple[_Address | None, int]:
    """Address and port of `host:port`; None for what is no address."""
    host, _, port = place.rpartition("://")[2].rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536 else 0
    try:
        return ip_address(host.strip("[]").partition("%")[0]), number
    except ValueError:
        return None, number
