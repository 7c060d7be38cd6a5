"""The queue with what can be done in it, and the routes with their health."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from relayprobe.dossier.objects import mail_object, whole_object
from relayprobe.report.html import sent_on_section
from relayprobe.report.markup import Html, el, prose
from relayprobe.store import Mail, StoreError, by_hand
from relayprobe.tongue import Tongue, said
from relayprobe.web.actions import ACTIONS, act
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import Missing, form, head_row, moment, page, page_route, scrolled
from relayprobe.web.state import routes_now

ROWS = 200
STATES = {
    "waiting": ("warning", said("waiting")),
    "sending": ("note", said("sending")),
    "held": ("warning", said("held")),
    "failed": ("error", said("failed")),
    "delivered": ("good", said("delivered")),
    "dropped": ("note", said("dropped")),
}
DOES = {
    "retry": said("Retry"),
    "hold": said("Hold"),
    "release": said("Release"),
    "drop": said("Drop"),
}
FITTING = {"waiting": ("retry", "hold", "drop"), "held": ("release", "drop"), "failed": ("retry", "drop")}
HEALTH = {
    "ok": ("good", said("at work")),
    "paused": ("warning", said("paused")),
    "stopped": ("error", said("stopped")),
}


def routes(house: House) -> list[BaseRoute]:
    """The queue and the routes."""
    return [
        page_route(house, "/queue", _queue),
        page_route(house, "/queue/{id}", _mail),
        page_route(house, "/queue/{id}/{action}", _act, ("POST",)),
        page_route(house, "/routes", _routes),
        page_route(house, "/routes/{name}/retry", _retry_route, ("POST",)),
    ]


def _queue(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    try:
        with house.spool() as spool:
            mails = [mail_object(mail, spool.last_reply(mail.id)) for mail in islice(spool.mails(), ROWS)]
    except StoreError:
        mails = []  # nothing was ever taken
    rows = [
        el(
            "tr",
            el("td", el("a", mail["id"], href=link(request, f"/queue/{mail['id']}"))),
            el("td", _state(tongue, mail["state"])),
            el("td", str(mail["attempts"])),
            el("td", mail["route"]),
            el("td", mail["sender"] or "<>"),
            el("td", ", ".join(mail["recipients"][:3])),
            el("td", (mail["last_reply"] or mail["why"] or "")[:200]),
            el("td", _actions(request, tongue, mail)),
            data_id=mail["id"],
        )
        for mail in mails
    ]
    head = head_row(
        tongue,
        said("Mail"),
        said("State"),
        said("Attempts"),
        said("Route"),
        said("Sender"),
        said("Recipients"),
        said("Last reply"),
        said("Actions"),
    )
    table = scrolled(tongue, el("table", head, el("tbody", rows), class_="queue"), said("Queue"))
    return page(request, tongue("Queue"), table if rows else el("p", tongue("No mail waits.")), here="/queue")


def _mail(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    with house.spool() as spool:
        whole = whole_object(spool, _found(house, request))
    content: list[Html | None] = [
        el("p", _state(tongue, whole["state"]), " ", el("span", moment(whole["arrived"]))),
        el("p", el("a", tongue("The session it came in"), href=link(request, f"/sessions/{whole['session']}")))
        if whole["session"]
        else None,
        _actions(request, tongue, whole),
        sent_on_section([whole]),
    ]
    return page(request, tongue("Mail {id}", id=whole["id"]), content, here="/queue")


def _found(house: House, request: Request) -> Mail:
    try:
        with house.spool() as spool:
            return spool.find(request.path_params["id"])
    except StoreError as error:
        raise Missing(str(error)) from error


def _act(house: House, request: Request) -> Response:
    action = request.path_params["action"]
    if action not in ACTIONS:
        raise Missing(said("nothing of that name can be done to a mail"))
    mail = _found(house, request)
    act(house.folder, mail, action, time.time())
    return RedirectResponse(link(request, f"/queue/{mail.id}"), 303)


def _state(tongue: Tongue, state: str) -> Html:
    style, word = STATES.get(state, ("note", state))
    return el("span", tongue(word), class_=f"word {style}")


def _actions(request: Request, tongue: Tongue, mail: dict[str, Any]) -> Html:
    made = []
    for action in FITTING.get(mail["state"], ()):
        words = tongue(DOES[action])
        button = el("button", words, type="submit", aria_label=f"{words} {mail['id']}")
        here = form(request, f"/queue/{mail['id']}/{action}", button)
        if action == "drop":  # what is dropped is gone: it takes two steps, with the script or without it
            sure = el("p", tongue("The mail is not delivered, and nobody is told."))
            here = el("details", el("summary", f"{words} ...", aria_label=f"{words} {mail['id']} ..."), sure, here)
        made.append(here)
    return el("div", made, class_="actions")


# Routes


def _routes(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    rows = []
    for one in routes_now(house):
        style, word = HEALTH.get(one["state"], ("note", one["state"]))
        rows.append(
            el(
                "tr",
                el("th", one["name"], scope="row"),
                el("td", f"{one['host']}:{one['port']}" if one["host"] else None),
                el(
                    "td",
                    el("span", tongue(word), class_=f"word {style}"),
                    el("div", one["why"]) if one["why"] else None,
                ),
                el("td", moment(one["until"]) if one["until"] else None),
                el("td", str(one["waiting"])),
                el("td", form(request, f"/routes/{one['name']}/retry", el("button", tongue("Try now"), type="submit"))),
            )
        )
    head = head_row(
        tongue, said("Route"), said("Server"), said("Health"), said("Until"), said("Mail that waits"), said("Actions")
    )
    table = scrolled(tongue, el("table", head, el("tbody", rows)), said("Routes"))
    nothing = el("p", prose(tongue("Nothing is sent on: this is `relayprobe listen`, or no route is set up.")))
    return page(request, tongue("Routes"), table if rows else nothing, here="/routes")


def _retry_route(house: House, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in [one["name"] for one in routes_now(house)]:
        raise Missing(said("there is no route {name}", name=name))
    by_hand.ask_for_route(house.folder, name, time.time())
    return RedirectResponse(link(request, "/routes"), 303)
