"""The rules: each has a dialogue that fires it and one that nearly does; what is clean stays so; and all say enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import relayprobe
from relayprobe.advice.findings import Finding, diagnose
from relayprobe.advice.verdicts import verdicts
from relayprobe.office365.modes import MODES
from relayprobe.rules import RULES, Rule
from relayprobe.wire.events import Event
from relayprobe.wire.session import Session, session_of
from relayprobe.wire.visit import visit_of
from tests.rules.written import HERE, Written, dialogues

FAULTS = [written for written in dialogues() if not written.name.startswith("control-")]
CONTROLS = dialogues("control-*.txt")
EVERY_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def found(written: Written, *, bytewise: bool = False) -> tuple[Finding, ...]:
    visits, session = written.last(bytewise=bytewise)
    return diagnose(session, visits)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("written", FAULTS, ids=lambda written: written.name)
def test_fault(written: Written, bytewise: bool) -> None:
    severities = {finding.rule.id: finding.severity for finding in found(written, bytewise=bytewise)}
    assert {rule: severities.get(rule) for rule in written.finds} == written.finds
    assert not severities.keys() & set(written.not_found)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("written", CONTROLS, ids=lambda written: written.name)
def test_clean_session_has_no_error_and_no_warning(written: Written, bytewise: bool) -> None:
    assert [(f.rule.id, f.evidence) for f in found(written, bytewise=bytewise) if f.severity != "note"] == []


@pytest.mark.parametrize("name", ["control-clean-submission", "control-direct-send-helo"])
def test_nothing_at_all_is_said_of_a_clean_submission(name: str) -> None:
    findings = found(next(written for written in CONTROLS if written.name == name))
    assert [f.rule.id for f in findings if f.mode == "submission"] == []


def test_every_rule_has_a_dialogue_that_fires_it_and_one_that_nearly_does() -> None:
    fired, passed = {r for w in FAULTS for r in w.finds}, {r for w in FAULTS for r in w.not_found}
    assert fired == passed == RULES.keys()
    for rule in RULES:
        assert (HERE / f"{rule}.txt").exists()
        assert (HERE / f"{rule}-not.txt").exists()
    for written in FAULTS:
        assert {*written.finds, *written.not_found} <= RULES.keys(), written.name


@EVERY_RULE
def test_a_rule_says_what_happened_why_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.id)
    assert 0 < len(rule.title) < 90
    assert not rule.title.endswith(".")
    assert rule.why.endswith((".", '."'))
    assert rule.sources
    for mode in MODES:
        assert rule.fix_for(mode).endswith("."), mode
        if rule.severity(mode) == "note":
            assert mode not in rule.answer
    assert not set(rule.blocks) & set(rule.risks)


def test_rules_are_in_the_order_of_a_dialogue() -> None:
    themes = list(dict.fromkeys(rule.theme for rule in RULES.values()))
    assert themes == (
        "connection tls greeting auth credentials envelope recipients header text behaviour traffic".split()
    )


@pytest.mark.parametrize("written", FAULTS + CONTROLS, ids=lambda written: written.name)
def test_evidence_points_at_an_event_and_holds_no_secret(written: Written) -> None:
    _, session = written.last()
    for finding in found(written):
        assert finding.evidence
        for evidence in finding.evidence:
            assert 0 <= evidence.event < len(session.events)
            assert "Scan-2024" not in evidence.says
            assert len(evidence.says) < 400


@pytest.mark.parametrize("written", FAULTS, ids=lambda written: written.name)
def test_a_blocker_is_an_error_of_its_mode(written: Written) -> None:
    visits, session = written.last()
    for verdict in verdicts(session, visits)[: len(MODES)]:
        assert verdict.mode in MODES
        errors = [f.rule.id for f in diagnose(session, visits, verdict.mode) if f.severity == "error"]
        assert verdict.blockers == tuple(errors)
        assert verdict.works is not bool(errors)
        assert all(verdict.mode in RULES[blocker].blocks for blocker in verdict.blockers)


def cut_short(session: Session) -> list[tuple[Event, ...]]:
    return [session.events[:n] for n in range(len(session.events) + 1)]


@pytest.mark.parametrize("written", FAULTS + CONTROLS, ids=lambda written: written.name)
def test_no_rule_minds_a_dialogue_that_is_cut_short(written: Written) -> None:
    visits, session = written.last()
    for events in cut_short(session):
        part = session_of(events, site=session.site)
        diagnose(part, visits)
        diagnose(session_of(events[1:], site=session.site), [visit_of(part)])


def test_a_thousand_mails_with_one_fault_are_one_piece_of_evidence() -> None:
    written = next(w for w in FAULTS if w.name == "mail-from-not-auth-user")
    steps = written.connections[0]
    begin = next(i for i, (_, text) in enumerate(steps) if text.startswith("MAIL"))
    end = next(i for i, (_, text) in enumerate(steps) if text == "QUIT")
    written.connections[0] = steps[:begin] + steps[begin:end] * 50 + steps[end:]
    finding = next(f for f in found(written) if f.rule.id == "mail-from-not-auth-user")
    assert len(finding.evidence) == 1


PURE = ("office365", "rules", "advice")
EDGE = re.compile(
    r"^\s*(?:import|from)\s+(asyncio|ssl|socket|os|pathlib|time|logging|structlog|click|aiosmtp\w*)\b", re.M
)


def test_these_rooms_are_pure() -> None:
    home = Path(relayprobe.__file__).parent
    for room in PURE:
        for path in (home / room).glob("*.py"):
            assert not EDGE.search(path.read_text()), path
