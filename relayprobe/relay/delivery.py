"""Delivery: all lanes together, and what concerns none of them alone: mail whose device waits, mail for which a route
is chosen by the diagnosis, mail that grows too old, clocks that jump, and what an administrator asks for meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace

import structlog

from relayprobe.relay import occasions
from relayprobe.relay.auto import Choice
from relayprobe.relay.health import WELL, from_record
from relayprobe.relay.lane import STORE_TROUBLE, Common, Lane
from relayprobe.relay.pace import Jumps, backoff
from relayprobe.relay.routes import Candidate, Route, by_mailbox, first_match, serves
from relayprobe.relay.sending import Connector, Result
from relayprobe.store import Mail, StoreDamaged, StoreError
from relayprobe.store import spool as changes
from relayprobe.store.queue import Wanted
from relayprobe.store.spool import Statement

log = structlog.get_logger(__name__)

LOOK = 1.0
"""Seconds between two looks at what others have changed."""

NO_ROUTE = "451 4.4.1 No route can send at the moment, try again later"
TOO_LATE = "451 4.4.2 The other side did not answer in time, try again later"

DAY = 24 * 3600.0

CLOCK_JUMP = 60.0
"""Seconds from which a step of the clock is a jump, which times that count from it move along with."""


class Delivery:
    """Brings what is in the spool to where it goes."""

    def __init__(
        self,
        common: Common,
        routes: Sequence[Route],
        connectors: Callable[[Route], Connector],
        *,
        lifetime: float,
        waiting: float,
        patience: float,
        choose: Callable[[Mail, Route, Mapping[str, str]], Choice],
    ) -> None:
        self._common = common
        self._connectors = connectors
        self._lifetime = lifetime
        self._waiting = waiting
        self._patience = patience
        self._choose = choose
        self._jumps = Jumps(common.wall(), common.monotonic())
        self._minded = common.monotonic()
        self._routes = {route.name: route for route in routes}
        self._lanes: dict[str, Lane] = {}
        self._task: asyncio.Task[None] | None = None
        self._version = 0
        self._asked: dict[str, float] = {}
        self._queued = 0
        self._giving_up: set[str] = set()
        self._errands: set[asyncio.Task[None]] = set()

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes by their routes' names."""
        return self._lanes

    @property
    def queued(self) -> int:
        """How many mails are in the queue, as of the last second."""
        return self._queued

    def start(self) -> None:
        """Begin with what is there."""
        spool = self._common.spool
        self._common.numbers = spool.last_number()
        self._common.store.change(changes.settled(self._common.wall(), self._longest))
        records = spool.route_records()
        for name in records.keys() - self._routes.keys():  # of a route that is gone nobody can mend anything
            self._common.store.change(changes.route_record(name, {"days": records[name].get("days", {})}))
        self._asked = spool.asked()
        for route in self._routes.values():
            self._open(route, records.get(route.name, {}))
        self._adopt()
        self._count()
        self._task = asyncio.create_task(self._watch(), name="delivery")

    async def stop(self, seconds: float) -> None:
        """Let what is under way end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(lane.stop(seconds) for lane in self._lanes.values()))

    async def change(self, routes: Sequence[Route], *, lifetime: float, waiting: float, patience: float) -> None:
        """Other routes: those that changed begin anew, the others go on as they are."""
        self._lifetime, self._waiting, self._patience = lifetime, waiting, patience
        new = {route.name: route for route in routes}
        changed = [lane for name, lane in self._lanes.items() if new.get(name) != lane.route]
        for lane in changed:
            del self._lanes[lane.route.name]
        await asyncio.gather(*(lane.stop(10.0) for lane in changed))
        for lane in changed:  # what its mailbox has sent counts on
            lane.forget()
        with contextlib.suppress(StoreError):
            await asyncio.wrap_future(self._common.store.flushed())
        records = self._common.spool.route_records()
        self._routes = new
        for route in routes:
            if route.name not in self._lanes and route.mode != "auto":
                self._open(route, {key: value for key, value in records.get(route.name, {}).items() if key == "days"})
            elif route.name in self._lanes:
                self._lanes[route.name].connector.forget()
                self._lanes[route.name].again()  # a secret may have been changed where it is kept
        self._adopt()

    def _open(self, route: Route, record: Mapping[str, object]) -> None:
        if route.mode == "auto":
            return
        if (known := self._common.allowances.get(by_mailbox(route))) is not None:
            known.fit(route)
        lane = Lane(
            route,
            self._common,
            self._connectors(route),
            from_record(dict(record), self._common.wall()) if record else WELL,
        )
        counts = record.get("days")
        if lane.allowance.days is not None and isinstance(counts, dict):
            lane.allowance.days.remember(counts)
        self._lanes[route.name] = lane
        lane.start(self._other_route)

    def _other_route(self, mail: Mail) -> tuple[str, str] | None:
        """Where a mail goes while its own route cannot."""
        route = self._routes.get(mail.route)
        if route is None or route.fallback is None:
            return None
        other = self._lanes.get(route.fallback)
        why = self._lanes[route.name].health.why if route.name in self._lanes else None
        if other is None or other.health.state != "ok":
            return None
        return other.route.name, f"route {route.name} cannot at the moment ({why}), so it goes by {other.route.name}"

    # Mail that has been taken

    async def taken(self, mails: Sequence[Mail]) -> str | None:
        """Mail is on the disk. The reply for a device that waits; None: it is queued."""
        if not mails:
            return None
        self._queued += len(mails)
        if not mails[0].at_once:
            for mail in mails:
                self._common.rush.taken(self._common.monotonic())
                self._wake(mail.route)
            return None
        # The caller is no task of the loop, so it waits for a plain future.
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._errand(self._at_once(mails, answer))
        return await answer

    def _errand(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._errands.add(task)  # the loop alone would forget it
        task.add_done_callback(self._errands.discard)

    async def _at_once(self, mails: Sequence[Mail], answer: asyncio.Future[str]) -> None:
        reply = NO_ROUTE
        try:
            tries = {mail.id: asyncio.create_task(self._one_now(mail)) for mail in mails}
            _, late = await asyncio.wait(tries.values(), timeout=self._patience)
            for task in late:
                task.cancel()
            results = dict(zip(tries, await asyncio.gather(*tries.values(), return_exceptions=True), strict=True))
            for error in results.values():
                if isinstance(error, Exception):
                    log.error("a mail could not be sent while its device waited", exc_info=error)
            known = {id: result for id, result in results.items() if isinstance(result, Result)}
            if any(_is_ours(result) for result in known.values()):
                reply = await self._taken_over(mails, known)
            elif late:
                reply = TOO_LATE
            elif known and len(known) == len(mails):
                reply = min((_for_the_device(result) for result in known.values()), key=lambda one: one[:1])
        except Exception:
            log.exception("a mail could not be sent while its device waited", mails=[mail.id for mail in mails])
        finally:
            if reply[:1] != "2":
                why = "the device was told, and has it still"
                with contextlib.suppress(StoreError):
                    await self._common.write([sql for mail in mails for sql in changes.not_at_once(mail.id, why)])
            answer.set_result(_on_a_line(reply))

    async def _taken_over(self, mails: Sequence[Mail], known: Mapping[str, Result]) -> str:
        """A part of it is on its way, so the device must not send it again: what is left is queued. The reply."""
        common, statements, given_up = self._common, list[Statement](), list[Mail]()
        for mail in mails:
            result = known.get(mail.id)
            if result is not None and _is_ours(result):
                continue
            recipients = mail.recipients if result is None else result.recipients
            refused = all(one.state == "refused" for one in recipients)
            why = "the other side has refused it" if refused else "other recipients have it, so the device was told 250"
            due = common.wall() + backoff(common.retry, 1, common.spread)
            statements += changes.taken_over(mail.id, "failed" if refused else "waiting", due, why)
            if refused:
                given_up.append(replace(mail, recipients=recipients, state="failed", why=why, at_once=False))
        if statements:
            await common.write(statements)
        for mail in given_up:
            self._errand(common.given_up(mail))
        whole = (one.reply for one in known.values() if one.word == "delivered" and one.reply)
        if not statements and len(known) == len(mails) and (reply := next(whole, None)):
            return reply
        return f"250 2.0.0 OK, queued by relayprobe as {' '.join(mail.id for mail in mails)}"

    async def _one_now(self, mail: Mail) -> Result | None:
        route = self._routes.get(mail.route)
        if route is not None and route.mode == "auto":
            choice = self._chosen(mail, route)
            if choice.name is None:
                return None
            self._common.store.change(changes.moved(mail.id, choice.name, choice.because))
            mail = replace(mail, route=choice.name)
        lane = self._lanes.get(mail.route)
        result = None if lane is None else await lane.now(mail)
        if result is not None or (other := self._other_route(mail)) is None:
            return result
        name, why = other
        self._common.store.change(changes.moved(mail.id, name, why))
        return await self._lanes[name].now(replace(mail, route=name))

    def _wake(self, route: str) -> None:
        lane = self._lanes.get(route)
        if lane is not None:
            lane.wake()
        elif route in self._routes:
            self._choose_for(self._routes[route])
        else:  # a dialogue that was under way when the configuration was read anew
            self._adopt()

    def _choose_for(self, route: Route) -> None:
        """Give mail of a route that chooses by the diagnosis the route that is chosen."""
        statements: list[Statement] = []
        names: set[str] = set()
        for mail in self._common.spool.waiting_on(route.name, 100):
            if mail.at_once:
                continue
            choice = self._chosen(mail, route)
            if choice.name is None:
                statements += changes.set_aside(mail.id, "held", choice.because)
                if mail.kind != "notice":
                    self._common.tell(occasions.held(mail.id, mail.host, choice.because, at=self._common.wall()))
            else:
                statements += changes.moved(mail.id, choice.name, choice.because)
                names.add(choice.name)
        if statements:
            self._common.store.change(statements)
            self._errand(self._wake_when_written(names))

    async def _wake_when_written(self, routes: set[str]) -> None:
        await asyncio.wrap_future(self._common.store.flushed())
        for name in routes:
            self._wake(name)

    def _chosen(self, mail: Mail, route: Route) -> Choice:
        stopped = {name: lane.health.why or "" for name, lane in self._lanes.items() if lane.health.state != "ok"}
        return self._choose(mail, route, stopped)

    def _adopt(self) -> None:
        """Mail whose route is no longer configured takes another that is meant for it, or is held."""
        statements: list[Statement] = []
        for name, _, _ in self._common.spool.routes_of_waiting():
            if name in self._routes:
                continue
            for mail in self._common.spool.mails(Wanted(("waiting",), route=name)):
                other = self._meant_for(mail)
                if other is None:
                    why = f"its route {name} is no longer configured, and no other is meant for it"
                    statements += changes.set_aside(mail.id, "held", why)
                else:
                    statements += changes.moved(mail.id, other.name, f"its route {name} is no longer configured")
        if statements:
            self._common.store.change(statements)
            self._common.store.flushed()

    def _meant_for(self, mail: Mail) -> Route | None:
        asked = [Candidate(mail.host, mail.user, mail.sender, recipient) for recipient in mail.waiting]
        first = first_match(self._routes.values(), asked[0]) if asked else None
        return first if first is not None and all(serves(first, one) for one in asked) else None

    # The watch

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._mind_the_clock()
                self._look()
            except StoreError as error:
                log.error("cannot read the queue", error=str(error))
                if isinstance(error, StoreDamaged):
                    self._common.store.doubt()
            except Exception:
                log.exception("the watch stumbled")

    @property
    def _longest(self) -> float:
        """Seconds for which a mail may be put off at most."""
        return 1.2 * max(self._common.retry)

    async def _mind_the_clock(self) -> None:
        """Where the clock was set, what counts from it is set before it is looked at."""
        common = self._common
        now, monotonic = common.wall(), common.monotonic()
        window, self._minded = monotonic - self._minded + LOOK, monotonic
        jump = self._jumps.seen(now, monotonic)
        if abs(jump) < CLOCK_JUMP:
            return
        log.warning("the clock was changed", seconds=round(jump))
        for allowance in common.allowances.values():
            if allowance.days:
                allowance.days.jumped(jump)
        for lane in self._lanes.values():
            lane.clock_jumped(jump, window)
        await common.write([*changes.shifted(jump, now, window), *changes.settled(now, self._longest)])
        for lane in self._lanes.values():
            lane.wake()

    def _look(self) -> None:
        common, spool = self._common, self._common.spool
        now = common.wall()
        version = spool.version()
        if version != self._version:
            self._version = version
            self._adopt()  # what was held when its route went may have been released
            asked = spool.asked()
            for name in asked:
                if asked[name] != self._asked.get(name) and name in self._lanes:
                    self._lanes[name].again()
            self._asked = asked
            for lane in self._lanes.values():
                lane.wake()
        for lane in self._lanes.values():
            if lane.health.state == "stopped" and lane.connector.signed_in_anew():
                lane.again()
        for route in self._routes.values():
            if route.mode == "auto":
                self._choose_for(route)
        self._count()
        self._too_old(now)

    def _count(self) -> None:
        counts = self._common.spool.counts()
        self._queued = counts.get("waiting", 0) + counts.get("sending", 0)

    async def _give_up(self, id: str, why: str) -> None:
        """Give a mail up, and tell once that is on the disk: an attempt may have begun meanwhile, and may succeed."""
        common = self._common
        common.store.change(changes.set_aside(id, "failed", why))
        try:
            while True:
                try:
                    await asyncio.wrap_future(common.store.flushed())
                    break
                except StoreError:
                    await asyncio.sleep(STORE_TROUBLE)
            mail = common.spool.mail(id)
            if mail is not None and (mail.state, mail.why) == ("failed", why):
                await common.given_up(mail)
        except Exception:
            log.exception("nobody could be told of a mail that was given up", mail=id)
        finally:
            self._giving_up.discard(id)

    def _too_old(self, now: float) -> None:
        common = self._common
        # A route that is stopped is no fault of its mail: it is kept until somebody has seen to the route.
        stopped = [name for name, lane in self._lanes.items() if lane.health.scope in ("stop", "configuration")]
        for mail in common.spool.expired(now - self._lifetime, stopped):
            why = f"it could not be delivered within {self._lifetime / DAY:.3g} days; last: {mail.why or 'no reply'}"
            if mail.id not in self._giving_up and not mail.at_once:
                self._giving_up.add(mail.id)
                self._errand(self._give_up(mail.id, why))
        # Not those that are held: of them somebody has been told, and one that is kept back would hide all others.
        held_up = common.spool.held_up(now - self._waiting, ("waiting",))
        if held_up is None:
            return
        oldest = held_up[1]
        since = _in_words(now - oldest.arrived)
        common.tell(occasions.waiting(oldest.id, oldest.host, since, oldest.why or "", at=now))


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"


def _is_ours(result: Result) -> bool:
    """Whether a mail that was tried while its device waited is relayprobe's now: a recipient has it, or may have it."""
    return result.unknown or any(one.state == "delivered" for one in result.recipients)


def _for_the_device(result: Result) -> str:
    """What a device is answered for a mail that was not taken. What the route alone is to blame for passes, and a
    device that reads 535 about a login which is not its own gives up."""
    reply = result.reply or NO_ROUTE
    closing = reply.startswith("421")  # it would say that the connection to the device is over
    if reply[:1] in ("4", "5") and not closing and not (reply[:1] == "5" and result.trouble):
        return reply
    return f"451 4.4.0 {reply}"


def _on_a_line(reply: str) -> str:
    """RFC 5321 4.5.3.1.5: 512 octets with the line's end."""
    return " ".join(reply.encode("ascii", "backslashreplace").decode().split())[:500]
