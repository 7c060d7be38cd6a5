"""A disk of a few megabytes, filled to the brim while mail comes: devices hear 4xx, what was answered 250 arrives, and
mail is taken again as soon as there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.listening import until
from tests.conftest import absent, need
from tests.relay.relay_process import RelayProcess, Senders, numbered
from tests.relay.upstream_sink import Sink

SIZE = 64 * 2**20
LIMITS = '[limits]\nmessage_size = "300KiB"\n'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = [need("mount"), "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        absent("the right to mount a tmpfs")
    yield place
    subprocess.run([need("umount"), "-l", str(place)], check=True)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path)
    yield made
    made.close()


def room(place: Path) -> int:
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


class Ballast:
    """A file that takes all room but so much."""

    def __init__(self, place: Path) -> None:
        self._path = place / "ballast"

    def leave(self, octets: int) -> None:
        with self._path.open("ab") as file:
            while (more := room(self._path.parent) - octets) > 0:
                try:
                    os.write(file.fileno(), bytes(min(more, 65536)))
                except OSError:
                    return

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def test_a_full_disk_puts_devices_off_and_loses_nothing(tmp_path: Path, small_disk: Path, sink: Sink) -> None:
    relay = RelayProcess(tmp_path, sink.port, more=LIMITS, data=small_disk / "data")
    given = numbered(6000, 11, large=0.02)
    ballast = Ballast(small_disk)
    relay.start()
    sending = Senders(relay.port, given)
    try:
        for left in (300_000, 100_000, 20_000, 0):  # below 450 KB: half as much again as a message may have
            taken = len(sending.told.accepted)
            until(lambda taken=taken: len(sending.told.accepted) > taken + 50)  # type: ignore[misc]
            before = sum(sending.told.refused.values())
            ballast.leave(left)
            until(lambda before=before: sum(sending.told.refused.values()) > before + 20)  # type: ignore[misc]
            ballast.remove()
        taken = len(sending.told.accepted)
        until(lambda: len(sending.told.accepted) > taken)
        sending.stop()
        assert {reply[:3] for reply in sending.told.refused} <= {"451", "452"}, sending.told.refused
        sink.wait_for(sending.told.accepted, 60.0)
        assert relay.stop() == 0
    finally:
        sending.stop()
        relay.end()
    digests = {one.id: one.digest for one in given}
    assert all(one.digest == digests[one.id] for one in sink.arrived())
    assert "Traceback" not in relay.log.read_text()
