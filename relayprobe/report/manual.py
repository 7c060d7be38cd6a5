"""The manual: what each rule looks for, why, what Office 365 answers, what to do, and where that is known from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from relayprobe.office365.modes import MODES, Mode
from relayprobe.office365.replies import Answer
from relayprobe.report.text import WIDTH, Styled
from relayprobe.rules.rule import Rule

SHORT = {"submission": "Client submission", "direct-send": "Direct Send", "connector": "Connector"}
THEMES = {
    "connection": "The connection",
    "tls": "TLS",
    "greeting": "The greeting",
    "auth": "The login",
    "credentials": "User name and password",
    "envelope": "The sender, and how it is written",
    "recipients": "The recipients",
    "header": "The header of the mail",
    "text": "The text of the mail",
    "behaviour": "How the device conducts itself",
    "traffic": "Several visits of a device",
}
"""What a theme is called, in the order of a dialogue."""


def table(rules: Iterable[Rule]) -> Iterator[Styled]:
    """One line a rule, by theme."""
    theme = ""
    for rule in rules:
        if rule.theme != theme:
            theme = rule.theme
            yield "heading", THEMES[theme]
        yield rule.severity("submission"), f"  {rule.id:32} {rule.title}"


def page(rule: Rule) -> Iterator[Styled]:
    """All about one rule."""
    yield "heading", rule.id
    yield from _part("", rule.title)
    yield from _part("Why Office 365 minds", rule.why)
    for (severity, fix, answer), modes in _alike(rule).items():
        yield "", ""
        yield severity, f"{', '.join(SHORT[mode] for mode in modes)}: {severity}"
        if answer:
            yield from _indented(f"Office 365 answers ({answer.stage}): {answer.line}")
            yield from _indented(f"{answer.dated.capitalize()}; {answer.source}")
            if answer.doubt:
                yield from _indented(f"Not certain: {answer.doubt}")
        if fix:
            yield from _indented(f"Do: {fix}")
    yield from _part("Known of", rule.devices)
    yield from _part("What relayprobe's relay can repair", rule.repair)
    yield from _part("Not certain", rule.doubt)
    yield from _part("Sources", "; ".join(rule.sources))


def document(rules: Iterable[Rule]) -> Iterator[str]:
    """The whole manual as Markdown, line by line: a table of all rules, and a section on each."""
    known = list(rules)
    yield f"| Rule | | {' | '.join(SHORT[mode] for mode in MODES)} |"
    yield "|---|---|" + "---|" * len(MODES)
    for rule in known:
        yield f"| [`{rule.id}`](#{rule.id}) | {rule.title} | {' | '.join(map(rule.severity, MODES))} |"
    theme = ""
    for rule in known:
        if rule.theme != theme:
            theme = rule.theme
            yield from ("", f"## {THEMES[theme]}")
        yield from _section(rule)


def _section(rule: Rule) -> Iterator[str]:
    yield from ("", f"### {rule.id}", "", f"**{rule.title}.** {' '.join(rule.why.split())}", "")
    for (severity, fix, answer), modes in _alike(rule).items():
        yield f"- {', '.join(SHORT[mode] for mode in modes)}: **{severity}**. {fix}"
        if answer is not None:
            yield f"  Office 365 answers ({answer.stage}): `{answer.line}` ({answer.dated}; {answer.source})."
            if answer.doubt:
                yield f"  Not certain: {answer.doubt}."
    facts = (
        ("Known of", rule.devices),
        ("What relayprobe's relay can repair", rule.repair),
        ("Not certain", rule.doubt),
        ("Sources", "; ".join(rule.sources)),
    )
    yield from (f"- {name}: {text}." for name, text in facts if text)


def _alike(rule: Rule) -> dict[tuple[str, str, Answer | None], list[Mode]]:
    """The modes for which the same is said."""
    found: dict[tuple[str, str, Answer | None], list[Mode]] = {}
    for mode in MODES:
        found.setdefault((rule.severity(mode), rule.fix_for(mode), rule.answer.get(mode)), []).append(mode)
    return found


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
