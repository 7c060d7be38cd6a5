"""A lane: one route at work. It takes mail from the spool in turns of the devices, as fast as the route allows, over a
few connections that are used again, and writes down what became of each.

An attempt is on the disk before it is made, and its outcome as soon as it is known. What fails at the route (nobody
answers, the login is refused) is the route's matter: the mail goes back untouched, and the lane waits (health.py).
What fails at the mail is the mail's: it waits by itself, or is given up, and holds nobody else up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from relayprobe.relay import health as state_of
from relayprobe.relay import occasions
from relayprobe.relay.health import WELL, Health, Scope
from relayprobe.relay.occasions import Notice
from relayprobe.relay.pace import Bucket, Days, backoff
from relayprobe.relay.routes import Route, by_mailbox
from relayprobe.relay.sending import Connection, Connector, Result, RouteFailed, RouteTrouble
from relayprobe.store import Attempt, Mail, Spool, Store, StoreError
from relayprobe.store import spool as changes
from relayprobe.store.spool import Statement

log = structlog.get_logger(__name__)

IDLE = 15.0
"""Seconds that a connection is kept for the next mail."""

MOST_ON_ONE = 100
"""Mails sent over one connection."""

STORE_TROUBLE = 5.0
"""Seconds to wait when the outcome of nothing can be written down: then nothing is sent either."""

MOST_UNKNOWN = 2
"""Attempts whose outcome nobody knows, after which a person has to decide: each may have arrived."""


@dataclass
class Allowance:
    """What a mailbox may: several routes may share one."""

    connections: int
    bucket: Bucket | None
    days: Days | None
    open: int = 0


@dataclass
class Common:
    """What all lanes share."""

    store: Store
    spool: Spool
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    retry: tuple[float, ...]
    tell: Callable[[Notice], object]
    given_up: Callable[[Mail], Coroutine[None, None, None]]
    ended: Callable[[Attempt, Mail], None]
    numbers: int = 0
    suspect: str | None = None  # the one under way that may be what ends the process: never two, or both were blamed
    spread: Callable[[], float] = random.random
    allowances: dict[str, Allowance] = field(default_factory=dict)

    def number(self) -> int:
        """The number of the next attempt."""
        self.numbers += 1
        return self.numbers

    async def write(self, statements: list[Statement]) -> None:
        """Have it on the disk. Raises StoreError; it is written all the same, as soon as that can be."""
        self.store.change(statements)
        await asyncio.wrap_future(self.store.flushed())


class Lane:
    """One route at work."""

    def __init__(self, route: Route, common: Common, connector: Connector, health: Health = WELL) -> None:
        self.route = route
        self.connector = connector
        self._common = common
        self._health = health
        self._news = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[Result | None]] = {}
        self._idle: list[Connection] = []
        self._last_host = ""
        self._stopping = False
        self._aside: Callable[[Mail], tuple[str, str] | None] = lambda mail: None
        self._task: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        """How the route is."""
        return self._health

    @property
    def sending(self) -> int:
        """Attempts under way."""
        return len(self._under_way)

    @property
    def allowance(self) -> Allowance:
        """What its mailbox may."""
        route = self.route
        return self._common.allowances.setdefault(
            by_mailbox(route),
            Allowance(
                route.connections,
                Bucket(route.per_minute) if route.per_minute else None,
                Days(most=route.per_day) if route.per_day else None,
            ),
        )

    def start(self, aside: Callable[[Mail], tuple[str, str] | None]) -> None:
        """Begin. `aside`: the route that takes a mail while this one cannot, and why; None where there is none."""
        self._aside = aside
        self._task = asyncio.create_task(self._run(), name=f"lane {self.route.name}")

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    def again(self) -> None:
        """Somebody wants the route tried now."""
        self._health = state_of.asked_again(self._health)
        self.wake()

    def clock_jumped(self, seconds: float) -> None:
        """What is counted by the clock moves along with it."""
        if self._health.until is not None:
            self._health = replace(self._health, until=self._health.until + seconds)

    async def stop(self, seconds: float) -> None:
        """Begin nothing more; let what is under way end, for so long. What does not is taken up at the next start."""
        self._stopping = True
        self.wake()
        tasks = list(self._under_way.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*tasks, *([self._task] if self._task else []), return_exceptions=True)
        for connection in self._idle:
            await connection.close()
        self._idle = []

    # The loop

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                wait = self._begin_what_may_go()
            except StoreError as error:
                log.error("cannot read the queue", route=self.route.name, error=str(error))
                wait = STORE_TROUBLE
            except Exception:
                log.exception("the lane stumbled", route=self.route.name)
                wait = STORE_TROUBLE
            await self._close_idle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    def _begin_what_may_go(self) -> float:
        """Begin attempts, as many as may be; seconds until it is worth looking again."""
        now = self._common.wall()
        if (blocked := self._health.blocked(now)) > 0:
            return min(blocked, 60.0, self._send_round(now))
        while len(self._under_way) < self._places():
            if (wait := self._pace(now)) > 0:
                return min(wait, 60.0)
            mail = self._common.spool.next_due(
                self.route.name, now, self._last_host, list(self._under_way), suspects=self._common.suspect is None
            )
            if mail is None:
                due = self._common.spool.next_time(self.route.name)
                return 60.0 if due is None else min(max(0.05, due - now), 60.0) if due > now else 1.0
            self._last_host = mail.host
            self._begin(mail)
        return 60.0

    def _places(self) -> int:
        """Attempts that may be under way at once. After a failure one tries whether it works again."""
        if self._stopping:
            return 0
        return 1 if self._health.state != "ok" else self.route.connections

    def _pace(self, now: float) -> float:
        """Seconds until the mailbox may send the next one."""
        allowance = self.allowance
        waits = [allowance.bucket.wait(self._common.monotonic())] if allowance.bucket else []
        if allowance.days and allowance.days.room(now) <= 0:
            waits.append(allowance.days.wait(now))
        return max(waits, default=0.0)

    def _send_round(self, now: float) -> float:
        """While the route cannot, its mail takes another, where one is named; seconds until the next look."""
        statements: list[Statement] = []
        for mail in self._common.spool.waiting_on(self.route.name, 200):
            if mail.id in self._under_way or (other := self._aside(mail)) is None:
                continue
            statements += changes.moved(mail.id, *other)
        if statements:
            self._common.store.change(statements)
            self._common.store.flushed()
            return 0.2
        return 60.0

    def _begin(self, mail: Mail) -> asyncio.Task[Result | None]:
        task = asyncio.create_task(self._deliver(mail), name=f"mail {mail.id}")
        self._under_way[mail.id] = task
        if mail.suspect:
            self._common.suspect = mail.id
        task.add_done_callback(lambda task: self._done(mail.id, task))
        return task

    def _done(self, id: str, task: asyncio.Task[Result | None]) -> None:
        self._under_way.pop(id, None)
        if self._common.suspect == id:
            self._common.suspect = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt failed in a way nobody thought of", mail=id, error=repr(error), exc_info=error)
        self.wake()

    # One attempt

    async def now(self, mail: Mail) -> Result | None:
        """Deliver a mail whose device waits. None: the route cannot, at the moment."""
        wall = self._common.wall()
        if self._health.blocked(wall) > 0 or self._stopping:
            return None
        while len(self._under_way) >= self._places() or self._pace(wall) > 0:
            await asyncio.sleep(0.05)
            wall = self._common.wall()
        return await self._begin(mail)

    async def _deliver(self, mail: Mail) -> Result | None:
        """One attempt, from its first line on the disk to its last."""
        common, route = self._common, self.route
        now = common.wall()
        attempt = Attempt(common.number(), mail.id, now, route.name, route.place)
        allowance = self.allowance
        if allowance.bucket:
            allowance.bucket.take(common.monotonic())
        try:
            await common.write(changes.begun(attempt))
        except StoreError as error:
            log.error("nothing is sent while its outcome cannot be written down", error=str(error))
            common.store.change(changes.ended(replace(attempt, ended=now, result="deferred"), mail))
            await asyncio.sleep(STORE_TROUBLE)
            return None
        fresh = common.spool.mail(mail.id)
        if fresh is None or fresh.state != "sending":
            return None  # somebody held or dropped it in this very moment
        try:
            result = await self._attempt(fresh)
        except asyncio.CancelledError:
            broken_off = replace(attempt, ended=common.wall(), result="interrupted")
            if self._stopping:  # no crash, of which it would be suspected
                why = "relayprobe was stopped while it was being sent: it may have arrived, and is sent again"
                after = replace(fresh, state="dropped" if fresh.at_once else "waiting", due=0.0, why=why)
            else:
                after = replace(fresh, state="dropped")  # its device would not wait any longer
            common.store.change(changes.ended(broken_off, after))
            raise
        after = self._after(fresh, result)
        ended = replace(
            attempt,
            place=result.place or attempt.place,
            ended=common.wall(),
            result=result.word,
            stage=result.stage,
            reply=result.reply,
            dialogue=result.dialogue,
            repairs=result.repairs,
        )
        with contextlib.suppress(StoreError):  # it is tried again with whatever is written next
            await common.write(changes.ended(ended, after))
        log.info(
            "attempt",
            mail=mail.id,
            session=mail.session,
            route=route.name,
            result=result.word,
            stage=result.stage,
            reply=result.reply,
            state=after.state,
        )
        common.ended(ended, after)
        if after.state == "failed":
            await common.given_up(after)
        elif after.state == "held":
            common.tell(occasions.held(after.id, after.host, after.why or "", at=common.wall()))
        return result

    async def _attempt(self, mail: Mail) -> Result:
        try:
            connection = await self._connection()
        except RouteFailed as failure:
            self._fell_ill(failure.trouble)
            return failure.result(mail)
        keep = False
        try:
            result = await self.connector.send(connection, mail, self.allowance.days, self._common.wall)
            keep = result.connection_good
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a mail that makes us stumble must not stop the others
            log.exception("a mail could not be sent for a fault of ours", mail=mail.id)
            result = Result(
                "deferred",
                mail.recipients,
                reply=None,
                why=f"a fault of relayprobe ({type(error).__name__}): see its log",
            )
        finally:
            await self._give_back(connection, keep)
        if result.trouble is not None:
            self._fell_ill(result.trouble)
        elif result.reached:
            self._is_well()
        return result

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.sent < MOST_ON_ONE:
                return connection
            await self._close(connection)
        allowance = self.allowance
        while allowance.open >= max(allowance.connections, 1):
            await asyncio.sleep(0.05)  # another route of the same mailbox has them all
        allowance.open += 1
        try:
            return await self.connector.connect()
        except BaseException:
            allowance.open -= 1
            raise

    async def _give_back(self, connection: Connection, keep: bool) -> None:
        if keep and connection.usable and not self._stopping:
            self._idle.append(connection)
        else:
            await self._close(connection)

    async def _close(self, connection: Connection) -> None:
        self.allowance.open -= 1
        await connection.close()

    async def _close_idle(self) -> None:
        old = [one for one in self._idle if one.idle_for > IDLE or not one.usable]
        self._idle = [one for one in self._idle if one not in old]
        for connection in old:
            await self._close(connection)

    # What follows from it

    def _fell_ill(self, trouble: RouteTrouble) -> None:
        before, now = self._health, self._common.wall()
        self._health = state_of.failed(before, trouble.scope, trouble.why, now, self._common.retry, self._common.spread)
        self._remember()
        log.warning(
            "route cannot", route=self.route.name, state=self._health.state, scope=trouble.scope, why=trouble.why
        )
        if self._health.state == "stopped" and before.state != "stopped":
            self._common.tell(occasions.stopped(self.route.name, trouble.why, waits=self._waiting(), at=now))

    def _waiting(self) -> int:
        """Mails that wait for this route."""
        return next((n for name, n, _ in self._common.spool.routes_of_waiting() if name == self.route.name), 0)

    def _is_well(self) -> None:
        before, self._health = self._health, WELL
        if before.state != "ok":
            self._remember()
            log.info("route works again", route=self.route.name)
            if before.state == "stopped":
                self._common.tell(occasions.working(self.route.name, waits=self._waiting(), at=self._common.wall()))
            self.wake()
        elif self.allowance.days:
            self._remember()

    def _remember(self) -> None:
        record: dict[str, Any] = self._health.record()
        days = self.allowance.days
        if days is not None:
            record["days"] = days.counts
        with contextlib.suppress(StoreError):
            self._common.store.change(changes.route_record(self.route.name, record))

    def _after(self, mail: Mail, result: Result) -> Mail:
        """How a mail stands after an attempt."""
        now = self._common.wall()
        recipients = result.recipients
        left = [one for one in recipients if one.state == "waiting"]
        mail = replace(mail, recipients=recipients)
        if mail.at_once and not any(one.state == "delivered" for one in recipients) and result.word != "unknown":
            return replace(mail, state="dropped", why="the device was told, and has it still")
        mail = replace(mail, at_once=False)
        if not left:
            refused = [one for one in recipients if one.state == "refused"]
            if not refused:
                return replace(mail, state="delivered", why=None)
            return replace(mail, state="failed", why=f"refused for {len(refused)} of {len(recipients)} recipients")
        if result.held:
            return replace(mail, state="held", why=result.why)
        if result.stale:
            return replace(mail, state="waiting", due=0.0, why=result.why)
        if result.unknown:
            unknown = mail.unknown + 1
            if unknown >= MOST_UNKNOWN:
                why = (
                    f"{unknown} times the connection broke after the whole text had been sent: it may have arrived "
                    "already. Look in the mailbox, then `relayprobe queue release` or `drop` it"
                )
                return replace(mail, state="held", unknown=unknown, why=why)
            wait = backoff(self._common.retry, 1, self._common.spread)
            why = "the connection broke after the whole text had been sent: it may have arrived; sent once more"
            return replace(mail, state="waiting", unknown=unknown, due=now + wait, why=why)
        if result.trouble is not None:  # the route's matter: the mail goes when the route does
            return replace(mail, state="waiting", due=0.0, why=result.why)
        scope: Scope | None = result.scope
        deferrals = mail.deferrals + (scope != "throttled")
        wait = backoff(self._common.retry, max(1, deferrals), self._common.spread)
        return replace(mail, state="waiting", deferrals=deferrals, due=now + wait, why=result.why)
