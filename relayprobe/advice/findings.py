"""Findings: what the rules saw in a session, and how bad it is in the mode that is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from relayprobe.office365.modes import MODES, Mode
from relayprobe.rules import RULES, Evidence, Rule, Severity
from relayprobe.tongue import joined, said
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit

WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "note")

ENOUGH = 20
"""Pieces of evidence that a finding holds: a thousand mails with the same fault say no more than twenty."""

_HINGES: Mapping[str, frozenset[str]] = {
    "tls": frozenset(("no-tls", "auth-before-starttls")),
    "login": frozenset(
        "no-auth auth-not-advertised auth-plain-only auth-cram-md5-no-fallback auth-ntlm-or-gssapi-first".split()
    ),
}
"""Rules that say nothing of a device from which TLS or AUTH LOGIN was withheld."""

Seen = tuple[tuple[Rule, tuple[Evidence, ...]], ...]
"""What the rules saw, before it is weighed for a mode."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that fired, how bad that is in the mode that is meant, and what it saw."""

    rule: Rule
    severity: Severity
    evidence: tuple[Evidence, ...]
    mode: Mode = "submission"

    @property
    def answer(self) -> str | None:
        """What Office 365 answers to it, None where it says nothing, or what it says is not known."""
        answer = self.rule.answer.get(self.mode)
        return answer.line if answer else None

    @property
    def stage(self) -> str | None:
        """When that answer comes: `mail`, `end-of-data`, ..., `later` for a mail that is taken and comes back."""
        answer = self.rule.answer.get(self.mode)
        return answer.stage if answer else None

    @property
    def doubt(self) -> str | None:
        """What is not certain about it."""
        answer = self.rule.answer.get(self.mode)
        doubts = [doubt for doubt in (self.rule.doubt, answer.doubt if answer else None) if doubt]
        return joined(map(said, doubts), "; ") or None

    @property
    def fix(self) -> str:
        """What to do about it."""
        return self.rule.fix_for(self.mode)


def intended_mode(session: Session, mode: str | None = None) -> Mode:
    """The mode that is meant: as stated, else as kept with the session, else as imitated, else the recommended one."""
    told = mode or session.mode or session.imitate
    return next((known for known in MODES if known == told), "submission")


def diagnose(session: Session, visits: Sequence[Visit] = (), mode: str | None = None) -> tuple[Finding, ...]:
    """What is wrong with a session, the worst first. `visits`: the device's of the last minutes, in order."""
    return weighed(look(session, visits), intended_mode(session, mode))


def look(session: Session, visits: Sequence[Visit] = ()) -> Seen:
    """What every rule sees, whatever the mode."""
    seen = []
    mute = frozenset[str]().union(*(_HINGES[what] for what in session.withheld))
    for rule in [RULES["pop-before-smtp"]] if session.pop3 else RULES.values():  # no mail goes by POP3
        if rule.id in mute:
            continue
        pieces = rule.look(session, visits)
        first = next(pieces, None)  # most rules see nothing
        if first is not None:
            seen.append((rule, _distinct(chain((first,), pieces))))
    return tuple(seen)


def weighed(seen: Seen, mode: Mode) -> tuple[Finding, ...]:
    """What was seen, as findings for one mode: the worst first, and of equal ones what came first in the dialogue."""
    findings = []
    for rule, evidence in seen:
        counts = tuple(piece for piece in evidence if mode in piece.modes)
        if counts:
            findings.append(Finding(rule, _severity(rule.severity(mode), counts), counts, mode))
    return tuple(sorted(findings, key=lambda f: (WORST_FIRST.index(f.severity), f.evidence[0].event)))


def _distinct(pieces: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """What is said twice is kept once."""
    found: dict[str, Evidence] = {}
    for piece in pieces:
        found.setdefault(piece.says, piece)
        if len(found) == ENOUGH:
            break
    return tuple(found.values())


def _severity(of_rule: Severity, evidence: tuple[Evidence, ...]) -> Severity:
    """As the rule has it, unless all of the evidence weighs less."""
    heaviest = min(WORST_FIRST.index(piece.at_most) for piece in evidence)
    return WORST_FIRST[max(WORST_FIRST.index(of_rule), heaviest)]
