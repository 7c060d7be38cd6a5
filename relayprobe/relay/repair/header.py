"""Where the header of a message ends, and what is in it: also where a device did not say so properly.

A header block goes up to the first empty line. Devices put empty lines in front of it, forget the one behind it, or
have lines in it that are no fields. What is taken for the header is decided by the names that all mails have: text
that happens to look like a field is not made one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from relayprobe.relay.repair.fields import FIELD, Field, joined, parsed

HEADER_LIMIT = 256 * 1024
"""Octets of a header that are looked at; a longer one goes up as it is."""

_BOM = b"\xef\xbb\xbf"
_EMPTY = re.compile(rb"(?:[ \t]*\r\n)+")
_KNOWN = re.compile(
    rb"^(?:from|to|cc|subject|date|message-id|mime-version|content-[a-z-]+|reply-to|sender|received|x-[!-9;-~]+)"
    rb"[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_MBOX = re.compile(rb">?From [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_SPACED = re.compile(rb"([!-9;-~]+)[ \t]+:")
_NEAR = 1000
"""Octets within which the header has to go on behind a line that is no field."""

_TEXTS = frozenset("subject comments keywords to cc from reply-to references".split())
"""Fields to which a line may have belonged that lost its blank in front."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields; `size`: octets of the text that they and the empty line behind them take. `mended` in words."""

    fields: tuple[Field, ...]
    size: int
    mended: tuple[str, ...] = ()


def header_of(start: bytes, whole: bool, mend: bool) -> Header | None:
    """The header of the text that begins so; None where it has no end in it. `whole`: nothing comes behind it.

    `mend`: what is wrong is put right; else the header is what stands before the first empty line.
    """
    begin, mended = _beginning(start) if mend else (0, [])
    if start.startswith(b"\r\n", begin):
        return Header((), begin + 2, tuple(mended))
    empty = start.find(b"\r\n\r\n", begin)
    end, size = (empty + 2, empty + 4) if empty >= 0 else (len(start), len(start))
    if not mend:
        return Header(tuple(parsed(start[begin:end])), size) if empty >= 0 or whole else None
    if begin < end and not _KNOWN.search(start, begin, end):
        return Header((), begin, (*mended, "there was no header at all: the text was put behind an empty one"))
    kept, at, more = _sound(parsed(start[begin:end]), start[begin:end])
    if at is None and empty < 0 and not whole:
        return None
    mended += more
    if at is not None:
        mended.append("the empty line between header and text was missing")
        size = begin + at
    return Header(tuple(kept), size, tuple(mended))


def _beginning(start: bytes) -> tuple[int, list[str]]:
    """Where the header begins, and what was passed over."""
    begin, mended = 0, []
    if start.startswith(_BOM):
        begin = len(_BOM)
        mended.append("a byte order mark in front of the header was taken away")
    if found := _EMPTY.match(start, begin):
        end = start.find(b"\r\n\r\n", found.end())
        known = _KNOWN.search(start, found.end(), end if end >= 0 else len(start))
        if known and FIELD.match(start, found.end()):
            begin = found.end()
            mended.append("empty lines in front of the header were taken away")
    while found := _MBOX.match(start, begin):
        begin = found.end()
        mended.append("a line of a mailbox file (`From ...`) was taken away")
    return begin, mended


def _sound(fields: list[Field], block: bytes) -> tuple[list[Field], int | None, list[str]]:
    """The fields without lines that are none; where the text begins, if that is before the end; what was done."""
    if all(field.name and not _SPACED.match(field.raw) for field in fields):
        return fields, None, []
    known = [found.start() for found in _KNOWN.finditer(block)]
    kept: list[Field] = []
    mended: list[str] = []
    at = 0
    for field in fields:
        begin, at = at, at + len(field.raw)
        if field.name:
            kept.append(_tight(field, mended))
            continue
        follows = bisect_left(known, begin + 1)
        if follows == len(known) or known[follows] - begin > _NEAR + len(field.raw):
            return kept, begin, mended
        if _MBOX.fullmatch(field.raw):
            mended.append("a line of a mailbox file (`From ...`) was taken away")
        elif kept and kept[-1].name in _TEXTS:
            kept[-1] = replace(kept[-1], raw=kept[-1].raw + b" " + field.raw)
            mended.append(f"a line that had lost the blank in front was joined to {_name(kept[-1])}")
        else:
            kept.append(Field("x-stray-line", b"X-Stray-Line: " + field.raw.lstrip(b" \t")))
            mended.append("a line that is no field was kept as X-Stray-Line")
    return kept, None, mended


def _tight(field: Field, mended: list[str]) -> Field:
    spaced = _SPACED.match(field.raw)
    if not spaced:
        return field
    mended.append(f"a blank between {_name(field)} and its colon was taken away")
    return replace(field, raw=spaced[1] + field.raw[spaced.end() - 1 :])


def _name(field: Field) -> str:
    return field.written.decode("ascii", "replace")


def block(fields: tuple[Field, ...]) -> bytes:
    """The header as it goes up, with the empty line behind it."""
    return joined(list(fields)) + b"\r\n"
