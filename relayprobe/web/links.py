"""Links within the page, which may be under a sub-path."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request


def link(request: Request, path: str, **query: str | None) -> str:
    """The address of a page: `link(request, "/compare", a="...", b="...")`. What is None is left out."""
    given = {key.rstrip("_"): value for key, value in query.items() if value}
    return f"{request.state.base}{path}{f'?{urlencode(given)}' if given else ''}"
