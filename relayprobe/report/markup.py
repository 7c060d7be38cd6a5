"""HTML put together so that nothing foreign can act in it: what is not made here is escaped, control characters and
marks of direction included."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from relayprobe.report.visible import visible

EMPTY = frozenset(("meta", "br", "wbr", "input", "link"))


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


Child = str | Iterable[str | Iterable[str] | None] | None


def el(tag: str, /, *children: Child, **attributes: str | None) -> Html:
    """An element. Text among the children is escaped, None is nothing; `class_` is written for `class`, and an
    attribute that is None is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in EMPTY:
        return Html(f"<{tag}{told}>")
    return Html(f"<{tag}{told}>{together(*children)}</{tag}>")


def together(*children: Child) -> Html:
    """Elements and texts one behind the other."""
    made: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            made.append(child)
        elif isinstance(child, str):
            made.append(escaped(child))
        else:
            made.append(together(*child))
    return Html("".join(made))


def escaped(text: str) -> Html:
    """A text as HTML that shows it and does nothing."""
    return text if isinstance(text, Html) else Html(escape(visible(text)))


def prose(text: str) -> Html:
    """A text of ours for people: what stands between backticks is set as code, and blanks are one blank."""
    parts = " ".join(text.split(" ")).replace("\n", " ").split("`")
    if len(parts) % 2 == 0:  # one without its fellow
        return escaped(text.replace("\n", " "))
    return together(*(el("code", part, dir="ltr") if at % 2 else part for at, part in enumerate(parts)))
