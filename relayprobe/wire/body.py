"""The text of a message as it crosses the wire: where it ends, and what can be counted about its lines.

A scan is tens of megabytes long, so nothing here looks at single lines: every question is one call over a chunk. The
only end of data is CRLF.CRLF (RFC 5321 4.1.1.4). A text that merely looks ended (`LF.LF` and the like) is recognised,
for a device that ends its data so waits for an answer, but it never ends while octets follow: that would be the hole
through which mail is smuggled (CVE-2023-51764 and its kin).
"""

from __future__ import annotations

import re

from relayprobe.wire.events import LineFacts

MARK = b"\r\n.\r\n"
LINE_LIMIT = 998
"""Octets that a line may have without its end (RFC 5322 2.1.1)."""

_LOOKS_ENDED = (b"\n.\n", b"\n.\r\n", b"\r.\r")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class EndOfData:
    """Finds the end mark in a text that arrives in pieces."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the line end of the DATA command: a mark at once is an empty message

    def feed(self, data: bytes) -> int | None:
        """How many octets of `data` belong to the text, the mark included; None where it does not end in them."""
        tail = self._tail
        seam = tail + data[:4]
        if b"." in seam and (at := seam.find(MARK)) >= 0:
            return at + len(MARK) - len(tail)
        if b"." in data and (at := data.find(MARK)) >= 0:
            return at + len(MARK)
        self._tail = data[-4:] if len(data) >= 4 else seam[-4:]
        return None

    @property
    def looks_ended(self) -> bool:
        """Whether what has come would be an end with other line ends: only silence can tell."""
        return self._tail.endswith(_LOOKS_ENDED)


class LineCounter:
    """Counts what rules want to know of the lines."""

    def __init__(self) -> None:
        self._tail = b"\r\n"
        self._size = 0
        self._lf = self._cr = self._crlf = self._dots = self._overlong = 0
        self._line = 0  # octets of the line that is not yet ended
        self._first_bare_lf: int | None = None
        self._eight_bit = self._nul = False

    def feed(self, data: bytes) -> None:
        """Count what is in a piece."""
        if not data:
            return
        tail = self._tail
        lf, crlf = data.count(b"\n"), data.count(b"\r\n")
        if data[0] == 10 and tail[-1] == 13:
            crlf += 1
        if lf != crlf and self._first_bare_lf is None:
            found = _BARE_LF.search(tail[-1:] + data, 1)
            self._first_bare_lf = self._size + found.start() - 1 if found else None
        self._lf += lf
        self._crlf += crlf
        self._cr += data.count(b"\r")
        if b"." in data or tail[-1] == 46:
            window = tail + data
            self._dots += window.count(b"\n.") - window.count(b"\n..") - tail.count(b"\n.")
        self._eight_bit = self._eight_bit or not data.isascii()
        self._nul = self._nul or b"\0" in data
        self._measure(data)
        self._size += len(data)
        self._tail = data[-2:] if len(data) > 1 else tail[-1:] + data

    def skip(self, octets: int) -> None:
        """Octets are missing here, and what follows begins a line."""
        self._size += octets
        self._line = 0
        self._tail = b"\r\n"

    def _measure(self, data: bytes) -> None:
        # Steps of nearly a thousand octets instead of a look at every line: only a step without any line end is long.
        # A CRLF counts as one line end, hence the octet to spare.
        begin = -self._line
        length = len(data)
        while length - begin > LINE_LIMIT + 2:
            end = data.rfind(b"\n", max(begin, 0), begin + LINE_LIMIT + 2) if begin + LINE_LIMIT + 2 > 0 else -1
            if end < 0:
                end = data.find(b"\n", max(begin + LINE_LIMIT + 2, 0))
                if end < 0:
                    break
                self._overlong += 1
            begin = end + 1
        else:
            end = data.rfind(b"\n", max(begin, 0))
            begin = end + 1 if end >= 0 else begin
        self._line = length - begin

    def facts(self, ended: bool) -> LineFacts:
        """What was counted. `ended`: the last line is the end mark, which is not a line of the text."""
        return LineFacts(
            bare_lf=self._lf - self._crlf,
            first_bare_lf=self._first_bare_lf,
            bare_cr=self._cr - self._crlf,
            overlong=self._overlong + (self._line > LINE_LIMIT + 1),
            eight_bit=self._eight_bit,
            nul=self._nul,
            unstuffed_dots=self._dots - ended,
        )
