"""The manual of the rules."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.office365.modes import MODES
from relayprobe.report.manual import SHORT, THEMES
from relayprobe.report.markup import Html, el, prose
from relayprobe.report.text import SEVERITIES
from relayprobe.rules import RULES, Rule
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import page


def rules(house: House, request: Request) -> Response:
    """All rules by theme."""
    tongue: Tongue = request.state.tongue
    sections = []
    for theme, name in THEMES.items():
        items = [
            el(
                "li",
                el(
                    "span",
                    tongue(SEVERITIES[rule.severity("submission")]),
                    class_=f"badge {rule.severity('submission')}",
                ),
                " ",
                el("a", tongue(rule.title), href=link(request, f"/rules/{rule.id}")),
                " ",
                el("code", rule.id, class_="rule"),
            )
            for rule in RULES.values()
            if rule.theme == theme
        ]
        sections.append(el("section", el("h2", tongue(name)), el("ul", items, class_="rules")))
    return page(request, tongue("Rules"), sections)


def rule(house: House, request: Request) -> Response:
    """One rule."""
    tongue: Tongue = request.state.tongue
    one = RULES.get(request.path_params["id"])
    if one is None:
        return problem(request, 404, said("there is no rule of that name"))
    return page(
        request,
        tongue(one.title),
        el(
            "p",
            el("code", one.id, class_="rule"),
            " ",
            el("a", tongue("Sessions in which it was found"), href=link(request, "/", finding=one.id)),
        ),
        el("h2", tongue("Why Office 365 minds")),
        [el("p", prose(tongue(text))) for text in one.why.split("\n\n")],
        list(_modes(tongue, one)),
        _part(tongue, said("Known of"), one.devices),
        _part(tongue, said("What relayprobe's relay can repair"), one.repair),
        _part(tongue, said("Not certain"), one.doubt),
        el("h2", tongue("Sources")),
        el("ul", [el("li", source) for source in one.sources]),
    )


def _modes(tongue: Tongue, one: Rule) -> Iterator[Html]:
    for mode in MODES:
        severity, answer, fix = one.severity(mode), one.answer.get(mode), one.fix_for(mode)
        yield el(
            "section",
            el("h2", tongue(SHORT[mode]), " ", el("span", tongue(SEVERITIES[severity]), class_=f"badge {severity}")),
            el("p", el("strong", tongue("Office 365 answers: ")), el("code", answer.line, dir="ltr"))
            if answer
            else None,
            el("p", el("strong", tongue("Not certain: ")), prose(tongue(answer.doubt)), class_="doubt")
            if answer and answer.doubt
            else None,
            el("p", el("strong", tongue("Do: ")), prose(tongue(fix)), class_="fix") if fix else None,
        )


def _part(tongue: Tongue, head: str, text: str | None) -> list[Html]:
    if not text:
        return []
    return [el("h2", tongue(head)), *(el("p", prose(tongue(part))) for part in text.split("\n\n"))]
