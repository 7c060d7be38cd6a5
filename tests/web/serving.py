"""The page and the API on a port of their own, over a data folder; asked over real connections."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from relayprobe.settings import Settings
from relayprobe.web.figures import figures_of
from relayprobe.web.house import House
from relayprobe.web.hub import Hub
from relayprobe.web.serve import Web, start

PATIENCE = 20.0
TOKEN = "the-token-of-this-test-0123456789"

T = TypeVar("T")


class Serving:
    """A server in a loop of its own. `web`: as [web] has it; `token`: none where it is to be made."""

    def __init__(self, folder: Path, *, token: str | None = TOKEN, settings: dict[str, Any] | None = None, **web: Any):
        self.folder = folder
        given = dict(settings or {})
        if token is not None:
            file = folder.parent / "token"
            file.touch(0o600)
            file.write_text(token)
            web["token_file"] = file
        host = str(web.pop("on", "127.0.0.1:8025")).rpartition(":")[0]
        self.settings = Settings(data=folder, web=web | {"on": f"{host}:0"}, **given)  # any port that is free
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.hub = self.do(Hub)
        self.house = House(self.folder, lambda: self.settings, self.hub, figures_of(self.hub))
        try:
            self.web: Web = self.wait(start(self.house, self.settings))
        except BaseException:
            self._end()
            raise
        self.port = httpx.URL(self.web.address).port or 0
        self.host = f"127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.wait(self.web.stop())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def wait(self, awaited: Any) -> Any:
        """What comes of it in the server's loop."""
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(PATIENCE)

    def do(self, call: Callable[[], T]) -> T:
        """Call something in the server's loop."""

        async def called() -> T:
            return call()

        found: T = self.wait(called())
        return found

    def ask(self, path: str, method: str = "GET", *, token: str | None = TOKEN, **more: Any) -> httpx.Response:
        """Ask as a program does, with the token."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= more.pop("headers", {})
        return httpx.request(
            method, f"{self.web.address.rstrip('/')}{path}", headers=headers, timeout=PATIENCE, verify=False, **more
        )

    @contextmanager
    def browser(self, token: str | None = TOKEN) -> Iterator[httpx.Client]:
        """A browser that has opened the address with the token."""
        base = self.web.address.rstrip("/")
        with httpx.Client(base_url=base, timeout=PATIENCE, headers={"Accept": "text/html"}, verify=False) as browser:
            if token is not None:
                assert browser.get("/", params={"token": token}).status_code == 303
            yield browser

    def raw(self, text: bytes) -> bytes:
        """What is answered to octets that no client would send."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as there:
            answer = b""
            with suppress(OSError):  # it has heard enough
                there.sendall(text)
                there.shutdown(socket.SHUT_WR)
                while piece := there.recv(65536):
                    answer += piece
            return answer
