"""No stranger sends through a relay: nmap's test for open relays, the address tricks over a real socket, logins that
are wrong, and what a device says it is. Nothing of theirs is spooled."""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayprobe.relay.logins import hashed
from tests.clients.passing_on import Relaying, connected
from tests.clients.programs import context
from tests.conftest import need
from tests.relay.test_permitted import NMAP, TRICKS

NOWHERE = '[[route]]\nname = "out"\nmode = "smart-host"\nhost = "127.0.0.1"\nport = 9\ntls = "none"\n'
LOGIN, SECRET = "printer", "Another-Passw0rd"
VICTIM = b"<relaytest@victim.example>"


@pytest.fixture(scope="module")
def by_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    """The device may send, but only to the inside."""
    settings = f"""
[site]
domains = ["contoso.com"]
[relay]
devices = ["127.0.0.1", "10.0.0.0/8"]
recipients = ["*@contoso.com"]
{NOWHERE}"""
    relay = Relaying(tmp_path_factory.mktemp("by-address") / "relay", settings, place="plain://127.0.0.1:0")
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def of_another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    """One device may, to anybody."""
    settings = f'[relay]\ndevices = ["127.0.0.2"]\n{NOWHERE}'
    relay = Relaying(tmp_path_factory.mktemp("of-another") / "relay", settings, place="plain://127.0.0.1:0")
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def by_login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    settings = f"""
[relay]
devices = ["{LOGIN}"]
[relay.logins]
"{LOGIN}" = "{hashed(SECRET)}"
"other" = "{hashed(SECRET)}"
{NOWHERE}"""
    relay = Relaying(tmp_path_factory.mktemp("by-login") / "relay", settings, place="plain://127.0.0.1:0")
    yield relay
    relay.stop()


class Device:
    """Says lines, and hears what each is answered."""

    def __init__(self, relay: Relaying, source: str, greeting: bytes = b"EHLO mail.victim.example") -> None:
        self.socket = connected(relay.port, source)
        self.replies = self.socket.makefile("rb")
        self._heard()
        if greeting:
            self.say(greeting)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.replies.close()
        self.socket.close()

    def say(self, line: bytes) -> bytes:
        """The last line of the reply."""
        self.socket.sendall(line + b"\r\n")
        return self._heard()

    def _heard(self) -> bytes:
        while (line := self.replies.readline())[3:4] == b"-":
            pass
        return line

    def tries(self, to: bytes = VICTIM, sender: bytes = b"<antispam@victim.example>") -> list[bytes]:
        """What it is answered when it tries to send."""
        return [self.say(line) for line in (b"MAIL FROM:" + sender, b"RCPT TO:" + to, b"DATA")]


def refused(said: list[bytes]) -> bool:
    return any(line[:1] == b"5" for line in said[:2]) and said[2][:1] == b"5"


def nmap(relay: Relaying) -> str:
    """What nmap, which asks from 127.0.0.1, finds of the relay."""
    what = ["-n", "-Pn", "-sT", "-vv", "-p", str(relay.port), "--script", "+smtp-open-relay", "127.0.0.1"]
    told = ["--script-args", "smtp-open-relay.domain=victim.example,smtp-open-relay.ip=192.0.2.1"]
    done = subprocess.run([need("nmap"), *what, *told], capture_output=True, timeout=120, check=True, text=True)
    assert "Starting Nmap" in done.stdout
    return done.stdout


@pytest.mark.parametrize("which", ["by_address", "by_login", "of_another"])
def test_nmap_finds_no_open_relay(which: str, request: pytest.FixtureRequest) -> None:
    """Asked by a device that is listed, where recipients are, and by one that is not, where they are not."""
    relay: Relaying = request.getfixturevalue(which)
    said = nmap(relay)
    assert "smtp-open-relay" in said, said
    assert not re.search(r"open relay \(\d+/16 tests\)", said), said
    assert relay.mails() == []


def test_nobody_but_the_device_that_is_named_may_send(of_another: Relaying) -> None:
    with Device(of_another, "127.0.0.2") as named:
        assert [line[:3] for line in named.tries()] == [b"250", b"250", b"354"]
    for source in ("127.0.0.1", "127.0.0.3", "127.0.0.20", "127.0.2.0"):
        with Device(of_another, source) as stranger:
            said = stranger.tries()
            assert refused(said), said
            assert b"list of devices" in said[0], said
            assert refused(stranger.tries(b"<anna@contoso.com>", b"<>"))
    assert of_another.mails() == []


def test_it_is_the_same_inside_tls_and_after_any_login(of_another: Relaying) -> None:
    with smtplib.SMTP("127.0.0.1", of_another.port, "mfp01", timeout=20) as stranger:
        stranger.starttls(context=context())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            stranger.login("scanner@contoso.com", "whatever")
        with pytest.raises(smtplib.SMTPSenderRefused) as no:
            stranger.sendmail("anna@contoso.com", ["relaytest@victim.example"], "hello")
    assert no.value.smtp_code == 550
    assert of_another.mails() == []


TOLD = [
    b"XCLIENT ADDR=127.0.0.2 NAME=mfp01.contoso.com",
    b"XCLIENT LOGIN=printer",
    b"XFORWARD ADDR=127.0.0.2",
    b"PROXY TCP4 127.0.0.2 127.0.0.1 40000 25",
    b"EHLO [127.0.0.2]",
    b"HELO 127.0.0.2",
]


@pytest.mark.parametrize("line", TOLD)
def test_a_device_is_who_it_is_and_not_who_it_says(line: bytes, of_another: Relaying) -> None:
    for greeting in (b"EHLO mfp01", b""):  # also as the first thing that is said
        with Device(of_another, "127.0.0.1", greeting) as stranger:
            stranger.socket.sendall(line + b"\r\n")
            stranger.say(b"NOOP")  # whether the line was answered or passed over
            said = stranger.tries()
            assert not any(reply.startswith((b"250 2.1.0", b"354")) for reply in said), said
    with socket.create_connection(("127.0.0.1", of_another.port), timeout=20) as stranger:
        address = b"\x7f\0\0\2" + b"\x7f\0\0\1" + b"\x9c\x40\0\x19"
        stranger.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + address + b"EHLO a\r\nMAIL FROM:<a@b.example>\r\n")
        stranger.shutdown(socket.SHUT_WR)
        heard = b"".join(iter(lambda: stranger.recv(4096), b""))
    assert b"250 2.1.0" not in heard
    assert of_another.mails() == []


def test_tricks_with_addresses_are_refused_over_the_wire(by_address: Relaying) -> None:
    """From a device that may send, to recipients that it may not write to."""
    for address in dict.fromkeys([*NMAP, *TRICKS]):
        raw = address.encode()
        if b"\n" in raw:
            continue  # two commands, of which the second stands in the list by itself
        for to in (b"<" + raw + b">", raw, b'"x" <' + raw + b">", b"<anna@contoso.com> <" + raw + b">"):
            with Device(by_address, "127.0.0.1") as device:
                device.say(b"MAIL FROM:<scanner@contoso.com>")
                said = device.say(b"RCPT TO:" + to)
                if said[:1] == b"2":  # a device's slip that was put right
                    assert device.say(b"DATA")[:3] == b"354"
                    device.say(b"hello\r\n.")
    for mail in by_address.mails():
        for one in mail.recipients:
            assert re.fullmatch(r"[a-z.]+@contoso\.com", one.address), one


def login(device: Device, user: str, password: str) -> bytes:
    words = base64.b64encode(f"\0{user}\0{password}".encode())
    return device.say(b"AUTH PLAIN " + words)


def test_a_login_opens_the_relay_only_where_it_is_right_and_named(by_login: Relaying) -> None:
    with Device(by_login, "127.0.0.1") as device:
        said = device.tries()
        assert said[0].startswith(b"530 5.7.0"), said
        assert refused(said)
    for user, password in ((LOGIN, "wrong"), (LOGIN, ""), ("", ""), ("nobody", SECRET), (f"{LOGIN}@x", SECRET)):
        with Device(by_login, "127.0.0.2") as device:
            assert login(device, user, password).startswith(b"5"), user
            assert refused(device.tries()), user
    with Device(by_login, "127.0.0.3") as device:  # its password is right, but it is not in the list of devices
        assert login(device, "other", SECRET).startswith(b"235")
        assert refused(device.tries())
        login(device, LOGIN, "wrong")  # nor does it become another by trying
        assert refused(device.tries())
    with Device(by_login, "127.0.0.4") as device:
        assert login(device, LOGIN, SECRET).startswith(b"235")
        assert [line[:3] for line in device.tries()] == [b"250", b"250", b"354"]
    with smtplib.SMTP("127.0.0.1", by_login.port, "mfp01", timeout=20, source_address=("127.0.0.5", 0)) as device:
        device.login(LOGIN, SECRET)
        device.starttls(context=context())  # RFC 3207 4.2: what went before is forgotten
        with pytest.raises(smtplib.SMTPSenderRefused):
            device.sendmail("anna@contoso.com", ["relaytest@victim.example"], "hello")
    assert by_login.mails() == []
    assert SECRET not in by_login.err.read_text() + by_login.out.read_text()


def test_ipv6_is_not_ipv4(tmp_path: Path) -> None:
    """::1 against a list of IPv4 addresses."""
    settings = f'[relay]\ndevices = ["127.0.0.1"]\n{NOWHERE}'
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    relay = Relaying(tmp_path / "relay", settings, place="plain://[::1]:0")
    with socket.create_connection(("::1", relay.port), timeout=20) as device, device.makefile("rb") as replies:
        replies.readline()
        device.sendall(b"HELO a\r\nMAIL FROM:<a@contoso.com>\r\n")
        replies.readline()
        assert replies.readline().startswith(b"550 5.7.1 [::1] may not send")
    relay.stop()
    assert relay.mails() == []


def test_who_was_refused_is_not_written_to(tmp_path: Path) -> None:
    """A device sends once more to a recipient that was one too many, who would get the mail twice."""
    settings = f'[limits]\nrecipients = 3\n[relay]\ndevices = ["127.0.0.1"]\n{NOWHERE}'
    relay = Relaying(tmp_path / "relay", settings, place="plain://127.0.0.1:0")
    with Device(relay, "127.0.0.1") as device:
        device.say(b"MAIL FROM:<a@contoso.com>")
        said = [device.say(b"RCPT TO:<%s@contoso.com>" % name) for name in (b"anna", b"anna", b"Anna", b"bert")]
        assert [line[:3] for line in said] == [b"250", b"250", b"250", b"452"]
        device.say(b"RCPT TO:<a@contoso.com, b@contoso.com, c@contoso.com, d@contoso.com>")
        device.say(b"DATA")
        assert device.say(b"hello\r\n.").startswith(b"250")
        device.say(b"MAIL FROM:<a@contoso.com>")
        said = [device.say(b"RCPT TO:<" + name + b"@contoso.com>") for name in ("ännä".encode(), b"carl")]
        assert said[0].startswith(b"553 5.6.7 "), said
        device.say(b"RSET")
        assert device.say(b"DATA").startswith(b"503")
    assert [[one.address for one in mail.recipients] for mail in relay.mails()] == [
        ["anna@contoso.com", "Anna@contoso.com"]
    ]
    relay.stop()
