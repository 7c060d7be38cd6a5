"""The page at its place: checked, started in the loop of the listener, and stopped with it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import structlog
import uvicorn

from relayprobe.capture.tls import CertificateError, own_certificate
from relayprobe.relay.logins import LoginError
from relayprobe.web.access import Access
from relayprobe.web.app import application
from relayprobe.web.patient import PatientProtocol

if TYPE_CHECKING:
    from relayprobe.settings import Settings
    from relayprobe.web.house import House

log = structlog.get_logger(__name__)

TOKEN = "RELAYPROBE_WEB_TOKEN"
SHORTEST = 16
"""Characters of a token that somebody chose."""

AT_ONCE = 4
"""Pages that are made beside the loop at once: more would only keep it from the devices."""

IDLE = 15
"""Seconds that a connection without a request is kept."""

STOPPING = 2
"""Seconds that downloads under way have to end."""


class WebError(Exception):
    """The page cannot be served; the text says why and names the way out."""


class PlaceTaken(WebError):
    """Somebody else is at that place, another relayprobe for one."""


class Web:
    """The page, while it is served."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None], house: House, address: str, word: str) -> None:
        self._server = server
        self._task = task
        self._house = house
        self.address = address
        self.word = word

    @property
    def link(self) -> str:
        """The address to open, with the token in it where it is new at each start. Not for a log."""
        return f"{self.address}?token={self.word}" if self.word else self.address

    async def stop(self) -> None:
        """End it: streams at once, downloads soon."""
        self._house.hub.close()
        self._server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(self._task, STOPPING + 2)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the listener's matter."""
        yield


async def start(house: House, chosen: Settings) -> Web:
    """Serve the page as the settings say. Raises WebError."""
    host, _, number = chosen.web.on.rpartition(":")
    host = host.strip("[]")
    certificate, key = _certificate(chosen, host)
    tls = _tls(certificate, key) if certificate is not None and key is not None else None
    token, fresh = _token(chosen)
    try:
        access = Access(
            token,
            chosen.web.password.get_secret_value() if chosen.web.password else None,
            hosts=chosen.web.hosts,
            port=int(number),
            tls=tls is not None,
            path=chosen.web.path,
        )
    except LoginError:
        raise WebError("web.password is no argon2 hash: make one with `relayprobe password`") from None
    taken = _bound(host, int(number))
    port = taken.getsockname()[1]
    access.port = port
    config = uvicorn.Config(
        application(house, access),
        log_config=None,
        log_level="critical",  # what fails in a page is in our own log, and noise from outside in none
        access_log=False,
        lifespan="off",
        http=PatientProtocol,
        ws="none",
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=32 * 1024,
        backlog=64,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=STOPPING,
        ssl_context_factory=(lambda config, default: tls) if tls is not None else None,
    )
    anyio.to_thread.current_default_thread_limiter().total_tokens = AT_ONCE
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve([taken]))
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    address = f"{'https' if tls else 'http'}://{shown}:{port}{chosen.web.path}/"
    return Web(server, task, house, address, token if fresh and token is not None else "")


def is_loopback(host: str) -> bool:
    """Whether a place is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _certificate(chosen: Settings, host: str) -> tuple[Path | None, Path | None]:
    """The certificate and its key, where the page is served with TLS; beyond this machine it always is."""
    web = chosen.web
    if not is_loopback(host) and web.password is None:
        raise WebError(
            f"the page at {web.on} would be reached from other machines, and asks for a password then: put the hash "
            "that `relayprobe password` prints into `password` in [web], or serve it at 127.0.0.1"
        )
    if web.cert is not None:
        return web.cert, web.key
    if is_loopback(host):
        return None, None
    try:
        return own_certificate(chosen.data, chosen.listen.name)
    except CertificateError as error:
        raise WebError(str(error)) from error


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """For browsers, which are newer than devices. Raises WebError."""
    try:
        if key.stat().st_mode & 0o007:
            raise WebError(f"the key {key} can be read by others: run `chmod 600 {key}`")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=lambda: "")  # nobody is there to type one
    except OSError as error:  # an SSLError, too
        raise WebError(
            f"the certificate {certificate} and the key {key} cannot be used ({error}): both must be PEM, and belong "
            "together"
        ) from None
    return context


def _token(chosen: Settings) -> tuple[str | None, bool]:
    """The token, and whether it is new; None where there is a password instead."""
    if given := os.environ.get(TOKEN):
        return _long_enough(given, TOKEN), False
    if (path := chosen.web.token_file) is not None:
        try:
            if path.stat().st_mode & 0o007:
                raise WebError(f"others on this machine can read the token in {path}: run `chmod 600 {path}`")
            return _long_enough(path.read_text().strip(), str(path)), False
        except (OSError, UnicodeDecodeError) as error:
            raise WebError(f"web.token_file {path} cannot be read ({error}): name another") from None
    if chosen.web.password is not None:
        return None, False
    return secrets.token_urlsafe(24), True


def _long_enough(token: str, where: str) -> str:
    if len(token) < SHORTEST:
        raise WebError(
            f"the token in {where} is too short: take {SHORTEST} characters at least, from `openssl rand -hex 24`"
        )
    return token


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        kind = PlaceTaken if error.errno == errno.EADDRINUSE else WebError
        raise kind(
            f"the page cannot be served at {host}:{port} ({error.strerror}): choose another place with --web "
            "HOST:PORT, or leave it out with --no-web"
        ) from None
    taken.setblocking(False)
    return taken
