"""`relayprobe relay` as it is run by people, and the mail server behind it, which answers as a test wants."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relayprobe.dossier.objects import mail_object, whole_object
from relayprobe.store import Spool
from relayprobe.store.mail import QUEUED, State
from relayprobe.store.queue import Wanted
from tests.clients.listening import COMMAND, PATIENCE, environment, relayprobe, until

MAIL = "From: <{sender}>\r\nTo: <anna@contoso.test>\r\nSubject: scan\r\n\r\nThe text.\r\n"


class Relaying:
    """A relay that runs on a port of its own. `settings`: the file, which `change` writes anew."""

    def __init__(self, folder: Path, settings: str, *options: str, json_log: bool = True, **more: str) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.config = folder / "relayprobe.toml"
        self.out, self.err = folder / "stdout", folder / "stderr"
        self.change(settings)
        self._options = [*options, *(["--log-format", "json"] if json_log else [])]
        self._more = more
        self.start()

    def start(self) -> None:
        command = [*COMMAND, "relay", "--listen", "127.0.0.1:0", "--data", self.data, "--config", self.config]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*map(str, command), *self._options], stdout=out, stderr=err, env=environment(**self._more)
            )
        try:
            self.port = int(until(self._announced)[1])
        except BaseException:
            self.kill()
            raise

    def change(self, settings: str) -> None:
        self.config.touch(0o600)
        self.config.write_text(settings)

    def _announced(self) -> re.Match[str] | None:
        said = self.err.read_text()
        assert self.process.poll() is None, said
        listening = [line for line in said.splitlines() if "listening" in line]
        return re.search(r"127\.0\.0\.1:(\d+)", listening[0]) if listening else None

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, as JSON."""
        lines = []
        for line in self.err.read_text().splitlines():
            if line.startswith("{"):
                try:
                    lines.append(json.loads(line))
                except ValueError:  # it is being written
                    continue
        return lines

    def logged(self, event: str, **fields: Any) -> dict[str, Any]:
        """A line of the log, once it is there."""

        def there() -> dict[str, Any] | None:
            return next(
                (
                    one
                    for one in self.log()
                    if re.search(event, one.get("event", "")) and all(one.get(k) == v for k, v in fields.items())
                ),
                None,
            )

        found: dict[str, Any] = until(there)
        return found

    def reload(self, settings: str | None = None) -> None:
        """Have it read its settings anew, and wait until it has."""
        if settings is not None:
            self.change(settings)
        before = self._read_anew()
        assert self.run("reload").returncode == 0
        until(lambda: self._read_anew() > before)

    def _read_anew(self) -> int:
        words = ("the configuration was read anew", "the configuration was not taken", "the data folder cannot change")
        return sum(any(word in one.get("event", "") for word in words) for one in self.log())

    def run(self, verb: str, *arguments: str | Path, configured: bool = True) -> subprocess.CompletedProcess[bytes]:
        """A command on its folder."""
        words = verb.split()
        config = ["--config", self.config] if configured else []
        return relayprobe(*words, "--data", self.data, *config, *arguments)

    def queue(self, *states: State) -> list[dict[str, Any]]:
        """The queue, as `queue list --json` has it."""
        with closing(Spool.open(self.data)) as spool:
            mails = list(spool.mails(Wanted(states or QUEUED)))
            return [mail_object(mail, spool.last_reply(mail.id)) for mail in mails]

    def mail(self, id: str = "last") -> dict[str, Any]:
        """A mail, as `queue show --json` has it."""
        with closing(Spool.open(self.data)) as spool:
            return whole_object(spool, spool.find(id))

    def until_mail(self, state: str, id: str = "last") -> dict[str, Any]:
        """A mail, once it is in this state."""
        found: dict[str, Any] = until(lambda: one if (one := self.mail(id))["state"] == state else None)
        return found

    def device(self) -> smtplib.SMTP:
        """A device that has connected."""
        device = smtplib.SMTP("127.0.0.1", self.port, local_hostname="scanner", timeout=PATIENCE)
        device.ehlo()
        return device

    def send(
        self, *recipients: str, sender: str = "scanner@contoso.test", text: str = MAIL, source: str = "127.0.0.1"
    ) -> tuple[int, bytes]:
        """Send one mail; the reply to its text, or the refusal before it."""
        with smtplib.SMTP(
            "127.0.0.1", self.port, local_hostname="scanner", timeout=PATIENCE, source_address=(source, 0)
        ) as device:
            device.ehlo()
            for code, reply in (
                device.mail(sender),
                *(device.rcpt(one) for one in recipients or ("anna@contoso.test",)),
            ):
                if code >= 400:
                    return code, reply
            return device.data(text.format(sender=sender))

    def stop(self) -> None:
        """Ask it to end, and see that all is in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.err.read_text()
        assert "Traceback" not in self.err.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.stop()
        else:
            self.kill()


class OtherSide:
    """A mail server on loopback. `answers`: by command (banner, EHLO, MAIL, RCPT, DATA, `.`), what is answered in
    place of 250; by `RCPT address` for one recipient. The answer `stall` keeps it waiting until
    `release`, `close` hangs up; `slow` waits likewise, and then takes it."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.connections = 0
        self.stalled = threading.Event()
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.side = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def route(self, name: str = "out", more: str = "") -> str:
        """The [[route]] that leads here."""
        return (
            f'[[route]]\nname = "{name}"\nmode = "smart-host"\nhost = "127.0.0.1"\nport = {self.port}\n'
            f'tls = "none"\n{more}\n'
        )

    def stall(self) -> None:
        self.stalled.set()
        self._released.wait(PATIENCE * 2)

    def release(self) -> None:
        self._released.set()

    def arrived(self, count: int = 1) -> list[tuple[str, list[str], bytes]]:
        """The mails, once so many are there."""
        found: list[tuple[str, list[str], bytes]] = until(lambda: self.mails if len(self.mails) >= count else None)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    side: OtherSide


class _Session(socketserver.StreamRequestHandler):
    server: _Server
    timeout = PATIENCE * 3

    def handle(self) -> None:
        self.server.side.connections += 1
        with suppress(OSError, _HungUp):
            self._talk()

    def _talk(self) -> None:
        self._say("banner", "220 other side ready")
        sender, recipients = "", list[str]()
        while line := self.rfile.readline():
            verb = line.split(b" ")[0].strip().upper().decode()
            match verb:
                case "EHLO":
                    self._say("EHLO", "250-other side\r\n250-8BITMIME\r\n250 SIZE 100000000")
                case "MAIL":
                    sender, recipients = _address(line), []
                    self._say("MAIL", "250 2.1.0 ok")
                case "RCPT":
                    answer = self._answer(f"RCPT {_address(line)}", self._answer("RCPT", "250 2.1.5 ok"))
                    if answer[:1] == "2":
                        recipients.append(_address(line))
                    self._send(answer)
                case "DATA":
                    if self._say("DATA", "354 go on")[:1] == "3":
                        text = self._text()
                        if self._say(".", "250 2.0.0 kept as 4711 [Hostname=OTHER]")[:1] == "2":
                            self.server.side.mails.append((sender, recipients, text))
                case "QUIT":
                    return self._send("221 bye")
                case _:
                    self._send("250 ok")

    def _text(self) -> bytes:
        text = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise _HungUp
            text += line.removeprefix(b".") if line.startswith(b"..") else line
        return text

    def _answer(self, what: str, usual: str) -> str:
        return self.server.side.answers.get(what, usual)

    def _say(self, what: str, usual: str) -> str:
        answer = self._answer(what, usual)
        self._send(answer)
        return "250" if answer == "slow" else answer

    def _send(self, answer: str) -> None:
        if answer == "slow":
            self.server.side.stall()
            answer = "250 2.0.0 ok, at last"
        if answer == "stall":
            self.server.side.stall()
            raise _HungUp
        if answer == "close":
            raise _HungUp
        self.wfile.write(answer.encode() + b"\r\n")


class _HungUp(Exception):
    pass


def _address(line: bytes) -> str:
    found = re.search(rb"<([^>]*)>", line)
    return found[1].decode() if found else ""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(check: Callable[[], Any]) -> Any:
    """As `until`, for what raises AssertionError before it is so."""

    def there() -> bool:
        try:
            check()
        except AssertionError:
            return False
        return True

    return until(there)
