"""`relayprobe relay` as a process of its own that is killed, stopped and started again on the same port and folder;
and devices that send numbered messages to it, each with a body whose digest is known."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from tests.clients.listening import COMMAND, PATIENCE, environment, relayprobe

SETTINGS = """
data = "{data}"
[listen]
on = ["127.0.0.1:{port}"]
[relay]
devices = ["127.0.0.1"]
retry = ["1s"]
[[route]]
name = "sink"
mode = "smart-host"
host = "127.0.0.1"
port = {upstream}
tls = "none"
{more}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class RelayProcess:
    """The relay, with a port that stays the same over restarts."""

    def __init__(self, folder: Path, upstream: int, *, more: str = "", data: Path | None = None) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.port = free_port()
        self.log = folder / "log"
        self.config = folder / "relayprobe.toml"
        self.config.touch(0o600)
        text = SETTINGS.format(data=self.data, port=self.port, upstream=upstream, more=more)
        self.config.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str, wait: bool = True) -> float:
        """Start it; seconds until it serves. `before`: a program that runs it."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            command = [*before, *COMMAND, "relay", "--quiet", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        if wait:
            self.wait_until_it_serves()
        return time.monotonic() - began

    def wait_until_it_serves(self, patience: float = 3 * PATIENCE) -> None:
        assert self.process is not None
        deadline = time.monotonic() + patience
        while True:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as one:
                    if one.recv(100).startswith(b"220 "):
                        return
            except OSError:
                pass
            time.sleep(0.01)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        assert self.process is not None
        return self.process.wait(3 * PATIENCE)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Whatever it is doing."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def queue(self, *arguments: str) -> list[dict[str, Any]]:
        done = relayprobe("queue", "list", "--json", "--config", self.config, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Message:
    """A message as it is written, without dots doubled."""

    id: str
    text: bytes
    digest: str  # of the body, SHA-256 in hex


def message(id: str, body: bytes) -> Message:
    head = (
        f"From: <scanner@contoso.com>\r\nTo: <anna@contoso.com>\r\nSubject: {id}\r\n"
        f"Date: Mon, 15 Jan 2024 10:00:00 +0000\r\nMessage-ID: <{id}@mfp01.contoso.com>\r\nX-Test-Id: {id}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return Message(id, head.encode() + body, hashlib.sha256(body).hexdigest())


def numbered(count: int, seed: int, prefix: str = "m", large: float = 0.005) -> list[Message]:
    """Messages with bodies of all kinds: dots, umlauts, a few of 200 KB."""
    chance = random.Random(seed)
    kinds = [".\r\n", "..\r\n", "Grüße aus dem Büro\r\n", "plain text of a line\r\n", "\r\n", ".dot and more\r\n"]
    made = []
    for number in range(count):
        lines = chance.choices(kinds, k=chance.randint(1, 40))
        if chance.random() < large:
            lines += [f"{chance.getrandbits(200):072d}\r\n" for _ in range(2800)]
        made.append(message(f"{prefix}{number}", "".join([f"{number}\r\n", *lines]).encode()))
    return made


@dataclass
class Told:
    """What senders were told: ids answered 250, and replies that refused, with how often each came."""

    accepted: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    sent_again: int = 0


class Device:
    """A device that speaks SMTP over a plain socket, as strictly as it can."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._socket.makefile("rb")
        try:
            if not (said := self.reply()).startswith(b"220"):
                raise ConnectionError(said.decode("latin-1"))
            self.say(b"EHLO mfp01.contoso.com")
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def reply(self) -> bytes:
        while True:
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("hung up")
            if line[3:4] != b"-":
                return line.rstrip()

    def say(self, line: bytes) -> bytes:
        self._socket.sendall(line + b"\r\n")
        return self.reply()

    def send(self, one: Message) -> str:
        """The last reply: 250, or the first refusal."""
        for line in (b"MAIL FROM:<scanner@contoso.com> BODY=8BITMIME", b"RCPT TO:<anna@contoso.com>", b"DATA"):
            said = self.say(line)
            if said[:1] not in b"23":
                return said.decode("latin-1")
        stuffed = one.text.replace(b"\r\n.", b"\r\n..")
        self._socket.sendall(stuffed + b".\r\n")
        return self.reply().decode("latin-1")


class Senders:
    """Devices that send messages at once, each some of them, again until each is accepted or `stop` is called."""

    def __init__(self, port: int, messages: Sequence[Message], devices: int = 8, on_one: int = 20) -> None:
        self.told = Told()
        self._port = port
        self._on_one = on_one
        self._stop = Event()
        self._lock = Lock()
        self._threads = [Thread(target=self._send, args=(messages[at::devices],)) for at in range(devices)]
        for thread in self._threads:
            thread.start()

    @property
    def at_work(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _send(self, messages: Sequence[Message]) -> None:
        left = list(messages)
        tried: set[str] = set()
        while left and not self._stop.is_set():
            try:
                with Device(self._port) as device:
                    for one in left[: self._on_one]:
                        with self._lock:
                            self.told.sent_again += one.id in tried
                        tried.add(one.id)
                        said = device.send(one)
                        with self._lock:
                            if said.startswith("250"):
                                self.told.accepted.add(one.id)
                            else:
                                self.told.refused[said] = self.told.refused.get(said, 0) + 1
                        if not said.startswith("250"):
                            break
                        left.remove(one)
                        if self._stop.is_set():
                            return
            except OSError:
                self._stop.wait(0.05)
