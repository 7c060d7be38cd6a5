"""What shows only in several visits of a device: how many at once, how many mails, and what it does when refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.tongue import said
from relayprobe.wire.events import Credentials
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit, refusal_of, visit_of

AT_ONCE = 3
"""Connections that one mailbox may have at once."""

A_MINUTE = 30
"""Messages that one mailbox may send in a minute."""

BURST, BURST_SECONDS = 8, 10.0
"""Mails within so many seconds that look like one for each page or picture."""

SOON = 65.0
"""Seconds: who comes back within them, after a refusal for good, has not been told to wait. Recorders use 60."""


@rule(
    "More connections are open at once than a mailbox may have",
    risks=("submission",),
    answer={"submission": replies.CONCURRENT_CONNECTIONS},
    fix={
        "submission": "Set the device or program to one connection at a time (`maxConnections`, a queue, a pool), and "
        "give groups of devices mailboxes of their own instead of one for all.",
        "any": "Nothing is needed in this mode.",
    },
    repair="the relay takes all at once, and sends over at most three connections to a mailbox",
    devices="programs with FastAPI-Mail; nodemailer without a pool; Ombi; newsletters; a fleet of devices that share "
    "one mailbox",
    sources=(
        "sabuhish/fastapi-mail#75",
        "nodemailer/nodemailer#1613",
        "Ombi-app/Ombi#4429",
        "in2code-de/luxletter#247",
        sources.CONCURRENT,
    ),
)
def parallel_connections(session: Session, visits: Sequence[Visit]) -> Iterator[Evidence]:
    """Office 365 takes three connections of one mailbox at once. The message on a fourth is put off after it was sent,
    and a device that does not try again has lost it."""
    own = visit_of(session)
    if own.user is None:
        return
    beside = [visit for visit in visits if visit.user in (own.user, None) and not visit.pop3]
    moments = [own.started, *(visit.started for visit in beside if own.open_at(visit.started))]
    most = 1 + max(sum(visit.open_at(moment) for visit in beside) for moment in moments)
    if most > AT_ONCE:
        says = said("{count} connections of {user} were open at once", count=most, user=quoted(own.user))
        yield Evidence(0, says)


@rule(
    "Many mails come in quick succession",
    risks=("submission",),
    answer={"submission": replies.SUBMISSION_QUOTA},
    fix={
        "submission": 'Set an interval between mails ("Minimum E-mail Interval", "Interval", "Alarm Interval"), fewer '
        "pictures for each event, and one PDF of many pages instead of one mail for each page.",
        "any": 'Set an interval between mails ("Minimum E-mail Interval", "Interval", "Alarm Interval"): one recipient '
        "takes 3,600 mails an hour at the most.",
    },
    repair="the relay spreads the mails over time: at most 30 a minute for a mailbox",
    devices="cameras and recorders (eight pictures for each event at a Trivision NC-250W), UPS that flap, scanners "
    "that send a mail for each page",
    doubt="beyond 30 messages a minute Office 365 delays; the reply is that to more than 10,000 recipients a day",
    sources=(
        "MicrosoftDocs/OfficeDocs-Support#1150",
        "Trivision NC-250W manual p. 45",
        "Amcrest IP4M-1026B manual p. 90",
        "ICT DIN PDU manual p. 19",
        sources.SENDING_LIMITS,
    ),
)
def message_flood(session: Session, visits: Sequence[Visit]) -> Iterator[Evidence]:
    """A mailbox may send 30 messages a minute and to 10,000 recipients a day. What is more is delayed, and then
    refused, and a mailbox that goes on is blocked."""
    own = visit_of(session)
    if not own.mails:
        return
    times = sorted(time for visit in (own, *visits) if visit.user in (own.user, None) for time in visit.mails)
    last = own.mails[-1]
    minute = sum(last - 60.0 < time <= last for time in times)
    burst = sum(last - BURST_SECONDS < time <= last for time in times)
    event = session.messages[-1].event
    if minute > A_MINUTE:
        yield Evidence(event, said("{count} mails came within a minute", count=minute))
    elif burst >= BURST:
        says = said("{count} mails came within {seconds:.0f} seconds", count=burst, seconds=BURST_SECONDS)
        yield Evidence(event, says, at_most="note")


@rule(
    "The device tries again at once, after a refusal for good",
    risks=MODES,
    fix={
        "any": "Set right what is refused, as the other findings say, before the device sends again; raise the "
        'interval between tries ("Retry Interval"), or set their number to 0.',
    },
    repair="the relay holds the mail, and does not try what was refused for good again",
    devices="Outlook 2010 (about every 10 seconds); vGuard recorders (three tries, 60 seconds); cameras",
    sources=("simonrob/email-oauth2-proxy#336", "vGuard N-series manual p. 30", sources.REPLY_CODES),
)
def fast_retry_after_permanent_error(session: Session, visits: Sequence[Visit]) -> Iterator[Evidence]:
    """An answer that begins with 5 will be the same next time. Who tries a wrong password over and over has the mailbox
    locked, and who repeats another fault is shut out for hours (550 5.2.25x)."""
    refused: dict[tuple[str, str | None], float] = {}
    for attempt in session.auths:
        if attempt.accepted is not False or attempt.reply is None or attempt.reply.code < 500:
            continue
        sent = session.events[attempt.event]
        key = attempt.mechanism, attempt.user
        if isinstance(sent, Credentials) and key in refused and sent.at - refused[key] <= SOON:
            says = said("AUTH {mechanism} was tried again after it had been refused", mechanism=attempt.mechanism)
            yield Evidence(attempt.events[-1], says)
        refused[key] = attempt.reply.at
    refusal = refusal_of(session)
    before = [visit for visit in visits if visit.started < session.started and not visit.pop3]
    if refusal is None or not before or before[-1].refusal != refusal:
        return
    since = session.started - (before[-1].ended or session.started)
    if since <= SOON:
        tries = 1
        for visit in reversed(before):
            if visit.refusal != refusal:
                break
            tries += 1
        code, _, what = refusal.partition(" ")
        says = said(
            "the device came again {after:.0f} s after {code} to {what}, and was refused alike ({tries} times now)",
            after=max(since, 0.0),
            code=code,
            what=said("the message") if what == "message" else what.upper(),
            tries=tries,
        )
        yield Evidence(len(session.events) - 1, says)
