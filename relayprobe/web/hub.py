"""What goes on now: the sessions that are open, and news for whoever looks on.

The listener tells it of every event, hundreds of sessions a second of them, so an event costs an append. News are
gathered and go out a few times a second; who reads them too slowly is told that some were missed. All of it runs in
the event loop, but for `open` and `session`, which only look.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from relayprobe.wire.codec import to_object
from relayprobe.wire.events import Body, Connected, Event, Line, TlsHello

GATHER = 0.2
"""Seconds for which news are gathered."""

ROWS = 50
"""Ended sessions that one piece of news tells of; of more, the number is told."""

LINES = 500
"""Events of a session that one piece of news tells of."""

OPEN_SESSIONS = 2_000
EVENTS = 2_000
OCTETS = 256 * 1024
"""What is kept of sessions that are open: sessions, and of each events and octets."""

SUBSCRIBERS = 64
WAITING = 64
"""Pieces of news that wait for one subscriber."""

_BODY_HEAD = 8 * 1024


@dataclass(slots=True)
class Open:
    """A session that goes on. `left_out`: events that are not kept here, for there are too many."""

    id: str
    since: float
    peer: str = ""
    listener: str = ""
    events: list[Event] = field(default_factory=list)
    octets: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """One piece of news. `kind`: sessions, connected, lines, mails or missed; `thing`: as JSON can hold it."""

    kind: str
    thing: Mapping[str, Any]


class TooMany(Exception):
    """There are as many subscribers as there may be."""


class Hub:
    """Told of everything by the listener and the relay; asked by the page."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._ended: list[Mapping[str, Any]] = []
        self._ended_more = 0
        self._mails: list[Mapping[str, Any]] = []
        self._news_of_open = False
        self._due: asyncio.TimerHandle | None = None
        self.closed = False
        self.sessions: Counter[str] = Counter()  # that have ended since the start, by their worst finding
        self.findings: Counter[str] = Counter()

    # What the listener tells

    def event(self, session: str, event: Event) -> None:
        """An event of a session that goes on."""
        here = self._open.get(session)
        if here is None:
            if not isinstance(event, Connected):
                return
            if len(self._open) >= OPEN_SESSIONS:
                self._open.popitem(last=False)
            here = self._open[session] = Open(session, self._wall(), event.peer, event.listener)
            self._news_of_open = True
        weight = len(event.raw) if isinstance(event, Line | TlsHello) else 0
        if isinstance(event, Body):
            event = replace(event, raw=event.raw[:_BODY_HEAD])
            weight = len(event.raw)
        if len(here.events) >= EVENTS or here.octets + weight > OCTETS:
            here.left_out += 1
            return
        here.events.append(event)
        here.octets += weight
        if self._subscriptions:
            self._soon()

    def ended(self, row: Mapping[str, Any]) -> None:
        """A session has ended. `row`: as `sessions --json` has it."""
        here = self._open.pop(row["id"], None)
        self._news_of_open = True
        self.sessions[row["worst"] or "none"] += 1
        self.findings.update(row["findings"])
        if not self._subscriptions:
            return
        if here is not None:
            for one in self._subscriptions:
                if one.session == here.id:
                    self._tell_lines(one, here)
        if len(self._ended) < ROWS:
            self._ended.append(row)
        else:
            self._ended_more += 1
        self._soon()

    def mail(self, thing: Mapping[str, Any]) -> None:
        """Something happened to a mail. `thing`: as `queue list --json` has it."""
        if self._subscriptions:
            if len(self._mails) < ROWS:
                self._mails.append(thing)
            self._soon()

    def close(self) -> None:
        """No news any more: those who wait for them are let go."""
        self.closed = True
        if self._due is not None:
            self._due.cancel()
        for one in self._subscriptions:
            one.end()

    # What the page asks

    def open(self) -> list[Open]:
        """The sessions that go on, newest first."""
        return list(self._open.values())[::-1]

    def session(self, id: str) -> Open | None:
        """One that goes on."""
        return self._open.get(id)

    @contextmanager
    def subscribe(self, session: str | None = None) -> Iterator[Subscription]:
        """News for one reader; with `session`, the events of that one too. Raises TooMany."""
        if len(self._subscriptions) >= SUBSCRIBERS or self.closed:
            raise TooMany
        one = Subscription(session)
        self._subscriptions.append(one)
        if session is not None and (here := self._open.get(session)) is not None:
            self._tell_lines(one, here)
        try:
            yield one
        finally:
            self._subscriptions.remove(one)

    def _soon(self) -> None:
        if self._due is None and not self.closed:
            self._due = asyncio.get_running_loop().call_later(GATHER, self._tell)

    def _tell(self) -> None:
        self._due = None
        news: list[News] = []
        if self._news_of_open:
            news.append(News("connected", {"count": len(self._open)}))
        if self._ended:
            news.append(News("sessions", {"sessions": self._ended, "more": self._ended_more}))
        if self._mails:
            news.append(News("mails", {"mails": self._mails}))
        self._ended, self._ended_more, self._mails, self._news_of_open = [], 0, [], False
        for one in self._subscriptions:
            for piece in news:
                one.put(piece)
            if one.session is not None and (here := self._open.get(one.session)) is not None:
                self._tell_lines(one, here)

    @staticmethod
    def _tell_lines(one: Subscription, here: Open) -> None:
        while one.told < len(here.events):
            new = here.events[one.told : one.told + LINES]
            lines = [{"n": one.told + at, "event": to_object(event)} for at, event in enumerate(new)]
            one.put(News("lines", {"session": here.id, "lines": lines}))
            one.told += len(new)


class Subscription:
    """The news that wait for one reader."""

    def __init__(self, session: str | None) -> None:
        self.session = session
        self.told = 0
        self._queue: asyncio.Queue[News | None] = asyncio.Queue(WAITING)
        self._missed = 0

    def put(self, piece: News) -> None:
        """More news; counted only where the reader is too slow."""
        if self._missed or self._queue.full():
            self._missed += 1
            return
        self._queue.put_nowait(piece)

    def end(self) -> None:
        """No more will come."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self, patience: float) -> News | None:
        """The next piece of news; None at the end. TimeoutError where none came for so many seconds."""
        if self._missed and self._queue.empty():
            missed, self._missed = self._missed, 0
            return News("missed", {"count": missed})
        return await asyncio.wait_for(self._queue.get(), patience)
