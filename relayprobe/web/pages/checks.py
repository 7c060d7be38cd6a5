"""What `relayprobe check` found at this site."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.report.checks import html
from relayprobe.report.markup import Html, el
from relayprobe.store.checks import Run, runs
from relayprobe.tongue import Tongue, said
from relayprobe.web.house import House
from relayprobe.web.pages.frame import moment, nothing, page

SHOWN = 20


def checks(house: House, request: Request) -> Response:
    """The runs, newest first; the newest is open."""
    tongue: Tongue = request.state.tongue
    found: list[Run] = []
    if not house.empty:
        found = runs(house.folder, limit=SHOWN)
    return page(
        request,
        tongue("Checks of this site"),
        [_run(tongue, run, newest=at == 0) for at, run in enumerate(found)]
        if found
        else nothing(
            tongue, said("Nothing was checked yet: `relayprobe check contoso.com` looks at ports, TLS and DNS.")
        ),
    )


def _run(tongue: Tongue, run: Run, newest: bool) -> Html:
    seen = ", ".join(run.addresses)
    return el(
        "details",
        el("summary", run.domain, " ", moment(run.at), f" {seen}" if seen else None),
        html(run.record, tongue),
        open="" if newest else None,
        class_="run",
    )
