"""The API: what `--json` prints, over HTTP, and news as server-sent events.

One table says which operations there are. The routes are made from it, and so is the description in OpenAPI.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from relayprobe import __version__
from relayprobe.dossier.export import Export
from relayprobe.dossier.objects import mail_object, row_object, whole_object
from relayprobe.rules import RULES
from relayprobe.store import Archive, StoreError, by_hand
from relayprobe.store.checks import runs
from relayprobe.store.row import SESSION_ID
from relayprobe.tongue import said
from relayprobe.web.actions import ACTIONS, act
from relayprobe.web.answers import problem
from relayprobe.web.asked import NotAsked, asked_filter, asked_limit
from relayprobe.web.house import House
from relayprobe.web.hub import News, Subscription, TooMany
from relayprobe.web.state import routes_now, unready

HEARTBEAT = 15.0
"""Seconds after which a stream says that it is still there."""

Answer = Callable[[House, Request], Response]

_TEXT, _JSON, _EVENTS = "text/plain; charset=utf-8", "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does. `query`: names of parameters, with what they mean; `gives`: media type."""

    path: str
    summary: str
    answer: Answer
    query: Mapping[str, str]
    gives: str = _JSON
    method: str = "GET"


class Missing(Exception):
    """What was asked for is not there; the text says so."""


def routes(house: House) -> list[BaseRoute]:
    """The routes of the API."""
    made: list[BaseRoute] = [
        Route(one.path, _answered(house, one), methods=[one.method]) for one in OPERATIONS if one.path != EVENTS
    ]
    made.append(Route(EVENTS, _events(house), methods=["GET"]))
    return made


def _answered(house: House, one: Operation) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        if request.method == "POST" and not request.headers.get("authorization") and not request.state.csrf:
            pass  # the token came in the address
        if unknown := set(request.query_params) - {*one.query, "token", "lang"}:
            known = ", ".join(sorted(one.query)) or said("none")
            says = said("{name} is no parameter here: known are {known}", name=min(unknown), known=known)
            return problem(request, 400, says)
        try:
            return one.answer(house, request)
        except NotAsked as error:
            return problem(request, 400, error.says)
        except Missing as error:
            return problem(request, 404, str(error))
        except StoreError as error:
            return problem(request, 503, str(error))

    return answer


# Sessions

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
    "limit": "How many, 1 to 500; 100 where it is not given.",
    "cursor": "Where to go on: `next` of the answer before.",
}
_MODE = {"mode": "What the device is meant to use: submission, direct-send or connector."}


def _sessions(house: House, request: Request) -> Response:
    wanted = asked_filter(request.query_params)
    limit = asked_limit(request.query_params)
    try:
        with house.archive() as stored:
            page = stored.page(wanted, limit, request.query_params.get("cursor"))
    except StoreError as error:
        if stored_nothing(house):
            return JSONResponse({"sessions": [], "next": None})
        raise NotAsked(str(error)) from error
    return JSONResponse({"sessions": [row_object(row) for row in page.rows], "next": page.next})


def stored_nothing(house: House) -> bool:
    """Whether nothing was captured yet."""
    try:
        with house.archive():
            return False
    except StoreError:
        return True


def _export(house: House, request: Request, form: str, stored: Archive, **more: Any) -> Iterator[bytes]:
    row = _row(stored, request)
    mode = request.query_params.get("mode")
    if mode not in (None, "submission", "direct-send", "connector"):
        raise NotAsked(said("{mode} is no mode: write submission, direct-send or connector", mode=mode))
    anonymous = request.query_params.get("anonymous") in ("1", "true")
    export = Export(stored, row, folder=house.folder, mode=mode, anonymous=anonymous, chosen=house.settings())
    return export.pieces(form, **more)


def _row(stored: Archive, request: Request) -> Any:
    id = request.path_params["id"]
    if not SESSION_ID.fullmatch(id):
        raise Missing(said("{id} is no id of a session", id=id))
    try:
        return stored.find(id)
    except StoreError as error:
        raise Missing(str(error)) from error


def _form(form: str, media: str, ending: str | None = None) -> Answer:
    """A session in one of the forms of `relayprobe export`."""

    def answer(house: House, request: Request) -> Response:
        more: dict[str, Any] = {}
        if form == "eml":
            more["message"] = _number(request)
        if form == "bundle":
            more["with_messages"] = request.query_params.get("messages") in ("1", "true")
        return StreamingResponse(
            iterate_in_threadpool(_kept_open(house, request, form, more)),
            media_type=media,
            headers=_file(request, ending),
        )

    return _looked_at_first(answer, form)


def _number(request: Request) -> int:
    number = request.query_params.get("n", "1")
    if not re.fullmatch(r"[1-9]\d{0,5}", number):
        raise NotAsked(said("{n} is no number of a message: write 1 for the first", n=number))
    return int(number)


def _looked_at_first(answer: Answer, form: str) -> Answer:
    """What is wrong with what is asked for is said before the first octet of an answer is sent."""

    def looked(house: House, request: Request) -> Response:
        with house.archive() as stored:
            row = _row(stored, request)
            if form == "eml":
                number = (
                    int(request.query_params.get("n", "1")) if request.query_params.get("n", "1").isdecimal() else 1
                )
                if number > row.messages:
                    have = said("it has {n}", n=row.messages)
                    raise Missing(said("session {id} has no message {n}: {have}", id=row.id, n=number, have=have))
            made = _export(house, request, "json", stored) if form == "json" else iter(())
            next(made, b"")
        return answer(house, request)

    return looked


def _kept_open(house: House, request: Request, form: str, more: dict[str, Any]) -> Iterator[bytes]:
    with house.archive() as stored:
        yield from _export(house, request, form, stored, **more)


def _file(request: Request, ending: str | None) -> dict[str, str]:
    """The headers of a file to be saved. The id is ours, and has nothing in it that a header minds."""
    if ending is None:
        return {}
    return {"Content-Disposition": f'attachment; filename="relayprobe-{request.path_params["id"]}{ending}"'}


def _findings(house: House, request: Request) -> Response:
    with house.archive() as stored:
        whole = json.loads(b"".join(_export(house, request, "json", stored)))
    return JSONResponse({"findings": whole["findings"], "verdicts": whole["verdicts"], "advice": whole["advice"]})


# The queue, the routes, and the rest


def _queue(house: House, request: Request) -> Response:
    from relayprobe.store.queue import Wanted

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
        try:
            mail = spool.find(request.path_params["id"])
        except StoreError as error:
            raise Missing(str(error)) from error
        return JSONResponse(whole_object(spool, mail))


def _act(house: House, request: Request) -> Response:
    action = request.path_params["action"]
    if action not in ACTIONS:
        raise Missing(said("{action} is no action: known are {known}", action=action, known=", ".join(ACTIONS)))
    with house.spool() as spool:
        try:
            mail = spool.find(request.path_params["id"])
        except StoreError as error:
            raise Missing(str(error)) from error
    done = act(house.folder, mail, action, time.time())
    if not done:
        says = said("mail {id} is {state}, and was left as it is", id=mail.id, state=mail.state)
        return problem(request, 409, says)
    with house.spool() as spool:
        return JSONResponse(whole_object(spool, spool.find(mail.id)))


def _routes(house: House, request: Request) -> Response:
    return JSONResponse({"routes": routes_now(house)})


def _retry_route(house: House, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in [one["name"] for one in routes_now(house)]:
        raise Missing(said("there is no route {name}", name=name))
    by_hand.ask_for_route(house.folder, name, time.time())
    return JSONResponse({"name": name, "asked": True}, 202)


def _rules(house: House, request: Request) -> Response:
    from relayprobe.report.manual import manual_object

    return JSONResponse({"rules": [manual_object(rule) for rule in RULES.values()]})


def _checks(house: House, request: Request) -> Response:
    try:
        found = runs(house.folder, limit=asked_limit(request.query_params))
    except StoreError:
        found = []  # nothing is there yet
    return JSONResponse({"checks": [{"id": run.id, "at": run.at, "domain": run.domain, **run.record} for run in found]})


def _described(house: House, request: Request) -> Response:
    return JSONResponse(described(house.settings().web.path))


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

EVENTS = "/api/v1/events"


def _events(house: House) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        session = request.query_params.get("session")
        if session is not None and not SESSION_ID.fullmatch(session):
            return problem(request, 400, said("{id} is no id of a session", id=session))
        subscribed = house.hub.subscribe(session)
        try:
            subscription = subscribed.__enter__()
        except TooMany:
            says = said("too many look on already: close one of the pages, and try again")
            return problem(request, 503, says, **{"Retry-After": "10"})

        async def told() -> AsyncIterator[bytes]:
            try:
                yield b"retry: 2000\n\n"
                async for piece in _news(subscription):
                    yield piece
            finally:
                subscribed.__exit__(None, None, None)

        return StreamingResponse(told(), media_type=_EVENTS, headers={"X-Accel-Buffering": "no"})

    return answer


async def _news(subscription: Subscription) -> AsyncIterator[bytes]:
    while True:
        try:
            piece: News | None = await subscription.next(HEARTBEAT)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        if piece is None:
            return
        yield f"event: {piece.kind}\ndata: {json.dumps(piece.thing)}\n\n".encode()


def _never(house: House, request: Request) -> Response:
    raise NotImplementedError  # the stream is answered in the loop, not in a thread


_ONE = "/api/v1/sessions/{id}"
OPERATIONS: tuple[Operation, ...] = (
    Operation("/api/v1/sessions", "Captured sessions, newest first.", _sessions, _FILTERS),
    Operation(
        _ONE,
        "One session: events, findings, verdicts, advice, and what was sent on.",
        _form("json", _JSON),
        _MODE | {"anonymous": "1: names and addresses are made up."},
    ),
    Operation(
        f"{_ONE}/transcript",
        "The dialogue and what was found, as text.",
        _form("text", _TEXT),
        _MODE | {"anonymous": "1: names and addresses are made up."},
        _TEXT,
    ),
    Operation(f"{_ONE}/findings", "What was found, and what follows from it.", _findings, _MODE),
    Operation(
        f"{_ONE}/message.eml",
        "A message as it was captured.",
        _form("eml", "message/rfc822", ".eml"),
        {"n": "Which one, from 1."},
        "message/rfc822",
    ),
    Operation(
        f"{_ONE}/report.html",
        "The report, one file.",
        _form("html", "application/octet-stream", ".html"),
        _MODE | {"anonymous": "1: names and addresses are made up."},
        "application/octet-stream",
    ),
    Operation(
        f"{_ONE}/packets.pcapng",
        "The clear text as packets.",
        _form("pcapng", "application/octet-stream", ".pcapng"),
        {"anonymous": "1: names and addresses are made up."},
        "application/octet-stream",
    ),
    Operation(
        f"{_ONE}/bundle",
        "All of it in one zip file.",
        _form("bundle", "application/zip", ".zip"),
        _MODE | {"anonymous": "1: names and addresses are made up.", "messages": "1: with the messages."},
        "application/zip",
    ),
    Operation(
        "/api/v1/queue", "Mail that was accepted and is not delivered yet.", _queue, {"limit": "How many, 1 to 500."}
    ),
    Operation("/api/v1/queue/{id}", "One mail, with all that was tried.", _mail, {}),
    Operation("/api/v1/queue/{id}/{action}", "Retry, hold, release or drop a mail.", _act, {}, method="POST"),
    Operation("/api/v1/routes", "The routes, and how they are.", _routes, {}),
    Operation(
        "/api/v1/routes/{name}/retry", "Try a route now, whatever has stopped it.", _retry_route, {}, method="POST"
    ),
    Operation("/api/v1/rules", "The catalogue of rules.", _rules, {}),
    Operation(
        "/api/v1/checks", "What `relayprobe check` found, newest first.", _checks, {"limit": "How many, 1 to 500."}
    ),
    Operation(
        EVENTS,
        "News as server-sent events: sessions, connected, lines, mails, missed.",
        _never,
        {"session": "An open session, whose lines are told too."},
        _EVENTS,
    ),
    Operation("/api/v1/openapi.json", "This description.", _described, {}),
    Operation("/livez", "Whether the process answers.", _alive, {}),
    Operation("/readyz", "Whether mail is taken.", _ready, {}),
    Operation("/metrics", "Figures for Prometheus.", _metrics, {}, CONTENT_TYPE_LATEST),
)


def described(path: str = "") -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        named = re.findall(r"\{(\w+)\}", one.path)
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": f"The {name}."}
            for name in named
        ] + [
            {"name": name, "in": "query", "schema": {"type": "string"}, "description": meaning}
            for name, meaning in one.query.items()
        ]
        answers: dict[str, Any] = {
            "200": {"description": one.summary, "content": {one.gives: {}}},
            "default": {
                "description": "What went wrong (RFC 9457).",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        }
        thing: dict[str, Any] = {"summary": one.summary, "parameters": parameters, "responses": answers}
        thing["operationId"] = re.sub(r"\W+", "_", f"{one.method} {one.path}").strip("_").lower()
        if one.path in ("/livez", "/readyz"):
            thing["security"] = []
        paths.setdefault(one.path, {})[one.method.lower()] = thing
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "relayprobe",
            "version": __version__,
            "description": "Captured SMTP sessions, what is wrong with them, and the queue of the relay.",
        },
        "servers": [{"url": path or "/"}],
        "security": [{"bearer": []}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            },
        },
    }
