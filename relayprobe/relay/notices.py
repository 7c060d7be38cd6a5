"""Whether and when an administrator is told: each thing once in a while, so many an hour, and delivery never waits.

`tell` puts a notice into a queue and is done; a task of its own sends it by every channel. The same news (kind and key)
is told once in four hours, unless the opposite was told between: that a route has stopped, works, and has stopped. Over
twenty an hour, what comes is gathered, and told as one when there is room. What no channel took is not taken for told.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import structlog

from relayprobe.relay.channels import Channel, Command, Mail, Webhook
from relayprobe.relay.occasions import Kind, Notice, summary

__all__ = ["Channel", "Command", "Kind", "Mail", "Notice", "Notifier", "Webhook"]

log = structlog.get_logger(__name__)

REPEAT = 4 * 3600.0
HOURLY = 20
HOUR = 3600.0
WAITING = 100
"""Notices in the queue; what comes on top is counted, and told as a number."""
REMEMBERED = 1000
GATHERED = 50
"""Subjects in a summary; the rest is a number."""
AT_LEAST = 60.0
"""Seconds after which it is looked whether there is room for the summary: a clock may have jumped."""

OPPOSITES: dict[Kind, Kind] = {"stopped": "working", "working": "stopped"}


class Notifier:
    """Tells by all channels. `clock` is for the times between; `wall` for the date of a summary."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        repeat: float = REPEAT,
        hourly: int = HOURLY,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if hourly < 1:
            raise ValueError("at least one notice an hour must be allowed")
        self._channels = channels
        self._repeat = repeat
        self._hourly = hourly
        self._clock = clock
        self._wall = wall
        self._queue: asyncio.Queue[Notice | None] = asyncio.Queue(WAITING)
        self._told: OrderedDict[tuple[Kind, str], float] = OrderedDict()
        self._sent: deque[float] = deque(maxlen=hourly)
        self._gathered: list[str] = []
        self._more = self._lost = 0
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def tell(self, notice: Notice) -> bool:
        """Have it sent; False where it is not to be, or cannot be. Never waits, never raises; within the event loop."""
        if self._closed or not self._channels or not self._is_news(notice):
            return False
        self._unsent += 1
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            self._lost += 1
            self._told.pop((notice.kind, notice.key), None)
            log.warning("notice lost", kind=notice.kind, subject=notice.subject)
            return False
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return True

    async def close(self, deadline: float = 5.0) -> None:
        """Send what waits, the summary too, for so many seconds; what is left is said in the log."""
        self._closed = True
        if self._task is None:
            return
        try:
            async with asyncio.timeout(deadline):
                await self._queue.put(None)
                await asyncio.shield(self._task)
        except TimeoutError:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            log.warning("notices not sent", number=self._unsent)

    def _is_news(self, notice: Notice) -> bool:
        now = self._clock()
        key = (notice.kind, notice.key)
        before = self._told.get(key)
        if before is not None and 0 <= now - before < self._repeat:
            return False
        if opposite := OPPOSITES.get(notice.kind):
            self._told.pop((opposite, notice.key), None)
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._until_summary()):
                    notice = await self._queue.get()
            except TimeoutError:
                pass
            else:
                if notice is None:
                    break
                if self._gathered or not self._room():
                    self._gather(notice)
                else:
                    await self._send(notice)
                    self._unsent -= 1
            if (self._gathered or self._lost) and self._room() and self._queue.empty():
                await self._send_summary()
        if self._gathered or self._lost:
            await self._send_summary()

    def _room(self) -> bool:
        """Whether another may be sent in this hour."""
        return len(self._sent) < self._hourly or not 0 <= self._clock() - self._sent[0] < HOUR

    def _until_summary(self) -> float | None:
        """Seconds to wait for another notice at most."""
        if not self._gathered and not self._lost:
            return None
        return 0.0 if self._room() else min(AT_LEAST, max(self._sent[0] + HOUR - self._clock(), 0.1))

    def _gather(self, notice: Notice) -> None:
        if len(self._gathered) < GATHERED:
            self._gathered.append(notice.subject)
        else:
            self._more += 1

    async def _send_summary(self) -> None:
        notice = summary(self._gathered, self._more, self._lost, at=self._wall())
        told = len(self._gathered) + self._more + self._lost
        self._gathered, self._more, self._lost = [], 0, 0
        await self._send(notice)
        self._unsent -= told

    async def _send(self, notice: Notice) -> None:
        self._sent.append(self._clock())
        sent = await asyncio.gather(*(self._try(channel, notice) for channel in self._channels))
        if not any(sent):
            self._told.pop((notice.kind, notice.key), None)

    async def _try(self, channel: Channel, notice: Notice) -> bool:
        try:
            why = await channel.send(notice)
        except Exception as error:  # a channel from elsewhere may raise, and the others are to be used all the same
            why = type(error).__name__
        if why is None:
            log.info("notice sent", channel=channel.name, kind=notice.kind, subject=notice.subject)
        else:
            log.warning("notice not sent", channel=channel.name, kind=notice.kind, subject=notice.subject, because=why)
        return why is None
