"""`relayprobe explain`: what a reply of Office 365 means, as a device, a program or a log shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail, language
from relayprobe.cli.terminal import Terminal
from relayprobe.tongue import said


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
        fail(said('there is nothing to explain: `relayprobe explain "550 5.7.64 ..."`, or - to read standard input'))
    pasted = " ".join(text)
    if pasted == "-":
        pasted = decoded(sys.stdin.buffer.read(4 * LONGEST + 4))
    found = recognise(pasted)
    texts = texts_in(pasted[:LONGEST])
    codes = codes_in(pasted[:LONGEST])
    if not (found or found.unknown or texts or codes):
        codes = look_up(pasted)
    if as_json:
        sys.stdout.write(json.dumps(explanation_object(found, texts, codes, language(as_json))) + "\n")
    else:
        Terminal(no_color).lines(explanation(found, texts, codes, language()))
    if not (found or texts or codes):
        raise click.exceptions.Exit(1)
