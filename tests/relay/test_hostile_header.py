"""Headers that once took minutes to look through, for a pattern began anew at each of their octets. There is no clock
in these tests: were it so again, they would not end."""

from __future__ import annotations

import pytest

from relayprobe.relay.repair.terms import Source, Terms
from relayprobe.relay.repair.text import repaired
from relayprobe.wire.events import LineFacts

TERMS = Terms("a", "relay.test", 1e9, "by relay.test", "s@contoso.com", mailbox="m@contoso.com", rewrite=True)

HEADERS = {
    "a line without an end within what is looked at": b"Subject: " + b"z" * 2_000_000 + b"\r\n",
    "escaped quotes": b"".join(b'Resent-To: "' + b'\\"' * 7500 + b"\xe9\r\n" for _ in range(15)),
    "escaped brackets": b"From: (" + b"\\(" * 8000 + b"(\xe9\r\n",
    "open brackets": b"From: " + b"<a" * 8000 + b"\xe9\r\n",
    "commas and colons": b"To: ;@" + b",:" * 8000 + b"\r\n",
    "parameters": b"Content-Type: text/plain" + b';a="\\"' * 2500 + b"\xe9\r\n",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_the_text_goes_up_whole(header: bytes) -> None:
    wire = header + b"\r\nthe text\r\n.\r\n"
    pieces = [wire[at : at + 65536] for at in range(0, len(wire), 65536)]
    source = Source(lambda: iter(pieces), "crlf", LineFacts(eight_bit=not wire.isascii(), overlong=1))
    assert b"".join(repaired(source, TERMS).chunks()).endswith(b"\r\n\r\nthe text\r\n")
