"""The page as people run it: a real `listen` while swaks talks to it, a real `relay` with mail that waits."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import chromium
from tests.clients.listening import relayprobe, until
from tests.conftest import need
from tests.operation.working import OtherSide, Relaying
from tests.web.test_web_command import ANY, HERE, PAGED, TOKEN, address, listening


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(need("chromium")) as browser:
        yield browser


def opened(browser: Browser, at: str) -> Page:
    """A window that somebody opened with the address that was printed."""
    page = browser.new_context(accept_downloads=True).new_page()
    page.goto(f"{at}/?token={TOKEN}", wait_until="load")
    assert TOKEN not in page.url
    return page


def test_swaks_is_seen_and_handed_over(tmp_path: Path, browser: Browser) -> None:
    with listening(tmp_path) as running:
        page = opened(browser, address(running))
        expect(page.get_by_text("Nothing was captured yet")).to_be_visible()
        swaks = [need("swaks"), "--server", f"127.0.0.1:{running.port}", "--from", "scanner@contoso.com"]
        subprocess.run([*swaks, "--to", "anna@contoso.com"], check=True, capture_output=True, timeout=60)
        row = page.locator("tr[data-row]")
        expect(row).to_have_count(1, timeout=20_000)
        expect(row).to_contain_text("Mail or a login is sent without TLS", timeout=20_000)
        row.locator("th a").click()
        page.get_by_role("article").get_by_role("link", name="line").first.click()
        expect(page.locator("tr:target")).to_contain_text("MAIL FROM:<scanner@contoso.com>")
        with page.expect_download() as saved:
            page.get_by_role("link", name="Bundle (zip)").click()
        bundle = tmp_path / saved.value.suggested_filename
        saved.value.save_as(bundle)
        assert "report.html" in zipfile.ZipFile(bundle).namelist()
        again = relayprobe("diagnose", bundle)
        assert again.returncode == 1
        assert b"no-tls" in again.stdout


def test_mail_that_waits_is_retried(tmp_path: Path, browser: Browser) -> None:
    with OtherSide(RCPT="450 4.2.1 not now") as other:
        settings = HERE + other.route()
        with Relaying(tmp_path, settings, *ANY, **PAGED) as running:
            assert running.send()[0] == 250
            waiting = running.until_mail("waiting")
            until(lambda: running.mail()["attempts"] == 1)
            page = opened(browser, address(running))
            page.get_by_role("link", name="Queue").click()
            expect(page.locator("tr[data-row]")).to_contain_text("450 4.2.1 not now")
            page.get_by_role("link", name="Routes").click()
            expect(page.locator("tr[data-row]")).to_contain_text("smart-host")
            other.answers.clear()
            page.get_by_role("link", name="Queue").click()
            page.get_by_role("button", name=f"Retry mail {waiting['id']}").click()
            expect(page.get_by_role("status")).to_contain_text("is tried now")
            other.arrived()
            running.until_mail("delivered")
            page.goto(f"{address(running)}/sessions/{waiting['session']}", wait_until="load")
            section = page.locator("#relay")
            expect(section).to_contain_text("450 4.2.1 not now")
            expect(section).to_contain_text("250 2.0.0 kept as 4711")
            beside = page.locator(".beside")
            expect(beside.locator("#dialogue")).to_be_visible()
            expect(beside.locator("#relay")).to_be_visible()


def test_a_damaged_database_is_not_taken_for_an_empty_one(tmp_path: Path, browser: Browser) -> None:
    with listening(tmp_path) as running:
        swaks = [need("swaks"), "--server", f"127.0.0.1:{running.port}", "--from", "scanner@contoso.com"]
        subprocess.run([*swaks, "--to", "anna@contoso.com"], check=True, capture_output=True, timeout=60)
        running.ended()
        page = opened(browser, address(running))
        for path in running.data.glob("relayprobe.db*"):
            path.write_bytes(b"\xa5" * 20_000)
        for path, status in (("/", 400), ("/devices", 503), ("/queue", 503), ("/checks", 503)):
            answer = page.goto(f"{address(running)}{path}")
            assert answer is not None
            assert answer.status == status, path
            expect(page.locator("main")).to_contain_text("damaged")
            assert "yet" not in page.locator("main").inner_text().replace("not yet", "")


def test_nine_windows_of_one_browser(tmp_path: Path, browser: Browser) -> None:
    """A browser has six connections for one server, and each window that somebody looks at keeps one."""
    with listening(tmp_path) as running:
        first = opened(browser, address(running))
        for _ in range(8):
            other = first.context.new_page()
            other.goto(f"{address(running)}/", wait_until="load", timeout=15_000)
            other.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
            other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
