"""`relayprobe diagnose`: the rules again, over stored sessions or exported files. Exit code 1 for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayprobe.cli.options import archive, common, fail, option
from relayprobe.cli.show import MODES
from relayprobe.cli.terminal import Terminal

if TYPE_CHECKING:
    from relayprobe.cli.judging import Judgement


@click.command("diagnose")
@common
@option("--mode", type=MODES, help="What the device is meant to use.")
@option("--all", "every", is_flag=True, help="All stored sessions.")
@click.argument("sessions", nargs=-1)
@click.pass_context
def command(
    ctx: click.Context,
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    mode: str | None,
    every: bool,
    sessions: tuple[str, ...],
) -> None:
    """Diagnose again: SESSIONS are ids, beginnings of ids, `last`, or files that `export --as json` wrote.

    Exit code 0: no errors found; 1: errors found; 2: wrong usage.
    """
    if not sessions and not every:
        sessions = ("last",)
    terminal = Terminal(no_color)
    errors = False
    for judgement in _judgements(config, data, mode, every, sessions):
        errors = errors or any(f.severity == "error" for f in judgement.findings)
        if as_json:
            from relayprobe.report.objects import report_object

            thing = report_object(judgement.session, judgement.findings, judgement.verdicts, judgement.advice)
            sys.stdout.write(json.dumps(thing) + "\n")
        else:
            from relayprobe.report.text import conclusion
            from relayprobe.report.visible import visible

            session = judgement.session
            terminal.line(("heading", f"--- Session {visible(session.id)} from {visible(session.peer)} ---"))
            terminal.lines(conclusion(session, judgement.findings, judgement.verdicts, judgement.advice))
            terminal.line(("", ""))
    ctx.exit(1 if errors else 0)


def _judgements(
    config: Path | None, data: Path | None, mode: str | None, every: bool, sessions: tuple[str, ...]
) -> Iterator[Judgement]:
    from relayprobe.cli.judging import judge, judge_stored
    from relayprobe.cli.site import site_given
    from relayprobe.report.objects import NotASession, session_from_object
    from relayprobe.report.visible import visible
    from relayprobe.store import Filter

    site = site_given(config)
    stored = []
    for name in sessions:
        if not Path(name).is_file():
            if "." in name or "/" in name:  # no id has these
                way_out = "name one that `relayprobe export --as json` wrote, or a session's id"
                fail(f"there is no file {visible(name)}: {way_out}")
            stored.append(name)
            continue
        try:
            session = session_from_object(json.loads(Path(name).read_text(encoding="utf-8")))
            yield judge(replace(session, site=site or session.site), (), mode)
        except NotASession as error:
            fail(f"{name} is not an exported session: {error.why}")
        except (ValueError, OSError) as error:
            fail(f"{name} is not an exported session: {error}")
    if not stored and not every:
        return
    with archive(config, data) as opened:
        rows = list(opened.sessions(Filter())) if every else [opened.find(name) for name in stored]
        for row in rows:
            yield judge_stored(opened, row, mode=mode, site=site)
