"""The header of a message, as far as rules look at it: fields by name, the addresses in them, and what purging leaves.

Written by hand and bounded, for `email` may take seconds and raise on what strangers send, and a rule runs on every
session. The octets are those of the wire: lines may end in CRLF, LF or anything else.
"""

from __future__ import annotations

import re
from email.utils import getaddresses
from functools import lru_cache

HEADER_LIMIT = 65536
"""How many octets of a header are looked at."""

_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"^([!-9;-~]{1,200})[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_PLAIN = re.compile(r"[\w.+-]+@[\w.-]+")
_ANGLE = re.compile(r"<\s*([^<>\s]+)\s*>")

# What rules ask for, and what is neither text nor subject: it stays when a body is purged.
_KEPT = frozenset(
    b"from sender reply-to date message-id mime-version content-type content-transfer-encoding x-mailer "
    b"user-agent".split()
)


def header(raw: bytes) -> bytes:
    """The header block, without the empty line that ends it."""
    start = raw[:HEADER_LIMIT]
    found = _END.search(start)
    return start[: found.start()] if found else start


def fields(raw: bytes, name: str) -> list[str]:
    """The values of a header field in order, unfolded; an empty list where it is missing."""
    return _fields(raw).get(name.lower(), [])


@lru_cache(16)  # every rule on the header asks for another field of the same few messages
def _fields(raw: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in _FIELD.findall(header(raw)):
        text = _decoded(b" ".join(part.strip() for part in value.splitlines()).strip())
        found.setdefault(key.decode("ascii").lower(), []).append(text)
    return found


def addresses(values: list[str]) -> list[str]:
    """The addresses in the values of From, To and their like; what cannot be read as one is left out."""
    found = []
    for value in values:
        if _PLAIN.fullmatch(value):
            found.append(value)
            continue
        angled = _ANGLE.findall(value)
        if angled and value.count("<") == value.count("@") == 1:
            found.append(angled[0])
        else:
            found += [address for address in _parsed(value[:4096]) if address]
    return found


def _parsed(value: str) -> list[str]:
    try:
        return [address for _, address in getaddresses([value])]
    except (RecursionError, ValueError, IndexError, AttributeError):  # of four thousand parentheses, for one
        return []


def trimmed(raw: bytes) -> bytes:
    """What is left of a message when its text is purged: the fields that rules look at, with `x` for any file name."""
    kept = []
    for key, value in _FIELD.findall(header(raw)):
        if key.lower() in _KEPT:
            plain = b" ".join(value.split())
            if key.lower() == b"content-type":
                plain = plain.partition(b";")[0].strip()
            kept.append(key + b": " + plain + b"\r\n")
    return b"".join(kept) + b"\r\n"


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
