"""What is known: the manual of the rules, and what checks of the site found."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from relayprobe.office365.modes import MODES, Mode
from relayprobe.report.manual import SHORT, THEMES
from relayprobe.report.markup import Html, el, prose
from relayprobe.rules import RULES
from relayprobe.rules.rule import Rule
from relayprobe.store import StoreError
from relayprobe.store.checks import Run, runs
from relayprobe.tongue import Tongue, said
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import Missing, badge, head_row, moment, page, page_route, scrolled

RUNS = 50
STATUSES = {
    "ok": ("good", said("ok")),
    "warning": ("warning", said("warning")),
    "failed": ("error", said("failed")),
    "unknown": ("note", said("not known")),
}


def routes(house: House) -> list[BaseRoute]:
    """The manual, and the checks."""
    return [
        page_route(house, "/rules", _rules),
        page_route(house, "/rules/{id}", _rule),
        page_route(house, "/checks", _checks),
    ]


def _rules(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    sections = []
    for theme, title in THEMES.items():
        rows = [
            el(
                "tr",
                el("th", el("a", rule.id, href=link(request, f"/rules/{rule.id}")), scope="row"),
                el("td", tongue(rule.title)),
                el("td", badge(tongue, rule.severity("submission"))),
                data_id=rule.id,
            )
            for rule in RULES.values()
            if rule.theme == theme
        ]
        table = el("table", head_row(tongue, said("Rule"), said("What it finds"), said("Severity")), el("tbody", rows))
        sections.append(el("section", el("h2", tongue(title)), scrolled(tongue, table, title)))
    return page(request, tongue("Rules"), sections, here="/rules")


def _rule(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    rule = RULES.get(request.path_params["id"])
    if rule is None:
        raise Missing(said("there is no rule {id}: /rules lists them", id=request.path_params["id"]))
    content = [
        el("p", el("strong", prose(tongue(rule.title)))),
        [el("p", prose(tongue(paragraph))) for paragraph in rule.why.split("\n\n")],
        [_mode(tongue, rule, mode) for mode in MODES],
        [
            el("section", el("h2", tongue(name)), el("p", prose(tongue(text))))
            for name, text in (
                (said("Known of"), rule.devices),
                (said("What relayprobe's relay can repair"), rule.repair),
                (said("Not certain"), rule.doubt),
                (said("Sources"), "; ".join(rule.sources)),
            )
            if text
        ],
        el("p", el("a", tongue("Sessions that show it"), href=link(request, "/", finding=rule.id))),
    ]
    return page(request, rule.id, content, here="/rules")


def _mode(tongue: Tongue, rule: Rule, mode: Mode) -> Html:
    answer = rule.answer.get(mode)
    fix = rule.fix_for(mode)
    return el(
        "article",
        el("h2", tongue(SHORT[mode]), " ", badge(tongue, rule.severity(mode))),
        el("p", el("strong", tongue("Office 365 answers:")), " ", el("code", answer.line, dir="ltr"))
        if answer
        else None,
        el("p", tongue("Not certain: {doubt}", doubt=answer.doubt), class_="doubt")
        if answer and answer.doubt
        else None,
        el("p", el("strong", tongue("Do:")), " ", prose(tongue(fix)), class_="fix") if fix else None,
    )


def _checks(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    try:
        kept = runs(house.folder, limit=RUNS)
    except StoreError:
        kept = []  # nothing is there yet
    if not kept:
        nothing = prose(tongue("Nothing was checked yet: `relayprobe check DOMAIN` does it, and keeps what it finds."))
        return page(request, tongue("Checks"), el("p", nothing), here="/checks")
    return page(request, tongue("Checks"), [_run(tongue, run) for run in kept], here="/checks")


def _run(tongue: Tongue, run: Run) -> Html:
    rows = []
    for one in run.record.get("checks", ()):
        style, word = STATUSES.get(one.get("status"), ("note", said("not known")))
        fix = el("p", prose(str(one["fix"])), class_="fix") if one.get("fix") else None
        rows.append(
            el(
                "tr",
                el("th", str(one.get("id", "")), scope="row"),
                el("td", tongue(word), class_=f"word {style}"),
                el("td", prose(str(one.get("says", ""))), fix),
            )
        )
    table = el("table", head_row(tongue, said("Check"), said("State"), said("What was found")), el("tbody", rows))
    return el("section", el("h2", run.domain, " ", moment(run.at)), scrolled(tongue, table, run.domain))
