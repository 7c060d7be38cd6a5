"""The interview, with eight devices of different abilities: each ends with the right table, whatever it is offered."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import socket
import ssl
import warnings
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayprobe.advice.interview import MOST_SENDS, table
from relayprobe.capture.interview import Interviews, Progress
from relayprobe.capture.listener import Judged
from relayprobe.capture.tls import own_certificate, server_context
from relayprobe.report.objects import session_from_object, session_object
from relayprobe.report.unseen import unseen
from tests.capture.conftest import PASSWORD, USER, Running


@dataclass
class Simulated:
    """A device as it is set up; `send` is one press on its test button, with what it does by itself when that fails."""

    tls: str = "starttls"  # none, starttls, implicit
    newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    must_tls: bool = True  # gives up where STARTTLS is not offered
    falls_back: bool = False  # sends in clear text when TLS fails, on a new connection
    trust: Path | None = None  # checks the certificate, with this root or none
    checks: bool = False
    mechanisms: tuple[str, ...] = ("LOGIN",)  # the preferred one first
    must_login: bool = True
    senders: tuple[str, ...] = (USER,)
    parameters: str = ""
    pipelines: bool = False
    count: int = field(default=0)

    def send(self, port: int) -> None:
        failed = False
        with contextlib.suppress(OSError, EOFError):
            failed = self._send(port, clear=False)
        if failed and self.falls_back:
            with contextlib.suppress(OSError, EOFError):
                self._send(port, clear=True)

    def _send(self, port: int, clear: bool) -> bool:
        """Whether TLS failed."""
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            talk = _Talk(raw)
            stack.callback(talk.close)
            if self.tls == "implicit":
                talk.secure(self._context())
            talk.reply()
            offers = talk.say("EHLO mfp01.contoso.com")
            if self.tls == "starttls" and not clear:
                if "STARTTLS" in offers:
                    talk.say("STARTTLS")
                    try:
                        talk.secure(self._context())
                    except (ssl.SSLError, ConnectionError):
                        return True
                    offers = talk.say("EHLO mfp01.contoso.com")
                elif self.must_tls:
                    talk.say("QUIT")
                    return False
            offered = next((line.split()[1:] for line in offers.splitlines() if line.startswith("AUTH")), [])
            chosen = next((mechanism for mechanism in self.mechanisms if mechanism in offered), None)
            if chosen is not None:
                talk.log_in(chosen)
            elif self.must_login:
                talk.say("QUIT")
                return False
            self._mail(talk)
        return False

    def _mail(self, talk: _Talk) -> None:
        sender = self.senders[self.count % len(self.senders)]
        self.count += 1
        envelope = [f"MAIL FROM:<{sender}>{self.parameters}", "RCPT TO:<anna@contoso.com>", "DATA"]
        if self.pipelines:
            talk.send("\r\n".join(envelope))
            for _ in envelope:
                talk.reply()
        else:
            for line in envelope:
                talk.say(line)
        talk.say(f"From: {sender}\r\nSubject: test\r\n\r\nscan\r\n.")
        talk.say("QUIT")

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if self.checks else ssl.CERT_NONE
        if self.trust:
            context.load_verify_locations(self.trust)
        if self.newest is not ssl.TLSVersion.MAXIMUM_SUPPORTED:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = self.newest
        return context


class _Talk:
    def __init__(self, raw: socket.socket) -> None:
        self.socket = raw
        self.buffer = b""

    def secure(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket)

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\r\n")

    def say(self, text: str) -> str:
        self.send(text)
        return self.reply()

    def reply(self) -> str:
        lines = []
        while True:
            while b"\n" not in self.buffer:
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError
                self.buffer += data
            line, _, self.buffer = self.buffer.partition(b"\n")
            lines.append(line.decode().strip())
            if line[3:4] != b"-":
                return "\n".join(text[4:] for text in lines)

    def log_in(self, mechanism: str) -> None:
        match mechanism:
            case "LOGIN":
                self.say("AUTH LOGIN")
                self.say(b64encode(USER.encode()).decode())
                self.say(b64encode(PASSWORD.encode()).decode())
            case "PLAIN":
                self.say("AUTH PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode())
            case "XOAUTH2":
                self.say("AUTH XOAUTH2 " + b64encode(f"user={USER}\1auth=Bearer {PASSWORD}\1\1".encode()).decode())
            case "CRAM-MD5":
                challenge = b64decode(self.say("AUTH CRAM-MD5"))
                digest = hmac.new(PASSWORD.encode(), challenge, "md5").hexdigest()
                self.say(b64encode(f"{USER} {digest}".encode()).decode())

    def close(self) -> None:
        # Without a farewell of TLS, as firmware does it.
        self.socket.close()


TLS10 = ssl.TLSVersion.TLSv1
KNOWN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "modern, LOGIN only": (
        {},
        {
            "tls-on-connect": "no",
            "starttls": "yes",
            "best-tls": "TLS 1.3",
            "tls-1.2": "yes",
            "certificate": "takes relayprobe's: it does not check, or ca.pem was imported",
            "without-starttls": "stops",
            "after-failure": "not known",
            "mechanisms": "LOGIN",
            "without-login": "stops",
            "sender": f"always {USER}",
            "pipelining": "no",
            "smtputf8": "no",
            "size": "no",
        },
    ),
    "TLS 1.0, falls back to clear text": (
        {"newest": TLS10, "falls_back": True, "must_tls": False},
        {
            "starttls": "yes",
            "best-tls": "TLS 1.0",
            "tls-1.2": "no",
            "after-failure": "sends in clear text",
            "without-starttls": "sends in clear text",
            "mechanisms": "LOGIN",
            "without-login": "stops",
        },
    ),
    "TLS 1.0, gives up": (
        {"newest": TLS10},
        {
            "best-tls": "TLS 1.0",
            "tls-1.2": "no",
            "after-failure": "stops",
            "without-starttls": "stops",
            "mechanisms": "LOGIN",
        },
    ),
    "no TLS and no login": (
        {"tls": "none", "mechanisms": (), "must_login": False},
        {
            "tls-on-connect": "no",
            "starttls": "no",
            "best-tls": "none",
            "without-starttls": "sends in clear text",
            "mechanisms": "none",
            "without-login": "sends",
            "certificate": "not known",
        },
    ),
    "PLAIN in clear text": (
        {"tls": "none", "mechanisms": ("PLAIN",), "must_login": False},
        {
            "starttls": "no",
            "best-tls": "none",
            "without-starttls": "sends in clear text",
            "mechanisms": "PLAIN",
            "without-login": "sends",
        },
    ),
    "CRAM-MD5, PLAIN, LOGIN, and checks the certificate": (
        {"mechanisms": ("CRAM-MD5", "PLAIN", "LOGIN"), "checks": True, "trust": "ca.pem"},
        {
            "starttls": "yes",
            "mechanisms": "CRAM-MD5, PLAIN, LOGIN",
            "certificate": "takes relayprobe's: it does not check, or ca.pem was imported",
            "without-starttls": "stops",
            "without-login": "stops",
        },
    ),
    "TLS on connect": (
        {"tls": "implicit"},
        {
            "tls-on-connect": "yes",
            "starttls": "no: TLS on connect",
            "best-tls": "TLS 1.3",
            "without-starttls": "does not apply: TLS on connect",
            "mechanisms": "LOGIN",
            "without-login": "stops",
        },
    ),
    "OAuth, many senders, batches, SMTPUTF8, SIZE": (
        {
            "mechanisms": ("XOAUTH2",),
            "senders": ("anna@contoso.com", "otto@contoso.com"),
            "pipelines": True,
            "parameters": " SIZE=60 SMTPUTF8",
            "must_login": False,
        },
        {
            "mechanisms": "XOAUTH2",
            "without-login": "sends",
            "sender": "differs: anna@contoso.com, otto@contoso.com",
            "pipelining": "yes",
            "smtputf8": "yes",
            "size": "yes",
        },
    ),
    "knows no root": (
        {"checks": True},
        {
            "certificate": "checked, and relayprobe's refused",
            "after-failure": "stops",
            "without-starttls": "stops",
            "mechanisms": "not known",
        },
    ),
}


async def interviewed(start: Any, folder: Path, device: Simulated, found: list[Judged] | None = None) -> list[Progress]:
    """Let a device send until its interview is over. `found`: what was judged on the way is put there."""
    paths = own_certificate(folder, "relayprobe.local")
    if device.trust:
        device.trust = folder / device.trust
    only = ssl.TLSVersion.TLSv1_2
    interviews = Interviews(
        "relayprobe.local",
        accounts={USER: PASSWORD},
        message_size=10**6,
        new_tls=server_context(*paths, oldest=only, newest=only),
    )
    running: Running = await start(tls=server_context(*paths), answers_for=interviews.answers_for)
    steps: list[Progress] = []
    heard = 0
    for _ in range(MOST_SENDS):
        await asyncio.to_thread(device.send, running.address[1])
        while running.listener._taps or len(running.judged) == heard:
            await asyncio.sleep(0.01)
        for judged in running.judged[heard:]:
            heard += 1
            if found is not None:
                found.append(judged)
            if progress := interviews.heard(judged.session):
                steps.append(progress)
        if steps and steps[-1].next is None:
            break
    assert PASSWORD.encode() not in await running.stored()
    return steps


@pytest.mark.parametrize("name", KNOWN)
async def test_an_interview_ends_with_the_right_table(name: str, start: Any, tmp_path: Path) -> None:
    abilities, expected = KNOWN[name]
    steps = await interviewed(start, tmp_path, Simulated(**abilities))
    assert steps[-1].next is None
    known = {ability.id: ability.known for ability in table(steps[-1].profile)}
    assert {row: known[row] for row in expected} == expected
    assert PASSWORD not in repr(steps[-1].profile)


async def test_after_the_interview_the_device_is_answered_as_usual(start: Any, tmp_path: Path) -> None:
    steps = await interviewed(start, tmp_path, Simulated(tls="none", mechanisms=(), must_login=False))
    assert steps[-1].next is None
    assert len(steps) <= 3


async def test_what_was_kept_from_the_device_is_not_held_against_it(start: Any, tmp_path: Path) -> None:
    judged: list[Judged] = []
    device = Simulated(must_tls=False, must_login=False, mechanisms=("CRAM-MD5", "LOGIN"))
    await interviewed(start, tmp_path, device, judged)
    kept = [each.session.withheld for each in judged]
    assert {"tls"} in kept
    assert {"login"} in kept
    for each in judged:
        wrong = {finding.rule.id for finding in each.findings if finding.severity == "error"}
        assert wrong.isdisjoint(("no-tls", "auth-before-starttls", "no-auth", "auth-cram-md5-no-fallback"))
        assert session_from_object(session_object(each.session)).withheld == each.session.withheld
        assert json.loads(each.row.context)["interview"]
    said = " ".join(unseen(next(each.session for each in judged if each.session.withheld == {"login"})))
    assert "AUTH LOGIN was kept from the device on purpose" in said


async def test_a_send_that_relayprobe_broke_off_is_no_answer(start: Any, tmp_path: Path) -> None:
    paths = own_certificate(tmp_path, "relayprobe.local")
    new_tls = server_context(*paths)
    interviews = Interviews("relayprobe.local", accounts={}, message_size=10**6, new_tls=new_tls)
    running: Running = await start(tls=server_context(*paths), answers_for=interviews.answers_for)
    with socket.create_connection(running.address, timeout=10) as device:
        device.setblocking(False)
        await asyncio.get_running_loop().sock_recv(device, 100)
        await running.listener.stop()
    [judged] = running.judged
    assert judged.session.interview
    assert interviews.heard(judged.session) is None
