"""Interviews with devices: which offer each is made next, and what has come of it so far. One for each address."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relayprobe.advice.interview import MOST_VISITS, Offer, Profile, next_offer, profile_of
from relayprobe.capture.answers import Accept
from relayprobe.wire.events import Body, Line
from relayprobe.wire.session import Session, session_of

DEVICES = 20
"""Devices that are interviewed at once; of one more, the first is forgotten."""

EVENTS, OCTETS = 150, 2048
"""Of a session that are kept: a test mail has some forty events, and its header fits."""

WAIT = 2.0
"""Seconds that a device is given to begin with TLS, when that is the question."""


class Interviewer(Accept):
    """Answers one connection with the offer that is its question."""

    interview = True

    def __init__(
        self, name: str, offer: Offer, *, accounts: Mapping[str, str], message_size: int, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(
            name,
            accounts=accounts,
            message_size=message_size,
            mechanisms=offer.mechanisms,
            starttls=offer.starttls,
            tls=tls,
        )
        self.offer = offer
        self.hello_wait = WAIT if offer.waits else None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an interview stands after a send. `next` is None when it is over."""

    host: str
    offer: Offer
    profile: Profile
    next: Offer | None
    best: Session | None  # the session that says most for the advice


@dataclass(slots=True)
class _Interview:
    answers: list[tuple[Offer, Session]] = field(default_factory=list)
    next: Offer | None = field(default_factory=lambda: next_offer(Profile()))


class Interviews:
    """All that are under way. `new_tls`: a context that takes TLS 1.2 and nothing else."""

    def __init__(self, name: str, *, accounts: Mapping[str, str], message_size: int, new_tls: ssl.SSLContext) -> None:
        self._name = name
        self._accounts = accounts
        self._message_size = message_size
        self._new_tls = new_tls
        self._devices: OrderedDict[str, _Interview] = OrderedDict()
        self._made: OrderedDict[str, Offer] = OrderedDict()  # by session

    def answers_for(self, host: str, session: str) -> Accept:
        """Who answers a new connection of a device: with its question, or as usual when there is none left."""
        interview = self._devices.setdefault(host, _Interview())
        self._devices.move_to_end(host)
        if len(self._devices) > DEVICES:
            self._devices.popitem(last=False)
        if interview.next is None:
            return Accept(self._name, accounts=self._accounts, message_size=self._message_size)
        self._made[session] = interview.next
        if len(self._made) > DEVICES * MOST_VISITS:
            self._made.popitem(last=False)
        tls = self._new_tls if interview.next.tls == "1.2" else None
        return Interviewer(
            self._name, interview.next, accounts=self._accounts, message_size=self._message_size, tls=tls
        )

    def heard(self, session: Session) -> Progress | None:
        """Take what came of a connection; None where it was no answer to a question."""
        offer = self._made.pop(session.id, None)
        interview = self._devices.get(session.host)
        if offer is None or interview is None or interview.next is None:
            return None
        if session.closed and session.closed.how == "shutdown":
            return None  # it was relayprobe that broke it off
        interview.answers.append((offer, _light(session)))
        profile = profile_of(interview.answers)
        interview.next = next_offer(profile)
        return Progress(session.host, offer, profile, interview.next, _best(interview.answers))


def _light(session: Session) -> Session:
    """As much of a session as an interview looks at: what a device sends may be large, and it may come often."""
    events = [
        replace(event, raw=event.raw[:OCTETS]) if isinstance(event, Body | Line) else event
        for event in session.events[:EVENTS]
    ]
    return session_of(events, id=session.id, started=session.started, mode=session.mode, site=session.site)


def _best(answers: list[tuple[Offer, Session]]) -> Session | None:
    """The first session that was offered what Office 365 offers, and more, and brought a message; else any that did."""
    ranked = sorted(answers, key=lambda one: (not one[1].messages, not one[0].starttls, not one[0].mechanisms))
    return ranked[0][1] if ranked else None
