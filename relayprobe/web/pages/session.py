"""One session: what was found, what follows from it, and the dialogue with a mark at the very line; while it is open,
the dialogue as it goes on."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relayprobe.dossier.judging import judge_stored
from relayprobe.dossier.objects import sent_on
from relayprobe.report import html as report
from relayprobe.report.markup import Html, el, prose
from relayprobe.report.unseen import unseen
from relayprobe.settings.site import site_of
from relayprobe.store import Row, StoreError, host_of
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.hub import Open
from relayprobe.web.links import link
from relayprobe.web.pages.frame import page

PARTS = (("dialogue", said("Dialogue")), ("verdicts", said("Verdicts")), ("settings", said("Settings")))
FORMS = (
    ("report.html", said("Report (HTML)")),
    ("report.html?anonymous=1", said("Report without names")),
    ("bundle", said("Bundle (zip)")),
    ("packets.pcapng", said("Packets (pcapng)")),
    ("transcript", said("Text")),
    ("", said("JSON")),
)


def session(house: House, request: Request) -> Response:
    """The page of a session."""
    tongue: Tongue = request.state.tongue
    id = request.path_params["id"]
    here = house.hub.session(id)
    if here is not None:
        return _open(request, here)
    try:
        with house.archive() as stored:
            row = stored.find(id)
            if row.id != id:
                return Response(status_code=303, headers={"Location": link(request, f"/sessions/{row.id}")})
            found = judge_stored(stored, row, site=site_of(house.settings()))
            unfinished = bool(stored.unfinished_bodies(row.id))
    except StoreError as error:
        return problem(request, 404, str(error))
    mails = sent_on(house.folder, row.id)
    shown = found.session
    beside = _beside(tongue, mails)
    dialogue = el(
        "section",
        el("h2", tongue("The dialogue")),
        el("p", report.legend("relayprobe", tongue), class_="doubt"),
        report.dialogue(shown.events, report.marks_of(found.findings), tongue("relayprobe"), tongue=tongue),
        id="dialogue",
    )
    return page(
        request,
        tongue("Session {id} from {peer}", id=row.id, peer=row.peer),
        _ways(request, row),
        report.facts_of(shown, found.advice, tongue=tongue),
        [el("p", el("strong", tongue("Not seen: ")), prose(tongue(text)), class_="remark") for text in unseen(shown)],
        el("p", tongue("A message was arriving when the session broke off; it is not shown."), class_="remark")
        if unfinished
        else None,
        report.findings_section(shown, found.findings, tongue=tongue),
        report.verdicts_section(found.verdicts, found.findings, tongue=tongue),
        report.advice_section(found.advice, tongue=tongue),
        el("div", dialogue, beside, class_="beside") if beside else dialogue,
        report.hellos_section(shown, tongue=tongue),
        report.sent_on_section(mails, tongue=tongue) if beside is None else None,
    )


def lines(house: House, request: Request) -> Response:
    """The dialogue of an open session so far, for JavaScript; 404 once it has ended."""
    here = house.hub.session(request.path_params["id"])
    if here is None:
        return Response(status_code=204)  # it has ended: news of that come, too
    return HTMLResponse(_dialogue(request.state.tongue, here))


def _open(request: Request, here: Open) -> Response:
    tongue: Tongue = request.state.tongue
    return page(
        request,
        tongue("Session {id} from {peer}", id=here.id, peer=here.peer),
        el(
            "p",
            el("span", tongue("open"), class_="badge good"),
            " ",
            tongue("The device is connected. What is found is said when the session ends."),
            role="status",
        ),
        el("section", el("h2", tongue("The dialogue")), el("div", _dialogue(tongue, here), id="lines")),
        live=here.id,
    )


def _dialogue(tongue: Tongue, here: Open) -> Html:
    left = here.left_out
    more = (
        tongue.counted("{n} event more is not shown here.", "{n} events more are not shown here.", left)
        if left
        else None
    )
    return el(
        "div",
        report.dialogue(list(here.events), {}, tongue("relayprobe"), tongue=tongue),
        el("p", more) if more else None,
    )


def _ways(request: Request, row: Row) -> Html:
    tongue: Tongue = request.state.tongue
    api = f"/api/v1/sessions/{row.id}"
    links = [el("a", tongue(name), href=link(request, f"{api}/{form}" if form else api)) for form, name in FORMS]
    links += [
        el("a", tongue("Message {n}", n=number), href=link(request, f"/sessions/{row.id}/messages/{number}"))
        for number in range(1, min(row.messages, 20) + 1)
    ]
    parts = [
        el("a", tongue(name), href=f"#{part}")
        for part, name in (
            ("dialogue", said("Dialogue")),
            ("verdicts", said("Verdicts")),
            ("settings", said("Settings")),
        )
    ]
    device = el("a", tongue("History of the device"), href=link(request, f"/devices/{host_of(row.peer)}"))
    return el(
        "nav",
        el("ul", [el("li", one) for one in (*parts, device, *links)]),
        class_="ways",
        aria_label=tongue("This session"),
    )


def _beside(tongue: Tongue, mails: list[dict[str, Any]]) -> Html | None:
    """What the relay did, beside the device's dialogue."""
    return report.sent_on_section(mails, tongue=tongue) if mails else None
