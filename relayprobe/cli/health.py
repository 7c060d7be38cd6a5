"""`relayprobe health`: whether the relay is at work and mail gets out; for monitoring and for containers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from relayprobe.cli.options import common, data_folder, language, option, settings
from relayprobe.cli.terminal import Terminal
from relayprobe.tongue import counted, joined, said


@click.command("health")
@common
@option("--waiting", type=float, default=4.0, show_default=True, metavar="HOURS", help="Longer is a fault.")
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, waiting: float
) -> None:
    """Say whether relayprobe is at work on its data folder, whether routes work, and what waits.

    Exit code 0: all is well; 1: something is not.
    """
    from relayprobe.report.queue import STATE_NAMES
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
    faults = [] if process is not None else [said("no relayprobe is at work on {folder}", folder=folder)]
    for name, record in sorted(records.items()):
        if record.get("state", "ok") == "stopped":
            faults.append(said("route {name} is stopped: {why}", name=name, why=str(record.get("why"))))
    for aside in set_aside_files(folder):
        if not aside.name.endswith(("-wal", "-shm")):
            faults.append(
                said(
                    "a damaged database was set aside as {file}: mail in it may not have been delivered; when you have "
                    "seen to it, remove the file",
                    file=aside,
                )
            )
    if (left := free(folder)) < enough:
        faults.append(
            said(
                "there is too little room in {folder}, so mail is refused: {n} MiB are free",
                folder=folder,
                n=left // 2**20,
            )
        )
    if late is not None:
        faults.append(
            counted(
                "{n} mail has waited for more than {hours:g} h, the oldest is {id}",
                "{n} mails have waited for more than {hours:g} h, the oldest is {id}",
                late[0],
                hours=waiting,
                id=late[1].id,
            )
        )
    tongue = language(as_json)
    thing: dict[str, Any] = {
        "ok": not faults,
        "process": process,
        "queue": counts,
        "routes": {name: record.get("state", "ok") for name, record in records.items()},
        "free": left,
        "faults": [tongue(fault) for fault in faults],
    }
    if as_json:
        sys.stdout.write(json.dumps(thing) + "\n")
    else:
        terminal = Terminal(no_color)
        for fault in faults:
            terminal.line(("error", visible(tongue(fault))))
        waits = joined(
            [said("{n} {state}", n=n, state=STATE_NAMES.get(state, state)) for state, n in sorted(counts.items())],
            ", ",
        )
        told = tongue("process {process}; queue: {waits}", process=str(process or "-"), waits=waits or said("empty"))
        terminal.line(("good" if not faults else "", told))
    if faults:
        raise click.exceptions.Exit(1)
