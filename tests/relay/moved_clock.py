"""A relay in this process, and a clock that a test moves.

The loop's own time is moved, so whatever waits in it (a lane, a timeout) wakes as if the time had passed, and nothing
in the relay knows of a test. Between two steps of the clock `quiet` waits until nothing is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relayprobe.relay.notices import Notice, Notifier
from relayprobe.relay.place import Timeouts
from relayprobe.relay.plan import plan_of
from relayprobe.relay.relay import Relay
from relayprobe.settings import Settings
from relayprobe.store import Mail, Recipient, Retention, Row, Spool, Store, Text
from relayprobe.wire.events import LineFacts
from relayprobe.wire.session import Site
from tests.relay.other_side import OtherSide

START = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
PATIENCE = 30.0
"""Seconds in which all that is under way ends, on the slowest machine; it is a fault where it does not."""


class MovedLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be moved on."""

    moved = 0.0

    def time(self) -> float:
        return super().time() + self.moved


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop whose time can be moved."""
    with asyncio.Runner(loop_factory=MovedLoop) as runner:
        runner.run(scenario)


def text_of(subject: str, sender: str = "scan@contoso.com") -> bytes:
    return (
        f"From: {sender}\r\nTo: anna@contoso.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@device>\r\n"
        "Date: Thu, 01 Jan 2026 10:00:00 +0000\r\n\r\nscan\r\n"
    ).encode()


def route(port: int, name: str = "office", **more: Any) -> dict[str, Any]:
    """The table of a route to a server on loopback."""
    return {"name": name, "mode": "smart-host", "host": "127.0.0.1", "port": port, "tls": "none"} | more


def signed_in(port: int, folder: Path, name: str = "office", **more: Any) -> dict[str, Any]:
    """The table of a route that logs in as a mailbox."""
    tls = {"tls": "starttls", "tls_name": "mail.example", "ca_file": str(folder / "ca.pem")}
    login = {"mode": "submission", "user": "scan@contoso.com", "password": "Sesame-4711"}
    return route(port, name) | tls | login | more


class _Told:
    """A channel that keeps what it is given."""

    name = "test"

    def __init__(self, told: list[Notice]) -> None:
        self._told = told

    async def send(self, notice: Notice) -> str | None:
        self._told.append(notice)
        return None


class House:
    """A relay, its store, and what it told. `onlooker` sees each attempt as it ends."""

    def __init__(self, folder: Path, routes: Sequence[dict[str, Any]], timeouts: Timeouts, **relay: Any) -> None:
        self.folder = folder
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, MovedLoop)
        self.told: list[Notice] = []
        self.jumped = 0.0
        self._began = self.loop.time()
        self._timeouts = timeouts
        self._settings = self.settings(routes, **relay)
        self._numbers = 0
        self.sides: Sequence[OtherSide] = ()

    def settings(self, routes: Sequence[dict[str, Any]], **relay: Any) -> Settings:
        return Settings(
            data=self.folder, relay={"devices": ["10.0.0.0/8"]} | relay, route=list(routes), site={"domains": []}
        )  # type: ignore[arg-type]

    def wall(self) -> float:
        return START + self.loop.time() - self._began + self.jumped

    def open(self) -> None:
        self.store = Store.open(self.folder, Retention(None, None, None, None), clock=self.wall, linger=0.01)
        self.relay = Relay(
            self._settings,
            None,
            plan_of(self._settings, None),
            self.store,
            Site(),
            wall=self.wall,
            monotonic=self.loop.time,
            spread=lambda: 0.5,
            timeouts=self._timeouts,
        )
        self.relay.notifier = self.notifier = Notifier([_Told(self.told)], hourly=1000, clock=self.loop.time)
        self.relay.start()

    async def close(self) -> None:
        await self.relay.stop()
        await asyncio.to_thread(self.store.close)

    async def again(self) -> None:
        """It ends, and another begins."""
        await self.close()
        self.open()

    async def change(self, routes: Sequence[dict[str, Any]], **relay: Any) -> None:
        self._settings = self.settings(routes, **relay)
        await self.relay.change(self._settings, plan_of(self._settings, None), Site())

    @property
    def spool(self) -> Spool:
        return self.relay._spool

    @property
    def lanes(self) -> Any:
        return self.relay.delivery.lanes

    async def send(
        self, *subjects: str, to: Sequence[str] = ("anna@contoso.com",), host: str = "10.0.0.1", **more: Any
    ) -> list[Mail]:
        """Mails with these subjects come from a device: they are on the disk, and delivery knows."""
        mails = [self._taken(subject, to, host, more) for subject in subjects]
        await asyncio.wrap_future(self.store.flushed())
        await self.relay.delivery.taken(mails)
        return mails

    def _taken(self, subject: str, to: Sequence[str], host: str, more: dict[str, Any]) -> Mail:
        self._numbers += 1
        session = f"s{self._numbers:05d}"
        wire = text_of(subject) + b".\r\n"
        digest = hashlib.blake2b(wire, digest_size=16).digest()
        plain = Mail(
            id=f"{session}-1",
            session=session,
            texts=(Text(0, len(wire), digest, "crlf", LineFacts()),),
            arrived=self.wall(),
            host=host,
            user=None,
            sender="scan@contoso.com",
            recipients=tuple(map(Recipient, to)),
            route="office",
        )
        mail = replace(plain, **more)
        row = Row(session, mail.arrived, mail.arrived, f"{host}:4000", "0.0.0.0:2525")
        self.store.begin(row)
        self.store.body(session, 0, wire)
        self.store.take(mail)
        self.store.finish(row)
        return mail

    def kinds(self, *but: str) -> list[str]:
        """The kinds of notices that an administrator was told."""
        return [one.kind for one in self.told if one.kind not in but]

    def now(self, mail: Mail) -> Mail:
        """How a mail stands."""
        found = self.spool.mail(mail.id)
        assert found is not None
        return found

    async def on(self, seconds: float, step: float = 30.0) -> None:
        """The time passes."""
        end = self.loop.time() + seconds
        while (left := end - self.loop.time()) > 0:
            self.loop.moved += min(step, left)
            await self.quiet()

    async def quiet(self) -> None:
        """Nothing is under way but where the other side keeps silent."""
        calm = 0
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for _ in range(5):
                await asyncio.sleep(0)
            await asyncio.wrap_future(self.store.flushed())
            for _ in range(5):
                await asyncio.sleep(0)
            sending = sum(lane.sending for lane in self.lanes.values())
            silent = sum(side.stalled for side in self.sides)
            calm = 0 if sending > silent or self.relay.delivery._errands else calm + 1
            if calm == 2:
                return
            await asyncio.sleep(0.001 if calm == 0 else 0)
        raise AssertionError("it does not come to rest")


QUICK = Timeouts(quit=1.0)


@contextlib.asynccontextmanager
async def at_work(
    folder: Path, routes: Sequence[dict[str, Any]], *sides: OtherSide, timeouts: Timeouts = QUICK, **relay: Any
) -> AsyncIterator[House]:
    """A relay with these routes. `sides`: the servers, that it may be known where one keeps silent."""
    house = House(folder / "data", routes, timeouts, **relay)
    house.sides = sides
    house.open()
    try:
        yield house
    finally:
        await house.close()
