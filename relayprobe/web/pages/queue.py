"""The queue with what can be done to a mail in it, and the routes with their health."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relayprobe.dossier.objects import mail_object, whole_object
from relayprobe.report import html as report
from relayprobe.report.markup import Html, el
from relayprobe.store import Mail, StoreError, by_hand
from relayprobe.store.queue import Wanted
from relayprobe.tongue import Tongue, said
from relayprobe.web.actions import ACTIONS, act
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import moment, nothing, page, secret, table
from relayprobe.web.state import routes_now

SHOWN = 200

STATES = {
    "waiting": (said("waiting"), "warning"),
    "sending": (said("sending"), "note"),
    "held": (said("held"), "warning"),
    "failed": (said("failed"), "error"),
    "delivered": (said("delivered"), "good"),
    "dropped": (said("dropped"), "note"),
}
ROUTE_STATES = {
    "ok": (said("works"), "good"),
    "waiting": (said("waiting"), "warning"),
    "stopped": (said("stopped"), "error"),
}
_DONE = {
    "retry": said("Mail {id} is tried now."),
    "hold": said("Mail {id} is held."),
    "release": said("Mail {id} is released."),
    "drop": said("Mail {id} is dropped."),
    "left": said("Mail {id} was left as it is: it is in another state by now."),
    "route": said("Route {id} is tried as soon as there is mail for it."),
}
_NAMES = {"retry": said("Retry"), "hold": said("Hold"), "release": said("Release"), "drop": said("Drop")}
_FIT = {"waiting": ("retry", "hold", "drop"), "held": ("retry", "release", "drop"), "failed": ("retry", "drop")}
"""What can be done to a mail in a state."""


def queue(house: House, request: Request) -> Response:
    """The mail that is not delivered yet."""
    tongue: Tongue = request.state.tongue
    mails: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    if not house.empty:
        with house.spool() as spool:
            counts = spool.counts()
            for mail in spool.mails(Wanted()):
                if len(mails) == SHOWN:
                    break
                reply = next((one.reply for one in reversed(spool.attempts(mail.id)) if one.reply), None)
                mails.append(mail_object(mail, reply))
    rows = [_mail(request, mail) for mail in mails]
    more = sum(counts.values()) - len(rows)
    head = [
        tongue(name)
        for name in (
            said("Arrived"),
            said("State"),
            said("From"),
            said("To"),
            said("Next attempt"),
            said("Last reply"),
            said("Actions"),
        )
    ]
    return page(
        request,
        tongue("Queue"),
        done(request),
        table(head, rows, class_="plain", caption=tongue("Mail that is not delivered yet"))
        if rows
        else nothing(
            tongue,
            said("No mail waits.")
            if house.relay is not None
            else said("No mail waits: this relayprobe only listens, and sends nothing on. `relayprobe relay` does."),
        ),
        el("p", tongue.counted("{n} more waits", "{n} more wait", more)) if more > 0 else None,
        live="queue",
    )


def mail(house: House, request: Request) -> Response:
    """One mail with all that was tried."""
    tongue: Tongue = request.state.tongue
    try:
        with house.spool() as spool:
            whole = whole_object(spool, spool.find(request.path_params["id"]))
    except StoreError as error:
        return problem(request, 404, str(error))
    session = whole["session"]
    return page(
        request,
        tongue("Mail {id}", id=whole["id"]),
        done(request),
        actions(request, whole),
        el("p", el("a", tongue("The session in which it came"), href=link(request, f"/sessions/{session}")))
        if session
        else None,
        report.sent_on_section([whole], tongue=tongue),
    )


def change(house: House, request: Request) -> Response:
    """A form was sent: do it, and go back to where it was sent from."""
    action, id = request.path_params["action"], request.path_params["id"]
    if action not in ACTIONS:
        return problem(request, 404, said("there is nothing of that name here"))
    try:
        with house.spool() as spool:
            found: Mail = spool.find(id)
        if found.id != id:  # a beginning of it will do to look, and not to act
            return problem(request, 404, said("there is no mail of that id"))
        changed = act(house.folder, found, action, time.time())
    except StoreError as error:
        return problem(request, 404, str(error))
    where = link(request, "/queue", done=action if changed else "left", id=found.id)
    return RedirectResponse(where, 303)


def done(request: Request) -> Html | None:
    """What the form before this page did."""
    says = _DONE.get(request.query_params.get("done", ""))
    if says is None:
        return None
    tongue: Tongue = request.state.tongue
    return el("p", tongue(says, id=request.query_params.get("id", "")[:64]), class_="remark", role="status")


def actions(request: Request, mail: dict[str, Any]) -> Html:
    """Buttons for what can be done to a mail."""
    tongue: Tongue = request.state.tongue
    forms = []
    for action in _FIT.get(mail["state"], ()):
        name = tongue(_NAMES[action])
        button = el("button", name, type="submit", aria_label=tongue("{action} mail {id}", action=name, id=mail["id"]))
        where = link(request, f"/queue/{mail['id']}/{action}")
        form = el("form", secret(request), button, method="post", action=where)
        if action == "drop":
            sure = el("p", tongue("It will not be sent, and nobody is told."))
            form = el("details", el("summary", name), sure, form)
        forms.append(form)
    return el("div", forms, class_="row actions")


def _mail(request: Request, mail: dict[str, Any]) -> Html:
    tongue: Tongue = request.state.tongue
    state, style = STATES.get(mail["state"], (mail["state"], "note"))
    to = mail["recipients"]
    more = len(to) - 3
    return el(
        "tr",
        el("th", el("a", moment(mail["arrived"]), href=link(request, f"/queue/{mail['id']}")), scope="row"),
        el("td", el("span", tongue(state), class_=f"word {style}"), el("br"), el("small", mail["why"])),
        el("td", mail["sender"] or "<>"),
        el("td", ", ".join(to[:3]), tongue.counted(" and {n} more", " and {n} more", more) if more > 0 else None),
        el("td", moment(mail["next"]) if mail["state"] == "waiting" and mail["next"] else None),
        el("td", el("code", mail["last_reply"]) if mail["last_reply"] else None),
        el("td", actions(request, mail)),
        data_row="",
    )


def routes(house: House, request: Request) -> Response:
    """The routes and their health."""
    tongue: Tongue = request.state.tongue
    rows = []
    for route in routes_now(house):
        state, style = ROUTE_STATES[route["state"]]
        button = el(
            "button", tongue("Try now"), type="submit", aria_label=tongue("Try route {name} now", name=route["name"])
        )
        where = link(request, f"/routes/{route['name']}/retry")
        rows.append(
            el(
                "tr",
                el("th", route["name"], scope="row"),
                el(
                    "td",
                    route["mode"],
                    el("br"),
                    el("small", f"{route['host'] or ''}{':' + str(route['port']) if route['port'] else ''}"),
                ),
                el("td", route["user"]),
                el("td", el("span", tongue(state), class_=f"word {style}"), el("br"), el("small", route["why"])),
                el("td", moment(route["until"])),
                el("td", str(route["waiting"])),
                el("td", el("form", secret(request), button, method="post", action=where)),
                data_row="",
            )
        )
    head = [
        tongue(name)
        for name in (
            said("Route"),
            said("Way"),
            said("User name"),
            said("State"),
            said("Tried again"),
            said("Mail waiting"),
            said("Actions"),
        )
    ]
    return page(
        request,
        tongue("Routes"),
        done(request),
        table(head, rows, class_="plain", caption=tongue("Routes"))
        if rows
        else nothing(
            tongue,
            said(
                "There are no routes: this relayprobe only listens. `relayprobe relay` sends mail on, by the [[route]] "
                "tables of its configuration."
            ),
        ),
    )


def retry_route(house: House, request: Request) -> Response:
    """A form was sent: have a route tried."""
    name = request.path_params["name"]
    if name not in [one["name"] for one in routes_now(house)]:
        return problem(request, 404, said("there is no route {name}", name=name))
    by_hand.ask_for_route(house.folder, name, time.time())
    return RedirectResponse(link(request, "/routes", done="route", id=name), 303)
