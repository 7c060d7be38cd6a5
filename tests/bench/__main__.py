"""`make bench`: relayprobe beside aiosmtpd as released, with Postfix's smtp-source as the load and its smtp-sink, in
C and keeping nothing, as the far end of the scale.

The variants are run in turn, round after round, for machines are shared and their speed changes by the minute; what is
told is the median over the rounds of each one's ratio to stock in the same round. How fast sessions are judged comes
last (`judging.py`, which also runs alone), and then how fast they are found again (`searching.py`). Nothing here
passes or fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import judging, relaying, searching

LOADS = {
    "A: 1 KB, each on a new connection": ["-s", "20", "-m", "2000", "-l", "1024"],
    "B: 1 KB, 20 connections reused": ["-d", "-s", "20", "-m", "4000", "-l", "1024"],
    "C: 10 MB, four at once": ["-s", "4", "-m", "12", "-l", "10485760"],
    "D: 30 MB, two at once": ["-s", "2", "-m", "6", "-l", "31457280"],
}
VARIANTS = ("stock", "relayprobe", "relayprobe-uvloop", "smtp-sink")
CROWD = 1000


@dataclass(frozen=True)
class Run:
    """What one variant used for one load. Times in seconds, memory in MB, stalled in milliseconds."""

    wall: float
    cpu: float = 0.0
    peak: float = 0.0
    idle: float = 0.0
    stalled: float = 0.0


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--loads", default="ABCD", help="which loads, such as AC")
    chosen = options.parse_args()
    for program in ("smtp-source", "smtp-sink"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: it comes with the package postfix")
    for name, load in LOADS.items():
        if name[0] in chosen.loads:
            table(name, [{variant: measure(variant, load) for variant in VARIANTS} for _ in range(chosen.rounds)])
    crowd()
    relaying.measured(chosen.rounds)
    judging.main()
    searching.main()


def measure(variant: str, load: list[str]) -> Run:
    """Run one load against one variant, in a new process with a new data folder."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if variant == "smtp-sink":
            sink = ["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1000"]
            with subprocess.Popen(sink, stderr=subprocess.DEVNULL) as process:
                until_listening(port)
                began = time.perf_counter()
                subprocess.run(["smtp-source", *load, f"127.0.0.1:{port}"], check=True)
                wall = time.perf_counter() - began
                process.kill()
            return Run(wall)
        with start(variant, port, Path(folder)) as process:
            # A first message: what is done once only is not measured.
            subprocess.run(["smtp-source", "-m", "20", f"127.0.0.1:{port}"], check=True)
            began = time.perf_counter()
            subprocess.run(["smtp-source", *load, f"127.0.0.1:{port}"], check=True)
            wall = time.perf_counter() - began
            return Run(wall, **finish(process))


def crowd() -> None:
    """What a crowd of idle connections costs, and whether a new device is answered beside it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, start("relayprobe", port, Path(folder)) as process:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(CROWD)]
        time.sleep(2)
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port)) as device:
            device.recv(1000)
        answered = time.perf_counter() - began
        used = finish(process)
        for connection in idle:
            connection.close()
    print(
        f"\n{CROWD} idle connections: {used['peak'] - used['idle']:.1f} MB above idle, "
        f"and a new device is greeted after {answered * 1000:.0f} ms"
    )


def start(variant: str, port: int, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.server", variant, str(port), str(folder / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, float]:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    used: dict[str, float] = json.loads(process.stdout.readline())
    process.wait()
    return used


def table(name: str, rounds: list[dict[str, Run]]) -> None:
    stock = statistics.median(one["stock"].wall for one in rounds)
    print(f"\n{name}: {len(rounds)} rounds, stock {stock:.2f} s. Speed as a ratio to stock: more is faster.")
    print(f"{'':20}{'wall':>8}{'cpu':>8}{'peak MB':>10}{'above idle':>12}{'stall ms':>10}")
    for variant in VARIANTS:
        runs = [(one[variant], one["stock"]) for one in rounds]
        wall = statistics.median(base.wall / run.wall for run, base in runs)
        line = f"{variant:20}{wall:8.2f}"
        if variant != "smtp-sink":
            cpu = statistics.median(base.cpu / run.cpu for run, base in runs)
            peak = max(run.peak for run, _ in runs)
            above = max(run.peak - run.idle for run, _ in runs)
            stalled = max(run.stalled for run, _ in runs)
            line += f"{cpu:8.2f}{peak:10.1f}{above:12.1f}{stalled:10.1f}"
        print(line, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def until_listening(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)


if __name__ == "__main__":
    main()
