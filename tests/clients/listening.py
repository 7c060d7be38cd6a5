"""`relayprobe listen` as it is run by people: a process of its own, with a data folder, settings, and a way to stop it.

Every process is run with warnings as errors, and nothing of this machine's environment but PATH.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relayprobe.store import Archive, Row, StoreError

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "relayprobe"]
PATIENCE = 20.0  # seconds after which a test gives up

USER, PASSWORD = "scanner@contoso.com", "Marker-Of-Passw0rd!"
SETTINGS = f"""
[site]
domains = ["contoso.com"]
[accounts]
"{USER}" = "{PASSWORD}"
"""


def environment(**more: str) -> dict[str, str]:
    own = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    return own | {"RELAYPROBE_NO_WEB": "1"} | more  # the tests of the page ask for it


def relayprobe(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, env=environment(**more), timeout=60, check=False
    )


def until(there: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What is given back as soon as it is something."""
    deadline = time.monotonic() + patience
    while not (found := there()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


class Listening:
    """A listener that runs on a port of its own."""

    def __init__(
        self, folder: Path, *options: str, settings: str = SETTINGS, place: str = "127.0.0.1:0", **more: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.out, self.err = folder / "stdout", folder / "stderr"
        config = folder / "relayprobe.toml"
        config.touch(0o600)
        config.write_text(settings)
        command = [*COMMAND, "listen", "--listen", place, "--data", str(self.data), "--config", str(config)]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*command, *options], stdout=out, stderr=err, env=environment(**more))
        self.port = int(until(self._announced)[1])

    def _announced(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self.err.read_text()
        said = "".join(path.read_text() for path in (self.err, *self.err.parent.glob("*.log")))
        told = [line for line in said.splitlines() if "listening" in line]
        return re.search(r"127\.0\.0\.1:(\d+)", told[0]) if told else None

    def stop(self) -> None:
        """Ask it to end, and see that all is in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0
            assert "Traceback" not in self.err.read_text()

    def kill(self) -> None:
        """As the kernel does where memory is short."""
        self.process.kill()
        self.process.wait()

    def run(self, verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run a reading command on its folder."""
        return relayprobe(verb, "--data", self.data, *arguments)

    def ended(self, count: int = 1) -> list[Row]:
        """The sessions, newest first, once so many have ended."""

        def rows() -> list[Row]:
            try:
                with Archive.open(self.data) as archive:
                    found = [row for row in archive.sessions() if row.ended is not None]
            except StoreError:  # nothing is there yet
                return []
            return found if len(found) >= count else []

        found: list[Row] = until(rows)
        return found

    def last(self) -> dict[str, Any]:
        """`show last --json`, of a session that has ended."""
        self.ended()
        shown = self.run("show", "last", "--json")
        assert (shown.returncode, shown.stderr) == (0, b"")
        report: dict[str, Any] = json.loads(shown.stdout)
        return report
