"""What is known of a device and of its site, as far as the choice of a way hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from relayprobe.office365 import tls
from relayprobe.rules.addresses import factory_setting, home_domain, outsiders, same_mailbox
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit

Tls = Literal["none", "old", "implicit", "modern"]
Login = Literal["none", "LOGIN", "XOAUTH2", "other"]
Senders = Literal["unknown", "login", "other", "many", "empty"]
Recipients = Literal["unknown", "inside", "outside"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a device and its site; None is unknown.

    `tls`: the best it was seen to do. `login`: what it logs in with. `senders`: one that is the login's, one other,
    many, or empty. `accepted`: the sender's domain is the site's. `size` in octets. `faults`: rules that fired and that
    a relay repairs.
    """

    tls: Tls = "modern"
    login: Login = "LOGIN"
    senders: Senders = "login"
    accepted: bool | None = True
    from_differs: bool = False
    recipients: Recipients = "inside"
    size: int = 0
    in_a_minute: int = 0
    at_once: int = 1
    most_recipients: int = 1
    faults: tuple[str, ...] = ()
    static_ip: bool | None = None
    connector: bool | None = None
    basic_auth: bool = True
    oauth: bool | None = None
    hve: bool | None = None
    acs: bool | None = None
    reject_direct_send: bool | None = None
    blocked_ports: tuple[int, ...] = ()


def case_of(session: Session, visits: Sequence[Visit] = (), faults: Sequence[str] = ()) -> Case:
    """What a session shows, with what was told of its site. `faults`: ids of the rules that fired."""
    site, envelopes = session.site, session.envelopes
    senders = {envelope.sender.lower() for envelope in envelopes}
    user = (session.login.user or "").strip().lower() if session.login else ""
    known = [address for address in senders if address]
    accepted = [site.accepts(address) for address in known]
    headers = {
        address.lower() for e in envelopes if e.message for address in e.message.addresses("From") if "@" in address
    }
    marks = [time for visit in visits for time in visit.mails] + [
        session.started + m.body.until for m in session.messages
    ]
    return Case(
        tls=_tls_of(session),
        login=_login_of(session),
        senders=_senders_of(senders, user),
        accepted=False if False in accepted or any(map(factory_setting, known)) else True if True in accepted else None,
        from_differs=bool(headers and user and all(same_mailbox(user, address) is False for address in headers)),
        recipients=_recipients_of(session),
        size=max((envelope.message.body.size for envelope in envelopes if envelope.message), default=0),
        in_a_minute=_busiest(marks),
        at_once=1 + sum(visit.open_at(session.started) for visit in visits if not visit.pop3),
        most_recipients=max((len(envelope.recipients) for envelope in envelopes), default=0),
        faults=tuple(rule for rule in faults if rule in REPAIRED),
        static_ip=site.static_ip,
        connector=True if site.connector else None,
        basic_auth=site.basic_auth,
        oauth=site.oauth,
        hve=site.hve,
        acs=site.acs,
        reject_direct_send=site.reject_direct_send,
        blocked_ports=site.blocked_ports,
    )


REPAIRED = frozenset(
    "helo-invalid-name helo-empty mail-from-no-brackets mail-from-display-name bare-lf bare-cr missing-from-header "
    "missing-date-or-message-id rcpt-list-in-one-command no-ehlo-after-starttls".split()
)
"""Faults of row 18."""


def _tls_of(session: Session) -> Tls:
    if any(hello.moment != "after-starttls" for _, hello in session.hellos):
        return "implicit"
    if any(up.version in ("TLSv1.2", "TLSv1.3") for _, up in session.tls):
        return "modern"
    offered = [sent.hello for _, sent in session.hellos if sent.hello]
    if not offered:
        unknown = "tls" in session.withheld or not (session.envelopes or session.auths)
        return "modern" if unknown else "none"  # nothing was seen to speak against it
    best = max(offered, key=lambda hello: hello.best_version)
    too_old = best.best_version < tls.OLDEST_VERSION or (best.suites and tls.TAKEN.isdisjoint(best.suites))
    return "old" if too_old else "modern"


def _login_of(session: Session) -> Login:
    mechanisms = {attempt.mechanism for attempt in session.auths}
    if "login" in session.withheld:
        return "LOGIN"  # it could not be seen
    if not mechanisms:
        return "none"
    if "XOAUTH2" in mechanisms:
        return "XOAUTH2"
    # One that chose PLAIN among several that were offered may well take LOGIN; one that insists on PLAIN does not.
    could = any(a.offered and a.greeted is not None and "LOGIN" in a.greeted.mechanisms for a in session.auths)
    return "LOGIN" if "LOGIN" in mechanisms or could else "other"


def _senders_of(senders: set[str], user: str) -> Senders:
    if not senders:
        return "unknown"
    if senders == {""}:
        return "empty"
    if len(senders) > 1:
        return "many"
    same = same_mailbox(user, next(iter(senders))) if user else None
    return "other" if same is False else "login"


def _recipients_of(session: Session) -> Recipients:
    if not any(envelope.recipients for envelope in session.envelopes) or not home_domain(session):
        return "unknown"
    return "outside" if any(True for _ in outsiders(session)) else "inside"


def _busiest(times: Sequence[float]) -> int:
    """The most messages within a minute."""
    ordered = sorted(times)
    begin = most = 0
    for at, time in enumerate(ordered):
        while time - ordered[begin] >= 60.0:
            begin += 1
        most = max(most, at - begin + 1)
    return most
