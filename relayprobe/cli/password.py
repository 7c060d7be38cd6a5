"""`relayprobe password`: hash a password that devices log in to the relay with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail, language
from relayprobe.tongue import said


@click.command("password")
@common
def command(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Hash a password for [relay.logins], so that the configuration does not hold it.

    Asks for it, or reads one line where stdin is no terminal.
    """
    from relayprobe.relay.logins import hashed

    if sys.stdin.isatty():
        password = click.prompt(language()(said("Password")), hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        fail(said("an empty password lets everybody in: give one"))
    click.echo(json.dumps({"hash": hashed(password)}) if as_json else hashed(password))
