"""What stands around every page: the head, the way around, the footer; and how a page is answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from relayprobe import __version__
from relayprobe.report.markup import Child, Html, el
from relayprobe.report.style import STYLE
from relayprobe.store import StoreError
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.asked import NotAsked
from relayprobe.web.house import House
from relayprobe.web.links import link

AROUND = (
    ("/", said("Sessions")),
    ("/devices", said("Devices")),
    ("/queue", said("Queue")),
    ("/routes", said("Routes")),
    ("/rules", said("Rules")),
    ("/checks", said("Checks")),
)
LANGUAGES = {"en": "English", "it": "Italiano"}
YEAR = 365 * 24 * 3600
SEVERITIES = {"error": said("error"), "warning": said("warning"), "note": said("note")}
KEYS = (
    ("j, k", said("the next row, the one before")),
    ("Enter", said("open the row")),
    ("/", said("search")),
    ("u", said("back to the list")),
    ("?", said("this help")),
)

Made = Callable[[House, Request], Response]


class Missing(Exception):
    """What was asked for is not there; the text says so."""


def page_route(house: House, path: str, made: Made, methods: tuple[str, ...] = ("GET",)) -> Route:
    """A route to a page; what goes wrong is said on a page of its own."""

    def answer(request: Request) -> Response:
        try:
            return made(house, request)
        except NotAsked as error:
            return problem(request, 400, error.says)
        except Missing as error:
            return problem(request, 404, str(error))
        except StoreError as error:
            return problem(request, 503, str(error))

    return Route(path, answer, methods=list(methods))


def style_route() -> Route:
    """The report's style, and the page's own behind it."""
    style = STYLE + (files("relayprobe.web") / "static" / "page.css").read_text("utf-8")

    def answer(request: Request) -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return Route("/static/page.css", answer)


def page(request: Request, title: str, *content: Child, here: str = "/", live: str | None = None) -> Response:
    """A page. `title`: in the reader's language already; `here`: where it stands in AROUND; `live`: what the script
    keeps fresh (`list`, or `session:ID`)."""
    tongue: Tongue = request.state.tongue
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} - relayprobe"),
        el("link", rel="stylesheet", href=link(request, "/static/page.css")),
        el("link", rel="icon", href=link(request, "/static/icon.svg"), type="image/svg+xml"),
        el("script", src=link(request, "/static/page.js"), defer=""),
    )
    around = [
        el("li", el("a", tongue(name), href=link(request, path), aria_current="page" if path == here else None))
        for path, name in AROUND
    ]
    body = el(
        "body",
        el("a", tongue("To the content"), href="#main", class_="skip"),
        el(
            "header",
            el("a", "relayprobe", href=link(request, "/"), class_="name"),
            el("nav", el("ul", around), aria_label=tongue("Pages")),
            class_="top",
        ),
        el("main", el("h1", title), *content, id="main", tabindex="-1"),
        _footer(request, tongue),
        _help(tongue),
        data_base=link(request, ""),
        data_live=live,
        data_new=tongue("Show what is new"),
    )
    answer = HTMLResponse(f"<!DOCTYPE html>\n{el('html', head, body, lang=tongue.code)}\n")
    if request.query_params.get("lang") in LANGUAGES:
        answer.set_cookie(
            "relayprobe-lang", tongue.code, max_age=YEAR, path=request.state.base or "/", httponly=True, samesite="lax"
        )
    return answer


def fragment(*content: Child) -> Response:
    """A piece of a page, for the script."""
    return HTMLResponse(el("div", *content))


def _footer(request: Request, tongue: Tongue) -> Html:
    rest = {key: value for key, value in parse_qsl(request.url.query) if key not in ("lang", "token")}
    switch = [
        el(
            "a",
            name,
            href=link(request, request.scope["path"], **{**rest, "lang": code}),
            lang=code,
            aria_current="true" if code == tongue.code else None,
        )
        for code, name in LANGUAGES.items()
    ]
    return el(
        "footer",
        el("p", tongue("relayprobe {version}. Times are in UTC.", version=__version__)),
        el("nav", switch, aria_label=tongue("Language"), class_="languages"),
        form(request, "/sign-out", el("button", tongue("Sign out"), type="submit")) if request.state.csrf else None,
    )


def _help(tongue: Tongue) -> Html:
    keys = [el("div", el("dt", el("kbd", key)), el("dd", tongue(does))) for key, does in KEYS]
    close = el("form", el("button", tongue("Close"), type="submit"), method="dialog")
    return el("dialog", el("h2", tongue("Keys")), el("dl", keys), close, id="help", aria_label=tongue("Keys"))


def form(request: Request, path: str, *content: Child, **attributes: str | None) -> Html:
    """A form that changes something."""
    secret = el("input", type="hidden", name="csrf", value=request.state.csrf)
    return el("form", secret, *content, method="post", action=link(request, path), **attributes)


def head_row(tongue: Tongue, *names: str) -> Html:
    """The head of a table."""
    return el("thead", el("tr", [el("th", tongue(name), scope="col") for name in names]))


def scrolled(tongue: Tongue, table: Html, name: str) -> Html:
    """A table that is scrolled by itself where the window is narrow, by the keyboard too."""
    return el("div", table, class_="scroll", role="region", tabindex="0", aria_label=tongue(name))


def badge(tongue: Tongue, severity: str | None) -> Html:
    """A severity as a word in its colour."""
    if severity is None:
        return el("span", tongue("nothing"), class_="good")
    return el("span", tongue(SEVERITIES.get(severity, severity)), class_=f"badge {severity}")


def moment(at: float) -> Html:
    """A time, to the second."""
    then = datetime.fromtimestamp(at, UTC)
    return el("time", then.strftime("%Y-%m-%d %H:%M:%S"), datetime=then.isoformat())
