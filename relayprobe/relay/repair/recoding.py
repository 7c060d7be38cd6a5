"""The text of one part written anew as it streams by: quoted-printable, base64, and lines wrapped within either.

Each recoding is fed chunks and gives octets back; what it gives in all does not depend on how the text was cut. Lines
in it end in CRLF, and a chunk may end anywhere.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from typing import Protocol

_BASE64_LINE = re.compile(rb"[^\r\n]{76}(?=[^\r\n])|[^\n]*\n|[^\n]+")
# Broken so that the line stays within 76 octets, and that no `=E4` is torn apart.
_QUOTED_LINE = re.compile(
    rb"(?=[^\r\n]{77})(?:[^\r\n]{70,73}(?<!=)(?<!=[^\r\n])|[^\r\n]{73})|[^\n]*\n|[^\n]+",
)
_DOUBTFUL = re.compile(rb"(?:[ \t]\r?|\r)\Z")
_UNQUOTED = re.compile(rb"[\x80-\xff]|=[ \t]{1,20}(?=\r\n)|=(?!\r\n|[0-9A-Fa-f]{2})")
_HALF = re.compile(rb"=(?:[^\r\n]?|[ \t]{0,20}\r?)\Z|\r\Z")


class Recoding(Protocol):
    """Writes the text of a part anew."""

    def feed(self, data: bytes) -> bytes:
        """What can be given for these octets and those before."""

    def end(self, divided: bool) -> bytes:
        """The rest. `divided`: the last line end belongs to the boundary behind it."""


class AsItIs:
    """Leaves a text as it is, but for NUL octets."""

    def feed(self, data: bytes) -> bytes:
        return data.replace(b"\0", b"")

    def end(self, divided: bool) -> bytes:
        return b""


class _Wrapped:
    """Lines broken by an expression that takes a line or as much as one may have, each once it is known to be long."""

    def __init__(self, pattern: re.Pattern[bytes], mark: bytes) -> None:
        self._pattern = pattern
        self._mark = mark
        self._line = b""  # what has come of the line that is not yet ended

    def feed(self, data: bytes) -> bytes:
        pieces = self._pattern.findall(self._line + data)
        self._line = pieces.pop() if pieces and pieces[-1][-1] != 10 else b""
        return b"".join([piece if piece[-1] == 10 else piece + self._mark for piece in pieces])

    def end(self) -> bytes:
        return self._line


class ToQuoted:
    """Text encoded as quoted-printable (RFC 2045 6.7)."""

    def __init__(self) -> None:
        self._held = b""
        self._lines = _Wrapped(_QUOTED_LINE, b"=\r\n")

    def feed(self, data: bytes) -> bytes:
        data = self._held + data.replace(b"\0", b"")
        found = _DOUBTFUL.search(data)  # a blank at the end of a line is encoded, and only there
        self._held = found[0] if found else b""
        return self._lines.feed(_quoted(data[: len(data) - len(self._held)] + b"x")[:-1])

    def end(self, divided: bool) -> bytes:
        return self._lines.feed(_quoted(self._held)) + self._lines.end()


def _quoted(data: bytes) -> bytes:
    """Encoded on lines as they were. The line breaks of the standard library hang on where a chunk begins, as does a
    dot that it encodes, so both are taken back."""
    return b2a_qp(data).replace(b"=\r\n", b"").replace(b"=\n", b"").replace(b"=2E", b".")


class Quoted:
    """What is quoted-printable already: with shorter lines, and with `ascii` in ASCII only."""

    def __init__(self, ascii_only: bool) -> None:
        self._ascii = ascii_only
        self._held = b""
        self._lines = _Wrapped(_QUOTED_LINE, b"=\r\n")

    def feed(self, data: bytes) -> bytes:
        data = self._held + data.replace(b"\0", b"")
        found = _HALF.search(data)
        self._held = found[0] if found else b""
        return self._lines.feed(self._mended(data[: len(data) - len(self._held)]))

    def end(self, divided: bool) -> bytes:
        return self._lines.feed(self._mended(self._held)) + self._lines.end()

    def _mended(self, data: bytes) -> bytes:
        if self._ascii or b"=" in data:
            return _UNQUOTED.sub(lambda found: self._code(found[0]), data)
        return data

    def _code(self, found: bytes) -> bytes:
        if len(found) > 1:  # blanks behind a soft line break
            return b"="
        return b"=%02X" % found[0] if self._ascii or found == b"=" else found


class ToBase64:
    """Octets of any kind encoded in base64."""

    def __init__(self) -> None:
        self._held = b""
        self._lines = _Wrapped(_BASE64_LINE, b"\r\n")

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        whole = max(len(data) - 2, 0) // 3 * 3  # the last line end may belong to the boundary
        self._held = data[whole:]
        return self._lines.feed(b2a_base64(data[:whole], newline=False))

    def end(self, divided: bool) -> bytes:
        rest = self._held.removesuffix(b"\r\n") if divided else self._held
        return self._lines.feed(b2a_base64(rest, newline=False)) + self._lines.end() + b"\r\n"


class Base64:
    """What is base64 already, with lines of 76 octets, and without what cannot be in it."""

    def __init__(self) -> None:
        self._lines = _Wrapped(_BASE64_LINE, b"\r\n")

    def feed(self, data: bytes) -> bytes:
        return self._lines.feed(data.translate(None, _NEITHER))

    def end(self, divided: bool) -> bytes:
        return self._lines.end()


_NEITHER = bytes([0, *range(0x80, 0x100)])
