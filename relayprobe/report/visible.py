"""The one place where what a stranger sent becomes text that may be shown: on a terminal, in a log, on a page.

Control characters of all kinds (C0, C1, escapes, marks that turn the direction of text) come out as escapes that can be
read and do nothing. Octets that are not UTF-8 do too.
"""

from __future__ import annotations

import re

from relayprobe.tongue import ENGLISH, Tongue

_HARMLESS = re.compile(r"[ -~]*")


def visible(said: str | bytes) -> str:
    """Text in which nothing can act."""
    text = said.decode("utf-8", "backslashreplace") if isinstance(said, bytes) else said
    if _HARMLESS.fullmatch(text):
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def visible_line(raw: bytes, tongue: Tongue = ENGLISH) -> str:
    """A line as it crossed the wire. Its end shows only where it is not CRLF."""
    if raw.endswith(b"\r\n"):
        return visible(raw[:-2])
    return visible(raw) if raw.endswith((b"\n", b"\r")) else f"{visible(raw)} {tongue('[no line end]')}"


def _escape(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}.get(character)
    if known:
        return known
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
