"""Two sessions of a device beside each other: what changed in what it does, in what was found, and in the verdicts.

Meant for the moment after a setting was changed at the device: did it help, and what else is different now?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relayprobe.advice.findings import Finding
from relayprobe.advice.verdicts import Verdict
from relayprobe.report.explained import or_none
from relayprobe.report.text import SEVERITIES, WAY_NAMES, Styled
from relayprobe.report.unseen import unseen
from relayprobe.report.visible import visible
from relayprobe.tongue import ENGLISH, Said, Tongue, counted, joined, said
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
        return said("{version} with {cipher}", version=up.version, cipher=up.cipher) if up.version else said("yes")
    if session.tls_failures:
        return said("failed: {reason}", reason=session.tls_failures[-1][1].reason)
    return None


_OUTCOMES = {True: said("accepted"), False: said("refused"), None: said("not answered")}


def _login(session: Session) -> str | None:
    login = session.login
    if login is None:
        return None
    outcome = _OUTCOMES[login.accepted]
    if login.user is None:
        return said("{mechanism}, {outcome}", mechanism=login.mechanism, outcome=outcome)
    user = login.user or said("nobody")
    return said("{mechanism} as {user}, {outcome}", mechanism=login.mechanism, user=user, outcome=outcome)


def _senders(session: Session) -> str | None:
    return _some([envelope.sender or "<>" for envelope in session.envelopes])


def _recipients(session: Session) -> str | None:
    return _some([r.path.address for envelope in session.envelopes for r in envelope.recipients])


def _messages(session: Session) -> str | None:
    texts = [envelope.message.body for envelope in session.envelopes if envelope.message]
    if not texts:
        return None
    told = [
        counted("one message", "{n} messages", len(texts)),
        counted("{n} accepted", "{n} accepted", len(session.messages)),
    ]
    if size := sum(text.size for text in texts):
        told.append(said("{n:,} octets", n=size))
    if bare := sum(text.lines.bare_lf for text in texts):
        told.append(said("{n:,} bare line feeds", n=bare))
    if any(text.end in ("bare-lf", "cut") for text in texts):
        told.append(said("not ended rightly"))
    return joined(told, ", ")


def _end(session: Session) -> str | None:
    if session.closed is None:
        return None
    if session.closed.by == "client":
        return said("the device, {how}", how=session.closed.how)
    return said("the server, {how}", how=session.closed.how)


_FACTS: tuple[tuple[str, Callable[[Session], str | None]], ...] = (
    (said("greeting"), _greeting),
    (said("best TLS offered"), _offered),
    (said("TLS"), _negotiated),
    (said("login"), _login),
    (said("sender"), _senders),
    (said("recipients"), _recipients),
    (said("messages"), _messages),
    (said("closed by"), _end),
)


def _suites(before: Session, after: Session) -> Iterator[Fact]:
    """The suites that only one of the two hellos has."""
    hellos = [[sent.hello for _, sent in s.hellos if sent.hello and sent.hello.suites] for s in (before, after)]
    if not all(hellos):
        return
    once, now = set(hellos[0][-1].suites), set(hellos[1][-1].suites)
    lost, gained = sorted(once - now), sorted(now - once)
    yield Fact(said("cipher suites"), str(len(once)), str(len(now)))
    if lost:
        yield Fact(said("suites lost"), _some([suite_name(number) for number in lost]), None)
    if gained:
        yield Fact(said("suites gained"), None, _some([suite_name(number) for number in gained]))


def _some(names: Sequence[str]) -> str | None:
    distinct = list(dict.fromkeys(names))
    some = ", ".join(distinct[:SHOWN])
    more = len(distinct) - SHOWN
    return (said("{some} and {n} more", some=some, n=more) if more > 0 else some) or None


_STAYS = {"gone": said("gone"), "new": said("new"), "stays": said("stays")}


def comparison_text(found: Comparison, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """The comparison in words."""
    yield (
        "heading",
        tongue(
            "From session {before} to session {after}",
            before=visible(found.before.id),
            after=visible(found.after.id),
        ),
    )
    if found.before.host != found.after.host:
        before, after = _known(found.before.host), _known(found.after.host)
        text = tongue("They are from {before} and {after}: two devices, it may be.", before=before, after=after)
        yield "warning", f"  {visible(text)}"
    for sentence in unseen(found.before):
        yield "warning", f"  {tongue('Not seen in the first:')} {visible(tongue(sentence))}"
    for sentence in unseen(found.after):
        yield "warning", f"  {tongue('Not seen in the second:')} {visible(tongue(sentence))}"
    yield "", ""
    yield "heading", tongue("What the device does")
    for fact in found.facts:
        name = f"{tongue(fact.name)}:"
        before, after = (visible(tongue(_known(value))) for value in (fact.before, fact.after))
        if fact.changed:
            yield "fix", f"  {name:18} {before} -> {after}"
        elif fact.after is not None:
            yield "", f"  {name:18} {after} {tongue('(as before)')}"
    yield "", ""
    yield "heading", tongue("What was found")
    for word, style, findings in (
        ("gone", "good", found.gone),
        ("new", None, found.new),
        ("stays", None, found.stayed),
    ):
        for finding in findings:
            told = f"{tongue(_STAYS[word]):6} {tongue(SEVERITIES[finding.severity]):8} {tongue(finding.rule.title)}"
            yield style or finding.severity, f"  {told}  [{finding.rule.id}]"
    if not (found.gone or found.new or found.stayed):
        yield "good", f"  {tongue('nothing, in both')}"
    yield "", ""
    yield "heading", tongue("Would it work?")
    for turn in found.turns:
        name = tongue(WAY_NAMES.get(turn.before.mode, turn.mode))
        style = "good" if turn.after.works else "error"
        before, after = tongue(_verdict(turn.before)), tongue(_verdict(turn.after))
        if _verdict(turn.before) == _verdict(turn.after):
            yield style, f"  {name}: {tongue('{verdict}, as before', verdict=after)}"
        else:
            yield style, f"  {name}: {before} -> {after}"


def _known(text: str | None) -> str:
    return said("none") if text is None else text or said("somebody")


def _verdict(verdict: Verdict) -> Said:
    if verdict.works:
        return said("yes") if verdict.proven else said("nothing speaks against it")
    return said("no ({blockers})", blockers=", ".join(verdict.blockers))


def comparison_object(found: Comparison, tongue: Tongue = ENGLISH) -> dict[str, Any]:
    """The comparison as a JSON object."""
    return {
        "before": _session(found.before, tongue),
        "after": _session(found.after, tongue),
        "facts": [
            {
                "name": fact.name,
                "before": or_none(fact.before, tongue),
                "after": or_none(fact.after, tongue),
                "changed": fact.changed,
            }
            for fact in found.facts
        ],
        "findings": {
            "gone": [_finding(finding, tongue) for finding in found.gone],
            "new": [_finding(finding, tongue) for finding in found.new],
            "stayed": [_finding(finding, tongue) for finding in found.stayed],
        },
        "verdicts": [
            {"mode": turn.mode, "before": _works(turn.before), "after": _works(turn.after)} for turn in found.turns
        ],
    }


def _session(session: Session, tongue: Tongue) -> dict[str, Any]:
    return {
        "id": session.id,
        "peer": session.peer,
        "started": session.started,
        "unseen": [tongue(sentence) for sentence in unseen(session)],
    }


def _finding(finding: Finding, tongue: Tongue) -> dict[str, Any]:
    return {"rule": finding.rule.id, "severity": finding.severity, "title": tongue(finding.rule.title)}


def _works(verdict: Verdict) -> dict[str, Any]:
    return {"works": verdict.works, "proven": verdict.proven, "blockers": list(verdict.blockers)}
