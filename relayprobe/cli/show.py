"""`relayprobe show`: one session, its dialogue, findings and advice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from relayprobe.cli.options import archive, common, data_folder, language, option
from relayprobe.cli.terminal import Terminal
from relayprobe.dossier.objects import sent_on
from relayprobe.tongue import said

MODES = click.Choice(["submission", "direct-send", "connector"])


@click.command("show")
@common
@option("--mode", type=MODES, help="What the device is meant to use.")
@click.argument("session")
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, mode: str | None, session: str
) -> None:
    """Show one session: SESSION is an id, the beginning of one, or `last`."""
    from relayprobe.cli.site import site_given
    from relayprobe.dossier.judging import judge_stored, load
    from relayprobe.report.objects import report_object
    from relayprobe.report.queue import forwarded_lines
    from relayprobe.report.text import report

    site, tongue = site_given(config), language(as_json)
    with archive(config, data) as stored:
        row = stored.find(session)
        judgement = judge_stored(stored, row, mode=mode, site=site)
        if as_json:
            whole = load(stored, row, site=site, whole=True)
            thing = report_object(
                replace(whole, mode=mode or whole.mode),
                judgement.findings,
                judgement.verdicts,
                judgement.advice,
                tongue,
            )
            thing["sent_on"] = sent_on(data_folder(config, data), row.id)
            json.dump(thing, sys.stdout)
            sys.stdout.write("\n")
            return
        unfinished = stored.unfinished_bodies(row.id)
    terminal = Terminal(no_color)
    terminal.lines(report(judgement.session, judgement.findings, judgement.verdicts, judgement.advice, tongue))
    terminal.lines(forwarded_lines(sent_on(data_folder(config, data), row.id), tongue))
    for n in unfinished:
        where = data_folder(config, data) / "bodies" / f"{row.id}.{n}"
        broken = said("A message was arriving when the session broke off; what came of it is in {file}", file=where)
        terminal.line(("warning", tongue(broken)))
