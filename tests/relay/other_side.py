"""A mail server on loopback, asked at each stage what it does: the other side of a relay whose clock a test moves.

`answer` is given the moment and says a reply, or what is done in its place; None: what a well server says. A mail
counts as taken when its final dot was answered 250, or when the answer is `Do.KEEP`: taken, and the answer lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from relayprobe.capture.tls import own_certificate


class Do(Enum):
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    HALF = "half"  # of a reply, and silence
    KEEP = "keep"


Step = bytes | Do | None
USUAL = {
    "banner": b"220 mail.example ready\r\n",
    "starttls": b"220 2.0.0 go\r\n",
    "data": b"354 go\r\n",
    "text": b"",
    "quit": b"221 2.0.0 bye\r\n",
    "login": b"235 2.7.0 in\r\n",
}
OFFERS = ("SIZE 157286400", "PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME")


@dataclass(frozen=True)
class Moment:
    """What has just been said to the server. `said`: the command's line."""

    stage: str
    connection: int
    sender: str
    recipients: tuple[str, ...]
    said: bytes = b""
    text: bytes = b""


@dataclass(frozen=True)
class Taken:
    """A mail that was taken. `at`: by the clock of the loop, when MAIL came."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    text: bytes

    @property
    def message_id(self) -> bytes:
        return next(line for line in self.text.splitlines() if line.lower().startswith(b"message-id:"))

    @property
    def subject(self) -> str:
        line = next(line for line in self.text.splitlines() if line.lower().startswith(b"subject:"))
        return line[8:].strip().decode()


@dataclass
class OtherSide:
    """The server. What it saw: when each connection, login and MAIL came, and the mails taken."""

    answer: Callable[[Moment], Step] = lambda moment: None
    pipelining: bool = True
    up: bool = True
    stalled: int = 0  # dialogues in which it keeps silent
    open: int = 0
    most_open: int = 0
    connections: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    mails: list[float] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    port: int = 0
    _tls: ssl.SSLContext | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def running(self, folder: Path | None = None) -> AsyncIterator[OtherSide]:
        """`folder`: where its certificate is, or is put; then it offers STARTTLS, and a login behind it."""
        if folder is not None:
            folder.mkdir(exist_ok=True)
            certificate, key = own_certificate(folder, "mail.example")
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, key)
        await self.rise()
        try:
            yield self
        finally:
            await self.fall()

    async def rise(self) -> None:
        """It is there (again, at the same port)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def fall(self) -> None:
        """It is gone: nobody listens, and all connections are cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0)

    @property
    def subjects(self) -> list[str]:
        """Of the mails taken, in order."""
        return [one.subject for one in self.taken]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.get_running_loop().time())
        self._writers.add(writer)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await _Dialogue(self, reader, writer, len(self.connections)).go()
        except (OSError, asyncio.IncompleteReadError, _Over):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()


class _Over(Exception):
    """The dialogue is over."""


class _Dialogue:
    def __init__(
        self, side: OtherSide, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        self.side, self.reader, self.writer, self.connection = side, reader, writer, connection
        self.sender, self.recipients, self.began = "", list[str](), 0.0
        self.secure = self.begun = False

    async def go(self) -> None:
        await self.do("banner")
        while line := await self.reader.readline():
            verb, _, rest = line.rstrip(b"\r\n").partition(b" ")
            match verb.upper():
                case b"EHLO":
                    await self.do("ehlo", line, self.offers())
                case b"STARTTLS" if self.side._tls:
                    if (await self.do("starttls", line)).startswith(b"220"):
                        await self.writer.start_tls(self.side._tls)
                        self.secure = True
                case b"AUTH":
                    self.side.logins.append(asyncio.get_running_loop().time())
                    for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
                        self.writer.write(prompt)
                        if not await self.reader.readline():
                            raise _Over
                    await self.do("login", line)
                case b"MAIL":
                    self.began = asyncio.get_running_loop().time()
                    self.side.mails.append(self.began)
                    self.sender, self.recipients = _address(rest), []
                    self.begun = (await self.do("mail", line)).startswith(b"2")
                case b"RCPT" if not self.begun:
                    await self.do("nobody", line, b"503 5.5.1 MAIL first\r\n")
                case b"RCPT":
                    if (await self.do("rcpt", line, asked=_address(rest))).startswith(b"2"):
                        self.recipients.append(_address(rest))
                case b"DATA":
                    if not self.recipients:
                        await self.do("nobody", line, b"554 5.5.1 nobody to write to\r\n")
                    elif (await self.do("data", line)).startswith(b"354"):
                        await self.do("text")
                        await self.text()
                case b"QUIT":
                    await self.do("quit", line)
                    return
                case _:
                    await self.do(verb.decode("latin-1").lower(), line)

    def offers(self) -> bytes:
        offers = [one for one in OFFERS if self.side.pipelining or one != "PIPELINING"]
        offers += ["AUTH LOGIN"] if self.secure else ["STARTTLS"] if self.side._tls else []
        lines = ["mail.example", *offers]
        return "".join(f"250{' -'[line is not lines[-1]]}{line}\r\n" for line in lines).encode()

    async def text(self) -> None:
        text = await self.reader.readuntil(b"\r\n.\r\n")
        moment = self.moment("dot", text=text)
        step = self.side.answer(moment)
        if step is Do.KEEP or step is None or (isinstance(step, bytes) and step.startswith(b"250")):
            self.side.taken.append(Taken(self.began, self.sender, tuple(self.recipients), text))
        await self.act(b"250 2.0.0 ok\r\n" if step is None else step)

    def moment(self, stage: str, said: bytes = b"", text: bytes = b"", asked: str | None = None) -> Moment:
        recipients = (asked,) if asked else tuple(self.recipients)
        return Moment(stage, self.connection, self.sender, recipients, said, text)

    async def do(self, stage: str, said: bytes = b"", usual: bytes | None = None, asked: str | None = None) -> bytes:
        step = self.side.answer(self.moment(stage, said, asked=asked))
        if step is None:
            step = usual if usual is not None else USUAL.get(stage, b"250 2.0.0 ok\r\n")
        return await self.act(step)

    async def act(self, step: bytes | Do) -> bytes:
        match step:
            case bytes():
                self.writer.write(step)
                await self.writer.drain()
                return step
            case Do.RESET:
                self.writer.transport.abort()
            case Do.STALL | Do.HALF:
                if step is Do.HALF:
                    self.writer.write(b"250-and\r\n")
                self.side.stalled += 1
                try:
                    while await self.reader.read(65536):
                        pass
                finally:
                    self.side.stalled -= 1
        raise _Over


def _address(rest: bytes) -> str:
    return rest.partition(b"<")[2].partition(b">")[0].decode()
