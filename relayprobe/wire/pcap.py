"""The SMTP connections in a capture of packets that was made elsewhere, as transcripts.

A connection is SMTP where its port is one for mail, or where it looks so: the server greets with 220, and the device
answers with EHLO, HELO or a TLS hello. The packets are read in one pass, and a connection is given out as soon as it is
over, so that memory holds what is open and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relayprobe.tongue import counted, said
from relayprobe.wire.events import Event, Side
from relayprobe.wire.hello import looks_like_hello
from relayprobe.wire.overheard import Overheard
from relayprobe.wire.packets import File, Packets, Segment
from relayprobe.wire.streams import Ended, Gone, Heard, Said, Streams, Told

PORTS = frozenset((25, 465, 587, 1025, 1587, 2525))
"""Where mail is sent to. On other ports a connection has to look like mail."""

MOST_OPEN = 5_000
"""Connections that are followed at a time: beyond it the one that was silent longest is over."""

MOST_OCTETS = 256 * 1024 * 1024
"""Octets of open connections that are kept: beyond it the one that was silent longest is over."""

SILENT = 3600.0
"""Seconds after which a connection that is silent is over."""

_UNDECIDED = 4096  # octets that are looked at to tell what a connection is
_GREETINGS = (b"EHLO", b"HELO", b"LHLO")

_Host = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Captured:
    """One SMTP connection of a capture. `started` is Unix time."""

    started: float
    peer: str
    listener: str
    events: tuple[Event, ...]


class Capture:
    """Iterate over it for the connections, once, in the order in which they ended. `remarks` then says what of the file
    could not be read."""

    def __init__(self, file: File, ports: Sequence[int] = ()) -> None:
        """`ports`: more ports on which every connection is mail. Raises NotACapture."""
        self._packets = Packets(file)
        self._ports = PORTS | set(ports)
        self._certain = frozenset(ports)
        self._open: dict[tuple[_Host, _Host], _Connection] = {}  # the one heard of last is the last
        self._closed: dict[tuple[_Host, _Host], None] = {}  # the latest that are over: more of them is an echo
        self._octets = 0
        self._headless = self._unanswered = self._full = 0

    def __iter__(self) -> Iterator[Captured]:
        last = 0.0
        for segment in self._packets:
            last = max(last, segment.at)
            yield from self._take(segment)
            yield from self._too_many(last)
        while self._open:
            yield from self._close(next(iter(self._open)))

    def going_on(self, host: str) -> list[tuple[str, float]]:
        """The connections of a host that are open at this point of the capture: `peer`, and when it began."""
        return [
            (connection.peer, connection.started)
            for connection in self._open.values()
            if connection.client and connection.client[0] == host and connection.overheard is not None
        ]

    @property
    def remarks(self) -> list[str]:
        """Sentences about what of the capture could not be read, and why."""
        packets = self._packets
        found: list[str] = []
        if packets.damage:
            found.append(
                said("The capture is damaged or cut off: {damage}. What comes before was read.", damage=packets.damage)
            )
        if packets.unreadable:
            found.append(
                said(
                    "{unreadable:,} of {frames:,} packets are from a kind of network that cannot be read.",
                    unreadable=packets.unreadable,
                    frames=packets.frames,
                )
            )
        if packets.shortened:
            found.append(
                said(
                    "{shortened:,} packets were captured in part only: capture them whole (tcpdump -s 0).",
                    shortened=packets.shortened,
                )
            )
        if self._headless:
            found.append(
                counted(
                    "One connection was begun before the capture, and left out: of half a dialogue nothing follows. "
                    "Start the capture before the device sends.",
                    "{n:,} connections were begun before the capture, and left out: of half a dialogue nothing "
                    "follows. Start the capture before the device sends.",
                    self._headless,
                )
            )
        if self._unanswered:
            found.append(
                counted(
                    "One connection was tried on a port for mail, and refused or never answered: is a firewall in the "
                    "way, or the address of the server wrong?",
                    "{n:,} connections were tried on a port for mail, and refused or never answered: is a firewall "
                    "in the way, or the address of the server wrong?",
                    self._unanswered,
                )
            )
        if self._full:
            found.append(
                counted(
                    "One connection was too long to be kept whole: the end is missing.",
                    "{n:,} connections were too long to be kept whole: the end is missing.",
                    self._full,
                )
            )
        return found

    def _take(self, segment: Segment) -> Iterator[Captured]:
        key = _key(segment)
        connection = self._open.pop(key, None)
        if connection is not None and connection.begins_anew(segment):
            self._open[key] = connection
            yield from self._close(key)
            connection = None
        if connection is None:
            if not segment.syn and (not segment.size or key in self._closed):
                return  # the last of one that is over already
            connection = _Connection(self._ports, self._certain)
        self._open[key] = connection
        self._octets -= connection.octets
        connection.take(segment)
        self._octets += connection.octets
        if connection.over:
            yield from self._close(key)

    def _too_many(self, now: float) -> Iterator[Captured]:
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if len(self._open) <= MOST_OPEN and self._octets <= MOST_OCTETS and now - oldest.last <= SILENT:
                return
            yield from self._close(key)

    def _close(self, key: tuple[_Host, _Host]) -> Iterator[Captured]:
        connection = self._open.pop(key)
        self._closed.pop(key, None)
        self._closed[key] = None
        if len(self._closed) > MOST_OPEN:
            del self._closed[next(iter(self._closed))]
        self._octets -= connection.octets
        connection.finish()
        self._headless += connection.headless
        self._unanswered += connection.unanswered
        if connection.overheard is None:
            return
        heard = connection.overheard
        events = tuple(heard.over())
        self._full += heard.full
        yield Captured(heard.started, heard.peer, heard.listener, events)


class _Connection:
    """A connection, of which it may not be known yet whether it is SMTP."""

    def __init__(self, ports: frozenset[int], certain: frozenset[int]) -> None:
        self.client: _Host | None = None
        self.peer = ""
        self.started = self.last = 0.0
        self.overheard: Overheard | None = None
        self.headless = self.unanswered = False
        self._ports = ports
        self._certain = certain
        self._server: _Host | None = None
        self._streams = Streams()
        self._syn: int | None = None
        self._foreign = False  # it is not SMTP
        self._whole = False  # it is captured from its beginning
        self._ends: set[Side] = set()  # of one that is foreign
        self._before: list[Heard] = []  # what came before it was known to be
        self._first: dict[Side, bytes] = {"client": b"", "server": b""}

    @property
    def over(self) -> bool:
        """Whether nothing of it is to come."""
        return self._streams.over or len(self._ends) == 2

    @property
    def octets(self) -> int:
        """Octets that it keeps, about."""
        kept = sum(map(len, self._first.values())) + 200 * len(self._before)
        return 500 + kept + self._streams.held_octets + (self.overheard.octets if self.overheard else 0)

    def begins_anew(self, segment: Segment) -> bool:
        """Whether a segment opens another connection between the same ports."""
        return segment.syn and segment.ack is None and self._syn != segment.seq

    def take(self, segment: Segment) -> None:
        """The next segment, of either side."""
        if self.client is None:
            self._meet(segment)
        self.last = max(self.last, segment.at)
        if self._foreign:
            if segment.rst:
                self._ends |= {"client", "server"}
            elif segment.fin:
                self._ends.add(self._side(segment))
            return
        for heard in self._streams.add(self._side(segment), segment):
            self._hear(heard)

    def finish(self) -> None:
        """No segment comes any more."""
        for heard in self._streams.flush(self.last):
            self._hear(heard)
        if self.overheard is None and not self._foreign:
            self._decide(at_the_end=True)

    def _meet(self, segment: Segment) -> None:
        """Who is who: the device is the one that opens the connection; else the port tells, or the greeting."""
        self.started = segment.at
        client, server = segment.source, segment.target
        if segment.syn:
            if segment.ack is not None:
                client, server = server, client
            self._syn = segment.seq if segment.ack is None else None
        elif (server[1] not in self._ports and client[1] in self._ports) or segment.data.startswith(b"220"):
            client, server = server, client
        self.client, self._server = client, server
        self.peer = _named(client)
        self._whole = segment.syn

    def _side(self, segment: Segment) -> Side:
        return "client" if segment.source == self.client else "server"

    def _hear(self, heard: Heard) -> None:
        if self._foreign:
            return
        if self.overheard is not None:
            _tell(self.overheard, heard)
            return
        self._before.append(heard)
        if isinstance(heard, Told):  # it is an export of our own
            self._begin()
            return
        if isinstance(heard, Said):
            self._first[heard.sender] = (self._first[heard.sender] + heard.data)[:_UNDECIDED]
        self._decide()

    def _decide(self, *, at_the_end: bool = False) -> None:
        """Whether it is SMTP, as soon as that can be told."""
        assert self._server is not None
        client, server = self._first["client"], self._first["server"]
        port = self._server[1]
        greeted = server.startswith(b"220")
        opened = client[:4].upper() in _GREETINGS or looks_like_hello(client)
        told = at_the_end or len(client) >= 4 or len(server) >= _UNDECIDED or len(self._before) > _UNDECIDED
        if not client and not server:
            if not told:
                return
            tried = self._syn is not None and port in self._ports
            self.unanswered = tried and "server" not in self._streams.opened
            is_mail = tried and not self.unanswered
        elif greeted and not opened and not told and (client or port not in self._ports):
            return
        elif not self._whole and not (greeted and (opened or not client)):
            self.headless = port in self._ports
            is_mail = False
        elif port in self._ports:
            is_mail = port in self._certain or greeted or opened or server[:3].isdigit() or not server
        else:
            is_mail = greeted and opened
        if is_mail:
            self._begin()
        else:
            self._foreign = True
            self._streams = Streams()
            self._before = []
            self._first = {"client": b"", "server": b""}

    def _begin(self) -> None:
        """It is SMTP."""
        assert self._server is not None
        self.overheard = Overheard(self.started, self.peer, _named(self._server))
        for heard in self._before:
            _tell(self.overheard, heard)
        self._before = []
        self._first = {"client": b"", "server": b""}


def _tell(overheard: Overheard, heard: Heard) -> None:
    match heard:
        case Said(sender=sender, at=at, data=data):
            overheard.heard(sender, data, at)
        case Gone(sender=sender, at=at, octets=octets):
            overheard.missing(sender, octets, at)
        case Told(at=at, text=text):
            overheard.told(text, at)
        case Ended(sender=sender, at=at, rst=rst):
            overheard.ended(sender, at, reset=rst)


def _key(segment: Segment) -> tuple[_Host, _Host]:
    return min(segment.source, segment.target), max(segment.source, segment.target)


def _named(host: _Host) -> str:
    address, port = host
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
