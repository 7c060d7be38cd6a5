"""`relayprobe sessions`: what was captured, newest first."""

from __future__ import annotations

import datetime
import json
import re
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayprobe.cli.options import archive, common, fail, language, option
from relayprobe.cli.terminal import Terminal
from relayprobe.dossier.objects import row_object
from relayprobe.report.text import SEVERITIES
from relayprobe.report.visible import visible
from relayprobe.tongue import said

if TYPE_CHECKING:
    from relayprobe.store import Archive, Row

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command("sessions")
@common
@option("--peer", metavar="ADDRESS", help="Of this device: an address, or a network such as 192.168.1.0/24.")
@option("--finding", metavar="RULE", help="In which this was found.")
@option("--since", metavar="TIME", help="Begun since: 2h, 3d, 2026-11-24 or 2026-11-24T10:00.")
@option("--user", metavar="TEXT", help="With a login whose user name holds this.")
@option("--sender", metavar="TEXT", help="With a sender that holds this.")
@option("--recipient", metavar="TEXT", help="With a recipient that holds this.")
@option("--code", metavar="CODE", help="With this reply, given or to be expected: 535, 5.7.3, or both.")
@option("--until", metavar="TIME", help="Begun before.")
@option("--refused", is_flag=True, help="In which the relay did not let the device send.")
@option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    peer: str | None,
    finding: str | None,
    since: str | None,
    user: str | None,
    sender: str | None,
    recipient: str | None,
    code: str | None,
    until: str | None,
    refused: bool,
    limit: int,
) -> None:
    """List captured sessions, newest first."""
    from relayprobe.store import Filter

    wanted = Filter(
        peer=peer,
        finding=finding,
        since=moment(since, "--since") if since else None,
        user=user,
        sender=sender,
        recipient=recipient,
        code=code,
        until=moment(until, "--until") if until else None,
    )
    with archive(config, data) as stored:
        matching = (row for row in stored.sessions(wanted) if not refused or _was_refused(stored, row))
        rows = list(islice(matching, limit))
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row_object(row)) + "\n")
        return
    terminal, tongue = Terminal(no_color), language()
    if not rows:
        terminal.line(("", tongue("No session matches. Without filters, every session is listed.")))
        return
    heads = tongue("ID"), tongue("BEGAN"), tongue("PEER"), tongue("WORST"), tongue("MAIL"), tongue("FINDINGS")
    terminal.line(("heading", "{:11}{:20}{:22}{:9}{:>4}  {}".format(*heads)))
    for row in rows:
        began = datetime.datetime.fromtimestamp(row.started).strftime("%Y-%m-%d %H:%M:%S")
        if row.worst:
            worst = tongue(SEVERITIES.get(row.worst, row.worst)).lower()
        else:
            worst = "-" if row.ended is not None else tongue("open")
        found = ", ".join(row.findings) or tongue("nothing")
        text = f"{row.id:11}{began:20}{visible(row.peer):22}{worst:9}{row.messages:4}  {found}"
        terminal.line((row.worst or "", text))


def _was_refused(stored: Archive, row: Row) -> bool:
    """Whether it holds a refusal that the relay alone gives."""
    from relayprobe.relay.gate import NOT_LET_IN

    return any(words in event for event in stored.events(row.id) for words in NOT_LET_IN)


def moment(text: str, option: str = "--since") -> float:
    """Unix time of `2h` ago, or of a date and time as ISO 8601 writes it, in local time."""
    if found := _AGO.fullmatch(text):
        return time.time() - int(found[1]) * _SECONDS[found[2]]
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        fail(
            said(
                "{option} {text!r} is no time: write 30m, 2h, 3d, 2026-11-24 or 2026-11-24T10:00",
                option=option,
                text=text,
            )
        )
