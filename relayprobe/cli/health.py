"""`relayprobe health`: whether the relay is at work and mail gets out; for monitoring and for containers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from relayprobe.cli.options import common, data_folder, option, settings
from relayprobe.cli.terminal import Terminal


@click.command("health")
@common
@option("--waiting", type=float, default=4.0, show_default=True, metavar="HOURS", help="Longer is a fault.")
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, waiting: float
) -> None:
    """Say whether relayprobe is at work on its data folder, whether routes work, and what waits.

    Exit code 0: all is well; 1: something is not.
    """
    from relayprobe.report.visible import visible
    from relayprobe.store import Spool
    from relayprobe.store.folder import free, holder, set_aside_files

    # As the listener has it: half as much again as the largest message.
    enough = settings(config, {}).limits.message_size * 3 // 2
    folder = data_folder(config, data)
    spool = Spool.open(folder)
    counts, records = spool.counts(), spool.route_records()
    late = spool.held_up(time.time() - waiting * 3600)
    spool.close()
    process = holder(folder)
    faults = [] if process is not None else [f"no relayprobe is at work on {folder}"]
    for name, record in sorted(records.items()):
        if record.get("state", "ok") == "stopped":
            faults.append(f"route {name} is stopped: {record.get('why')}")
    for aside in set_aside_files(folder):
        if not aside.name.endswith(("-wal", "-shm")):
            faults.append(
                f"a damaged database was set aside as {aside}: mail in it may not have been delivered; when you have "
                "seen to it, remove the file"
            )
    if (left := free(folder)) < enough:
        faults.append(f"there is too little room in {folder}, so mail is refused: {left // 2**20} MiB are free")
    if late is not None:
        faults.append(f"{late[0]} mails have waited for more than {waiting:g} h, the oldest is {late[1].id}")
    thing: dict[str, Any] = {
        "ok": not faults,
        "process": process,
        "queue": counts,
        "routes": {name: record.get("state", "ok") for name, record in records.items()},
        "free": left,
        "faults": faults,
    }
    if as_json:
        sys.stdout.write(json.dumps(thing) + "\n")
    else:
        terminal = Terminal(no_color)
        for fault in faults:
            terminal.line(("error", visible(fault)))
        waits = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "empty"
        terminal.line(("good" if not faults else "", f"process {process or '-'}; queue: {waits}"))
    if faults:
        raise click.exceptions.Exit(1)
