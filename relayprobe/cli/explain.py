"""`relayprobe explain`: what a reply of Office 365 means, as a device, a program or a log shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail
from relayprobe.cli.terminal import Terminal


@click.command("explain", context_settings={"ignore_unknown_options": True})
@common
@click.argument("text", nargs=-1)
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, text: tuple[str, ...]
) -> None:
    """Explain the reply of Office 365 in TEXT: a reply, a line of a log, a program's error, a report of non-delivery.

    With - it is read from standard input. Exit code 1 if nothing in it is known.
    """
    from relayprobe.office365.recognise import LONGEST, recognise
    from relayprobe.report.explained import explanation, explanation_object
    from relayprobe.rules.codes import codes_in, look_up, texts_in
    from relayprobe.wire.pasted import decoded

    if not text:
        fail('there is nothing to explain: `relayprobe explain "550 5.7.64 ..."`, or - to read standard input')
    said = " ".join(text)
    if said == "-":
        said = decoded(sys.stdin.buffer.read(4 * LONGEST + 4))
    found = recognise(said)
    texts = texts_in(said[:LONGEST])
    codes = codes_in(said[:LONGEST])
    if not (found or found.unknown or texts or codes):
        codes = look_up(said)
    if as_json:
        sys.stdout.write(json.dumps(explanation_object(found, texts, codes)) + "\n")
    else:
        Terminal(no_color).lines(explanation(found, texts, codes))
    if not (found or texts or codes):
        raise click.exceptions.Exit(1)
