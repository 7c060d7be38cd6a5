"""A mail in the spool, its recipients, and the attempts at its delivery: the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from relayprobe.wire.events import BodyEnd, LineFacts

State = Literal["waiting", "sending", "held", "failed", "delivered", "dropped"]
OPEN: tuple[State, ...] = ("waiting", "sending", "held")
"""The states of mail that is still to be delivered: its session and its text are not purged."""
QUEUED: tuple[State, ...] = (*OPEN, "failed")
"""The states of mail that `queue list` shows."""

EVERY: tuple[State, ...] = (*QUEUED, "delivered", "dropped")

MOST_CRASHES = 3
"""Attempts that never ended, after which a mail is set aside: it may be what ends the process."""

RecipientState = Literal["waiting", "delivered", "refused", "dropped"]
Kind = Literal["device", "notice", "report", "test"]
"""Whose mail it is: a device's, or one of relayprobe's own, about which nobody is told when it cannot be delivered."""


@dataclass(frozen=True, slots=True)
class Text:
    """One captured text of a session: body `n`, its size in octets, its digest (BLAKE2b, 16 octets), how it ended."""

    n: int
    size: int
    digest: bytes
    end: BodyEnd
    lines: LineFacts


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient, and the latest reply about it."""

    address: str
    state: RecipientState = "waiting"
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in the spool. Times are Unix time in seconds, sizes octets.

    `session` names the captured session whose bodies its text is made of. `route` is the route it was given when it
    was taken. `due`: when it is tried next. `deferrals` counts attempts that count towards nothing but the waits
    between them; `crashes` attempts that never ended; `unknown` attempts after which nobody knows whether the other
    side kept the mail. `at_once`: the device waits for the reply of the other side.
    """

    id: str
    session: str
    texts: tuple[Text, ...]
    arrived: float
    host: str
    user: str | None
    sender: str
    recipients: tuple[Recipient, ...]
    route: str
    kind: Kind = "device"
    state: State = "waiting"
    due: float = 0.0
    attempts: int = 0
    deferrals: int = 0
    crashes: int = 0
    unknown: int = 0
    at_once: bool = False
    why: str | None = None
    changed: tuple[str, ...] = ()  # what was put right about its envelope, and why it took another route

    @property
    def size(self) -> int:
        """Of its text as it crossed the wire."""
        return sum(text.size for text in self.texts)

    @property
    def suspect(self) -> bool:
        """Whether one more crash sets it aside."""
        return self.crashes >= MOST_CRASHES - 1

    @property
    def waiting(self) -> tuple[str, ...]:
        """The recipients that it is still to be delivered to."""
        return tuple(one.address for one in self.recipients if one.state == "waiting")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at delivery, `ended` None while it is being made or where it never ended.

    `result` is a word: delivered, deferred, refused, unknown, mixed, interrupted. `dialogue`: its events as JSON
    texts. `repairs`: what was put right, `[{"id", "count", "says"}]`.
    """

    number: int
    mail: str
    began: float
    route: str
    place: str
    ended: float | None = None
    result: str | None = None
    stage: str | None = None
    reply: str | None = None
    dialogue: tuple[str, ...] = ()
    repairs: tuple[dict[str, Any], ...] = ()
