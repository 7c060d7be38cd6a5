"""`relayprobe check`: what this site can reach, and what its DNS says."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relayprobe.cli.options import Wrong, common, fail, language, option, settings
from relayprobe.cli.terminal import Terminal
from relayprobe.tongue import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relayprobe.check.checked import Checked
    from relayprobe.check.resolver import Resolver
    from relayprobe.check.run import AtMx, Extra, Place, Run, Told
    from relayprobe.check.talk import Target
    from relayprobe.office365.modes import Mode
    from relayprobe.relay.routes import Route
    from relayprobe.settings import Settings
    from relayprobe.store.checks import Run as Kept

MODES = click.Choice(["submission", "direct-send", "connector"])
HISTORY = 20
"""Earlier runs whose addresses are looked at."""


@click.command("check")
@common
@option("--resolver", metavar="HOST:PORT", help="Name server to ask instead of this machine's own.")
@option("--submission-host", metavar="HOST:PORT", help="Instead of smtp.office365.com, ports 587 and 25.")
@option("--mx-host", metavar="HOST:PORT", help="Instead of the MX host of the domain, port 25.")
@option("--ca-file", type=click.Path(path_type=Path), help="Authorities (PEM) to trust beside the system's.")
@option("--login", is_flag=True, help="Try the login of each route, once.")
@option("--dry-run-to", metavar="ADDRESS", help="Send the MX endpoint an envelope to it, and no message.")
@option("--from", "sender", metavar="ADDRESS", help="Its sender (default relayprobe@DOMAIN).")
@option("--session", metavar="ID", help="A captured session: what its device can do at this site.")
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
    login: bool,
    dry_run_to: str | None,
    sender: str | None,
    session: str | None,
    modes: tuple[Mode, ...],
    lists: tuple[str, ...],
    deadline: float,
    patience: float,
    domain: str | None,
) -> None:
    """Look at what this site can reach, and at what DNS says of DOMAIN and of the site's address.

    DOMAIN is the domain that mail is sent from (default: the first of site.domains in the configuration). Run it in the
    network that the devices are in. Nothing is sent: no login without --login, no envelope without --dry-run-to.

    Exit code 1 where a chosen mode (--mode, else those of the routes, and submission where there are none) is
    blocked, or could not be told.
    """
    from relayprobe.capture.tls import CertificateError
    from relayprobe.check.resolver import Resolver
    from relayprobe.check.run import Asked, blocked, run, run_object
    from relayprobe.report.checks import lines, spoken

    chosen = settings(config, {"data": data} if data is not None else {})
    name = _domain(domain, chosen)
    wanted = _chosen(modes, chosen)
    patience = min(patience, deadline / 2)
    earlier = _earlier(chosen.data, name)
    device = _Device(chosen.data, session, config) if session else None
    asked = Asked(
        domain=name,
        submission=_place(submission_host, "--submission-host") or Asked.submission,
        mx=_place(mx_host, "--mx-host") or ((str(chosen.site.mx), None) if chosen.site.mx else None),
        ca_file=ca_file,
        deadline=deadline,
        patience=patience,
        public_ip=str(chosen.site.public_ip) if chosen.site.public_ip else None,
        helo=chosen.listen.name,
        lists=lists or Asked.lists,
        extras={**(_logins(chosen, config, patience) if login else {}), "local": _local(chosen)},
        at_mx=_envelope(dry_run_to, sender, name, chosen, config, patience),
        earlier=tuple((one.at, one.addresses) for one in earlier),
    )
    servers = [_name_server(resolver)] if resolver else []
    at = time.time()

    async def look() -> Run:
        asking = Resolver(servers, timeout=min(5.0, deadline / 4), deadline=deadline * 0.8)
        with _progress(no_color) as told:
            return await run(asked, asking, told)

    try:
        found = asyncio.run(look())
    except CertificateError as error:
        raise Wrong(str(error)) from None
    from relayprobe.check.device import todo

    record = run_object(found, at)
    record["todo"] = todo(found.checks, wanted)
    record["history"] = [{"at": one.at, "addresses": list(one.addresses)} for one in earlier]
    if device is not None:
        record["device"] = device.joined(found)
    record["id"] = _kept(chosen.data, record)
    if as_json:
        json.dump(spoken(record, language(as_json)), sys.stdout)
        sys.stdout.write("\n")
    else:
        Terminal(no_color).lines(lines(record, language()))
    if blocked(found, wanted):
        raise click.exceptions.Exit(1)


class _Device:
    """The session that was named. What is wrong with the name is said before anything is looked at."""

    def __init__(self, data: Path, session: str, config: Path | None) -> None:
        from relayprobe.cli.site import site_given
        from relayprobe.dossier.judging import load
        from relayprobe.store import Archive

        self._data = data
        with Archive.open(data) as stored:
            self._row = stored.find(session)
            self._site = site_given(config) or load(stored, self._row).site

    def joined(self, found: Run) -> dict[str, Any]:
        """The device at this site."""
        from relayprobe.check.device import device_object, site_with
        from relayprobe.dossier.judging import judge_stored
        from relayprobe.store import Archive

        with Archive.open(self._data) as stored:
            judged = judge_stored(stored, self._row, site=site_with(self._site, found))
        return device_object(self._row.id, judged, found)


def _earlier(data: Path, domain: str) -> list[Kept]:
    """The runs before this one, newest first."""
    from relayprobe.store import StoreError
    from relayprobe.store.checks import runs

    try:
        return runs(data, domain, HISTORY)
    except StoreError:  # there is nothing yet
        return []


def _kept(data: Path, record: dict[str, Any]) -> str | None:
    """The id under which a run is kept. A result that cannot be kept is still one."""
    from relayprobe.store import StoreError
    from relayprobe.store.checks import keep

    try:
        return keep(data, record["at"], record["domain"], record["addresses"], record)
    except StoreError as error:
        click.echo(language()("Warning: this run is not kept: {error}", error=error), err=True)
        return None


def _routes(chosen: Settings, config: Path | None) -> tuple[Route, ...]:
    from relayprobe.relay.routes import origin_of, routes_of
    from relayprobe.relay.secrets import SecretError

    base = config.parent if config else Path()
    try:
        return routes_of(chosen.route, base, origin_of(chosen.relay, "token_key", base, "relay.token_key"))
    except (ValueError, SecretError) as error:
        raise Wrong(str(error)) from None


def _logins(chosen: Settings, config: Path | None, patience: float) -> dict[str, Extra]:
    from relayprobe.check import logins

    routes = logins.routes_with_login(_routes(chosen, config))
    if not routes:
        fail(said("--login tries the logins of the routes, and none has one: name a configuration with --config"))

    def of(route: Route) -> Extra:
        async def look(*_: object) -> tuple[Checked, ...]:
            return (logins.judged(await logins.look(route, chosen, patience)),)

        return look

    return {f"sign-in:{route.name}": of(route) for route in routes}


def _local(chosen: Settings) -> Extra:
    from relayprobe.check import local
    from relayprobe.cli.listen import parse_port

    places = [parse_port(text) for text in chosen.listen.on]

    async def look(*_: object) -> tuple[Checked, ...]:
        return (
            *map(local.port, places),
            await asyncio.to_thread(local.old_tls),
            await local.firewall(places),
        )

    return look


def _envelope(
    to: str | None,
    sender: str | None,
    domain: str,
    chosen: Settings,
    config: Path | None,
    patience: float,
) -> dict[str, AtMx]:
    from relayprobe.check import envelope
    from relayprobe.check.talk import trusting
    from relayprobe.wire.session import domain_of

    if to is None:
        if sender is not None:
            fail(said("--from goes with --dry-run-to: it is the sender of that envelope"))
        return {}
    sender = sender or f"relayprobe@{domain}"
    for name, address in (("--dry-run-to", to), ("--from", sender)):
        if not _ADDRESS.fullmatch(address):
            fail(
                said(
                    "{option} {address!r} is no address: write one such as anna@contoso.com",
                    option=name,
                    address=address,
                )
            )
    inside = domain_of(to) in {domain, *(one.lower() for one in chosen.site.domains)}
    # the connector may go by our certificate
    shown = next((route for route in _routes(chosen, config) if route.client_certificate is not None), None)
    certificate = (shown.client_certificate, shown.client_key) if shown else (None, None)

    async def look(target: Target, _: object, resolver: Resolver) -> tuple[Checked, ...]:
        context = await asyncio.to_thread(trusting, *certificate)
        mail = envelope.Envelope(sender, to, "inside" if inside else "outside")
        return (envelope.judged(await envelope.look(mail, target, context, resolver, patience)),)

    return {f"dry-run:{'inside' if inside else 'outside'}": look}


_ADDRESS = re.compile(r"[!-;=?A-~]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def _domain(given: str | None, chosen: Settings) -> str:
    name = given or next(iter(chosen.site.domains), None)
    if name is None:
        fail(
            said(
                "name the domain that mail is sent from: `relayprobe check contoso.com`, or site.domains in a --config"
            )
        )
    name = name.strip().rstrip(".").lower()
    if "@" in name:
        fail(said("{name} is an address: name its domain alone, {domain}", name=name, domain=name.rpartition("@")[2]))
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        fail(said("{name!r} is no domain: write one such as contoso.com", name=name))
    if "." not in ascii_name or not all(label.replace("-", "a").isalnum() for label in ascii_name.split(".")):
        fail(said("{name!r} is no domain: write one such as contoso.com", name=name))
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
        fail(said("{option} {text!r} is no place: write HOST:PORT", option=name, text=text))
    return host, int(port) if port else None


def _name_server(text: str) -> tuple[str, int]:
    place = _place(text, "--resolver")
    assert place is not None
    try:
        return str(ipaddress.ip_address(place[0])), place[1] or 53
    except ValueError:
        fail(said("--resolver {text!r}: name it by its address, such as 192.168.1.1:53", text=text))


def _chosen(modes: tuple[Mode, ...], chosen: Settings) -> tuple[Mode, ...]:
    from relayprobe.office365.modes import MODES as KNOWN

    of_routes = {route.mode for route in chosen.route}
    if not of_routes:
        return modes or ("submission",)
    return modes or tuple(mode for mode in KNOWN if mode in of_routes)  # none, where all go to a smart host


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
