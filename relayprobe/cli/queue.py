"""`relayprobe queue`: mail that was accepted and is not yet delivered."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relayprobe.cli.options import common, data_folder, fail, language, option
from relayprobe.cli.terminal import Terminal
from relayprobe.dossier.objects import mail_object, whole_object
from relayprobe.tongue import said

if TYPE_CHECKING:
    from relayprobe.store import Mail, Spool

STATES = ("waiting", "sending", "held", "failed", "delivered", "dropped")


@click.group("queue")
def command() -> None:
    """Mail that was accepted and is not yet delivered.

    May be used while `relayprobe relay` runs: it sees what was asked within a second.
    """


@contextmanager
def spool_of(config: Path | None, data: Path | None) -> Iterator[tuple[Spool, Path]]:
    """The spool in the data folder, for reading."""
    from relayprobe.store import Spool

    folder = data_folder(config, data)
    spool = Spool.open(folder)
    try:
        yield spool, folder
    finally:
        spool.close()


@command.command("list")
@common
@option("--all", "every", is_flag=True, help="Those that are done with, too.")
@option("--state", type=click.Choice(STATES), multiple=True, help="In this state; repeatable.")
@option("--route", help="On this route.")
@option("--session", help="Of this session.")
@option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most so many.")
@click.argument("text", required=False)
def list_(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    every: bool,
    state: tuple[Any, ...],
    route: str | None,
    session: str | None,
    limit: int,
    text: str | None,
) -> None:
    """List mail, oldest first. TEXT: a part of sender or recipient."""
    from relayprobe.report.queue import list_lines
    from relayprobe.store.mail import QUEUED
    from relayprobe.store.queue import Wanted

    states: tuple[Any, ...] = state or (STATES if every else QUEUED)
    with spool_of(config, data) as (spool, _):
        wanted = Wanted(states, session=session, route=route, text=text)
        objects = (mail_object(mail, spool.last_reply(mail.id)) for mail in spool.mails(wanted, limit))
        if as_json:
            for one in objects:
                sys.stdout.write(json.dumps(one) + "\n")
            return
        terminal = Terminal(no_color)
        found = list(objects)
        if not found:
            terminal.line(("good", language()(said("Nothing is waiting."))))
        terminal.lines(list_lines(found, time.time(), spool.route_records(), language()))


@command.command("show")
@common
@option("--changes", is_flag=True, help="What the relay changed, as a diff.")
@click.argument("mail")
def show(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, changes: bool, mail: str
) -> None:
    """Show one mail with all that was tried. MAIL is an id, the beginning of one, or `last`."""
    from relayprobe.report.queue import mail_lines

    with spool_of(config, data) as (spool, _):
        found = spool.find(mail)
        if changes:
            from relayprobe.cli.options import settings
            from relayprobe.relay.text import changes_of

            chosen = settings(config, {})
            terminal = Terminal(no_color)
            for line in changes_of(spool, found, chosen, config):
                style = "good" if line.startswith("+") else "error" if line.startswith("-") else ""
                terminal.line((style, line))
            return
        whole = whole_object(spool, found)
    if as_json:
        sys.stdout.write(json.dumps(whole) + "\n")
    else:
        Terminal(no_color).lines(mail_lines(whole, language()))


def _each(
    config: Path | None, data: Path | None, mails: tuple[str, ...], every: bool, states: tuple[Any, ...]
) -> Iterator[tuple[Path, Mail]]:
    """The mails that a command names."""
    from relayprobe.store.queue import Wanted

    if bool(mails) == every:
        fail(said("name the mails (`relayprobe queue list` shows their ids), or say --all"))
    with spool_of(config, data) as (spool, folder):
        found = spool.mails(Wanted(states)) if every else (spool.find(one) for one in mails)
        for mail in found:
            yield folder, mail


_DONE = {
    "retry": (said("{id}: tried now"), said("{id}: not tried now, for it is {state}")),
    "hold": (said("{id}: held"), said("{id}: not held, for it is {state}")),
    "release": (said("{id}: released"), said("{id}: not released, for it is {state}")),
    "drop": (said("{id}: dropped"), said("{id}: not dropped, for it is {state}")),
}


def _change(name: str, change: Callable[[Path, Mail], bool], each: Iterator[tuple[Path, Mail]], as_json: bool) -> None:
    from relayprobe.report.queue import STATE_NAMES

    tongue = language()
    done, not_done = _DONE[name]
    unchanged = 0
    for folder, mail in each:
        changed = change(folder, mail)
        unchanged += not changed
        if as_json:
            sys.stdout.write(json.dumps({"id": mail.id, "changed": changed}) + "\n")
        elif changed:
            click.echo(tongue(said(done.template, id=mail.id)))
        else:
            state = STATE_NAMES.get(mail.state, mail.state)
            click.echo(tongue(said(not_done.template, id=mail.id, state=state)), err=True)
    if unchanged:
        raise click.exceptions.Exit(1)


MAILS = click.argument("mails", nargs=-1)
EVERY = option("--all", "every", is_flag=True, help="All for which it makes sense.")


@command.command("retry")
@common
@EVERY
@option("--route", help="Try this route now, whatever has stopped it.")
@MAILS
def retry(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    every: bool,
    route: str | None,
    mails: tuple[str, ...],
) -> None:
    """Try now: mail that waits, is held, or was given up."""
    from relayprobe.store import by_hand

    if route is not None:
        _check_route(config, data, route)
        by_hand.ask_for_route(data_folder(config, data), route, time.time())
        if not mails and not every:
            click.echo(language()(said("route {route}: is tried as soon as there is mail for it", route=route)))
            return
    each = _each(config, data, mails, every, ("waiting", "held", "failed"))
    _change("retry", lambda folder, mail: by_hand.retry(folder, mail, time.time()), each, as_json)


def _check_route(config: Path | None, data: Path | None, route: str) -> None:
    from relayprobe.cli.options import settings

    with spool_of(config, data) as (spool, _):
        known = {*spool.route_records(), *(name for name, _, _ in spool.routes_of_waiting())}
    if config is not None:
        known = {one.name for one in settings(config, {}).route}
    if route not in known:
        names = ", ".join(sorted(known)) or said("none")
        fail(said("there is no route {route}: known are {names}", route=route, names=names))


@command.command("hold")
@common
@EVERY
@MAILS
def hold(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    every: bool,
    mails: tuple[str, ...],
) -> None:
    """Keep waiting mail back until it is released."""
    from relayprobe.store import by_hand

    _change("hold", by_hand.hold, _each(config, data, mails, every, ("waiting",)), as_json)


@command.command("release")
@common
@EVERY
@MAILS
def release(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    every: bool,
    mails: tuple[str, ...],
) -> None:
    """Let held mail go on."""
    from relayprobe.store import by_hand

    _change("release", by_hand.release, _each(config, data, mails, every, ("held",)), as_json)


@command.command("drop")
@common
@EVERY
@option("--yes", is_flag=True, help="Do not ask.")
@MAILS
def drop(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    every: bool,
    yes: bool,
    mails: tuple[str, ...],
) -> None:
    """Give mail up. It is not sent, and nobody is told."""
    from relayprobe.store import by_hand

    if not yes:
        click.confirm(language()(said("It will not be sent, and nobody is told. Drop it?")), abort=True)
    _change("drop", by_hand.drop, _each(config, data, mails, every, ("waiting", "held", "failed")), as_json)


@command.command("export")
@common
@option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Where to, instead of stdout.")
@option("--as-captured", is_flag=True, help="As the device sent it, dots doubled, instead of as it is sent on.")
@click.argument("mail")
def export(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    output: Path | None,
    as_captured: bool,
    mail: str,
) -> None:
    """Write a mail's text (.eml), as it is sent on. MAIL is an id, the beginning of one, or `last`."""
    from relayprobe.cli.options import settings
    from relayprobe.relay.text import sent_text

    with spool_of(config, data) as (spool, _):
        found = spool.find(mail)
        chunks = spool.text(found) if as_captured else sent_text(spool, found, settings(config, {}), config)
        try:
            with output.open("xb") if output else click.open_file("-", "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
        except FileExistsError:
            fail(said("{file} is there already: choose another name", file=output))
        except OSError as error:
            if output is None:
                raise
            fail(said("cannot write {file}: {why}", file=output, why=error.strerror))
