"""What a rule is: a small pure function that yields evidence, and beside it all that a report says about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from relayprobe.office365.modes import MODES, Mode
from relayprobe.office365.replies import Answer
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit

Severity = Literal["error", "warning", "note"]
Look = Callable[[Session], Iterator["Evidence"]]
LookBack = Callable[[Session, Sequence[Visit]], Iterator["Evidence"]]
ByMode = Mapping[Mode | Literal["any"], str]

QUOTED = 80
"""Characters of what a device said that are quoted."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a rule saw something: the index of the event, and what that event shows, as the middle of a sentence.

    Evidence may weigh less than its rule does: `at_most` says how much. `modes` are those in which it is evidence of
    anything: a login is none of a fault where a login is asked for.
    """

    event: int
    says: str
    at_most: Severity = "error"
    modes: tuple[Mode, ...] = MODES


@dataclass(frozen=True, slots=True)
class Rule:
    """One misbehaviour. `blocks`: the modes in which Office 365 refuses it; `risks`: in which it may."""

    id: str
    title: str
    why: str
    theme: str
    blocks: tuple[Mode, ...]
    risks: tuple[Mode, ...]
    answer: Mapping[Mode, Answer]
    fix: ByMode
    repair: str | None
    devices: str | None
    doubt: str | None
    sources: tuple[str, ...]
    look: LookBack

    def severity(self, mode: Mode) -> Severity:
        """How bad it is where this mode is meant; what blocks only other modes is a note."""
        return "error" if mode in self.blocks else "warning" if mode in self.risks else "note"

    def fix_for(self, mode: Mode) -> str:
        """What to do about it, in the words of device menus."""
        return self.fix.get(mode) or self.fix.get("any", "")


RULES: dict[str, Rule] = {}
"""Every rule by its id, in the order of the catalogue."""


def rule(
    title: str,
    *,
    fix: ByMode,
    sources: tuple[str, ...],
    blocks: tuple[Mode, ...] = (),
    risks: tuple[Mode, ...] = (),
    answer: Mapping[Mode, Answer] | None = None,
    repair: str | None = None,
    devices: str | None = None,
    doubt: str | None = None,
) -> Callable[[Look | LookBack], Look | LookBack]:
    """Make a rule of a function: its name, with dashes, is the id, and its docstring says why Office 365 minds.

    A function with a second parameter is also given the device's visits of the last minutes, the latest last.
    """

    def register(look: Look | LookBack) -> Look | LookBack:
        name = look.__name__.replace("_", "-")
        looks_back = len(inspect.signature(look).parameters) > 1
        RULES[name] = Rule(
            id=name,
            title=title,
            why=_unbroken(inspect.cleandoc(look.__doc__ or "")),
            theme=look.__module__.rpartition(".")[2],
            blocks=blocks,
            risks=risks,
            answer=answer or {},
            fix=fix,
            repair=repair,
            devices=devices,
            doubt=doubt,
            sources=sources,
            look=look if looks_back else lambda session, visits: look(session),  # type: ignore[call-arg, arg-type]
        )
        return look

    return register


def _unbroken(text: str) -> str:
    """A docstring with a line for each of its paragraphs: where the code breaks its lines is nobody's business."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def quoted(text: str) -> str:
    """A device's own words within a sentence: no longer than a sentence can bear."""
    return f"`{text}`" if len(text) <= QUOTED else f"`{text[:QUOTED]}...`"
