"""The API: what `--json` prints, over HTTP, and news as server-sent events.

One table says which operations there are. The routes are made from it, and so is the description in OpenAPI
(`described`), so that neither knows what the other does not.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from relayprobe.dossier.export import Export
from relayprobe.dossier.objects import mail_object, row_object, whole_object
from relayprobe.report.manual import manual_object
from relayprobe.rules import RULES
from relayprobe.store import Mail, Spool, StoreDamaged, StoreError, by_hand
from relayprobe.store.checks import runs
from relayprobe.store.queue import Wanted
from relayprobe.store.row import SESSION_ID, Row
from relayprobe.tongue import ENGLISH, said
from relayprobe.web.actions import ACTIONS, act
from relayprobe.web.answers import problem
from relayprobe.web.asked import NotAsked, asked_filter, asked_limit
from relayprobe.web.described import EVENTS, JSON, LINES, TEXT, Operation, described
from relayprobe.web.house import House
from relayprobe.web.hub import News, Subscription, TooMany
from relayprobe.web.state import routes_now, unready

HEARTBEAT = 15.0
"""Seconds after which a stream says that it is still there."""

Answer = Callable[[House, Request], Response]


class Missing(Exception):
    """What was asked for is not there; the text says so."""


def routes(house: House) -> list[BaseRoute]:
    """The routes of the API."""
    return [Route(one.path, _answered(house, one, answer), methods=[one.method]) for one, answer in OPERATIONS]


def _answered(house: House, one: Operation, answer: Answer) -> Callable[[Request], Response]:
    def answered(request: Request) -> Response:  # no coroutine, so that it is made beside the loop
        if unknown := set(request.query_params) - {*one.query, "token", "lang"}:
            known = ", ".join(sorted(one.query)) or said("none")
            says = said("{name} is no parameter here: known are {known}", name=min(unknown)[:100], known=known)
            return problem(request, 400, says)
        try:
            return answer(house, request)
        except NotAsked as error:
            return problem(request, 400, error.says)
        except Missing as error:
            return problem(request, 404, str(error))
        except StoreError as error:
            return problem(request, 503, str(error))

    return answered


# Sessions


def _sessions(house: House, request: Request) -> Response:
    wanted = asked_filter(request.query_params)
    limit = asked_limit(request.query_params)
    with house.archive() as stored:
        try:
            page = stored.page(wanted, limit, request.query_params.get("cursor"))
        except StoreDamaged:
            raise
        except StoreError as error:  # a network or a cursor that is none
            raise NotAsked(str(error)) from error
    return JSONResponse({"sessions": [row_object(row) for row in page.rows], "next": page.next})


def _form(form: str, media: str, ending: str | None = None) -> Answer:
    """A session in one of the forms of `relayprobe export`."""

    def answer(house: House, request: Request) -> Response:
        pieces = _pieces(house, request, form)
        first = next(pieces, b"")  # what is wrong is said before the first octet is sent
        saved = {} if ending is None else _saved_as(f"relayprobe-{request.path_params['id']}{ending}")
        return StreamingResponse(chain([first], pieces), media_type=media, headers=saved)

    return answer


def _pieces(house: House, request: Request, form: str) -> Iterator[bytes]:
    """A session in a form. Raises Missing, NotAsked, StoreError, all of them before the first piece."""
    query = request.query_params
    mode, anonymous, with_messages = query.get("mode"), _flag(query, "anonymous"), _flag(query, "messages")
    if mode not in (None, "submission", "direct-send", "connector"):
        raise NotAsked(said("{mode} is no mode: write submission, direct-send or connector", mode=mode[:100]))
    if anonymous and with_messages:
        raise NotAsked(said("a message has names all over: leave out either anonymous or messages"))
    number = query.get("n", "1")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", number):
        raise NotAsked(said("{n} is no number of a message: write 1 for the first", n=number[:100]))
    with house.archive() as stored:
        row = _found(request.path_params["id"], stored.find)
        if form == "eml" and int(number) > row.messages:
            have = said("it has {n}", n=row.messages)
            raise Missing(said("session {id} has no message {n}: {have}", id=row.id, n=number, have=have))
        chosen = house.settings() if form == "bundle" else None  # else the site is as it was at the time
        tongue = request.state.tongue
        json_in = tongue if "lang" in request.query_params else ENGLISH  # people script against it
        export = Export(
            stored, row, house.folder, mode, anonymous, chosen=chosen, tongue=tongue, tongue_of_json=json_in
        )
        yield from export.pieces(form, int(number), with_messages)


def _flag(query: Any, name: str) -> bool:
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise NotAsked(said("{name} is 1 or 0", name=name))
    return bool(text == "1")


def _found(id: str, find: Callable[[str], Row]) -> Row:
    """A session by its id, the beginning of one, or `last`, as `show` takes it."""
    if not SESSION_ID.fullmatch(id):
        raise Missing(said("this is no id of a session: /api/v1/sessions lists them"))
    try:
        return find(id)
    except StoreDamaged:
        raise
    except StoreError as error:
        raise Missing(str(error)) from error


def _saved_as(name: str) -> dict[str, str]:
    """The headers of a file to be saved. Its name has an id of ours, with nothing in it that a header minds."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _brief(house: House, request: Request) -> Any:
    return json.loads(b"".join(_pieces(house, request, "brief")))


def _transcript(house: House, request: Request) -> Response:
    if LINES not in request.headers.get("accept", ""):
        return _form("text", TEXT)(house, request)
    events = _brief(house, request)["session"]["events"]
    return StreamingResponse((f"{json.dumps(event)}\n" for event in events), media_type=LINES)


def _findings(house: House, request: Request) -> Response:
    found = _brief(house, request)
    return JSONResponse({key: found[key] for key in ("findings", "verdicts", "advice")})


# The queue, the routes, and the rest


def _queue(house: House, request: Request) -> Response:
    limit = asked_limit(request.query_params)
    mails: list[dict[str, Any]] = []
    with house.spool() as spool:
        for mail in spool.mails(Wanted()):
            if len(mails) == limit:
                break
            reply = next((one.reply for one in reversed(spool.attempts(mail.id)) if one.reply), None)
            mails.append(mail_object(mail, reply))
        counts = spool.counts()
    return JSONResponse({"mails": mails, "counts": counts})


def _mail(house: House, request: Request) -> Response:
    with house.spool() as spool:
        return JSONResponse(whole_object(spool, _mail_of(spool, request)))


def _act(house: House, request: Request) -> Response:
    action = request.path_params["action"]
    if action not in ACTIONS:
        raise Missing(said("{action} is no action: known are {known}", action=action[:100], known=", ".join(ACTIONS)))
    with house.spool() as spool:
        mail = _mail_of(spool, request)
        if not act(house.folder, mail, action, time.time()):
            says = said("mail {id} is {state}, and was left as it is", id=mail.id, state=mail.state)
            return problem(request, 409, says)
        return JSONResponse(whole_object(spool, spool.find(mail.id)))


def _mail_of(spool: Spool, request: Request) -> Mail:
    """A mail by its whole id: what is dropped by the beginning of one may be another. Raises Missing."""
    id = request.path_params["id"]
    try:
        mail = spool.find(id)
    except StoreDamaged:
        raise
    except StoreError as error:
        raise Missing(str(error)) from error
    if mail.id != id:
        raise Missing(said("there is no mail of that id: /api/v1/queue lists them"))
    return mail


def _routes(house: House, request: Request) -> Response:
    return JSONResponse({"routes": routes_now(house)})


def _retry_route(house: House, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in [one["name"] for one in routes_now(house)]:
        raise Missing(said("there is no route {name}", name=name))
    by_hand.ask_for_route(house.folder, name, time.time())
    return JSONResponse({"name": name, "asked": True}, 202)


def _rules(house: House, request: Request) -> Response:
    return JSONResponse({"rules": [manual_object(rule) for rule in RULES.values()]})


def _checks(house: House, request: Request) -> Response:
    found = runs(house.folder, limit=asked_limit(request.query_params))
    return JSONResponse({"checks": [{"id": run.id, "at": run.at, "domain": run.domain, **run.record} for run in found]})


def _described(house: House, request: Request) -> Response:
    return JSONResponse(described([one for one, _ in OPERATIONS], house.settings().web.path))


# Whether it is at work


def _alive(house: House, request: Request) -> Response:
    return JSONResponse({"ok": True})


def _ready(house: House, request: Request) -> Response:
    """Says why not in words that tell nothing of anybody: it is asked without a token."""
    why = unready(house)
    return JSONResponse({"ok": not why, "why": why}, 503 if why else 200)


def _metrics(house: House, request: Request) -> Response:
    figures = generate_latest(house.figures)
    if house.relay is not None:
        figures += generate_latest(house.relay.figures.registry)
    return Response(figures, media_type=CONTENT_TYPE_LATEST)


# News


def _events(house: House, request: Request) -> Response:
    session = request.query_params.get("session")
    if session is not None and not SESSION_ID.fullmatch(session):
        raise NotAsked(said("this is no id of a session: /api/v1/sessions lists them"))
    return _Stream(house, request, session)


class _Stream(StreamingResponse):
    """News, for as long as somebody listens. It takes its place only when it is sent, and gives it back in any case."""

    def __init__(self, house: House, request: Request, session: str | None) -> None:
        super().__init__(iter(()), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._hub = house.hub
        self._request = request
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._hub.subscribe(self._session) as subscription:
                self.body_iterator = _told(subscription)
                await super().__call__(scope, receive, send)
        except TooMany:
            says = said("too many look on already: close one of the pages, and try again")
            await problem(self._request, 503, says, **{"Retry-After": "10"})(scope, receive, send)


async def _told(subscription: Subscription) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    while True:
        try:
            piece: News | None = await subscription.next(HEARTBEAT)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        if piece is None:
            return
        yield f"event: {piece.kind}\ndata: {json.dumps(piece.thing)}\n\n".encode()


# What there is

_FILTERS = {
    "peer": "A host, host:port, or a network such as 192.168.1.0/24.",
    "user": "A part of the user name.",
    "sender": "A part of the sender's address.",
    "recipient": "A part of a recipient's address.",
    "finding": "The id of a rule.",
    "code": "A reply code: 535, or 5.7.139.",
    "since": "Begun at this time or later: Unix time, or ISO 8601.",
    "until": "Begun before this time.",
    "q": "A part of any of these.",
    "limit": "How many.",
    "cursor": "Where to go on: `next` of the answer before.",
}
_MODE = {"mode": "What the device is meant to use, where it is not as kept with the session."}
_SHOWN = {**_MODE, "anonymous": "1: names and addresses are made up."}
_ONE = "/api/v1/sessions/{id}"
_PACKED = "application/octet-stream"  # a report that was opened in place would be of the page's own origin
OPERATIONS: tuple[tuple[Operation, Answer], ...] = (
    (Operation("/api/v1/sessions", "Captured sessions, newest first.", _FILTERS, schema="Sessions"), _sessions),
    (
        Operation(_ONE, "One session: events, findings, verdicts, advice, and what was sent on.", _SHOWN, "Report"),
        _form("json", JSON),
    ),
    (
        Operation(
            f"{_ONE}/transcript",
            "The dialogue and what was found; or its events alone, with 64 KiB of each message at most.",
            _SHOWN,
            None,
            (TEXT, LINES),
        ),
        _transcript,
    ),
    (Operation(f"{_ONE}/findings", "What was found, and what follows from it.", _SHOWN, "Findings"), _findings),
    (
        Operation(
            f"{_ONE}/message.eml",
            "A message as it was captured.",
            {"n": "Which one, from 1."},
            None,
            ("message/rfc822",),
        ),
        _form("eml", "message/rfc822", ".eml"),
    ),
    (
        Operation(f"{_ONE}/report.html", "The report, one file.", _SHOWN, None, (_PACKED,)),
        _form("html", _PACKED, ".html"),
    ),
    (
        Operation(f"{_ONE}/packets.pcapng", "The clear text as packets.", _SHOWN, None, (_PACKED,)),
        _form("pcapng", _PACKED, ".pcapng"),
    ),
    (
        Operation(
            f"{_ONE}/bundle",
            "All of it in one zip file.",
            _SHOWN | {"messages": "1: with the messages."},
            None,
            ("application/zip",),
        ),
        _form("bundle", "application/zip", ".zip"),
    ),
    (
        Operation("/api/v1/queue", "Mail that was accepted and is not delivered yet.", {"limit": "How many."}, "Mails"),
        _queue,
    ),
    (Operation("/api/v1/queue/{id}", "One mail, with all that was tried.", {}, "WholeMail"), _mail),
    (
        Operation(
            "/api/v1/queue/{id}/{action}", "Retry, hold, release or drop a mail.", {}, "WholeMail", method="POST"
        ),
        _act,
    ),
    (Operation("/api/v1/routes", "The routes, and how they are.", {}, "Routes"), _routes),
    (
        Operation(
            "/api/v1/routes/{name}/retry",
            "Try a route now, whatever has stopped it.",
            {},
            "Asked",
            method="POST",
            status=202,
        ),
        _retry_route,
    ),
    (Operation("/api/v1/rules", "The catalogue of rules.", {}, "Rules"), _rules),
    (
        Operation("/api/v1/checks", "What `relayprobe check` found, newest first.", {"limit": "How many."}, "Checks"),
        _checks,
    ),
    (
        Operation(
            "/api/v1/events",
            "News as server-sent events: sessions, connected, lines, mails, missed.",
            {"session": "An open session, whose lines are told too."},
            None,
            (EVENTS,),
        ),
        _events,
    ),
    (Operation("/api/v1/openapi.json", "This description.", {}), _described),
    (Operation("/livez", "Whether the process answers.", {}, "Alive", free=True), _alive),
    (Operation("/readyz", "Whether mail is taken.", {}, "Ready", free=True), _ready),
    (Operation("/metrics", "Figures for Prometheus.", {}, None, (CONTENT_TYPE_LATEST,)), _metrics),
)
