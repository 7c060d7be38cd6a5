"""The relay as a whole: the parts of a plan put together, started, changed while it runs, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import email.policy
import hashlib
import json
import random
import secrets
import time
from base64 import encodebytes
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, date, datetime
from email.message import Message
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import structlog

from relayprobe.relay import occasions
from relayprobe.relay.auto import Candidate, Choice, choose
from relayprobe.relay.bounce import Returned, Undelivered, came_back, may_bounce, report
from relayprobe.relay.channels import Channel, Command, Webhook
from relayprobe.relay.channels import Mail as ByMail
from relayprobe.relay.delivery import Delivery
from relayprobe.relay.figures import Figures
from relayprobe.relay.gate import Desk
from relayprobe.relay.lane import Common
from relayprobe.relay.learned import Learned, default_gateways, gateway_warning
from relayprobe.relay.mx import Lookup, name_server
from relayprobe.relay.notices import Notifier
from relayprobe.relay.oauth import Tokens, certificate_expires
from relayprobe.relay.occasions import Notice
from relayprobe.relay.place import Timeouts
from relayprobe.relay.plan import Plan
from relayprobe.relay.routes import Route, path_in
from relayprobe.relay.secrets import Origin, SecretError, read
from relayprobe.relay.sending import Connector
from relayprobe.relay.text import Habit
from relayprobe.relay.token_cache import Cache
from relayprobe.settings import Settings
from relayprobe.store import Archive, Attempt, Mail, Recipient, Spool, Store, StoreDamaged, StoreError, Text, free
from relayprobe.wire.body import LineCounter
from relayprobe.wire.codec import from_object
from relayprobe.wire.dialogue import HEAD_LIMIT
from relayprobe.wire.session import Site, session_of

log = structlog.get_logger(__name__)

STOPPING = 8.0
"""Seconds that deliveries under way have to end."""

EXPIRY_LOOK = 12 * 3600.0
"""Seconds between two looks at what expires."""

LOOK = 60.0
WARN_DAYS = 30

_POLICY = email.policy.compat32.clone(linesep="\r\n", max_line_length=None)


class Relay:
    """A relay at work."""

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        plan: Plan,
        store: Store,
        site: Site,
        *,
        onlooker: Callable[[Attempt, Mail], None] = lambda attempt, mail: None,
        damage: SimpleQueue[StoreError] | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
    ) -> None:
        self.settings = settings
        self.plan = plan
        self.learned = Learned()
        self._config = config
        self._site = site
        self._store = store
        self._onlooker = onlooker
        self._damage: SimpleQueue[StoreError] = damage or SimpleQueue()  # filled by the store's own thread
        self._wall = wall
        self._monotonic = monotonic
        self._timeouts = timeouts
        self._spool = Spool.open(settings.data)
        self._archive = Archive.open(settings.data)
        self._common = Common(
            store=store,
            spool=self._spool,
            wall=wall,
            monotonic=monotonic,
            retry=settings.relay.retry,
            tell=self._tell,
            given_up=self._given_up,
            ended=self._ended,
            spread=spread,
        )
        relay = settings.relay
        self.delivery = Delivery(
            self._common,
            plan.rules.routes,
            self._connector,
            lifetime=relay.lifetime,
            waiting=relay.notify.waiting,
            patience=relay.patience,
            choose=self._choose,
        )
        self.figures = Figures(self._spool, lambda: self.delivery.lanes, lambda: free(settings.data), wall)
        self.desk = Desk(
            name=settings.listen.name,
            rules=plan.rules,
            message_size=settings.limits.message_size,
            recipients=settings.limits.recipients,
            keep=self._keep,
            taken=self.delivery.taken,
            refused=self._refuse,
            seen=lambda host, user, sender: self.learned.note(host, self._wall(), login=user or "", sender=sender),
            queued=lambda: self.delivery.queued,
            now=wall,
        )
        self.notifier = self._new_notifier()
        self._chores: asyncio.Task[None] | None = None
        self._gateways = default_gateways()
        self._warned = False

    def start(self) -> None:
        """Begin to deliver what is there; while it learns, nothing."""
        for warning in self.plan.warnings:
            log.warning(warning)
        if not self.plan.rules.learning:
            self.delivery.start()
        self._chores = asyncio.create_task(self._look_after(), name="chores")

    async def change(self, settings: Settings, plan: Plan, site: Site) -> None:
        """Other settings, for whoever comes from now on. What is under way goes on."""
        self.settings, self.plan, self._site = settings, plan, site
        self.desk.rules = plan.rules
        self.desk.name = settings.listen.name
        self.desk.message_size = settings.limits.message_size
        self.desk.recipients = settings.limits.recipients
        self._common.retry = settings.relay.retry
        old, self.notifier = self.notifier, self._new_notifier()
        await old.close(5.0)
        relay = settings.relay
        if not plan.rules.learning:
            await self.delivery.change(
                plan.rules.routes, lifetime=relay.lifetime, waiting=relay.notify.waiting, patience=relay.patience
            )
        for warning in plan.warnings:
            log.warning(warning)

    async def stop(self) -> None:
        """Let what is under way end."""
        if self._chores is not None:
            self._chores.cancel()
            await asyncio.gather(self._chores, return_exceptions=True)
        await self.delivery.stop(STOPPING)
        await self.notifier.close(3.0)
        self._spool.close()
        self._archive.close()

    def _connector(self, route: Route) -> Connector:
        return connector_for(route, self.settings, lambda: self.plan.habit, self._spool, self._timeouts)

    def _ended(self, attempt: Attempt, mail: Mail) -> None:
        self.figures.ended(attempt)
        self._onlooker(attempt, mail)

    def _keep(self, mail: Mail) -> Future[None]:
        self.figures.taken(mail)
        return self._store.take(mail)

    def _refuse(self, host: str, user: str | None, why: str, session: str) -> None:
        self.figures.refused()
        log.warning("device refused", session=session, peer=host, login=user, why=why)

    def _choose(self, mail: Mail, route: Route, stopped: Mapping[str, str]) -> Choice:
        """Have the diagnosis choose a route for a mail."""
        row = self._archive.find(mail.session) if mail.kind == "device" else None
        events = [from_object(json.loads(event)) for event in self._archive.events(mail.session)] if row else []
        session = session_of(events, id=mail.session, started=mail.arrived, site=self._site)
        open_to = [
            one for one in self.plan.rules.routes if one.mode != "auto" and (not route.over or one.name in route.over)
        ]
        options = [Candidate(one.name, one.way, one.mailbox, one.largest, stopped.get(one.name)) for one in open_to]
        return choose(session, mail.sender, mail.waiting, mail.size, options, self._site)

    # What a person is told

    def _new_notifier(self) -> Notifier:
        told = self.settings.relay.notify
        channels: list[Channel] = [ByMail(self._post, to) for to in told.mail]
        if told.command:
            channels.append(Command(told.command))
        if told.webhook is not None:
            secret = webhook_secret(self.settings, self._config)
            channels.append(Webhook(told.webhook.get_secret_value(), told.form, header=secret))
        return Notifier(channels, repeat=told.repeat)

    def _tell(self, notice: Notice) -> None:
        log.warning("notice", kind=notice.kind, subject=notice.subject)
        self.notifier.tell(notice)

    async def _post(self, to: str, subject: str, text: str) -> None:
        """Queue a mail of our own."""
        sender, route = self._own_sender()
        message = Message(policy=_POLICY)
        message["From"] = f'"relayprobe" <{sender}>'
        message["To"] = f"<{to}>"
        message["Subject"] = subject.encode("ascii", "replace").decode()
        message["Auto-Submitted"] = "auto-generated"
        message["MIME-Version"] = "1.0"
        message["Content-Type"] = 'text/plain; charset="utf-8"'
        message["Content-Transfer-Encoding"] = "base64"
        message.set_payload(encodebytes(text.encode()).decode("ascii"))
        await self._queue_own("notice", sender, to, message.as_bytes(), route)

    async def _given_up(self, mail: Mail) -> None:
        """A mail will not be delivered: its sender or the administrator is told, once, and never about a report."""
        if mail.kind in ("notice", "report"):
            log.warning("mail of our own is given up", mail=mail.id, why=mail.why)
            return
        relay, now = self.settings.relay, self._wall()
        try:
            head = b"".join(islice(self._spool.text(mail), 1))[:HEAD_LIMIT]
        except StoreError:
            head = b""  # the text has suffered, and that is the more to be told
        if came_back(head, self.settings.listen.name):  # telling of it would send one more the same way
            log.warning("mail of our own has come back, and is given up", mail=mail.id, why=mail.why)
            return
        mailbox, route = self._own_sender()
        own = {one.mailbox for one in self.plan.rules.routes if one.mailbox} | {mailbox}
        to = None
        if relay.bounce == "sender" and may_bounce(mail.sender, head, own):
            to = mail.sender
        elif relay.bounce != "none" and relay.notify.mail:
            to = relay.notify.mail[0]
        failed = [one for one in mail.recipients if one.state in ("refused", "waiting")]
        why: Literal["refused", "expired"] = "refused" if any(r.state == "refused" for r in failed) else "expired"
        if to is not None:
            undelivered = [Undelivered(one.address, one.reply or mail.why or "", why) for one in failed]
            returned = Returned(mail.id, mail.sender, mail.host, datetime.fromtimestamp(mail.arrived, UTC), head)
            when = datetime.fromtimestamp(now, UTC)
            name = self.settings.listen.name
            raw = await asyncio.to_thread(  # a thousand recipients with a reply each take seconds
                report, returned, undelivered, to=to, mailbox=mailbox, name=name, now=when
            )
            await self._queue_own("report", mailbox, to, raw, route)
        reply = next((one.reply for one in failed if one.reply), mail.why or "")
        self._tell(occasions.given_up(mail.id, mail.host, len(failed), reply, told=to, at=now))

    def _own_sender(self) -> tuple[str, Route | None]:
        """The address and the route of our own mail."""
        routes = [route for route in self.plan.rules.routes if route.mode != "auto"]
        wanted = self.settings.relay.notify.route
        route = next((one for one in routes if one.name == wanted), routes[0] if routes else None)
        if route is not None and route.mailbox is not None:
            return route.mailbox, route
        domain = self.plan.habit.domain or self.settings.listen.name
        return f"relayprobe@{domain}", route

    async def _queue_own(
        self, kind: Literal["notice", "report"], sender: str, to: str, raw: bytes, route: Route | None
    ) -> None:
        if route is None:
            return
        id = f"{kind[0]}{secrets.token_hex(5)}"
        wire = stuffed(raw) + b".\r\n"
        lines = LineCounter()
        lines.feed(wire)
        text = Text(0, len(wire), hashlib.blake2b(wire, digest_size=16).digest(), "crlf", lines.facts(ended=True))
        # A report has no sender (RFC 5321 4.5.5), but client submission takes mail of the mailbox alone.
        envelope = "" if kind == "report" and route.way == "smart-host" else sender
        mail = Mail(
            id=id,
            session=id,
            texts=(text,),
            arrived=self._wall(),
            host="relayprobe",
            user=None,
            sender=envelope,
            recipients=(Recipient(to),),
            route=route.name,
            kind=kind,
        )
        self._store.body(id, 0, wire)
        taken = self._store.take(mail)
        await asyncio.wrap_future(self._store.flushed())
        await asyncio.wrap_future(taken)
        await self.delivery.taken([mail])

    # What is looked after

    async def _look_after(self) -> None:
        looked_at_expiry = -EXPIRY_LOOK
        while True:
            now = self._monotonic()
            try:
                if now - looked_at_expiry >= EXPIRY_LOOK:
                    looked_at_expiry = now
                    self._look_at_expiry()
                self._look_at_devices()
                self._look_at_damage()
                self._look_at_room()
            except Exception:
                log.exception("a look at how things are failed")
            await asyncio.sleep(LOOK)

    def _look_at_expiry(self) -> None:
        today = datetime.fromtimestamp(self._wall(), UTC).date()
        for route in self.plan.rules.routes:
            for what, day in expiry_days(route):
                left = (day - today).days
                if left <= WARN_DAYS:
                    self._tell(occasions.expires(what, route.name, left, at=self._wall()))

    def _look_at_devices(self) -> None:
        if not self._warned and (warning := gateway_warning(self.learned, self._gateways)):
            self._warned = True
            log.warning(warning)

    def _look_at_damage(self) -> None:
        while not self._damage.empty():
            error = self._damage.get_nowait()
            if isinstance(error, StoreDamaged):
                self._tell(occasions.damaged(str(self.settings.data), str(error), at=self._wall()))

    def _look_at_room(self) -> None:
        left = free(self.settings.data)
        if left < self.settings.limits.message_size * 3 // 2:
            self._tell(occasions.disk_full(str(self.settings.data), left, at=self._wall()))


def connector_for(
    route: Route,
    settings: Settings,
    habit: Callable[[], Habit],
    spool: Spool | None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
) -> Connector:
    """Who connects for a route."""
    tokens = None
    if route.oauth is not None:
        tokens = Tokens(route.oauth, Cache() if route.oauth.alone else cache_of(settings.data, route))
    lookup = Lookup(name_server(route.resolver) if route.resolver else None) if route.host is None else None
    return Connector(route, habit, spool, helo=settings.listen.name, tokens=tokens, lookup=lookup, timeouts=timeouts)


def webhook_secret(settings: Settings, config: Path | None) -> tuple[str, Callable[[], str]] | None:
    """The header by which a webhook knows us."""
    given = settings.relay.notify.webhook_secret_file
    if given is None:
        return None
    origin = Origin(file=path_in(config.parent if config else Path(), given), key="relay.notify.webhook_secret_file")
    return "Authorization", lambda: f"Bearer {read(origin)}"


def expiry_days(route: Route) -> list[tuple[str, date]]:
    """What of a route ends on which day."""
    days = []
    if route.oauth is not None and route.oauth.certificate is not None:
        with contextlib.suppress(SecretError):
            days.append(("The certificate", certificate_expires(route.oauth.certificate)))
    if isinstance(route.secret_expires, date):
        days.append(("The client secret", route.secret_expires))
    return days


def stuffed(raw: bytes) -> bytes:
    """A text as it crosses the wire."""
    return (b"." if raw.startswith(b".") else b"") + raw.replace(b"\r\n.", b"\r\n..")


def cache_of(data: Path, route: Route) -> Cache:
    """Where the sign-in for a route is kept."""
    return Cache(data / f"sign-in-{route.name}", route.token_key)
