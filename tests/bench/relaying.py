"""The relay beside Postfix, on the same disk in the same run: messages accepted durably per second; the delay from a
device's 250 to the other side; and memory for a large message. `python -m tests.bench.relaying` runs it alone.

Both write each message to the disk for good before they say 250. Postfix delivers to discard(8), which costs it
little; the relay to Postfix's smtp-sink over SMTP, or, as `held`, to nobody yet. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.clients.postfix import discarding

LOADS = {
    "5 KB, each on a new connection": ["-s", "20", "-m", "2000", "-l", "5120"],
    "5 KB, 20 connections reused": ["-d", "-s", "20", "-m", "4000", "-l", "5120"],
}
DELAYS = 300
LARGE = 30 * 2**20


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench.relaying")
    options.add_argument("--rounds", type=int, default=3)
    measured(options.parse_args().rounds)


def measured(rounds: int) -> None:
    """All of it."""
    for program in ("smtp-source", "smtp-sink", "postfix"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: it comes with the package postfix")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # on a disk, where /tmp may be memory
        Path(folder).chmod(0o711)  # Postfix drops its rights
        durable(Path(folder), rounds)
        delay(Path(folder))
        memory(Path(folder))


def durable(folder: Path, rounds: int) -> None:
    """Messages per second that are on the disk."""
    for name, load in LOADS.items():
        rates: dict[str, list[float]] = {"postfix": [], "relayprobe": [], "held": []}
        for number in range(rounds):
            with discarding(folder) as postfix:
                rates["postfix"].append(rate(load, postfix.port))
            for variant in ("relayprobe", "held"):
                where = folder / f"{variant}{number}{len(load)}"
                with sink() as port, relay(where, port if variant == "relayprobe" else free_port()) as (own, _):
                    rates[variant].append(rate(load, own))
                shutil.rmtree(where)
        print(f"\nAccepted durably, {name}: {rounds} rounds, median; ratio to Postfix in the same round")
        for variant, found in rates.items():
            ratio = statistics.median(a / b for a, b in zip(found, rates["postfix"], strict=True))
            print(f"{variant:12}{statistics.median(found):8.0f}/s{ratio:8.2f}", flush=True)


def rate(load: list[str], port: int) -> float:
    """Messages per second of smtp-source."""
    source = ["smtp-source", "-f", "a@contoso.com", "-t", "b@contoso.com"]
    subprocess.run([*source, "-m", "20", f"127.0.0.1:{port}"], check=True)
    began = time.perf_counter()
    subprocess.run([*source, *load, f"127.0.0.1:{port}"], check=True)
    return int(load[load.index("-m") + 1]) / (time.perf_counter() - began)


def delay(folder: Path) -> None:
    """From the device's 250 to the end of the text at the other side, one message at a time."""
    arrived: list[float] = []
    with listening(arrived) as port, relay(folder / "delay", port) as (own, _):
        waits = []
        with smtplib.SMTP("127.0.0.1", own) as client:
            for number in range(DELAYS):
                client.sendmail("a@contoso.com", ["b@contoso.com"], f"Subject: {number}\r\n\r\nhello\r\n")
                answered = time.perf_counter()
                while len(arrived) <= number:
                    time.sleep(0.0002)
                waits.append(arrived[number] - answered)
    waits.sort()
    print(
        f"\nFrom 250 to the other side, {DELAYS} messages: median {statistics.median(waits) * 1000:.1f} ms, "
        f"p99 {waits[int(DELAYS * 0.99)] * 1000:.1f} ms"
    )


def memory(folder: Path) -> None:
    """What a message of 30 MB adds to the most that the process ever used."""
    text = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * 15 + b"\r\n"
    text += (b"0123456789abcdef" * 4 + b"\r\n") * (LARGE // 66)
    arrived: list[float] = []
    with listening(arrived) as port, relay(folder / "memory", port) as (own, process):
        for _ in range(2):  # what is done once only is not measured
            send(own, b"Subject: small\r\n\r\nhello\r\n")
        until(lambda: len(arrived) == 2)
        before = peak(process)
        began = time.perf_counter()
        send(own, text)
        taken = time.perf_counter() - began
        until(lambda: len(arrived) == 3)
        through = time.perf_counter() - began
        print(
            f"\n30 MB: taken in {taken:.2f} s, at the other side after {through:.2f} s; the relay's peak went from "
            f"{before:.1f} to {peak(process):.1f} MB"
        )


def send(port: int, text: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("a@contoso.com", ["b@contoso.com"], text)


def peak(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextlib.contextmanager
def relay(folder: Path, upstream: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A relay in a process of its own, with a smart host at a port; its own port and the process."""
    folder.mkdir()
    port = free_port()
    config = folder / "relay.toml"
    config.write_text(
        f'data = "{folder}/data"\n[listen]\non = ["127.0.0.1:{port}"]\n[log]\nfile = "{folder}/log"\n'
        f'[limits]\nmessages_per_session = 100000\n[relay]\ndevices = ["127.0.0.1"]\n'
        f'[[route]]\nname = "next"\nmode = "smart-host"\nhost = "127.0.0.1"\nport = {upstream}\ntls = "none"\n'
    )
    process = subprocess.Popen([sys.executable, "-m", "relayprobe", "relay", "--quiet", "--config", str(config)])
    try:
        until(lambda: answers(port))
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """Postfix's smtp-sink, which keeps nothing; its port."""
    port = free_port()
    with subprocess.Popen(
        ["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: answers(port))
            yield port
        finally:
            process.kill()


@contextlib.contextmanager
def listening(arrived: list[float]) -> Iterator[int]:
    """A server that notes when each text has ended; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, arrived), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, arrived: list[float]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, arrived), daemon=True).start()


def _serve(connection: socket.socket, arrived: list[float]) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rwb") as file:
        file.write(b"220 x\r\n")
        file.flush()
        in_text = False
        for line in file:
            if in_text and line != b".\r\n":
                continue
            if in_text:
                arrived.append(time.perf_counter())
            reply = b"354 go\r\n" if line[:4].upper() == b"DATA" else b"250 ok\r\n"
            in_text = reply[:3] == b"354"
            file.write(reply)
            file.flush()


def until(true: object) -> None:
    assert callable(true)
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise TimeoutError("it did not come to pass within half a minute")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
        return probe.recv(3) == b"220"
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


if __name__ == "__main__":
    main()
