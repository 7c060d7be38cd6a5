"""Verdicts: would it work in this way of sending, as the device is set up now?

A verdict is a diagnosis for the way's mode, whatever mode is meant: what is an error there blocks it. The variants of
client submission have terms of their own beside that, and what was told of the site closes ways, too: both stand in
table.py. Through a relay blocks only what a relay cannot put right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relayprobe.advice.case import case_of
from relayprobe.advice.findings import Finding, look, weighed
from relayprobe.advice.table import blocks_of
from relayprobe.office365.modes import MODE_OF, WAYS, Way
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit


@dataclass(frozen=True, slots=True)
class Removal:
    """What removes a block: the id of the rule, or of a block that is no rule, and what to do."""

    blocker: str
    do: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a way works. `blockers`: the rules in the way, and blocks that are no rules; `risks`: rules that may be;
    `repairs`: what a relay in between does about the blockers; `remove`: what would remove each block.

    `proven`: the session shows it. It does where something blocks the way, and where a whole message went by and
    nothing did. Else there was nothing to judge by, and `works` only says that nothing seen speaks against it."""

    mode: Way
    works: bool
    blockers: tuple[str, ...]
    risks: tuple[str, ...]
    repairs: tuple[str, ...]
    proven: bool
    remove: tuple[Removal, ...] = ()


OF_PASSWORDS = frozenset(
    "auth-blank-credentials auth-newline-inside-base64 auth-base64-wrapped auth-bad-base64 auth-password-truncated "
    "auth-password-charset auth-wrong-password auth-login-prompt-sensitive auth-plain-only auth-cram-md5-no-fallback "
    "auth-ntlm-or-gssapi-first".split()
)
"""Rules on logins with a password: where the device signs in with OAuth they are gone."""

NOT_FOR_A_RELAY = frozenset(("sslv3-only", "cert-rejected-by-client"))
"""What a relay can do something about only when the device is set otherwise: encryption off, its root imported."""

OF_A_MAILBOX = frozenset(("mail-from-not-auth-user", "header-from-not-auth-user", "auth-user-not-upn"))
"""Rules on a login that is a mailbox: that of Azure Communication Services is none."""


def verdicts(session: Session, visits: Sequence[Visit] = ()) -> tuple[Verdict, ...]:
    """One verdict for each way, the three modes first."""
    seen = look(session, visits)
    blocks = blocks_of(case_of(session, visits))
    refused = session.login is not None and not session.login.accepted
    sent = bool(session.messages)
    found = []
    for way in WAYS:
        findings = [finding for finding in weighed(seen, MODE_OF[way]) if _counts(way, finding)]
        blocking = [finding for finding in findings if finding.severity == "error"]
        terms = [row for row in blocks if way in row.closes]
        repairs = dict.fromkeys(finding.rule.repair for finding in blocking if finding.rule.repair)
        blockers = (*(finding.rule.id for finding in blocking), *(row.block for row in terms))
        found.append(
            Verdict(
                mode=way,
                works=not blockers,
                blockers=blockers,
                risks=tuple(finding.rule.id for finding in findings if finding.severity == "warning"),
                repairs=() if way == "relayprobe" else tuple(repairs),
                proven=bool(blockers) or (sent and not refused),
                remove=(
                    *(Removal(finding.rule.id, finding.rule.fix_for(MODE_OF[way])) for finding in blocking),
                    *(Removal(row.block, row.do) for row in terms),
                ),
            )
        )
    return tuple(found)


def _counts(way: Way, finding: Finding) -> bool:
    """Whether a finding of the mode is one of the way, too."""
    if way == "submission-oauth":
        return finding.rule.id not in OF_PASSWORDS
    if way == "azure-communication-services":
        return finding.rule.id not in OF_A_MAILBOX
    if way == "relayprobe":
        return finding.severity == "error" and (not finding.rule.repair or finding.rule.id in NOT_FOR_A_RELAY)
    return True
