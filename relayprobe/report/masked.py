"""Messages of which the form is left and nothing that could be read.

Each letter is an `x`, and line ends, blanks, signs and lengths are those of the message, so the rules see in it what
they saw before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from relayprobe.wire.events import Body, Event, Line
from relayprobe.wire.session import Session, session_of

_ENCODED_WORD = re.compile(r"=\?([\w*-]+)\?([BbQq])\?[^?]*\?=")
_TOLD = re.compile(r"=[0-9A-F]{2}|[A-Za-z0-9+/]|[^\x00-\x7f\ud800-\udfff]")  # octets that are no UTF-8 stay
_LIKE = {2: "\u00e9", 3: "\u20ac", 4: "\U0001f600"}
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^;\s]{1,200}))', re.IGNORECASE)
_FIELD = re.compile(
    r"(from|sender|reply-to|to|cc|bcc|subject|date|message-id|in-reply-to|references|received|return-path|user-agent|"
    r"mime-version|importance|priority|sensitivity|disposition-notification-to|organization|comments|keywords|"
    r"auto-submitted|precedence|thread-(?:index|topic)|(?:x|content|list|resent|dkim|arc)-[a-z-]+)\s*:",
    re.IGNORECASE,
)
"""What begins a line of a header: by other words a text may begin, too."""


def masked(text: str) -> str:
    """A text of which only the form is left: its blanks, line ends and signs."""
    return _TOLD.sub(_like, text)


def _like(found: re.Match[str]) -> str:
    told = found[0]
    return _LIKE.get(len(told.encode()), "x") if not told.isascii() else "=78" if len(told) > 1 else "x"


def masked_words(text: str) -> str:
    """The same in a header, whose encoded words stay readable ones (RFC 2047)."""
    made, at = [], 0
    for found in _ENCODED_WORD.finditer(text):
        made += [masked(text[at : found.start()]), f"=?{found[1]}?{found[2]}?{'eHh4' if found[2] in 'bB' else 'xxx'}?="]
        at = found.end()
    return "".join((*made, masked(text[at:])))


def without_text(session: Session) -> Session:
    """A session whose messages have their headers, and of their text the form only."""

    def masked_event(event: Event, goes_on: bool) -> Event:
        if not isinstance(event, Body):
            return event
        return replace(event, raw=masked_text(event.raw, lambda _, value: value, header=not goes_on))

    return changed(session, masked_event)


def changed(session: Session, change: Callable[[Event, bool], Event]) -> Session:
    """A session with its events changed. `change` is told whether one is a text that goes on: a further chunk."""
    events, chunk = [], False
    for event in session.events:
        events.append(change(event, chunk and isinstance(event, Body)))
        if isinstance(event, Body):
            chunk = event.end == "bdat"
        elif isinstance(event, Line) and event.sender == "client" and not event.raw.upper().startswith(b"BDAT"):
            chunk = False
    return session_of(
        events,
        id=session.id,
        started=session.started,
        mode=session.mode,
        imitate=session.imitate,
        interview=session.interview,
        site=session.site,
        source=session.source,
    )


def masked_text(raw: bytes, field: Callable[[str, str], str], *, header: bool = True) -> bytes:
    """A message as it crossed the wire, its text masked. `field` says what becomes of a line of a header field, by the
    field's name. The headers of parts count as headers."""
    made: list[bytes] = []
    boundaries = sorted({b"--" + (found[1] or found[2]) for found in _BOUNDARY.finditer(raw)}, key=len, reverse=True)
    name = ""
    for line in _lines(raw):
        text = line.decode("utf-8", "surrogateescape")
        if header and not line.strip(b"\r\n"):
            header = False
        if header:
            head = ""
            if line[:1] not in (b" ", b"\t"):
                found = _FIELD.match(text)
                head, name = (found[0], found[1].lower()) if found else ("", "")
            told = field(name, text[len(head) :]) if name else masked(text)
            made.append((head + told).encode("utf-8", "surrogateescape"))
            continue
        boundary = next((one for one in boundaries if line.startswith(one)), None)
        if boundary is not None:
            header, name = not line.rstrip().endswith(b"--"), ""
            kept = field("content-type", f'; boundary="{boundary[2:].decode("utf-8", "surrogateescape")}"')
            made.append(b"--" + kept[12:-1].encode("utf-8", "surrogateescape") + line[len(boundary) :])
            continue
        made.append(masked(text).encode("utf-8", "surrogateescape"))
    return b"".join(made)


def _lines(raw: bytes) -> list[bytes]:
    return [line + b"\n" for line in raw.split(b"\n")[:-1]] + ([last] if (last := raw.rpartition(b"\n")[2]) else [])
