"""`relayprobe config`: the configuration looked through before it is used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail, language, settings
from relayprobe.tongue import said


@click.group("config")
def command() -> None:
    """Look through a configuration."""


@command.command("check")
@common
def check(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Say whether `relayprobe relay` would start with it: every key, every secret and certificate it names.

    Nothing is sent anywhere. Exit code 0: it would; 2: what is wrong, in a sentence.
    """
    from relayprobe.relay.plan import RelayError, plan_of

    if config is None:
        fail(said("name the configuration with --config"))
    chosen = settings(config, {})
    try:
        plan = plan_of(chosen, config)
    except RelayError as error:
        fail(said("{file}: {why}", file=config, why=error.args[0] if error.args else str(error)))
    routes = [{"name": one.name, "mode": one.mode, "place": one.place, "user": one.user} for one in plan.rules.routes]
    if as_json:
        sys.stdout.write(json.dumps({"ok": True, "routes": routes, "warnings": list(plan.warnings)}) + "\n")
        return
    tongue = language()
    for warning in plan.warnings:
        click.echo(tongue("warning: {warning}", warning=warning))
    for route in plan.rules.routes:
        of = {"name": route.name, "mode": route.mode, "place": route.place, "user": route.user}
        if route.user:
            click.echo(tongue("route {name}: {mode} by {place} as {user}", **of))
        else:
            click.echo(tongue("route {name}: {mode} by {place}", **of))
    click.echo(tongue("{file} is in order", file=config))


@command.command("show")
@common
def show(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Print all settings as they are in force, defaults included, secrets hidden. As JSON."""
    from relayprobe.settings import shown

    chosen = settings(config, {"data": data} if data is not None else {})
    sys.stdout.write(json.dumps(shown(chosen), indent=2) + "\n")
