"""The page in a browser: mail comes in while somebody looks on, and is followed from the list to the very line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from relayprobe.store import Mail, Recipient, Row, Text
from relayprobe.store.queue import Spool
from relayprobe.wire.events import LineFacts
from tests.browser.browsing import Serving, chromium, signed_in
from tests.conftest import need, need_node_module

AXE = "axe-core"
MAIL = b"Subject: scan\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(need("chromium")) as browser:
        yield browser


@pytest.fixture(params=["", "/smtp/probe"], ids=["at-root", "sub-path"])
def serving(tmp_path: Path, request: Any) -> Iterator[Serving]:
    made = Serving(tmp_path / "data", request.param)
    yield made
    made.stop()


@pytest.fixture
def at_root(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path / "data")
    yield made
    made.stop()


class Watched:
    """What a window asks for and complains of."""

    def __init__(self, page: Page, address: str) -> None:
        self._address = address
        self.asked: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(dialog.message))

    def all_well(self) -> None:
        host = self._address.split("/")[2]
        assert self.asked
        assert [url for url in self.asked if url.split("/")[2:3] != [host] and not url.startswith("data:")] == []
        assert self.faults == []


def swaks(port: int, sender: str = "scanner@contoso.com", *more: str) -> None:
    command = [
        need("swaks"),
        "--server",
        "127.0.0.1",
        "--port",
        str(port),
        "--from",
        sender,
        "--to",
        "anna@contoso.com",
    ]
    subprocess.run([*command, "--silent", "2", *more], check=False, capture_output=True, timeout=60)


def rows(page: Page) -> Any:
    return page.locator("tr[data-row]")


def test_mail_comes_in_while_somebody_looks_on(serving: Serving, browser: Browser, tmp_path: Path) -> None:
    page = signed_in(browser, serving.address)
    watched = Watched(page, serving.address)
    expect(page.get_by_text("Nothing was captured yet")).to_be_visible()

    # swaks speaks through a pipe that holds its words back until the page was looked at
    talk = subprocess.Popen(
        [need("swaks"), "--pipe", f"{sys.executable} -u -c '{SLOW}' {serving.port} {tmp_path / 'go'}",
         "--from", "scanner@contoso.com", "--to", "anna@contoso.com"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        page.locator("tr.open th a").click()
        expect(page.locator("#lines tbody tr", has_text="EHLO")).to_be_visible()
        before = page.locator("#lines tbody tr").count()
        (tmp_path / "go").touch()
        expect(page.locator("table.dialogue tbody tr", has_text="MAIL FROM").first).to_be_visible(timeout=20_000)
        assert talk.wait(30) == 0
    finally:
        talk.kill()
        talk.communicate()
    expect(page.get_by_role("link", name="Bundle (zip)")).to_be_visible(timeout=20_000)  # it has ended, and is whole
    assert page.locator("#dialogue tbody tr").count() > before

    at = page.locator("#findings a.at").first
    line = at.get_attribute("href")
    assert line is not None
    at.click()
    expect(page.locator(line)).to_be_focused()
    expect(page.locator(line)).to_be_in_viewport()
    expect(page.locator(f"{line} .mark").first).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("link", name="Bundle (zip)").click()
    bundle = tmp_path / "bundle.zip"
    download.value.save_as(bundle)
    told = subprocess.run(
        [sys.executable, "-m", "relayprobe", "diagnose", "--json", str(bundle)], capture_output=True, check=False
    )
    assert told.returncode == 1, told.stderr  # there are errors in it
    assert "no-tls" in told.stdout.decode()
    watched.all_well()


SLOW = """
import pathlib,socket,sys,threading,time
there=socket.create_connection(("127.0.0.1",int(sys.argv[1])))
def back():
    while octets:=there.recv(4096): sys.stdout.buffer.write(octets); sys.stdout.flush()
threading.Thread(target=back,daemon=True).start()
for at,line in enumerate(sys.stdin.buffer):
    while at==1 and not pathlib.Path(sys.argv[2]).exists(): time.sleep(.02)
    there.sendall(line)
time.sleep(.3)
""".replace("'", '"')


def test_search_compare_and_keys(at_root: Serving, browser: Browser) -> None:
    swaks(at_root.port)
    swaks(at_root.port, "other@contoso.com", "--helo", "mfp_1")
    page = signed_in(browser, at_root.address, viewport={"width": 360, "height": 700}, color_scheme="dark")
    watched = Watched(page, at_root.address)
    expect(rows(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.keyboard.press("/")
    page.keyboard.type("other@")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    assert "q=other" in page.url
    page.keyboard.press("u")
    page.wait_for_load_state("load")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Session")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("u")
    page.wait_for_load_state("load")
    expect(rows(page)).to_have_count(2)
    for box in page.locator("input[name=s]").all():
        box.check()
    page.get_by_role("button", name="Compare the two that are ticked").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("From session")
    expect(page.get_by_role("cell", name="other@contoso.com").first).to_be_visible()
    watched.all_well()


def failed_mail(serving: Serving, state: Any = "failed") -> None:
    text = Text(0, len(MAIL), b"0" * 16, "crlf", LineFacts())
    to = (Recipient("anna@contoso.com"),)
    mail = Mail("5e55107-1", "5e55107", (text,), time.time(), "192.0.2.1", None, "scanner@contoso.com", to, "office",
                state=state, attempts=3)  # fmt: skip
    row = Row("5e55107", time.time(), time.time(), "192.0.2.1:5000", "127.0.0.1:25")
    serving.store.begin(row)
    serving.store.body(row.id, 0, MAIL)
    serving.store.take(mail).result(10)
    serving.store.finish(row)
    serving.store.flushed().result(10)


def test_a_mail_is_retried_and_dropped(serving: Serving, browser: Browser) -> None:
    failed_mail(serving)

    def state() -> str | None:
        spool = Spool.open(serving.folder)
        try:
            found = spool.mail("5e55107-1")
            return found.state if found else None
        finally:
            spool.close()

    page = signed_in(browser, serving.address)
    watched = Watched(page, serving.address)
    page.get_by_role("link", name="Queue").click()
    page.get_by_role("button", name="Retry mail 5e55107-1").click()
    assert state() == "waiting"
    drop = page.get_by_role("button", name="Drop mail 5e55107-1")
    expect(drop).to_be_hidden()
    page.locator("summary", has_text="Drop").click()
    drop.click()
    expect(page.get_by_role("status")).to_contain_text("dropped")
    assert state() in ("dropped", None)
    watched.all_well()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(at_root: Serving, browser: Browser, scheme: Any) -> None:
    swaks(at_root.port)
    swaks(at_root.port, "other@contoso.com")
    failed_mail(at_root)
    axe = Path(need_node_module(AXE), "axe.min.js").read_text()
    page = signed_in(browser, at_root.address, color_scheme=scheme, bypass_csp=True)
    first, second = (one.row.id for one in at_root.judged[:2])
    for path in (
        "/", f"/sessions/{first}", f"/sessions/{first}/messages/1", f"/compare?s={first}&s={second}", "/devices",
        "/devices/127.0.0.1", "/queue", "/queue/5e55107-1", "/routes", "/rules", "/rules/no-tls", "/checks",
    ):  # fmt: skip
        answer = page.goto(at_root.address + path, wait_until="load")
        assert answer is not None
        assert answer.status == 200, path
        page.evaluate(axe)
        found = page.evaluate("axe.run().then((found) => found.violations)")
        bad = [
            (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert bad == [], f"{path}: {json.dumps(bad, indent=1)}"


def test_the_list_stands_still_while_hundreds_arrive(at_root: Serving, browser: Browser) -> None:
    swaks(at_root.port)
    page = signed_in(browser, at_root.address)
    watched = Watched(page, at_root.address)
    page.keyboard.press("j")
    chosen = page.locator("tr.here a").first.get_attribute("href")
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            with socket.create_connection(("127.0.0.1", at_root.port)) as device:
                device.recv(512)
                device.sendall(b"QUIT\r\n")
                device.recv(512)

    feeders = [threading.Thread(target=feed) for _ in range(8)]
    for one in feeders:
        one.start()
    try:
        expect(page.locator("#news")).to_be_visible(timeout=30_000)
        expect(rows(page)).to_have_count(1)
        assert page.locator("tr.here a").first.get_attribute("href") == chosen
        while len(at_root.judged) < 600:
            time.sleep(0.05)
        page.locator("#news").click()
        expect(rows(page).nth(5)).to_be_visible()
        assert rows(page).count() <= 120  # a page of sessions that have ended, and some that go on
        page.get_by_role("link", name="Rules").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Rules")
    finally:
        done.set()
        for one in feeders:
            one.join(20)
    watched.all_well()


def test_the_page_speaks_italian_where_it_is_asked_to(at_root: Serving, browser: Browser) -> None:
    page = signed_in(browser, at_root.address)
    page.get_by_role("link", name="Italiano").click()
    assert page.locator("html").get_attribute("lang") == "it"
    page.goto(at_root.address)
    assert page.locator("html").get_attribute("lang") == "it"
