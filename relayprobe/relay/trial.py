"""A test delivery: one message through a route, and the dialogue for whoever asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from relayprobe.office365.recognise import recognise
from relayprobe.relay.outcome import Deferred, Delivered, Outcome, Refused, Unknown
from relayprobe.relay.place import Letter
from relayprobe.relay.routes import Route
from relayprobe.relay.sending import Connector, RouteFailed, Word

WORDS: dict[type[Outcome], Word] = {
    Delivered: "delivered",
    Deferred: "deferred",
    Refused: "refused",
    Unknown: "unknown",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test delivery came to. `dialogue`: events as JSON texts."""

    route: str
    place: str
    result: Word
    reply: str
    dialogue: tuple[str, ...]

    @property
    def delivered(self) -> bool:
        """Whether the other side has it."""
        return self.result == "delivered"


async def trial(route: Route, connector: Connector, to: str, *, name: str, domain: str | None, now: float) -> Trial:
    """Send one message to an address."""
    sender = route.mailbox or f"relayprobe@{domain or name}"
    try:
        connection = await connector.connect()
    except RouteFailed as failure:
        # A reply that is known is explained where it is shown, any other trouble in its own words.
        says = failure.reply if recognise(failure.reply).matches else failure.trouble.why
        return Trial(route.name, failure.place, "deferred", says, failure.dialogue)
    try:
        letter = Letter(sender, (to,), lambda: _text(route, sender, to, name, now))
        sent = await connection.upstream.send(letter)
        outcome = sent.outcomes[0]
        words = outcome.reply.line if isinstance(outcome, Delivered) else str(outcome.said)
        if isinstance(outcome, Unknown):
            words += " (it may have arrived all the same)"
        return Trial(route.name, connection.place, WORDS[type(outcome)], words, connection.events())
    finally:
        await connection.close()


def _text(route: Route, sender: str, to: str, name: str, now: float) -> Iterator[bytes]:
    lines = (
        f"From: relayprobe <{sender}>",
        f"To: <{to}>",
        f"Subject: Test of route {route.name}",
        f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}",
        f"Message-ID: <test.{now:.0f}.{route.name}@{name}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"relayprobe sent this through its route {route.name} ({route.place}) to see whether it works.",
        "",
    )
    yield "\r\n".join(lines).encode("ascii", "replace")
