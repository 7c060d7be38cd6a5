"""Verdicts: would it work in this mode, as the device is set up now?

A verdict is a diagnosis for that mode, whatever mode is meant: what is an error there blocks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relayprobe.advice.findings import look, weighed
from relayprobe.office365.modes import MODES, Mode
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mode works. `blockers`: the rules in the way, `risks`: those that may be; `repairs`: what a
    relay in between does about the blockers.

    `proven`: the session shows it. It does where something blocks the mode, and where a whole message went by and
    nothing did. Else there was nothing to judge by, and `works` only says that nothing seen speaks against it."""

    mode: Mode
    works: bool
    blockers: tuple[str, ...]
    risks: tuple[str, ...]
    repairs: tuple[str, ...]
    proven: bool


def verdicts(session: Session, visits: Sequence[Visit] = ()) -> tuple[Verdict, ...]:
    """One verdict for each mode."""
    seen = look(session, visits)
    refused = session.login is not None and not session.login.accepted
    sent = bool(session.messages)
    found = []
    for mode in MODES:
        findings = weighed(seen, mode)
        blockers = [finding.rule for finding in findings if finding.severity == "error"]
        repairs = dict.fromkeys(rule.repair for rule in blockers if rule.repair)
        found.append(
            Verdict(
                mode=mode,
                works=not blockers,
                blockers=tuple(rule.id for rule in blockers),
                risks=tuple(finding.rule.id for finding in findings if finding.severity == "warning"),
                repairs=tuple(repairs),
                proven=bool(blockers) or (sent and not refused),
            )
        )
    return tuple(found)
