"""A session as JSON objects: what `--json`, exports and, later, the web API give out. Its form is a promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from relayprobe.advice.choice import Advice
from relayprobe.advice.findings import Finding
from relayprobe.advice.refused import refusals_of
from relayprobe.advice.verdicts import Verdict
from relayprobe.report.explained import or_none, refusal_object
from relayprobe.report.unseen import unseen
from relayprobe.tongue import ENGLISH, Tongue
from relayprobe.wire.codec import from_object, to_object
from relayprobe.wire.events import TlsHello
from relayprobe.wire.session import Session, Site, Source, session_of
from relayprobe.wire.visit import Visit

FORMAT = "relayprobe-session-1"


@dataclass(frozen=True, slots=True)
class NotASession(Exception):
    """A file does not hold an exported session; `why` says what is wrong with it."""

    why: str


def session_object(session: Session) -> dict[str, Any]:
    """The session alone: enough to diagnose it anywhere."""
    events = []
    for event in session.events:
        thing = to_object(event)
        if isinstance(event, TlsHello) and event.hello is not None:
            thing["hello"]["names"] = {
                "versions": list(event.hello.version_names),
                "suites": list(event.hello.suite_names),
                "groups": list(event.hello.group_names),
            }
        events.append(thing)
    return {
        "id": session.id,
        "peer": session.peer,
        "listener": session.listener,
        "started": session.started,
        "mode": session.mode,
        "imitate": session.imitate,
        "interview": session.interview,
        "source": session.source,
        "site": asdict(session.site),
        "events": events,
    }


def report_object(
    session: Session,
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    advice: Advice,
    tongue: Tongue = ENGLISH,
) -> dict[str, Any]:
    """The session with what was found. Its names and values are the same in all languages, its sentences are said in
    that which is asked for."""
    return {
        "format": FORMAT,
        "session": session_object(session),
        "unseen": [tongue(sentence) for sentence in unseen(session)],
        "refused": [refusal_object(refusal, tongue) for refusal in refusals_of(session)],
        "findings": [finding_object(finding, tongue) for finding in findings],
        "verdicts": [
            {
                "mode": verdict.mode,
                "works": verdict.works,
                "proven": verdict.proven,
                "blockers": list(verdict.blockers),
                "risks": list(verdict.risks),
                "repairs": [tongue(repair) for repair in verdict.repairs],
                "remove": [{"blocker": removal.blocker, "do": tongue(removal.do)} for removal in verdict.remove],
            }
            for verdict in verdicts
        ],
        "advice": {
            "mode": advice.mode,
            "way": advice.way,
            "because": tongue(advice.because),
            "settings": {label: tongue(value) for label, value in advice.settings.items()},
            "fields": dict(advice.fields),
            "device": or_none(advice.device, tongue),
            "alternatives": list(advice.alternatives),
            "warnings": [tongue(text) for text in advice.warnings],
            "relay": [tongue(text) for text in advice.relay],
            "questions": [tongue(text) for text in advice.questions],
        },
    }


def finding_object(finding: Finding, tongue: Tongue = ENGLISH) -> dict[str, Any]:
    """One finding."""
    return {
        "rule": finding.rule.id,
        "severity": finding.severity,
        "blocks": list(finding.rule.blocks),
        "title": tongue(finding.rule.title),
        "evidence": [{"event": evidence.event, "says": tongue(evidence.says)} for evidence in finding.evidence],
        "answer": finding.answer,
        "stage": finding.stage,
        "doubt": or_none(finding.doubt, tongue),
        "fix": tongue(finding.fix),
    }


def session_from_object(thing: Mapping[str, Any]) -> Session:
    """The session in an object that `report_object` or `session_object` made. Raises NotASession."""
    inner = thing.get("session", thing) if isinstance(thing, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("events"), list):
        raise NotASession("it has no list of events: export a session with `relayprobe export --as json`")
    try:
        return session_of(
            [from_object(event) for event in inner["events"]],
            id=str(inner.get("id", "")),
            started=float(inner.get("started") or 0.0),
            mode=inner.get("mode"),
            imitate=inner.get("imitate"),
            interview=inner.get("interview") is True,
            site=site_from_object(inner.get("site") or {}),
            source=next((known for known in get_args(Source) if known == inner.get("source")), "live"),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise NotASession(str(error)) from None


def visit_object(visit: Visit) -> dict[str, Any]:
    """Another visit of the device."""
    return asdict(visit)


def visits_from_object(thing: Mapping[str, Any]) -> tuple[Visit, ...]:
    """The visits of the device that are kept beside a session in a bundle. Raises NotASession."""
    try:
        return tuple(_visit(one) for one in thing.get("visits") or ())
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NotASession(f"its visits cannot be read: {error}") from None


def _visit(thing: Mapping[str, Any]) -> Visit:
    user, ended, refusal = thing.get("user"), thing.get("ended"), thing.get("refusal")
    return Visit(
        id=str(thing["id"]),
        started=float(thing["started"]),
        ended=None if ended is None else float(ended),
        name=str(thing.get("name", "")),
        user=None if user is None else str(user),
        mails=tuple(map(float, thing.get("mails", ()))),
        refusal=None if refusal is None else str(refusal),
        tls_failed=thing.get("tls_failed") is True,
        pop3=thing.get("pop3") is True,
        pop3_login=thing.get("pop3_login") is True,
    )


def site_from_object(thing: Mapping[str, Any]) -> Site:
    """What was told of the site."""
    return Site(
        domains=tuple(thing.get("domains") or ()),
        accounts=tuple(thing.get("accounts") or ()),
        public_ip=thing.get("public_ip"),
        connector=bool(thing.get("connector")),
        mx=thing.get("mx"),
        static_ip=thing.get("static_ip"),
        basic_auth=thing.get("basic_auth", True) is not False,
        oauth=thing.get("oauth"),
        hve=thing.get("hve"),
        acs=thing.get("acs"),
        reject_direct_send=thing.get("reject_direct_send"),
        blocked_ports=tuple(port for port in thing.get("blocked_ports") or () if isinstance(port, int)),
    )
