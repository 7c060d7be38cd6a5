"""The page, for the commands that serve it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
import structlog

from relayprobe.cli.options import fail, language, option
from relayprobe.dossier.objects import row_object
from relayprobe.tongue import said

if TYPE_CHECKING:
    from relayprobe.capture.listener import Judged
    from relayprobe.cli.terminal import Beside
    from relayprobe.relay.relay import Relay
    from relayprobe.settings import Settings
    from relayprobe.web.hub import Hub
    from relayprobe.web.serve import Web

F = TypeVar("F", bound=Callable[..., Any])

log = structlog.get_logger("relayprobe.web")


def web_options(function: F) -> F:
    """Where the page is served, or that it is not."""
    where = option("--web", metavar="HOST:PORT", help="Where to serve the page (default 127.0.0.1:8025).")
    return where(option("--no-web", is_flag=True, help="Serve no page.")(function))


def new_hub(no_web: bool) -> Hub | None:
    """What the page hears of; None where there is no page."""
    if no_web:
        return None
    from relayprobe.web.hub import Hub

    return Hub(time.time)


def heard(hub: Hub | None, judged: Judged) -> None:
    """A session has ended."""
    if hub is not None:
        hub.ended(row_object(judged.row))


@asynccontextmanager
async def page_served(
    hub: Hub | None, settings: Callable[[], Settings], relay: Relay | None = None
) -> AsyncIterator[Web | None]:
    """Serve the page meanwhile; None where there is none. Before there is a listener, so that what is wrong with the
    page is said before a device is answered.

    That a place which nobody asked for is taken is no reason not to start.
    """
    if hub is None:
        yield None
        return
    from relayprobe.web.figures import figures_of
    from relayprobe.web.house import House
    from relayprobe.web.serve import PlaceTaken, WebError, start

    chosen = settings()
    house = House(chosen.data, settings, hub, figures_of(hub), relay)
    try:
        web = await start(house, chosen)
    except WebError as error:
        if "on" in chosen.web.model_fields_set or not isinstance(error, PlaceTaken):
            fail(str(error))
        log.warning("there is no page", why=str(error))
        yield None
        return
    try:
        yield web
    finally:
        await web.stop()


def page_announced(show: Beside, web: Web | None, quiet: bool) -> None:
    """Say where the page is: beside the dialogues, or where these are not shown, on a terminal.

    What else there is on stderr is a log, and the token may be in none; a service has one of its own (`token_file`).
    """
    if web is None:
        return
    log.info("page", at=web.address)
    told = language()(said("The page: {link}", link=web.link))
    if not quiet:
        show.lines([("info", told), ("", "")])
    elif sys.stderr.isatty():
        click.echo(told, err=True)
    elif web.word:
        log.warning("nobody can open the page: put a token into `token_file` in [web], or a password")
