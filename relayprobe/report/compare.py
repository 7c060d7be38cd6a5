"""Two sessions of a device beside each other: what changed in what it does, in what was found, and in the verdicts.

Meant for the moment after a setting was changed at the device: did it help, and what else is different now?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relayprobe.advice.findings import Finding
from relayprobe.advice.verdicts import Verdict
from relayprobe.report.text import SEVERITIES, WAY_NAMES, Styled
from relayprobe.report.unseen import unseen
from relayprobe.report.visible import visible
from relayprobe.wire.session import Session
from relayprobe.wire.tls_names import suite_name, version_name

SHOWN = 5
"""Addresses or suites that are named; of more, the number is told."""


@dataclass(frozen=True, slots=True)
class Told:
    """A session with what was found."""

    session: Session
    findings: Sequence[Finding]
    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the device does, in the first session and in the second; None where it was not seen there."""

    name: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        """Whether it is another."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Turn:
    """The verdict for a mode, before and after."""

    mode: str
    before: Verdict
    after: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed. `gone`, `new` and `stayed` are findings; what stayed is as it is in the second session."""

    before: Session
    after: Session
    facts: tuple[Fact, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]
    stayed: tuple[Finding, ...]
    turns: tuple[Turn, ...]


def compare(before: Told, after: Told) -> Comparison:
    """Set two sessions beside each other."""
    once = {finding.rule.id for finding in before.findings}
    now = {finding.rule.id for finding in after.findings}
    by_mode = {verdict.mode: verdict for verdict in after.verdicts}
    return Comparison(
        before=before.session,
        after=after.session,
        facts=tuple(Fact(name, tell(before.session), tell(after.session)) for name, tell in _FACTS)
        + tuple(_suites(before.session, after.session)),
        gone=tuple(finding for finding in before.findings if finding.rule.id not in now),
        new=tuple(finding for finding in after.findings if finding.rule.id not in once),
        stayed=tuple(finding for finding in after.findings if finding.rule.id in once),
        turns=tuple(Turn(v.mode, v, by_mode[v.mode]) for v in before.verdicts if v.mode in by_mode),
    )


def _greeting(session: Session) -> str | None:
    return f"{session.greetings[-1].verb} {session.greetings[-1].name}" if session.greetings else None


def _offered(session: Session) -> str | None:
    hellos = [sent.hello for _, sent in session.hellos if sent.hello]
    return version_name(hellos[-1].best_version) if hellos else None


def _negotiated(session: Session) -> str | None:
    if session.tls:
        up = session.tls[-1][1]
        return f"{up.version} with {up.cipher}" if up.version else "yes"
    if session.tls_failures:
        return f"failed: {session.tls_failures[-1][1].reason}"
    return None


def _login(session: Session) -> str | None:
    if session.login is None:
        return None
    outcome = {True: "accepted", False: "refused", None: "not answered"}[session.login.accepted]
    user = "" if session.login.user is None else f" as {session.login.user or 'nobody'}"
    return f"{session.login.mechanism}{user}, {outcome}"


def _senders(session: Session) -> str | None:
    return _some([envelope.sender or "<>" for envelope in session.envelopes])


def _recipients(session: Session) -> str | None:
    return _some([r.path.address for envelope in session.envelopes for r in envelope.recipients])


def _messages(session: Session) -> str | None:
    texts = [envelope.message.body for envelope in session.envelopes if envelope.message]
    if not texts:
        return None
    count = "one message" if len(texts) == 1 else f"{len(texts)} messages"
    taken = f"{len(session.messages)} accepted"
    said = [count, taken]
    if size := sum(text.size for text in texts):
        said.append(f"{size:,} octets")
    if bare := sum(text.lines.bare_lf for text in texts):
        said.append(f"{bare:,} bare line feeds")
    if any(text.end in ("bare-lf", "cut") for text in texts):
        said.append("not ended rightly")
    return ", ".join(said)


def _end(session: Session) -> str | None:
    if session.closed is None:
        return None
    who = "the device" if session.closed.by == "client" else "the server"
    return f"{who}, {session.closed.how}"


_FACTS: tuple[tuple[str, Callable[[Session], str | None]], ...] = (
    ("greeting", _greeting),
    ("best TLS offered", _offered),
    ("TLS", _negotiated),
    ("login", _login),
    ("sender", _senders),
    ("recipients", _recipients),
    ("messages", _messages),
    ("closed by", _end),
)


def _suites(before: Session, after: Session) -> Iterator[Fact]:
    """The suites that only one of the two hellos has."""
    hellos = [[sent.hello for _, sent in s.hellos if sent.hello and sent.hello.suites] for s in (before, after)]
    if not all(hellos):
        return
    once, now = set(hellos[0][-1].suites), set(hellos[1][-1].suites)
    lost, gained = sorted(once - now), sorted(now - once)
    yield Fact("cipher suites", str(len(once)), str(len(now)))
    if lost:
        yield Fact("suites lost", _some([suite_name(number) for number in lost]), None)
    if gained:
        yield Fact("suites gained", None, _some([suite_name(number) for number in gained]))


def _some(names: Sequence[str]) -> str | None:
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
    return ", ".join(distinct[:SHOWN]) + more or None


def comparison_text(found: Comparison) -> Iterator[Styled]:
    """The comparison in words."""
    yield "heading", f"From session {visible(found.before.id)} to session {visible(found.after.id)}"
    if found.before.host != found.after.host:
        yield (
            "warning",
            f"  They are from {_known(found.before.host)} and {_known(found.after.host)}: two devices, it may be.",
        )
    for name, session in (("first", found.before), ("second", found.after)):
        for sentence in unseen(session):
            yield "warning", f"  Not seen in the {name}: {visible(sentence)}"
    yield "", ""
    yield "heading", "What the device does"
    for fact in found.facts:
        if fact.changed:
            yield "fix", f"  {fact.name + ':':18} {_known(fact.before)} -> {_known(fact.after)}"
        elif fact.after is not None:
            yield "", f"  {fact.name + ':':18} {_known(fact.after)} (as before)"
    yield "", ""
    yield "heading", "What was found"
    for word, style, findings in (
        ("gone", "good", found.gone),
        ("new", None, found.new),
        ("stays", None, found.stayed),
    ):
        for finding in findings:
            severity = SEVERITIES[finding.severity]
            yield style or finding.severity, f"  {word:6} {severity:8} {finding.rule.title}  [{finding.rule.id}]"
    if not (found.gone or found.new or found.stayed):
        yield "good", "  nothing, in both"
    yield "", ""
    yield "heading", "Would it work?"
    for turn in found.turns:
        name = WAY_NAMES.get(turn.before.mode, turn.mode)
        style = "good" if turn.after.works else "error"
        if _verdict(turn.before) == _verdict(turn.after):
            yield style, f"  {name}: {_verdict(turn.after)}, as before"
        else:
            yield style, f"  {name}: {_verdict(turn.before)} -> {_verdict(turn.after)}"


def _known(text: str | None) -> str:
    return "none" if text is None else visible(text) or "somebody"


def _verdict(verdict: Verdict) -> str:
    if verdict.works:
        return "yes" if verdict.proven else "nothing speaks against it"
    return f"no ({', '.join(verdict.blockers)})"


def comparison_object(found: Comparison) -> dict[str, Any]:
    """The comparison as a JSON object."""
    return {
        "before": _session(found.before),
        "after": _session(found.after),
        "facts": [
            {"name": fact.name, "before": fact.before, "after": fact.after, "changed": fact.changed}
            for fact in found.facts
        ],
        "findings": {
            "gone": [_finding(finding) for finding in found.gone],
            "new": [_finding(finding) for finding in found.new],
            "stayed": [_finding(finding) for finding in found.stayed],
        },
        "verdicts": [
            {"mode": turn.mode, "before": _works(turn.before), "after": _works(turn.after)} for turn in found.turns
        ],
    }


def _session(session: Session) -> dict[str, Any]:
    return {"id": session.id, "peer": session.peer, "started": session.started, "unseen": list(unseen(session))}


def _finding(finding: Finding) -> dict[str, Any]:
    return {"rule": finding.rule.id, "severity": finding.severity, "title": finding.rule.title}


def _works(verdict: Verdict) -> dict[str, Any]:
    return {"works": verdict.works, "proven": verdict.proven, "blockers": list(verdict.blockers)}
