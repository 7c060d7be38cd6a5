"""A captured message: its text and what it is made of. Nothing in it acts, and nothing that it names is fetched."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from relayprobe.dossier.export import Export
from relayprobe.report.markup import Html, el
from relayprobe.report.visible import visible_line
from relayprobe.tongue import Tongue, said
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.pages.frame import Missing, head_row, page, page_route, scrolled
from relayprobe.web.pages.sessions import found, row_of
from relayprobe.web.pages.structure import Beyond, Part, content_of, parts_of

RAW = 64 * 1024
"""Octets of a message that are shown as they are."""

NAME = 100
"""Characters of a file's name."""

FRAME = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # Windows opens these whatever stands behind


def routes(house: House) -> list[BaseRoute]:
    """A message, a part of it to be saved, and an HTML part in a frame."""
    return [
        page_route(house, "/sessions/{id}/messages/{n}", _message),
        page_route(house, "/sessions/{id}/messages/{n}/parts/{part}", _saved),
        page_route(house, "/sessions/{id}/messages/{n}/parts/{part}/frame", _framed),
    ]


def safe_name(name: str) -> str:
    """A name for a file that came by mail: no path, no control or direction, not long, and never one that acts."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(c if unicodedata.category(c)[0] in "LNMPS" or c == " " else "_" for c in name)
    name = re.sub(r'[<>:"|?*%;`$&\']', "_", name).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if dot and len(ending) <= 16:
        name = f"{stem[: NAME - len(ending) - 1]}.{ending}"
    name = name[:NAME]
    if not name or _DEVICES.match(name):
        name = f"attachment-{name}".rstrip("-")
    return name


def disposition(name: str) -> str:
    """The header under which a file is saved: RFC 6266, with RFC 8187 for what is not ASCII."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _raw(house: House, request: Request) -> bytes:
    number = str(request.path_params["n"])
    id = found(request)
    with house.archive() as stored:
        row = row_of(stored, id)
        if not re.fullmatch(r"[1-9]\d{0,5}", number) or int(number) > row.messages:
            raise Missing(said("session {id} has no message {n}", id=id, n=number))
        return b"".join(Export(stored, row, folder=house.folder).pieces("eml", int(number)))


def _message(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    raw = _raw(house, request)
    id, n = request.path_params["id"], request.path_params["n"]
    around = el(
        "p",
        el("a", tongue("Session {id}", id=id), href=link(request, f"/sessions/{id}")),
        " ",
        el(
            "a",
            tongue("The message as a file (eml)"),
            href=link(request, f"/api/v1/sessions/{id}/message.eml", n=n),
            download="",
        ),
    )
    beyond_it = False
    try:
        content = _parts(request, tongue, parts_of(raw))
    except Beyond:
        beyond_it = True
        beyond = tongue(
            "The message has too many parts, too large a header, or takes too long to read: it is shown as it is."
        )
        content = [el("p", beyond, class_="remark")]
    lines = [visible_line(line) for line in raw[:RAW].splitlines(keepends=True)]
    cut = tongue("The first {n:,} of {all:,} octets.", n=RAW, all=len(raw)) if len(raw) > RAW else None
    as_it_is = el(
        "details",
        el("summary", tongue("As it was sent")),
        el("p", cut) if cut else None,
        el("pre", "\n".join(lines), dir="ltr", tabindex="0"),
        open="" if beyond_it else None,
    )
    return page(request, tongue("Message {n} of session {id}", n=n, id=id), around, content, as_it_is)


def _parts(request: Request, tongue: Tongue, parts: tuple[Part, ...]) -> list[Html]:
    rows: list[Html] = []
    shown: list[Html] = []
    for part in parts:
        whole = part.kind.startswith(("multipart/", "message/"))
        at = f"{request.scope['path']}/parts/{part.number}"
        save = el("a", tongue("Save"), href=link(request, at), aria_label=tongue("Save part {n}", n=part.number))
        rows.append(
            el(
                "tr",
                el("th", str(part.number), scope="row"),
                el("td", "\u00a0\u00a0" * min(part.depth, 10), el("code", part.kind)),
                el("td", part.name[:200]),
                el("td", tongue("{n:,}", n=part.size)),
                el("td", None if whole else save),
            )
        )
        if part.text is not None and len(shown) < 20:
            heading = el("h2", tongue("Text of part {n}", n=part.number))
            text = "\n".join(map(visible_line, part.text.encode("utf-8", "replace").splitlines()))
            shown.append(el("section", heading, el("pre", text, tabindex="0")))
        elif part.kind == "text/html" and len(shown) < 20:
            title = tongue("HTML of part {n}, with all that could act taken from it", n=part.number)
            frame = el("iframe", sandbox="", src=link(request, f"{at}/frame"), title=title, loading="lazy")
            shown.append(el("section", el("h2", title), frame))
    head = head_row(tongue, said("Part"), said("Kind"), said("Name"), said("Octets"), said("File"))
    table = scrolled(tongue, el("table", head, el("tbody", rows)), said("Parts"))
    return [el("section", el("h2", tongue("What it is made of")), table), *shown]


def _content(house: House, request: Request) -> tuple[Part, bytes]:
    number = str(request.path_params["part"])
    none = said("the message has no part {n}", n=number)
    if not re.fullmatch(r"[1-9]\d{0,3}", number):
        raise Missing(none)
    raw = _raw(house, request)
    try:
        part = parts_of(raw)[int(number) - 1]
        return part, content_of(raw, int(number))
    except (LookupError, Beyond) as error:
        raise Missing(none) from error


def _saved(house: House, request: Request) -> Response:
    part, content = _content(house, request)
    name = safe_name(part.name or f"part-{part.number}")
    return Response(content, media_type="application/octet-stream", headers={"Content-Disposition": disposition(name)})


def _framed(house: House, request: Request) -> Response:
    part, content = _content(house, request)
    if part.kind != "text/html":
        raise Missing(said("part {n} is not HTML", n=part.number))
    return Response(content, media_type="text/html; charset=utf-8", headers=FRAME)
