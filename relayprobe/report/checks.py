"""A run of `relayprobe check` in words and as HTML. It is made from the run's JSON object, fresh or as it was kept.

Its texts remember how they were put together, and are said in the reader's language.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from relayprobe.report.markup import Html, el, prose, together
from relayprobe.report.text import MODE_NAMES, WIDTH, Styled
from relayprobe.report.visible import visible
from relayprobe.tongue import ENGLISH, Said, Tongue, said

Record = Mapping[str, Any]
"""A run as `run_object` makes it."""

STATUS: Mapping[str, tuple[str, Said]] = {
    "ok": ("good", said("ok")),
    "warning": ("warning", said("WARNING")),
    "failed": ("error", said("FAILED")),
    "unknown": ("info", said("unknown")),
}
"""Of each status the style, and the word."""

PARTS: Sequence[tuple[Said, tuple[str, ...]]] = (
    (said("Network"), ("network",)),
    (said("Ports, TLS, and who answers"), ("port", "greeting", "starttls", "tls")),
    (said("Public address"), ("public-address", "address-kind", "ptr", "spf", "block-list")),
    (said("DNS of the domain"), ("mx", "mx-kind", "spf-record", "dkim", "dmarc")),
    (said("Sign-in"), ("sign-in",)),
    (said("Envelope without a message"), ("dry-run",)),
    (said("This machine"), ("local",)),
)
"""Headings, and the first words of the ids under them."""

WORKS: Mapping[bool | None, tuple[str, Said]] = {
    True: ("good", said("works from here")),
    False: ("error", said("blocked")),
    None: ("warning", said("could not be told")),
}


def lines(record: Record, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """The run for a terminal."""
    yield "heading", _head(record, tongue)
    width = max(len(tongue(word)) for _, word in STATUS.values()) + 2
    for heading, checks in _parts(record):
        yield "", ""
        yield "heading", tongue(heading)
        for at, one in enumerate(checks):
            if at and one["says"] == checks[at - 1]["says"]:  # several checks for one reason
                continue
            style, word = STATUS[one["status"]]
            yield from _wrapped(f"{tongue(word):<{width}}", _text(tongue, one["says"]), style)
            if one["fix"]:
                yield from _wrapped(" " * width + "-> ", _text(tongue, one["fix"]), "fix")
    yield "", ""
    yield "heading", tongue("Ways of sending")
    for verdict in record["verdicts"]:
        yield from _verdict(verdict, tongue)
    if device := record.get("device"):
        yield "", ""
        yield from _wrapped("", _text(tongue, device["says"]), "heading")
        yield "", ""
        yield "heading", tongue("What to do, in order")
        for number, what in enumerate(device["todo"], 1):
            yield from _wrapped(f"{number:>2}. ", _text(tongue, what), "fix")
    if earlier := record.get("history"):
        yield "", ""
        yield "heading", tongue("Addresses in earlier runs")
        for run in earlier:
            yield "info", f"  {_day(run['at'])}  {', '.join(map(visible, run['addresses']))}"


def spoken(thing: Any, tongue: Tongue) -> Any:
    """A fresh object with its texts in a language."""
    match thing:
        case Said():
            return tongue(thing)
        case Mapping():
            return {key: spoken(value, tongue) for key, value in thing.items()}
        case list() | tuple():
            return [spoken(value, tongue) for value in thing]
    return thing


def _head(record: Record, tongue: Tongue) -> str:
    return tongue(
        "{domain}, looked at for {seconds:.1f} seconds",
        domain=visible(record["domain"]),
        seconds=float(record["seconds"]),
    )


def _parts(record: Record) -> Iterator[tuple[Said, list[Record]]]:
    for heading, words in PARTS:
        if checks := [one for one in record["checks"] if one["id"].partition(":")[0] in words]:
            yield heading, checks


def _verdict(verdict: Record, tongue: Tongue) -> Iterator[Styled]:
    style, word = WORKS[verdict["works"]]
    name = tongue(MODE_NAMES[verdict["mode"]])
    yield from _wrapped("  ", f"{name}: {tongue(word)}", style)
    if verdict["blockers"]:
        yield from _wrapped("      ", tongue("in the way: {ids}", ids=", ".join(verdict["blockers"])), "seen")
    if verdict["risks"]:
        yield from _wrapped("      ", tongue("look at: {ids}", ids=", ".join(verdict["risks"])), "seen")
    for what in verdict["untested"]:
        yield from _wrapped("      ", tongue("not tested: {what}", what=what), "info")


def _text(tongue: Tongue, text: str) -> str:
    return visible(tongue(text))


def _wrapped(first: str, text: str, style: str) -> Iterator[Styled]:
    told = textwrap.wrap(text, WIDTH - len(first), break_long_words=False, break_on_hyphens=False) or [""]
    yield style, first + told[0]
    for line in told[1:]:
        yield style, " " * len(first) + line


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# The page


def html(record: Record, tongue: Tongue = ENGLISH) -> Html:
    """The run as a section of a page; the page gives it its style."""
    parts = [
        el(
            "section",
            el("h3", tongue(heading)),
            el("ul", *(_item(one, tongue) for one in checks), class_="checks"),
        )
        for heading, checks in _parts(record)
    ]
    device = record.get("device") or {}
    todo = device.get("todo") or record.get("todo") or ()
    return el(
        "article",
        el("h2", _head(record, tongue)),
        el(
            "ul",
            *(
                el(
                    "li",
                    el("strong", tongue(MODE_NAMES[one["mode"]])),
                    ": ",
                    el("span", tongue(WORKS[one["works"]][1]), class_=WORKS[one["works"]][0]),
                    *(el("div", tongue("in the way: {ids}", ids=id)) for id in one["blockers"]),
                    *(el("div", prose(tongue("not tested: {what}", what=what))) for what in one["untested"]),
                )
                for one in record["verdicts"]
            ),
            class_="verdicts",
        ),
        el("p", tongue(device["says"])) if device else None,
        el("h3", tongue("What to do, in order")) if todo else None,
        el("ol", *(el("li", tongue(what)) for what in todo)) if todo else None,
        together(*parts),
        class_="check",
    )


def _item(one: Record, tongue: Tongue) -> Html:
    style, word = STATUS[one["status"]]
    return el(
        "li",
        el("span", tongue(word), class_=f"badge {style}"),
        " ",
        el("code", one["id"], class_="rule"),
        " ",
        prose(tongue(one["says"])),
        el("div", prose(tongue(one["fix"])), class_="fix") if one["fix"] else None,
    )
