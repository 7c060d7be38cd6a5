"""How much is lost when the relay is killed: `python -m tests.bench.killing [--messages N --kills K --seed S]`.

Eight senders hand over numbered messages, while the relay is killed with SIGKILL at random moments and started again.
Who was not answered 250 sends again. At the end all that was answered 250 must have arrived, whole. What the relay sent
twice is counted apart from what came twice because a sender sent again.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.relay.relay_process import RelayProcess, Senders, numbered
from tests.relay.upstream_sink import Sink


@dataclass(frozen=True)
class Outcome:
    """What came of it. Seconds where nothing else is said; `serving`: from each start until 220."""

    accepted: int
    lost: int
    broken: int
    second_copies: int
    under_load: int  # kills while senders were at work
    sent_again: int
    held: int
    refused: dict[str, int]
    serving: tuple[float, ...]
    took: float


def killed(
    folder: Path, messages: int, kills: int, seed: int, *, senders: int = 8, connections: int = 3, spread: float = 1.5
) -> Outcome:
    """Run it once; `spread`: each run of the relay serves for up to so many seconds."""
    chance = random.Random(seed)
    given = numbered(messages, seed)
    digests = {one.id: one.digest for one in given}
    sink = Sink(folder)
    relay = RelayProcess(folder, sink.port, more=f"connections = {connections}")
    began = time.monotonic()
    try:
        serving = [relay.start()]
        sending = Senders(relay.port, given, senders)
        under_load = 0
        for _ in range(kills):
            time.sleep(chance.random() * spread)
            under_load += sending.at_work
            relay.kill()
            serving.append(relay.start())
        sending.join()
        held = [one for one in relay.queue() if one["state"] != "waiting" and one["state"] != "sending"]
        deadline = time.monotonic() + 120.0
        while sending.told.accepted - sink.ids() and time.monotonic() < deadline:
            time.sleep(0.1)
        relay.stop()
        arrived = sink.arrived()
        return Outcome(
            accepted=len(sending.told.accepted),
            lost=len(sending.told.accepted - {one.id for one in arrived}),
            broken=sum(one.digest != digests[one.id] for one in arrived),
            second_copies=sink.second_copies(),
            under_load=under_load,
            sent_again=sending.told.sent_again,
            held=len(held),
            refused=sending.told.refused,
            serving=tuple(serving[1:]),
            took=time.monotonic() - began,
        )
    finally:
        relay.end()
        sink.close()


def main() -> None:
    """Print a table of figures."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--messages", type=int, default=10_000)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--spread", type=float, default=1.5, help="seconds that a run of the relay serves at most")
    asked.add_argument("--connections", type=int, default=3, help="to the other side; Office 365 takes three")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        came = killed(
            Path(folder), given.messages, given.kills, given.seed, connections=given.connections, spread=given.spread
        )
    slowest, usual = max(came.serving, default=0.0), sorted(came.serving or [0.0])[len(came.serving) // 2]
    rows = {
        "messages answered 250": came.accepted,
        "kills (while mail came)": f"{given.kills} ({came.under_load})",
        "lost": came.lost,
        "broken": came.broken,
        "second copies by the relay": came.second_copies,
        "sent again by senders": came.sent_again,
        "held or failed": came.held,
        "refused for now": came.refused,
        "serving again, s (median, slowest)": f"{usual:.2f}, {slowest:.2f}",
        "took, s": f"{came.took:.0f}",
    }
    for name, value in rows.items():
        print(f"{name:36} {value}")


if __name__ == "__main__":
    main()
