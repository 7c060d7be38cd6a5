"""How a route is: at work, waiting after a failure, or stopped until somebody sees to it. Pure; times are Unix time.

The state of a route is apart from that of the mail: when nobody answers, or the login is refused, it is the route that
waits, and one mail tries it again, not the whole queue. What stops a route is tried again by itself, seldom and ever
more seldom, so that a fault which is mended elsewhere ends by itself, and no mailbox is locked by a wrong password.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from relayprobe.relay.pace import backoff

Scope = Literal["later", "throttled", "stop", "configuration", "hours"]
"""Why a route cannot go on: nobody answers; too fast; the login; how it is set up; a penalty."""

THROTTLED = (60.0, 120.0, 300.0, 900.0)
"""Seconds: Office 365 counts by the minute, and says nothing of longer waits."""

SELDOM = 3000.0
"""Seconds: a route that nobody answers at is tried at least so often, for one connection costs nobody anything."""

STOPPED = (3600.0, 2 * 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds until a stopped route is tried again by itself: five times on the first day, once on each day after it."""

HOURS = (4 * 3600.0, 8 * 3600.0, 24 * 3600.0)
"""Seconds: 550 5.2.251 to 5.2.255 are penalties that each attempt makes longer (office365.md section 5)."""


LONGEST = 1.3 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Health:
    """`until`: when it is tried again, None while it works. `failures` in a row, of one `scope`."""

    state: Literal["ok", "waiting", "stopped"] = "ok"
    scope: Scope | None = None
    why: str | None = None
    since: float = 0.0
    until: float | None = None
    failures: int = 0

    def blocked(self, now: float) -> float:
        """Seconds until it may be tried; 0: now. A clock that was put back does not stop it for longer than it
        would have been."""
        if self.until is None:
            return 0.0
        return min(max(0.0, self.until - now), LONGEST)

    def record(self) -> dict[str, Any]:
        """What is kept over a restart."""
        return asdict(self)


WELL = Health()


def failed(
    health: Health, scope: Scope, why: str, now: float, retry: Sequence[float], spread: Callable[[], float]
) -> Health:
    """After a failure of the route."""
    failures = health.failures + 1 if health.scope == scope else 1
    waits = {"later": [min(wait, SELDOM) for wait in retry], "throttled": THROTTLED, "hours": HOURS}.get(scope, STOPPED)
    return Health(
        state="waiting" if scope in ("later", "throttled") else "stopped",
        scope=scope,
        why=why,
        since=health.since if health.state != "ok" else now,
        until=now + backoff(waits, failures, spread),
        failures=failures,
    )


def asked_again(health: Health) -> Health:
    """Somebody wants it tried now: what it was is not forgotten before it has worked."""
    return replace(health, until=None) if health.state != "ok" else health


def shifted(health: Health, seconds: float, now: float) -> Health:
    """The clock was set so many seconds forward, and it is `now` by it. What was set by the new clock already, before
    anybody knew, is not put off for as long again."""
    if health.until is None:
        return health
    return replace(health, until=min(health.until + seconds, now + LONGEST))


def from_record(record: dict[str, Any]) -> Health:
    """The health that was kept. At a start a stopped route is tried once, but for a penalty, which grows by that."""
    try:
        health = Health(**{key: record[key] for key in Health.__slots__ if key in record})
    except TypeError:
        return WELL
    return health if health.scope == "hours" else asked_again(health)
