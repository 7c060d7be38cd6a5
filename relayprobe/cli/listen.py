"""`relayprobe listen`: capture and diagnose. Shows every dialogue as it happens and what was found when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import structlog

from relayprobe import logs
from relayprobe.advice.choice import advise
from relayprobe.advice.findings import diagnose
from relayprobe.advice.verdicts import verdicts
from relayprobe.capture.answers import Accept
from relayprobe.capture.imitation import Imitation, Tenant
from relayprobe.capture.interview import Interviews
from relayprobe.capture.listener import Judged, Listener, ListenError, Manner, Port, handed_sockets
from relayprobe.capture.smtp import Limits
from relayprobe.capture.tls import CertificateError, imitated_context, own_certificate, server_context
from relayprobe.cli.options import common, fail, language, option, settings
from relayprobe.cli.terminal import Beside, Terminal
from relayprobe.cli.web import heard, new_hub, page_announced, page_served, web_options
from relayprobe.report.interview import progress_object, progress_text
from relayprobe.report.text import MODE_NAMES, advice_text, conclusion, event_line, verdicts_text
from relayprobe.settings.site import site_of
from relayprobe.store import Retention, Store, StoreError
from relayprobe.tongue import ENGLISH, Tongue, said
from relayprobe.wire.events import Event
from relayprobe.wire.message import trimmed
from relayprobe.wire.session import Session

if TYPE_CHECKING:
    from relayprobe.settings import Settings

log = structlog.get_logger("relayprobe.session")


@click.command("listen")
@common
@option(
    "--listen", "-l", multiple=True, metavar="HOST:PORT", help="Where to listen; repeatable. tls:// or plain:// pins."
)
@option("--allow", multiple=True, metavar="CIDR", help="A network to answer besides the private ones; repeatable.")
@option(
    "--mode", type=click.Choice(["submission", "direct-send", "connector"]), help="What the device is meant to use."
)
@option(
    "--imitate",
    type=click.Choice(["submission", "direct-send", "connector"]),
    help="Answer as Office 365 does in this mode, refusals included.",
)
@option(
    "--pop3", multiple=True, metavar="HOST:PORT", help="Note there who logs in by POP3 before it sends; repeatable."
)
@option("--interview", is_flag=True, help="Vary the offer over a few test sends, to learn what a device can do.")
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
    allow: tuple[str, ...],
    mode: str | None,
    imitate: str | None,
    pop3: tuple[str, ...],
    interview: bool,
    cert: Path | None,
    key: Path | None,
    log_file: Path | None,
    log_format: str | None,
    web: str | None,
    no_web: bool,
    quiet: bool,
) -> None:
    """Capture and diagnose what devices send; never forwards anything.

    Point the device at this machine, port 2525 unless --listen says otherwise, and let it send. Every port takes plain
    SMTP, STARTTLS and TLS on connect. Ends with Ctrl-C.
    """
    given = {
        "data": data,
        "listen": {
            "on": listen or None,
            "allow": allow or None,
            "mode": mode,
            "imitate": imitate,
            "pop3": pop3 or None,
            "cert": cert,
            "key": key,
        },
        "log": {"file": log_file, "form": log_format},
        "web": {"on": web},
    }
    chosen = settings(config, only_given(given))
    if interview and chosen.listen.imitate:
        fail(said("--interview and --imitate exclude each other: an interview varies what Office 365 never would"))
    try:
        logs.set_up(chosen.log.form, chosen.log.file, logging.DEBUG if verbose else logging.INFO)
    except logs.LogError as error:
        fail(str(error))
    if config is not None and chosen.accounts and config.stat().st_mode & 0o004:
        log.warning("others on this machine can read the passwords in the configuration", file=str(config))
    show = Beside(Terminal(no_color), language())
    try:
        with new_loop_runner() as runner:
            runner.run(serve(chosen, show, quiet=quiet or as_json, as_json=as_json, interview=interview, no_web=no_web))
    finally:
        show.close()


def only_given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given, so that it does not hide what the file says."""
    kept = {key: only_given(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in kept.items() if value not in (None, {})}


def new_loop_runner() -> asyncio.Runner:
    """A runner on uvloop where it is installed: the same, faster.

    What is loaded by now stays to the end, so the collector need not look at it again; and it looks less often, for
    what a session leaves behind has few circles in it. A fifth of the time for each session would go into that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def serve(
    chosen: Settings,
    show: Beside,
    *,
    quiet: bool = False,
    as_json: bool = False,
    interview: bool = False,
    no_web: bool = True,
) -> None:
    """Listen until told to stop."""
    ports, sockets = ports_of(chosen)
    store = store_of(chosen)
    try:
        certificate, key = certificate_of(chosen)
        imitated = chosen.listen.imitate
        tls = imitated_context(certificate, key, imitated) if imitated else server_context(certificate, key)
        if imitated not in (None, "submission") and not chosen.site.domains:
            log.warning("domains in [site] are not told: that of the sender is taken for the accepted domain")
        screen = None if quiet else Screen(show, language())
        hub = new_hub(no_web)

        def ended(judged: Judged) -> None:
            heard(hub, judged)
            _judged(judged, screen, show if as_json else None, show, interviews)

        interviews = None
        manner = manner_of(chosen)
        if interview:
            only_12 = ssl.TLSVersion.TLSv1_2
            interviews = Interviews(
                chosen.listen.name,
                accounts=chosen.passwords,
                message_size=chosen.limits.message_size,
                new_tls=server_context(certificate, key, oldest=only_12, newest=only_12),
            )
            manner = replace(manner, answers_for=interviews.answers_for)
        listener = Listener(
            ports,
            manner,
            tls,
            store,
            chosen.data,
            onlookers=tuple(one for one in (screen, hub) if one is not None),
            judged=ended,
        )
        async with page_served(hub, lambda: chosen) as where:
            await listener.start(sockets)
            for port in listener.ports:
                log.info("listening", on=port.name, data=str(chosen.data))
            if screen:
                show.lines(_invitation(listener.ports, chosen))
            page_announced(show, where, quiet)
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, stop.set)
            await stop.wait()
        await listener.stop()
        log.info("stopped")
    except (ListenError, CertificateError) as error:
        fail(str(error))
    finally:
        store.close()


def ports_of(chosen: Settings) -> tuple[list[Port], list[socket.socket]]:
    """Where to listen: the ports of the settings, or sockets that were handed over in their place."""
    sockets = handed_sockets()
    ports = [] if sockets else [parse_port(text) for text in chosen.listen.on]
    return [*ports, *(replace(parse_port(text), pin="pop3") for text in chosen.listen.pop3)], sockets


def store_of(
    chosen: Settings,
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    told: Callable[[StoreError], None] = lambda error: None,
) -> Store:
    """The store in the data folder, open for writing. `told`: of what goes wrong later. Raises StoreError."""

    def trouble(error: StoreError) -> None:
        log.error("cannot store what is captured", error=str(error))
        told(error)

    return Store.open(
        chosen.data,
        Retention(
            session_age=chosen.retention.session_age,
            body_age=chosen.retention.body_age,
            sessions=chosen.retention.sessions,
            size=chosen.retention.size,
        ),
        trim=trimmed,
        on_error=trouble,
        synchronous=synchronous,
    )


def certificate_of(chosen: Settings) -> tuple[Path, Path]:
    """The certificate that devices are shown, and its key. Raises CertificateError."""
    certificate, key = chosen.listen.cert, chosen.listen.key
    if (certificate is None) != (key is None):
        fail(said("--cert and --key go together: give both, or neither"))
    if certificate is None or key is None:
        return own_certificate(chosen.data, chosen.listen.name)
    return certificate, key


def manner_of(chosen: Settings) -> Manner:
    """How the listener is to behave by the settings."""
    limits = Limits(
        message_size=chosen.limits.message_size,
        recipients=chosen.limits.recipients,
        messages_per_session=chosen.limits.messages_per_session,
        command_timeout=chosen.limits.command_timeout,
        data_timeout=chosen.limits.data_timeout,
        session_timeout=chosen.limits.session_timeout,
    )
    return Manner(
        answers_of(chosen),
        limits,
        connections=chosen.limits.connections,
        connections_per_peer=chosen.limits.connections_per_peer,
        allow=chosen.listen.allow,
        accounts=chosen.passwords,
        site=site_of(chosen),
        mode=chosen.listen.mode,
        imitate=chosen.listen.imitate,
    )


def answers_of(chosen: Settings) -> Accept:
    """Who answers by the settings: the listener in its own manner, or as Office 365."""
    name, size = chosen.listen.name, chosen.limits.message_size
    mode = chosen.listen.imitate
    if mode is None:
        mechanisms = tuple(name.upper() for name in chosen.listen.mechanisms)
        return Accept(name, accounts=chosen.passwords, message_size=size, mechanisms=mechanisms)
    told = chosen.imitate
    tenant = Tenant(
        domains=site_of(chosen).domains,
        send_as={user.lower(): addresses for user, addresses in told.send_as.items()},
        recipients=frozenset(address.lower() for address in told.recipients),
        connector=told.connector,
        reject_direct_send=told.reject_direct_send,
        smtp_auth=told.smtp_auth,
        messages_per_minute=told.messages_per_minute,
        connections=told.connections,
        recipients_per_message=told.recipients_per_message,
        delay=told.delay,
    )
    return Imitation(name, mode, tenant, accounts=chosen.passwords, message_size=size)


def parse_port(text: str) -> Port:
    """`HOST:PORT`, `[HOST]:PORT`, with `tls://` or `plain://` in front where the port is pinned."""
    scheme, separator, rest = text.rpartition("://")
    host, _, number = rest.rpartition(":")
    if (separator and scheme not in ("tls", "plain")) or not host or not number.isdecimal() or int(number) > 65535:
        fail(
            said(
                "{text!r} is no place to listen on: write HOST:PORT such as 0.0.0.0:2525, or tls://0.0.0.0:465",
                text=text,
            )
        )
    return Port(host.strip("[]"), int(number), scheme or None)  # type: ignore[arg-type]


class Screen:
    """Shows dialogues as they happen, each line with the beginning of its session's id."""

    def __init__(self, terminal: Terminal | Beside, tongue: Tongue = ENGLISH) -> None:
        self._terminal = terminal
        self._tongue = tongue

    def event(self, session: str, event: Event) -> None:
        """Show one event."""
        self._terminal.line(event_line(event, tongue=self._tongue), f"{session[:4]} ")

    def judged(self, judged: Judged) -> None:
        """Show what was found."""
        found = verdicts(judged.session, judged.visits)
        advice = advise(judged.session, judged.findings, found, judged.visits)
        self._terminal.lines(
            [
                ("heading", f"--- {self._tongue('Session {id}', id=judged.session.id)} ---"),
                *conclusion(judged.session, judged.findings, found, advice, self._tongue),
                ("", ""),
            ]
        )


def _judged(
    judged: Judged, screen: Screen | None, rows: Beside | None, show: Beside, interviews: Interviews | None
) -> None:
    session, row = judged.session, judged.row
    log_session(judged)
    if interviews is not None and (progress := interviews.heard(session)):
        if rows:
            thing = progress_object(
                progress.host, progress.offer, progress.profile, progress.next, language(as_json=True)
            )
            rows.line(("", json.dumps(thing)))
        else:
            show.lines(progress_text(progress.host, progress.profile, progress.next, language()))
            if progress.next is None and progress.best is not None:
                show.lines(_advised(progress.best))
            show.line(("", ""))
        return
    if screen:
        screen.judged(judged)
    if rows:
        from relayprobe.dossier.objects import row_object

        rows.line(("", json.dumps(row_object(row))))


def log_session(judged: Judged) -> None:
    """A session that has ended, in the log."""
    session, row = judged.session, judged.row
    last = session.tls[-1][1] if session.tls else None
    log.info(
        "session",
        id=session.id,
        peer=session.peer,
        listener=session.listener,
        seconds=round(session.closed.at if session.closed else 0.0, 3),
        tls=f"{last.version} {last.cipher}" if last else None,
        auth=[
            f"{a.mechanism} {a.user or ''} {'ok' if a.accepted else 'refused' if a.accepted is False else 'unfinished'}"
            for a in session.auths[:5]
        ],
        sender=row.senders[0] if row.senders else None,
        recipients=sum(len(e.recipients) for e in session.envelopes),
        messages=row.messages,
        octets=row.octets,
        findings=list(row.findings),
    )


def _advised(session: Session) -> Iterator[tuple[str, str]]:
    """What suits a device, at the end of its interview."""
    findings, found = diagnose(session), verdicts(session)
    yield from verdicts_text(found, tongue=language())
    yield from advice_text(advise(session, findings, found), language())


def _invitation(ports: list[Port], chosen: Settings) -> list[tuple[str, str]]:
    tongue = language()
    where = ", ".join(port.name for port in ports)
    if chosen.listen.imitate is None:
        here = tongue(
            "relayprobe listens on {where}. Point the device here and let it send; Ctrl-C ends it.", where=where
        )
    else:
        here = tongue(
            "relayprobe listens on {where}, and answers as Office 365 does ({mode}). Point the device here and let it "
            "send; Ctrl-C ends it.",
            where=where,
            mode=MODE_NAMES[chosen.listen.imitate],
        )
    kept = tongue("Nothing is sent on. What is captured is kept in {folder}.", folder=os.fspath(chosen.data))
    return [("heading", here), ("info", kept), ("", "")]
