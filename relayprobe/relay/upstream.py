"""The connection to Office 365, or to any other mail server, over which letters go out one after the other.

`Upstream.connect` walks to the end of the login, `send` carries one letter and tells for each recipient what came of
it. Nothing that the other side does is an exception: it is a `Fault`, or an outcome with its stage. A server is never
believed more than it said: what it offers is looked at before it is used, nothing secret goes without verified TLS,
and where a reply does not fit, or a text cannot be finished, the connection is cut in front of the end mark, so that
no half mail is taken for a whole one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

from relayprobe.capture.tap import host_port
from relayprobe.relay.outcome import Cause, Fault, Reply, Said, Sent, Stage, Trouble
from relayprobe.relay.passage import Passage
from relayprobe.relay.place import Letter, Offers, Place, SignIn, Timeouts
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.relay.record import Record
from relayprobe.relay.sign_in import signed_in
from relayprobe.relay.tls import reason_word, tls_trouble

SHOWN = 4
"""Addresses of which it is told what was met at each."""

NO_EHLO = frozenset((500, 501, 502, 504, 550))
"""Codes by which a server says that it does not know EHLO (RFC 5321 4.1.4)."""


class Upstream:
    """A connection that is ready for letters. `offers`: what the server said it can do."""

    def __init__(self, place: Place, timeouts: Timeouts, record: Record, protocol: UpstreamProtocol) -> None:
        self.place = place
        self.record = record
        self.offers = Offers()
        self.stage: Stage = "banner"
        self.idle_since = asyncio.get_running_loop().time()
        """By the clock of the loop."""
        self._timeouts = timeouts
        self._protocol = protocol
        self._letters = 0
        self._unfinished = False  # the server may still hold the envelope of the last letter

    @classmethod
    async def connect(cls, place: Place, login: SignIn | None, timeouts: Timeouts, record: Record) -> Upstream | Fault:
        """Connect, make TLS as the place wants it, log in."""
        if login is not None and place.tls == "none":
            return Fault(
                "auth", Trouble("clear-text", f"{place.label} is to be used without TLS: no login is sent there")
            )
        protocol = await _reached(place, timeouts, record)
        if isinstance(protocol, Fault):
            return protocol
        upstream = cls(place, timeouts, record, protocol)
        try:
            fault = await upstream._open(login)
        except BaseException:
            protocol.break_off("lost", "given up", "shutdown")
            raise
        if fault is None:
            return upstream
        await upstream.quit()
        return fault

    @property
    def usable(self) -> bool:
        """Whether another letter may go over it: one that was idle for long may be closed unseen, so connect anew."""
        idle = asyncio.get_running_loop().time() - self.idle_since
        return self._protocol.usable and idle <= self._timeouts.idle

    async def quit(self) -> None:
        """Say goodbye where there is somebody to say it to, and close."""
        if self._protocol.usable:
            await self._protocol.ask(b"QUIT", timeout=self._timeouts.quit)
        await self._protocol.leave(self._timeouts.quit)

    # Up to the login

    async def _open(self, login: SignIn | None) -> Fault | None:
        said = await self._protocol.reply(self._timeouts.banner)
        if not _says(said, 220):
            return self._fault("banner", said)
        if fault := await self._hello(may_fall_back=self.place.tls == "none"):
            return fault
        if self.place.tls == "starttls" and (fault := await self._starttls()):
            return fault
        if login is not None:
            self.stage = "auth"
            return await signed_in(self._protocol, self.offers, login, self._timeouts)
        return None

    async def _hello(self, may_fall_back: bool = False) -> Fault | None:
        name = self.place.helo.encode("ascii", "replace")
        said = await self._protocol.ask(b"EHLO", name, timeout=self._timeouts.command)
        if isinstance(said, Reply) and said.code == 250:
            self.offers = Offers.of(said)
            return None
        if may_fall_back and isinstance(said, Reply) and said.code in NO_EHLO:
            said = await self._protocol.ask(b"HELO", name, timeout=self._timeouts.command)
        return None if _says(said, 250) else self._fault("ehlo", said)

    async def _starttls(self) -> Fault | None:
        place, protocol = self.place, self._protocol
        assert place.context is not None
        if "STARTTLS" not in self.offers:
            return self._fault("tls", Trouble("no-starttls", f"{place.label} does not offer STARTTLS"))
        said = await protocol.into_tls(place.context, place.verified, self._timeouts.tls)
        # RFC 3207 4.2: what was offered in clear counts for nothing, so the server is asked anew.
        return await self._hello() if said is None else self._fault("tls", said)

    def _fault(self, stage: Stage, said: Said) -> Fault:
        self.stage = stage
        if isinstance(said, Reply) and said.code < 400:
            said = Trouble("garbled", f"{self.place.label} answered out of turn: {said.line}")
        return Fault(stage, said)

    # A letter

    async def send(self, letter: Letter) -> Sent:
        """Send one letter. `stage` tells, should it be cancelled, whether the final dot was out."""
        self.record.letter()
        passage = Passage(letter, self._protocol, self.offers, self._timeouts)
        try:
            async with asyncio.timeout(self._timeouts.letter) as waiting:
                await passage.go(reset=self._unfinished)
        except TimeoutError:
            if not waiting.expired():
                self._cut(passage)
                raise
            passage.broken(Trouble("timeout", f"the letter was not through after {self._timeouts.letter:g} seconds"))
        except BaseException:
            self._cut(passage)
            raise
        self.stage = passage.stage
        fault = passage.fault
        stale = self._letters > 0 and fault is not None and fault.scope == "route" and not passage.answered
        self._unfinished = not passage.finished
        self._letters += 1
        self.idle_since = asyncio.get_running_loop().time()
        return Sent(passage.outcomes, passage.stage, fault, stale)

    def _cut(self, passage: Passage) -> None:
        self.stage = passage.stage
        self._protocol.break_off("lost", "given up", "shutdown")


async def _reached(place: Place, timeouts: Timeouts, record: Record) -> UpstreamProtocol | Fault:
    """A connection to the first address that takes one, inside TLS where that is implicit."""
    loop = asyncio.get_running_loop()
    addresses = place.addresses
    if not addresses:
        try:
            async with asyncio.timeout(timeouts.connect):
                found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            return Fault("connect", Trouble("no-name", f"the name {place.host} was not found in time"))
        except (OSError, UnicodeError) as error:  # a label may be too long for IDNA
            return Fault("connect", Trouble("no-name", f"the name {place.host} cannot be looked up: {_why(error)}"))
        found.sort(key=lambda one: one[0] != socket.AF_INET)
        addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    met, refused = [], True
    for address in addresses:
        try:
            protocol = await _connected(address, place, timeouts, record)
        except ssl.SSLError as error:
            record.connected(host_port((address, place.port)), "")
            record.tls_failed(reason_word(error))
            record.closed("client", "failed")
            return Fault("tls", tls_trouble(error, place.verified))
        except OSError as error:
            met.append(f"{host_port((address, place.port))}: {_why(error)}")
            refused = refused and isinstance(error, ConnectionRefusedError)
            continue
        return protocol
    cause: Cause = "nobody-listens" if refused and met else "unreachable"
    return Fault("connect", Trouble(cause, f"{place.label} could not be reached ({'; '.join(met[:SHOWN])})"))


async def _connected(address: str, place: Place, timeouts: Timeouts, record: Record) -> UpstreamProtocol:
    loop = asyncio.get_running_loop()
    implicit = place.tls == "implicit"
    async with asyncio.timeout(timeouts.connect):
        _, protocol = await loop.create_connection(
            lambda: UpstreamProtocol(loop, record),
            address,
            place.port,
            ssl=place.context if implicit else None,
            server_hostname=place.verified if implicit else None,
        )
    return protocol


def _why(error: OSError | UnicodeError) -> str:
    """An error of the system in its own words: `Connection refused`."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, UnicodeError):
        return "it is no host name"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)


def _says(said: Said, code: int) -> bool:
    return isinstance(said, Reply) and said.code == code
