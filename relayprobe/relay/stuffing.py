"""A text made ready for DATA: dots doubled (RFC 5321 4.5.2), one end mark, and nothing but CRLF for a line end.

The text comes in chunks of any size, and each is looked at with a few calls over the whole of it. What depends on the
octet before is settled at the seam. A bare CR or LF stops the text: another server may take it for a line end, and what
stands behind it for a mail of its own (CVE-2023-51764 and its kin). The repair of line ends is done before.
"""

from __future__ import annotations


class BareLineEndError(Exception):
    """The text has a CR or an LF that stands alone."""


class Stuffing:
    """One text on its way out."""

    def __init__(self) -> None:
        self.size = 0
        """Octets of the text so far, added dots not counted."""
        self._last = b"\n"  # the DATA line ended: a dot at once is the first of a line

    def feed(self, chunk: bytes) -> bytes:
        """A chunk as it goes out. Raises BareLineEndError."""
        if not chunk:
            return b""
        self.size += len(chunk)
        after_cr = self._last == b"\r"
        crlf = chunk.count(b"\r\n")
        if after_cr != chunk.startswith(b"\n"):
            raise BareLineEndError
        if chunk.count(b"\n") != crlf + after_cr or chunk.count(b"\r") != crlf + chunk.endswith(b"\r"):
            raise BareLineEndError
        stuffed = chunk.replace(b"\n.", b"\n..")
        if self._last == b"\n" and chunk.startswith(b"."):
            stuffed = b"." + stuffed
        self._last = chunk[-1:]
        return stuffed

    def end(self) -> bytes:
        """The end mark, behind a line end where the text has none. Raises BareLineEndError."""
        if self._last == b"\r":
            raise BareLineEndError
        return b".\r\n" if self._last == b"\n" else b"\r\n.\r\n"
