"""The list of sessions with its search, and one session."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from relayprobe.dossier.judging import Judgement, judge, judge_stored
from relayprobe.dossier.objects import sent_on
from relayprobe.report.html import (
    advice_section,
    dialogue,
    facts_of,
    findings_section,
    hellos_section,
    marks_of,
    sent_on_section,
    verdicts_section,
)
from relayprobe.report.markup import Html, el
from relayprobe.report.unseen import unseen
from relayprobe.rules import RULES
from relayprobe.store import Archive, Page, Row, StoreError, host_of
from relayprobe.store.row import SESSION_ID
from relayprobe.tongue import Tongue, said
from relayprobe.web.api import stored_nothing
from relayprobe.web.asked import NotAsked, asked_filter
from relayprobe.web.house import House
from relayprobe.web.hub import Open
from relayprobe.web.links import link
from relayprobe.web.pages.frame import Missing, badge, fragment, head_row, moment, page, page_route, scrolled

ROWS = 100
OPEN = 20
"""Open sessions that the list names; of more, the number is told."""

FIELDS = (
    ("q", said("Anything"), "search"),
    ("peer", said("Device"), "text"),
    ("user", said("User"), "text"),
    ("sender", said("Sender"), "text"),
    ("recipient", said("Recipient"), "text"),
    ("finding", said("Finding"), "text"),
    ("code", said("Reply code"), "text"),
    ("since", said("From"), "datetime-local"),
    ("until", said("Until"), "datetime-local"),
)
VERDICTS = {
    "yes": ("good", said("works")),
    "risks": ("warning", said("at risk")),
    "no": ("error", said("refused")),
    "unseen": ("note", said("no mail seen")),
}
DOWNLOADS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("transcript", {}, said("Text")),
    ("", {}, said("JSON")),
    ("report.html", {}, said("Report")),
    ("report.html", {"anonymous": "1"}, said("Report without names")),
    ("packets.pcapng", {}, said("Packets (pcapng)")),
    ("bundle", {}, said("Bundle (zip)")),
)


def routes(house: House) -> list[BaseRoute]:
    """The list, one session, and the pieces of both that the script fetches."""
    return [
        page_route(house, "/", _list),
        page_route(house, "/live/sessions", _fresh_list),
        page_route(house, "/sessions/{id}", _session),
        page_route(house, "/live/sessions/{id}", _fresh_session),
    ]


def found(request: Request) -> str:
    """The id of a session that an address names. Raises Missing."""
    id = str(request.path_params["id"])
    if not SESSION_ID.fullmatch(id):
        raise Missing(said("{id} is no id of a session", id=id))
    return id


def row_of(stored: Archive, id: str) -> Row:
    """The row of a session. Raises Missing."""
    try:
        return stored.find(id)
    except StoreError as error:
        raise Missing(str(error)) from error


# The list


def _list(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    listed = _page(house, request)
    first = request.query_params.get("cursor") is None
    content = [
        _search(request, tongue),
        _open(house, request, tongue) if first else None,
        _table(request, tongue, listed),
        _more(request, tongue, listed),
    ]
    return page(request, tongue("Sessions"), content, live="list" if first else None)


def _fresh_list(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    return fragment(_open(house, request, tongue), _table(request, tongue, _page(house, request)))


def _page(house: House, request: Request) -> Page:
    wanted = asked_filter(request.query_params)
    try:
        with house.archive() as stored:
            return stored.page(wanted, ROWS, request.query_params.get("cursor"))
    except StoreError as error:
        if stored_nothing(house):
            return Page((), None)
        raise NotAsked(str(error)) from error


def _search(request: Request, tongue: Tongue) -> Html:
    given = request.query_params
    fields = [
        el(
            "div",
            el("label", tongue(name), for_=f"search-{key}"),
            el(
                "input",
                id=f"search-{key}",
                name=key,
                type=kind,
                value=given.get(key, "")[:200],
                list="rules" if key == "finding" else None,
                maxlength="200",
            ),
        )
        for key, name, kind in FIELDS
    ]
    more = any(given.get(key) for key, _, _ in FIELDS[1:])
    return el(
        "search",
        el(
            "form",
            fields[0],
            el("button", tongue("Search"), type="submit"),
            el(
                "details",
                el("summary", tongue("More fields")),
                el("div", fields[1:], class_="fields"),
                open="" if more else None,
            ),
            el("datalist", [el("option", value=id) for id in RULES], id="rules"),
            action=link(request, "/"),
            class_="search",
        ),
    )


def _open(house: House, request: Request, tongue: Tongue) -> Html:
    going_on = house.hub.open()
    if not going_on:
        return el("section", id="open")
    now = time.time()
    rows = [
        el(
            "li",
            el("span", tongue("live"), class_="badge live"),
            " ",
            el("a", one.peer or one.id, href=link(request, f"/sessions/{one.id}")),
            " ",
            tongue("for {seconds:.0f} s, {n} events", seconds=max(now - one.since, 0.0), n=len(one.events)),
        )
        for one in going_on[:OPEN]
    ]
    more = len(going_on) - OPEN
    return el(
        "section",
        el("h2", tongue("Going on now")),
        el("ul", rows, el("li", tongue("and {n} more", n=more)) if more > 0 else None),
        id="open",
    )


def _table(request: Request, tongue: Tongue, listed: Page) -> Html:
    if not listed.rows:
        return el("div", el("p", tongue("No session is here, or none that was searched for.")), id="list")
    head = head_row(
        tongue,
        said("Compare"),
        said("Begun"),
        said("Device"),
        said("Worst finding"),
        said("TLS"),
        said("Login"),
        said("Sender"),
        said("Verdict"),
    )
    table = el("table", head, el("tbody", [_row(request, tongue, row) for row in listed.rows]), class_="sessions")
    choose = el("button", tongue("Compare the two chosen"), type="submit", id="compare")
    chosen = el("form", scrolled(tongue, table, said("Sessions")), choose, action=link(request, "/compare"))
    return el("div", chosen, id="list")


def _row(request: Request, tongue: Tongue, row: Row) -> Html:
    style, word = VERDICTS.get(row.verdict, ("note", said("not judged")))
    senders = ", ".join(row.senders[:2]) + (", ..." if len(row.senders) > 2 else "")
    return el(
        "tr",
        el("td", el("input", type="checkbox", name="id", value=row.id, aria_label=tongue("Compare {id}", id=row.id))),
        el("td", el("a", moment(row.started), href=link(request, f"/sessions/{row.id}"))),
        el("td", el("span", row.peer), el("div", row.device, class_="doubt") if row.device else None),
        el("td", badge(tongue, row.worst), " ", el("code", row.findings[0], class_="rule") if row.findings else None),
        el("td", tongue(row.tls) if row.tls else None, data_name=tongue("TLS")),
        el("td", row.login or tongue("none"), data_name=tongue("Login")),
        el("td", senders[:120]),
        el("td", el("span", tongue(word), class_=f"word {style}")),
        data_id=row.id,
    )


def _more(request: Request, tongue: Tongue, listed: Page) -> Html | None:
    given = {key: request.query_params.get(key) for key, _, _ in FIELDS}
    newest = request.query_params.get("cursor")
    if listed.next is None and newest is None:
        return None
    return el(
        "nav",
        el("a", tongue("Newest"), href=link(request, "/", **given)) if newest else None,
        " ",
        el("a", tongue("Older"), href=link(request, "/", **given, cursor=listed.next), rel="next")
        if listed.next
        else None,
        aria_label=tongue("Pages of the list"),
        class_="pages",
    )


# One session


def _session(house: House, request: Request) -> Response:
    tongue: Tongue = request.state.tongue
    id = found(request)
    going_on = house.hub.session(id)
    if going_on is not None:
        title = tongue("Session {id}, going on", id=id)
        return page(request, title, _going_on(tongue, going_on), live=f"session:{id}")
    with house.archive() as stored:
        row = row_of(stored, id)
        judged = judge_stored(stored, row)
    try:
        mails = sent_on(house.folder, row.id)
    except StoreError:
        mails = []  # no relay was ever at work here
    content = [
        el(
            "p",
            el("span", judged.session.peer),
            " ",
            el("a", tongue("All of this device"), href=link(request, f"/devices/{host_of(row.peer)}")),
        ),
        facts_of(judged.session, judged.advice),
        _downloads(request, tongue, row),
        [
            el("p", el("strong", tongue("Not seen:")), " ", tongue(one), class_="remark")
            for one in unseen(judged.session)
        ],
        _sections(tongue, judged, mails),
    ]
    return page(request, tongue("Session {id}", id=row.id), content)


def _sections(tongue: Tongue, judged: Judgement, mails: Sequence[dict[str, object]]) -> list[Html | None]:
    session = judged.session
    said_here = el(
        "section",
        el("h2", tongue("The dialogue")),
        dialogue(session.events, marks_of(judged.findings), "relayprobe"),
        id="dialogue",
    )
    passed_on = sent_on_section(mails)
    both = el("div", said_here, passed_on, class_="beside") if passed_on else said_here
    return [
        findings_section(session, judged.findings),
        verdicts_section(judged.verdicts, judged.findings),
        advice_section(judged.advice),
        both,
        hellos_section(session),
    ]


def _downloads(request: Request, tongue: Tongue, row: Row) -> Html:
    at = f"/api/v1/sessions/{row.id}"
    links = [
        el("li", el("a", tongue(name), href=link(request, f"{at}/{form}".rstrip("/"), **query), download=""))
        for form, query, name in DOWNLOADS
    ]
    for n in range(1, min(row.messages, 20) + 1):
        links.append(
            el("li", el("a", tongue("Message {n}", n=n), href=link(request, f"/sessions/{row.id}/messages/{n}")))
        )
        links.append(
            el(
                "li",
                el(
                    "a",
                    tongue("Message {n} (eml)", n=n),
                    href=link(request, f"{at}/message.eml", n=str(n)),
                    download="",
                ),
            )
        )
    return el("nav", el("ul", links), aria_label=tongue("To look at and to hand over"), class_="downloads")


def _going_on(tongue: Tongue, one: Open) -> list[Html | None]:
    from relayprobe.wire.session import session_of

    events = list(one.events)
    judged = judge(session_of(events, id=one.id, started=one.since))
    left_out = el("p", tongue("{n} events more are not shown.", n=one.left_out)) if one.left_out else None
    return [
        facts_of(judged.session, judged.advice),
        el(
            "section",
            el("h2", tongue("The dialogue")),
            dialogue(events, marks_of(judged.findings), "relayprobe"),
            left_out,
            id="dialogue",
        ),
        findings_section(judged.session, judged.findings),
    ]


def _fresh_session(house: House, request: Request) -> Response:
    one = house.hub.session(found(request))
    if one is None:
        return Response(status_code=204)  # it has ended: the script loads the page again
    return fragment(_going_on(request.state.tongue, one))
