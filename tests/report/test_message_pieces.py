"""A message as a file, however its text comes in pieces."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayprobe.report.mail import eml, eml_pieces

LINES = st.lists(st.sampled_from([b"..", b".", b"...", b".a", b"text", b"", b"\r", b"\n"]), max_size=12)


def as_lines(raw: bytes) -> bytes:
    """The dots made single, line by line (RFC 5321 4.5.2)."""
    lines = raw.split(b"\n")
    return b"\n".join(line[1:] if line.startswith(b"..") else line for line in lines)


@given(LINES, st.lists(st.integers(1, 9), max_size=30), st.sampled_from([b"\r\n", b"\n"]))
@example([b"..", b"..", b"...."], [1] * 30, b"\r\n")
def test_pieces_make_the_same_message(lines: list[bytes], sizes: list[int], line_end: bytes) -> None:
    message = line_end.join([*lines, b""])
    raw = message + b".\r\n" if line_end == b"\r\n" else message + b".\n"
    pieces, at = [], 0
    for size in [*sizes, len(raw)]:
        pieces.append(raw[at : at + size])
        at += size
    if line_end == b"\r\n" and (raw == b".\r\n" or raw.endswith(b"\r\n.\r\n")):
        expected = as_lines(message)
        assert b"".join(eml_pieces(pieces, "crlf")) == eml(raw, "crlf") == expected
    assert b"".join(eml_pieces(pieces, "bdat")) == raw
    if line_end == b"\n" and (raw == b".\n" or raw.endswith(b"\n.\n")):
        assert b"".join(eml_pieces(pieces, "bare-lf")) == eml(raw, "bare-lf") == as_lines(message)


@pytest.mark.parametrize("end", ["crlf", "bdat"])
def test_a_large_message_takes_no_memory(end: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(500):
            yield b"..a line of a scan\r\n" * 4096
        yield b".\r\n"

    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in eml_pieces(chunks(), end))  # type: ignore[arg-type]
        assert size > 35_000_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
