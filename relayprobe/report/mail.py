"""A captured message as an .eml file: what stood between DATA and the end mark, the doubled dots made single again."""

from __future__ import annotations

from relayprobe.wire.events import BodyEnd


def eml(raw: bytes, end: BodyEnd) -> bytes:
    """The text of a message as the device meant it. Line ends stay as they were sent (RFC 5321 4.5.2 for the dots)."""
    if end == "bdat":
        return raw
    text = b"\r\n" + raw
    if end == "crlf":
        text = text.removesuffix(b"\r\n.\r\n") + b"\r\n"
    elif end == "bare-lf":
        line_end = text.rstrip(b"\r\n").removesuffix(b".")
        text = line_end
    return text.replace(b"\n..", b"\n.")[2:]
