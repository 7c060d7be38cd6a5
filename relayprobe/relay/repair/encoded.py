"""Letters beyond ASCII in a header field, written as the standards have it.

Text becomes encoded words (RFC 2047), a parameter such as a file's name is written with its character set (RFC 2231),
and in an address only the domain can be put into ASCII. The character set is UTF-8 where the octets are that, else
what Windows uses in the west.
"""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote

from relayprobe.relay.repair.fields import Field, field

ADDRESSES = frozenset(["from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-to", "resent-cc"])
_PARAMETERS = frozenset(["content-type", "content-disposition"])
_TOKENS = frozenset(
    "date message-id references in-reply-to mime-version content-transfer-encoding content-id received return-path "
    "dkim-signature resent-date resent-message-id".split()
)
LONGEST = 16384
"""Octets of a field that are looked at for addresses or parameters; a longer one is text."""

_ROOM = 45
"""Octets of text in one encoded word: with its frame it has to stay within 75 characters."""

_BEYOND = re.compile(rb"[\x80-\xff]")
# What is opened need not be closed, and nothing is given back: else each of ten thousand quotes is followed to the end.
_PHRASES = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\((?:[^()\\]|\\.)*+\)?|<[^<>]*+>?|[^"(),:;<>]+|.', re.DOTALL)
_PARAMETER = re.compile(rb';([ \t]*)([^=;\s"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)')
_WORD = re.compile(rb"=\?[^?\s]+\?[^?\s]+\?[^?\s]*\?=")


def encoded(old: Field) -> Field:
    """The field in ASCII; what cannot be, the name of a mailbox, stays as it is."""
    value = old.value
    if len(value) > LONGEST and old.name in ADDRESSES | _PARAMETERS:
        new = _BEYOND.sub(b"?", value)
    elif old.name in ADDRESSES:
        new = b"".join(_phrase(token) for token in _PHRASES.findall(value))
    elif old.name in _PARAMETERS:
        new = _BEYOND.sub(b"?", _PARAMETER.sub(_parameter, value))
    elif old.name in _TOKENS:
        new = _BEYOND.sub(b"?", value)
    else:
        new = words(value)
    return field(old.written, new)


def charset_of(raw: bytes) -> str:
    """The character set that octets are in, as far as can be told."""
    for name in ("utf-8", "windows-1252"):
        try:
            raw.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "iso-8859-1"


def words(value: bytes) -> bytes:
    """Text with the words that have letters beyond ASCII encoded, and the others as they are."""
    charset = charset_of(value)
    parts = re.split(rb"([ \t]+)", value)
    out: list[bytes] = []
    at = 0
    while at < len(parts):
        if parts[at].isascii():
            out.append(parts[at])
            at += 1
            continue
        end = at + 1
        while end + 1 < len(parts) and not parts[end + 1].isascii():
            end += 2
        text = b"".join(parts[at:end])
        # between two encoded words blanks do not count
        if at >= 2 and _WORD.fullmatch(parts[at - 2]):
            text = parts[at - 1] + text
        if end + 1 < len(parts) and _WORD.fullmatch(parts[end + 1]):
            text += parts[end]
        out.append(_encoded_words(text, charset))
        at = end
    return b"".join(out)


def _encoded_words(raw: bytes, charset: str) -> bytes:
    pieces: list[bytes] = []
    piece = b""
    for letter in raw.decode(charset):
        octets = letter.encode(charset)
        if len(piece) + len(octets) > _ROOM - (len(charset) - 5):
            pieces.append(piece)
            piece = b""
        piece += octets
    pieces.append(piece)
    return b" ".join(b"=?" + charset.encode() + b"?b?" + b64encode(piece) + b"?=" for piece in pieces)


def _phrase(token: bytes) -> bytes:
    if token.isascii():
        return token
    if token.startswith(b"<") or b"@" in token:
        return re.sub(rb"(?<=@)[^\s<>@\[\]]+", lambda found: ascii_domain(found[0]), token)
    if token.startswith(b'"') and token.endswith(b'"'):
        return words(re.sub(rb"\\(.)", rb"\1", token[1:-1]))
    if token.startswith(b"(") and token.endswith(b")"):
        return b"(" + words(token[1:-1]) + b")"
    inside = token.strip()
    before, _, after = token.partition(inside)
    return before + words(inside) + after


def ascii_domain(raw: bytes) -> bytes:
    """A domain as it stands in the DNS; as it was where it cannot be written so."""
    try:
        return raw if raw.isascii() else raw.decode().encode("idna")
    except UnicodeError:
        return raw


def _parameter(found: re.Match[bytes]) -> bytes:
    blanks, name, value = found.groups()
    if found[0].isascii():
        return found[0]
    text = re.sub(rb"\\(.)", rb"\1", value[1:-1]) if value.startswith(b'"') else value.strip()
    charset = charset_of(text)
    return (
        b";" + (blanks or b" ") + name.rstrip(b"*") + b"*=" + charset.encode() + b"''" + quote(text, safe="").encode()
    )
