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
from relayprobe.relay.allowance import Allowance, Rush
from relayprobe.relay.health import WELL, Health, Scope
from relayprobe.relay.occasions import Notice
from relayprobe.relay.pace import backoff
from relayprobe.relay.routes import Route, by_mailbox
from relayprobe.relay.sending import Connection, Connector, Result, RouteFailed, RouteTrouble
from relayprobe.store import Attempt, Mail, Spool, Store, StoreDamaged, StoreError
from relayprobe.store import spool as changes
from relayprobe.store.spool import Statement

log = structlog.get_logger(__name__)

IDLE = 15.0
"""Seconds that a connection is kept for the next mail."""

MOST_ON_ONE = 100
"""Mails sent over one connection."""

STORE_TROUBLE = 5.0
"""Seconds to wait when the outcome of nothing can be written down: then nothing is sent either."""

CONNECTING = 3.0
"""Seconds for which one connection at a time is made: what is wrong with the route, one finds out as well as three."""

DOUBTS = 3
"""Mails in a row at which the connection broke, after which it is the route that is at fault, and not the mail."""

CLOSING = 2.0
"""Seconds that connections have to be closed in good order when the lane ends."""

MOST_UNKNOWN = 2
"""Attempts whose outcome nobody knows, after which a person has to decide: each may have arrived."""


IN_A_MAIL = frozenset(("mail", "rcpt", "data", "text", "end-of-data"))


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
    rush: Rush = field(default_factory=Rush)
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
        self._closing: set[asyncio.Task[None]] = set()
        self._connecting = asyncio.Lock()
        self._anew = 0  # the first attempt that began after the route had fallen ill
        self._doubts = 0
        self._changed = common.monotonic()  # when it was last found to be well or ill
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
        mailbox = by_mailbox(self.route)
        if (found := self._common.allowances.get(mailbox)) is None:
            found = self._common.allowances[mailbox] = Allowance.of(self.route)
        return found

    def start(self, aside: Callable[[Mail], tuple[str, str] | None]) -> None:
        """Begin. `aside`: the route that takes a mail while this one cannot, and why; None where there is none."""
        self._aside = aside
        self.allowance.sharers.append(self._close_all_idle)
        self._task = asyncio.create_task(self._run(), name=f"lane {self.route.name}")

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    def again(self) -> None:
        """Somebody wants the route tried now."""
        self._health = state_of.asked_again(self._health)
        self.wake()

    def clock_jumped(self, seconds: float, window: float) -> None:
        """What is counted by the clock moves along with it, but for what was said by the new clock already: it jumped
        no longer ago than `window`."""
        if self._health.until is not None and self._common.monotonic() - self._changed > window:
            self._health = replace(self._health, until=self._health.until + seconds)

    def forget(self) -> None:
        """What was wrong with the route as it was set up says nothing of another."""
        self._health = WELL
        self._remember()

    async def stop(self, seconds: float) -> None:
        """Begin nothing more; let what is under way end, for so long. What does not is taken up at the next start."""
        self._stopping = True
        with contextlib.suppress(ValueError):
            self.allowance.sharers.remove(self._close_all_idle)
        self.wake()
        tasks = list(self._under_way.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*tasks, *([self._task] if self._task else []), return_exceptions=True)
        self._close_all_idle()
        closing = list(self._closing)
        if closing:
            await asyncio.wait(closing, timeout=CLOSING)
        for one in closing:
            one.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    # The loop

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                wait = self._begin_what_may_go()
            except StoreError as error:
                log.error("cannot read the queue", route=self.route.name, error=str(error))
                if isinstance(error, StoreDamaged):
                    self._common.store.doubt()
                wait = STORE_TROUBLE
            except Exception:
                log.exception("the lane stumbled", route=self.route.name)
                wait = STORE_TROUBLE
            self._close_idle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, IDLE) if self._idle else wait):
                    await self._news.wait()

    def _begin_what_may_go(self) -> float:
        """Begin attempts, as many as may be; seconds until it is worth looking again."""
        now = self._common.wall()
        if (blocked := self._health.blocked(now)) > 0:
            return min(blocked, 60.0, self._send_round(now))
        while len(self._under_way) < self._places():
            if (wait := self._pace()) > 0:
                return min(wait, 60.0)
            if self._day_is_full(now):
                return 0.0
            mail = self._common.spool.next_due(
                self.route.name, now, self._last_host, list(self._under_way), suspects=self._common.suspect is None
            )
            if mail is None:
                due = self._common.spool.next_time(self.route.name)
                return 60.0 if due is None else min(max(0.05, due - now), 60.0) if due > now else 1.0
            self._last_host = mail.host
            if (wait := self._until_room_for(mail, now)) > 0:
                why = f"the mailbox may not write to {len(mail.waiting)} more recipients within these 24 hours"
                self._common.store.change(changes.put_off(mail.id, now + wait, why))
                self._common.store.flushed()
                return 0.2
            self._begin(mail)
        return 60.0

    def _places(self) -> int:
        """Attempts that may be under way at once. After a failure one tries whether it works again."""
        if self._stopping:
            return 0
        alone = self._health.state != "ok" or self._common.rush.on(self._common.monotonic())
        return 1 if alone else self.route.connections

    def _pace(self) -> float:
        """Seconds until the mailbox may send the next one."""
        allowance = self.allowance
        if allowance.bucket is None:
            return 0.0
        return allowance.bucket.wait(self._common.monotonic(), allowance.under_way)

    def _day_is_full(self, now: float) -> bool:
        """Whether the mailbox has written to as many as it may: then the route waits, and says why."""
        days = self.allowance.days
        if days is None or days.room(now) > 0:
            return False
        why = f"the mailbox has written to {self.route.per_day} recipients within 24 hours, and may not to more"
        self._health = Health("waiting", "throttled", why, now, now + days.wait(now), 1)
        self._remember()
        log.warning("route cannot", route=self.route.name, state="waiting", scope="throttled", why=why)
        return True

    def _until_room_for(self, mail: Mail, now: float) -> float:
        """Seconds until the mailbox may write to all recipients of a mail; 0: now."""
        allowance = self.allowance
        if allowance.days is None:
            return 0.0
        if allowance.days.room(now) == allowance.days.most and not allowance.recipients:
            return 0.0  # more than a day's share: it goes all the same
        return allowance.days.wait(now, len(mail.waiting) + allowance.recipients)

    def _send_round(self, now: float) -> float:
        """While the route cannot, its mail takes another, where one is named; seconds until the next look."""
        if self.route.fallback is None:
            return 60.0
        statements: list[Statement] = []
        for mail in self._common.spool.waiting_on(self.route.name, 200):
            if mail.at_once or mail.id in self._under_way or (other := self._aside(mail)) is None:
                continue
            statements += changes.moved(mail.id, *other)
        if statements:
            self._common.store.change(statements)
            self._common.store.flushed()
            return 0.2
        return 60.0

    def _begin(self, mail: Mail) -> asyncio.Task[Result | None]:
        allowance = self.allowance
        allowance.under_way += 1
        allowance.recipients += len(mail.waiting)
        task = asyncio.create_task(self._deliver(mail), name=f"mail {mail.id}")
        self._under_way[mail.id] = task
        if mail.suspect:
            self._common.suspect = mail.id
        task.add_done_callback(lambda task: self._done(mail, allowance, task))
        return task

    def _done(self, mail: Mail, allowance: Allowance, task: asyncio.Task[Result | None]) -> None:
        allowance.under_way -= 1
        allowance.recipients -= len(mail.waiting)
        if allowance.bucket:
            allowance.bucket.take(self._common.monotonic())
        id = mail.id
        self._under_way.pop(id, None)
        if self._common.suspect == id:
            self._common.suspect = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt failed in a way nobody thought of", mail=id, error=repr(error), exc_info=error)
        self.wake()

    # One attempt

    async def now(self, mail: Mail) -> Result | None:
        """Deliver a mail whose device waits. None: the route cannot, at the moment."""
        while True:
            now = self._common.wall()
            if self._stopping or self._health.blocked(now) > 0 or self._day_is_full(now):
                return None
            if len(self._under_way) < self._places() and self._pace() <= 0 and self._until_room_for(mail, now) <= 0:
                return await self._begin(mail)
            await asyncio.sleep(0.05)

    async def _deliver(self, mail: Mail) -> Result | None:
        """One attempt, from its first line on the disk to its last."""
        common, route = self._common, self.route
        now = common.wall()
        attempt = Attempt(common.number(), mail.id, now, route.name, route.place)
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
        used: list[Connection] = []
        try:
            result = await self._attempt(fresh, attempt.number, used)
        except asyncio.CancelledError:
            broken_off, after = _broken_off(attempt, fresh, used, common.wall()), self._after_breaking_off(fresh, used)
            with contextlib.suppress(StoreError):
                common.store.change(changes.ended(broken_off, after))
            common.ended(broken_off, after)
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
            try:
                await common.given_up(after)
            except StoreError as error:
                log.error("nobody could be told of a mail that was given up", mail=mail.id, error=str(error))
        elif after.state == "held" and after.kind != "notice":  # about a notice nobody is told: it would never end
            common.tell(occasions.held(after.id, after.host, after.why or "", at=common.wall()))
        return result

    async def _attempt(self, mail: Mail, number: int, used: list[Connection]) -> Result:
        """`used`: takes up the connection, for whoever has to know where it stood."""
        connection: Connection | None = None
        keep = False
        try:
            connection = await self._connection(number)
            used.append(connection)
            result = await self.connector.send(connection, mail, self.allowance.days, self._common.wall)
            keep = result.connection_good
        except RouteFailed as failure:
            result = failure.result(mail)
        except Exception as error:  # a mail that makes us stumble must not stop the others
            log.exception("a mail could not be sent for a fault of ours", mail=mail.id)
            why = f"a fault of relayprobe ({type(error).__name__}): see its log"
            result = Result("deferred", mail.recipients, reply=None, why=why)
        finally:
            if connection is not None:
                self._give_back(connection, keep)
        self._learn(result, number)
        return result

    async def _connection(self, number: int) -> Connection:
        """One that is open, or another."""
        if (kept := self._kept_open()) is not None:
            return kept
        held = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECTING):
                    held = await self._connecting.acquire()
            if number < self._anew and self._health.blocked(self._common.wall()) > 0:
                why = self._health.why or ""
                raise RouteFailed(RouteTrouble("later", why), why, "connect", self.route.place, ())
            return self._kept_open() or await self._another()
        finally:
            if held:
                self._connecting.release()

    def _kept_open(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.sent < MOST_ON_ONE:
                return connection
            self._close(connection)
        return None

    async def _another(self) -> Connection:
        allowance = self.allowance
        allowance.wanted += 1
        try:
            while allowance.open >= max(allowance.connections, 1):
                for let_go in allowance.sharers:  # another route of the same mailbox may have them all
                    let_go()
                await asyncio.sleep(0.05)
        finally:
            allowance.wanted -= 1
        allowance.open += 1
        try:
            return await self.connector.connect()
        except BaseException:
            allowance.open -= 1
            raise

    def _give_back(self, connection: Connection, keep: bool) -> None:
        if keep and connection.usable and not self._stopping and not self.allowance.wanted:
            self._idle.append(connection)
        else:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        """Close it, beside the work: the other side may be slow to say goodbye."""
        task = asyncio.create_task(self._closed(connection, self.allowance))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _closed(self, connection: Connection, allowance: Allowance) -> None:
        try:
            await connection.close()
        except Exception as error:
            log.error("a connection could not be closed", route=self.route.name, error=repr(error))
        finally:
            allowance.open -= 1

    def _close_all_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            self._close(connection)

    def _close_idle(self) -> None:
        old = [one for one in self._idle if one.idle_for > IDLE or not one.usable]
        self._idle = [one for one in self._idle if one not in old]
        for connection in old:
            self._close(connection)

    # What follows from it

    def _learn(self, result: Result, number: int) -> None:
        """What an attempt says of the route."""
        trouble = result.trouble
        if trouble is None and result.unknown:
            trouble = RouteTrouble("later", result.why or result.reply or "")
        if trouble is None:
            if result.reached:
                self._doubts = 0
                self._is_well(number)
            return
        if trouble.scope == "later" and result.stage in IN_A_MAIL and self._health.state == "ok":
            self._doubts += 1  # it may be this mail that the other side cannot bear
            if self._doubts < DOUBTS:
                return
        self._fell_ill(trouble, number)

    def _fell_ill(self, trouble: RouteTrouble, number: int) -> None:
        before, now = self._health, self._common.wall()
        stops = trouble.scope not in ("later", "throttled")
        if number < self._anew and before.state != "ok" and not (stops and before.state != "stopped"):
            return  # it was under way when the route fell ill: the same failure once more
        self._anew, self._doubts = self._common.numbers + 1, 0
        self._health = state_of.failed(before, trouble.scope, trouble.why, now, self._common.retry, self._common.spread)
        self._remember()
        log.warning(
            "route cannot", route=self.route.name, state=self._health.state, scope=trouble.scope, why=trouble.why
        )
        if self._health.state == "stopped" and before.state != "stopped":
            self._common.tell(occasions.stopped(self.route.name, trouble.why, waits=self._waiting(), at=now))

    def _waiting(self) -> int:
        """Mails that wait for this route, those that were just tried too."""
        waiting = (n for name, n, _ in self._common.spool.routes_of_waiting() if name == self.route.name)
        return next(waiting, 0) + len(self._under_way)

    def _is_well(self, number: int) -> None:
        if number < self._anew and self._health.state != "ok":
            return  # it was under way when the route fell ill, and says nothing of how it is now
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
        self._changed = self._common.monotonic()
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
            return self._after_unknown(mail)
        trouble = result.trouble
        if trouble is not None and not (trouble.scope == "later" and result.stage in IN_A_MAIL):
            return replace(mail, state="waiting", due=0.0, why=result.why)  # it goes when the route does
        scope: Scope | None = result.scope
        deferrals = mail.deferrals + (scope != "throttled")
        wait = backoff(self._common.retry, max(1, deferrals), self._common.spread)
        return replace(mail, state="waiting", deferrals=deferrals, due=now + wait, why=result.why)

    def _after_unknown(self, mail: Mail) -> Mail:
        """The other side may have it, or not."""
        unknown = mail.unknown + 1
        if unknown >= MOST_UNKNOWN:
            why = (
                f"{unknown} times the connection broke after the whole text had been sent: it may have arrived "
                "already. Look in the mailbox, then `relayprobe queue release` or `drop` it"
            )
            return replace(mail, state="held", unknown=unknown, why=why)
        due = self._common.wall() + backoff(self._common.retry, 1, self._common.spread)
        why = "the connection broke after the whole text had been sent: it may have arrived; sent once more"
        return replace(mail, state="waiting", unknown=unknown, due=due, why=why)

    def _after_breaking_off(self, mail: Mail, used: list[Connection]) -> Mail:
        """We have broken it off: the lane ends, or its device would not wait any longer."""
        if mail.at_once:
            return replace(mail, state="dropped", why="the device was told, and has it still")
        if any(connection.stage == "end-of-data" for connection in used):
            return self._after_unknown(mail)
        return replace(
            mail, state="waiting", due=0.0, why="relayprobe broke it off, for the route was changed or ended"
        )


def _broken_off(attempt: Attempt, mail: Mail, used: list[Connection], now: float) -> Attempt:
    """An attempt that was broken off, with what was said so far."""
    ended = replace(attempt, ended=now, result="interrupted")
    if mail.at_once:
        ended = replace(ended, result="deferred", reply="no answer in the time that the device waits")
    for connection in used:
        stage = connection.stage
        ended = replace(ended, place=connection.place, stage=stage, dialogue=connection.events())
        if stage == "end-of-data":
            ended = replace(ended, result="unknown")
    return ended
