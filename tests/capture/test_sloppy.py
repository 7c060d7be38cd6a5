"""What real devices send, over a raw socket, and what they are answered: each row of it was seen or is documented."""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from typing import Any

import pytest

from relayprobe.wire.events import Body, Line

U = b64encode(b"scanner@contoso.com").decode()
P = b64encode(b"Scan-2024!").decode()
HELLO = "EHLO mfp01.contoso.com"
ENVELOPE = ["MAIL FROM:<a@contoso.com>", "RCPT TO:<b@contoso.com>"]


def talk(address: tuple[str, int], *pieces: bytes, replies: int = 0) -> list[str]:
    """Send pieces, each when the one before it was answered, and give the last line of each reply.

    `replies`: how many are waited for in the end; at the least, one for each piece.
    """
    heard: list[str] = []
    with socket.create_connection(address, timeout=10) as device, device.makefile("rb") as file:

        def listen(count: int) -> None:
            while len(heard) <= count and (line := file.readline().decode()):
                if line[3:4] != "-":
                    heard.append(line.rstrip())

        for number, piece in enumerate(pieces):
            listen(number)
            device.sendall(piece)
        listen(max(replies, len(pieces)))
    return heard[1:]


COMMANDS: list[tuple[str, list[bytes], str]] = [
    ("bare LF after commands", [b"EHLO a\n", b"MAIL FROM:<a@b>\n"], "250 250"),
    ("bare CR after commands", [b"EHLO a\r", b"MAIL FROM:<a@b>\r"], "250 250"),
    ("space after the colon", [b"EHLO a\r\n", b"MAIL FROM: a@x\r\n"], "250 250"),
    ("no brackets, a parameter", [b"EHLO a\r\n", b"MAIL FROM:a@x SIZE=10\r\n"], "250 250"),
    ("spaces everywhere", [b"EHLO a\r\n", b"MAIL  FROM : < a@x >\r\n"], "250 250"),
    ("no colon", [b"EHLO a\r\n", b"MAIL FROM <a@x>\r\n"], "250 250"),
    ("a display name", [b"EHLO a\r\n", b'MAIL FROM:"Scanner 1" <a@x>\r\n'], "250 250"),
    ("an unquoted display name", [b"EHLO a\r\n", b"MAIL FROM:Scanner <a@x>\r\n"], "250 250"),
    ("verb and keyword joined", [b"EHLO a\r\n", b"MAILFROM:<a@x>\r\n"], "250 250"),
    ("leading space", [b"EHLO a\r\n", b" MAIL FROM:<a@x>\r\n"], "250 250"),
    ("tab after the verb", [b"EHLO a\r\n", b"MAIL\tFROM:<a@x>\r\n"], "250 250"),
    ("HELO without a name", [b"HELO\r\n", b"MAIL FROM:<a@x>\r\n"], "250 250"),
    ("EHLO without a name", [b"EHLO \r\n", b"MAIL FROM:<a@x>\r\n"], "250 250"),
    ("no greeting", [b"MAIL FROM:<a@x>\r\n"], "250"),
    ("SIZE after HELO", [b"HELO a\r\n", b"MAIL FROM:<a@x> SIZE=5\r\n"], "250 250"),
    ("two in one RCPT", [b"EHLO a\r\n", b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>,<c@x>\r\n"], "250 250 250"),
    ("BINARYMIME", [b"EHLO a\r\n", b"MAIL FROM:<a@x> BODY=BINARYMIME\r\n"], "250 250"),
    ("DSN", [b"EHLO a\r\n", b"MAIL FROM:<a@x> RET=HDRS ENVID=1 AUTH=<>\r\n"], "250 250"),
    (
        "NOTIFY",
        [b"EHLO a\r\n", b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x> NOTIFY=NEVER ORCPT=rfc822;b@x\r\n"],
        "250 250 250",
    ),
    ("lower case", [b"ehlo a\r\n", b"mail from:<a@x>\r\n", b"rset\r\n", b"noop\r\n"], "250 250 250 250"),
    ("QUIT now", [b"QUIT now\r\n"], "221"),
    ("EHLO, then HELO", [b"EHLO a\r\n", b"HELO a\r\n", b"EHLO b\r\n"], "250 250 250"),
    ("an empty line", [b"\r\n", b"EHLO a\r\n"], "500 250"),
    ("telnet negotiation", [b"\xff\xfb\x1f\xff\xfd\x03EHLO a\r\n"], "250"),
    ("a BOM", [b"\xef\xbb\xbfEHLO a\r\n"], "250"),
    ("a long command", [b"EHLO a\r\n", b"MAIL FROM:<a@x> ENVID=" + b"x" * 30000 + b"\r\n"], "250 250"),
    ("PROXY version 1", [b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\nEHLO a\r\n"], "250"),
    ("PROXY version 2", [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + b"EHLO a\r\n"], "250"),
    ("DATA with a parameter", [b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>\r\n", b"DATA BODY=8BITMIME\r\n"], "250 250 354"),
    (
        "a group",
        [b"EHLO a\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"],
        "250 250 250 354 250 221",
    ),
    (
        "lower case login",
        [b"EHLO a\r\n", b"auth login\r\n", f"{U}\r\n".encode(), f"{P}\r\n".encode()],
        "250 334 334 235",
    ),
    (
        "login without padding",
        [b"auth login %b\r\n" % U.rstrip("=").encode(), f"{P.rstrip('=')}\r\n".encode()],
        "334 235",
    ),
    ("login after HELO", [b"HELO a\r\n", b"AUTH LOGIN\r\n", b"*\r\n"], "250 334 501"),
    ("login before any greeting", [b"AUTH LOGIN\r\n", b"*\r\n"], "334 501"),
    ("plain in two steps", [b"AUTH PLAIN\r\n", b64encode(b"\0scanner@contoso.com\0Scan-2024!") + b"\r\n"], "334 235"),
    (
        "a token of 8 KB",
        [
            b"AUTH XOAUTH2 "
            + b64encode(b"user=scanner@contoso.com\x01auth=Bearer " + b"x" * 6000 + b"\x01\x01")
            + b"\r\n"
        ],
        "235",
    ),
    ("a wrong password", [f"AUTH LOGIN {U}\r\n".encode(), b64encode(b"Scan-2024") + b"\r\n"], "334 535"),
    ("an unknown user", [b"AUTH LOGIN " + b64encode(b"nobody") + b"\r\n", f"{P}\r\n".encode()], "334 535"),
    ("a token of no user", [b"AUTH XOAUTH2 " + b64encode(b"auth=Bearer x") + b"\r\n"], "535"),
    ("not base64", [b"AUTH LOGIN\r\n", b"scanner!!\r\n"], "334 501"),
    (
        "CRAM-MD5, not insisted on",
        [b"AUTH CRAM-MD5\r\n", f"AUTH LOGIN {U}\r\n".encode(), f"{P}\r\n".encode()],
        "504 334 235",
    ),
    ("NTLM, insisted on", [b"AUTH NTLM\r\n", b"AUTH NTLM\r\n", b"TlRMTVNTUAABAAAA\r\n"], "504 334 334"),
    (
        "login again",
        [f"AUTH LOGIN {U}\r\n".encode(), f"{P}\r\n".encode(), b"EHLO a\r\n", f"AUTH LOGIN {U}\r\n".encode()],
        "334 235 250 334",
    ),
    ("BDAT", [b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>\r\n", b"BDAT 3\r\nabc", b"BDAT 2 LAST\r\nde"], "250 250 250 250"),
    ("BDAT without an envelope", [b"BDAT 6\r\nQUIT\r\n", b"NOOP\r\n"], "503 250"),
]


@pytest.mark.parametrize(("name", "pieces", "codes"), COMMANDS, ids=[name for name, _, _ in COMMANDS])
async def test_a_device_is_understood(start: Any, name: str, pieces: list[bytes], codes: str) -> None:
    running = await start(pin="plain")
    replies: list[str] = []
    count = len(codes.split())
    session = await running.play(lambda: replies.extend(talk(running.address, *pieces, replies=count)))
    assert " ".join(reply[:3] for reply in replies) == codes
    said = b"".join(e.raw for e in session.events if isinstance(e, Line | Body) and e.sender == "client")
    if b"AUTH" not in b"".join(pieces).upper():
        assert said == b"".join(pieces)


async def test_bare_lf_throughout_is_kept(start: Any) -> None:
    running = await start(pin="plain")
    pieces = [b"EHLO a\n", b"MAIL FROM:<a@b>\n", b"RCPT TO:<c@d>\n", b"DATA\n", b"Subject: x\n\ntext\n.\n"]
    replies: list[str] = []
    session = await running.play(lambda: replies.extend(talk(running.address, *pieces)))
    assert [reply[:3] for reply in replies] == ["250", "250", "250", "354", "250"]
    assert session.messages[0].body.end == "bare-lf"


async def test_a_long_line_in_a_message_is_kept(start: Any) -> None:
    running = await start(pin="plain")
    text = b"Subject: x\r\n\r\n" + b"x" * 1_000_000 + b"\r\n.\r\n"
    pieces = [f"{line}\r\n".encode() for line in [HELLO, *ENVELOPE, "DATA"]]
    session = await running.play(talk, running.address, *pieces, text)
    with running.archive() as archive:
        assert archive.body(session.id, 0) == text
    assert session.messages[0].body.lines.overlong == 1


SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


@pytest.mark.parametrize("mark", SMUGGLING)
@pytest.mark.parametrize("tail", [b"", b"QUIT\r\n"])
async def test_no_mark_yields_a_second_message(start: Any, mark: bytes, tail: bytes) -> None:
    running = await start(pin="plain")
    evil = b"MAIL FROM:<evil@x>\r\nRCPT TO:<v@x>\r\nDATA\r\nSubject: evil\r\n\r\ny\r\n.\r\n" + tail
    pieces = [f"{line}\r\n".encode() for line in [HELLO, *ENVELOPE, "DATA"]]
    session = await running.play(talk, running.address, *pieces, b"Subject: good\r\n\r\nx" + mark + evil)
    assert [envelope.sender for envelope in session.envelopes] == ["a@contoso.com"]
    assert len(session.messages) == 1


async def test_closing_right_after_the_dot_loses_nothing(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address) as connection:
            connection.sendall(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\n")
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.1)

    for number in range(20):
        session = await running.play(device)
        assert len(session.messages) == 1
        assert len(running.judged) == number + 1


async def test_a_message_cut_off_is_kept(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address) as connection:
            connection.sendall(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nhalf a li")
            time.sleep(0.3)

    session = await running.play(device)
    [body] = [e for e in session.events if isinstance(e, Body)]
    assert body.end == "cut"
    assert body.raw == b"Subject: x\r\n\r\nhalf a li"
    assert session.messages == ()


async def test_replies_come_in_one_segment(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address) as connection:
            assert connection.recv(65536).count(b"\r\n") == 1
            connection.sendall(b"EHLO a\r\n")
            reply = connection.recv(65536)
            assert reply.count(b"\r\n") == 11
            assert reply.startswith(b"250-relayprobe.local ")

    await running.play(device)
