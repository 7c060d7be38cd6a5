"""A listener on loopback, for devices of the tests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayprobe.capture.answers import Accept
from relayprobe.capture.listener import Judged, Listener, Manner, Port
from relayprobe.capture.smtp import Limits
from relayprobe.capture.tls import own_certificate, server_context
from relayprobe.store import Archive, Store
from relayprobe.wire.message import trimmed
from relayprobe.wire.session import Session, Site

USER, PASSWORD = "scanner@contoso.com", "Scan-2024!"


@dataclass
class Running:
    """A listener that runs, and what it has judged."""

    listener: Listener
    store: Store
    folder: Path
    judged: list[Judged] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.listener.ports[0].number

    async def play(self, device: Callable[..., Any], *arguments: Any) -> Session:
        """Let a device send, in a thread of its own, and give what came of it."""
        before = len(self.judged)
        await asyncio.to_thread(device, *arguments)
        return await self.session(before)

    async def session(self, number: int) -> Session:
        """A session, once it has ended."""
        while len(self.judged) <= number:
            await asyncio.sleep(0.01)
        return self.judged[number].session

    async def stored(self) -> bytes:
        """Every octet in the data folder."""
        await asyncio.wrap_future(self.store.flushed())
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())

    def archive(self) -> Archive:
        return Archive.open(self.folder)


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(*own_certificate(tmp_path_factory.mktemp("tls"), "relayprobe.local"))


@pytest.fixture
async def start(tmp_path: Path, certificate: ssl.SSLContext) -> AsyncIterator[Start]:
    """Starts listeners: `await start(accounts={...}, limits=Limits(...), pin="tls", ...)`."""
    started: list[Running] = []

    async def begin(
        *,
        accounts: dict[str, str] | None = None,
        limits: Limits | None = None,
        pin: Any = None,
        more: Sequence[Port] = (),
        answers: Accept | None = None,
        tls: ssl.SSLContext | None = None,
        **manner: Any,
    ) -> Running:
        accounts = {USER: PASSWORD} if accounts is None else accounts
        limits = limits or Limits()
        folder = tmp_path / f"data-{len(started)}"
        store = Store.open(folder, trim=trimmed)
        answers = answers or Accept("relayprobe.local", accounts=accounts, message_size=limits.message_size)
        site = Site(domains=("contoso.com",), accounts=tuple(accounts))
        judged: list[Judged] = []
        listener = Listener(
            [Port("127.0.0.1", 0, pin), *more],
            Manner(answers, limits, accounts=accounts, site=site, **manner),
            tls or certificate,
            store,
            folder,
            judged=judged.append,
        )
        await listener.start()
        running = Running(listener, store, folder, judged)
        started.append(running)
        return running

    yield begin
    for running in started:
        await running.listener.stop()
        running.store.close()
