"""`relayprobe relay`: what `listen` does, and the mail is put right and sent on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from relayprobe import logs
from relayprobe.cli.listen import Screen, certificate_of, manner_of, new_loop_runner, only_given, ports_of, store_of
from relayprobe.cli.options import Wrong, common, fail, language, option, settings
from relayprobe.cli.terminal import Beside, Terminal
from relayprobe.cli.web import heard, new_hub, page_announced, page_served, web_options
from relayprobe.settings.site import site_of
from relayprobe.tongue import Said, counted, said

if TYPE_CHECKING:
    from relayprobe.capture.listener import Judged, Listener, Manner, Port
    from relayprobe.relay.plan import Plan
    from relayprobe.relay.relay import Relay
    from relayprobe.settings import Settings
    from relayprobe.store import Attempt, Mail, StoreError

log = structlog.get_logger("relayprobe.relay")

AT_START = ("listen.name", "listen.cert", "listen.key", "listen.pop3", "relay.metrics", "retention", "log", "web")
"""Settings that are looked at when the relay starts, and not when it reads the configuration anew."""


@click.command("relay")
@common
@option(
    "--listen", "-l", multiple=True, metavar="HOST:PORT", help="Where to listen; repeatable. tls:// or plain:// pins."
)
@option("--learn", metavar="TIME", help="Send nothing on; for so long (30m, 1h) note which devices try, and list them.")
@option("--test", "test_to", metavar="ADDRESS", help="Send one message through each route, print the dialogue, end.")
@option("--route", "only", multiple=True, help="With --test: only through this route; repeatable.")
@option("--cert", type=click.Path(path_type=Path), help="Certificate chain (PEM) instead of our own.")
@option("--key", type=click.Path(path_type=Path), help="Its key (PEM).")
@option("--log-file", type=click.Path(path_type=Path), help="Log there instead of on stderr.")
@option("--log-format", type=click.Choice(["console", "json"]), help="Form of the log (default console).")
@web_options
@option("-q", "--quiet", is_flag=True, help="Do not show the dialogues.")
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    listen: tuple[str, ...],
    learn: str | None,
    test_to: str | None,
    only: tuple[str, ...],
    cert: Path | None,
    key: Path | None,
    log_file: Path | None,
    log_format: str | None,
    web: str | None,
    no_web: bool,
    quiet: bool,
) -> None:
    """Take mail from the devices that are named, put it right, and send it on to Office 365.

    Needs [relay] and [[route]] in the configuration: who may send, and which way it goes. What was accepted is on the
    disk, and is delivered or reported, whatever happens. SIGHUP (`relayprobe reload`) reads the configuration anew;
    SIGTERM lets what is under way end.
    """
    from relayprobe.relay.plan import RelayError, plan_of

    given = only_given(
        {
            "data": data,
            "listen": {"on": listen or None, "cert": cert, "key": key},
            "log": {"file": log_file, "form": log_format},
            "web": {"on": web},
        }
    )
    chosen = settings(config, given)
    if chosen.listen.imitate:
        fail(said("listen.imitate and `relay` exclude each other: who imitates Office 365 sends nothing on"))
    seconds = _seconds(learn) if learn else None
    try:
        plan = plan_of(chosen, config, learning=seconds is not None, testing=test_to is not None)
    except RelayError as error:
        fail(f"{config}: {error}" if config else str(error))
    try:
        logs.set_up(chosen.log.form, chosen.log.file, logging.DEBUG if verbose else logging.INFO)
    except logs.LogError as error:
        fail(str(error))
    if only and test_to is None:
        fail(said("--route goes with --test: it names the routes to try"))
    if test_to is not None:
        failed = asyncio.run(_test(chosen, plan, config, test_to, only, Terminal(no_color), as_json))
        raise click.exceptions.Exit(1 if failed else 0)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        log.warning("running as root, which the relay does not need: the README shows how it gets port 25 without")
    show = Beside(Terminal(no_color), language())
    try:
        with new_loop_runner() as runner:
            house = _House(chosen, plan, config, given, show, quiet=quiet or as_json, as_json=as_json, no_web=no_web)
            runner.run(house.serve(seconds))
    finally:
        show.close()


def _seconds(text: str) -> float:
    from pydantic import TypeAdapter, ValidationError

    from relayprobe.settings.kinds import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        fail(said("--learn {text!r} is no time: write 30m or 1h", text=text))


class _House:
    """One run of the command: the listener, the relay behind it, and the signals."""

    def __init__(
        self,
        chosen: Settings,
        plan: Plan,
        config: Path | None,
        given: dict[str, Any],
        show: Beside,
        *,
        quiet: bool,
        as_json: bool,
        no_web: bool,
    ) -> None:
        self._hub = new_hub(no_web)
        self._chosen = chosen
        self._plan = plan
        self._config = config
        self._given = given
        self._show = show
        self._screen = None if quiet else Screen(show, language())
        self._as_json = as_json
        self._reloading = asyncio.Lock()

    async def serve(self, learn: float | None) -> None:
        """Relay until told to stop; `learn`: only for so many seconds, and send nothing."""
        from relayprobe.capture.listener import Listener, ListenError
        from relayprobe.capture.tls import CertificateError, server_context
        from relayprobe.relay.figures import serve as serve_figures
        from relayprobe.relay.relay import Relay

        chosen = self._chosen
        early = asyncio.Event()
        if hasattr(signal, "SIGHUP"):  # from before the data folder says which process this is: it would end us
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, early.set)
        damage: queue.SimpleQueue[StoreError] = queue.SimpleQueue()
        store = store_of(chosen, synchronous="FULL", told=damage.put)
        relay = listener = figures = None
        try:
            ports, sockets = ports_of(chosen)
            certificate, key = certificate_of(chosen)
            relay = Relay(chosen, self._config, self._plan, store, site_of(chosen), onlooker=self._ended, damage=damage)
            listener = Listener(
                ports,
                self._manner(relay),
                server_context(certificate, key),
                store,
                chosen.data,
                onlookers=tuple(one for one in (self._screen, self._hub) if one is not None),
                judged=self._judged,
            )
            page = page_served(self._hub, lambda: self._chosen, relay)
            async with page as where:
                relay.start()
                await listener.start(sockets)
                if chosen.relay.metrics:
                    host, _, number = chosen.relay.metrics.rpartition(":")
                    try:
                        figures = serve_figures(relay.figures, host.strip("[]"), int(number))
                    except (OSError, ValueError, OverflowError) as error:
                        fail(f"relay.metrics: cannot listen on {chosen.relay.metrics} ({error}): write HOST:PORT")
                routes = [route.name for route in self._plan.rules.routes]
                for port in listener.ports:
                    log.info("listening", on=port.name, data=str(chosen.data), routes=routes)
                if self._screen:
                    self._show.lines(_invitation(listener.ports, chosen, self._plan, learn))
                page_announced(self._show, where, self._screen is None)
                await self._until_stopped(relay, listener, learn, early.is_set())
            await listener.stop()
            await relay.stop()
            if learn is not None:
                self._say_learned(relay)
            log.info("stopped")
        except (ListenError, CertificateError) as error:
            fail(str(error))
        finally:
            if figures is not None:
                await asyncio.to_thread(figures[0].shutdown)
                figures[0].server_close()
            store.close()

    def _manner(self, relay: Relay) -> Manner:
        manner = manner_of(self._chosen)
        devices = self._plan.rules.devices
        known = devices.allows_address if devices.networks else None
        networks = (*manner.allow, *self._plan.rules.devices.networks, *self._chosen.relay.allow)
        return replace(manner, allow=networks, accounts={}, answers_for=relay.desk.answers_for, known=known)

    async def _until_stopped(self, relay: Relay, listener: Listener, learn: float | None, asked: bool) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(self._reload(relay, listener))
            tasks.add(task)
            task.add_done_callback(done)

        def done(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the configuration was taken in part: start relayprobe anew", exc_info=error)

        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, stop.set)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, reload)
        if asked:
            reload()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(learn):
                await stop.wait()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)

    async def _reload(self, relay: Relay, listener: Listener) -> None:
        from relayprobe.capture.listener import ListenError
        from relayprobe.relay.plan import RelayError, plan_of
        from relayprobe.settings import SettingsError, load

        async with self._reloading:
            try:
                chosen = load(self._config, self._given)
                plan = plan_of(chosen, self._config, learning=self._plan.rules.learning)
                ports, sockets = ports_of(chosen)
            except (SettingsError, RelayError, Wrong) as error:
                says = f"{self._config}: {error}" if isinstance(error, RelayError) else str(error)
                log.error("the configuration was not taken, and nothing changes", error=says)
                return
            if chosen.data != self._chosen.data:
                log.error("the data folder cannot change while relayprobe runs: start it anew", data=str(chosen.data))
                return
            before, self._chosen, self._plan = self._chosen, chosen, plan
            await relay.change(chosen, plan, site_of(chosen))
            listener.change(self._manner(relay))
            try:
                if not sockets:
                    await listener.listen_on(ports)
            except ListenError as error:
                log.error("a port was not opened", error=str(error))
            if later := [key for key in AT_START if _at(chosen, key) != _at(before, key)]:
                log.warning("this takes effect when relayprobe is started anew", keys=later)
            log.info("the configuration was read anew", routes=[route.name for route in plan.rules.routes])

    def _say_learned(self, relay: Relay) -> None:
        if self._as_json:
            tried = [
                {"host": one.host, "logins": one.logins, "senders": one.senders, "count": one.count}
                for one in relay.learned
            ]
            self._show.line(("", json.dumps({"devices": tried})))
            return
        if len(relay.learned):
            self._show.line(
                ("heading", language()(said("These devices tried to send. What may send goes into [relay]:")))
            )
            for line in relay.learned.as_toml().splitlines():
                self._show.line(("", line))
        else:
            nobody = said("No device tried to send. Point one here and let it send, then learn again.")
            self._show.line(("warning", language()(nobody)))

    # What is shown

    def _judged(self, judged: Judged) -> None:
        from relayprobe.cli.listen import log_session

        log_session(judged)
        heard(self._hub, judged)
        if self._screen:
            self._screen.judged(judged)
        if self._as_json:
            from relayprobe.dossier.objects import row_object

            self._show.line(("", json.dumps(row_object(judged.row))))

    def _ended(self, attempt: Attempt, mail: Mail) -> None:
        if self._hub is not None:
            from relayprobe.dossier.objects import mail_object

            self._hub.mail(mail_object(mail, attempt.reply))
        if self._as_json:
            from relayprobe.dossier.objects import mail_object

            self._show.line(("", json.dumps(mail_object(mail, attempt.reply))))
        elif self._screen:
            from relayprobe.report.queue import ended_line

            self._show.line(
                ended_line(mail.id, attempt.route, attempt.place, attempt.result, attempt.reply, language()),
                f"{mail.id[:4]} ",
            )


def _invitation(ports: list[Port], chosen: Settings, plan: Plan, learn: float | None) -> list[tuple[str, str]]:
    tongue = language()
    where = ", ".join(port.name for port in ports)
    if learn is not None:
        learns = tongue(
            "relayprobe listens on {where}, and learns for {time} which devices send.",
            where=where,
            time=_in_words(learn),
        )
        return [
            ("heading", learns),
            ("info", tongue("Nothing is sent on: each device is told to try again later.")),
            ("", ""),
        ]
    routes = ", ".join(f"{route.name} ({route.mode})" for route in plan.rules.routes) or said("none")
    kept = tongue(
        "Routes: {routes}. What is accepted is kept in {folder} until it is delivered.",
        routes=routes,
        folder=os.fspath(chosen.data),
    )
    return [
        ("heading", tongue("relayprobe relays what comes to {where}; Ctrl-C ends it.", where=where)),
        ("info", kept),
        ("", ""),
    ]


def _in_words(seconds: float) -> Said:
    if seconds >= 120:
        return said("{n:.0f} minutes", n=seconds / 60)
    return counted("{n} second", "{n} seconds", round(seconds))


def _at(chosen: Settings, key: str) -> object:
    """A setting by its name: `listen.name`."""
    thing: Any = chosen
    for part in key.split("."):
        thing = getattr(thing, part)
    return thing


async def _test(
    chosen: Settings, plan: Plan, config: Path | None, to: str, only: tuple[str, ...], terminal: Terminal, as_json: bool
) -> bool:
    """Send one message through each route; whether one of them failed."""
    from relayprobe.relay.permitted import plain_address
    from relayprobe.relay.relay import connector_for
    from relayprobe.relay.repair.address import repaired_address
    from relayprobe.relay.trial import trial
    from relayprobe.report.queue import attempt_lines

    names = [route.name for route in plan.rules.routes if route.mode != "auto"]
    if unknown := set(only) - set(names):
        fail(said("there is no route {route}: known are {names}", route=min(unknown), names=", ".join(names)))
    address, _ = repaired_address(to, plan.habit.domain)
    if address is None or plain_address(address) is None:
        fail(said("--test {to!r} is no address: write one such as anna@contoso.com", to=to))
    if not names:
        fail(said("no route can be tested: one of mode auto sends nothing itself"))
    failed = False
    for route in plan.rules.routes:
        if route.mode == "auto" or (only and route.name not in only):
            continue
        began = time.time()
        connector = connector_for(route, chosen, lambda: plan.habit, None)
        done = await trial(route, connector, address, name=chosen.listen.name, domain=plan.habit.domain, now=began)
        failed = failed or not done.delivered
        thing = {
            "route": route.name,
            "place": done.place,
            "began": began,
            "result": done.result,
            "reply": done.reply,
            "repairs": [],
            "dialogue": [json.loads(event) for event in done.dialogue],
        }
        if as_json:
            terminal.line(("", json.dumps(thing)))
        else:
            terminal.lines(attempt_lines(None, thing, language()))
            terminal.line(("", ""))
    return failed
