"""What the relay changed in a text, as lines that a person can read: the header whole, of the rest the places.

The size is bounded whatever the text is, and nothing in it can act on a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice

from relayprobe.relay.repair.terms import Mended, Source
from relayprobe.relay.repair.text import EXCERPT
from relayprobe.report.visible import visible

HEADER = 65536
LINES = 1000
"""Octets and lines of a header that are shown."""

PLACES = 20
"""Places in the rest that are shown, and as many line ends."""

_WIDTH = 300
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


def difference(source: Source, mended: Mended) -> Iterator[str]:
    """Lines as `diff -u` writes them: what came with a minus, what goes up with a plus."""
    yield "--- as it came"
    yield "+++ as it goes up"
    yield "@@ header @@"
    yield from _compared(mended.before[:HEADER], mended.after[:HEADER], LINES, LINES)
    if len(mended.before) > HEADER or len(mended.after) > HEADER:
        yield " ... and more"
    if any(repair.id == "line-ends" for repair in mended.repairs):
        yield "@@ line ends @@"
        yield from _line_ends(source)
    places = list(islice(mended.places(), PLACES + 1))
    for before, after in places[:PLACES]:
        yield "@@ text @@"
        yield from _compared(before, after, 1, 20)
        if len(before) >= EXCERPT or len(after) >= EXCERPT:
            yield " ... and so on"
    if len(places) > PLACES:
        yield " ... and more places"


def _compared(before: bytes, after: bytes, around: int, most: int) -> Iterator[str]:
    """`around`: lines that are shown beside a change; `most`: lines of either that are looked at."""
    old, new = (
        [_shown(line) for line in text.removesuffix(b"\r\n").split(b"\r\n", most)[:most]] for text in (before, after)
    )
    for line in islice(unified_diff(old, new, n=around, lineterm=""), 2, None):
        if not line.startswith("@@"):
            yield line


def _shown(line: bytes) -> str:
    text = visible(line[:_WIDTH])
    return f"{text} ... ({len(line):,} octets)" if len(line) > _WIDTH else text


def _line_ends(source: Source) -> Iterator[str]:
    """The first lines that end in something else than CRLF."""
    shown = 0
    held = b""
    for chunk in source.open():
        data = held + chunk
        sure = len(data) - data.endswith(b"\r")  # a CR at the end may be half of a CRLF
        for found in _BARE.finditer(data, len(held) - held.endswith(b"\r"), sure):
            begin = max(data.rfind(b"\n", 0, found.start()), data.rfind(b"\r", 0, found.start()), -1) + 1
            line = data[max(begin, found.start() - _WIDTH) : found.start()]
            yield "-" + visible(line + found[0])
            yield "+" + visible(line)
            shown += 1
            if shown == PLACES:
                yield " ... and more"
                return
        held = data[-_WIDTH:]
