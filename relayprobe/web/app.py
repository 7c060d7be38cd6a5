"""The page and the API as one application."""

from __future__ import annotations

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from relayprobe.tongue import said
from relayprobe.web import api
from relayprobe.web.access import Access, Guard
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.pages import routes as pages

log = structlog.get_logger(__name__)

_SAYS = {
    404: said("there is nothing of that name here"),
    405: said("this cannot be asked for in this way"),
}


def application(house: House, access: Access) -> Starlette:
    """Everything that is served."""
    static = StaticFiles(packages=[("relayprobe.web", "static")])
    app = Starlette(
        routes=[*api.routes(house), *pages(house), Mount("/static", static)],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False  # it would lead to the Host that was given, and out of a sub-path
    return app


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return problem(request, status, _SAYS.get(status, said("this cannot be answered")), **headers)


def _failed(request: Request, error: Exception) -> Response:
    log.error("a page could not be made", path=request.scope["path"][:200], exc_info=error)
    return problem(request, 500, said("something went wrong, and the log says what"))
