"""A header block as a list of fields, each with its octets as they stand, and ways to write fields anew.

Nothing here knows what a repair is. Header blocks are bounded, so lines may be looked at one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_LIMIT = 998
FOLD = 78
"""Octets that a line of a field should have at most (RFC 5322 2.1.1)."""

FIELD = re.compile(rb"([!-9;-~]+)([ \t]*):")


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `raw` is all of it, line ends included; `name` in lower case, empty for a line that is no field."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, unfolded."""
        lines = self.raw.partition(b":")[2].split(b"\r\n")
        return b" ".join(stripped for line in lines if (stripped := line.strip(b" \t")))

    @property
    def written(self) -> bytes:
        """The name as it stands in the header."""
        return self.raw.partition(b":")[0].strip()


def field(name: bytes, value: bytes) -> Field:
    """A field with this value, folded."""
    return Field(name.decode("ascii", "replace").lower(), folded(name + b": " + value + b"\r\n", FOLD))


def parsed(block: bytes) -> list[Field]:
    """The fields of a block whose lines end in CRLF; a line that is neither a field nor continues one has no name."""
    return [
        Field(start[1].decode("ascii").lower() if (start := FIELD.match(raw)) else "", raw)
        for raw in _ENTRY.findall(block)
    ]


# It may begin at a line's beginning alone: a last line without an end would else be looked at from each of its octets.
_ENTRY = re.compile(rb"^[^\n]+\n(?:[ \t][^\n]*\n)*", re.MULTILINE)


def first(fields: list[Field], name: str) -> bytes:
    """The value of the first field of that name; empty where there is none."""
    return next((field.value for field in fields if field.name == name), b"")


def joined(fields: list[Field]) -> bytes:
    """The block that the fields make, without the empty line that ends it."""
    return b"".join(field.raw for field in fields)


_BREAK = re.compile(rb"(?<![ \t])[ \t]+(?=[^ \t\r\n])")


def folded(raw: bytes, width: int = FOLD) -> bytes:
    """The field with its long lines broken in front of blanks; a piece without blanks stays as long as it is."""
    if all(len(line) <= width for line in raw.split(b"\r\n")):
        return raw
    lines = []
    for number, line in enumerate(raw.split(b"\r\n")):
        begin = 0
        last = 0  # the last blank at which the line may be broken
        head = FIELD.match(line) if number == 0 else re.match(rb"[ \t]+", line)
        for blank in _BREAK.finditer(line, head.end() if head else 0):
            if blank.start() - begin > width and last > begin:
                lines.append(line[begin:last])
                begin = last
            # never behind the colon: a first line with the name alone is not read well by all
            last = blank.start() if not (number == 0 and head and blank.start() == head.end()) else last
        if len(line) - begin > width and last > begin:
            lines.append(line[begin:last])
            begin = last
        lines.append(line[begin:])
    return b"\r\n".join(lines)


def overlong(raw: bytes) -> int:
    """How many of its lines are longer than a line may be."""
    return sum(len(line) > LINE_LIMIT for line in raw.split(b"\r\n")) if len(raw) > LINE_LIMIT else 0


_LOOKED_AT = 4096
"""Octets of Content-Type that are looked at."""

_MAIN_TYPE = re.compile(rb"\s*([^;\s/]+/[^;\s]+)")
_PARAMETER = rb';\s*%s\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))'
_BOUNDARY = re.compile(_PARAMETER % b"boundary", re.IGNORECASE)
_CHARSET = re.compile(_PARAMETER % rb"charset\*?", re.IGNORECASE)


def media_type(value: bytes) -> str:
    """`text/plain` and its like in lower case; empty where the value names none."""
    found = _MAIN_TYPE.match(value)
    return found[1].decode("latin-1").lower() if found else ""


def boundary(value: bytes) -> bytes:
    """What divides the parts of a multipart type; empty where it is not told."""
    return _told(_BOUNDARY.search(value, 0, _LOOKED_AT))


def charset(value: bytes) -> str:
    """The character set that a text type names, in lower case; empty where it names none."""
    return _told(_CHARSET.search(value, 0, _LOOKED_AT)).decode("latin-1").lower()


def _told(found: re.Match[bytes] | None) -> bytes:
    if not found:
        return b""
    return (re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]).rstrip()


def without_charset(value: bytes) -> bytes:
    """The value of Content-Type without the character set in it."""
    return _CHARSET.sub(b"", value[:_LOOKED_AT]).rstrip(b"; \t") + value[_LOOKED_AT:]
