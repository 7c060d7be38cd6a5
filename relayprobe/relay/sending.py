"""Sending: a mail of the spool as letters over a connection, and what came of them as the lane needs it.

Here the host is looked up, the login's secret is fetched, the text is put right for what the other side offers, and
its recipients are split where a route takes fewer at once. A reply is judged once (judgement.py), for each recipient.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from relayprobe.capture.tls import CertificateError
from relayprobe.office365.modes import MODE_OF, Mode
from relayprobe.relay.health import Scope
from relayprobe.relay.judgement import What, judged
from relayprobe.relay.mx import Lookup, NotFound
from relayprobe.relay.oauth import Tokens
from relayprobe.relay.outcome import Deferred, Delivered, Fault, Outcome, Refused, Said, Sent, Stage, Unknown
from relayprobe.relay.pace import Days
from relayprobe.relay.place import Letter, NoSecretError, Place, SignIn, Timeouts
from relayprobe.relay.record import Record
from relayprobe.relay.repair.terms import Mended
from relayprobe.relay.routes import Route
from relayprobe.relay.secrets import SecretError, read
from relayprobe.relay.text import Habit, mended, sender_for
from relayprobe.relay.tls import client_context
from relayprobe.relay.token_host import SignInFailed
from relayprobe.relay.upstream import Upstream
from relayprobe.report.visible import visible
from relayprobe.store import Mail, Recipient, Spool, StoreError
from relayprobe.wire.codec import to_json

log = structlog.get_logger(__name__)

SCOPES: dict[str, Scope] = {
    "route-later": "later",
    "route-stop": "stop",
    "configuration": "configuration",
    "throttled": "throttled",
    "hours": "hours",
}
LARGE = 2**20
"""Octets from which a text is looked through beside the loop."""

REPLY_KEPT = 2000
"""Characters of a reply that are kept."""

Word = Literal["delivered", "deferred", "refused", "unknown", "mixed"]


@dataclass(frozen=True, slots=True)
class RouteTrouble:
    """Why a route cannot, for how long it is let alone (`scope`), and what there is to do, in words."""

    scope: Scope
    why: str


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to. `recipients`: all of the mail, as they stand now. `trouble`: the route is at fault.
    `held`: a person has to look at this mail. `reached`: the other side has said something about the mail itself, so
    the route works. `why`: what the mail waits for, in words."""

    word: Word
    recipients: tuple[Recipient, ...]
    reply: str | None
    stage: str | None = None
    why: str | None = None
    place: str | None = None
    dialogue: tuple[str, ...] = ()
    repairs: tuple[dict[str, Any], ...] = ()
    trouble: RouteTrouble | None = None
    scope: Scope | None = None
    unknown: bool = False
    held: bool = False
    reached: bool = False
    connection_good: bool = False
    stale: bool = False  # the connection had been closed before the other side heard of this mail


class RouteFailed(Exception):
    """There is no connection; `trouble` says why."""

    def __init__(self, trouble: RouteTrouble, reply: str, stage: str, place: str, dialogue: tuple[str, ...]) -> None:
        super().__init__(trouble.why)
        self.trouble = trouble
        self.reply = reply
        self.stage = stage
        self.place = place
        self.dialogue = dialogue

    def result(self, mail: Mail) -> Result:
        """What that means for the mail that was to go over it: nothing."""
        return Result(
            "deferred",
            mail.recipients,
            self.reply,
            self.stage,
            self.trouble.why,
            self.place,
            self.dialogue,
            trouble=self.trouble,
        )


class Connection(Protocol):
    """What a lane knows of a connection."""

    sent: int

    @property
    def place(self) -> str:
        """Where it leads."""

    @property
    def stage(self) -> str:
        """What it was about last."""

    def events(self) -> tuple[str, ...]:
        """Its dialogue, as far as it concerns the latest mail, as JSON texts."""

    @property
    def usable(self) -> bool:
        """Whether another mail may go over it."""

    @property
    def idle_for(self) -> float:
        """Seconds since it was last used."""

    async def close(self) -> None:
        """Say goodbye."""


class Open:
    """A connection that is logged in."""

    def __init__(self, upstream: Upstream, record: Record, place: str) -> None:
        self.upstream = upstream
        self.record = record
        self.place = place
        self.sent = 0

    @property
    def stage(self) -> str:
        return self.upstream.stage

    @property
    def usable(self) -> bool:
        return self.upstream.usable

    @property
    def idle_for(self) -> float:
        return asyncio.get_running_loop().time() - self.upstream.idle_since

    def events(self) -> tuple[str, ...]:
        """Its dialogue, as far as it concerns the latest mail, as JSON texts."""
        return _events(self.record)

    def used(self) -> None:
        self.sent += 1

    async def close(self) -> None:
        await self.upstream.quit()


class Connector:
    """Connects for one route, and sends its mail."""

    def __init__(
        self,
        route: Route,
        habit: Callable[[], Habit],
        spool: Spool | None,
        *,
        helo: str,
        tokens: Tokens | None,
        lookup: Lookup | None,
        timeouts: Timeouts,
    ) -> None:
        self._route = route
        self._habit = habit
        self._spool = spool
        self._helo = helo
        self._tokens = tokens
        self._lookup = lookup
        self._timeouts = timeouts
        self._context: ssl.SSLContext | None = None
        self._mode: Mode | None = None if route.way == "smart-host" else MODE_OF[route.way]

    def signed_in_anew(self) -> bool:
        """Whether somebody has signed in for this route since it was stopped."""
        return self._tokens is not None and self._tokens.changed()

    def forget(self) -> None:
        """Read certificates anew at the next connection."""
        self._context = None

    # The connection

    async def connect(self, again: bool = True) -> Open:
        """A connection that is ready for mail. `again`: where a token is refused, a new one is tried, once. Raises
        RouteFailed."""
        try:
            return await self._connect(force=False)
        except _Refused as refused:
            if not again or self._tokens is None or refused.fault.stage != "auth":
                raise refused.failed from None
        try:  # the token may have been withdrawn before its time: once, with a new one
            return await self._connect(force=True)
        except _Refused as refused:
            raise refused.failed from None

    async def _connect(self, force: bool) -> Open:
        places = await self._places()
        for place in places:
            record = Record()
            made = await Upstream.connect(place, self._sign_in(force), self._timeouts, record)
            # RFC 5321 5.1: where one MX host cannot be reached, or is not ready, the next one may be
            if isinstance(made, Upstream) or made.stage not in ("connect", "banner"):
                break
        where = f"{place.host}:{place.port}"
        if isinstance(made, Fault):
            what = judged(made.said, made.stage, self._mode)
            trouble = RouteTrouble(SCOPES.get(what.kind, "later"), _words(made.words, what))
            raise _Refused(made, RouteFailed(trouble, _kept(made.words), made.stage, where, _events(record)))
        return Open(made, record, where)

    async def _places(self) -> list[Place]:
        """The hosts that may be tried, in order; there is at least one."""
        route = self._route
        if self._context is None and route.tls != "none":
            files = route.ca_file, route.client_certificate, route.client_key
            try:  # the system's certificates take long to read
                self._context = await asyncio.to_thread(client_context, *files)
            except CertificateError as error:
                raise self._failed("configuration", str(error)) from None
        if route.host is not None:
            hosts: list[tuple[str, tuple[str, ...]]] = [(route.host, ())]
        else:
            assert self._lookup is not None
            assert route.domain is not None
            found = await self._lookup.mx(route.domain)
            if isinstance(found, NotFound):
                raise self._failed(found.kind, found.says)
            hosts = [(host.name, host.addresses) for host in found.hosts]
        return [
            Place(
                host=host,
                port=route.port,
                tls=route.tls,
                name=route.tls_name or host,
                addresses=addresses,
                context=self._context,
                helo=self._helo,
            )
            for host, addresses in hosts
        ]

    def _failed(self, scope: Scope, why: str) -> RouteFailed:
        return RouteFailed(RouteTrouble(scope, why), why, "connect", self._route.place, ())

    def _sign_in(self, force: bool) -> SignIn | None:
        route = self._route
        if route.user is None:
            return None
        if self._tokens is not None:
            tokens = self._tokens

            async def token() -> str:
                try:
                    return await tokens.token(force)
                except SignInFailed as failed:
                    raise NoSecretError(failed.says, lasting=failed.kind == "stop") from None

            return SignIn(route.user, "oauth", token)
        assert route.password is not None
        origin = route.password

        async def password() -> str:
            try:
                return await asyncio.to_thread(read, origin)
            except SecretError as error:
                raise NoSecretError(str(error), lasting=True) from None

        return SignIn(route.user, "password", password)

    # The mail

    async def send(self, connection: Connection, mail: Mail, days: Days | None, wall: Callable[[], float]) -> Result:
        """Send a mail to those of its recipients that still wait for it."""
        assert isinstance(connection, Open)
        assert self._spool is not None
        if (damage := await self._damage(mail)) is not None:
            return Result("deferred", mail.recipients, None, why=damage, held=True, connection_good=True)
        habit, upstream = self._habit(), connection.upstream
        spool, route, offers = self._spool, self._route, upstream.offers

        def looked_through() -> Mended:
            eight_bit, smtputf8 = "8BITMIME" in offers, "SMTPUTF8" in offers
            return mended(spool, mail, route, habit, eight_bit=eight_bit, smtputf8=smtputf8)

        text = await asyncio.to_thread(looked_through) if mail.size > LARGE else looked_through()
        sender, put_right = sender_for(mail, route, habit)
        repairs = [asdict(repair) for repair in (*text.repairs, *put_right)]
        waiting = mail.waiting
        parts = [waiting[at : at + self._route.per_message] for at in range(0, len(waiting), self._route.per_message)]
        if len(parts) > 1:
            says = f"the {len(waiting)} recipients were split over {len(parts)} mails"
            repairs.append({"id": "recipients-split", "count": len(parts), "says": says})
        tally = _Tally(mail, self._mode)
        size = await self._measured(text)
        for part in parts:
            letter = Letter(
                sender=sender,
                recipients=part,
                chunks=text.chunks,
                size=size,
                eight_bit=text.eight_bit,
                smtputf8=text.smtputf8,
            )
            sent = await upstream.send(letter)
            connection.used()
            if sent.stale:
                why = "the other side had closed the connection that was kept open"
                return Result("deferred", mail.recipients, None, why=why, stale=True)
            tally.count(part, sent)
            if days is not None:
                days.add(wall(), sum(isinstance(one, Delivered | Unknown) for one in sent.outcomes))
            if sent.fault is not None or tally.trouble is not None or not upstream.usable:
                break
        return tally.result(connection, tuple(repairs))

    async def _damage(self, mail: Mail) -> str | None:
        """What is wrong with the captured text on the disk; None where it is as it was taken."""
        assert self._spool is not None
        spool = self._spool
        if mail.size > LARGE:
            return await asyncio.to_thread(_differs, spool, mail)
        return _differs(spool, mail)

    async def _measured(self, text: Mended) -> int:
        if text.size is not None:
            return text.size
        return await asyncio.to_thread(text.measured)


class _Refused(Exception):
    """The connection came to nothing, and whether to try once more is another's to say."""

    def __init__(self, fault: Fault, failed: RouteFailed) -> None:
        super().__init__()
        self.fault = fault
        self.failed = failed


def _differs(spool: Spool, mail: Mail) -> str | None:
    """Why the text on the disk is not the one that was taken; None where it is."""
    for text in mail.texts:
        digest = hashlib.blake2b(digest_size=16)
        try:
            for chunk in spool.text(replace(mail, texts=(text,))):
                digest.update(chunk)
        except StoreError as error:
            return f"its text cannot be read: {error}"
        if digest.digest() != text.digest:
            return "its text on the disk is not the one that was taken: the disk has damaged it, so it is not sent"
    return None


class _Tally:
    """Counts up what came of the letters of one mail."""

    def __init__(self, mail: Mail, mode: Mode | None) -> None:
        self._mail = mail
        self._mode = mode
        self._now = {one.address: one for one in mail.recipients}
        self._words: list[str] = []
        self._reply: str | None = None
        self._why: str | None = None
        self._stage: Stage | None = None
        self.trouble: RouteTrouble | None = None
        self._scope: Scope | None = None
        self._unknown = self._held = self._reached = False

    def count(self, recipients: Sequence[str], sent: Sent) -> None:
        """One letter was sent."""
        self._stage = sent.stage
        for address, outcome in zip(recipients, sent.outcomes, strict=True):
            self._one(address, outcome)

    def _one(self, address: str, outcome: Outcome) -> None:
        match outcome:
            case Delivered(reply):
                self._reached = True
                self._set(address, "delivered", reply.line)
            case Unknown(said):
                self._unknown = True
                self._set(address, "unknown", str(said))
            case Deferred(said, stage) | Refused(said, stage):
                self._judge(address, said, stage)

    def _judge(self, address: str, said: Said, stage: Stage) -> None:
        what = judged(said, stage, self._mode)
        words = str(said)
        if what.scope == "route":
            self.trouble = self.trouble or RouteTrouble(SCOPES.get(what.kind, "later"), _words(words, what))
            self._set(address, "deferred", words)
        elif what.kind == "never":
            self._reached = True
            self._set(address, "refused", words)
        else:
            self._reached = True
            self._held = self._held or what.kind in ("configuration", "route-stop")
            self._scope = SCOPES.get(what.kind)
            self._why = _words(words, what)
            self._set(address, "deferred", words)

    def _set(self, address: str, word: str, reply: str) -> None:
        self._words.append(word)
        self._reply = self._reply if self._reply and word == "delivered" else _kept(reply)
        before = self._now[address]
        if word in ("delivered", "refused"):
            state: Literal["delivered", "refused"] = "delivered" if word == "delivered" else "refused"
            self._now[address] = replace(before, state=state, reply=_kept(reply))
        else:
            self._now[address] = replace(before, reply=_kept(reply))

    def result(self, connection: Open, repairs: tuple[dict[str, Any], ...]) -> Result:
        """What it came to."""
        kinds = set(self._words)
        word: Any = kinds.pop() if len(kinds) == 1 else "unknown" if "unknown" in kinds else "mixed"
        return Result(
            word=word,
            recipients=tuple(self._now[one.address] for one in self._mail.recipients),
            reply=self._reply,
            stage=self._stage,
            why=self.trouble.why if self.trouble else self._why,
            place=connection.place,
            dialogue=_events(connection.record),
            repairs=repairs,
            trouble=self.trouble,
            scope=self._scope,
            unknown=self._unknown,
            held=self._held,
            reached=self._reached,
            connection_good=connection.usable and self.trouble is None,
        )


def _words(said: str, what: What) -> str:
    """A reply with what it means and what to do about it."""
    return " ".join(filter(None, (f"{_kept(said)}:" if what.meaning else _kept(said), what.meaning, what.fix)))


def _kept(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= REPLY_KEPT else shown[:REPLY_KEPT] + "..."


def _events(record: Record) -> tuple[str, ...]:
    return tuple(to_json(event) for event in record.transcript)
