"""Ways out of a relay that need more than a host: the MX record asked of a real name server, certificates on both
sides, and a way that leads back to where it began."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayprobe.capture.tls import own_certificate
from relayprobe.store import Mail, Spool
from tests.clients.listening import until
from tests.clients.passing_on import Imitation, Relaying
from tests.conftest import need
from tests.relay.test_mx import NameServer, serving

MX = "contoso-com.mail.protection.outlook.com"
TEXT = (
    b"From: a@contoso.com\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a>\r\nSubject: x\r\n\r\nhello\r\n"
)


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    """A name server on loopback: the MX host of contoso.com is this machine; the first one of two.test is dead."""
    server = NameServer({("contoso.com", "MX"): ["300", f"10 {MX}."], (MX, "A"): ["300", "127.0.0.1"]})
    server.records["fabrikam.com", "MX"] = ["300", "10 another.test."]
    server.records["another.test", "A"] = ["300", "127.0.0.1"]
    server.records["two.test", "MX"] = ["300", "10 dead.test.", f"20 {MX}."]
    server.records["dead.test", "A"] = ["300", "127.0.0.77"]
    with loop_beside() as loop:
        answering = serving(server)
        asyncio.run_coroutine_threadsafe(answering.__aenter__(), loop).result(20)
        yield server
        asyncio.run_coroutine_threadsafe(answering.__aexit__(None, None, None), loop).result(20)


@pytest.fixture(scope="module")
def mx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imitation]:
    one = Imitation(tmp_path_factory.mktemp("mx") / "mx", "direct-send", MX)
    yield one
    one.stop()


def send(relay: Relaying, to: str = "anna@contoso.com", sender: str = "a@contoso.com", text: bytes = TEXT) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, "mfp01", timeout=20) as smtp:
        smtp.sendmail(sender, [to], text)


def last_attempt(relay: Relaying, mail: Mail) -> str:
    spool = Spool.open(relay.data)
    try:
        return next((one.reply or "" for one in reversed(spool.attempts(mail.id))), "")
    finally:
        spool.close()


def waiting(relay: Relaying, recipient: str) -> Mail:
    """The mail to somebody, once an attempt has failed."""

    def tried() -> Mail | None:
        found = [mail for mail in relay.mails() if mail.recipients[0].address == recipient]
        return found[0] if found and found[0].attempts and found[0].state != "sending" and found[0].why else None

    mail: Mail = until(tried)
    return mail


def route(name: str, *keys: str, mode: str = "direct-send", to: str) -> str:
    return "\n".join(["[[route]]", f'name = "{name}"', f'mode = "{mode}"', f'recipients = ["{to}"]', *keys]) + "\n"


HEAD = '[site]\ndomains = ["contoso.com"]\n[relay]\ndevices = ["127.0.0.1"]\nretry = ["1s"]\n'


def test_the_mx_host_is_looked_up_and_has_to_prove_its_name(names: NameServer, mx: Imitation, tmp_path: Path) -> None:
    at = (f"port = {mx.port}", f'resolver = "127.0.0.1:{names.port}"')
    root = f'ca_file = "{mx.authority}"'
    settings = HEAD + "".join(
        [
            route("mx", 'domain = "contoso.com"', root, *at, to="anna@contoso.com"),
            route("second", 'domain = "two.test"', root, *at, to="second@contoso.com"),
            route("name", 'domain = "fabrikam.com"', root, *at, to="name@contoso.com"),
            route("told", 'domain = "fabrikam.com"', root, f'tls_name = "{MX}"', *at, to="told@contoso.com"),
            route("root", 'domain = "contoso.com"', *at, to="root@contoso.com"),
            route("nowhere", 'domain = "nowhere.test"', root, *at, to="nowhere@contoso.com"),
        ]
    )
    relay = Relaying(tmp_path / "relay", settings)
    for name in ("anna", "second", "name", "told", "root", "nowhere"):
        send(relay, f"{name}@contoso.com")
    good = {"anna@contoso.com", "told@contoso.com", "second@contoso.com"}
    arrived = until(lambda: (a := mx.arrived())[len(good) - 1 :] and a)
    assert {to for one in arrived for to in one.recipients} == good
    assert all(one.tls and one.login is None for one in arrived)
    assert ("contoso.com", "MX") in names.asked
    name = waiting(relay, "name@contoso.com")
    assert "another.test" in (name.why or ""), name.why
    assert "certificate" in (name.why or "").lower()
    assert "certificate" in (waiting(relay, "root@contoso.com").why or "").lower()
    nowhere = waiting(relay, "nowhere@contoso.com")
    assert "nowhere.test does not exist in DNS" in (nowhere.why or "")
    assert {mail.state for mail in relay.mails() if mail.recipients[0].address not in good} <= {"waiting", "held"}
    assert {to for one in mx.arrived() for to in one.recipients} == good
    relay.stop()


def test_a_server_without_starttls_gets_nothing(names: NameServer, tmp_path: Path) -> None:
    """A server that offers no TLS, as behind a firewall that strips it: the mail waits, and says why."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.test ESMTP\r\n")
        while line := await reader.readline():
            heard.append(line)
            writer.write(b"250-mx.test\r\n250 SIZE 1000000\r\n" if line[:4] == b"EHLO" else b"250 ok\r\n")
        writer.close()

    with loop_beside() as loop:
        starting = asyncio.start_server(answer, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(20)
        at = (f"port = {server.sockets[0].getsockname()[1]}", f'resolver = "127.0.0.1:{names.port}"')
        relay = Relaying(tmp_path / "relay", HEAD + route("mx", 'domain = "contoso.com"', *at, to="anna@contoso.com"))
        send(relay)
        mail = waiting(relay, "anna@contoso.com")
        assert "offers no TLS" in (mail.why or ""), mail.why
        assert mail.state == "waiting"
        relay.stop()
        loop.call_soon_threadsafe(server.close)
    assert {line[:4] for line in heard} == {b"EHLO", b"QUIT"}


def test_a_way_that_leads_back_ends_and_nothing_multiplies(tmp_path: Path) -> None:
    """The administrator is told by mail, which goes in the same circle: that too ends, and nobody is told of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = route("self", 'host = "127.0.0.1"', f"port = {port}", 'tls = "none"', mode="smart-host", to="*@contoso.com")
    told = f'[listen]\non = ["127.0.0.1:{port}"]\n[relay.notify]\nmail = ["admin@contoso.com"]\n'
    relay = Relaying(tmp_path / "relay", HEAD + told + here, place=f"plain://127.0.0.1:{port}")
    assert "where that is relayprobe's own port, mail goes in a circle" in relay.err.read_text()
    send(relay)

    # The mail, the report of it and the notice: each is sent, comes back once, and is refused the second time.
    mails = relay.settled(6)
    assert [mail.state for mail in mails].count("delivered") == 3
    refused = [mail for mail in mails if mail.state == "failed"]
    assert len(refused) == 3
    assert all(mail.recipients[0].reply.startswith("554 5.4.6 ") for mail in refused if mail.recipients[0].reply)
    until(lambda: relay.err.read_text().count("mail of our own has come back") == 2)
    send(relay, "anna@contoso.com", "", TEXT)  # an empty sender is told of, but not to itself
    later = relay.settled(8)
    assert len([mail for mail in later if mail.kind != "device"]) <= 4
    relay.stop()
    assert len(relay.mails()) <= 12


@pytest.mark.parametrize(("hops", "line_end", "taken"), [(50, b"\r\n", True), (51, b"\r\n", False), (60, b"\n", False)])
def test_a_mail_that_has_come_through_too_many_servers(
    hops: int, line_end: bytes, taken: bool, circle: Relaying
) -> None:
    trace = b"Received: from a by b with SMTP id 1;\r\n Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    text = (trace * hops + TEXT).replace(b"\r\n", line_end)
    with socket.create_connection(("127.0.0.1", circle.port), timeout=20) as device, device.makefile("rb") as replies:
        device.sendall(b"HELO a\r\nMAIL FROM:<a@contoso.com>\r\nRCPT TO:<anna@contoso.com>\r\nDATA\r\n" + text)
        device.sendall(b"\r\n.\r\n")
        said = [replies.readline() for _ in range(6)][-1]
    assert said.startswith(b"250 " if taken else b"554 5.4.6 "), said


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    """A relay whose mail goes nowhere."""
    nowhere = route("out", 'host = "127.0.0.1"', "port = 9", 'tls = "none"', mode="smart-host", to="*@contoso.com")
    relay = Relaying(tmp_path_factory.mktemp("circle") / "relay", HEAD + nowhere, place="plain://127.0.0.1:0")
    yield relay
    relay.stop()


@pytest.mark.parametrize("ours", [True, False])
def test_a_connector_that_goes_by_a_certificate(ours: bool, tmp_path: Path) -> None:
    """The server asks for a certificate, and takes mail from the one that it knows alone."""
    (tmp_path / "server").mkdir()
    (tmp_path / "relay").mkdir()
    own_certificate(tmp_path / "server", MX)
    made = ["-keyout", str(tmp_path / "relay" / "key.pem"), "-out", str(tmp_path / "relay" / "cert.pem")]
    ask = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]
    subprocess.run([*ask, "/CN=relay.contoso.com", *made], check=True, capture_output=True)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(tmp_path / "server" / "cert.pem", tmp_path / "server" / "key.pem")
    secured.load_verify_locations(tmp_path / "relay" / "cert.pem")
    secured.verify_mode = ssl.CERT_REQUIRED
    met: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer.get_extra_info("peercert")["subject"][0][0][1])
        writer.write(b"220 mx.test ESMTP\r\n")
        text = False
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                text = (text or line == b"DATA\r\n") and line != b".\r\n"
                if line == b"DATA\r\n":
                    writer.write(b"354 go on\r\n")
                elif not text:
                    writer.write(b"250 2.0.0 OK\r\n")
        writer.close()

    with loop_beside() as loop:
        starting = asyncio.start_server(answer, "127.0.0.1", 0, ssl=secured)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(20)
        at = (
            'host = "127.0.0.1"',
            f"port = {server.sockets[0].getsockname()[1]}",
            f'tls = "implicit"\ntls_name = "{MX}"\nca_file = "{tmp_path}/server/ca.pem"',
        )
        own = f'client_certificate = "{tmp_path}/relay/cert.pem"\nclient_key = "{tmp_path}/relay/key.pem"'
        keys = (*at, own) if ours else at
        settings = HEAD + route("connector", *keys, mode="connector", to="anna@contoso.com")
        relay = Relaying(tmp_path / "way", settings, place="plain://127.0.0.1:0")
        send(relay)
        if ours:
            [mail] = relay.settled(1)
            assert (mail.state, met) == ("delivered", ["relay.contoso.com"])
        else:
            mail = waiting(relay, "anna@contoso.com")
            assert mail.state == "waiting"
            assert met == []
        relay.stop()
        loop.call_soon_threadsafe(server.close)


@contextlib.contextmanager
def loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
