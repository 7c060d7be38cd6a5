"""The ways by which a notice reaches an administrator: a command, a webhook, mail.

Each says in words why it could not; none raises. None can be held up, or filled up, by what it calls: there is a
deadline, and an end to what is read. What is said of a failure never holds the address of a webhook, for in many it is
the secret, nor anything that a server or a command may have echoed of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import requests

from relayprobe.relay.occasions import Notice
from relayprobe.report.visible import visible

COMMAND_TIME = 30.0
WEBHOOK_TIME = 10.0
MAIL_TIME = 120.0
OUTPUT = 4096
"""Octets of a command's output that are kept, to say why it failed."""

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""The environment that a command gets. Not all of ours: passwords may stand in it."""


class Channel(Protocol):
    """One way. `name` is for the log."""

    @property
    def name(self) -> str: ...

    async def send(self, notice: Notice) -> str | None:
        """Why it could not be sent; None where it was."""


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a program, without a shell: the notice is JSON on its input, and stands in RELAYPROBE_NOTICE_... ."""

    argv: Sequence[str]
    timeout: float = COMMAND_TIME
    name: str = "command"

    def __post_init__(self) -> None:
        """Raises ValueError where there is no program."""
        if not self.argv or not self.argv[0]:
            raise ValueError("the command for notices names no program")

    async def send(self, notice: Notice) -> str | None:
        """Run it, and wait for its end. One that takes too long is killed, with all that it started."""
        read, write = os.pipe()
        try:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=write,
                    stderr=write,
                    env=_environment(notice),
                    start_new_session=True,  # a group of its own, to be killed as one
                )
            except (OSError, ValueError) as error:
                return f"{visible(self.argv[0])} cannot be run: {getattr(error, 'strerror', None) or 'no command'}"
            finally:
                os.close(write)
            # Not a pipe of asyncio's: a program that it left running may hold it open for ever.
            output = _Output(read)
            try:
                async with asyncio.timeout(self.timeout):
                    await _feed(process, json.dumps(notice.record()).encode())
                    status = await process.wait()
            except TimeoutError:
                return f"{visible(self.argv[0])} did not end within {self.timeout:g} seconds, and was killed"
            finally:
                output.close()
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
        finally:
            os.close(read)
        if status == 0:
            return None
        how = f"ended with {status}" if status > 0 else f"was ended by signal {-status}"
        said = " ".join(visible(bytes(output.kept).strip()[-300:]).split())
        return f"{visible(self.argv[0])} {how}" + (f": {said}" if said else "")


class _Output:
    """Reads what comes, so that nobody waits for a reader, and keeps the first of it."""

    def __init__(self, pipe: int) -> None:
        self.kept = bytearray()
        self._pipe = pipe
        os.set_blocking(pipe, False)
        asyncio.get_running_loop().add_reader(pipe, self._read)

    def close(self) -> None:
        self._read()
        asyncio.get_running_loop().remove_reader(self._pipe)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        self.kept += data[: OUTPUT - len(self.kept)]
        if not data:
            asyncio.get_running_loop().remove_reader(self._pipe)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # a program need not read it
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


def _environment(notice: Notice) -> dict[str, str]:
    own = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    told = {f"RELAYPROBE_NOTICE_{key.upper()}": str(value) for key, value in notice.record().items()}
    return own | told


@dataclass(slots=True)
class Webhook:
    """Posts the notice as JSON. `chat`: `text` holds all of it, as chat programs want. `header`: name and, asked for
    at each notice, the secret."""

    url: str = field(repr=False)
    form: Literal["plain", "chat"] = "plain"
    header: tuple[str, Callable[[], str]] | None = field(default=None, repr=False)
    verify: bool | str = True
    timeout: float = WEBHOOK_TIME
    name: str = "webhook"
    _busy: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError for what is no address of a webhook."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a webhook begins with https:// or http:// and names a host")

    async def send(self, notice: Notice) -> str | None:
        """Post it, in a thread that does not keep the process from ending, and that is waited for so long."""
        where = visible(urlsplit(self.url).hostname or "")
        if self._busy:
            return f"{where} still has not answered the notice before"
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str | None] = loop.create_future()

        def answer(outcome: str | None) -> None:
            if not done.done():
                done.set_result(outcome)

        def post() -> None:
            outcome = self._post(notice)
            self._busy = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(answer, outcome)

        self._busy = True
        Thread(target=post, name="relayprobe-webhook", daemon=True).start()
        try:
            why = await asyncio.wait_for(done, 2 * self.timeout)
        except TimeoutError:
            why = "no answer"
        return None if why is None else f"{where}: {why}"

    def _post(self, notice: Notice) -> str | None:
        record = notice.record()
        if self.form == "chat":
            record["text"] = f"{notice.subject}\n\n{notice.text}"
        try:
            headers = {self.header[0]: self.header[1]()} if self.header else {}
        except Exception as error:  # whatever keeps secrets may fail in its own way, and say too much
            return f"the secret for it cannot be had ({type(error).__name__})"
        try:
            with requests.post(
                self.url,
                json=record,
                headers=headers,
                auth=_as_it_is,
                timeout=self.timeout,
                verify=self.verify,
                allow_redirects=False,
                stream=True,
            ) as answer:
                return _refused(answer.status_code)  # its text says nothing that is needed, and is not read
        except Exception as error:  # requests' texts hold the address, and others than its own come through
            return next((says for kind, says in _FAILURES if isinstance(error, kind)), type(error).__name__)


_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.SSLError, "TLS failed; is its certificate one that this machine trusts?"),
    (requests.exceptions.ProxyError, "the proxy does not let it through"),
    (requests.exceptions.Timeout, "no answer"),
    (requests.exceptions.ConnectionError, "it cannot be reached"),
    (requests.exceptions.InvalidHeader, "the secret cannot stand in a header"),
)


def _refused(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    return f"it answered {status}" + (", and another address is not followed" if 300 <= status < 400 else "")


def _as_it_is(request: Any) -> Any:
    """Without it, requests takes a login from ~/.netrc."""
    return request


@dataclass(frozen=True, slots=True)
class Mail:
    """Hands the notice to whatever posts mail: `post(to, subject, text)`."""

    post: Callable[[str, str, str], Awaitable[object]] = field(repr=False)
    to: str
    timeout: float = MAIL_TIME
    name: str = "mail"

    async def send(self, notice: Notice) -> str | None:
        """Post it."""
        try:
            async with asyncio.timeout(self.timeout):
                await self.post(self.to, f"relayprobe: {notice.subject}", notice.text + "\n")
        except TimeoutError:
            return f"it could not be posted within {self.timeout:g} seconds"
        except Exception as error:
            return f"it could not be posted ({type(error).__name__})"
        return None
