"""Mail on its way to Office 365, in words: the queue as a list, one mail with all that was tried, and on the page of a
session what became of its mail.

What is shown are the objects of `queue list --json` and `queue show --json`, so text and JSON say the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from relayprobe.office365.recognise import recognise
from relayprobe.report.text import RELAYPROBE, WIDTH, Styled, event_line
from relayprobe.report.visible import visible
from relayprobe.tongue import ENGLISH, Said, Tongue, said
from relayprobe.wire.codec import from_object

STATES = {
    "waiting": "",
    "sending": "info",
    "held": "warning",
    "failed": "error",
    "delivered": "good",
    "dropped": "info",
}
STATE_NAMES = {
    "waiting": said("waiting"),
    "sending": said("sending"),
    "held": said("held"),
    "failed": said("failed"),
    "delivered": said("delivered"),
    "dropped": said("dropped"),
    "refused": said("refused"),
}
"""Of a mail, and of its recipients."""
_ROUTE_STATES = {"waiting": said("Route {name} is waiting:"), "stopped": said("Route {name} is stopped:")}
RESULTS = {
    "delivered": said("delivered"),
    "deferred": said("put off"),
    "refused": said("refused"),
    "unknown": said("not known: the connection broke when the text had been sent"),
    "mixed": said("delivered to some"),
    "interrupted": said("interrupted: relayprobe ended meanwhile"),
}
OTHER_SIDE = said("the other side")
_STYLE = {"delivered": "good", "refused": "error", "unknown": "warning", "interrupted": "warning", "mixed": "warning"}


_UNITS = (
    (86400, said("in {n:.0f} d")),
    (3600, said("in {n:.0f} h")),
    (60, said("in {n:.0f} min")),
    (1, said("in {n:.0f} s")),
)


def list_lines(
    mails: Sequence[Mapping[str, Any]],
    now: float,
    routes: Mapping[str, Mapping[str, Any]],
    tongue: Tongue = ENGLISH,
) -> Iterator[Styled]:
    """The queue, a line for each mail and a second one for why it is there; then the routes that cannot.

    `routes`: what is remembered of each.
    """
    until = {name: float(record.get("until") or 0.0) for name, record in routes.items()}
    states = {state: tongue(name) for state, name in STATE_NAMES.items()}
    wide = max(10, 1 + max(map(len, states.values())))
    if mails:
        head = f"{tongue('ID'):14}{tongue('STATE'):{wide}}{tongue('TRIED'):>5}  {tongue('NEXT'):10}{tongue('ROUTE'):12}"
        yield "heading", f"{head}{tongue('FROM, TO')}"
    for mail in mails:
        to = ", ".join(map(visible, mail["recipients"][:3])) + (", ..." if len(mail["recipients"]) > 3 else "")
        waits = mail["state"] == "waiting"
        upcoming = tongue(_until(max(mail["next"], until.get(mail["route"], 0.0)), now)) if waits else "-"
        state = states.get(mail["state"], mail["state"])
        head = f"{mail['id']:14}{state:{wide}}{mail['attempts']:5}  {upcoming:10}{visible(mail['route']):12}"
        yield STATES.get(mail["state"], ""), f"{head}{visible(mail['sender']) or '<>'} -> {to}"
        if why := mail["last_reply"] or tongue(mail["why"] or ""):
            yield "info", " " * 14 + textwrap.shorten(visible(why), WIDTH - 14, placeholder=" ...")
    for name, record in sorted(routes.items()):
        if record.get("state", "ok") != "ok":
            label = tongue(said(_ROUTE_STATES[record["state"]].template, name=name))
            yield from _wrapped("warning", visible(tongue(str(record.get("why")))), f"{label} ")


def mail_lines(mail: Mapping[str, Any], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """One mail: its envelope, each recipient, each attempt with its dialogue."""
    yield "heading", tongue("Mail {id}: {state}", id=mail["id"], state=_state(mail))
    facts = [
        (tongue("from:"), tongue(_origin(mail))),
        (tongue("sender:"), visible(mail["sender"]) or tongue("<> (none: a report)")),
        (tongue("size:"), tongue("{n:,} octets", n=mail["size"])),
        (tongue("route:"), visible(mail["route"])),
    ]
    if mail["state"] == "waiting":
        facts.append((tongue("next:"), _time(mail["next"]) if mail["next"] else tongue("at once")))
    for name, text in facts:
        yield "", _label(name) + text
    if mail["why"]:
        yield from _wrapped("", visible(tongue(mail["why"])), _label(tongue("why:")))
    for changed in mail["changed"]:
        yield from _wrapped("", visible(tongue(changed)), _label(tongue("noted:")))
    for one in mail["outcomes"]:
        reply = f": {visible(one['reply'])}" if one["reply"] else ""
        told = f"{visible(one['address'])} {tongue(_state(one))}{reply}"
        yield from _wrapped(STATES.get(one["state"], ""), told, _label(tongue("to:")))
    for number, attempt in enumerate(mail["tries"], 1):
        yield "", ""
        yield from attempt_lines(number, attempt, tongue)
    if not mail["tries"]:
        yield "info", f"  {tongue('Nothing was tried yet.')}"


def _label(name: str) -> str:
    return f"  {name:11} "


def _state(thing: Mapping[str, Any]) -> str:
    state: str = thing["state"]
    return STATE_NAMES.get(state, state)


def _origin(mail: Mapping[str, Any]) -> Said:
    at = _time(mail["arrived"])
    if mail["kind"] != "device":
        return said("relayprobe itself, at {time}", time=at)
    of = {"id": mail["session"], "host": visible(mail["host"]), "time": at}
    if mail["user"]:
        return said("session {id} of {host}, logged in as {user}, at {time}", user=visible(mail["user"]), **of)
    return said("session {id} of {host}, at {time}", **of)


def ended_line(
    mail: str, route: str, place: str, result: str | None, reply: str | None, tongue: Tongue = ENGLISH
) -> Styled:
    """An attempt that has just ended, for a screen on which dialogues go by."""
    words = tongue(
        "{mail} by {route} ({place}): {result}",
        mail=mail,
        route=visible(route),
        place=visible(place),
        result=RESULTS.get(result or "", result or ""),
    )
    answer = f": {visible(reply)}" if reply else ""
    return _STYLE.get(result or "", "warning"), f"            =>  {words}{answer}"


def result_of(result: str | None) -> str:
    """What came of an attempt."""
    return RESULTS.get(result, result) if result else said("under way")


def attempt_lines(number: int | None, attempt: Mapping[str, Any], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """One attempt: where, what came of it and what that means, what was put right, and the dialogue. A test has no
    number."""
    result = attempt["result"]
    of = {"time": _time(attempt["began"]), "route": visible(attempt["route"]), "place": visible(attempt["place"])}
    if number is None:
        words = said("not delivered") if result == "deferred" else result_of(result)  # nobody tries it again
        head = said("Test, {time}, route {route} ({place}): {result}", result=words, **of)
    else:
        head = said(
            "Attempt {number}, {time}, route {route} ({place}): {result}", number=number, result=result_of(result), **of
        )
    yield _STYLE.get(result or "", "heading"), tongue(head)
    if attempt["reply"]:
        yield from _wrapped("", visible(attempt["reply"]), _label(tongue("reply:")))
        yield from meaning_lines(attempt["reply"], tongue)
    for repair in attempt["repairs"]:
        count = repair.get("count", 1)
        times = f" {tongue('({n} times)', n=count)}" if count > 1 else ""
        told = f"{visible(tongue(repair['says']))}{times} [{repair['id']}]"
        yield from _wrapped("", told, _label(tongue("put right:")))
    for thing in attempt["dialogue"]:
        style, text = event_line(from_object(thing), OTHER_SIDE, RELAYPROBE, tongue)
        yield style, f"  {text}"


def meaning_lines(reply: str, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """What a reply of Office 365 means and what to do, where it is one that is known."""
    for match in recognise(reply).matches[:2]:
        answer = match.answer
        doubt = f" ({tongue(answer.doubt)})" if answer.doubt else ""
        yield from _wrapped("", f"{tongue(answer.meaning)}{doubt}", _label(tongue("means:")))
        if answer.fix:
            yield from _wrapped("fix", tongue(answer.fix), _label(tongue("do:")))


def forwarded_lines(mails: Iterable[Mapping[str, Any]], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """On the page of a session: what became of its mail."""
    for mail in mails:
        yield "", ""
        last = mail["tries"][-1] if mail["tries"] else None
        to = ", ".join(visible(address) for address in mail["recipients"][:5])
        head = tongue("Sent on as {id} to {to}: {state}", id=mail["id"], to=to, state=_state(mail))
        yield STATES.get(mail["state"], "") or "heading", head
        if mail["why"]:
            yield from _wrapped("", visible(tongue(mail["why"])), _label(tongue("why:")))
        if last is not None:
            yield from attempt_lines(len(mail["tries"]), last, tongue)
        yield "info", f"  {tongue('All of it: relayprobe queue show {id}', id=mail['id'])}"


def _wrapped(style: str, text: str, label: str) -> Iterator[Styled]:
    lines = textwrap.wrap(text, WIDTH - len(label), break_on_hyphens=False) or [""]
    for n, line in enumerate(lines):
        yield style, (label if n == 0 else " " * len(label)) + line


def _until(at: float, now: float) -> Said:
    seconds = at - now
    if seconds <= 0:
        return said("now")
    size, form = next(((size, form) for size, form in _UNITS if seconds >= size), _UNITS[-1])
    return said(form.template, n=seconds / size)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
