"""`relayprobe config`: the configuration looked through before it is used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import Wrong, common, fail, settings


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
        fail("name the configuration with --config")
    chosen = settings(config, {})
    try:
        plan = plan_of(chosen, config)
    except RelayError as error:
        raise Wrong(f"{config}: {error}") from None
    routes = [{"name": one.name, "mode": one.mode, "place": one.place, "user": one.user} for one in plan.rules.routes]
    if as_json:
        sys.stdout.write(json.dumps({"ok": True, "routes": routes, "warnings": list(plan.warnings)}) + "\n")
        return
    for warning in plan.warnings:
        click.echo(f"warning: {warning}")
    for route in plan.rules.routes:
        login = f" as {route.user}" if route.user else ""
        click.echo(f"route {route.name}: {route.mode} by {route.place}{login}")
    click.echo(f"{config} is in order")


@command.command("show")
@common
def show(config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int) -> None:
    """Print all settings as they are in force, defaults included, secrets hidden. As JSON."""
    from relayprobe.settings import shown

    chosen = settings(config, {"data": data} if data is not None else {})
    sys.stdout.write(json.dumps(shown(chosen), indent=2) + "\n")
