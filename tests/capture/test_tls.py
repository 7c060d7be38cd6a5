"""TLS towards the device: every handshake story that engine rooms know, and how it is told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
import warnings
from typing import Any

import pytest

from relayprobe.wire.events import Line, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.session import Session
from tests.conftest import need
from tests.device import hello


def one(session: Session, kind: type[Any]) -> Any:
    """The one event of its kind."""
    [event] = [event for event in session.events if isinstance(event, kind)]
    return event


def context(**attributes: Any) -> ssl.SSLContext:
    """A device's side that checks nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in attributes.items():
            setattr(made, name, value)
    return made


def line(device: socket.socket, text: bytes = b"") -> bytes:
    """Send a line, and take the reply."""
    if text:
        device.sendall(text + b"\r\n")
    return device.recv(65536)


def starttls(address: tuple[str, int], made: ssl.SSLContext, before: bytes = b"") -> None:
    """EHLO, STARTTLS, EHLO, QUIT."""
    with socket.create_connection(address, timeout=10) as raw:
        line(raw)
        line(raw, b"EHLO printer")
        line(raw, b"STARTTLS" + before)
        with made.wrap_socket(raw, server_hostname="printer.example") as device:
            line(device, b"EHLO printer")
            line(device, b"QUIT")


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
)
async def test_every_version_is_served(start: Any, version: ssl.TLSVersion) -> None:
    running = await start(pin="plain")
    made = context()
    made.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        made.maximum_version = version
    session = await running.play(starttls, running.address, made)
    up = one(session, TlsUp)
    assert up.version == {0x301: "TLSv1", 0x302: "TLSv1.1", 0x303: "TLSv1.2", 0x304: "TLSv1.3"}[version]
    assert one(session, TlsHello).hello.sni == "printer.example"
    assert [g.tls for g in session.greetings] == [False, True]
    assert "STARTTLS" not in session.greetings[1].offers
    assert session.closed.how == "quit"  # type: ignore[union-attr]


async def test_dhe_is_served(start: Any) -> None:
    running = await start(pin="plain")
    made = context(maximum_version=ssl.TLSVersion.TLSv1_2)
    made.set_ciphers("DHE-RSA-AES128-SHA:@SECLEVEL=0")
    assert one(await running.play(starttls, running.address, made), TlsUp).cipher == "DHE-RSA-AES128-SHA"


async def test_tls_on_connect_where_anything_may_come(start: Any) -> None:
    running = await start()

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw, context().wrap_socket(raw) as tls:
            assert line(tls).startswith(b"220 ")
            line(tls, b"EHLO camera")
            line(tls, b"QUIT")

    session = await running.play(device)
    assert one(session, TlsHello).moment == "on-connect"
    assert session.greetings[0].tls


async def test_tls_that_comes_too_late_is_explained_and_waited_for(start: Any) -> None:
    running = await start()

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            time.sleep(0.5)
            with contextlib.suppress(ssl.SSLError, OSError), context().wrap_socket(raw) as tls:
                assert line(tls).startswith(b"220 ")
                line(tls, b"QUIT")

    first = await running.play(device)
    assert one(first, TlsHello).moment == "late"
    assert one(first, TlsFailed).reason == "hello-after-banner"
    second = await running.play(device)
    assert one(second, TlsHello).moment == "on-connect"
    assert one(second, TlsUp)


async def test_clear_text_where_tls_is_pinned(start: Any) -> None:
    running = await start(pin="tls")

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            assert line(raw).startswith(b"220 ")
            line(raw, b"QUIT")

    session = await running.play(device)
    assert session.banner is not None
    assert session.pinned_to_tls


async def test_a_hello_in_one_segment_with_starttls(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context().wrap_bio(incoming, outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        with socket.create_connection(running.address, timeout=10) as raw:
            line(raw)
            raw.sendall(b"STARTTLS\r\n" + outgoing.read())
            reply = raw.recv(65536)
            while b"\r\n" not in reply:
                reply += raw.recv(65536)
            incoming.write(reply.partition(b"\r\n")[2])
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(raw.recv(65536))
            tls.write(b"QUIT\r\n")
            raw.sendall(outgoing.read())
            raw.recv(65536)

    session = await running.play(device)
    assert one(session, TlsUp)
    assert session.closed.how == "quit"  # type: ignore[union-attr]


async def test_commands_behind_starttls_are_thrown_away(start: Any) -> None:
    running = await start(pin="plain")
    session = await running.play(starttls, running.address, context(), b"\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<v@x>")
    assert one(session, TlsUp)
    assert [e.reply for e in session.envelopes] == [None]
    assert [e.ignored for e in session.events if isinstance(e, Line) and b"evil" in e.raw] == [True]


async def test_going_on_in_clear_after_starttls(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            for text in (b"", b"EHLO a", b"STARTTLS", b"EHLO a", b"MAIL FROM:<a@b>"):
                assert line(raw, text)[:1] == b"2"
            line(raw, b"QUIT")

    session = await running.play(device)
    assert one(session, TlsFailed).reason == "continued-in-clear"
    assert session.envelopes[0].reply is not None


async def test_a_second_starttls_is_refused(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            line(raw)
            line(raw, b"STARTTLS")
            with context().wrap_socket(raw) as tls:
                assert line(tls, b"STARTTLS").startswith(b"503 ")
                assert line(tls, b"EHLO a").startswith(b"250-")

    await running.play(device)


async def test_an_untrusted_certificate(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with contextlib.suppress(ssl.SSLCertVerificationError):
            starttls(running.address, ssl.create_default_context())

    failed = one(await running.play(device), TlsFailed)
    assert (failed.by, failed.reason, failed.alert) == ("client", "unknown-ca", 48)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (hello({"min": "ssl3", "max": "ssl3", "ciphers": "0035,002f,000a"}), "version"),
        (hello({"max": "1.2", "ciphers": "0005,0004"}), "no-shared-cipher"),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80" + bytes(34), ""),
    ],
    ids=["SSLv3", "RC4 only", "SSLv2"],
)
async def test_what_cannot_be_served_is_explained(start: Any, octets: bytes, reason: str) -> None:
    running = await start()

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            raw.sendall(octets)
            raw.recv(65536)

    session = await running.play(device)
    assert one(session, TlsHello).hello is not None
    assert reason in one(session, TlsFailed).reason


async def test_a_device_that_hangs_up_in_the_handshake(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> None:
        with socket.create_connection(running.address, timeout=10) as raw:
            line(raw)
            line(raw, b"STARTTLS")

    assert one(await running.play(device), TlsFailed).reason == "closed"


@pytest.mark.parametrize(
    "options", [[], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2"]], ids=["", "tls1", "tls1_2"]
)
async def test_openssl(start: Any, options: list[str]) -> None:
    running = await start(pin="plain")
    host, port = running.address
    command = [
        need("openssl"),
        "s_client",
        "-starttls",
        "smtp",
        "-crlf",
        "-quiet",
        "-connect",
        f"{host}:{port}",
        *options,
    ]

    def device() -> None:
        subprocess.run(command, input=b"EHLO a\nQUIT\n", capture_output=True, timeout=20, check=False)

    session = await running.play(device)
    assert one(session, TlsUp)
