"""Mail servers on loopback for `check`: Office 365 as `relayprobe listen --imitate` imitates it, under its own names
and with certificates of an authority of the test; what stands in between and changes what is said; ports that drop,
stall and refuse."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayprobe.capture.tls import own_certificate
from relayprobe.check.resolver import Resolver
from relayprobe.check.run import Asked, Run, run
from relayprobe.check.talk import trusting
from tests.check.name_server import Zone, name_server
from tests.clients.listening import Listening

SUBMISSION, MX = "smtp.office365.com", "contoso-com.mail.protection.outlook.com"
HERE = [("A", "127.0.0.1")]
ZONE: Zone = {
    "contoso.com": [("MX", (0, MX)), ("TXT", "v=spf1 include:spf.protection.outlook.com ~all")],
    SUBMISSION: HERE,
    MX: HERE,
    "spf.protection.outlook.com": [("TXT", "v=spf1 -all")],
}


@dataclass(frozen=True)
class Office365:
    """Both endpoints, each a process with a certificate for its name."""

    submission: Listening
    mx: Listening
    ca: Path

    def asked(self, **more: Any) -> Asked:
        given: dict[str, Any] = {
            "submission": (SUBMISSION, self.submission.port),
            "mx": (MX, self.mx.port),
            "ca_file": self.ca,
            "patience": 2.0,
            "deadline": 15.0,
            "lists": (),
        }
        return Asked("contoso.com", **{**given, **more})


@contextlib.contextmanager
def office_365(folder: Path, settings: str, mode: str = "direct-send") -> Iterator[Office365]:
    """`mode`: what the MX endpoint takes us for."""
    folder.mkdir(parents=True, exist_ok=True)
    cas = []
    running: list[Listening] = []
    try:
        for name, imitated in ((SUBMISSION, "submission"), (MX, mode)):
            own = folder / imitated / "tls"
            own.mkdir(parents=True)
            certificate, key = own_certificate(own, name)
            cas.append((own / "ca.pem").read_text())
            options = ["--imitate", imitated, "--cert", str(certificate), "--key", str(key)]
            running.append(Listening(folder / imitated, *options, settings=settings))
        both = folder / "authorities.pem"
        both.write_text("".join(cas))
        yield Office365(running[0], running[1], both)
    finally:
        for one in running:
            one.stop()


async def looked(asked: Asked, zone: Zone = ZONE) -> Run:
    """One run against a name server with the zone."""
    with name_server(zone) as server:
        return await run(asked, Resolver([server.address], timeout=1.0, deadline=asked.deadline * 0.8))


def verdict(found: Run, mode: str) -> bool | None:
    return next(one.works for one in found.verdicts if one.mode == mode)


# In between

ANYBODY = trusting()
Change = Callable[[bytes], bytes]


@contextlib.asynccontextmanager
async def in_between(port: int, change: Change, own_tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A proxy in front of a server: it changes each line that the server says, and with `own_tls` opens TLS, too. Gives
    its port."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, to_there))

        async def back() -> None:
            while line := await there.readline():
                writer.write(change(line))
                if line.startswith(b"220 2.0.0"):
                    if own_tls is None:  # TLS goes through untouched
                        while data := await there.read(65536):
                            writer.write(data)
                        return
                    await writer.start_tls(own_tls)
                    await to_there.start_tls(ANYBODY)
                    opened.set()

        opened = asyncio.Event()
        task = asyncio.create_task(back())
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                to_there.write(line)
                if line.upper().startswith(b"STARTTLS"):
                    if own_tls is not None:
                        await opened.wait()
                        continue
                    while data := await reader.read(65536):
                        to_there.write(data)
        task.cancel()
        for one in (writer, to_there):
            one.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def own_tls(folder: Path, name: str) -> ssl.SSLContext:
    """With a certificate of an authority of its own, `ca.pem` in the folder."""
    folder.mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own_certificate(folder, name))
    return context


# Ports


@contextlib.contextmanager
def dropping() -> Iterator[int]:
    """A port whose backlog is full: what comes more is dropped, as a firewall does."""
    with socket.socket() as listening, contextlib.ExitStack() as kept:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):
            one = kept.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listening.getsockname())
        yield listening.getsockname()[1]


@contextlib.contextmanager
def stalling() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield listening.getsockname()[1]


def refusing() -> int:
    """A port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
