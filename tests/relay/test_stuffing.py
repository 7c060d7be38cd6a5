"""A text made ready for DATA, against the plainest way to say what it should be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayprobe.relay.stuffing import BareLineEndError, Stuffing

LINES = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"a", b"...b", b"\x00\xff"]), max_size=12)
ANY = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\r\n."]), max_size=12).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=8)


def plain(lines: list[bytes]) -> bytes:
    """RFC 5321 4.5.2, line by line."""
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def fed(text: bytes, cuts: list[int]) -> bytes:
    stuffing = Stuffing()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    out = [stuffing.feed(text[begin:end]) for begin, end in pairwise(places)]
    assert stuffing.size == len(text)
    return b"".join(out) + stuffing.end()


@given(LINES, CUTS, st.booleans())
def test_any_text_cut_anywhere(lines: list[bytes], cuts: list[int], ended: bool) -> None:
    text = b"\r\n".join(lines) + (b"\r\n" if ended and lines else b"")
    whole = text.split(b"\r\n") if text else []
    if whole and not whole[-1]:
        whole.pop()
    assert fed(text, cuts) == plain(whole)


@given(ANY, CUTS)
@example(b"\ra\n", [1])
def test_a_line_end_that_is_not_crlf_is_never_let_through(text: bytes, cuts: list[int]) -> None:
    rest = text.replace(b"\r\n", b"")
    if b"\r" in rest or b"\n" in rest:
        with pytest.raises(BareLineEndError):
            fed(text, cuts)
    else:
        out = fed(text, cuts)
        assert out.endswith(b".\r\n")
        assert (b"\r\n" + out).count(b"\r\n.\r\n") == 1


@given(ANY.filter(lambda text: b"\r" not in text.replace(b"\r\n", b"") and b"\n" not in text.replace(b"\r\n", b"")))
def test_the_server_reads_the_text_that_was_meant(text: bytes) -> None:
    out = fed(text, [])
    read = [line[1:] if line.startswith(b".") else line for line in out[:-3].split(b"\r\n")]
    assert b"\r\n".join(read).removesuffix(b"\r\n") == text.removesuffix(b"\r\n")
