"""The manual: what each rule looks for, why, what Office 365 answers, what to do, and where that is known from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from relayprobe.office365.modes import MODES, Mode
from relayprobe.office365.replies import Answer
from relayprobe.report.explained import capital, or_none
from relayprobe.report.text import SEVERITIES, WIDTH, Styled
from relayprobe.rules.rule import Rule
from relayprobe.tongue import ENGLISH, Tongue, said

SHORT = {"submission": said("Client submission"), "direct-send": said("Direct Send"), "connector": said("Connector")}
THEMES = {
    "connection": said("The connection"),
    "tls": said("TLS"),
    "greeting": said("The greeting"),
    "auth": said("The login"),
    "credentials": said("User name and password"),
    "envelope": said("The sender, and how it is written"),
    "recipients": said("The recipients"),
    "header": said("The header of the mail"),
    "text": said("The text of the mail"),
    "behaviour": said("How the device conducts itself"),
    "traffic": said("Several visits of a device"),
}
"""What a theme is called, in the order of a dialogue."""


def table(rules: Iterable[Rule], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """One line a rule, by theme."""
    theme = ""
    for rule in rules:
        if rule.theme != theme:
            theme = rule.theme
            yield "heading", tongue(THEMES[theme])
        yield rule.severity("submission"), f"  {rule.id:32} {tongue(rule.title)}"


def page(rule: Rule, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """All about one rule."""
    yield "heading", rule.id
    yield from _part("", tongue(rule.title))
    yield from _part(tongue("Why Office 365 minds"), why_of(rule, tongue))
    for (severity, fix, answer), modes in _alike(rule).items():
        yield "", ""
        yield severity, f"{_modes(modes, tongue)}: {_severity(severity, tongue)}"
        if answer:
            yield from _indented(_answers(answer, answer.line, tongue))
            yield from _indented(f"{capital(tongue(answer.dated))}; {answer.source}")
            if answer.doubt:
                yield from _indented(f"{tongue('Not certain:')} {tongue(answer.doubt)}")
        if fix:
            yield from _indented(f"{tongue('Do:')} {tongue(fix)}")
    for name, text in _facts(rule, tongue):
        yield from _part(name, text)


def why_of(rule: Rule, tongue: Tongue = ENGLISH) -> str:
    """Why Office 365 minds: paragraphs with an empty line between them."""
    return "\n\n".join(map(tongue, rule.why.split("\n\n")))


def _modes(modes: Iterable[Mode], tongue: Tongue) -> str:
    return ", ".join(tongue(SHORT[mode]) for mode in modes)


def _severity(severity: str, tongue: Tongue) -> str:
    return tongue(SEVERITIES[severity]).lower()


def _answers(answer: Answer, shown: str, tongue: Tongue) -> str:
    return tongue("Office 365 answers ({stage}): {line}", stage=answer.stage, line=shown)


def _facts(rule: Rule, tongue: Tongue) -> Iterator[tuple[str, str]]:
    """The rest of what is told of a rule, as far as there is something to tell."""
    facts = (
        (tongue("Known of"), rule.devices),
        (tongue("What relayprobe's relay can repair"), rule.repair),
        (tongue("Not certain"), rule.doubt),
    )
    yield from ((name, tongue(text)) for name, text in facts if text)
    if rule.sources:
        yield tongue("Sources"), "; ".join(rule.sources)


def document(rules: Iterable[Rule], tongue: Tongue = ENGLISH) -> Iterator[str]:
    """The whole manual as Markdown, line by line: a table of all rules, and a section on each."""
    known = list(rules)
    yield f"| {tongue('Rule')} | | {' | '.join(tongue(SHORT[mode]) for mode in MODES)} |"
    yield "|---|---|" + "---|" * len(MODES)
    for rule in known:
        severities = " | ".join(_severity(rule.severity(mode), tongue) for mode in MODES)
        yield f"| [`{rule.id}`](#{rule.id}) | {tongue(rule.title)} | {severities} |"
    theme = ""
    for rule in known:
        if rule.theme != theme:
            theme = rule.theme
            yield from ("", f"## {tongue(THEMES[theme])}")
        yield from _section(rule, tongue)


def _section(rule: Rule, tongue: Tongue) -> Iterator[str]:
    why = " ".join(why_of(rule, tongue).split())
    yield from ("", f"### {rule.id}", "", f"**{tongue(rule.title)}.** {why}", "")
    for (severity, fix, answer), modes in _alike(rule).items():
        yield f"- {_modes(modes, tongue)}: **{_severity(severity, tongue)}**. {tongue(fix)}"
        if answer is not None:
            yield f"  {_answers(answer, f'`{answer.line}`', tongue)} ({tongue(answer.dated)}; {answer.source})."
            if answer.doubt:
                yield f"  {tongue('Not certain:')} {tongue(answer.doubt)}."
    yield from (f"- {name}: {text}." for name, text in _facts(rule, tongue))


def _alike(rule: Rule) -> dict[tuple[str, str, Answer | None], list[Mode]]:
    """The modes for which the same is said."""
    found: dict[tuple[str, str, Answer | None], list[Mode]] = {}
    for mode in MODES:
        found.setdefault((rule.severity(mode), rule.fix_for(mode), rule.answer.get(mode)), []).append(mode)
    return found


def manual_object(rule: Rule, tongue: Tongue = ENGLISH) -> dict[str, Any]:
    """A rule as a JSON object."""
    return {
        "rule": rule.id,
        "theme": rule.theme,
        "title": tongue(rule.title),
        "why": why_of(rule, tongue),
        "severity": {mode: rule.severity(mode) for mode in MODES},
        "answer": {mode: answer.line for mode, answer in rule.answer.items()},
        "fix": {mode: tongue(rule.fix_for(mode)) for mode in MODES},
        "devices": or_none(rule.devices, tongue),
        "repair": or_none(rule.repair, tongue),
        "doubt": or_none(rule.doubt, tongue),
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
