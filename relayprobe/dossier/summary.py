"""The line by which a session is found again, made from the session and what was found in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from relayprobe.advice.devices import recognise_device
from relayprobe.advice.findings import WORST_FIRST, Finding
from relayprobe.store import Row
from relayprobe.wire.session import Session

MOST = 100
"""Recipients, and codes, that a line holds."""

_CODES = re.compile(r"[45]\d\d(?![\d.])|[45]\.\d{1,3}\.\d{1,5}")
_WORKS = {"error": "no", "warning": "risks"}


def summary(row: Row, session: Session, findings: Sequence[Finding]) -> Row:
    """The row of a session that has ended."""
    worst = next((s for s in WORST_FIRST if any(f.severity == s for f in findings)), None)
    device = recognise_device(session)
    recipients = dict.fromkeys(r.path.address for e in session.envelopes for r in e.recipients)
    return replace(
        row,
        ended=row.started + (session.closed.at if session.closed else 0.0),
        users=tuple(dict.fromkeys(a.user for a in session.auths if a.user)),
        senders=tuple(dict.fromkeys(e.sender for e in session.envelopes if e.sender)),
        recipients=tuple(recipients)[:MOST],
        findings=tuple(f.rule.id for f in findings),
        worst=worst,
        codes=tuple(dict.fromkeys(_codes(session, findings)))[:MOST],
        messages=len(session.messages),
        octets=sum(m.body.size for m in session.messages),
        tls=_tls(session),
        login=_login(session),
        device=device[0].name if device is not None else "",
        verdict=_WORKS.get(worst or "", "yes" if session.messages else "unseen"),
    )


def _codes(session: Session, findings: Sequence[Finding]) -> Iterator[str]:
    """Codes of refusals: those that were given, and those that Office 365 would give."""
    for reply in (session.banner, *(exchange.reply for exchange in session.exchanges)):
        if reply is not None and not reply.positive:
            yield str(reply.code)
            if reply.enhanced:
                yield reply.enhanced
    for finding in findings:
        if finding.severity != "note" and finding.answer:
            yield from _CODES.findall(finding.answer[:200])


def _tls(session: Session) -> str:
    if session.tls:
        return session.tls[-1][1].version or "yes"
    return "failed" if session.tls_failures else "none"


def _login(session: Session) -> str:
    login = session.login
    if login is None:
        return ""
    went = {True: "accepted", False: "refused", None: "unfinished"}[login.accepted]
    return f"{login.mechanism} {went}"
