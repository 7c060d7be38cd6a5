"""The page as it is served, with a listener behind it and a browser before it: real sockets, a real Chromium.

`python -m tests.browser.browsing FOLDER` writes screenshots; the README has page-list.png, and page-line-dark.png as
page-session.png.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from prometheus_client import CollectorRegistry

from relayprobe.capture.listener import Judged, Listener, Port
from relayprobe.capture.tls import own_certificate, server_context
from relayprobe.cli.demo import DEVICES, SITE
from relayprobe.cli.listen import manner_of
from relayprobe.dossier.objects import row_object
from relayprobe.settings import load
from relayprobe.store import Store
from relayprobe.web.access import Access
from relayprobe.web.app import application
from relayprobe.web.house import House
from relayprobe.web.hub import Hub
from relayprobe.wire.message import trimmed

TOKEN = "token-of-a-test"
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


class Serving:
    """A listener and the page, in the loop of a thread of its own."""

    def __init__(self, folder: Path, path: str = "") -> None:
        self.folder = folder
        self.path = path
        self.judged: list[Judged] = []
        self.port = self.web = 0
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        self._ready.result(20)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.web}{self.path}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        try:
            await self._serve()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        settings = load(given={**SITE, "data": str(self.folder)})
        self.store = store = Store.open(self.folder, trim=trimmed)
        tls = server_context(*own_certificate(self.folder, "relayprobe.local"))
        self.hub = Hub()
        listener = Listener(
            [Port("127.0.0.1", 0)],
            manner_of(settings),
            tls,
            store,
            self.folder,
            onlookers=(self.hub,),
            judged=self._over,
        )
        await listener.start()
        house = House(self.folder, lambda: settings, self.hub, CollectorRegistry())
        app = application(house, Access(TOKEN, path=self.path))
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="warning", lifespan="off", ws="none"))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        self.web = server.servers[0].sockets[0].getsockname()[1]
        self.port = listener.ports[0].number
        self._ready.set_result(None)
        await self._stop.wait()
        self.hub.close()
        server.should_exit = True
        await serving
        await listener.stop()
        store.close()

    def _over(self, judged: Judged) -> None:
        self.judged.append(judged)
        self.hub.ended(row_object(judged.row))


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield browser
        browser.close()


def signed_in(browser: Browser, address: str, **how: Any) -> Page:
    """A window in which somebody has come in with the token."""
    page = browser.new_context(**how).new_page()
    page.goto(f"{address}/?token={TOKEN}", wait_until="load")
    return page


def main(program: str, docs: Path) -> None:
    """Write the screenshots: what the devices of `relayprobe demo` send."""
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(Path(folder))
        try:
            plays: list[Callable[[int], object]] = list(DEVICES.values())
            for play in plays:
                play(serving.port)
            with chromium(program) as browser:
                shots(browser, serving.address, docs)
        finally:
            serving.stop()


def shots(browser: Browser, address: str, docs: Path) -> None:
    """List and session: by day, in the dark, narrow."""
    for name, scheme, width in (("", "light", 1200), ("-dark", "dark", 1200), ("-narrow", "light", 360)):
        size = {"width": width, "height": 800}
        page = signed_in(browser, address, color_scheme=scheme, viewport=size, reduced_motion="reduce")
        page.wait_for_selector("tr[data-row]")
        page.screenshot(path=docs / f"page-list{name}.png")
        page.locator("tr[data-row]:has(.badge.error) th a").first.click()
        page.wait_for_selector("#dialogue")
        page.screenshot(path=docs / f"page-session{name}.png")
        page.locator("#findings a.at").first.click()
        page.wait_for_selector("tr:focus")
        page.screenshot(path=docs / f"page-line{name}.png")


if __name__ == "__main__":
    main("/usr/bin/chromium", Path(sys.argv[1]))
