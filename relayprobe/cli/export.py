"""`relayprobe export`: a session to hand over, as text, JSON or mail."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayprobe.cli.options import archive, common, fail, option
from relayprobe.cli.show import MODES

if TYPE_CHECKING:
    from relayprobe.store import Archive, Row


@click.command("export")
@common
@option("--as", "form", type=click.Choice(["text", "json", "eml"]), default="text", show_default=True, help="Form.")
@option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: stdout).")
@option("--message", type=click.IntRange(min=1), default=1, show_default=True, help="Which message, for eml.")
@option("--mode", type=MODES, help="What the device is meant to use.")
@click.argument("session")
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    form: str,
    output: Path | None,
    message: int,
    mode: str | None,
    session: str,
) -> None:
    """Write one session: SESSION is an id, the beginning of one, or `last`. Passwords are in none of the forms."""
    with archive(config, data) as stored:
        row = stored.find(session)
        if form == "eml":
            content = _mail(stored, row, message)
        else:
            content = _told(config, stored, row, "json" if as_json else form, mode)
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.chmod(output, 0o600)  # where it was there before
            file.write(content)
    except OSError as error:
        fail(f"cannot write {output} ({error.strerror}): name another file with --output")


def _told(config: Path | None, stored: Archive, row: Row, form: str, mode: str | None) -> bytes:
    from relayprobe.cli.judging import judge_stored, load
    from relayprobe.cli.site import site_given
    from relayprobe.report.objects import report_object
    from relayprobe.report.text import report

    site = site_given(config)
    found = judge_stored(stored, row, mode=mode, site=site)
    if form == "text":
        lines = report(found.session, found.findings, found.verdicts, found.advice)
        return "".join(f"{text}\n" for _, text in lines).encode()
    whole = load(stored, row, site=site, whole=True)
    whole = replace(whole, mode=mode or whole.mode)
    return json.dumps(report_object(whole, found.findings, found.verdicts, found.advice), indent=1).encode() + b"\n"


def _mail(stored: Archive, row: Row, number: int) -> bytes:
    from relayprobe.cli.judging import load
    from relayprobe.report.mail import eml

    messages = [e.message for e in load(stored, row, whole=True).envelopes if e.message]
    if number > len(messages):
        have = f"it has {len(messages)}" if messages else "no message was sent in it"
        fail(f"session {row.id} has no message {number}: {have}")
    body = messages[number - 1].body
    if body.purged:
        fail(f"the message of session {row.id} is older than messages are kept: see body_age in [retention]")
    return eml(body.raw, body.end)
