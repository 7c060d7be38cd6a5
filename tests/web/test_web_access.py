"""Who may see the page: a web site that is open in the same browser, a name that leads here, a neighbour on the
network, somebody who guesses; and what a browser is told to allow."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from relayprobe.capture.tls import own_certificate
from relayprobe.relay.logins import FAILURES, hashed
from relayprobe.web.access import BODY, LASTING, SESSIONS, Access
from relayprobe.web.api import OPERATIONS
from relayprobe.web.serve import WebError
from tests.web.serving import PATIENCE, TOKEN, Serving

PASSWORD = "Marker-Of-The-Page-7"
ELSEWHERE = {"Origin": "https://evil.example"}
CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
CLICKED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FRAMED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
ONE = "/api/v1/sessions/aa00000001"


@dataclass(frozen=True)
class Case:
    """A request with the right token, and what it is answered."""

    name: str
    status: int
    path: str = "/api/v1/sessions"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


CASES = [
    # Names that lead here
    Case("a foreign name", 421, headers={"Host": "evil.example"}),
    Case("a foreign name with our port", 421, headers={"Host": "evil.example:8025"}),
    Case("a name that ends like ours", 421, headers={"Host": "localhost.evil.example"}),
    Case("a name that begins like an address", 421, headers={"Host": "127.0.0.1.nip.example"}),
    Case("a name behind a user", 421, headers={"Host": "127.0.0.1@evil.example"}),
    Case("an address in another base", 421, headers={"Host": "0x7f000001"}),
    Case("no name", 421, headers={"Host": ""}),
    Case("a bracket left open", 421, headers={"Host": "[::1"}),
    Case("a name on the page itself", 421, "/", headers={"Host": "evil.example", "Accept": "text/html"}),
    Case("a name where no token is asked for", 421, "/livez", headers={"Host": "evil.example"}),
    Case("a name for the style", 421, "/static/page.css", headers={"Host": "evil.example"}),
    Case("localhost", 200, headers={"Host": "localhost:8025"}),
    Case("localhost with a dot", 200, headers={"Host": "LOCALHOST.:8025"}),
    Case("the address of IPv6", 200, headers={"Host": "[::1]:8025"}),
    # Other web sites
    Case("another site reads", 403, headers=ELSEWHERE),
    Case("another site reads a page", 403, "/", headers=ELSEWHERE),
    Case("another site listens to the news", 403, "/api/v1/events", headers=ELSEWHERE),
    Case("another site writes", 403, "/api/v1/queue/x/drop", "POST", ELSEWHERE),
    Case("another site asks for figures", 403, "/metrics", headers=ELSEWHERE),
    Case("a site without a name", 403, headers={"Origin": "null"}),
    Case("another port of this machine", 403, headers={"Origin": "http://127.0.0.1:1"}),
    Case("our name in another's path", 403, headers={"Origin": "https://evil.example/127.0.0.1"}),
    Case("fetched across sites", 403, headers=CROSS),
    Case("the news across sites", 403, "/api/v1/events", headers=CROSS | {"Sec-Fetch-Mode": "no-cors"}),
    Case("fetched from another port", 403, headers=CROSS | {"Sec-Fetch-Site": "same-site"}),
    Case("a picture in another site", 403, "/", headers=CROSS | {"Sec-Fetch-Dest": "image"}),
    Case("a script in another site", 403, "/static/page.css", headers=CROSS | {"Sec-Fetch-Dest": "script"}),
    Case("a frame in another site", 403, "/", headers=FRAMED),
    Case("a form in another site", 403, "/queue/x/drop", "POST", CLICKED),
    Case("a link in another site to the API", 403, ONE, headers=CLICKED),
    Case("a link in another site to the page", 200, "/", headers=CLICKED),
    Case("our own page asks", 200, headers={"Sec-Fetch-Site": "same-origin"}),
    Case("typed by hand", 200, headers=CLICKED | {"Sec-Fetch-Site": "none"}),
    # Methods, paths and sizes
    Case("TRACE", 405, method="TRACE"),
    Case("OPTIONS", 405, method="OPTIONS"),
    Case("PUT", 405, ONE, "PUT"),
    Case("DELETE", 405, ONE, "DELETE"),
    Case("PROPFIND", 405, "/", "PROPFIND"),
    Case("HEAD", 200, method="HEAD"),
    Case("POST where nothing is changed", 405, method="POST"),
    Case("GET where something is changed", 405, "/api/v1/queue/x/drop"),
    Case("out of the folder", 404, "/static/..%2f..%2fapp.py"),
    Case("out of the folder with dots", 404, "/static/%2e%2e/app.py"),
    Case("out of the folder with backslashes", 404, "/static/..%5c..%5capp.py"),
    Case("an id that is a path", 404, "/api/v1/sessions/..%2f..%2fetc%2fpasswd"),
    Case("an id with NUL", 404, "/api/v1/sessions/aa%00"),
    Case("an id of lines", 404, "/api/v1/sessions/aa%0d%0aSet-Cookie:%20a=b"),
    Case("an id as long as a book", 404, "/api/v1/sessions/" + "a" * 5000),
    Case("a mail that is a path", 404, "/api/v1/queue/..%2f..%2fx/drop", "POST"),
    Case("a query as long as a book", 414, "/api/v1/sessions?q=" + "a" * 5000),
    Case("a parameter nobody knows", 400, "/api/v1/sessions?sql=1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_answered_as_it_should_be(server: Serving, case: Case) -> None:
    answer = server.ask(case.path, case.method, headers=case.headers)
    assert answer.status_code == case.status, answer.text
    told = answer.headers
    assert not [name for name in told if name.startswith("access-control-")]
    assert "set-cookie" not in told
    assert "default-src 'none'" in told["content-security-policy"]
    if case.status >= 400 and case.method != "HEAD" and "text/html" not in case.headers.get("Accept", ""):
        assert told["content-type"] == "application/problem+json"
        assert answer.json()["status"] == case.status
        assert answer.json()["detail"]


LISTED = sorted({re.sub(r"\{\w+\}", "aa00000001", one.path) for one, _ in OPERATIONS} | {"/", "/nowhere", "/sign-out"})


@pytest.mark.parametrize("path", LISTED)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "té"])
def test_nothing_is_told_without_the_token(server: Serving, path: str, token: str | None) -> None:
    for given in (
        {"headers": {"Authorization": f"Bearer {token}".strip().encode()}} if token is not None else {},
        {"params": {"token": token or ""}},
        {"headers": {"Cookie": f"relayprobe-{server.port}={token or 'x'}".encode()}},
        {"headers": {"Authorization": "Basic " + "QQ=="}},
    ):
        answer = server.ask(path, token=None, **given)
        assert answer.status_code == (200 if path in ("/livez", "/readyz") else 401), answer.text
        assert "aa00000001" not in answer.text
        assert "set-cookie" not in answer.headers
        assert TOKEN not in answer.text


def test_what_is_free_tells_nothing_of_anybody(server: Serving) -> None:
    assert server.ask("/livez", token=None).json() == {"ok": True}
    assert server.ask("/readyz", token=None).json() == {"ok": True, "why": []}


def test_a_browser_changes_the_token_for_a_cookie(server: Serving) -> None:
    with server.browser(None) as browser:
        answer = browser.get("/", params={"token": TOKEN, "q": "a b", "lang": "it"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?q=a+b&lang=it"
        kept = answer.headers["set-cookie"]
        assert TOKEN not in kept
        name, *flags = re.split("; ", kept)
        assert name.startswith(f"relayprobe-{server.port}=")
        assert {flag.lower() for flag in flags} == {"httponly", "path=/", "samesite=strict"}
        assert browser.get("/").status_code == 200
        assert browser.get(ONE).status_code == 200
    with server.browser() as one, server.browser() as two:
        assert list(one.cookies.values()) != list(two.cookies.values())


def test_the_way_back_leads_nowhere_else(server: Serving) -> None:
    for path in ("//evil.example/", "/\\evil.example/", "/%5Cevil.example", "/%2Fevil.example/"):
        answer = server.raw(
            f"GET {path}?token={TOKEN} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
        )
        status, location = answer[:12], re.search(rb"(?im)^location: *(.*?)\r$", answer)
        if status == b"HTTP/1.1 303":
            assert location is not None
            assert re.match(rb"/(?![/\\])", location[1]), location[1]


def test_a_browser_changes_nothing_without_the_second_secret(server: Serving) -> None:
    with server.browser() as browser, server.browser() as other:
        csrf = _csrf(browser)
        act = "/api/v1/queue/nothing/drop"
        assert browser.post(act).status_code == 403
        assert browser.post(act, headers={"X-CSRF": _csrf(other)}).status_code == 403
        assert browser.post(act, data={"csrf": "x"}).status_code == 403
        assert browser.post(act, content=f"csrf={csrf}", headers={"Content-Type": "text/plain"}).status_code == 403
        assert browser.post(f"{act}?csrf={csrf}").status_code in (400, 403)
        for right in (browser.post(act, headers={"X-CSRF": csrf}), browser.post(act, data={"csrf": csrf})):
            assert right.status_code in (404, 503)  # it came through, and there is no such mail
    assert server.ask(act, "POST").status_code in (404, 503)  # a program, with the token, needs none


def _csrf(browser: httpx.Client) -> str:
    """What the forms of its pages carry."""
    [found] = set(re.findall(r"[0-9a-f]{64}", browser.get("/").text))
    return found


def test_signing_out_ends_it(server: Serving) -> None:
    with server.browser() as browser:
        assert browser.post("/sign-out").status_code == 403
        assert browser.get("/").status_code == 200
        assert "You are signed out." in browser.post("/sign-out", data={"csrf": _csrf(browser)}).text
        assert browser.get("/").status_code == 401


@pytest.mark.parametrize("path", ["/", ONE, f"{ONE}/report.html", "/livez", "/nowhere", "/static/page.css"])
def test_what_a_browser_is_told_to_allow(server: Serving, path: str) -> None:
    told = server.ask(path, headers={"Accept": "text/html"}).headers
    policy = {
        name: values
        for name, _, values in (part.strip().partition(" ") for part in told["content-security-policy"].split(";"))
    }
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in told["content-security-policy"]
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "DENY"
    assert told["referrer-policy"] == "same-origin"  # `no-referrer` would make the Origin of our own forms `null`
    assert told["cross-origin-opener-policy"] == told["cross-origin-resource-policy"] == "same-origin"
    assert told["cache-control"] == "no-store"
    assert "server" not in told
    assert "strict-transport-security" not in told


def test_files_are_saved_and_not_shown(server: Serving) -> None:
    """A report opened in place would be of our own origin, and it holds what strangers wrote."""
    for form, ending in (("report.html", ".html"), ("message.eml", ".eml"), ("packets.pcapng", ".pcapng")):
        told = server.ask(f"{ONE}/{form}").headers
        assert told["content-disposition"] == f'attachment; filename="relayprobe-aa00000001{ending}"'
        assert told["content-type"] in ("application/octet-stream", "message/rfc822")


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("two names", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n"),
        ("no name", b"GET /livez HTTP/1.1\r\n\r\n"),
        ("no name, as before", b"GET /livez HTTP/1.0\r\n\r\n"),
        (
            "two lengths",
            b"POST /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        ),
        ("a space before the colon", b"GET /livez HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n"),
        ("a folded line", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n evil\r\n\r\n"),
        ("NUL in a line", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n"),
        ("SMTP", b"EHLO scanner\r\nMAIL FROM:<a@b>\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n"),
        ("a line without end", b"GET /" + b"a" * 100_000),
        ("names without end", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"),
        ("a proxy's request", b"CONNECT evil.example:25 HTTP/1.1\r\nHost: evil.example:25\r\n\r\n"),
    ],
)
def test_what_is_no_request_is_refused(server: Serving, name: str, request_: bytes) -> None:
    answer = server.raw(request_)
    assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer), name
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert server.ask("/livez").status_code == 200


def test_one_request_is_not_taken_for_two(server: Serving) -> None:
    """A body that looks like a request stays a body, however its length is told."""
    inner = b"GET /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    head = f"POST /api/v1/sessions HTTP/1.1\r\nHost: {server.host}\r\n".encode()
    twice = head + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + inner
    whole = head + f"Content-Length: {len(inner)}\r\nConnection: close\r\n\r\n".encode() + inner
    for asked, status in ((twice, b"400"), (whole, b"401")):
        answer = server.raw(asked)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"aa00000001" not in answer


def test_a_large_body_is_refused(server: Serving) -> None:
    for path in ("/api/v1/queue/x/drop", "/sign-in", "/"):
        assert server.ask(path, "POST", content=b"a" * (BODY + 1)).status_code == 413

        def pieces() -> Any:
            for _ in range(100):
                yield b"a" * 8192

        with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):  # it need not listen to the end
            assert server.ask(path, "POST", content=pieces()).status_code == 413
    assert server.ask("/api/v1/queue/x/drop", "POST", content=b"a" * BODY).status_code in (404, 503)


def test_a_large_body_without_the_token_is_refused_too(server: Serving) -> None:
    assert server.ask("/sign-in", "POST", token=None, content=b"a" * (BODY + 1)).status_code == 413


def test_connections_that_say_nothing_are_ended(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.web.patient.HEAD_PATIENCE", 0.3)
    head = f"GET /livez HTTP/1.1\r\nHost: {server.host}\r\n".encode()
    post = f"POST /sign-in HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: 10\r\n\r\n".encode()
    monkeypatch.setattr("relayprobe.web.access.BODY_PATIENCE", 0.3)
    for begun in (b"", b"G", head, post, post + b"a"):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as there:
            there.sendall(begun)
            while there.recv(4096):
                pass  # what it says on the way; in the end it hangs up


def test_connections_are_bounded(server: Serving) -> None:
    with contextlib.ExitStack() as held:
        many = [held.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) for _ in range(300)]
        ended = 0
        deadline = time.monotonic() + PATIENCE
        while ended < 100 and time.monotonic() < deadline:
            ended = 0
            for one in many:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    ended += one.recv(1) == b""
        assert 100 <= ended <= 110  # what the tests before have left open counts too
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if server.ask("/livez").status_code == 200:
                return
        assert time.monotonic() < deadline


# With a password


def test_a_password_lets_in_and_guesses_do_not(tmp_path: Path) -> None:
    with Serving(tmp_path / "data", token=None, password=hashed(PASSWORD)) as server:
        assert "token=" not in server.web.link
        with server.browser(None) as browser:
            asked = browser.get("/")
            assert asked.status_code == 401
            assert 'type="password"' in asked.text
            wrong = browser.post("/sign-in", data={"password": "guess"})
            assert wrong.status_code == 401
            assert "That was not right." in wrong.text
            assert "guess" not in wrong.text
            assert not browser.cookies
            assert browser.post("/sign-in", data={"password": PASSWORD}, headers=ELSEWHERE).status_code == 403
            inside = browser.post("/sign-in", data={"password": PASSWORD})
            assert (inside.status_code, inside.headers["location"]) == (303, "/")
            assert browser.get("/").status_code == 200
        assert server.ask("/api/v1/sessions", token=PASSWORD).status_code == 401
        with server.browser(None) as guesser:
            answers = [guesser.post("/sign-in", data={"password": str(n)}).status_code for n in range(FAILURES + 2)]
            assert answers == [401] * (FAILURES - 1) + [429] * 3
            later = guesser.post("/sign-in", data={"password": PASSWORD})
            assert later.status_code == 429
            assert "try again" in later.text
            assert not guesser.cookies


def test_the_page_is_asked_for_in_the_readers_language(server: Serving) -> None:
    answer = server.ask("/", token=None, headers={"Accept": "text/html", "Accept-Language": "it-IT,it;q=0.9,en;q=0.5"})
    assert 'lang="it"' in answer.text
    answer = server.ask("/?lang=en", token=None, headers={"Accept": "text/html", "Accept-Language": "it"})
    assert 'lang="en"' in answer.text


def test_a_password_that_is_no_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WebError, match="relayprobe password") as refused, Serving(tmp_path / "data", password=PASSWORD):
        pass
    assert PASSWORD not in str(refused.value)


def test_beyond_this_machine_a_password_is_demanded_and_tls_is_given(tmp_path: Path) -> None:
    for place in ("0.0.0.0:8025", "[::]:8025", "192.0.2.7:8025", "example:8025"):
        with (
            pytest.raises(WebError, match=r"`relayprobe password`.*127\.0\.0\.1"),
            Serving(tmp_path / "data", on=place),
        ):
            pass
    (tmp_path / "data").mkdir()
    with Serving(tmp_path / "data", token=None, on="0.0.0.0:8025", password=hashed(PASSWORD)) as server:
        assert server.web.address.startswith("https://127.0.0.1:")
        with server.browser(None) as browser:
            told = browser.post("/sign-in", data={"password": PASSWORD}).headers["set-cookie"]
            assert "; secure" in told.lower()
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{server.host}/livez")
        oldest = _tls_refused(server.port)
        assert oldest


def test_a_certificate_alone_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    certificate, key = own_certificate(tmp_path / "data", "probe.contoso.com")
    pair = {"cert": certificate, "key": key}
    with (
        pytest.raises(WebError, match="relayprobe password"),
        Serving(tmp_path / "data", on="0.0.0.0:8025", **pair),
    ):
        pass
    with Serving(tmp_path / "data", **pair) as server:
        assert server.web.address.startswith("https://127.0.0.1:")
        assert server.ask("/api/v1/rules").status_code == 200
    key.chmod(0o644)
    with pytest.raises(WebError, match="chmod 600"), Serving(tmp_path / "data", **pair):
        pass
    key.chmod(0o600)
    key.write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(WebError, match="must be PEM"), Serving(tmp_path / "data", **pair):
        pass


def _tls_refused(port: int) -> bool:
    """Whether TLS 1.1 is refused."""
    import ssl
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as there:
        try:
            with context.wrap_socket(there):
                return False
        except (ssl.SSLError, ConnectionError):
            return True


def test_a_name_that_was_named_is_known(tmp_path: Path) -> None:
    with Serving(tmp_path / "data", hosts=["Probe.contoso.com"]) as server:
        for host, status in (("probe.contoso.com", 200), ("PROBE.CONTOSO.COM.:8025", 200), ("x.contoso.com", 421)):
            assert server.ask("/livez", headers={"Host": host}).status_code == status


# A token of one's own


def test_a_token_is_made_anew_at_each_start(tmp_path: Path) -> None:
    links = []
    for _ in range(2):
        with Serving(tmp_path / "data", token=None) as server:
            links.append(server.web.link)
            word = server.web.link.partition("?token=")[2]
            assert len(word) >= 32
            assert server.ask("/api/v1/rules", token=word).status_code == 200
            assert word not in server.web.address
    assert links[0].partition("=")[2] != links[1].partition("=")[2]


def test_a_token_that_was_given_is_not_shown(server: Serving) -> None:
    assert TOKEN not in server.web.link


def test_a_token_from_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAYPROBE_WEB_TOKEN", "from-the-environment-0123")
    with Serving(tmp_path / "data") as server:
        assert server.ask("/api/v1/rules").status_code == 401
        assert server.ask("/api/v1/rules", token="from-the-environment-0123").status_code == 200
        assert "from-the-environment" not in server.web.link


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WebError, match="too short") as refused, Serving(tmp_path / "data", token="short-one"):
        pass
    assert "short-one" not in str(refused.value)
    with (
        pytest.raises(WebError, match="cannot be read"),
        Serving(tmp_path / "data", token=None, token_file=tmp_path / "nowhere"),
    ):
        pass
    file = tmp_path / "open"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(WebError, match="chmod 600"), Serving(tmp_path / "data", token=None, token_file=file):
        pass


# Browsers that are signed in


def test_browsers_are_forgotten_in_time_and_bounded() -> None:
    now = [0.0]
    access = Access(TOKEN, None, clock=lambda: now[0])
    first = access.begin()
    now[0] = LASTING
    assert access.knows(first)
    now[0] = 2 * LASTING
    assert access.knows(first)
    now[0] = 3 * LASTING + 1
    assert not access.knows(first)
    ids = [access.begin() for _ in range(SESSIONS + 1)]
    assert [access.knows(id) for id in ids] == [False] + [True] * SESSIONS
    assert len(set(ids)) == len(ids)
    assert TOKEN not in repr(access)
