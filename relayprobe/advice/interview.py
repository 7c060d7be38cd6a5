"""The interview: over a few test sends of a device the offer is varied, until it is known what the device can do.

What is known is a pure function of the sends so far (`profile_of`), and what to offer next a pure function of what is
known (`next_offer`). Each question is asked once, or twice where nothing came of it: a device that greets and leaves
may only have looked whether anybody is there. What no send has shown is not known, and is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

from relayprobe.office365.tls import OLDEST_VERSION
from relayprobe.rules.tls import CERTIFICATE_ALERTS, NO_WORD
from relayprobe.tongue import Said, said
from relayprobe.wire.session import Session
from relayprobe.wire.tls_names import version_name

ALL = ("LOGIN", "PLAIN", "XOAUTH2", "CRAM-MD5", "NTLM")
"""Mechanisms that are tried."""

MOST_SENDS, MOST_VISITS = 12, 40
"""Sends after which the interview is over in any case, and visits, those that brought nothing included."""

ASKED = 2
"""How often a question is asked that brings nothing."""

Reaction = Literal["sends", "logs in", "stops"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the listener offers to one connection. `tls`: which versions; `waits`: long for TLS on connect."""

    starttls: bool = True
    mechanisms: tuple[str, ...] = ALL
    tls: Literal["any", "1.2"] = "any"
    waits: bool = False


FIRST = Offer(waits=True)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a device; None is not known yet.

    `best_tls`: the newest version in its hello. `shook`: the versions with which TLS came up. `without_starttls`,
    `after_failure`, `without_login`: what it does where STARTTLS is not offered, TLS has failed, AUTH is not offered.
    `mechanisms`: those it logged in with, the preferred one first; `more_mechanisms`: there may be others. `asked`:
    each offer, with how often it was made.
    """

    visits: int = 0
    sends: int = 0
    tls_on_connect: bool | None = None
    uses_starttls: bool | None = None
    best_tls: int | None = None
    shook: tuple[str, ...] = ()
    tls12: bool | None = None
    takes_certificate: bool | None = None
    without_starttls: Reaction | None = None
    after_failure: Reaction | None = None
    failed_last: bool = False
    mechanisms: tuple[str, ...] = ()
    more_mechanisms: bool = True
    without_login: Reaction | None = None
    users: tuple[str, ...] = ()
    mails: int = 0
    senders: tuple[str, ...] = ()
    pipelining: bool | None = None
    smtputf8: bool | None = None
    size: bool | None = None
    largest: int | None = None
    asked: tuple[tuple[Offer, int], ...] = field(default=())

    def times(self, offer: Offer) -> int:
        """How often an offer was made."""
        return sum(count for made, count in self.asked if made == offer)


def profile_of(answers: Sequence[tuple[Offer, Session]]) -> Profile:
    """What the sends so far show. Each session comes with what it was offered, in the order in which they came."""
    heard = [(offer, session) for offer, session in answers if session.greetings or session.hellos or session.exchanges]
    sends = [(offer, session) for offer, session in heard if _says_something(session)]
    asked: dict[Offer, int] = {}
    for offer, _ in heard:
        asked[offer] = asked.get(offer, 0) + 1
    hellos = [sent.hello for _, session in sends for _, sent in session.hellos if sent.hello]
    envelopes = [envelope for _, session in sends for envelope in session.envelopes]
    messages = [envelope.message for envelope in envelopes if envelope.message]
    shook = tuple(dict.fromkeys(up.version for _, session in sends for _, up in session.tls))
    best = max((hello.best_version for hello in hellos), default=None)
    return Profile(
        visits=len(answers),
        sends=len(sends),
        tls_on_connect=_tls_on_connect(sends),
        uses_starttls=_uses_starttls(sends),
        best_tls=best,
        shook=shook,
        tls12=_tls12(best, shook, [version for hello in hellos for version in hello.versions]),
        takes_certificate=_takes_certificate(sends),
        without_starttls=_without_starttls(sends, asked),
        after_failure=_after_failure(heard),
        failed_last=bool(heard and heard[-1][1].tls_failures),
        mechanisms=_mechanisms(sends),
        more_mechanisms=_more_mechanisms(sends),
        without_login=_without_login(sends),
        users=tuple(dict.fromkeys(a.user for _, session in sends for a in session.auths if a.user)),
        mails=len(envelopes),
        senders=tuple(dict.fromkeys(envelope.sender for envelope in envelopes)),
        pipelining=_pipelining(sends) if envelopes else None,
        smtputf8=any(e.path.parameter("SMTPUTF8") is not None for e in envelopes) if envelopes else None,
        size=any(e.path.parameter("SIZE") is not None for e in envelopes) if envelopes else None,
        largest=max((message.body.size for message in messages), default=None),
        asked=tuple(asked.items()),
    )


def _says_something(session: Session) -> bool:
    return bool(session.hellos or session.auths or session.envelopes or next(session.commands(b"STARTTLS"), None))


Sends = Sequence[tuple[Offer, Session]]


def _tls_on_connect(sends: Sends) -> bool | None:
    moments = [hello.moment for _, session in sends for _, hello in session.hellos]
    if any(moment != "after-starttls" for moment in moments):
        return True
    return False if sends else None


def _uses_starttls(sends: Sends) -> bool | None:
    offered = [session for offer, session in sends if offer.starttls and _tls_on_connect([(offer, session)]) is False]
    if not offered:
        return None
    return any(next(session.commands(b"STARTTLS"), None) for session in offered)


def _tls12(best: int | None, shook: Sequence[str], versions: Sequence[int]) -> bool | None:
    if "TLSv1.2" in shook or OLDEST_VERSION in versions:
        return True
    return False if best is not None and best < OLDEST_VERSION else None


def _takes_certificate(sends: Sends) -> bool | None:
    if any(session.tls for _, session in sends):
        return True
    failures = [failed for _, session in sends for _, failed in session.tls_failures if failed.by == "client"]
    refused = any(failed.alert in CERTIFICATE_ALERTS or failed.reason in NO_WORD for failed in failures)
    return False if refused else None


def _in_clear(session: Session) -> Reaction | None:
    if any(not envelope.tls for envelope in session.envelopes):
        return "sends"
    return "logs in" if any(not attempt.tls for attempt in session.auths) else None


def _without_starttls(sends: Sends, asked: dict[Offer, int]) -> Reaction | None:
    reactions = [_in_clear(session) for offer, session in sends if not offer.starttls or not session.hellos]
    for reaction in ("sends", "logs in"):
        if reaction in reactions:
            return reaction
    silent = any(count >= ASKED for offer, count in asked.items() if not offer.starttls)
    return "stops" if silent or any(not offer.starttls for offer, _ in sends) else None


def _after_failure(heard: Sends) -> Reaction | None:
    """On the same connection, or when it comes again. One that comes again with TLS has not gone on in clear."""
    reaction: Reaction | None = None
    for at, (_, session) in enumerate(heard):
        if not session.tls_failures:
            continue
        begun = min(event for event, _ in session.tls_failures)
        later = [e.event for e in session.envelopes if not e.tls] + [a.event for a in session.auths if not a.tls]
        if any(event > begun for event in later):
            return _in_clear(session)
        if at + 1 < len(heard):
            offer, after = heard[at + 1]
            if offer.starttls and not after.hellos and (clear := _in_clear(after)):
                return clear
            reaction = "stops"
    return reaction


def _mechanisms(sends: Sends) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(attempt.mechanism for _, session in sends for attempt in session.auths if attempt.offered)
    )


def _could_log_in(session: Session) -> bool:
    """Whether the device got as far as a login: it has seen an offer, in clear or inside TLS that came up."""
    return bool(session.greetings) and session.greetings[-1].verb == "EHLO" and not session.tls_failures


def _more_mechanisms(sends: Sends) -> bool:
    left = set(ALL) - set(_mechanisms(sends))
    for offer, session in sends:
        used = any(attempt.mechanism in offer.mechanisms for attempt in session.auths)
        if offer.mechanisms and not used and _could_log_in(session) and (session.envelopes or session.tls):
            left -= set(offer.mechanisms)
    return bool(left)


def _without_login(sends: Sends) -> Reaction | None:
    reaction: Reaction | None = None
    for offer, session in sends:
        if session.tls_failures or session.auths:
            continue
        if session.envelopes:
            return "sends"
        if not offer.mechanisms and (session.tls or not session.hellos) and session.greetings:
            reaction = "stops"
    return reaction


def _pipelining(sends: Sends) -> bool:
    """Whether a command came before the answer to MAIL or RCPT."""
    for _, session in sends:
        for before, exchange in zip(session.exchanges, session.exchanges[1:], strict=False):
            if exchange.early and before.command and before.command.verb in (b"MAIL", b"RCPT"):
                return True
    return False


# What to ask next


def next_offer(profile: Profile) -> Offer | None:
    """What to offer to the device's next send; None when all is known that sends can show."""
    if profile.sends >= MOST_SENDS or profile.visits >= MOST_VISITS:
        return None
    for question in QUESTIONS:
        offer = question(profile)
        if offer is not None and profile.times(offer) < ASKED:
            return offer
    return None


def _at_first(profile: Profile) -> Offer | None:
    return FIRST if not profile.sends else None


def _what_after_failure(profile: Profile) -> Offer | None:
    """TLS has just failed: the same again shows whether the device now goes on in clear."""
    if not profile.failed_last or profile.after_failure is not None or profile.tls_on_connect:
        return None
    return next((offer for offer, count in reversed(profile.asked) if offer.starttls and count < ASKED), None)


def _only_new_tls(profile: Profile) -> Offer | None:
    tried = profile.uses_starttls or profile.tls_on_connect
    return Offer(tls="1.2") if tried and not profile.tls12 and profile.after_failure is None else None


def _no_starttls(profile: Profile) -> Offer | None:
    if profile.tls_on_connect or profile.without_starttls is not None:
        return None
    return Offer(starttls=False)


def _other_mechanisms(profile: Profile) -> Offer | None:
    left = tuple(mechanism for mechanism in ALL if mechanism not in profile.mechanisms)
    if not profile.mechanisms or not left or not profile.more_mechanisms:
        return None
    return _where_it_gets_far(profile, left)


def _no_login(profile: Profile) -> Offer | None:
    if profile.without_login is not None or not profile.mechanisms:
        return None
    return _where_it_gets_far(profile, ())


def _where_it_gets_far(profile: Profile, mechanisms: tuple[str, ...]) -> Offer | None:
    """An offer under which the device gets as far as a login: with TLS where that comes up, else in clear."""
    if profile.shook or profile.uses_starttls is False:
        return Offer(mechanisms=mechanisms)
    return Offer(starttls=False, mechanisms=mechanisms) if profile.without_starttls in ("sends", "logs in") else None


def _another_mail(profile: Profile) -> Offer | None:
    """One mail does not show whether the sender is always the same."""
    return Offer() if profile.mails == 1 else None


QUESTIONS: tuple[Callable[[Profile], Offer | None], ...] = (
    _at_first,
    _what_after_failure,
    _only_new_tls,
    _no_starttls,
    _other_mechanisms,
    _no_login,
    _another_mail,
)
"""In the order in which they are asked: what decides most comes first."""


# In words


@dataclass(frozen=True, slots=True)
class Ability:
    """One row of the table: what is asked, what is known, and whether it is known at all."""

    id: str
    name: str
    known: str
    certain: bool = True


NOT_KNOWN = said("not known")


_IN_CLEAR: Mapping[Reaction, Said] = {
    "sends": said("sends in clear text"),
    "logs in": said("logs in, in clear text"),
    "stops": said("stops"),
}
_WITHOUT_LOGIN: Mapping[Reaction, Said] = {"sends": said("sends"), "logs in": said("logs in"), "stops": said("stops")}


def table(profile: Profile) -> tuple[Ability, ...]:
    """What the device can do, row by row."""
    rows = [
        ("tls-on-connect", said("TLS on connect"), _yes_no(profile.tls_on_connect)),
        (
            "starttls",
            said("STARTTLS"),
            _yes_no(profile.uses_starttls) if not profile.tls_on_connect else said("no: TLS on connect"),
        ),
        (
            "best-tls",
            said("Newest TLS"),
            version_name(profile.best_tls) if profile.best_tls is not None else _no_tls(profile),
        ),
        (
            "tls-1.2",
            said("TLS 1.2, as Office 365 wants it"),
            _yes_no(profile.tls12) if profile.best_tls else _no_tls(profile),
        ),
        ("certificate", said("Certificate"), _certificate(profile)),
        ("without-starttls", said("Where STARTTLS is not offered"), _reaction(profile.without_starttls, profile)),
        ("after-failure", said("When TLS fails"), _reaction(profile.after_failure, profile)),
        ("mechanisms", said("Logins, the preferred one first"), _logins(profile)),
        (
            "without-login",
            said("Where no login is offered"),
            _WITHOUT_LOGIN[profile.without_login] if profile.without_login else NOT_KNOWN,
        ),
        ("sender", said("Sender"), _sender(profile)),
        ("pipelining", said("Sends commands in batches"), _yes_no(profile.pipelining)),
        ("smtputf8", said("Uses SMTPUTF8"), _yes_no(profile.smtputf8)),
        ("size", said("Announces the size"), _yes_no(profile.size)),
        (
            "largest",
            said("Largest message so far"),
            NOT_KNOWN if profile.largest is None else said("{size:,} octets", size=profile.largest),
        ),
    ]
    return tuple(Ability(id, name, known, known != NOT_KNOWN) for id, name, known in rows)


def _yes_no(fact: bool | None) -> str:
    return NOT_KNOWN if fact is None else said("yes") if fact else said("no")


def _no_tls(profile: Profile) -> str:
    return said("none") if profile.uses_starttls is False and profile.sends else NOT_KNOWN


def _certificate(profile: Profile) -> str:
    if profile.takes_certificate is None:
        return NOT_KNOWN
    if profile.takes_certificate:
        return said("takes relayprobe's: it does not check, or ca.pem was imported")
    return said("checked, and relayprobe's refused")


def _reaction(reaction: Reaction | None, profile: Profile) -> str:
    if reaction is not None:
        return _IN_CLEAR[reaction]
    return said("does not apply: TLS on connect") if profile.tls_on_connect else NOT_KNOWN


def _logins(profile: Profile) -> str:
    if profile.mechanisms:
        known = ", ".join(profile.mechanisms)
        return said("{mechanisms} (there may be others)", mechanisms=known) if profile.more_mechanisms else known
    return said("none") if profile.without_login == "sends" else NOT_KNOWN


def _largest(profile: Profile) -> Said:
    return NOT_KNOWN if profile.largest is None else said("{size:,} octets", size=profile.largest)


def _sender(profile: Profile) -> str:
    if not profile.senders:
        return NOT_KNOWN
    if len(profile.senders) > 1:
        return said("differs: {senders}", senders=", ".join(profile.senders[:3]))
    sender = profile.senders[0] or said("empty")
    if profile.mails > 1:
        return said("always {sender}", sender=sender)
    return said("{sender}, in the one mail so far", sender=sender)


def words_of(offer: Offer) -> Said:
    """What is tried with the next send, as the middle of a sentence."""
    parts = list(_parts(offer))
    once_more = said("offers everything once more: where people sign in at the device, let another one send")
    if not parts:
        return once_more
    return reduce(lambda some, more: said("{some}, and {more}", some=some, more=more), parts)


def _parts(offer: Offer) -> Iterator[Said]:
    if not offer.starttls:
        yield said("does not offer STARTTLS, to see whether the device then sends in clear text")
    if offer.tls == "1.2":
        yield said("takes TLS 1.2 and nothing else, as Office 365 does, to see whether the device gets on")
    if not offer.mechanisms:
        yield said("offers no login, to see whether the device sends without one")
    elif offer.mechanisms != ALL:
        yield said("offers only {mechanisms} to log in with", mechanisms=", ".join(offer.mechanisms))
    if offer.waits:
        yield said("offers everything, and waits a while for TLS on connect")
