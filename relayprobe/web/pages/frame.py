"""What all pages have: the way around, the language, and how times and tables look."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import HTMLResponse

from relayprobe import __version__
from relayprobe.report.markup import Child, Html, el, prose, together
from relayprobe.tongue import LANGUAGES, Tongue, said
from relayprobe.web.answers import head
from relayprobe.web.links import link

PLACES = (
    ("/", said("Sessions")),
    ("/devices", said("Devices")),
    ("/queue", said("Queue")),
    ("/routes", said("Routes")),
    ("/checks", said("Checks")),
    ("/rules", said("Rules")),
)
YEAR = 365 * 24 * 3600
KEYS = (
    ("j", said("the next row")),
    ("k", said("the row before")),
    ("Enter", said("open the row")),
    ("/", said("search")),
    ("u", said("back to the list")),
    ("?", said("these keys")),
)


def page(request: Request, title: str, *content: Child, live: str | None = None, status: int = 200) -> HTMLResponse:
    """A page. `live`: what JavaScript keeps up to date in it: `sessions`, or the id of an open session."""
    tongue: Tongue = request.state.tongue
    script = el("script", src=link(request, "/static/page.js"), defer="")
    here = request.scope["path"]
    places = [
        el("li", el("a", tongue(name), href=link(request, path), aria_current="page" if here == path else None))
        for path, name in PLACES
    ]
    body = el(
        "body",
        el("a", tongue("To the content"), href="#main", class_="skip"),
        el(
            "header",
            el("a", "relayprobe", href=link(request, "/"), class_="name"),
            el("nav", el("ul", places), aria_label=tongue("Main")),
            class_="top",
        ),
        el("main", el("h1", title), together(*content), id="main", tabindex="-1", data_live=live),
        _foot(request, tongue),
        _keys(tongue),
        data_base=request.state.base,
    )
    answer = HTMLResponse(
        f"<!DOCTYPE html>\n{el('html', head(request, title, script), body, lang=tongue.code)}\n", status
    )
    if request.query_params.get("lang") == tongue.code:  # chosen by hand: so it stays
        answer.set_cookie(
            "relayprobe-lang", tongue.code, YEAR, path=request.state.base or "/", httponly=True, samesite="lax"
        )
    return answer


def _foot(request: Request, tongue: Tongue) -> Html:
    languages = [
        el("a", name, href="?" + _with_language(request, code), lang=code, hreflang=code)
        for code, name in LANGUAGES.items()
        if code != tongue.code
    ]
    out = (
        el(
            "form",
            secret(request),
            el("button", tongue("Sign out"), type="submit", class_="quiet"),
            method="post",
            action=link(request, "/sign-out"),
        )
        if request.state.signed_in
        else None
    )
    told = tongue("relayprobe {version}. Passwords are kept nowhere: ******** stands for one.", version=__version__)
    keys = el("button", tongue("Keys"), type="button", class_="quiet", data_keys="", hidden="")
    return el("footer", el("p", told), el("div", languages, keys, out, class_="row"))


def _with_language(request: Request, code: str) -> str:
    from urllib.parse import urlencode

    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in ("lang", "token")]
    return urlencode([*kept, ("lang", code)])


def _keys(tongue: Tongue) -> Html:
    rows = [el("div", el("dt", el("kbd", key)), el("dd", tongue(does))) for key, does in KEYS]
    close = el("form", el("button", tongue("Close"), type="submit"), method="dialog")
    return el("dialog", el("h2", tongue("Keys")), el("dl", rows), close, id="keys")


def secret(request: Request) -> Html:
    """What a form carries, so that it is known for one of ours."""
    return el("input", type="hidden", name="csrf", value=request.state.csrf)


def table(head: Iterable[str | Html], rows: Iterable[Html], *, class_: str, caption: str) -> Html:
    """A table that scrolls by itself where it is too wide. `caption`: what it is, for who cannot see it."""
    names = [name if isinstance(name, Html) else el("th", name, scope="col") for name in head]
    inner = el(
        "table",
        el("caption", caption, class_="unseen"),
        el("thead", el("tr", names)),
        el("tbody", rows),
        class_=class_,
    )
    return el("div", inner, class_="wide", tabindex="0", role="region", aria_label=caption)


def moment(at: float | None) -> Html | None:
    """A time, in UTC, as the report, and the search have it."""
    if at is None:
        return None
    when = datetime.fromtimestamp(at, UTC)
    zone = el("small", " UTC")
    return el("time", when.strftime("%Y-%m-%d %H:%M:%S"), zone, datetime=when.isoformat(timespec="seconds"))


def nothing(tongue: Tongue, text: str) -> Html:
    """Where a list is empty."""
    return el("p", prose(tongue(text)), class_="empty")
