"""A text taken apart as it streams by: the headers of its parts, what is in them, and the lines between them.

Boundaries are looked for by one expression over a whole chunk. What cannot or must not be taken apart is one piece:
what a signature covers, what is nested too deep, the rest behind too many parts. All octets that go in come out, in
order, in one piece or another; how a text falls into parts does not depend on how it is cut into chunks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from relayprobe.relay.repair.fields import boundary, first, media_type, parsed

DEPTH = 100
PARTS = 1000
HEAD_LIMIT = 65536
"""Octets that the header of a part may have."""

_LONGEST = 200
"""Octets that a boundary may have: 70 by the standard, and some more as they are seen."""

_HELD = _LONGEST + 110

Kind = Literal["leaf", "outside", "sealed"]
"""`outside`: before the first part or behind the last. `sealed`: not to be changed."""

SEALED = frozenset(
    "multipart/signed multipart/encrypted application/pkcs7-mime application/x-pkcs7-mime message/partial "
    "message/external-body".split()
)
_MESSAGES = frozenset(["message/rfc822", "message/global", "message/news"])
_AS_IT_IS = frozenset([b"", b"7bit", b"8bit", b"binary"])


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text. `why`: for what reason it is sealed, in words."""

    number: int
    kind: Kind
    type: str
    encoding: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The header of a part with the empty line that ends it, if there is one; `part` is what comes behind it."""

    part: Part
    block: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """Octets of a part."""

    part: Part
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """A part is over. `divided`: by a boundary, to which the line end in front of it belongs."""

    part: Part
    divided: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that divides parts."""

    data: bytes


Piece = Head | Text | End | Mark


@dataclass(frozen=True, slots=True)
class _Level:
    """A multipart that is open; `depth` counts messages within messages, too."""

    boundary: bytes
    depth: int
    digest: bool


class Parts:
    """Takes a text apart: `head` is the header block of the message, without the empty line, and `body` the rest."""

    def __init__(self, head: bytes, body: Iterator[bytes]) -> None:
        self._body = body
        self._levels: list[_Level] = []
        self._marks: re.Pattern[bytes] | None = None
        self._number = self._heads = 0
        self._depth = 0
        self._buffer = b""
        self._before = b"\n"  # the octet in front of the buffer
        self._in_head = False
        self._usual = "text/plain"  # the type of a part that names none
        self._part = self._begun(head, "text/plain")
        self.first = self._part

    def __iter__(self) -> Iterator[Piece]:
        for data in self._body:
            self._buffer += data
            yield from self._read(final=False)
        yield from self._read(final=True)

    def _read(self, final: bool) -> Iterator[Piece]:
        going = True
        while going:
            if self._in_head:
                head = self._head(final)
                going = head is not None
                if head is not None:
                    yield head
            else:
                found = self._marks.search(self._before + self._buffer) if self._marks else None
                going = found is not None
                if found:
                    yield from self._marked(found)
        if self._in_head:
            return
        keep = 0 if final or not self._marks else _HELD
        if data := self._taken(max(len(self._buffer) - keep, 0)):
            yield Text(self._part, data)
        if final:
            yield End(self._part, divided=False)

    def _taken(self, count: int) -> bytes:
        if not count:
            return b""
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        self._before = data[-1:]
        return data

    def _head(self, final: bool) -> Piece | None:
        """The header of a part, once it is there. A boundary ends it, too, and a line that is no field."""
        start = self._buffer[: HEAD_LIMIT + 4]
        empty = start.find(b"\r\n\r\n")
        end = 2 if start.startswith(b"\r\n") else empty + 4 if empty >= 0 else None
        found = self._marks.search(self._before + start) if self._marks else None
        if found and (end is None or found.start() < end):
            end = found.start()
        if end is None and final and len(start) < HEAD_LIMIT:
            end = len(start)
        if end is None and len(start) < HEAD_LIMIT:
            return None
        self._in_head = False
        if end is None:
            self._part = self._sealed("", "the header of a part has no end")
            return Text(self._part, self._taken(len(start)))
        block = self._taken(_sound(start[:end]))
        self._part = self._begun(block, self._usual)
        return Head(self._part, block)

    def _marked(self, found: re.Match[bytes]) -> Iterator[Piece]:
        # the expression was given one octet more than the buffer has, and its first is the LF before the mark
        if data := self._taken(found.start()):
            yield Text(self._part, data)
        yield End(self._part, divided=True)
        yield Mark(self._taken(found.end() - found.start() - 1))
        while self._levels[-1].boundary != found[1]:
            self._levels.pop()
        level = self._levels[-1]
        self._depth = level.depth
        if found[2]:
            self._levels.pop()
            self._part = self._numbered("outside", "", "")
        elif self._heads >= PARTS:
            self._levels.clear()
            self._part = self._sealed("", f"the mail has more than {PARTS:,} parts")
        else:
            self._in_head = True
            self._usual = "message/rfc822" if level.digest else "text/plain"
        self._expect()

    def _begun(self, block: bytes, usual: str) -> Part:
        """What comes behind this header."""
        self._heads += 1
        fields = parsed(block)
        value = first(fields, "content-type")
        kind = media_type(value) or usual
        encoding = first(fields, "content-transfer-encoding").lower()
        if kind in SEALED:
            return self._sealed(kind, f"it is {kind}")
        if kind.startswith("multipart/"):
            mark = boundary(value)
            if not mark or len(mark) > _LONGEST:
                return self._sealed(kind, "it names no boundary that can be used")
            if self._depth >= DEPTH:
                return self._sealed(kind, f"parts are nested more than {DEPTH} deep")
            self._depth += 1
            self._levels.append(_Level(mark, self._depth, kind == "multipart/digest"))
            self._expect()
            return self._numbered("outside", kind, "")
        if kind in _MESSAGES and encoding in _AS_IT_IS:
            if self._depth >= DEPTH:
                return self._sealed(kind, f"parts are nested more than {DEPTH} deep")
            self._depth += 1
            self._in_head, self._usual = True, "text/plain"
            return self._numbered("outside", kind, "")
        return self._numbered("leaf", kind, encoding.decode("latin-1"))

    def _sealed(self, kind: str, why: str) -> Part:
        self._number += 1
        return Part(self._number, "sealed", kind, "", why)

    def _numbered(self, kind: Kind, media: str, encoding: str) -> Part:
        self._number += 1
        return Part(self._number, kind, media, encoding)

    def _expect(self) -> None:
        marks = {level.boundary: None for level in reversed(self._levels)}
        if not marks:
            self._marks = None
            return
        choice = b"|".join(re.escape(mark) for mark in marks)
        self._marks = re.compile(rb"\n--(" + choice + rb")(--)?[ \t]{0,100}\r\n")


def _sound(block: bytes) -> int:
    """The octets of a block up to the first line that is no field."""
    size = 0
    closed = block == b"\r\n" or block.endswith(b"\r\n\r\n")
    for field in parsed(block[:-2] if closed else block):
        if not field.name:
            return size
        size += len(field.raw)
    return len(block)
