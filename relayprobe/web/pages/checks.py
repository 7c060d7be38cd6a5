"""What `relayprobe check` found at this site."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.report.markup import Html, el, prose
from relayprobe.store import StoreError
from relayprobe.store.checks import Run, runs
from relayprobe.tongue import Tongue, said
from relayprobe.web.house import House
from relayprobe.web.pages.frame import moment, nothing, page

SHOWN = 20
STATUSES = {
    "ok": (said("ok"), "good"),
    "warning": (said("warning"), "warning"),
    "failed": (said("failed"), "error"),
    "unknown": (said("unknown"), "note"),
}


def checks(house: House, request: Request) -> Response:
    """The runs, newest first; the newest is open."""
    tongue: Tongue = request.state.tongue
    found: list[Run] = []
    with suppress(StoreError):  # nothing was checked yet
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
    items = [_check(tongue, one) for one in run.record.get("checks", ())]
    verdicts = [
        el(
            "li",
            el("code", str(one["mode"])),
            " ",
            el(
                "span",
                tongue("works") if one["works"] else tongue("blocked"),
                class_="good" if one["works"] else "error",
            ),
            " ",
            el("small", ", ".join(one["blockers"])) if one["blockers"] else None,
        )
        for one in run.record.get("verdicts", ())
    ]
    seen = ", ".join(run.addresses)
    return el(
        "details",
        el("summary", run.domain, " ", moment(run.at), f" {seen}" if seen else None),
        el("ul", verdicts, class_="verdicts"),
        el("ul", items, class_="checks"),
        open="" if newest else None,
        class_="run",
    )


def _check(tongue: Tongue, one: dict[str, str]) -> Html:
    name, style = STATUSES.get(one["status"], STATUSES["unknown"])
    return el(
        "li",
        el("span", tongue(name), class_=f"badge {style}"),
        " ",
        el("code", one["id"], class_="rule"),
        " ",
        prose(tongue(one["says"])),
        el("p", el("strong", tongue("Do: ")), prose(tongue(one["fix"])), class_="fix") if one.get("fix") else None,
    )
