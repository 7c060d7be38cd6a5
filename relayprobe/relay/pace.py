"""How fast mail may go out: messages a minute, recipients a day, waits between attempts.

Nothing here reads a clock, waits or draws a random number: the time and the chance come in as arguments. `Bucket` is
given the monotonic time, `Days` the wall's, since it is kept over restarts. A wall clock may jump: `Jumps` finds the
jump by comparing both clocks, and `Days.jumped` moves what was counted along with it. Where nobody tells of a jump,
what lies in the future counts as sent just now, so nothing is forgotten by a step back, and none lasts over 25 hours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3600.0, 24  # a day in hours: what `Days` counts in
SHORTEST = 0.001
"""Seconds: no wait is shorter, or a rounding of the clock would make it one that never ends."""

MESSAGES_A_MINUTE = 30
RECIPIENTS_A_DAY = 10_000
"""What Office 365 takes from one mailbox (office365.endpoints, client submission)."""


class Bucket:
    """Messages of one mailbox: never more than so many in any stretch of a minute.

    A log of the last so many, not a bucket that fills: a full bucket lets its content and a minute's filling go within
    the same minute, and Office 365 counts both. Between `wait` and `take` nobody else may take, so no await there.
    """

    def __init__(self, per_minute: int = MESSAGES_A_MINUTE) -> None:
        if per_minute < 1:
            raise ValueError("at least one message a minute must be allowed")
        self.per_minute = per_minute
        self._taken: deque[float] = deque(maxlen=per_minute)

    def wait(self, now: float, under_way: int = 0) -> float:
        """Seconds until one may go; 0: now. `under_way`: so many have begun, and are taken when they end, for when in
        between the other side counts them nobody knows."""
        self._settle(now)
        free = (self._taken.maxlen or 0) - under_way
        if free <= 0:
            return SECOND
        if len(self._taken) < free or now >= self._taken[-free] + MINUTE:
            return 0.0
        return max(self._taken[-free] + MINUTE - now, SHORTEST)

    def take(self, now: float) -> None:
        """One goes now. It counts whether or not it had to wait."""
        self._settle(now)
        self._taken.append(now)

    def _settle(self, now: float) -> None:
        """After a step back of the clock: what lies in the future went just now, for all that is known."""
        if self._taken and self._taken[-1] > now:
            self._taken = deque((min(at, now) for at in self._taken), self._taken.maxlen)


class Days:
    """Recipients of one mailbox: never more than so many in any 24 hours, over restarts too.

    Counted by the hour: this one and the 24 before it hold every stretch of 24 hours that ends now, so the count errs
    on the side of fewer. `counts` is what a store keeps, and what the next process begins with.
    """

    def __init__(self, counts: Mapping[str, int] | None = None, most: int = RECIPIENTS_A_DAY) -> None:
        if most < 1:
            raise ValueError("at least one recipient a day must be allowed")
        self.most = most
        self._hours = dict(_sound(counts or {}))
        self._moved = 0.0  # seconds of jumps that did not make a whole hour

    @property
    def counts(self) -> dict[str, int]:
        """Recipients by the hour since 1970, the hour as text, for JSON has no other keys."""
        return {str(hour): n for hour, n in sorted(self._hours.items())}

    def room(self, now: float) -> int:
        """How many more may be written to now."""
        self._settle(now)
        return max(0, self.most - sum(self._hours.values()))

    def add(self, now: float, n: int) -> None:
        """So many were written to now."""
        self._settle(now)
        hour = _hour(now)
        self._hours[hour] = self._hours.get(hour, 0) + n

    def remember(self, counts: Mapping[str, int]) -> None:
        """What was counted before, by whoever shared the mailbox: each kept the count of all, as it was at its time."""
        for hour, n in _sound(counts):
            self._hours[hour] = max(n, self._hours.get(hour, 0))

    def wait(self, now: float, n: int = 1) -> float:
        """Seconds until so many may be written to; 0: now. More than a whole day's wait for a day without any."""
        n = min(n, self.most)
        left = sum(self._hours.values()) if self.room(now) < n else 0
        wait = 0.0
        for hour in sorted(self._hours):
            if left + n <= self.most:
                break
            left -= self._hours[hour]
            wait = max((hour + DAY + 1) * HOUR - now, SHORTEST)
        return wait

    def jumped(self, seconds: float) -> None:
        """The wall clock was set so many seconds forward (negative: back), and the counts move along."""
        moved = self._moved + seconds
        hours = math.ceil(moved / HOUR)  # up: an hour's share that falls in two hours counts in the later one
        self._moved = moved - hours * HOUR
        if hours:
            self._hours = {hour + hours: n for hour, n in self._hours.items()}

    def _settle(self, now: float) -> None:
        """Forget what is over a day old, and count what lies in the future as of now."""
        this = _hour(now)
        if self._hours and (min(self._hours) < this - DAY or max(self._hours) > this):
            settled: dict[int, int] = {}
            for hour, n in self._hours.items():
                if hour >= this - DAY:
                    settled[min(hour, this)] = settled.get(min(hour, this), 0) + n
            self._hours = settled


def _hour(now: float) -> int:
    return math.floor(now / HOUR)


def _sound(counts: Mapping[str, int]) -> Iterable[tuple[int, int]]:
    """What can be counts. A store may be damaged, and mail flows all the same."""
    for hour, n in counts.items():
        try:
            at = int(hour)
        except (TypeError, ValueError):
            continue
        if isinstance(n, int) and n > 0:
            yield at, n


class Jumps:
    """Finds the jumps of the wall clock: what it has gone more, or less, than the monotonic one.

    The time that a machine slept may look like one, since the monotonic clock need not go on then; to move the counts
    with it only makes them last longer.
    """

    SLACK = 2.0
    """Seconds between the clocks that are no jump, but a correction of the pace."""

    def __init__(self, wall: float, monotonic: float) -> None:
        self._apart = wall - monotonic

    def seen(self, wall: float, monotonic: float) -> float:
        """Seconds by which the wall clock has jumped since the last jump that was told; mostly 0."""
        apart = wall - monotonic
        jump = apart - self._apart
        if abs(jump) < self.SLACK:
            return 0.0
        self._apart = apart
        return jump


def backoff(schedule: Sequence[float], attempts: int, spread: Callable[[], float]) -> float:
    """Seconds until the next attempt, after so many. The last of the schedule repeats; `spread` gives 0 to 1.

    A fifth more or less: a hundred messages that failed together do not come back together.
    """
    wait = schedule[min(max(attempts, 1), len(schedule)) - 1]
    return wait * (0.8 + 0.4 * spread())
