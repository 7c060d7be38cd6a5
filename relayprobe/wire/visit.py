"""A visit: what is remembered of a session of the same device, for rules that look at more than one.

A device may come a hundred times an hour, so what is kept of each time is a few numbers, and not the dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relayprobe.wire.events import Body, Credentials
from relayprobe.wire.session import Session

MAILS = 64
"""Times of messages that are kept of one visit: twice what Office 365 takes in a minute."""

LOOK_BACK, MOST_VISITS = 600.0, 120
"""How many seconds before a session its device's visits are looked at, and how many of them at the most."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One session. Times are Unix time in seconds; `ended` is None while it goes on.

    `name`: what the device called itself in its first greeting. `user`: the login, None where none was made or it is
    not known yet. `mails`: when the latest messages were accepted. `refusal`: code and stage of the last permanent
    refusal, as `535 auth`, None where there was none. `pop3`: it was at the POP3 listener, and with
    `pop3_login` a login was begun there.
    """

    id: str
    started: float
    ended: float | None
    name: str = ""
    user: str | None = None
    mails: tuple[float, ...] = ()
    refusal: str | None = None
    tls_failed: bool = False
    pop3: bool = False
    pop3_login: bool = False

    def open_at(self, moment: float) -> bool:
        """Whether it was going on at that time."""
        return self.started <= moment and (self.ended is None or self.ended > moment)


def visit_of(session: Session) -> Visit:
    """What is kept of a session."""
    login = session.login
    mails = [session.started + message.body.until for message in session.messages[-MAILS:]]
    return Visit(
        id=session.id,
        started=session.started,
        ended=session.started + session.closed.at if session.closed else None,
        name=session.greetings[0].name.lower() if session.greetings else "",
        user=login.user.lower() if login and login.user else None,
        mails=tuple(mails),
        refusal=refusal_of(session),
        tls_failed=bool(session.tls_failures),
        pop3=session.pop3,
        pop3_login=session.pop3_login is not None,
    )


def refusal_of(session: Session) -> str | None:
    """The last permanent refusal, as `535 auth`: the code, and what it was the answer to."""
    for exchange in reversed(session.exchanges):
        reply = exchange.reply
        if reply is None or reply.code < 500:
            continue
        verb = exchange.command.verb.decode("latin-1").lower() if exchange.command else ""
        if verb in ("mail", "rcpt", "data", "ehlo", "helo", "starttls"):
            return f"{reply.code} {verb}"
        if isinstance(exchange.said, Body):
            return f"{reply.code} message"
        if isinstance(exchange.said, Credentials) and exchange.said.stage != "stray":
            return f"{reply.code} auth"
    return None


def within(visits: Sequence[Visit], session: Session) -> tuple[Visit, ...]:
    """Those of a device's visits that belong beside a session: begun before it ended, and not too long before it."""
    end = session.started + session.closed.at if session.closed else session.started
    found = [
        visit
        for visit in visits
        if visit.id != session.id
        and visit.started <= end
        and (visit.ended is None or visit.ended >= session.started - LOOK_BACK)
    ]
    return tuple(sorted(found, key=lambda visit: visit.started)[-MOST_VISITS:])
