"""`relayprobe password`: hash a password that devices log in to the relay with."""

from __future__ import annotations

import sys

import click


@click.command("password")
def command() -> None:
    """Hash a password for [relay.logins], so that the configuration does not hold it.

    Asks for it, or reads one line where stdin is no terminal.
    """
    from relayprobe.relay.logins import hashed

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        from relayprobe.cli.options import fail

        fail("an empty password lets everybody in: give one")
    click.echo(hashed(password))
