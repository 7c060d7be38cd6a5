"""From the wire to the text: the end mark taken off, doubled dots made single, every line ended in CRLF.

A text is tens of megabytes long, so all is done by whole chunks. What a cut between two chunks leaves in doubt (a
line end, a dot behind one) is kept back for the next chunk, a few octets at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from relayprobe.relay.repair.terms import Source
from relayprobe.wire.body import LineCounter
from relayprobe.wire.events import LineFacts

_MARK = re.compile(rb"\.(?:\r\n|\r|\n)\Z")
_DOUBTFUL = re.compile(rb"\r{1,2}\Z")
ADDED = 65536
"""No chunk is made much longer than this by putting line ends right."""


class Lines:
    """The text in a source.

    `ends_badly`: line ends have to be put right. `keeps_dots`: the device does not double them.
    """

    def __init__(self, source: Source, off: frozenset[str] = frozenset()) -> None:
        self._source = source
        self.facts, open_end = (source.lines, False) if source.end != "bdat" else _counted(source)
        self._mixed = bool(self.facts.bare_lf or self.facts.bare_cr)
        self.ends_badly = self._mixed or open_end
        # A device that sends one line with a single dot doubles none: what it doubled, it meant.
        self.keeps_dots = source.end != "bdat" and self.facts.unstuffed_dots > 0 and "dots" not in off
        self._doubled = b"\n." if "dots" in off and self.facts.unstuffed_dots > 0 else b"\n.."
        self.ends = 0
        """Line ends put right in the chunks that were given last."""

    def __iter__(self) -> Iterator[bytes]:
        self.ends = 0
        chunks = self._source.open()
        if self._source.end in ("crlf", "bare-lf"):
            chunks = _without_mark(chunks)
        if self._source.end != "bdat" and not self.keeps_dots:
            chunks = _unstuffed(chunks, self._doubled)
        return self._ended(chunks)

    def _ended(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Every line with its CRLF; none of the chunks is empty, or ends between CR and LF."""
        held = b""
        last = b"\r\n"
        for chunk in chunks:
            data = held + chunk if held else chunk
            doubtful = _DOUBTFUL.search(data) if data.endswith(b"\r") else None
            held = doubtful[0] if doubtful else b""
            data = data[: len(data) - len(held)] if held else data
            if not data:
                continue
            for piece in self._pieces(data):
                last = piece
                yield piece
        if held:
            self.ends += len(held)
            last = b"\r\n"
            yield b"\r\n" * len(held)
        if not last.endswith(b"\n"):
            self.ends += 1
            yield b"\r\n"

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if not self._mixed:
            yield data
            return
        self.ends += data.count(b"\n") + data.count(b"\r") - 2 * data.count(b"\r\n")
        # CR CR LF is one line end: a device on Windows that wrote its CRLF through a stream that adds a CR.
        plain = data.replace(b"\r\r\n", b"\r\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for at in range(0, len(plain), ADDED):
            yield plain[at : at + ADDED].replace(b"\n", b"\r\n")


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        data = held + chunk
        held = data[-3:]
        if len(data) > 3:
            yield data[:-3]
    if rest := _MARK.sub(b"", held):
        yield rest


def _unstuffed(chunks: Iterator[bytes], doubled: bytes) -> Iterator[bytes]:
    """`doubled`: what stands behind the end of a line before its first dot is taken away."""
    held = b"\n"  # the line end of the DATA command
    skip = 1
    single = doubled[:-1]
    for chunk in chunks:
        data = held + chunk
        keep = next((n for n in range(len(doubled) - 1, 0, -1) if data.endswith(doubled[:n])), 0)
        # `\n..` at the end is whole, and no beginning of another
        held, data = data[len(data) - keep :], data[: len(data) - keep]
        data = data.replace(doubled, single)
        if skip and data:
            data, skip = data[1:], 0
        if data:
            yield data
    if rest := held[skip:]:
        yield rest


def _counted(source: Source) -> tuple[LineFacts, bool]:
    """The facts of a text in BDAT chunks, whose own counts know nothing of a line that two of them share; and whether
    its last line has no end."""
    counter = LineCounter()
    last = b"\n"
    for chunk in source.open():
        counter.feed(chunk)
        last = chunk[-1:] or last
    return counter.facts(ended=False), last != b"\n"
