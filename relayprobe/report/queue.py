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
from relayprobe.report.text import WIDTH, Styled, event_line
from relayprobe.report.visible import visible
from relayprobe.wire.codec import from_object

STATES = {
    "waiting": "",
    "sending": "info",
    "held": "warning",
    "failed": "error",
    "delivered": "good",
    "dropped": "info",
}
RESULTS = {
    "delivered": "delivered",
    "deferred": "put off",
    "refused": "refused",
    "unknown": "not known: the connection broke when the text had been sent",
    "mixed": "delivered to some",
    "interrupted": "interrupted: relayprobe ended meanwhile",
}
_STYLE = {"delivered": "good", "refused": "error", "unknown": "warning", "interrupted": "warning", "mixed": "warning"}


def list_lines(
    mails: Sequence[Mapping[str, Any]], now: float, routes: Mapping[str, Mapping[str, Any]]
) -> Iterator[Styled]:
    """The queue, a line for each mail and a second one for why it is there; then the routes that cannot.

    `routes`: what is remembered of each.
    """
    until = {name: float(record.get("until") or 0.0) for name, record in routes.items()}
    if mails:
        yield "heading", f"{'ID':14}{'STATE':10}{'TRIED':>5}  {'NEXT':10}{'ROUTE':12}FROM, TO"
    for mail in mails:
        to = ", ".join(map(visible, mail["recipients"][:3])) + (", ..." if len(mail["recipients"]) > 3 else "")
        upcoming = _until(max(mail["next"], until.get(mail["route"], 0.0)), now) if mail["state"] == "waiting" else "-"
        head = f"{mail['id']:14}{mail['state']:10}{mail['attempts']:5}  {upcoming:10}{visible(mail['route']):12}"
        yield STATES.get(mail["state"], ""), f"{head}{visible(mail['sender']) or '<>'} -> {to}"
        if why := mail["last_reply"] or mail["why"]:
            yield "info", " " * 14 + textwrap.shorten(visible(why), WIDTH - 14, placeholder=" ...")
    for name, record in sorted(routes.items()):
        if record.get("state", "ok") != "ok":
            yield from _wrapped("warning", visible(str(record.get("why"))), f"Route {name} is {record['state']}: ")


def mail_lines(mail: Mapping[str, Any]) -> Iterator[Styled]:
    """One mail: its envelope, each recipient, each attempt with its dialogue."""
    yield "heading", f"Mail {mail['id']}: {mail['state']}"
    device = visible(mail["host"]) + (f", logged in as {visible(mail['user'])}" if mail["user"] else "")
    from_session = f"session {mail['session']} of {device}" if mail["kind"] == "device" else "relayprobe itself"
    yield "", f"  from:       {from_session}, at {_time(mail['arrived'])}"
    yield "", f"  sender:     {visible(mail['sender']) or '<> (none: a report)'}"
    yield "", f"  size:       {mail['size']:,} octets"
    yield "", f"  route:      {visible(mail['route'])}"
    if mail["state"] == "waiting":
        yield "", f"  next:       {_time(mail['next'])}" if mail["next"] else "  next:       at once"
    if mail["why"]:
        yield from _wrapped("", visible(mail["why"]), "  why:        ")
    for changed in mail["changed"]:
        yield from _wrapped("", visible(changed), "  noted:      ")
    for one in mail["outcomes"]:
        reply = f": {visible(one['reply'])}" if one["reply"] else ""
        yield from _wrapped(
            STATES.get(one["state"], ""), f"{visible(one['address'])} {one['state']}{reply}", "  to:         "
        )
    for number, attempt in enumerate(mail["tries"], 1):
        yield "", ""
        yield from attempt_lines(number, attempt)
    if not mail["tries"]:
        yield "info", "  Nothing was tried yet."


def ended_line(mail: str, route: str, place: str, result: str | None, reply: str | None) -> Styled:
    """An attempt that has just ended, for a screen on which dialogues go by."""
    words = RESULTS.get(result or "", result or "")
    said = f": {visible(reply)}" if reply else ""
    return _STYLE.get(
        result or "", "warning"
    ), f"            =>  {mail} by {visible(route)} ({visible(place)}): {words}{said}"


def attempt_lines(number: int | None, attempt: Mapping[str, Any]) -> Iterator[Styled]:
    """One attempt: where, what came of it and what that means, what was put right, and the dialogue."""
    result = attempt["result"]
    words = RESULTS.get(result, result) if result else "under way"
    head = "Test" if number is None else f"Attempt {number}"
    if number is None and result == "deferred":  # nobody tries it again
        words = "not delivered"
    where = f"route {visible(attempt['route'])} ({visible(attempt['place'])})"
    yield _STYLE.get(result or "", "heading"), f"{head}, {_time(attempt['began'])}, {where}: {words}"
    if attempt["reply"]:
        yield from _wrapped("", visible(attempt["reply"]), "  reply:      ")
        yield from meaning_lines(attempt["reply"])
    for repair in attempt["repairs"]:
        times = f" ({repair['count']} times)" if repair.get("count", 1) > 1 else ""
        yield from _wrapped("", f"{visible(repair['says'])}{times} [{repair['id']}]", "  put right:  ")
    for thing in attempt["dialogue"]:
        style, text = event_line(from_object(thing), server="the other side", client="relayprobe")
        yield style, f"  {text}"


def meaning_lines(reply: str) -> Iterator[Styled]:
    """What a reply of Office 365 means and what to do, where it is one that is known."""
    for match in recognise(reply).matches[:2]:
        answer = match.answer
        doubt = f" ({answer.doubt})" if answer.doubt else ""
        yield from _wrapped("", f"{answer.meaning}{doubt}", "  means:      ")
        if answer.fix:
            yield from _wrapped("fix", answer.fix, "  do:         ")


def forwarded_lines(mails: Iterable[Mapping[str, Any]]) -> Iterator[Styled]:
    """On the page of a session: what became of its mail."""
    for mail in mails:
        yield "", ""
        last = mail["tries"][-1] if mail["tries"] else None
        to = ", ".join(visible(address) for address in mail["recipients"][:5])
        yield STATES.get(mail["state"], "") or "heading", f"Sent on as {mail['id']} to {to}: {mail['state']}"
        if mail["why"]:
            yield from _wrapped("", visible(mail["why"]), "  why:        ")
        if last is not None:
            yield from attempt_lines(len(mail["tries"]), last)
        yield "info", f"  All of it: relayprobe queue show {mail['id']}"


def _wrapped(style: str, text: str, label: str) -> Iterator[Styled]:
    lines = textwrap.wrap(text, WIDTH - len(label), break_on_hyphens=False) or [""]
    for n, line in enumerate(lines):
        yield style, (label if n == 0 else " " * len(label)) + line


def _until(at: float, now: float) -> str:
    seconds = at - now
    if seconds <= 0:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"in {seconds / size:.0f} {unit}"
    return f"in {seconds:.0f} s"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
