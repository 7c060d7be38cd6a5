"""The two streams of a TCP connection, put together from the segments of a capture.

What a side sent is given out in its own order, each octet once, and not before what it answers: a segment that
acknowledges octets of the other side waits for these, for a capture may have its packets in a slightly other order than
the wire. What does not come within a short while is missing: the capture has lost it, for the other side has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relayprobe.wire.events import Side
from relayprobe.wire.packets import Segment

PATIENCE = 1.0
"""Seconds of the capture that a segment waits for what should come before it."""

MOST_HELD, MOST_HELD_OCTETS = 512, 4 * 1024 * 1024
"""How many segments of a connection may wait so, and how many octets."""

_WINDOW = 1 << 30
"""No window of TCP is larger (RFC 7323 2.3): a number further off belongs to another connection, or to none."""

_OTHER: dict[Side, Side] = {"client": "server", "server": "client"}


@dataclass(frozen=True, slots=True)
class Said:
    """Octets of one side."""

    sender: Side
    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """Octets of one side that the capture does not have."""

    sender: Side
    at: float
    octets: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One side has sent its last: `rst`, it wants to hear no more either."""

    sender: Side
    at: float
    rst: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What relayprobe has written beside a packet of a side, in an export of its own. It is about the packet itself, so
    it stands in front of it."""

    sender: Side
    at: float
    text: str


Heard = Said | Gone | Ended | Told


@dataclass(slots=True)
class _Held:
    """A segment that waits. `begin` and `answers` are counted from the beginning of each side's stream."""

    sender: Side
    segment: Segment
    begin: int
    answers: int | None


class Streams:
    """Takes the segments of one connection in the order of the capture."""

    def __init__(self) -> None:
        self.opened: set[Side] = set()  # who has said SYN
        self._zero: dict[Side, int] = {}  # the sequence number of each side's first octet
        self._done: dict[Side, int] = {"client": 0, "server": 0}  # octets given out
        self._ended: set[Side] = set()
        self._held: list[_Held] = []
        self._octets = 0

    @property
    def held_octets(self) -> int:
        """Octets that wait."""
        return self._octets

    @property
    def over(self) -> bool:
        """Whether both sides have sent their last."""
        return len(self._ended) == 2

    def add(self, sender: Side, segment: Segment) -> list[Heard]:
        """Take a segment; what can be given out by it."""
        told: list[Heard] = [Told(sender, segment.at, segment.comment)] if segment.comment else []
        return told + self._add(sender, segment)

    def _add(self, sender: Side, segment: Segment) -> list[Heard]:
        if segment.syn:
            self.opened.add(sender)
            self._zero.setdefault(sender, (segment.seq + 1) & 0xFFFFFFFF)
            return []
        if sender not in self._zero:
            self._zero[sender] = segment.seq  # the capture begins within the connection
        if segment.ack is not None and _OTHER[sender] not in self._zero:
            self._zero[_OTHER[sender]] = segment.ack
        if segment.rst:
            over = self.over
            heard = self.flush(segment.at)
            self._ended |= {"client", "server"}
            return heard if over else [*heard, Ended(sender, segment.at, rst=True)]
        if not segment.size and not segment.fin:
            return []
        begin = self._place(sender, segment.seq)
        if abs(begin - self._done[sender]) > _WINDOW:
            return []
        answers = None if segment.ack is None else self._place(_OTHER[sender], segment.ack)
        if answers is not None and abs(answers - self._done[_OTHER[sender]]) > _WINDOW:
            answers = None
        self._held.append(_Held(sender, segment, begin, answers))
        self._octets += len(segment.data)
        return list(self._out(segment.at))

    def flush(self, at: float) -> list[Heard]:
        """Give out all that waits: nothing will come that it waits for."""
        found: list[Heard] = []
        while self._held:
            found += self._ready()
            if self._held:
                found += self._give_up(at)
        return found

    def _place(self, sender: Side, number: int) -> int:
        """A sequence number as a count from the beginning of the stream, which may be longer than numbers go."""
        done = self._done[sender]
        ahead = (number - self._zero[sender] - done + 0x80000000) & 0xFFFFFFFF
        return done + ahead - 0x80000000

    def _out(self, now: float) -> Iterator[Heard]:
        yield from self._ready()
        while self._held and (
            now - self._held[0].segment.at > PATIENCE or len(self._held) > MOST_HELD or self._octets > MOST_HELD_OCTETS
        ):
            yield from self._give_up(now)
            yield from self._ready()

    def _ready(self) -> list[Heard]:
        """What waits for nothing any more."""
        found: list[Heard] = []
        at = 0
        while at < len(self._held):
            held = self._held[at]
            if held.begin > self._done[held.sender] or (
                held.answers is not None and held.answers > self._done[_OTHER[held.sender]] + self._end(held.sender)
            ):
                at += 1
                continue
            del self._held[at]
            self._octets -= len(held.segment.data)
            found += self._given(held)
            at = 0
        return found

    def _end(self, sender: Side) -> int:
        """The end of the other side's stream counts as an octet where it is acknowledged."""
        return _OTHER[sender] in self._ended

    def _given(self, held: _Held) -> Iterator[Heard]:
        sender, segment = held.sender, held.segment
        if sender in self._ended:
            return
        begin, done = held.begin, self._done[sender]
        end = begin + segment.size
        if end > done:
            data = segment.data[done - begin :]
            if data:
                yield Said(sender, segment.at, data)
            if lost := end - done - len(data):
                yield Gone(sender, segment.at, lost)  # the capture cut the packet short
            self._done[sender] = end
        if segment.fin and end >= self._done[sender]:
            self._ended.add(sender)
            yield Ended(sender, segment.at)

    def _give_up(self, now: float) -> Iterator[Gone]:
        """What the oldest waits for does not come."""
        held = self._held[0]
        side, until = held.sender, held.begin
        if held.answers is not None and held.answers > self._done[_OTHER[side]] + self._end(side):
            side, until = _OTHER[side], held.answers
        done = self._done[side]
        for other in self._held:
            if other.sender == side:
                if other.begin <= done:  # it waits for the oldest, as that does for it: only made-up numbers can
                    other.answers = None
                    return
                until = min(until, other.begin)
        self._done[side] = until
        yield Gone(side, now, until - done)
