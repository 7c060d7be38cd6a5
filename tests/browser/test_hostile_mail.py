"""A message that wants to do something to whoever looks at it: nothing runs, nothing is fetched, and what is saved has
a harmless name. And messages that are built to keep a parser busy: each is answered, within the limits."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from relayprobe.web.mime import DEPTH, PARTS, TooMuch, part, structure
from relayprobe.web.pages.message import LONGEST_NAME, safe_name
from tests.browser.browsing import TOKEN, Serving, chromium, signed_in
from tests.browser.test_page import Watched
from tests.conftest import need

HTML = (
    "<script>parent.document.title='ran';alert(1)</script><img src=http://127.0.0.1:ELSEWHERE/x.png onerror=alert(2)>"
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:ELSEWHERE/'><a href='javascript:alert(3)'>here</a>"
    "<form action=http://127.0.0.1:ELSEWHERE/><button>send</button></form>"
    "<link rel=stylesheet href=http://127.0.0.1:ELSEWHERE/a.css>"
    "<style>@import 'http://127.0.0.1:ELSEWHERE/b.css'; body{background:url(http://127.0.0.1:ELSEWHERE/c.png)}</style>"
    "<iframe src=http://127.0.0.1:ELSEWHERE/></iframe>"
    "<base href=http://127.0.0.1:ELSEWHERE/><svg onload=alert(4)><image href=http://127.0.0.1:ELSEWHERE/d.png /></svg>"
    "<link rel=preconnect href=http://127.0.0.1:ELSEWHERE/><LINK\trel=dns-prefetch href=//127.0.0.1:ELSEWHERE>"
    "<video poster=http://127.0.0.1:ELSEWHERE/e.png><input type=image src=http://127.0.0.1:ELSEWHERE/f.png></video>"
    "<p id=seen>to be seen</p>"
)
NAMES = (
    "../../etc/passwd", "..\\..\\windows\\x.exe", "a\r\nSet-Cookie: x=y", "nul.txt", "x" * 10_000 + ".exe",
    'q"uote";x.txt',
    "<script>alert(5)</script>.html", "\u202egnp.exe", "\x1b[31mred\x07.txt", "", "...", "CON",
    "a\x00b.txt", "caff\u00e8.pdf",
)  # fmt: skip


def hostile(elsewhere: int = 9) -> bytes:
    parts = [
        "Content-Type: text/plain\r\n\r\n\x1b]0;title\x07\x1b[2J<script>alert(6)</script>\u202eabc",
        "Content-Type: text/html\r\n\r\n" + HTML.replace("ELSEWHERE", str(elsewhere)),
    ]
    wide = b64encode(b"\xff\xfe" + HTML.replace("ELSEWHERE", str(elsewhere)).encode("utf-16-le")).decode()
    parts.append(f"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n{wide}")
    for name in NAMES:
        quoted = re.sub(r"[\r\n]", " ", name).replace('"', '\\"')
        parts.append(
            f'Content-Type: application/x-msdownload\r\nContent-Disposition: attachment; filename="{quoted}"\r\n\r\nMZ'
        )
    body = "".join(f"--b\r\n{part}\r\n" for part in parts)
    head = "Subject: <script>alert(7)</script>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return f"{head}{body}--b--\r\n".encode()


def sent(serving: Serving, raw: bytes) -> str:
    """Send a message; the id of its session."""
    before = len(serving.judged)
    with smtplib.SMTP("127.0.0.1", serving.port, timeout=30) as device:
        device.sendmail("scanner@contoso.com", ["anna@contoso.com"], raw)
    while len(serving.judged) == before:
        time.sleep(0.02)
    return serving.judged[-1].row.id


def came_to(elsewhere: socket.socket) -> list[bytes]:
    """What was said there, connection by connection."""
    heard = []
    with contextlib.suppress(BlockingIOError):
        while True:
            caller, _ = elsewhere.accept()
            with caller:
                caller.settimeout(1)
                try:
                    heard.append(caller.recv(4096))
                except TimeoutError:
                    heard.append(b"")
    return heard


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    made = Serving(tmp_path_factory.mktemp("page") / "data")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(need("chromium")) as browser:
        yield browser


def test_a_hostile_message_does_nothing(serving: Serving, browser: Browser, tmp_path: Path) -> None:
    elsewhere = socket.create_server(("127.0.0.1", 0))
    elsewhere.setblocking(False)
    id = sent(serving, hostile(elsewhere.getsockname()[1]))
    page = signed_in(browser, serving.address)
    watched = Watched(page, serving.address)
    page.goto(f"{serving.address}/sessions/{id}/messages/1", wait_until="load")
    expect(page.locator("pre").first).to_contain_text("<script>alert(6)</script>")
    shown = page.locator("main").inner_text()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    for at in range(2):  # in ASCII, and in UTF-16
        page.locator("iframe").nth(at).scroll_into_view_if_needed()
        expect(page.frame_locator("iframe").nth(at).locator("#seen")).to_be_visible()
    assert "ran" not in page.title()

    saved = tmp_path / "saved"
    saved.mkdir()
    links = page.get_by_role("link", name=re.compile("^Save (?!as)"))
    assert links.count() == len(NAMES) + 3
    for at in range(links.count()):
        with page.expect_download() as download:
            links.nth(at).click()
        name = download.value.suggested_filename
        assert name == Path(name).name
        assert len(name) <= LONGEST_NAME + 8
        assert not re.search(r'[\x00-\x1f<>:"/\\|?*\u202e]', name)
        download.value.save_as(saved / name)
        assert (saved / name).resolve().parent == saved.resolve()
    with elsewhere:
        assert came_to(elsewhere) == []  # what the browser thought of, it did not fetch
    ran = [fault for fault in watched.faults if re.fullmatch(r"\d", fault)]
    assert ran == []


def test_an_html_part_is_answered_so_that_nothing_in_it_acts(serving: Serving) -> None:
    id = sent(serving, hostile())
    given = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    at = f"{serving.address}/sessions/{id}/messages/1/parts"
    frame = httpx.get(f"{at}/2?view=html", **given)
    policy = frame.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    saved = httpx.get(f"{at}/2", **given)
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment; ")
    assert saved.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{at}/99", **given).status_code == 404
    assert httpx.get(f"{serving.address}/sessions/{id}/messages/2", **given).status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_harmless(name: str) -> None:
    safe = safe_name(name, 1)
    assert safe
    assert len(safe) <= LONGEST_NAME
    assert not re.search(r'[\x00-\x1f\x7f<>:"/\\|?*\u202a-\u202e\u2066-\u2069]', safe)
    assert not safe.startswith(".")
    assert not re.match(r"(?i)(con|nul)(\.|$)", safe)


def nested(depth: int) -> bytes:
    heads = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(depth))
    return f"{heads}\r\nx\r\n".encode()


def many(parts: int, inner: str = "\r\nx\r\n") -> bytes:
    return ("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + f"--b\r\n{inner}" * parts + "--b--\r\n").encode()


BOMBS: dict[str, Callable[[], bytes]] = {
    "deeper than is gone into": lambda: nested(101),
    "very deep": lambda: nested(5_000),
    "messages in messages": lambda: b"Content-Type: message/rfc822\r\n\r\n" * 2_000 + b"\r\nx",
    "many parts": lambda: many(1_001),
    "very many parts": lambda: many(200_000),
    "many empty parts": lambda: many(100_000, ""),
    "a header without end": lambda: b"X: " + b"a" * 5_000_000,
    "a folded header": lambda: b"X: a\r\n" + b" b\r\n" * 200_000 + b"\r\nx",
    "many fields": lambda: b"X: a\r\n" * 100_000 + b"\r\nx",
    "many parameters": lambda: b"Content-Type: text/plain" + b"; a=b" * 40_000 + b"\r\n\r\nx",
    "continued parameters": lambda: b"Content-Disposition: attachment"
    + b"".join(b"; filename*%d*=a" % n for n in range(10_000)) + b"\r\n\r\nx",
    "many quotes": lambda: b'Content-Type: text/plain; name="' + b'\\"' * 100_000 + b"\r\n\r\nx",
    "many encoded words": lambda: b'Content-Disposition: attachment; filename="'
    + b"=?u?q?a?= " * 20_000 + b'"\r\n\r\nx',
    "an encoding that is none": lambda: b"Content-Transfer-Encoding: zip\r\n\r\nx",
    "a charset that is none": lambda: b"Content-Type: text/plain; charset=\xff\x00rot13\r\n\r\nx",
    "base64 that is none": lambda: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 1_000_000,
    "uuencoding that is none": lambda: b"Content-Transfer-Encoding: uuencode\r\n\r\nbegin 644 x\r\n" + b"M" * 500_000,
    "a boundary of nothing": lambda: b'Content-Type: multipart/mixed; boundary=""\r\n\r\n' + b"--\r\n" * 200_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_within_the_limits(name: str) -> None:
    raw = BOMBS[name]()
    try:
        parts = structure(raw)["parts"]
    except TooMuch:
        return
    assert 1 <= len(parts) <= PARTS
    assert max(one["depth"] for one in parts) <= DEPTH
    assert all(len(one["name"]) <= 300 for one in parts)


def test_what_is_not_gone_into() -> None:
    for name in ("deeper than is gone into", "very deep", "many parts", "a header without end", "many fields"):
        with pytest.raises(TooMuch):
            structure(BOMBS[name]())


def test_a_bomb_is_shown_as_it_is(serving: Serving) -> None:
    id = sent(serving, nested(150))
    page = httpx.get(
        f"{serving.address}/sessions/{id}/messages/1", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
    )
    assert page.status_code == 200
    assert "shown as it is" in page.text
    assert "boundary=b149" in page.text


def test_parts_are_told_in_their_order() -> None:
    parts = structure(hostile())["parts"]
    assert [one["number"] for one in parts] == list(range(len(NAMES) + 4))
    assert [one["kind"] for one in parts[:3]] == ["multipart/mixed", "text/plain", "text/html"]
    assert part(hostile(), 2).decode().startswith("<script>")
