"""From a stored session to what is said of it: load, diagnose, choose. What the reading commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relayprobe.advice.choice import Advice, advise
from relayprobe.advice.findings import Finding, diagnose
from relayprobe.advice.verdicts import Verdict, verdicts
from relayprobe.report.objects import site_from_object
from relayprobe.store import host_of
from relayprobe.wire.codec import from_object
from relayprobe.wire.events import Body, Event
from relayprobe.wire.session import Session, Site, session_of
from relayprobe.wire.visit import LOOK_BACK, MOST_VISITS, Visit, visit_of, within

if TYPE_CHECKING:
    from relayprobe.store import Archive, Row


@dataclass(frozen=True, slots=True)
class Judgement:
    """A session and all that is said of it. `visits`: the device's others that were in view."""

    session: Session
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    advice: Advice
    visits: tuple[Visit, ...] = ()


def judge(session: Session, visits: Sequence[Visit] = (), mode: str | None = None) -> Judgement:
    """Diagnose a session. `mode`: what the device is meant to use, where it is not as kept with the session."""
    if mode is not None:
        session = replace(session, mode=mode)
    findings = diagnose(session, visits)
    judged = verdicts(session, visits)
    return Judgement(session, findings, judged, advise(session, findings, judged, visits), tuple(visits))


def judge_stored(
    archive: Archive,
    row: Row,
    *,
    mode: str | None = None,
    site: Site | None = None,
    known: dict[str, Visit] | None = None,
) -> Judgement:
    """Diagnose a stored session, with the device's other visits in view. `known`: visits met so far, by session."""
    known = {} if known is None else known
    session = load(archive, row, site=site)
    end = row.started if row.ended is None else row.ended
    rows = archive.earlier(host_of(row.peer), end, end - row.started + LOOK_BACK, MOST_VISITS)
    for other in rows:
        if other.id not in known and other.id != row.id:
            known[other.id] = visit_of(load(archive, other, site=site))
    judgement = judge(session, within([known[r.id] for r in rows if r.id in known], session), mode)
    known[row.id] = visit_of(session)
    return judgement


def load(archive: Archive, row: Row, *, site: Site | None = None, whole: bool = False) -> Session:
    """A stored session. `whole`: with all of its messages, however large; else with the first 64 KiB of each."""
    context = json.loads(row.context or "{}")
    events: list[Event] = []
    bodies = 0
    for text in archive.events(row.id):
        event = from_object(json.loads(text))
        if isinstance(event, Body):
            event = _with_text(archive, row.id, bodies, event, whole)
            bodies += 1
        events.append(event)
    return session_of(
        events,
        id=row.id,
        started=row.started,
        mode=context.get("mode"),
        imitate=context.get("imitate"),
        interview=context.get("interview") is True,
        site=site or site_from_object(context.get("site") or {}),
    )


def _with_text(archive: Archive, session: str, n: int, body: Body, whole: bool) -> Body:
    purged = archive.purged(session, n)
    raw = archive.body(session, n) if whole else next(archive.body_stream(session, n), b"")
    return replace(body, raw=raw or b"", purged=purged)
