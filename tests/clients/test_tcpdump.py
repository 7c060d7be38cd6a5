"""tcpdump captures what mail programs and a listener say to each other: `diagnose` finds in the capture what the
listener found, as far as it went in clear text, and says what it cannot see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relayprobe.wire.pcap import Capture
from tests.clients import programs
from tests.clients.listening import PASSWORD, Listening, relayprobe, until
from tests.clients.programs import Program, Sending, Tls
from tests.conftest import absent, need

HIDDEN = "cannot be read here"


@dataclass
class Tcpdump:
    """A capture that runs on loopback."""

    file: Path
    port: int

    def __post_init__(self) -> None:
        said = self.file.with_suffix(".err")
        command = [need("tcpdump"), "-i", "lo", "-n", "-U", "--immediate-mode", "-Z", "root", "-w", str(self.file)]
        with said.open("wb") as err:
            self.process = subprocess.Popen([*command, "port", str(self.port)], stderr=err)
        until(lambda: "listening on" in said.read_text())

    def stop(self) -> None:
        """End it, once the connection and its end are in the file."""
        until(self._has_all)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    def _has_all(self) -> bool:
        with self.file.open("rb") as file:
            return any(type(found.events[-1]).__name__ == "Closed" for found in Capture(file, (self.port,)))


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[Any]:
    """Starts captures: `capture(port)`."""
    if os.geteuid() != 0:
        absent("tcpdump's right to capture (root)")
    begun: list[Tcpdump] = []

    def begin(port: int) -> Tcpdump:
        begun.append(Tcpdump(tmp_path / "capture.pcap", port))
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.process.wait()


def diagnosed(file: Path, listening: Listening) -> dict[str, Any]:
    config = listening.data.parent / "relayprobe.toml"
    done = relayprobe("diagnose", file, "--json", "--port", str(listening.port), "--config", config)
    assert done.stderr == b""
    assert PASSWORD.encode() not in done.stdout
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def serious(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(f["rule"], f["severity"]) for f in report["findings"] if f["severity"] != "note"}


def lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What was said in clear text."""
    events = report["session"]["events"]
    return [(e["kind"], e["raw"]) for e in events if "raw" in e and not e.get("tls") and e["kind"] != "tls-hello"]


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("program", [programs.swaks, programs.python], ids=["swaks", "smtplib"])
def test_a_capture_is_judged_as_the_session_was(
    program: Program, tls: Tls, listen: Any, capture: Any, tmp_path: Path
) -> None:
    listening = listen()
    running = capture(listening.port)
    program(Sending(listening.port, tmp_path, tls, "LOGIN"))
    live = listening.last()
    running.stop()
    found = diagnosed(running.file, listening)
    assert serious(found) == serious(live)
    assert lines(found) == lines(live)
    assert [found["session"]["peer"], found["session"]["listener"]] == [
        live["session"]["peer"],
        live["session"]["listener"],
    ]
    for kind in ("tls-hello", "tls-up"):
        ours, theirs = ([e for e in r["session"]["events"] if e["kind"] == kind] for r in (found, live))
        assert [event | {"at": 0} for event in ours] == [event | {"at": 0} for event in theirs]
    assert live["unseen"] == []
    assert any(HIDDEN in sentence for sentence in found["unseen"]) == (tls != "none")


def test_what_only_the_inside_of_tls_shows_is_not_found(listen: Any, capture: Any, tmp_path: Path) -> None:
    listening = listen()
    running = capture(listening.port)
    programs.swaks(Sending(listening.port, tmp_path, "starttls", "PLAIN"))
    assert {f["rule"] for f in listening.last()["findings"]} == {"auth-plain-only", "no-sni"}
    running.stop()
    found = diagnosed(running.file, listening)
    assert [f["rule"] for f in found["findings"]] == ["no-sni"]
    assert any(HIDDEN in sentence for sentence in found["unseen"])
    assert not any(verdict["proven"] for verdict in found["verdicts"])


def test_old_tls_is_seen_in_the_hello(listen: Any, capture: Any, tmp_path: Path) -> None:
    listening = listen()
    running = capture(listening.port)
    programs.openssl_of_old(Sending(listening.port, tmp_path, "starttls", "LOGIN"))
    live = listening.last()
    running.stop()
    assert ("tls10-11-only", "error") in serious(diagnosed(running.file, listening)) & serious(live)
