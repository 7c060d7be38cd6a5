"""Which modes work at this site, by what was checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relayprobe.check.checked import Checked
from relayprobe.office365.modes import AT_MX, MODES, Mode
from relayprobe.tongue import Said, said

LOGIN_UNTESTED = said("whether Office 365 takes the login (`--login` tries it once for each route)")
CONNECTOR_UNTESTED = said("whether a connector knows this site (`--dry-run-to` with an address outside asks)")
DIRECT_SEND_UNTESTED = said(
    "whether the organization takes Direct Send (`--dry-run-to` with an address of its own asks)"
)

ENDPOINT_UNTESTED = said(
    "Office 365's own MX endpoint, for another server stands in front (`--mx-host` names the endpoint to look at)"
)

UNTESTED: dict[Mode, tuple[str, Said]] = {
    "submission": ("sign-in:", LOGIN_UNTESTED),
    "direct-send": ("dry-run:inside", DIRECT_SEND_UNTESTED),
    "connector": ("dry-run:outside", CONNECTOR_UNTESTED),
}
"""The checks that would tell, by the beginning of their ids, and what is open without them."""


@dataclass(frozen=True, slots=True)
class SiteVerdict:
    """Whether a mode works from here. `works`: None where it could not be told. `blockers`, `risks`: ids of checks;
    `untested`: what else has to be so, in words."""

    mode: Mode
    works: bool | None
    blockers: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()


def verdicts(checks: Sequence[Checked], reached: Collection[Mode], in_front: bool = False) -> tuple[SiteVerdict, ...]:
    """One for each mode. `reached`: the modes with a way that was seen open; `in_front`: what was looked at in place of
    the MX endpoint is another server."""
    return tuple(_verdict(mode, checks, mode in reached, in_front and mode in AT_MX) for mode in MODES)


def _verdict(mode: Mode, checks: Sequence[Checked], reached: bool, in_front: bool) -> SiteVerdict:
    blocking = [one.id for one in checks if mode in one.blocks]
    # What another server refuses says nothing of Office 365.
    moot = [id for id in blocking if in_front and id.startswith("dry-run:")]
    blockers = tuple(id for id in blocking if id not in moot)
    risks = (*(one.id for one in checks if mode in one.risks), *moot)
    telling, words = UNTESTED[mode]
    told = any(one.id.startswith(telling) and one.status != "unknown" for one in checks)
    works = False if blockers else True if reached else None
    untested = [words] if works and not told else []
    if works is None and in_front:
        untested.append(ENDPOINT_UNTESTED)
    return SiteVerdict(mode, works, blockers, risks, tuple(untested))
