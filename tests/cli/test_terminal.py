"""What reaches a terminal: colour where it is wanted, and nothing that a stranger sent as it was sent."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from tests.clients.listening import COMMAND, Listening, environment, relayprobe
from tests.device import hello

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(*arguments: str | Path, **more: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with open(theirs, "wb", closefd=False) as stdout:
        command = [*COMMAND, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=stdout, env=environment(TERM="xterm-256color", **more))
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: the other side is closed
        while octets := terminal.read(65536):
            shown += octets
    process.wait(20)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("verb", [["show", "last"], ["sessions"], ["diagnose", "--all"]])
def test_colour_is_for_terminals_that_want_it(folder: Path, verb: list[str]) -> None:
    plain = relayprobe(*verb, "--data", folder).stdout.decode()
    assert "\x1b" not in plain
    coloured = on_terminal(*verb, "--data", folder)
    assert COLOUR.search(coloured)
    assert COLOUR.sub("", coloured) == plain
    assert on_terminal(*verb, "--data", folder, NO_COLOR="1") == plain
    assert on_terminal(*verb, "--data", folder, "--no-color") == plain
    assert on_terminal(*verb, "--data", folder, RELAYPROBE_NO_COLOR="1") == plain


def test_a_terminal_that_knows_ascii_alone(hostile: Path) -> None:
    shown = relayprobe("show", "last", "--data", hostile, PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, b"")


@pytest.mark.parametrize(
    "verb",
    [
        ["show", "last"],
        ["show", "last", "--json"],
        ["sessions", "--json"],
        ["export", "last"],
        ["export", "last", "--as", "pcapng"],
    ],
)
def test_a_reader_that_has_seen_enough(folder: Path, verb: list[str]) -> None:
    """As with `| head`."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as stdout:
        command = [*COMMAND, *verb, "--data", str(folder)]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False
        )
    assert done.stderr == b""


# What could move the cursor, set a title, turn the direction of text, forge a line; and letters that may stay.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b31m\x85\u202e\u2066\u200f\u2028\u200b\0\x08\x7f\rFORGED b\xfcro".encode()
USER = b64encode(HOSTILE + b"\nFORGED\n")
DIALOGUE = [
    b"EHLO " + HOSTILE,
    b"EHLO \x9b31m\xff\xfe",
    HOSTILE,
    b"AUTH LOGIN " + USER,
    b64encode(b"x"),
    b"AUTH PLAIN " + b64encode(b"\0" + HOSTILE + b"\0x"),
    b"AUTH XOAUTH2 " + b64encode(b"user=" + HOSTILE + b"\1auth=Bearer x\1\1"),
    b"AUTH " + HOSTILE,
    b"MAIL FROM:<" + HOSTILE + b"@contoso.com> " + HOSTILE,
    b"RCPT TO:<" + HOSTILE + b"@contoso.com>",
    b"DATA",
    b"From: " + HOSTILE + b"\r\nSubject: " + HOSTILE + b"\r\n\r\n" + HOSTILE + b"\r\n.",
    b"QUIT",
]


@pytest.fixture(scope="module", params=["console", "json"])
def listened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Listening:
    """A listener that has heard it all, at the end of a dialogue, and as the name in a TLS hello."""
    listening = Listening(tmp_path_factory.mktemp("hostile"), "-v", "--log-format", request.param)
    try:
        with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as device:
            device.sendall(hello({"sni": "on"}).replace(b"smtp.office365.com", HOSTILE[:18]))
            device.recv(65536)
        listening.ended(1)
        with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as device:
            device.recv(65536)
            for line in DIALOGUE:
                device.sendall(line + b"\r\n")
                device.recv(65536)
        listening.ended(2)
    finally:
        listening.stop()
    return listening


@pytest.fixture(scope="module")
def hostile(listened: Listening) -> Path:
    return listened.data


def harmful(said: bytes) -> set[str]:
    """What must not be in what is shown."""
    text = said.decode()
    acting = {character for character in text if not character.isprintable() and character != "\n"}
    return acting | set(re.findall(r"^FORGED.*", text, re.MULTILINE))


def test_nothing_harmful_while_it_listens(listened: Listening) -> None:
    said = {path.name: path.read_bytes() for path in (listened.out, listened.err)}
    assert {name: harmful(octets) for name, octets in said.items()} == {"stdout": set(), "stderr": set()}
    assert "büro" in said["stdout"].decode()


@pytest.mark.parametrize(
    "command",
    [
        ["show", "last"],
        ["show", "last", "--json"],
        ["sessions"],
        ["sessions", "--json"],
        ["diagnose", "--all"],
        ["diagnose", "--all", "--json"],
        ["export", "last"],
        ["export", "last", "--as", "json"],
        ["export", "last", "--as", "html"],
    ],
    ids=" ".join,
)
def test_nothing_harmful_in_what_is_shown(hostile: Path, command: list[str]) -> None:
    shown = relayprobe(*command, "--data", hostile)
    assert shown.stdout
    assert (harmful(shown.stdout), shown.stderr) == (set(), b"")


def test_nothing_harmful_on_a_terminal(hostile: Path) -> None:
    for command in (["show", "last"], ["sessions"], ["diagnose", "--all"]):
        assert harmful(COLOUR.sub("", on_terminal(*command, "--data", hostile)).encode()) == set()


def test_nothing_harmful_in_what_is_said_of_a_name(hostile: Path) -> None:
    """A name that was pasted from somewhere."""
    pasted = HOSTILE.replace(b"\0", b"").decode()
    for command in (
        ["show", pasted],
        ["rules", pasted],
        ["sessions", "--since", pasted],
        ["sessions", "--peer", pasted],
    ):
        assert harmful(relayprobe(*command, "--data", hostile).stderr) == set()
