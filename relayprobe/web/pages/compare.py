"""Two sessions beside each other: did the change at the device help?"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.advice.findings import Finding
from relayprobe.advice.verdicts import Verdict
from relayprobe.dossier.judging import judge_stored
from relayprobe.report import html as report
from relayprobe.report.compare import Told, compare
from relayprobe.report.markup import Html, el, prose
from relayprobe.report.text import SEVERITIES, WAY_NAMES
from relayprobe.settings.site import site_of
from relayprobe.store import StoreError
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import moment, page, table


def comparison(house: House, request: Request) -> Response:
    """The page; the earlier session comes first."""
    tongue: Tongue = request.state.tongue
    ids = request.query_params.getlist("s")
    if len(ids) != 2:
        return problem(request, 400, said("tick two sessions in the list, and then compare them"))
    try:
        with house.archive() as stored:
            rows = sorted((stored.find(id) for id in ids), key=lambda row: row.started)
            judged = [judge_stored(stored, row, site=site_of(house.settings())) for row in rows]
    except StoreError as error:
        return problem(request, 404, str(error))
    found = compare(*(Told(one.session, one.findings, one.verdicts) for one in judged))
    heads = [
        el("th", el("a", row.id, href=link(request, f"/sessions/{row.id}")), el("br"), moment(row.started), scope="col")
        for row in rows
    ]
    facts = [
        el(
            "tr",
            el("th", tongue(fact.name), scope="row"),
            el("td", _known(tongue, fact.before)),
            el("td", _known(tongue, fact.after), el("small", " ", tongue("changed")) if fact.changed else None),
            class_="changed" if fact.changed else None,
        )
        for fact in found.facts
    ]
    turns = [
        el(
            "tr",
            el("th", tongue(WAY_NAMES.get(turn.before.mode, turn.mode)), scope="row"),
            el("td", _verdict(tongue, turn.before)),
            el("td", _verdict(tongue, turn.after)),
        )
        for turn in found.turns
    ]
    gone = [_finding(tongue, finding, said("gone"), "good") for finding in found.gone]
    new = [_finding(tongue, finding, said("new"), finding.severity) for finding in found.new]
    stayed = [_finding(tongue, finding, said("stays"), finding.severity) for finding in found.stayed]
    dialogues = [
        el(
            "section",
            el("h3", tongue("Session {id}", id=one.session.id)),
            report.dialogue(
                one.session.events, report.marks_of(one.findings), tongue("relayprobe"), anchors=False, tongue=tongue
            ),
        )
        for one in judged
    ]
    return page(
        request,
        tongue("From session {first} to session {second}", first=rows[0].id, second=rows[1].id),
        el("h2", tongue("What was found")),
        el("ul", gone, new, stayed, class_="found") if gone or new or stayed else el("p", tongue("Nothing, in both.")),
        el("h2", tongue("Would it work?")),
        table([tongue("Way"), *heads], turns, class_="compared", caption=tongue("Verdicts")),
        el("h2", tongue("What the device does")),
        table([tongue("What"), *heads], facts, class_="compared", caption=tongue("What the device does")),
        el("h2", tongue("The dialogues")),
        el("div", dialogues, class_="beside"),
    )


def _finding(tongue: Tongue, finding: Finding, turn: str, style: str) -> Html:
    return el(
        "li",
        el("span", tongue(turn), class_=f"badge {style}"),
        " ",
        tongue(SEVERITIES[finding.severity]),
        " ",
        prose(tongue(finding.rule.title)),
        " ",
        el("code", finding.rule.id, class_="rule"),
    )


def _known(tongue: Tongue, text: str | None) -> str:
    return tongue("none") if text is None else tongue(text)


def _verdict(tongue: Tongue, verdict: Verdict) -> Html:
    if verdict.works:
        return el("span", tongue("yes") if verdict.proven else tongue("nothing speaks against it"), class_="good")
    return el("span", tongue("no"), " ", el("code", ", ".join(verdict.blockers)), class_="error")
