"""What a message is made of. Run as a process of its own, `python -m relayprobe.web.pages.structure [PART]`, with the
message on stdin: mail may be built to keep a parser busy for ever, and a process can be ended.

Without PART it prints the parts as JSON; with it, the octets of that part, decoded.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import Message

DEPTH, PARTS, HEADERS = 100, 1_000, 256 * 1024
SECONDS = 2.0
MEMORY = 2 * 2**30
"""Octets of address space."""

TEXT = 256 * 1024
"""Characters of a text that are given."""

_SET = re.compile(rb"(?i)content-type:[^\n]*multipart/")
_BEYOND = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message. `name`: what the mail calls it, untouched; `text`: of text/plain, the beginning."""

    number: int
    depth: int
    kind: str
    name: str
    size: int
    text: str | None


class Beyond(Exception):
    """The message is built in a way that is not gone into."""


def parts_of(raw: bytes) -> tuple[Part, ...]:
    """The parts of a message, in the order in which they stand. Raises Beyond."""
    return tuple(Part(**thing) for thing in json.loads(_asked(raw)))


def content_of(raw: bytes, number: int) -> bytes:
    """The octets of a part, decoded. Raises Beyond, and LookupError where there is no such part."""
    content = _asked(raw, str(number))
    if content[:1] != b"+":
        raise LookupError(number)
    return content[1:]


def _asked(raw: bytes, *asked: str) -> bytes:
    command = [sys.executable, "-m", "relayprobe.web.pages.structure", *asked]
    try:
        done = subprocess.run(command, input=raw, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Beyond from error
    if done.returncode != 0:
        raise Beyond
    return done.stdout


# In the process of its own


def main(asked: Sequence[str]) -> int:
    """Read a message from stdin, and print what is asked for."""
    _bounded()
    raw = sys.stdin.buffer.read()
    if _headers_too_large(raw) or len(_SET.findall(raw)) > PARTS:
        return _BEYOND
    try:
        found = list(_walked(message_from_bytes(raw, policy=policy.compat32)))
    except (RecursionError, MemoryError, Beyond):
        return _BEYOND
    if asked:
        content = next((b"+" + _octets(part) for at, (_, part) in enumerate(found, 1) if str(at) == asked[0]), b"-")
        sys.stdout.buffer.write(content)
        return 0
    told = []
    for at, (depth, part) in enumerate(found, 1):
        octets = b"" if part.is_multipart() else _octets(part)
        kind = part.get_content_type()
        plain = kind == "text/plain" and not _named(part)
        told.append(
            {
                "number": at,
                "depth": depth,
                "kind": kind[:200],
                "name": _named(part)[:1000],
                "size": len(octets),
                "text": _decoded(octets, part)[:TEXT] if plain else None,
            }
        )
    print(json.dumps(told))
    return 0


def _bounded() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 1))


def _headers_too_large(raw: bytes) -> bool:
    end = re.search(rb"\r?\n\r?\n", raw)
    return (end.start() if end else len(raw)) > HEADERS


def _walked(message: Message) -> Iterator[tuple[int, Message]]:
    waiting = [(0, message)]
    count = 0
    while waiting:
        depth, part = waiting.pop()
        count += 1
        if depth > DEPTH or count > PARTS:
            raise Beyond
        yield depth, part
        if part.is_multipart():
            inner = part.get_payload()
            assert isinstance(inner, list)  # as of every part that has parts
            waiting += [(depth + 1, one) for one in reversed(inner) if isinstance(one, Message)]


def _octets(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _named(part: Message) -> str:
    try:
        name = part.get_filename("")
        pieces = decode_header(name) if "=?" in name else [(name, None)]
        return "".join(
            piece.decode(charset or "ascii", "replace") if isinstance(piece, bytes) else piece
            for piece, charset in pieces
        )
    except (ValueError, LookupError, TypeError):  # whatever a mail writes there
        return "?"


def _decoded(octets: bytes, part: Message) -> str:
    try:
        return octets.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
