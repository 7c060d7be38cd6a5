"""The text of a message: its end, and what is counted, against the slow and obvious way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relayprobe.wire.body import EndOfData, LineCounter

_TEXTS = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\n.\n", b"x" * 998, b"\xe4", b"\0"])
).map(b"".join)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(_TEXTS, st.lists(st.integers(0, 3000)))
def test_the_end_is_where_the_mark_is(text: bytes, cuts: list[int]) -> None:
    right = (b"\r\n" + text).find(b"\r\n.\r\n")
    reader, at, found = EndOfData(), 0, None
    for piece in _pieces(text, cuts):
        end = reader.feed(piece)
        if end is not None:
            found = at + end
            break
        at += len(piece)
    assert found == (right + 3 if right >= 0 else None)


@given(_TEXTS, st.lists(st.integers(0, 3000)))
def test_counts_are_those_of_the_whole(text: bytes, cuts: list[int]) -> None:
    counter = LineCounter()
    for piece in _pieces(text, cuts):
        counter.feed(piece)
    facts = counter.facts(ended=False)
    crlf = text.count(b"\r\n")
    assert facts.bare_lf == text.count(b"\n") - crlf
    assert facts.bare_cr == text.count(b"\r") - crlf
    assert facts.eight_bit == any(octet > 127 for octet in text)
    assert facts.nul == (b"\0" in text)
    lines = text.split(b"\n")
    assert facts.overlong == sum(len(line) > 998 + 1 for line in lines)
    assert facts.unstuffed_dots == sum(line.startswith(b".") and not line.startswith(b"..") for line in lines)
    bare = [i for i in range(len(text)) if text[i] == 10 and (i == 0 or text[i - 1] != 13)]
    assert facts.first_bare_lf == (bare[0] if bare else None)
