"""Answers that are no pages of their own: what went wrong, as JSON or for people, and the way in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from relayprobe.report.markup import Html, el, prose
from relayprobe.tongue import Tongue, said
from relayprobe.web.links import link

Sign = Literal["in", "out", "wrong", "later"]

_SIGNS: dict[Sign, str] = {
    "in": "",
    "out": said("You are signed out."),
    "wrong": said("That was not right."),
    "later": said("That was wrong too often: try again in a quarter of an hour."),
}


def problem(request: Request, status: int, says: str, **headers: str) -> Response:
    """What went wrong: `application/problem+json` (RFC 9457) for programs, a page for people."""
    tongue: Tongue = request.state.tongue
    title = HTTPStatus(status).phrase
    if not wants_page(request):
        thing = {"type": "about:blank", "title": title, "status": status, "detail": tongue(says)}
        return JSONResponse(thing, status, headers, media_type="application/problem+json")
    content = bare_page(request, tongue(title), el("p", prose(tongue(says))), _home(request))
    return HTMLResponse(content, status, headers)


def wants_page(request: Request) -> bool:
    """Whether a person asks."""
    path = request.scope["path"]
    if path.startswith("/api/") or path in ("/livez", "/readyz", "/metrics"):
        return False
    return "text/html" in request.headers.get("accept", "")


def sign_in_page(request: Request, status: int, sign: Sign, password: bool, token: bool) -> Response:
    """How to come in."""
    tongue: Tongue = request.state.tongue
    told = [el("p", tongue(_SIGNS[sign]), role="status")] if sign != "in" else []
    if password:
        told.append(
            el(
                "form",
                el("label", tongue("Password"), for_="password"),
                el(
                    "input",
                    id="password",
                    name="password",
                    type="password",
                    autocomplete="current-password",
                    required="",
                    autofocus="",
                ),
                el("button", tongue("Sign in"), type="submit"),
                method="post",
                action=link(request, "/sign-in"),
                class_="sign-in",
            )
        )
    if token:
        told.append(
            el(
                "p",
                prose(
                    tongue(
                        "Open the address that relayprobe printed when it started: it ends in `?token=` and a word "
                        "that is new at each start."
                    )
                ),
            )
        )
    return HTMLResponse(bare_page(request, tongue("Sign in to relayprobe"), *told), status)


def bare_page(request: Request, title: str, *content: Html) -> str:
    """A page without a way around."""
    tongue: Tongue = request.state.tongue
    body = el("body", el("main", el("h1", title), content, id="main", class_="bare"))
    return f"<!DOCTYPE html>\n{el('html', head(request, title), body, lang=tongue.code)}\n"


def head(request: Request, title: str, *more: Html) -> Html:
    """The head of every page."""
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} - relayprobe"),
        el("link", rel="stylesheet", href=link(request, "/static/report.css")),
        el("link", rel="stylesheet", href=link(request, "/static/page.css")),
        el("link", rel="icon", href=link(request, "/static/icon.svg"), type="image/svg+xml"),
        more,
    )


def _home(request: Request) -> Html:
    return el("p", el("a", request.state.tongue("To the list of sessions"), href=link(request, "/")))
