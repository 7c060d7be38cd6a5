"""`relayprobe login`: a person signs in for a route that uses OAuth with a device code."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayprobe.cli.options import common, fail, language, settings
from relayprobe.tongue import said

if TYPE_CHECKING:
    from relayprobe.relay.routes import Route


@click.command("login")
@common
@click.argument("route", required=False)
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, route: str | None
) -> None:
    """Sign in for ROUTE (the only one that needs it, if none is named), and keep the sign-in, encrypted.

    Prints where to enter which code. A relay that runs takes the new sign-in by itself.
    """
    from relayprobe.relay.oauth import sign_in
    from relayprobe.relay.relay import cache_of
    from relayprobe.relay.routes import origin_of, routes_of
    from relayprobe.relay.secrets import SecretError
    from relayprobe.relay.token_host import SignInFailed
    from relayprobe.store import folder as folders

    if config is None:
        fail(said("name the configuration with --config: the route to sign in for stands there"))
    tongue = language()
    chosen = settings(config, {"data": data} if data is not None else {})
    try:
        token_key = origin_of(chosen.relay, "token_key", config.parent, "relay.token_key")
        found = _route(routes_of(chosen.route, config.parent, token_key), route)
        if found.token_key is None:
            fail(said('a sign-in is kept encrypted, so it needs a key: write token_key_file = "token.key" in [relay]'))
        if found.token_key.file is not None and not found.token_key.file.exists():
            _make_key(found.token_key.file)
        folders.make(chosen.data)
        assert found.oauth is not None
        done = asyncio.run(
            sign_in(found.oauth, lambda says: click.echo(tongue(says), err=as_json), cache_of(chosen.data, found))
        )
    except (SecretError, ValueError) as error:
        fail(error.args[0] if error.args and isinstance(error.args[0], str) else str(error))
    except SignInFailed as failed:
        click.echo(tongue("Error: {why}", why=failed.says), err=True)
        raise click.exceptions.Exit(1) from None
    if as_json:
        sys.stdout.write(json.dumps({"route": found.name, "account": done.account}) + "\n")
    else:
        click.echo(tongue(done.says))


def _route(routes: tuple[Route, ...], name: str | None) -> Route:
    able = [route for route in routes if route.oauth is not None and not route.oauth.alone]
    if name is not None:
        found = next((route for route in able if route.name == name), None)
        if found is None:
            names = ", ".join(route.name for route in able) or said("none")
            fail(
                said(
                    "there is no route {name} that somebody signs in for: those that are so are {names}",
                    name=name,
                    names=names,
                )
            )
        return found
    if len(able) != 1:
        if not able:
            fail(said("no route uses OAuth with a device code"))
        fail(said("name the route to sign in for: {names}", names=", ".join(route.name for route in able)))
    return able[0]


def _make_key(path: Path) -> None:
    """A new key, for its owner alone."""
    from cryptography.fernet import Fernet

    from relayprobe.relay.secrets import write_private

    try:
        write_private(path, Fernet.generate_key() + b"\n")
    except OSError as error:
        fail(said("the key {file} cannot be made ({why}): name another place", file=path, why=error.strerror))
    made = said("made a new key in {file}: whoever has it and the data folder can send as this account", file=path)
    click.echo(language()(made), err=True)
