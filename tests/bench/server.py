"""A server to be measured, in a process of its own: `python -m tests.bench.server VARIANT PORT FOLDER`.

`stock` is aiosmtpd as it is released, with a handler that keeps nothing; `relayprobe` records, stores and diagnoses
everything, as `listen --quiet` does; `relayprobe-uvloop` is the same on uvloop. On SIGTERM it prints, as JSON, what it
used: CPU seconds, peak and idle memory in MB, and the longest time in milliseconds that the loop stood still.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP


class Null:
    """Takes everything and keeps nothing."""

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        return "250 OK"


async def stock(port: int) -> None:
    logging.getLogger("mail.log").disabled = True
    loop = asyncio.get_running_loop()
    await loop.create_server(
        lambda: SMTP(Null(), hostname="x.test", enable_SMTPUTF8=True), "127.0.0.1", port, backlog=1024
    )


async def relayprobe(port: int, folder: Path) -> None:
    from relayprobe.capture.answers import Accept
    from relayprobe.capture.listener import Listener, Manner, Port
    from relayprobe.capture.tls import own_certificate, server_context
    from relayprobe.store import Store
    from relayprobe.wire.message import trimmed

    store = Store.open(folder, trim=trimmed)
    manner = Manner(
        Accept("x.test", accounts={}, message_size=150 * 2**20), connections=5000, connections_per_peer=5000
    )
    tls = server_context(*own_certificate(folder, "x.test"))
    await Listener([Port("127.0.0.1", port)], manner, tls, store, folder).start()


async def main(variant: str, port: int, folder: Path) -> None:
    await (stock(port) if variant == "stock" else relayprobe(port, folder))
    idle, stalled = memory("VmRSS"), 0.0
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        loop.add_signal_handler(number, stop.set)
    print("ready", flush=True)
    while not stop.is_set():
        due = loop.time() + 0.005
        await asyncio.sleep(0.005)
        stalled = max(stalled, loop.time() - due)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"cpu": cpu, "peak": memory("VmHWM"), "idle": idle, "stalled": stalled * 1000}), flush=True)
    # What is measured is over: the process ends as it stands.
    sys.stdout.flush()
    signal.raise_signal(signal.SIGKILL)


def memory(name: str) -> float:
    """A figure of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    chosen, number, where = sys.argv[1:4]
    if chosen.endswith("-uvloop"):
        import uvloop

        uvloop.run(main(chosen, int(number), Path(where)))
    else:
        asyncio.run(main(chosen, int(number), Path(where)))
