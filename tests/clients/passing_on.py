"""`relayprobe relay` as it is run by people, and the imitation of Office 365 behind it: processes of their own, and
what the one has sent, read back from where the other keeps it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from relayprobe.dossier.judging import load
from relayprobe.report.mail import eml
from relayprobe.store import Archive, Mail, Spool, StoreError
from relayprobe.store.queue import Wanted
from tests.clients.listening import COMMAND, PASSWORD, PATIENCE, USER, Listening, environment, until

IMITATED = f"""
[site]
domains = ["contoso.com"]
[accounts]
"{USER}" = "{PASSWORD}"
[imitate]
messages_per_minute = 100000
connections = 100
[listen]
name = "{{name}}"
"""
"""Settings of an imitation that is in no hurry to refuse."""


@dataclass(frozen=True)
class Arrived:
    """A mail as an imitation took it."""

    session: str
    sender: str
    recipients: tuple[str, ...]
    text: bytes  # dots made single again
    raw: bytes  # as it crossed the wire, the end mark included
    login: str | None
    tls: bool


class Imitation(Listening):
    """`relayprobe listen --imitate MODE`, under a name of its own."""

    def __init__(self, folder: Path, mode: str, name: str = "office.test", more: str = "") -> None:
        super().__init__(folder, "--imitate", mode, "-q", settings=IMITATED.format(name=name) + more)

    @property
    def authority(self) -> Path:
        """The root of its certificate."""
        return self.data / "ca.pem"

    def arrived(self) -> list[Arrived]:
        """What it answered 250, the oldest session first."""
        found = []
        with contextlib.suppress(StoreError), Archive.open(self.data) as archive:
            for row in sorted(archive.sessions(), key=lambda row: row.started):
                session = load(archive, row, whole=True)
                for envelope in session.envelopes:
                    message = envelope.message
                    if message is None or message.reply is None or message.reply.code != 250:
                        continue
                    to = tuple(r.path.address for r in envelope.recipients if r.reply and r.reply.code == 250)
                    login = envelope.auth.user if envelope.auth and envelope.auth.accepted else None
                    text = eml(message.body.raw, message.body.end)
                    found.append(Arrived(row.id, envelope.sender, to, text, message.body.raw, login, envelope.tls))
        return found


class Relaying:
    """A relay process. `settings`: all of its configuration."""

    def __init__(self, folder: Path, settings: str, *options: str, place: str = "127.0.0.1:0") -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.out, self.err, self.config = folder / "stdout", folder / "stderr", folder / "relayprobe.toml"
        self.config.touch(0o600)
        self.config.write_text(settings)
        command = [*COMMAND, "relay", "--listen", place, "--data", str(self.data), "--config", str(self.config)]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*command, *options], stdout=out, stderr=err, env=environment())
        self.port = int(until(self._announced)[1])

    def _announced(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self.err.read_text()
        return re.search(r"listening +on=\S*:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", self.err.read_text()))

    def stop(self) -> None:
        """Ask it to end, and see that nothing went wrong in it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE * 2) == 0
            assert "Traceback" not in self.err.read_text()

    def mails(self) -> list[Mail]:
        """All that is in its spool, whatever became of it."""
        try:
            spool = Spool.open(self.data)
        except StoreError:
            return []
        try:
            return list(spool.mails(Wanted(("waiting", "sending", "held", "failed", "delivered", "dropped"))))
        finally:
            spool.close()

    def settled(self, count: int) -> list[Mail]:
        """The mails, once there are so many, and none of them waits or is being sent."""

        def done() -> list[Mail]:
            mails = self.mails()
            moving = any(mail.state in ("waiting", "sending") for mail in mails)
            return mails if len(mails) >= count and not moving else []

        found: list[Mail] = until(done)
        return found

    @property
    def peak(self) -> int:
        """The most memory that it has had, in KiB."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1])


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection from an address of this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
