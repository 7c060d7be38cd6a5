"""The dialogue with the other side, kept as events like that of a device: relayprobe is the client in it.

One connection may carry many letters. What was said up to the login is kept as the introduction, and what a letter
brought beside it, so that an attempt's transcript is both. Of a text only what is counted is kept, for the spool has
the octets. A server may say much; what is kept of it has a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from relayprobe.wire.dialogue import BodyPart, Dialogue, Output
from relayprobe.wire.events import Body, Closed, ClosedHow, Connected, Event, Line, Side, TlsFailed, TlsUp

MOST_EVENTS, MOST_OCTETS = 10_000, 2**20
"""Events, and octets of lines in them, that are kept of the introduction, and of each letter."""


class Record:
    """Records one connection."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._dialogue = Dialogue()
        self._intro: list[Event] = []
        self._part = self._intro
        self._octets = 0
        self._over = False

    @property
    def transcript(self) -> tuple[Event, ...]:
        """What was said up to the login, and what the present letter brought."""
        return tuple(self._intro) if self._part is self._intro else (*self._intro, *self._part)

    def letter(self) -> None:
        """A letter begins: what an earlier one brought is let go."""
        self._part = []
        self._octets = 0

    def connected(self, peer: str, local: str) -> None:
        """The connection is there. `peer` is the server's address, `local` our own: the event names first who came."""
        self._began = self._clock()
        self._keep([Connected(0.0, local, peer)])

    def heard(self, side: Side, data: bytes) -> None:
        """One side has sent this."""
        if not self._over:
            self._keep(self._dialogue.receive(side, data, self._now()))

    def secured(self, version: str, cipher: str) -> None:
        """TLS is up."""
        self._dialogue.secured()
        self._keep([TlsUp(self._now(), version, cipher)])

    def tls_failed(self, reason: str) -> None:
        """The handshake came to nothing."""
        self._keep([TlsFailed(self._now(), "client", reason)])

    def closed(self, by: Side, how: ClosedHow) -> None:
        """The connection is over. Only the first time counts."""
        if self._over:
            return
        self._over = True
        self._keep(self._dialogue.close(self._now()))
        self._part.append(Closed(self._now(), by, how))

    def _now(self) -> float:
        return self._clock() - self._began

    def _keep(self, outputs: list[Output]) -> None:
        for output in outputs:
            if not isinstance(output, BodyPart) and len(self._part) < MOST_EVENTS:
                self._part.append(self._kept(output))

    def _kept(self, event: Event) -> Event:
        match event:
            case Body():
                return replace(event, raw=b"")
            case Line(raw=raw):
                room = max(0, MOST_OCTETS - self._octets)
                self._octets += len(raw)
                if len(raw) > room:
                    return replace(event, raw=raw[:room], omitted=event.omitted + len(raw) - room)
        return event
