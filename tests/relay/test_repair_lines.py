"""From the wire to the text, against the slow and obvious way, in any pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.repair.lines import Lines
from relayprobe.relay.repair.terms import Source
from relayprobe.wire.body import LineCounter
from relayprobe.wire.events import BodyEnd

_WORDS = [b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.", b"\r\n..", b"\n.\n", b"\r\r\n", b"x" * 998, b"\xe4", b"\0"]
TEXTS = st.lists(st.sampled_from(_WORDS)).map(b"".join)
CUTS = st.lists(st.integers(0, 3000))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def source(raw: bytes, end: BodyEnd = "crlf", cuts: list[int] | None = None) -> Source:
    counter = LineCounter()
    counter.feed(raw)
    facts = counter.facts(ended=end in ("crlf", "bare-lf"))

    def chunks() -> Iterator[bytes]:
        return iter(cut(raw, cuts or []))

    return Source(chunks, end, facts)


def obvious(raw: bytes, end: BodyEnd) -> bytes:
    text = re.sub(rb"\.(\r\n|\r|\n)\Z", b"", raw) if end in ("crlf", "bare-lf") else raw
    lines = re.split(rb"(?<=\n)", text)
    if end != "bdat" and all(not line.startswith(b".") or line.startswith(b"..") for line in lines):
        lines = [line[1:] if line.startswith(b".") else line for line in lines]
    text = re.sub(rb"\r\r?\n|\r|\n", b"\r\n", b"".join(lines))
    return text if text.endswith(b"\n") or not text else text + b"\r\n"


def marked(text: bytes, end: BodyEnd) -> bytes:
    if end == "crlf":
        text = text.replace(b"\n.\r\n", b"\n..\r\n")
        return (text if text.endswith(b"\r\n") or not text else text + b"\r\n") + b".\r\n"
    return text + b"\n.\n" if end == "bare-lf" else text


@given(TEXTS, st.sampled_from(["crlf", "bare-lf", "bdat"]), CUTS)
def test_the_text_is_what_the_obvious_way_gives(text: bytes, end: BodyEnd, cuts: list[int]) -> None:
    raw = marked(text, end)
    chunks = list(Lines(source(raw, end, cuts)))
    assert b"".join(chunks) == obvious(raw, end)
    assert not any(chunk.endswith(b"\r") or not chunk for chunk in chunks)


@given(TEXTS, st.sampled_from(["crlf", "bare-lf", "bdat"]))
def test_octet_by_octet_it_is_the_same(text: bytes, end: BodyEnd) -> None:
    raw = marked(text, end)
    assert b"".join(Lines(source(raw, end, list(range(len(raw)))))) == obvious(raw, end)


@given(TEXTS, CUTS)
def test_line_ends_put_right_are_counted(text: bytes, cuts: list[int]) -> None:
    raw = marked(text, "crlf")
    whole = re.sub(rb"\.\r\n\Z", b"", raw)
    lines = Lines(source(raw, "crlf", cuts))
    list(lines)
    bare = len(re.findall(rb"(?<!\r)\n", whole)) + len(re.findall(rb"\r(?!\n)", whole))
    assert lines.ends == bare


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b".\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a\r\n.b\r\n..c\r\n.\r\n", b"a\r\n.b\r\n..c\r\n"),
        (b"a\r\r\nb\r\n.\r\n", b"a\r\nb\r\n"),
    ],
)
def test_dots_and_ends(raw: bytes, text: bytes) -> None:
    assert b"".join(Lines(source(raw))) == text


def test_with_dots_off_the_standard_is_followed() -> None:
    lines = Lines(source(b"a\r\n.b\r\n..c\r\n.\r\n"), frozenset(["dots"]))
    assert b"".join(lines) == b"a\r\nb\r\n.c\r\n"


def test_a_line_end_that_two_chunks_of_bdat_share_is_whole() -> None:
    raw = b"a\r\nb\r\n"
    one, two = LineCounter(), LineCounter()
    one.feed(raw[:2])
    two.feed(raw[2:])
    first, second = one.facts(False), two.facts(False)
    assert first.bare_cr or second.bare_lf  # what the chunks say of themselves
    lines = Lines(Source(lambda: iter([raw[:2], raw[2:]]), "bdat", first))
    assert (b"".join(lines), lines.ends, lines.ends_badly) == (raw, 0, False)
