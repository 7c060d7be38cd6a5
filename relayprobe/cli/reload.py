"""`relayprobe reload`: have a running relay read its configuration anew."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import click

from relayprobe.cli.options import common, data_folder, fail, language
from relayprobe.tongue import said


@click.command("reload")
@common
def command(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Have the relay that uses this data folder read its configuration anew. No dialogue is cut.

    The same as to send it SIGHUP. What is wrong in the configuration is in its log, and then nothing changes.
    """
    from relayprobe.store.folder import holder

    folder = data_folder(config, data)
    process = holder(folder)
    if process is None:
        fail(
            said(
                "no relayprobe is at work on {folder}: start `relayprobe relay`, or name its folder with --data",
                folder=folder,
            )
        )
    if not _takes_it(process):
        fail(
            said(
                "process {process} reads no configuration anew: it is no relay, or has only just been started",
                process=str(process),
            )
        )
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError:
        fail(said("process {process} belongs to somebody else: say it as that user, or as root", process=str(process)))
    click.echo(language()(said("process {process} was told to read its configuration anew", process=str(process))))


def _takes_it(process: int) -> bool:
    """Whether it has asked for the signal, which would end any other: `relayprobe listen` uses data folders too."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)
