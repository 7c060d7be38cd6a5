"""What was answered 250 outlives the relay, however it ends: killed at any moment, asked to end, or brought down by a
mail."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.killing import killed
from tests.clients.listening import until
from tests.relay.relay_process import Device, RelayProcess, Senders, message, numbered
from tests.relay.upstream_sink import Sink


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path)
    yield made
    made.close()


@pytest.fixture
def relay(tmp_path: Path, sink: Sink) -> Iterator[RelayProcess]:
    made = RelayProcess(tmp_path, sink.port, more="connections = 3")
    yield made
    made.end()


def test_killed_at_random_moments_it_loses_nothing(tmp_path: Path) -> None:
    came = killed(tmp_path, messages=800, kills=6, seed=7, spread=0.8)
    assert (came.accepted, came.lost, came.broken, came.held) == (800, 0, 0, 0)
    assert came.second_copies <= 3 * 6, "a kill costs no more second copies than there are connections"


def test_asked_to_end_under_load_it_loses_nothing_and_sends_nothing_twice(relay: RelayProcess, sink: Sink) -> None:
    chance, given = random.Random(5), numbered(400, 5)
    relay.start()
    sending = Senders(relay.port, given)
    try:
        for _ in range(3):
            time.sleep(chance.random() * 0.6)
            assert relay.stop() == 0
            relay.start()
    finally:
        sending.join()
    sink.wait_for({one.id for one in given}, 60.0)
    assert relay.stop() == 0
    assert sink.second_copies() == 0
    digests = {one.id: one.digest for one in given}
    assert all(one.digest == digests[one.id] for one in sink.arrived())
    log = relay.log.read_text()
    assert "Traceback" not in log
    assert "Warning" not in log


def test_a_mail_that_ends_the_process_is_set_aside_and_those_beside_it_are_not(relay: RelayProcess, sink: Sink) -> None:
    """Three mails are under way whenever the process ends: one is at fault, and nothing tells which, until they are
    sent apart from each other."""
    relay.start()
    under_way = {"poison", "slow1", "slow2"}
    beside = numbered(100, 3)

    def came(id: str) -> int:
        return sum(one.id == id for one in sink.arrived())

    with Device(relay.port) as device:
        for id in under_way:
            assert device.send(message(id, b"boom\r\n")).startswith("250")
    until(lambda: all(came(id) == 1 for id in under_way))
    relay.kill()
    relay.start()
    with Device(relay.port) as device:
        for one in beside:
            assert device.send(one).startswith("250")
    until(lambda: all(came(id) == 2 for id in under_way))
    relay.kill()
    relay.start()
    until(lambda: came("poison") == 3)
    relay.kill()
    relay.start()
    sink.wait_for({one.id for one in beside})
    until(lambda: len(relay.queue()) == 1)
    [held] = relay.queue()
    assert (held["state"], held["attempts"]) == ("held", 3)
    assert "set aside" in held["why"]
    assert came("poison") == 3


def test_being_stopped_is_not_taken_for_a_crash(relay: RelayProcess, sink: Sink) -> None:
    relay.start()
    with Device(relay.port) as device:
        assert device.send(message("poison", b"hangs\r\n")).startswith("250")
    sink.wait_for({"poison"})
    assert relay.stop() == 0
    [mail] = relay.queue()
    assert (mail["state"], mail["attempts"]) == ("waiting", 1)
    assert "it may have arrived" in mail["why"]
