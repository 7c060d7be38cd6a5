"""`mode = "auto"`: the advice of the diagnosis chooses among the configured routes, for each mail, and says why.

The advised way comes first, then its alternatives, then the routes as they are configured. What is wrong with the
device counts for that order only, for relayprobe talks to Office 365 itself and puts the rest right: the decision table
is asked again as if the mail came from a device without a fault. What closes a route is then what remains: who the mail
goes to, whose sender it has, how large it is, and what was told of the site. A route that is stopped, or that what was
told of the site speaks against without being sure, is passed over as long as another one takes the mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from relayprobe.advice.case import Case, Login, Recipients, case_of
from relayprobe.advice.choice import Advice, advise
from relayprobe.advice.findings import diagnose
from relayprobe.advice.table import ROWS, TERMS
from relayprobe.advice.verdicts import verdicts
from relayprobe.office365.modes import AT_MX, Way
from relayprobe.report.text import WAY_NAMES
from relayprobe.rules.addresses import factory_setting, home_domain
from relayprobe.wire.session import Session, Site, domain_of

RouteWay = Way | Literal["smart-host"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that may be chosen. `mailbox`: the address that it rewrites senders to; `largest`: octets of a mail that
    it takes; `stopped`: why it is stopped at the moment."""

    name: str
    way: RouteWay
    mailbox: str | None = None
    largest: int | None = None
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The route (None: none takes the mail), why, and the routes that would have come before it, each with why not."""

    name: str | None
    because: str
    passed_over: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why a route does not take the mail; where that is not `certain`, it is taken when no other is left."""

    says: str
    certain: bool = True


def choose(
    session: Session, sender: str, recipients: Sequence[str], size: int, candidates: Sequence[Candidate], site: Site
) -> Choice:
    """The route for one mail of a session."""
    if not candidates:
        return Choice(None, "No route is configured: add one under [[route]].")
    session = _of_this_mail(replace(session, site=site), sender, recipients)
    advice = advise(session, diagnose(session), verdicts(session))
    ordered = sorted(candidates, key=lambda candidate: _rank(candidate, advice))  # equal ones as they are configured
    inside = _inside(session, candidates)
    goes = _goes(recipients, inside)
    found = {
        candidate.name: tuple(_obstacles(candidate, _case(session, candidate, sender, goes, size)))
        for candidate in ordered
    }
    why_not = {
        name: " ".join([*(obstacle.says for obstacle in obstacles), *_guess(obstacles, goes, site, inside)])
        for name, obstacles in found.items()
    }
    chosen = min(
        (c for c in ordered if not any(obstacle.certain for obstacle in found[c.name])),
        key=lambda c: (bool(found[c.name]), c.stopped is not None),
        default=None,
    )
    if chosen is None:
        reasons = " ".join(f"{c.name}: {why_not[c.name]}" for c in ordered)
        return Choice(
            None,
            f"No configured route takes this mail. {reasons} Add a route that does, or change what is in the way.",
            tuple((c.name, why_not[c.name]) for c in ordered),
        )
    before = [c for c in ordered[: ordered.index(chosen)] if found[c.name]]
    because = [_because(chosen, advice, before, why_not)]
    if found[chosen.name]:
        because.append(
            f"No other route takes this mail, so it stays with this one all the same. {why_not[chosen.name]}"
        )
    return Choice(chosen.name, " ".join(because), tuple((c.name, why_not[c.name]) for c in before))


def _of_this_mail(session: Session, sender: str, recipients: Sequence[str]) -> Session:
    """The session with none of its other mails, for one may go outside where another does not; whole, where a repair
    has made the mail's envelope unlike the device's."""
    for envelope in reversed(session.envelopes):
        named = {address for recipient in envelope.recipients for address in recipient.path.addresses}
        if envelope.sender == sender and named.issuperset(recipients):
            return replace(session, envelopes=(envelope,))
    return session


# The order


def _rank(candidate: Candidate, advice: Advice) -> int:
    liked = [_kind(advice.way), *advice.alternatives]
    kind = _kind(candidate.way)
    return liked.index(kind) if kind in liked else len(liked)


def _kind(way: RouteWay) -> RouteWay:
    """Whether the device has OAuth is nothing to the relay, which signs in by itself."""
    return "submission" if way == "submission-oauth" else way


# What is in the way

_LOGINS: dict[RouteWay, Login] = {
    "submission": "LOGIN",
    "submission-oauth": "XOAUTH2",
    "high-volume-email": "LOGIN",
    "azure-communication-services": "LOGIN",
}
"""What the relay logs in with, as the decision table has it; nothing elsewhere."""

_DOUBTED = frozenset(("no-fixed-address",))
"""Blocks that a route may be an exception to: a connector can go by a certificate, whatever the address."""


def _case(session: Session, candidate: Candidate, sender: str, goes: Recipients, size: int) -> Case:
    """The mail as if it came from a device that does all as it should: only what the relay cannot change is left."""
    return replace(
        case_of(session),
        tls="modern",
        login=_LOGINS.get(candidate.way, "none"),
        senders="login",
        accepted=_accepted(session.site, candidate, sender),
        from_differs=False,
        recipients=goes,
        size=size,
        in_a_minute=0,  # the relay keeps the pace
        at_once=1,
        most_recipients=1,  # and splits what has too many
        faults=(),
    )


def _accepted(site: Site, candidate: Candidate, sender: str) -> bool | None:
    """Whether the sender that Office 365 will see is in an accepted domain. Where it logs in, the login decides; an
    empty one is filled in."""
    address = candidate.mailbox or sender
    if candidate.way not in AT_MX or not address:
        return True
    if site.domains:
        return site.accepts(address)
    return False if factory_setting(address) else None


def _inside(session: Session, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The organization's own domains: as told, else those of the routes' mailboxes, else the device's."""
    mailboxes = (domain_of(candidate.mailbox) for candidate in candidates if candidate.mailbox)
    known = session.site.domains or tuple(dict.fromkeys(mailboxes)) or (home_domain(session),)
    return tuple(filter(None, known))


def _goes(recipients: Sequence[str], inside: Sequence[str]) -> Recipients:
    if not recipients or not inside:
        return "unknown"
    domains = {domain_of(recipient) for recipient in recipients if "@" in recipient}  # the relay adds one to the others
    return "inside" if domains.issubset(inside) else "outside"


def _obstacles(candidate: Candidate, case: Case) -> Iterator[_Obstacle]:
    if candidate.largest is not None and case.size > candidate.largest:
        yield _Obstacle(f"The mail has {case.size:,} bytes, and this route takes {candidate.largest:,} at the most.")
    # The terms say it of one way alone, so they come before the rows; one sentence for each way is enough.
    closing = (row for row in (*TERMS, *ROWS) if candidate.way in row.closes and row.says and row.applies(case))
    if row := next(closing, None):
        yield _Obstacle(row.says, certain=row.block not in _DOUBTED)
    if candidate.way == "connector" and not case.connector:
        yield _Obstacle(
            "No connector was told of: once there is one at Office 365, set connector = true in [site].", certain=False
        )
    if candidate.stopped:
        yield _Obstacle(f"The route is stopped at the moment: {candidate.stopped.rstrip('.')}.", certain=False)


def _guess(obstacles: Sequence[_Obstacle], goes: Recipients, site: Site, inside: Sequence[str]) -> Iterator[str]:
    """What was taken for granted where recipients are in the way."""
    if goes == "outside" and not site.domains and any(obstacle.certain for obstacle in obstacles):
        yield f"(No accepted domains were told, so only {' and '.join(inside)} counts as yours: domains in [site].)"


# Why


def _because(chosen: Candidate, advice: Advice, before: Sequence[Candidate], why_not: dict[str, str]) -> str:
    liked = WAY_NAMES[advice.way]
    if _kind(chosen.way) == _kind(advice.way):
        return f"The diagnosis advises {liked}, and this route is that."
    if advice.way == "relayprobe":
        said = "The device can send through a relay only, whose own way is free."
    elif blocked := next((c for c in before if _kind(c.way) == _kind(advice.way)), None):
        said = f"The diagnosis advises {liked}, but {blocked.name} does not take this mail. {why_not[blocked.name]}"
    else:
        said = f"The diagnosis advises {liked}, and no route is configured for that."
    if chosen.way in advice.alternatives:
        return f"{said} Its next choice is {WAY_NAMES[chosen.way]}, and this route is that."
    return f"{said} This is the first of the other routes that takes the mail."
