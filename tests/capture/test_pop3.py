"""POP before SMTP: the listener notes who logs in by POP3, and nothing more."""

from __future__ import annotations

import poplib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from relayprobe.capture.listener import Port
from relayprobe.wire.events import Credentials
from tests.capture.conftest import PASSWORD, USER, Running
from tests.device import Script, play

MAIL = ["S: 220", "C: EHLO mfp", "S: 250", f"C: MAIL FROM:<{USER}>", "S: 250", "C: QUIT", "S: 221"]


@pytest.fixture
async def pop3(start: Any) -> Running:
    running: Running = await start(more=[Port("127.0.0.1", 0, "pop3")])
    return running


def log_in(login: Callable[[poplib.POP3], object]) -> Callable[[Running], None]:
    def visit(running: Running) -> None:
        box = poplib.POP3("127.0.0.1", running.listener.ports[1].number, timeout=10)
        login(box)
        assert box.stat() == (0, 0)
        assert box.list()[1] == []
        box.quit()

    return visit


def by_user(box: poplib.POP3) -> None:
    box.user(USER)
    box.pass_(PASSWORD)


async def test_a_device_that_logs_in_by_pop3_is_noted_and_no_password_kept(pop3: Running) -> None:
    session = await pop3.play(log_in(by_user), pop3)
    assert session.pop3
    assert session.listener.startswith("pop3://127.0.0.1:")
    credentials = [event for event in session.events if isinstance(event, Credentials)]
    assert [(c.user, c.raw) for c in credentials] == [(USER, f"USER {USER}\r\n".encode()), (USER, b"********\r\n")]
    assert credentials[1].secret is not None
    assert credentials[1].secret.likeness == "equal"
    assert [finding.rule.id for finding in pop3.judged[0].findings] == ["pop-before-smtp"]
    assert PASSWORD.encode() not in await pop3.stored()


async def test_mail_without_a_login_after_it_is_explained(pop3: Running) -> None:
    await pop3.play(log_in(by_user), pop3)
    await pop3.play(play, Script("mail", steps=MAIL), {}, pop3.address)
    found = {finding.rule.id: finding.severity for finding in pop3.judged[1].findings}
    assert found["pop-before-smtp"] == found["no-auth"] == "error"


@pytest.mark.parametrize(
    "said",
    [
        f"APOP {USER} {PASSWORD}",
        f"AUTH PLAIN {PASSWORD}",
        f"AUTH LOGIN\r\n{USER}\r\n{PASSWORD}",
        f"AUTH PLAIN\r\n{PASSWORD}",
        f"PASS {PASSWORD}",
        f"pass {PASSWORD}",
        f"USER {USER}:{PASSWORD}",
        f"USER {USER} {PASSWORD}",
        f"STAT {PASSWORD}",
        f"{PASSWORD}",
        f"LOGIN {PASSWORD}",
        f"QUIT {PASSWORD}",
    ],
)
async def test_no_password_is_kept_however_it_is_said(pop3: Running, said: str) -> None:
    def visit() -> None:
        with socket.create_connection(("127.0.0.1", pop3.listener.ports[1].number), timeout=10) as device:
            device.recv(1000)
            for line in said.split("\r\n"):
                device.sendall(line.encode() + b"\r\n")
                assert PASSWORD.encode() not in device.recv(1000)

    await pop3.play(visit)
    assert PASSWORD.encode() not in await pop3.stored()


async def test_an_endless_line_and_endless_talk_are_ended(pop3: Running) -> None:
    def visit(octets: bytes) -> None:
        with socket.create_connection(("127.0.0.1", pop3.listener.ports[1].number), timeout=10) as device:
            device.sendall(octets)
            while device.recv(65536):
                pass

    for octets in (b"x" * 10_000, b"NOOP\r\n" * 1000):
        session = await pop3.play(visit, octets)
        assert session.closed is not None
        assert (session.closed.by, session.closed.how) == ("server", "limit")
        assert len(session.events) < 500
