"""What another server refused in a capture that was made elsewhere: the one thing there that needs no rule to tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relayprobe.office365.recognise import Recognised, recognise
from relayprobe.tongue import said
from relayprobe.wire.events import Body, Credentials
from relayprobe.wire.session import Exchange, Reply, Session

MOST = 10
"""Refusals of a session that are explained."""

UNAUTHENTICATED = 535
"""RFC 4954 6: what only a login is answered, also where a cut text does not show its beginning."""

_STAGES = {b"EHLO": "EHLO", b"HELO": "HELO", b"MAIL": "MAIL FROM", b"RCPT": "RCPT TO", b"DATA": "DATA", b"BDAT": "BDAT"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A negative reply. `event`: its first line; `to`: what it refused; `found`: what is known of it."""

    event: int
    to: str
    reply: Reply
    found: Recognised


def refusals_of(session: Session) -> tuple[Refusal, ...]:
    """The replies by which a server stopped a mail or a login, each once; none in what our own listener captured, where
    the replies are our own."""
    if session.source in ("live", "export"):
        return ()
    found: dict[str, Refusal] = {}
    for to, reply in _refused(session):
        if len(found) < MOST and reply.text not in found:
            found[reply.text] = Refusal(reply.event, to, reply, recognise(_as_sent(reply)))
    return tuple(found.values())


def _refused(session: Session) -> Iterator[tuple[str, Reply]]:
    if session.banner and not session.banner.positive:
        yield said("the connection"), session.banner
    for exchange in session.exchanges:
        to = _stage(exchange, session)
        if to and exchange.reply and not exchange.reply.positive:
            yield to, exchange.reply


def _stage(exchange: Exchange, session: Session) -> str | None:
    """What a refusal of this stops; None where it stops nothing, for the device got on by another way."""
    if isinstance(exchange.said, Body):
        return said("the message")
    if isinstance(exchange.said, Credentials):
        got_in = session.login is not None and session.login.accepted
        begun = exchange.said.stage != "stray" or (
            exchange.reply is not None and exchange.reply.code == UNAUTHENTICATED
        )
        return said("the login") if begun and not got_in else None
    verb = exchange.command.verb if exchange.command else b""
    if verb == b"EHLO" and any(greeting.reply and greeting.reply.positive for greeting in session.greetings):
        return None  # HELO did
    return _STAGES.get(verb)


def _as_sent(reply: Reply) -> str:
    *first, last = reply.lines
    return "\n".join([*(f"{reply.code}-{line}" for line in first), f"{reply.code} {last}"])
