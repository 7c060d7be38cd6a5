"""The devices, and of each its history: was it ever better?"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.report.markup import Html, el
from relayprobe.report.text import SEVERITIES
from relayprobe.rules import RULES
from relayprobe.store import Row, Seen, host_of
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import moment, nothing, page, table

SHOWN = 200
HISTORY = 120
"""Sessions in the chart."""

_HEIGHTS = {"error": 36, "warning": 26, "note": 16, "": 10}
_BAR, _TALL = 6, 40


def devices(house: House, request: Request) -> Response:
    """The devices that were there last."""
    tongue: Tongue = request.state.tongue
    seen: list[Seen] = []
    if not house.empty:
        with house.archive() as stored:
            seen = stored.devices(SHOWN)
    rows = [
        el(
            "tr",
            el("th", el("a", one.host, href=link(request, f"/devices/{one.host}")), scope="row"),
            el("td", one.last.device or None),
            el("td", str(one.sessions)),
            el("td", el("a", moment(one.last.started), href=link(request, f"/sessions/{one.last.id}"))),
            el("td", _worst(tongue, one.last)),
            data_row="",
        )
        for one in seen
    ]
    head = [
        tongue(name)
        for name in (said("Address"), said("Device"), said("Sessions"), said("Last"), said("Worst finding"))
    ]
    return page(
        request,
        tongue("Devices"),
        table(head, rows, class_="plain", caption=tongue("Devices, the latest first"))
        if rows
        else nothing(tongue, said("No device was here yet.")),
    )


def device(house: House, request: Request) -> Response:
    """One device: a chart of its last sessions, and the list of them."""
    tongue: Tongue = request.state.tongue
    host = host_of(request.path_params["host"])
    rows: list[Row] = []
    if not house.empty:
        with house.archive() as stored:
            rows = stored.history(host, HISTORY)
    if not rows:
        return problem(request, 404, said("there is no session of {host}", host=host))
    told = [
        el(
            "tr",
            el("th", el("a", moment(row.started), href=link(request, f"/sessions/{row.id}")), scope="row"),
            el("td", _worst(tongue, row)),
            el("td", ", ".join(row.findings[:6]) or None),
            el("td", str(row.messages)),
            data_row="",
        )
        for row in reversed(rows)
    ]
    name = next((row.device for row in reversed(rows) if row.device), "")
    return page(
        request,
        tongue("Device {host}", host=host),
        el("p", name) if name else None,
        el(
            "figure",
            chart(request, rows),
            el(
                "figcaption",
                tongue("One bar a session, the newest on the right: the higher, the worse what was found."),
            ),
        ),
        el("p", el("a", tongue("Search its sessions"), href=link(request, "/", peer=host))),
        table(
            [tongue("Began"), tongue("Worst finding"), tongue("Findings"), tongue("Messages")],
            told,
            class_="plain",
            caption=tongue("Sessions of {host}, newest first", host=host),
        ),
    )


def chart(request: Request, rows: Sequence[Row]) -> Html:
    """The sessions as bars; each is a link, and says what it is."""
    tongue: Tongue = request.state.tongue
    bars = []
    for at, row in enumerate(rows):
        worst = row.worst or ""
        tall = _HEIGHTS[worst]
        says = f"{row.id}: {tongue(SEVERITIES.get(worst, said('nothing')))}"
        bar = el(
            "rect",
            el("title", says),
            x=str(at * (_BAR + 1)),
            y=str(_TALL - tall),
            width=str(_BAR),
            height=str(tall),
            class_=f"bar {worst or 'good'}",
        )
        bars.append(el("a", bar, href=link(request, f"/sessions/{row.id}"), aria_label=says))
    wide = max(1, len(rows)) * (_BAR + 1)
    counts = {worst: sum((row.worst or "") == worst for row in rows) for worst in _HEIGHTS}
    label = tongue(
        "{n} sessions: {errors} with errors, {warnings} with warnings",
        n=len(rows),
        errors=counts["error"],
        warnings=counts["warning"],
    )
    return el(
        "svg",
        bars,
        viewBox=f"0 0 {wide} {_TALL}",
        width=str(wide * 1.0),
        height=str(_TALL),
        role="group",
        aria_label=label,
        class_="history",
    )


def _worst(tongue: Tongue, row: Row) -> list[Html | str]:
    worst = row.worst or ""
    rule = RULES.get(row.findings[0]) if row.findings else None
    if not worst:
        return [tongue("nothing")]
    return [el("span", tongue(SEVERITIES[worst]), class_=f"badge {worst}"), " ", tongue(rule.title) if rule else ""]
