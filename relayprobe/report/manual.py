"""The manual: what each rule looks for, why, what Office 365 answers, what to do, and where that is known from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from relayprobe.office365.modes import MODES
from relayprobe.report.text import MODE_NAMES, WIDTH, Styled
from relayprobe.rules.rule import Rule


def table(rules: Iterable[Rule]) -> Iterator[Styled]:
    """One line a rule, by theme."""
    theme = ""
    for rule in rules:
        if rule.theme != theme:
            theme = rule.theme
            yield "heading", theme
        yield rule.severity("submission"), f"  {rule.id:32} {rule.title}"


def page(rule: Rule) -> Iterator[Styled]:
    """All about one rule."""
    yield "heading", rule.id
    yield from _part("", rule.title)
    yield from _part("Why Office 365 minds", rule.why)
    for mode in MODES:
        severity = rule.severity(mode)
        answer = rule.answer.get(mode)
        yield "", ""
        yield severity, f"{MODE_NAMES[mode]}: {severity}"
        if answer:
            yield from _indented(f"Office 365 answers ({answer.stage}): {answer.line}")
            yield from _indented(f"{answer.dated.capitalize()}; {answer.source}")
            if answer.doubt:
                yield from _indented(f"Not certain: {answer.doubt}")
        if rule.fix_for(mode):
            yield from _indented(f"Do: {rule.fix_for(mode)}")
    yield from _part("Known of", rule.devices)
    yield from _part("What relayprobe's relay can repair", rule.repair)
    yield from _part("Not certain", rule.doubt)
    yield from _part("Sources", "; ".join(rule.sources))


def manual_object(rule: Rule) -> dict[str, Any]:
    """A rule as a JSON object."""
    return {
        "rule": rule.id,
        "theme": rule.theme,
        "title": rule.title,
        "why": rule.why,
        "severity": {mode: rule.severity(mode) for mode in MODES},
        "answer": {mode: answer.line for mode, answer in rule.answer.items()},
        "fix": {mode: rule.fix_for(mode) for mode in MODES},
        "devices": rule.devices,
        "repair": rule.repair,
        "doubt": rule.doubt,
        "sources": list(rule.sources),
    }


def _part(heading: str, text: str | None) -> Iterator[Styled]:
    if not text:
        return
    yield "", ""
    if heading:
        yield "heading", heading
    for paragraph in text.split("\n\n"):
        yield from _indented(paragraph)


def _indented(text: str) -> Iterator[Styled]:
    for line in textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False):
        yield "", line
