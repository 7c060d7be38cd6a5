"""The page: what people see in the browser. Every page is made whole on the server; the script only keeps it fresh."""

from __future__ import annotations

from starlette.routing import BaseRoute

from relayprobe.web.house import House
from relayprobe.web.pages import compared, known, messages, queued, sessions
from relayprobe.web.pages.frame import style_route


def routes(house: House) -> list[BaseRoute]:
    """The routes of the page."""
    return [
        style_route(),
        *sessions.routes(house),
        *messages.routes(house),
        *compared.routes(house),
        *queued.routes(house),
        *known.routes(house),
    ]
