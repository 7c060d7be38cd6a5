"""`relayprobe check`: what this site can reach, and what its DNS says."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relayprobe.cli.options import Wrong, common, fail, option, settings
from relayprobe.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relayprobe.check.run import Place, Told
    from relayprobe.office365.modes import Mode
    from relayprobe.settings import Settings

MODES = click.Choice(["submission", "direct-send", "connector"])
HISTORY = 20
"""Earlier runs whose addresses are looked at."""


@click.command("check")
@common
@option("--resolver", metavar="HOST:PORT", help="Name server to ask instead of this machine's own.")
@option("--submission-host", metavar="HOST:PORT", help="Instead of smtp.office365.com, ports 587 and 25.")
@option("--mx-host", metavar="HOST:PORT", help="Instead of the MX host of the domain, port 25.")
@option("--ca-file", type=click.Path(path_type=Path), help="Authorities (PEM) to trust beside the system's.")
@option("--mode", "modes", type=MODES, multiple=True, help="The way that has to work; repeatable.")
@option("--block-list", "lists", metavar="ZONE", multiple=True, help="Ask this list instead of zen.spamhaus.org.")
@option("--deadline", type=click.FloatRange(3, 600), default=30.0, help="Seconds for the whole (default 30).")
@option("--patience", type=click.FloatRange(0.1, 120), default=10.0, help="Seconds for one step (default 10).")
@click.argument("domain", required=False)
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    resolver: str | None,
    submission_host: str | None,
    mx_host: str | None,
    ca_file: Path | None,
    modes: tuple[Mode, ...],
    lists: tuple[str, ...],
    deadline: float,
    patience: float,
    domain: str | None,
) -> None:
    """Look at what this site can reach, and at what DNS says of DOMAIN and of the site's address.

    DOMAIN is the domain that mail is sent from (default: the first of site.domains in the configuration). Run it in the
    network that the devices are in. Nothing is sent: no login without --login, no envelope without --dry-run-to.

    Exit code 1 where a chosen mode (--mode, else those of the routes, else submission) is blocked, or could not
    be told.
    """
    from relayprobe.capture.tls import CertificateError
    from relayprobe.check.resolver import Resolver
    from relayprobe.check.run import Asked, blocked, run, run_object
    from relayprobe.report.checks import lines

    chosen = settings(config, {"data": data} if data is not None else {})
    asked = Asked(
        domain=_domain(domain, chosen),
        submission=_place(submission_host, "--submission-host") or Asked.submission,
        mx=_place(mx_host, "--mx-host") or ((str(chosen.site.mx), None) if chosen.site.mx else None),
        ca_file=ca_file,
        deadline=deadline,
        patience=min(patience, deadline / 2),
        public_ip=str(chosen.site.public_ip) if chosen.site.public_ip else None,
        helo=chosen.listen.name,
        lists=lists or Asked.lists,
    )
    servers = [_name_server(resolver)] if resolver else []
    at = time.time()

    async def look() -> Any:
        asking = Resolver(servers, timeout=min(5.0, deadline / 4), deadline=deadline * 0.8)
        with _progress(no_color) as told:
            return await run(asked, asking, told)

    try:
        found = asyncio.run(look())
    except CertificateError as error:
        raise Wrong(str(error)) from None
    record = run_object(found, at)
    if as_json:
        json.dump(record, sys.stdout)
        sys.stdout.write("\n")
    else:
        Terminal(no_color).lines(lines(record))
    if blocked(found, _chosen(modes, chosen)):
        raise click.exceptions.Exit(1)


def _domain(given: str | None, chosen: Settings) -> str:
    name = given or next(iter(chosen.site.domains), None)
    if name is None:
        fail("name the domain that mail is sent from: `relayprobe check contoso.com`, or site.domains in --config FILE")
    name = name.strip().rstrip(".").lower()
    if "@" in name:
        fail(f"{name} is an address: name its domain alone, {name.rpartition('@')[2]}")
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        fail(f"{name!r} is no domain: write one such as contoso.com")
    if "." not in ascii_name or not all(label.replace("-", "a").isalnum() for label in ascii_name.split(".")):
        fail(f"{name!r} is no domain: write one such as contoso.com")
    return ascii_name


def _place(text: str | None, name: str) -> Place | None:
    """`host`, `host:port`, `[address]:port`."""
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and "]" not in text) or text.endswith("]"):
        host, port = text, ""
    host = host.strip("[]")
    if not host or any(one.isspace() for one in host) or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        fail(f"{name} {text!r} is no place: write HOST:PORT")
    return host, int(port) if port else None


def _name_server(text: str) -> tuple[str, int]:
    place = _place(text, "--resolver")
    assert place is not None
    try:
        return str(ipaddress.ip_address(place[0])), place[1] or 53
    except ValueError:
        fail(f"--resolver {text!r}: name it by its address, such as 192.168.1.1:53")


def _chosen(modes: tuple[Mode, ...], chosen: Settings) -> tuple[Mode, ...]:
    from relayprobe.office365.modes import MODES as KNOWN

    of_routes = {route.mode for route in chosen.route}
    return modes or tuple(mode for mode in KNOWN if mode in of_routes) or ("submission",)


@contextmanager
def _progress(no_color: bool) -> Iterator[Told]:
    """How far it is, on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda name, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, no_color=no_color)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("check", total=None)

        def told(name: str, done: int, of: int) -> None:
            progress.update(task, description=name, completed=done, total=of)

        yield told
