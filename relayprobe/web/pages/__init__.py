"""The pages, one file for each kind. They are made on the server and are whole without JavaScript, which only keeps
them up to date."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from relayprobe.report.style import STYLE
from relayprobe.store import StoreError
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.pages import checks, compare, devices, message, queue, rules, session, sessions

Page = Callable[[House, Request], Response]

SHOWN: tuple[tuple[str, Page], ...] = (
    ("/", sessions.sessions),
    ("/sessions/{id}", session.session),
    ("/sessions/{id}/lines", session.lines),
    ("/sessions/{id}/messages/{n}", message.message),
    ("/sessions/{id}/messages/{n}/parts/{part}", message.piece),
    ("/compare", compare.comparison),
    ("/devices", devices.devices),
    ("/devices/{host}", devices.device),
    ("/queue", queue.queue),
    ("/queue/{id}", queue.mail),
    ("/routes", queue.routes),
    ("/checks", checks.checks),
    ("/rules", rules.rules),
    ("/rules/{id}", rules.rule),
)
DONE: tuple[tuple[str, Page], ...] = (
    ("/queue/{id}/{action}", queue.change),
    ("/routes/{name}/retry", queue.retry_route),
)


def routes(house: House) -> list[BaseRoute]:
    """All pages, what their forms do, and how they look."""
    return [
        *(Route(path, _of(house, page), methods=["GET"]) for path, page in SHOWN),
        *(Route(path, _of(house, page), methods=["POST"]) for path, page in DONE),
        Route("/static/report.css", _style, methods=["GET"]),
    ]


def _of(house: House, page: Page) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:  # no coroutine, so that it is made beside the loop
        try:
            return page(house, request)
        except StoreError as error:
            return problem(request, 503, str(error))

    return answer


def _style(request: Request) -> Response:
    return Response(STYLE, media_type="text/css")
