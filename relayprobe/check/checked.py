"""What one check found: the observation, judged and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from relayprobe.office365.modes import Mode

Status = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Checked:
    """One check. `id`: its lasting name; `says`: what was seen, a sentence; `fix`: what to do, empty where nothing is.

    `blocks`: the modes that cannot work at this site because of it; `risks`: those that may not; `observed`: what was
    seen, as JSON can hold it; `seconds`: how long it took; `source`: where the judgement is from.
    """

    id: str
    status: Status
    says: str
    fix: str = ""
    blocks: tuple[Mode, ...] = ()
    risks: tuple[Mode, ...] = ()
    observed: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    source: str = ""
