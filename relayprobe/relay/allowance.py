"""What a mailbox may send at the moment, whichever routes send as it; and whether taking mail goes before sending."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from relayprobe.relay.pace import Bucket, Days
from relayprobe.relay.routes import Route


@dataclass
class Allowance:
    """What a mailbox may: several routes may share one. `under_way`: mails, and `recipients` theirs, that are being
    sent and count already. `wanted`: connections that are waited for; `sharers` let go of those they do not use."""

    connections: int
    bucket: Bucket | None
    days: Days | None
    open: int = 0
    under_way: int = 0
    recipients: int = 0
    wanted: int = 0
    sharers: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def of(cls, route: Route) -> Allowance:
        """What the mailbox of a route may."""
        bucket = Bucket(route.per_minute) if route.per_minute else None
        return cls(route.connections, bucket, Days(most=route.per_day) if route.per_day else None)

    def fit(self, route: Route) -> None:
        """The limits of the route are others now. What was sent stays counted."""
        new = Allowance.of(route)
        self.connections = new.connections
        if self.bucket is None or new.bucket is None or self.bucket.per_minute != new.bucket.per_minute:
            self.bucket = new.bucket
        if self.days is not None and route.per_day:
            new.days = Days(self.days.counts, route.per_day)
        self.days = new.days


class Rush:
    """Whether devices bring mail faster than it can be sent beside: then taking it goes first."""

    MANY, WITHIN = 20, 0.5  # mails, seconds

    def __init__(self) -> None:
        self._taken: deque[float] = deque([float("-inf")] * self.MANY, self.MANY)

    def taken(self, now: float) -> None:
        """A mail was taken; monotonic time."""
        self._taken.append(now)

    def on(self, now: float) -> bool:
        """Whether it is so now."""
        return 0 <= now - self._taken[0] < self.WITHIN
