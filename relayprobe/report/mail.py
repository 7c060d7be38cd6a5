"""A captured message as an .eml file: what stood between DATA and the end mark, the doubled dots made single again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relayprobe.wire.events import BodyEnd

_HELD = 8
"""Octets at the end of what has come that may belong to the end mark, or to a doubled dot, whose rest is to come."""


def eml(raw: bytes, end: BodyEnd) -> bytes:
    """The text of a message as the device meant it. Line ends stay as they were sent (RFC 5321 4.5.2 for the dots)."""
    return b"".join(eml_pieces([raw], end))


def eml_pieces(chunks: Iterable[bytes], end: BodyEnd) -> Iterator[bytes]:
    """The same of a text in chunks, which may be larger than memory."""
    if end == "bdat":
        yield from chunks
        return
    text = b"\r\n"  # the end of the DATA command: a dot after it is the first of a line, too
    begun = 2  # octets of it that are no part of the message
    for chunk in chunks:
        text += chunk
        cut = len(text) - _HELD
        if text[cut - 2 : cut] == b"\n.":  # the dot after it is doubled, if it is one
            cut -= 2
        elif text[cut - 1 : cut] == b"\n":
            cut -= 1
        if cut > 2:
            yield _single(text[:cut])[begun:]
            text, begun = text[cut:], 0
    if end == "crlf":
        text = text.removesuffix(b"\r\n.\r\n") + b"\r\n"
    elif end == "bare-lf":
        text = text.rstrip(b"\r\n").removesuffix(b".")
    yield _single(text)[begun:]


def _single(text: bytes) -> bytes:
    return text.replace(b"\n..", b"\n.")
