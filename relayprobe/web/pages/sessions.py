"""The list of sessions, live, newest first, and the search in it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relayprobe.report.markup import Html, el, together
from relayprobe.report.text import SEVERITIES
from relayprobe.rules import RULES
from relayprobe.store import Row, StoreError, host_of
from relayprobe.tongue import Tongue, said
from relayprobe.web.asked import NotAsked, asked_filter
from relayprobe.web.house import House
from relayprobe.web.hub import Open
from relayprobe.web.links import link
from relayprobe.web.pages.frame import moment, nothing, page, table

SHOWN = 100
OPEN_SHOWN = 20

FIELDS = (
    ("q", said("Any text"), "search"),
    ("peer", said("Device address or network"), "text"),
    ("user", said("User name"), "text"),
    ("sender", said("Sender"), "text"),
    ("recipient", said("Recipient"), "text"),
    ("finding", said("Finding"), "text"),
    ("code", said("Reply code"), "text"),
    ("since", said("From (UTC)"), "datetime-local"),
    ("until", said("Until (UTC)"), "datetime-local"),
)
VERDICTS = {
    "yes": (said("works"), "good"),
    "risks": (said("works, with risks"), "warning"),
    "no": (said("does not work"), "error"),
    "unseen": (said("no message seen"), "note"),
}
_COLUMNS = (
    said("Compare"),
    said("Began"),
    said("Device"),
    said("Worst finding"),
    said("TLS"),
    said("Login"),
    said("Sender"),
    said("Verdict"),
)


def sessions(house: House, request: Request) -> Response:
    """The page, or with `part=rows` what JavaScript puts in the place of its table."""
    tongue: Tongue = request.state.tongue
    wrong, rows, further = None, tuple[Row, ...](), None
    searched = any(request.query_params.get(name) for name, _, _ in FIELDS)
    cursor = request.query_params.get("cursor")
    try:
        wanted = asked_filter(request.query_params)
        with house.archive() as stored:
            found = stored.page(wanted, SHOWN, cursor)
        rows, further = found.rows, found.next
    except NotAsked as error:
        wrong = tongue(error.says)
    except StoreError as error:
        wrong = None if house.empty else str(error)
    live = [] if searched or cursor else house.hub.open()
    part = _rows(request, rows, live, further, searched or wrong is not None)
    if request.query_params.get("part") == "rows":
        return HTMLResponse(part)
    return page(
        request,
        tongue("Captured sessions"),
        _search(request),
        el("p", wrong, class_="remark", role="alert") if wrong else None,
        el("button", tongue("New sessions came in: show them"), type="button", id="news", hidden=""),
        el("div", part, id="rows", aria_live="off"),
        live="sessions" if not cursor else None,
        status=400 if wrong else 200,
    )


def _search(request: Request) -> Html:
    tongue: Tongue = request.state.tongue
    given = request.query_params
    narrow = any(given.get(name) for name, _, _ in FIELDS[1:])
    fields = [
        el(
            "div",
            el("label", tongue(says), for_=f"search-{name}"),
            el(
                "input",
                id=f"search-{name}",
                name=name,
                type=kind,
                value=given.get(name) or None,
                maxlength="200",
                list="rules" if name == "finding" else None,
                autocomplete="off",
            ),
        )
        for name, says, kind in FIELDS
    ]
    rules = el("datalist", [el("option", tongue(rule.title), value=rule.id) for rule in RULES.values()], id="rules")
    return el(
        "form",
        el(
            "div",
            fields[0],
            el("button", tongue("Search"), type="submit"),
            el("a", tongue("Show all"), href=link(request, "/")) if any(given.get(n) for n, _, _ in FIELDS) else None,
            class_="row",
        ),
        el(
            "details",
            el("summary", tongue("Search by field")),
            el("div", fields[1:], class_="fields"),
            rules,
            open="" if narrow else None,
        ),
        role="search",
        action=link(request, "/"),
        class_="search",
    )


def _rows(request: Request, rows: Iterable[Row], live: list[Open], further: str | None, searched: bool) -> Html:
    tongue: Tongue = request.state.tongue
    going_on = {one.id for one in live}
    ended = [_row(request, row) for row in rows if row.id not in going_on]
    shown = [_open(request, one) for one in live[:OPEN_SHOWN]] + ended
    if not shown:
        return nothing(
            tongue,
            said("No session matches the search.")
            if searched
            else said("Nothing was captured yet. Point a device here and let it send: its session appears by itself."),
        )
    more = len(live) - OPEN_SHOWN
    kept = {
        name: value for name, value in request.query_params.items() if name not in ("cursor", "part", "lang", "token")
    }
    return together(
        el("p", tongue.counted("{n} more session is open", "{n} more sessions are open", more)) if more > 0 else None,
        el(
            "form",
            table(map(tongue, _COLUMNS), shown, class_="sessions", caption=tongue("Sessions, newest first")),
            el(
                "p",
                el("button", tongue("Compare the two that are ticked"), type="submit", class_="quiet"),
                el("a", tongue("Older sessions"), href=link(request, "/", **{**kept, "cursor": further}), rel="next")
                if further
                else None,
                class_="row",
            ),
            action=link(request, "/compare"),
        ),
    )


def _row(request: Request, row: Row) -> Html:
    tongue: Tongue = request.state.tongue
    host = host_of(row.peer)
    worst = row.worst or ""
    first = row.findings[0] if row.findings else None
    rule = RULES.get(first) if first else None
    more = len(row.findings) - 1
    verdict, style = VERDICTS.get(row.verdict, ("", ""))
    tick = el("input", type="checkbox", name="s", value=row.id, aria_label=tongue("Compare session {id}", id=row.id))
    return el(
        "tr",
        el("td", tick, class_="tick"),
        el("th", el("a", moment(row.started), href=link(request, f"/sessions/{row.id}")), scope="row"),
        el("td", el("a", host, href=link(request, f"/devices/{host}")), el("br"), el("small", row.device or None)),
        el(
            "td",
            el("span", tongue(SEVERITIES.get(worst, "")), class_=f"badge {worst}") if worst else None,
            " ",
            tongue(rule.title) if rule else (first or tongue("nothing")),
            el("small", " ", tongue.counted("and {n} more", "and {n} more", more)) if more > 0 else None,
        ),
        el("td", _tls(tongue, row.tls), data_label=tongue("TLS") if row.tls else None),
        el(
            "td",
            row.users[0] if row.users else None,
            el("br") if row.users else None,
            el("small", _login(tongue, row.login)),
            data_label=tongue("Login"),
        ),
        el("td", row.senders[0] if row.senders else None, data_label=tongue("Sender") if row.senders else None),
        el("td", tongue(verdict), class_=f"word {style}"),
        data_row="",
    )


def _open(request: Request, one: Open) -> Html:
    tongue: Tongue = request.state.tongue
    host = host_of(one.peer)
    return el(
        "tr",
        el("td"),
        el("th", el("a", moment(one.since), href=link(request, f"/sessions/{one.id}")), scope="row"),
        el("td", el("a", host, href=link(request, f"/devices/{host}"))),
        el(
            "td",
            el("span", tongue("open"), class_="badge good"),
            " ",
            tongue.counted("{n} event so far", "{n} events so far", len(one.events) + one.left_out),
            colspan="5",
        ),
        data_row="",
        class_="open",
    )


_TLS = {"none": said("none"), "failed": said("failed"), "yes": said("yes")}
_WENT = {"accepted": said("accepted"), "refused": said("refused"), "unfinished": said("unfinished")}


def _tls(tongue: Tongue, tls: str) -> str:
    return tongue(_TLS[tls]) if tls in _TLS else tls.replace("TLSv", "TLS ")


def _login(tongue: Tongue, login: str) -> str:
    mechanism, _, went = login.partition(" ")
    return f"{mechanism} {tongue(_WENT[went])}" if went in _WENT else login or tongue("none")
