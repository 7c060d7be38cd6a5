"""What was captured outlives the listener, however it ends: an event is on the disk a second after it happened."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from tests.clients.listening import Listening, relayprobe, until

PROMISED = 1.2  # seconds after which an event may not be lost any more, and a little
LINES = [b"EHLO mfp01.contoso.com", b"MAIL FROM:<scanner@contoso.com>", b"RCPT TO:<anna@contoso.com>", b"DATA"]


def begin(listening: Listening) -> socket.socket:
    """A device that has got as far as DATA."""
    device = socket.create_connection(("127.0.0.1", listening.port), timeout=20)
    device.recv(65536)
    for line in LINES:
        device.sendall(line + b"\r\n")
        device.recv(65536)
    return device


def shown(listening: Listening) -> dict[str, Any]:
    done = listening.run("show", "last", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def said(report: dict[str, Any]) -> list[str]:
    return [e["raw"] for e in report["session"]["events"] if e["kind"] == "line" and e["sender"] == "client"]


def test_a_killed_listener_has_lost_no_event(listen: Any) -> None:
    listening = listen(name="one")
    with begin(listening):
        time.sleep(PROMISED)
        listening.kill()
    events = shown(listening)["session"]["events"]
    assert said(shown(listening)) == [line.decode() + "\r\n" for line in LINES]
    assert events[0]["kind"] == "connected"
    assert events[-1]["raw"].startswith("354 ")


def test_a_killed_listener_has_kept_what_came_of_a_large_message(listen: Any) -> None:
    listening = listen(name="one")
    text = b"".join(b"%07d" % number * 10 + b"\r\n" for number in range(4200))  # 300 KB
    with begin(listening) as device:
        for at in range(0, len(text), 10_000):  # as a scanner sends while it scans
            device.sendall(text[at : at + 10_000])
            time.sleep(0.02)
        time.sleep(PROMISED)
        listening.kill()
    assert said(shown(listening))[-1] == "DATA\r\n"
    [file] = (listening.data / "bodies").iterdir()
    assert file.read_bytes() == text
    assert str(file) in listening.run("show", "last").stdout.decode()


def test_it_starts_again_where_it_was_killed(listen: Any) -> None:
    first = listen(name="one")
    with begin(first) as device:
        device.sendall(b"Subject: Scan\r\n\r\nhalf a mess")
        time.sleep(PROMISED)
        first.kill()
    before = shown(first)

    second = listen(name="one")
    assert shown(second)["session"] == before["session"]
    assert second.ended(), "the session that was cut off has no end"
    [file] = (second.data / "bodies").iterdir()
    assert file.read_bytes() == b"Subject: Scan\r\n\r\nhalf a mess"
    with begin(second) as device:
        device.sendall(b"Subject: Scan\r\n\r\ndone\r\n.\r\nQUIT\r\n")
        until(lambda: b"221 " in device.recv(65536))
    assert [row.messages for row in second.ended(2)] == [1, 0]


def test_a_second_listener_is_kept_out(listen: Any) -> None:
    listening = listen()
    refused = relayprobe("listen", "--data", listening.data, "--listen", "127.0.0.1:0")
    assert refused.returncode == 2
    assert refused.stderr.decode() == (
        f"Error: another relayprobe (process {listening.process.pid}) is writing to {listening.data}: stop it, or give "
        "this one its own folder with --data\n"
    )


def test_reading_while_it_listens(listen: Any) -> None:
    listening = listen()
    with begin(listening):
        until(lambda: listening.run("show", "last").returncode == 0)
        until(lambda: said(shown(listening))[-1:] == ["DATA\r\n"])
        [line] = listening.run("sessions", "--json").stdout.splitlines()
        assert json.loads(line)["ended"] is None
        assert b"open" in listening.run("sessions").stdout
        assert b"DATA" in listening.run("export", "last").stdout
        assert listening.run("diagnose", "last").returncode == 1  # no TLS


def test_stopping_tells_the_device_and_keeps_the_session(listen: Any) -> None:
    listening = listen()
    with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as device:
        device.recv(65536)
        device.sendall(b"EHLO mfp01.contoso.com\r\n")
        device.recv(65536)
        listening.stop()
        assert device.recv(65536).startswith(b"421 ")
    assert shown(listening)["session"]["events"][-1]["how"] == "shutdown"
