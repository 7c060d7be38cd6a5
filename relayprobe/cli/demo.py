"""`relayprobe demo`: a tour without a printer. Devices as they are met in offices hold their dialogues over real
sockets with a listener of this process, and what it says of them is shown as a user would see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import sys
import warnings
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import click

from relayprobe import logs
from relayprobe.capture.listener import Judged, Listener, Port
from relayprobe.capture.tls import own_certificate, server_context
from relayprobe.cli.listen import Screen, manner_of
from relayprobe.cli.options import common, language
from relayprobe.cli.terminal import Terminal
from relayprobe.settings import load
from relayprobe.store import Store
from relayprobe.tongue import said
from relayprobe.wire.message import trimmed

FOLDER = Path("relayprobe-demo")
USER, PASSWORD = "scanner@contoso.com", "Demo-password-1!"
SITE = {"site": {"domains": ["contoso.com"]}, "accounts": {USER: PASSWORD}}


@click.command("demo")
@common
def command(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Play nine devices, eight of them broken, against a listener, and show what is found.

    Takes a few seconds, sends nothing anywhere, and leaves a data folder to browse (relayprobe-demo, unless --data
    names another).
    """
    logs.set_up(level=40)
    asyncio.run(tour(data or FOLDER, Terminal(no_color)))


async def tour(folder: Path, terminal: Terminal) -> None:
    """Let every device send once."""
    tongue = language()
    store = Store.open(folder, trim=trimmed)
    try:
        tls = server_context(*own_certificate(folder, "relayprobe.local"))
        screen = Screen(terminal, tongue)
        done: asyncio.Queue[Judged] = asyncio.Queue()
        manner = manner_of(load(given=SITE))
        port = Port("127.0.0.1", 0)
        listener = Listener([port], manner, tls, store, folder, onlookers=(screen,), judged=done.put_nowait)
        await listener.start()
        findings: dict[str, list[str]] = {}
        for title, play in DEVICES.items():
            terminal.lines([("", ""), ("heading", f"##### {tongue(title)}"), ("", "")])
            await asyncio.to_thread(play, listener.ports[0].number)
            judged = await done.get()
            screen.judged(judged)
            findings[title] = [f.rule.id for f in judged.findings if f.severity != "note"]
        await listener.stop()
    finally:
        store.close()
    program = "relayprobe" if shutil.which("relayprobe") else sys.argv[0]
    terminal.line(("heading", tongue("What was found")))
    for title, found in findings.items():
        terminal.line(("error" if found else "good", f"  {tongue(title)}: {', '.join(found) or tongue('all is well')}"))
    terminal.lines(
        [
            ("", ""),
            ("heading", tongue("The sessions are kept in {folder}. Look around:", folder=folder)),
            ("fix", f"  {program} sessions --data {folder}"),
            ("fix", f"  {program} show last --data {folder}"),
            ("fix", f"  {program} diagnose --all --data {folder}"),
            ("fix", f"  {program} rules no-tls"),
        ]
    )


class Device:
    """A device's side of a connection: it says a line and reads the reply."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._replies = b""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def reply(self) -> str:
        """One reply, all its lines; empty when the listener has closed."""
        while True:
            lines = self._replies.split(b"\r\n")
            for at, line in enumerate(lines[:-1]):
                if line[3:4] != b"-":
                    self._replies = b"\r\n".join(lines[at + 1 :])
                    return line.decode("latin-1")
            data = self.socket.recv(65536)
            if not data:
                return ""
            self._replies += data

    def say(self, *lines: str, end: str = "\r\n") -> str:
        """Say lines one by one, and read a reply to each; the last is returned."""
        last = ""
        for line in lines:
            self.socket.sendall(line.encode() + end.encode())
            last = self.reply()
        return last

    def start_tls(self, oldest: bool = False, trust: bool = False) -> None:
        """STARTTLS and its handshake."""
        self.say("STARTTLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if trust else ssl.CERT_NONE
        if oldest:
            context.set_ciphers("AES128-SHA:AES256-SHA:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = ssl.TLSVersion.TLSv1
        self.socket = context.wrap_socket(self.socket)

    def login(self, password: str = PASSWORD) -> str:
        """AUTH LOGIN."""
        return self.say("AUTH LOGIN", b64encode(USER.encode()).decode(), b64encode(password.encode()).decode())

    def mail(
        self, sender: str = USER, recipient: str = "anna@contoso.com", header: str = USER, end: str = "\r\n"
    ) -> str:
        """A message."""
        self.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA")
        lines = [
            f"From: {header}",
            f"To: {recipient}",
            "Subject: Scan from the second floor",
            "Date: Mon, 15 Jan 2024 10:00:00 +0000",
            "Message-ID: <scan-1@mfp.contoso.com>",
            "",
            "The scan is attached.",
        ]
        return self.say("".join(line + end for line in lines) + ".")


def old_printer(port: int) -> None:
    """HELO, no TLS, no login, a sender from the factory."""
    with Device(port) as device:
        device.reply()
        device.say("HELO NPIF65E56")
        device.mail(sender="npif65e56@email.com", header="npif65e56@email.com")
        device.say("QUIT")


def tls10_scanner(port: int) -> None:
    """STARTTLS with TLS 1.0 at the most."""
    with Device(port) as device, contextlib.suppress(ssl.SSLError):
        device.reply()
        device.say("EHLO mfp01.contoso.com")
        device.start_tls(oldest=True)
        device.say("EHLO mfp01.contoso.com")
        device.login()
        device.mail()
        device.say("QUIT")


def camera_with_ssl(port: int) -> None:
    """TLS at once, as for port 465."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Device(port) as device, contextlib.suppress(ssl.SSLError):
        device.socket = context.wrap_socket(device.socket)
        device.reply()
        device.say("EHLO camera.contoso.com")
        device.login()
        device.mail()
        device.say("QUIT")


def scan_as_user(port: int) -> None:
    """Logs in as itself, and sends as whoever stands before it."""
    with Device(port) as device:
        device.reply()
        device.say("EHLO mfp02.contoso.com")
        device.start_tls()
        device.say("EHLO mfp02.contoso.com")
        device.login()
        device.mail(sender="seller1@contoso.com", header="Seller One <seller1@contoso.com>")
        device.say("QUIT")


def short_password(port: int) -> None:
    """A password field that is too short."""
    with Device(port) as device:
        device.reply()
        device.say("EHLO mfp03.contoso.com")
        device.start_tls()
        device.say("EHLO mfp03.contoso.com")
        device.login(PASSWORD[:15])
        device.say("QUIT")


def strict_nas(port: int) -> None:
    """Checks the certificate, and knows no root that signed it."""
    with Device(port) as device, contextlib.suppress(ssl.SSLError):
        device.reply()
        device.say("EHLO nas.contoso.com")
        device.start_tls(trust=True)


def report_program(port: int) -> None:
    """A program that writes line feeds alone, and a name with a trailing dot."""
    with Device(port) as device:
        device.reply()
        device.say("EHLO erp-server.")
        device.start_tls()
        device.say("EHLO erp-server.")
        device.login()
        device.mail(end="\n")
        device.say("QUIT")


def early_login(port: int) -> None:
    """A login in clear text, before TLS."""
    with Device(port) as device:
        device.reply()
        device.say("EHLO ups.contoso.com")
        device.login()
        device.mail()
        device.say("QUIT")


def good_device(port: int) -> None:
    """As it should be."""
    with Device(port) as device:
        device.reply()
        device.say("EHLO mfp04.contoso.com")
        device.start_tls()
        device.say("EHLO mfp04.contoso.com")
        device.login()
        device.mail()
        device.say("QUIT")


DEVICES: dict[str, Callable[[int], None]] = {
    said("An old printer without TLS or login"): old_printer,
    said("A scanner whose newest TLS is 1.0"): tls10_scanner,
    said('A camera set to "SSL" instead of STARTTLS'): camera_with_ssl,
    said("A copier that scans as the logged-in user"): scan_as_user,
    said("A copier that cuts the password at 15 characters"): short_password,
    said("A storage box that does not trust the certificate"): strict_nas,
    said("A report program with bare line feeds"): report_program,
    said("A UPS that logs in before TLS"): early_login,
    said("A device that is set up well"): good_device,
}
