"""Two sessions compared, and the history of a device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from relayprobe.advice.findings import Finding
from relayprobe.dossier.judging import judge_stored
from relayprobe.report.compare import Told, compare
from relayprobe.report.markup import Html, el, prose
from relayprobe.report.text import WAY_NAMES
from relayprobe.store import Row, StoreError
from relayprobe.tongue import Tongue, said
from relayprobe.web.asked import NotAsked
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import Missing, badge, head_row, moment, page, page_route, scrolled
from relayprobe.web.pages.sessions import row_of

DEVICES = 200
SHOWN = 60
"""Sessions that the chart of a device shows."""

HEIGHTS = {"error": 60, "warning": 42, "note": 26, None: 14}


def routes(house: House) -> list[BaseRoute]:
    """Comparing, and devices."""
    return [
        page_route(house, "/compare", _compare),
        page_route(house, "/devices", _devices),
        page_route(house, "/devices/{host}", _device),
    ]


def _compare(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    given = request.query_params
    ids = given.getlist("id") or [given.get("a", ""), given.get("b", "")]
    if len(ids) != 2 or not all(ids):
        raise NotAsked(said("choose two sessions in the list, and compare them"))
    with house.archive() as stored:
        rows = sorted((row_of(stored, id) for id in ids), key=lambda row: row.started)
        judged = [judge_stored(stored, row) for row in rows]
    before, after = (Told(one.session, one.findings, one.verdicts) for one in judged)
    seen = compare(before, after)
    names = [el("a", moment(row.started), " ", row.id, href=link(request, f"/sessions/{row.id}")) for row in rows]
    head = el("thead", el("tr", el("th", tongue("What"), scope="col"), [el("th", one, scope="col") for one in names]))
    facts = [
        el(
            "tr",
            el(
                "th",
                tongue(fact.name),
                " ",
                el("span", tongue("other"), class_="badge warning") if fact.changed else None,
                scope="row",
            ),
            el("td", tongue(fact.before or "-")),
            el("td", tongue(fact.after or "-")),
        )
        for fact in seen.facts
    ]
    verdicts = [
        el(
            "tr",
            el("th", tongue(WAY_NAMES[turn.before.mode]), scope="row"),
            [
                el(
                    "td",
                    tongue("yes") if one.works else tongue("no"),
                    class_=f"word {'good' if one.works else 'error'}",
                )
                for one in (turn.before, turn.after)
            ],
        )
        for turn in seen.turns
    ]
    content = [
        scrolled(tongue, el("table", head, el("tbody", facts, verdicts), class_="compared"), said("Compared")),
        _findings(request, tongue, tongue("Gone"), seen.gone),
        _findings(request, tongue, tongue("New"), seen.new),
        _findings(request, tongue, tongue("As before"), seen.stayed),
    ]
    return page(request, tongue("Two sessions compared"), content)


def _findings(request: Request, tongue: Tongue, title: str, findings: Iterable[Finding]) -> Html:
    listed = [
        el(
            "li",
            badge(tongue, one.severity),
            " ",
            tongue(one.rule.title),
            " ",
            el("a", one.rule.id, href=link(request, f"/rules/{one.rule.id}")),
        )
        for one in findings
    ]
    return el("section", el("h2", title), el("ul", listed) if listed else el("p", tongue("Nothing.")))


# Devices


def _devices(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    try:
        with house.archive() as stored:
            seen = stored.devices(DEVICES)
    except StoreError:
        seen = []  # nothing was captured yet
    rows = [
        el(
            "tr",
            el("td", el("a", one.host, href=link(request, f"/devices/{one.host}"))),
            el("td", one.last.device or None),
            el("td", str(one.sessions)),
            el("td", moment(one.last.started)),
            el("td", badge(tongue, one.last.worst)),
            data_id=one.last.id,
        )
        for one in seen
    ]
    head = head_row(
        tongue, said("Device"), said("Recognised as"), said("Sessions"), said("Last"), said("Worst finding")
    )
    table = scrolled(tongue, el("table", head, el("tbody", rows)), said("Devices"))
    content = table if rows else el("p", tongue("No device was here yet."))
    return page(request, tongue("Devices"), content, here="/devices")


def _device(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    host = str(request.path_params["host"])[:200]
    with house.archive() as stored:
        rows = stored.history(host, SHOWN)
    if not rows:
        raise Missing(said("no device {host} was here", host=host))
    listed = [
        el(
            "tr",
            el("td", el("a", moment(row.started), href=link(request, f"/sessions/{row.id}"))),
            el("td", badge(tongue, row.worst)),
            el("td", ", ".join(row.findings[:6])),
            data_id=row.id,
        )
        for row in reversed(rows)
    ]
    table = el("table", head_row(tongue, said("Begun"), said("Worst finding"), said("Findings")), el("tbody", listed))
    content = [_chart(request, tongue, rows), scrolled(tongue, table, said("Sessions"))]
    return page(request, tongue("Device {host}", host=host), content, here="/devices")


def _chart(request: Request, tongue: Tongue, rows: Sequence[Row]) -> Html:
    """A bar for each session, the higher the worse. The table below says the same in words."""
    width = 12
    bars = []
    for at, row in enumerate(rows):
        height = HEIGHTS.get(row.worst, 14)
        place = {"x": str(at * width + 1), "y": str(64 - height), "width": str(width - 3), "height": str(height)}
        bars.append(el("rect", el("title", row.id), class_=f"bar {row.worst or 'good'}", **place))
    label = tongue("The last {n} sessions, oldest first: the higher, the worse", n=len(rows))
    size = f"0 0 {max(len(rows), 20) * width} 66"
    chart = el("svg", bars, viewBox=size, role="img", aria_label=label, class_="chart", preserveAspectRatio="xMinYMid")
    return el("figure", chart, el("figcaption", prose(label)))
