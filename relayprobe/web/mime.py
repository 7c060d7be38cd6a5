"""A message taken apart, in a process of its own that may be given up: what somebody sent may be made to be costly.

Run as `python -m relayprobe.web.mime`: the message on stdin, its structure as JSON on stdout; with a number, the octets
of that part instead, and with `text` behind it its text in UTF-8.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

DEPTH = 100
PARTS = 1_000
HEADERS = 256 * 1024
"""Octets of all header fields of one part."""

MESSAGE = 64 * 2**20
"""Octets of a message that is taken apart."""

SECONDS = 2.0
MEMORY = 1 << 30
TEXT = 256 * 1024
"""Characters of a text that are shown."""

FIELDS = ("From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "X-Mailer", "User-Agent")


class TooMuch(Exception):
    """The message is beyond a limit; the text says which."""


def structure(raw: bytes) -> Mapping[str, Any]:
    """The parts of a message, in a process of its own. Raises TooMuch."""
    if len(raw) > MESSAGE:
        raise TooMuch("size")
    found: Mapping[str, Any] = json.loads(_worked(raw, []))
    if "beyond" in found:
        raise TooMuch(found["beyond"])
    return found


def part(raw: bytes, number: int) -> bytes:
    """The octets of a part, decoded. Raises TooMuch."""
    if len(raw) > MESSAGE:
        raise TooMuch("size")
    return _worked(raw, [str(number)])


def part_text(raw: bytes, number: int) -> str:
    """The text of a part, whatever it is written in. Raises TooMuch."""
    if len(raw) > MESSAGE:
        raise TooMuch("size")
    return _worked(raw, [str(number), "text"]).decode()


def _worked(raw: bytes, arguments: list[str]) -> bytes:
    command = [sys.executable, "-W", "ignore", "-m", "relayprobe.web.mime", *arguments]
    try:
        done = subprocess.run(command, input=raw, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise TooMuch("time") from None
    if done.returncode:
        raise TooMuch("memory or depth")
    return done.stdout


# In the process of its own


def main() -> None:
    """Read, take apart, write."""
    _limit_memory()
    raw = sys.stdin.buffer.read()
    try:
        parts = list(_parts(raw))
    except TooMuch as error:
        sys.stdout.write(json.dumps({"beyond": str(error)}))
        return
    if len(sys.argv) > 1:
        _, message = parts[int(sys.argv[1])]
        octets = _octets(message)
        sys.stdout.buffer.write(_text(message, octets).encode() if len(sys.argv) > 2 else octets)
        return
    fields = [(name, _words(value)) for name in FIELDS for value in parts[0][1].get_all(name, [])[:5]]
    told = [_told(number, depth, message) for number, (depth, message) in enumerate(parts)]
    sys.stdout.write(json.dumps({"fields": fields, "parts": told}))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _parts(raw: bytes) -> Iterator[tuple[int, Message]]:
    """The parts from the outermost on, each with its depth. Raises TooMuch."""
    if len(raw.partition(b"\n\r\n")[0]) > HEADERS and len(raw.partition(b"\n\n")[0]) > HEADERS:
        raise TooMuch("header fields")
    try:
        whole = message_from_bytes(raw)
    except RecursionError:
        raise TooMuch("depth") from None
    waiting, count = [(0, whole)], 0
    while waiting:
        depth, message = waiting.pop()
        count += 1
        if depth > DEPTH:
            raise TooMuch("depth")
        if count > PARTS:
            raise TooMuch("number of parts")
        if sum(len(name) + len(str(value)) for name, value in message.raw_items()) > HEADERS:
            raise TooMuch("header fields")
        yield depth, message
        payload = message.get_payload()
        if isinstance(payload, list):
            waiting += [(depth + 1, inner) for inner in reversed(payload) if isinstance(inner, Message)]


def _told(number: int, depth: int, message: Message) -> dict[str, Any]:
    kind = message.get_content_type()
    octets = b"" if message.is_multipart() else _octets(message)
    text = None
    if kind == "text/plain" and message.get_content_disposition() != "attachment":
        text = _text(message, octets)[:TEXT]
    return {
        "number": number,
        "depth": depth,
        "kind": kind[:100],
        "name": _words(message.get_filename() or "")[:300],
        "disposition": message.get_content_disposition() or "",
        "size": len(octets),
        "multipart": message.is_multipart(),
        "text": text,
        "faults": [type(fault).__name__ for fault in message.defects][:5],
    }


def _octets(message: Message) -> bytes:
    payload = message.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
"""Byte order marks: browsers believe them before what the header field says (WHATWG Encoding Standard, 6.1)."""


def _text(message: Message, octets: bytes) -> str:
    """The text as a browser would read it, without a mark, and with nothing that UTF-8 cannot write."""
    charset = next((name for mark, name in _MARKS if octets.startswith(mark)), message.get_content_charset("utf-8"))
    try:
        text = octets.decode(charset, "replace")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", "replace")
    return text.lstrip("\ufeff").encode("utf-8", "replace").decode()


def _words(value: Any) -> str:
    """A header field with its encoded words (RFC 2047) decoded, where they can be."""
    try:
        return str(make_header(decode_header(str(value))))[:2000]
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return str(value)[:2000]


if __name__ == "__main__":
    main()
