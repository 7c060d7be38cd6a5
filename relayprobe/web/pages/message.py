"""A captured message as text and structure. Nothing in it acts: HTML is shown in a frame in which nothing runs and
nothing is loaded, and all else is saved under a name that is made safe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from relayprobe.dossier.export import Export
from relayprobe.report.markup import Html, el, escaped
from relayprobe.report.visible import visible
from relayprobe.store import StoreError
from relayprobe.tongue import Tongue, said
from relayprobe.web.answers import problem
from relayprobe.web.house import House
from relayprobe.web.links import link
from relayprobe.web.mime import TEXT, TooMuch, part, part_text, structure
from relayprobe.web.pages.frame import nothing, page, table

RAW = 64 * 1024
"""Octets that are shown of a message as it is."""

LONGEST_NAME = 100

FRAMED = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'"
)
IN_THE_FRAME = {
    "Content-Security-Policy": FRAMED,
    "X-Frame-Options": "SAMEORIGIN",
    "X-DNS-Prefetch-Control": "off",  # else the names in links are looked up before anybody follows them
}

BEYOND = {
    "size": said("it is too large"),
    "time": said("it takes too long"),
    "depth": said("its parts are nested too deeply"),
    "number of parts": said("it has too many parts"),
    "header fields": said("its header is too large"),
    "memory or depth": said("it takes too much memory"),
}


def message(house: House, request: Request) -> Response:
    """The page of a message."""
    tongue: Tongue = request.state.tongue
    id = request.path_params["id"]
    try:
        number = _number(request, "n", 1)
        raw = _raw(house, id, number)
    except StoreError as error:
        return problem(request, 404, str(error))
    download = el("a", tongue("Save as .eml"), href=link(request, f"/api/v1/sessions/{id}/message.eml", n=str(number)))
    back = el("a", tongue("Session {id}", id=id), href=link(request, f"/sessions/{id}"))
    head = el("p", back, " ", download, class_="row")
    title = tongue("Message {n} of session {id}", n=number, id=id)
    try:
        found = structure(raw)
    except TooMuch as error:
        why = tongue(BEYOND.get(str(error), said("it is too large")))
        says = tongue("The message is shown as it is, for {why} to be taken apart.", why=why)
        return page(request, title, head, el("p", says, class_="remark"), _as_it_is(tongue, raw))
    parts = found["parts"]
    fields = [el("div", el("dt", name), el("dd", value)) for name, value in found["fields"]]
    texts = [
        el(
            "section",
            el("h2", tongue("Text")),
            el("pre", _lines(one["text"]), dir="auto"),
            el("p", tongue("Only its beginning is shown.")) if len(one["text"]) >= TEXT else None,
        )
        for one in parts
        if one["text"] is not None
    ]
    frames = [
        el(
            "section",
            el("h2", tongue("HTML")),
            el("p", tongue("Nothing in it runs, and nothing is loaded from elsewhere."), class_="doubt"),
            el(
                "iframe",
                src=link(request, f"/sessions/{id}/messages/{number}/parts/{one['number']}", view="html"),
                sandbox="",
                title=tongue("The HTML of the message"),
                loading="lazy",
                referrerpolicy="no-referrer",
            ),
        )
        for one in parts
        if one["kind"] == "text/html"
    ][:5]
    return page(
        request,
        title,
        head,
        el("dl", fields, class_="hello"),
        texts,
        frames,
        el("h2", tongue("Structure")),
        _tree(request, parts),
        el("details", el("summary", tongue("As it is")), _as_it_is(tongue, raw)),
    )


def piece(house: House, request: Request) -> Response:
    """A part of a message: to be saved, or HTML in a frame."""
    id = request.path_params["id"]
    try:
        number, at = _number(request, "n", 1), _number(request, "part", 0)
        raw = _raw(house, id, number)
        parts = structure(raw)["parts"]
        if at >= len(parts):
            return problem(request, 404, said("the message has no such part"))
        framed = request.query_params.get("view") == "html"
        octets = harmless(part_text(raw, at)).encode() if framed else part(raw, at)
    except StoreError as error:
        return problem(request, 404, str(error))
    except TooMuch:
        return problem(request, 422, said("the message is too large to be taken apart: save all of it instead"))
    if framed:
        return Response(octets, headers=IN_THE_FRAME, media_type="text/html; charset=utf-8")
    name = safe_name(parts[at]["name"], at)
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"  # RFC 8187
    return Response(octets, headers={"Content-Disposition": disposition}, media_type="application/octet-stream")


_TAG = re.compile(r"<(?=/?([A-Za-z][^\s/>]*))")
_KEPT = frozenset(
    "a abbr address article aside b bdi bdo big blockquote body br caption center cite code col colgroup "
    "dd del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 head header hr html "
    "i img ins kbd li main mark nav ol p pre q s samp section small span strike strong style sub summary "
    "sup table tbody td tfoot th thead time title tr tt u ul var wbr".split()
)
"""Tags that only say how a text looks. Others stand there as text: browsers connect to what some of them name even
where they may not load it, and connecting alone tells the sender that somebody looks."""


def harmless(html: str) -> str:
    """HTML of which only the looks are left."""
    return _TAG.sub(lambda found: "<" if found[1].lower() in _KEPT else "&lt;", html)


_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def safe_name(name: str, number: int) -> str:
    """A name under which an attachment may be saved: no folder, nothing that cannot be seen, nothing that a system
    takes for something else, and not too long."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(c for c in name if c.isprintable() and c not in '<>:"|?*;%')
    name = re.sub(r"\s+", " ", name).strip(" .~-")
    stem, dot, ending = name.rpartition(".")
    if len(name) > LONGEST_NAME:
        ending = ending[-10:]
        name = f"{stem[: LONGEST_NAME - len(ending) - 1]}{dot}{ending}" if stem else name[:LONGEST_NAME]
    if not name or _RESERVED.fullmatch(name):
        return f"attachment-{number}"
    return name


def _raw(house: House, id: str, number: int) -> bytes:
    """A message as a mail program has it. Raises StoreError where there is none, or it is no longer kept."""
    with house.archive() as stored:
        row = stored.find(id)
        return b"".join(Export(stored, row, folder=house.folder).pieces("eml", message=number))


def _number(request: Request, name: str, least: int) -> int:
    """A number in the address. Raises StoreError for what is none: there is nothing of that number."""
    text = request.path_params[name]
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
        raise StoreError(said("there is nothing of that name here"))
    return int(text)


def _tree(request: Request, parts: list[Mapping[str, Any]]) -> Html:
    tongue: Tongue = request.state.tongue
    path = request.scope["path"]
    rows = []
    for one in parts:
        save = None
        if not one["multipart"]:
            where = link(request, f"{path}/parts/{one['number']}")
            what = one["name"] or tongue("part {n}", n=one["number"])
            save = el("a", tongue("Save"), href=where, aria_label=tongue("Save {name}", name=visible(what)))
        deep = "\u00b7 " * one["depth"]
        rows.append(
            el(
                "tr",
                el("th", deep, el("code", one["kind"]), scope="row"),
                el("td", one["name"] or None),
                el("td", tongue.counted("{n} octet", "{n} octets", one["size"]) if not one["multipart"] else None),
                el("td", ", ".join(one["faults"]) or None),
                el("td", save),
            )
        )
    head = [tongue(name) for name in (said("Kind"), said("Name"), said("Size"), said("Faults"), said("Actions"))]
    return table(head, rows, class_="plain", caption=tongue("Structure"))


def _as_it_is(tongue: Tongue, raw: bytes) -> Html:
    if not raw:
        return nothing(tongue, said("It is empty."))
    more = len(raw) - RAW
    return el(
        "div",
        el("pre", _lines(raw[:RAW].decode("utf-8", "backslashreplace")), dir="ltr"),
        el("p", tongue.counted("{n:,} octet more is not shown.", "{n:,} octets more are not shown.", more))
        if more > 0
        else None,
    )


def _lines(text: str) -> Html:
    """A text with its lines as they are, and nothing else in it that acts."""
    return Html("\n".join(escaped(line) for line in text.replace("\r\n", "\n").split("\n")))
