"""The listener: any number of ports, the connections on them, who may come, and what becomes of a session that ends.

One ticker serves all connections: it hands events to the store, ends what takes too long, and measures how long the
loop kept everybody waiting.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import os
import random
import socket
import ssl
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import structlog

from relayprobe.advice.findings import Finding, diagnose
from relayprobe.capture.answers import Accept
from relayprobe.capture.pop3 import Pop3
from relayprobe.capture.recorder import Onlooker, Recorder
from relayprobe.capture.smtp import Limits, PatientSMTP
from relayprobe.capture.tap import Tap
from relayprobe.capture.waits import Waits
from relayprobe.dossier.summary import summary
from relayprobe.store import Row, Store, free
from relayprobe.wire.events import Credentials, Event
from relayprobe.wire.session import Session, Site, session_of
from relayprobe.wire.visit import MOST_VISITS, Visit, visit_of, within

log = structlog.get_logger(__name__)

TICK = 0.1
FLUSH_EVERY = 0.25
GATHER = 0.002
"""Seconds in which sessions that wait for the disk gather for one transaction."""

NOTICEABLE_LAG = 0.005
"""Seconds of lateness from which the loop's lag is kept with the sessions it touched."""

DEVICES = 200
"""Devices whose visits are remembered."""

STOPPING = 8.0
"""Seconds to end what is open. A session that is not judged by then is judged when it is looked at."""

MOST_BEHIND = 16 * 2**20
"""Octets not yet on the disk from which devices are made to wait."""

LONG_SESSION = 200
"""Events from which a session is judged beside the loop, not in it."""

FEW = 4
"""Devices at once up to which a session is judged as it ends. With more, those who wait for an answer go first."""

SHARE = 9
"""Of the time while there are more, judging takes one part in so many and one."""

MOST_LATER = 32 * 2**20
"""Octets of sessions that wait to be judged; beyond them a session is judged as it ends."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenError(Exception):
    """A port cannot be listened on; the text says why and names the way out."""


@dataclass(frozen=True, slots=True)
class Port:
    """Where to listen. `pin`: what the port is for, where it does not take everything."""

    host: str
    number: int
    pin: Literal["tls", "plain", "pop3"] | None = None

    @property
    def name(self) -> str:
        """As it is written in the configuration."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.pin}://{host}:{self.number}" if self.pin else f"{host}:{self.number}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A session that has ended, and what was found."""

    session: Session
    visits: tuple[Visit, ...]
    findings: tuple[Finding, ...]
    row: Row


@dataclass(frozen=True)
class Manner:
    """How a listener behaves: who may come, how they are answered, what is said of the site."""

    answers: Accept
    limits: Limits = field(default_factory=Limits)
    connections: int = 1000
    connections_per_peer: int = 50
    allow: tuple[Network, ...] = ()
    accounts: Mapping[str, str] = field(default_factory=dict)
    site: Site = field(default_factory=Site)
    mode: str | None = None
    imitate: str | None = None
    answers_for: Callable[[str, str], Accept] | None = None  # by address and session, where not all are answered alike
    known: Callable[[str], bool] | None = None  # addresses for which half of the connections are kept free


class Connection(Protocol):
    """What the listener has to do with a connection, SMTP or POP3."""

    host: str
    recorder: Recorder

    def resume(self) -> None:
        """Listen again, where nothing speaks against it."""

    def check(self, now: float) -> None:
        """End what takes too long; called about once a second."""

    def shut_down(self) -> None:
        """The listener stops."""


class Listener:
    """Serves devices on all its ports."""

    def __init__(
        self,
        ports: Sequence[Port],
        manner: Manner,
        tls: ssl.SSLContext,
        store: Store,
        folder: Path,
        *,
        onlookers: tuple[Onlooker, ...] = (),
        judged: Callable[[Judged], None] = lambda judged: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.ports = list(ports)
        self.manner = manner
        self.limits = manner.limits
        self.tls = tls
        self.waits = Waits()
        self._store = store
        self._folder = folder
        self._onlookers = onlookers
        self._judged = judged
        self._clock = clock
        self._template = PatientSMTP(manner.answers, manner.limits, self.loop)
        context = {"mode": manner.mode, "imitate": manner.imitate, "site": asdict(manner.site)}
        self._context = json.dumps(context)
        self._asking = json.dumps({**context, "interview": True})  # of a session that is part of an interview
        self._taps: set[Connection] = set()
        self._per_host: Counter[str] = Counter()
        self._refused: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._visits: OrderedDict[str, deque[Visit]] = OrderedDict()
        self._servers: list[asyncio.Server] = []
        self._opened: dict[str, tuple[Port, asyncio.Server]] = {}  # by the name that their port has in the settings
        self._ticker: asyncio.Task[None] | None = None
        self._beside = ThreadPoolExecutor(1, "judge")  # one: more would only keep the loop waiting
        self._judging: set[asyncio.Task[None]] = set()
        self._later: deque[tuple[Row, list[Event], int]] = deque()  # sessions to be judged, with their weight
        self._later_octets = 0
        self._soon: asyncio.TimerHandle | None = None
        self._room = (0.0, 0)
        self._commit: asyncio.Future[None] | None = None  # what sessions wait for that no transaction has begun for
        self._committing = False

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen on all ports, and on sockets that were handed over. Raises ListenError."""
        for at, port in enumerate(self.ports):
            try:
                self.ports[at] = await self._open_port(port)
            except OSError as error:
                await self.stop()
                raise ListenError(_why_not(port, error)) from None
        for given in sockets:
            host, number = given.getsockname()[:2]
            port = Port(host, number)
            self.ports.append(port)
            self._servers.append(await self.loop.create_server(lambda port=port: self._connection(port), sock=given))  # type: ignore[misc]
        self._ticker = self.loop.create_task(self._tick())

    def change(self, manner: Manner) -> None:
        """Behave otherwise towards whoever comes from now on; who is here is treated as before."""
        self.manner = manner
        self.limits = manner.limits
        self._template = PatientSMTP(manner.answers, manner.limits, self.loop)

    async def listen_on(self, ports: Sequence[Port]) -> None:
        """Listen on these ports and no others, apart from sockets that were handed over; nobody who is here is cut
        off. Raises ListenError, and listens on the others all the same."""
        wanted = {port.name: port for port in ports}
        for name, (there, server) in list(self._opened.items()):
            if name not in wanted:
                server.close()
                self._servers.remove(server)
                self.ports.remove(there)
                del self._opened[name]
        failure = None
        for name, port in wanted.items():
            if name not in self._opened:
                try:
                    self.ports.append(await self._open_port(port))
                except OSError as error:
                    failure = ListenError(_why_not(port, error))
        if failure is not None:
            raise failure

    async def _open_port(self, port: Port) -> Port:
        """Listen on a port; it with its number, where any would do."""
        opened = port
        server = await self.loop.create_server(lambda: self._connection(opened), port.host, port.number, backlog=1024)
        opened = replace(port, number=server.sockets[0].getsockname()[1])
        self._servers.append(server)
        self._opened[port.name] = opened, server
        return opened

    def _connection(self, port: Port) -> Tap | Pop3:
        return Pop3(self, port) if port.pin == "pop3" else Tap(self, port)

    async def stop(self) -> None:
        """Stop listening and end what is open; everything heard is handed to the store."""
        for server in self._servers:
            server.close()
        for tap in list(self._taps):
            tap.shut_down()
        patience = self.loop.time() + STOPPING
        while (self._taps or self._judging or self._later) and self.loop.time() < patience:
            await asyncio.sleep(0.01)
        if self._soon is not None:
            self._soon.cancel()
        self._beside.shutdown(wait=not self._judging, cancel_futures=True)
        if self._ticker is not None:
            self._ticker.cancel()

    # What a tap asks for

    def admit(self, tap: Connection, host: str) -> str | None:
        """None for a device that may come; else the line that sends it away."""
        if not self._allowed(host):
            self._log_refusal(host, "outside the networks that are answered: name its network with --allow")
            return "554 5.7.1 This server does not answer your network"
        known = self.manner.known
        if known is not None and not known(host) and len(self._taps) >= self.manner.connections // 2:
            self._log_refusal(host, "too many connections, and it is not among the devices that are named")
            return "421 4.7.0 Too many connections, try again later"
        if len(self._taps) >= self.manner.connections:
            self._log_refusal(host, "too many connections in all: see connections in [limits]")
            return "421 4.7.0 Too many connections, try again later"
        if self._per_host[host] >= self.manner.connections_per_peer:
            self._log_refusal(host, "too many connections of one device: see connections_per_peer in [limits]")
            return "421 4.7.0 Too many connections from your address, try again later"
        self._taps.add(tap)
        self._per_host[host] += 1
        return None

    def left(self, tap: Connection) -> bool:
        """A connection is gone; whether it had been admitted."""
        if tap not in self._taps:
            return False
        self._taps.remove(tap)
        self._per_host[tap.host] -= 1
        if not self._per_host[tap.host]:
            del self._per_host[tap.host]
        return True

    def recorder(self, peer: str, port: Port) -> Recorder:
        """The recorder of a new session."""
        row = Row(
            id=f"{random.getrandbits(40):010x}",
            started=self._clock(),
            ended=None,
            peer=peer,
            listener=port.name,
            context=self._context,
            users=(),
            senders=(),
            findings=(),
            worst=None,
            messages=0,
            octets=0,
        )
        return Recorder(
            row,
            self._store,
            accounts=self.manner.accounts,
            body_limit=self.limits.message_size,
            onlookers=self._onlookers,
            finished=self._finished,
            stored=self.stored,
            trouble=lambda error: log.error("cannot store a message", error=str(error), session=row.id),
        )

    def smtp(self, tap: Tap) -> PatientSMTP:
        """The SMTP side of a new session."""
        chosen = self.manner.answers_for
        answers = chosen(tap.host, tap.id) if chosen else self.manner.answers
        if answers.interview:
            tap.recorder.row = replace(tap.recorder.row, context=self._asking)
        return self._template.clone(tap, answers)

    @property
    def behind(self) -> bool:
        """Whether the disk does not keep up: then devices are made to wait."""
        return self._store.backlog > MOST_BEHIND

    def room_for(self, size: int) -> bool:
        """Whether the disk has room for half as much again as a message of so many octets."""
        now = time.monotonic()
        then, room = self._room
        if now - then > 1.0:
            room = free(self._folder)
            self._room = (now, room)
        return room >= size + size // 2

    async def stored(self) -> None:
        """Wait until all that was handed to the store is on the disk. Raises StoreError where it cannot be.

        Sessions that ask within a moment, or while a transaction is under way, share the next one and its wake-up.
        """
        if self._commit is None:
            self._commit = self.loop.create_future()
            if not self._committing:
                self._committing = True
                self.loop.call_later(GATHER, self._ask_store)
        await asyncio.shield(self._commit)

    def _ask_store(self) -> None:
        waiting, self._commit = self._commit, None
        assert waiting is not None
        done = self._store.flushed()
        done.add_done_callback(lambda done: self.loop.call_soon_threadsafe(self._settle, waiting, done.exception()))

    def _settle(self, waiting: asyncio.Future[None], error: BaseException | None) -> None:
        self._committing = self._commit is not None
        if self._commit is not None:
            self.loop.call_later(GATHER, self._ask_store)
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
            waiting.exception()  # those who wait have it; nobody else need be told

    # The end of a session

    def _finished(self, recorder: Recorder, row: Row) -> None:
        if len(recorder.events) < LONG_SESSION:
            if len(self._taps) > FEW and self._later_octets < MOST_LATER:
                self._later.append((row, recorder.events, recorder.weight))
                self._later_octets += recorder.weight
                self._judge_soon(0.0)
            else:
                self._conclude(row, recorder.events)
        else:
            task = self.loop.create_task(self._conclude_beside(row, recorder.events))
            self._judging.add(task)
            task.add_done_callback(self._judging.discard)

    def _judge_soon(self, seconds: float) -> None:
        if self._soon is None:
            self._soon = self.loop.call_later(seconds, self._judge_one)

    def _judge_one(self) -> None:
        """Judge the session that has waited longest; the next one when others have had their time."""
        self._soon = None
        row, events, weight = self._later.popleft()
        self._later_octets -= weight
        began = time.perf_counter()
        self._conclude(row, events)
        if self._later:
            busy = len(self._taps) > FEW
            self._judge_soon(SHARE * (time.perf_counter() - began) if busy else 0.0)

    async def _conclude_beside(self, row: Row, events: list[Event]) -> None:
        judged = await self.loop.run_in_executor(self._beside, self._judge, row, events)
        self._hand_over(judged)

    def _conclude(self, row: Row, events: list[Event]) -> None:
        self._hand_over(self._judge(row, events))

    def _judge(self, row: Row, events: list[Event]) -> Judged:
        manner = self.manner
        session = session_of(
            events,
            id=row.id,
            started=row.started,
            mode=manner.mode,
            imitate=manner.imitate,
            interview=row.context == self._asking,
            site=manner.site,
        )
        visits = within([*self._visits.get(session.host, ()), *self._open(session)], session)
        findings: tuple[Finding, ...] = ()
        try:
            findings = diagnose(session, visits)
        except Exception:
            log.exception("a rule failed; the session is kept, `relayprobe diagnose` tries again", session=row.id)
        return Judged(session, visits, findings, summary(row, session, findings))

    def _open(self, session: Session) -> list[Visit]:
        """The device's visits that still go on beside this one; few devices have any."""
        if not self._per_host[session.host]:
            return []
        recorders = [tap.recorder for tap in list(self._taps) if tap.host == session.host]
        return [_visit_so_far(recorder) for recorder in recorders]

    def _hand_over(self, judged: Judged) -> None:
        session = judged.session
        self._store.finish(judged.row)
        visits = self._visits.setdefault(session.host, deque(maxlen=MOST_VISITS))
        visits.append(visit_of(session))
        self._visits.move_to_end(session.host)
        if len(self._visits) > DEVICES:
            self._visits.popitem(last=False)
        try:
            self._judged(judged)
        except Exception:
            log.exception("a session could not be shown; it is stored", session=session.id)

    # The ticker

    async def _tick(self) -> None:
        flushed = checked = self.loop.time()
        due = flushed + TICK
        while True:
            await asyncio.sleep(max(0.0, due - self.loop.time()))
            now = self.loop.time()
            late = now - due
            due = now + TICK
            if late > NOTICEABLE_LAG:
                for tap in self._taps:
                    tap.recorder.lag = max(tap.recorder.lag, late)
            if not self.behind:
                for tap in self._taps:
                    tap.resume()
            if now - flushed >= FLUSH_EVERY:
                flushed = now
                for tap in self._taps:
                    if tap.recorder.dirty:
                        tap.recorder.flush()
            if now - checked >= 1.0:
                checked = now
                monotonic = time.monotonic()
                for tap in list(self._taps):
                    tap.check(monotonic)

    def _allowed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return address.is_private or address.is_link_local or any(address in network for network in self.manner.allow)

    def _log_refusal(self, host: str, why: str) -> None:
        """Say once a minute, and for each address, that somebody was sent away."""
        now = time.monotonic()
        if now - self._refused.get((host, why), -60.0) >= 60.0:
            self._refused[host, why] = now
            log.warning("device refused", peer=host, why=why)
            if len(self._refused) > DEVICES:
                self._refused.popitem(last=False)


def _visit_so_far(recorder: Recorder) -> Visit:
    """A visit that still goes on."""
    at_pop3 = recorder.row.listener.startswith("pop3://")
    began = at_pop3 and any(isinstance(event, Credentials) for event in recorder.events)
    user = _user(recorder.events)
    return Visit(recorder.id, recorder.row.started, None, user=user, pop3=at_pop3, pop3_login=began)


def _user(events: Sequence[Event]) -> str | None:
    """The login so far."""
    named = (e.user for e in reversed(events) if isinstance(e, Credentials) and e.user)
    user = next(named, None)
    return user.lower() if user else None


def handed_sockets(environment: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Sockets that systemd has opened for this process (sd_listen_fds(3)): ports below 1024 without being root."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    return [socket.socket(fileno=3 + at) for at in range(int(environment.get("LISTEN_FDS", "0")))]


def _why_not(port: Port, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"{port.name} is in use by another program: stop it, or choose another port with --listen"
        case errno.EACCES | errno.EPERM:
            return (
                f"no right to listen on {port.name}: ports below 1024 need a systemd socket or the capability "
                "CAP_NET_BIND_SERVICE (the README shows both), or choose a higher port with --listen"
            )
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {port.host}: choose one that it has, or 0.0.0.0 for all"
        case _:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            return f"cannot listen on {port.name}: {reason}; choose another address or port with --listen"
