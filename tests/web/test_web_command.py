"""The page of `relayprobe listen` and `relayprobe relay` as they are run by people."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relayprobe.relay.logins import hashed
from tests.clients.listening import COMMAND, PASSWORD, PATIENCE, USER, Listening, environment, until
from tests.operation.working import OtherSide, Relaying

TOKEN = "the-token-of-this-test-0123456789"
ANY = ("--web", "127.0.0.1:0")
PAGED = {"RELAYPROBE_NO_WEB": "", "RELAYPROBE_WEB_TOKEN": TOKEN}
HERE = '[relay]\ndevices = ["127.0.0.1"]\nretry = ["1h"]\n'


def address(running: Listening | Relaying) -> str:
    """Where its page is, as the log says it."""
    found: re.Match[str] = until(lambda: re.search(r"https?://127\.0\.0\.1:\d+/[\w/]*", running.err.read_text()))
    return found[0].rstrip("/")


def ask(
    running: Listening | Relaying, path: str, method: str = "GET", token: str = TOKEN, **more: Any
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, address(running) + path, headers=headers, timeout=PATIENCE, **more)


@contextlib.contextmanager
def listening(folder: Path, *options: str, **more: str) -> Iterator[Listening]:
    running = Listening(folder, *(options or ANY), **(PAGED | more))
    try:
        yield running
        running.stop()
    finally:
        running.kill()


def send(port: int, login: bool = False) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="scanner", timeout=PATIENCE) as device:
        device.ehlo()
        if login:
            device.login(USER, PASSWORD)
        device.sendmail("scanner@contoso.com", ["anna@contoso.com"], "Subject: Scan\r\n\r\nThe text.\r\n")


def test_what_a_device_sends_is_on_the_page(tmp_path: Path) -> None:
    with listening(tmp_path) as running:
        assert ask(running, "/api/v1/sessions").json() == {"sessions": [], "next": None}
        send(running.port, login=True)
        running.ended()
        [row] = until(lambda: ask(running, "/api/v1/sessions").json()["sessions"])
        printed = running.run("sessions", "--json").stdout
        assert row == json.loads(printed)
        assert ask(running, f"/api/v1/sessions/{row['id']}").json() == running.last()
        assert "relayprobe_sessions_total" in ask(running, "/metrics").text
        assert "<table" in ask(running, "/").text
        assert httpx.get(f"{address(running)}/livez").json() == {"ok": True}
        assert httpx.get(f"{address(running)}/").status_code == 401
        for path in ("", "/transcript", "/report.html", "/packets.pcapng"):
            assert PASSWORD not in ask(running, f"/api/v1/sessions/{row['id']}{path}").text


def test_lines_come_while_a_device_talks(tmp_path: Path) -> None:
    with listening(tmp_path) as running, smtplib.SMTP("127.0.0.1", running.port, timeout=PATIENCE) as device:
        device.ehlo("scanner.contoso.com")
        page = ask(running, "/").text
        found = re.search(r'href="/sessions/([\w-]+)', page)
        assert found is not None
        headers = {"Authorization": f"Bearer {TOKEN}"}
        stream = f"{address(running)}/api/v1/events?session={found[1]}"
        with httpx.stream("GET", stream, headers=headers, timeout=PATIENCE) as told:
            lines = told.iter_lines()
            raw = ""
            device.login(USER, PASSWORD)
            device.mail("live@contoso.com")
            while "live@contoso.com" not in raw:
                raw += next(lines)
            assert "scanner.contoso.com" in raw
            device.quit()
            while "event: sessions" not in raw:
                raw += next(lines)
            while found[1] not in next(lines):
                pass
        assert PASSWORD not in raw


def test_the_token_is_on_the_screen_and_in_no_log(tmp_path: Path) -> None:
    log = tmp_path / "file.log"
    with listening(tmp_path, *ANY, "--log-file", str(log), RELAYPROBE_WEB_TOKEN="") as running:
        link = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/\?token=([\w-]{32,})", running.out.read_text()))
        assert httpx.get(link[0]).status_code == 303
        assert httpx.get(f"{link[0]}x").status_code == 401
        port = httpx.URL(link[0]).port
        assert port is not None
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/sessions", headers={"Authorization": f"Bearer {link[1]}"})
        send(running.port)
        running.ended()
    assert link[1] not in running.err.read_text() + log.read_text()
    assert f"127.0.0.1:{port}" in log.read_text()
    assert not [path for path in running.data.rglob("*") if path.is_file() and link[1].encode() in path.read_bytes()]


@pytest.mark.parametrize("quiet", ["--quiet", "--json"])
def test_without_a_terminal_the_token_is_nowhere(tmp_path: Path, quiet: str) -> None:
    """stderr is the log of a service then, which others read."""
    with listening(tmp_path, *ANY, quiet, RELAYPROBE_WEB_TOKEN="") as running:
        assert httpx.get(f"{address(running)}/livez").status_code == 200
        until(lambda: "token_file" in running.err.read_text())
    assert "token=" not in running.err.read_text() + running.out.read_text()


def test_a_token_of_ones_own_is_printed_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(f"{TOKEN}\n")
    settings = f'[web]\non = "127.0.0.1:0"\ntoken_file = "{file}"\n'
    running = Listening(tmp_path / "run", settings=settings, RELAYPROBE_NO_WEB="")
    try:
        assert ask(running, "/api/v1/sessions").status_code == 200
        running.stop()
    finally:
        running.kill()
    assert TOKEN not in running.err.read_text() + running.out.read_text()


def test_no_page_where_none_is_wanted(tmp_path: Path) -> None:
    for more in ({"RELAYPROBE_NO_WEB": "1"}, {}):
        with listening(tmp_path / str(len(more)), *ANY, *([] if more else ["--no-web"]), **more) as running:
            send(running.port)
            running.ended()
        assert "http" not in running.err.read_text() + running.out.read_text()


def refused(tmp_path: Path, *options: str, settings: str = "") -> str:
    """What `listen` says where it does not start."""
    config = tmp_path / "relayprobe.toml"
    config.touch(0o600)
    config.write_text(settings)
    command = [*COMMAND, "listen", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"), "--config", str(config)]
    done = subprocess.run(
        [*command, *options], capture_output=True, env=environment(RELAYPROBE_NO_WEB=""), timeout=PATIENCE, check=False
    )
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    return " ".join(done.stderr.decode().split())


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        says = refused(tmp_path, "--web", place)
        assert place in says
        assert "--no-web" in says
        assert place in refused(tmp_path, settings=f'[web]\non = "{place}"\n')


def test_the_usual_place_may_be_taken(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # where it is taken already, so much the better
            held.enter_context(socket.create_server(("127.0.0.1", 8025)))
        running = Listening(tmp_path, RELAYPROBE_NO_WEB="")
        try:
            until(lambda: "there is no page" in running.err.read_text())
            assert "--web HOST:PORT" in running.err.read_text()
            send(running.port)
            running.ended()
            running.stop()
        finally:
            running.kill()


@pytest.mark.parametrize(
    ("options", "settings", "says"),
    [
        (("--web", "0.0.0.0:8025"), "", "relayprobe password"),
        (("--web", "[::]:8025"), "", "relayprobe password"),
        (("--web", "here"), "", "HOST:PORT"),
        (("--web", "127.0.0.1:70000"), "", "HOST:PORT"),
        ((), '[web]\npassword = "Marker-Of-The-Page-7"\n', "relayprobe password"),
        ((), '[web]\ntoken_file = "/nowhere/token"\n', "/nowhere/token"),
        ((), '[web]\ncert = "a.pem"\n', "cert and key go together"),
        (ANY, '[web]\ncert = "/nowhere/a.pem"\nkey = "/nowhere/b.pem"\n', "/nowhere/a.pem"),
        ((), '[web]\npath = "relayprobe"\n', "/relayprobe"),
        ((), '[web]\nhost = ["a"]\n', "did you mean web.hosts?"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(tmp_path: Path, options: tuple[str, ...], settings: str, says: str) -> None:
    told = refused(tmp_path, *options, settings=settings)
    assert says in told
    assert "Marker" not in told


def test_beyond_this_machine(tmp_path: Path) -> None:
    settings = f"[web]\npassword = '{hashed('Marker-Of-The-Page-7')}'\n"
    running = Listening(tmp_path, "--web", "0.0.0.0:0", settings=settings, RELAYPROBE_NO_WEB="")
    try:
        base = address(running)
        assert base.startswith("https://")
        authority = str(running.data / "ca.pem")
        with httpx.Client(verify=ssl.create_default_context(cafile=authority)) as browser:
            assert browser.get(f"{base}/").status_code == 401
            assert browser.post(f"{base}/sign-in", data={"password": "Marker-Of-The-Page-7"}).status_code == 303
            assert browser.get(f"{base}/").status_code == 200
        running.stop()
    finally:
        running.kill()
    assert "Marker-Of-The-Page-7" not in running.err.read_text() + running.out.read_text()


@pytest.mark.parametrize("kept", [True, False])
def test_under_a_path_of_a_proxy(tmp_path: Path, kept: bool) -> None:
    """It answers whether the proxy keeps the path or takes it off; its links have it in either case."""
    settings = '[web]\non = "127.0.0.1:0"\npath = "/probe"\n'
    running = Listening(tmp_path, settings=settings, **PAGED)
    try:
        base = address(running)
        assert base.endswith("/probe")
        base = base if kept else base.removesuffix("/probe")
        with httpx.Client() as browser:
            answer = browser.get(f"{base}/", params={"token": TOKEN})
            assert (answer.status_code, answer.headers["location"]) == (303, "/probe/")
            assert "path=/probe" in answer.headers["set-cookie"].lower()
            headers = {"Authorization": f"Bearer {TOKEN}"}
            page = browser.get(f"{base}/", headers=headers).text
            assert re.findall(r'(?:href|src|action)="/(?!probe)', page) == []
            assert browser.get(f"{base}/static/page.css").status_code == 200
            assert browser.get(f"{base}/api/v1/openapi.json", headers=headers).json()["servers"] == [{"url": "/probe"}]
        running.stop()
    finally:
        running.kill()


def test_it_ends_whoever_looks_on(tmp_path: Path) -> None:
    """TERM ends it with streams open, downloads stalled, and connections that say nothing."""
    with listening(tmp_path) as running:
        port = httpx.URL(address(running)).port
        with contextlib.ExitStack() as held:
            for begun in (
                b"",
                b"GET / HTTP/1.1\r\n",
                b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n",
            ):
                there = held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                there.sendall(begun)
            for _ in range(5):
                stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
                held.enter_context(stream)
                stream.sendall(
                    f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
                )
                assert b"200 OK" in stream.recv(4096)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0  # as a service it would be killed some time later


def test_a_crowd_at_the_page_keeps_no_device_away(tmp_path: Path) -> None:
    with listening(tmp_path) as running, contextlib.ExitStack() as held:
        port = httpx.URL(address(running)).port
        for n in range(400):
            with contextlib.suppress(OSError):
                there = held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                there.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * n)
        asking = [threading.Thread(target=lambda: _asked(running)) for _ in range(8)]
        for thread in asking:
            thread.start()
        for _ in range(20):
            send(running.port)
        for thread in asking:
            thread.join()
        assert len(running.ended(20)) == 20


def _asked(running: Listening) -> None:
    with contextlib.suppress(httpx.HTTPError):  # there may be no room for one more
        for _ in range(5):
            ask(running, "/api/v1/rules")


# With a relay


def test_the_queue_of_a_relay_is_worked_by_hand(tmp_path: Path) -> None:
    with (
        OtherSide(MAIL="451 4.3.2 not now") as other,
        Relaying(tmp_path / "relay", HERE + other.route("office"), *ANY, json_log=True, **PAGED) as relay,
    ):
        assert relay.send("anna@contoso.test")[0] == 250
        until(lambda: relay.mail()["state"] == "waiting" and relay.mail()["attempts"] == 1)
        [mail] = ask(relay, "/api/v1/queue").json()["mails"]
        assert (mail["state"], mail["last_reply"]) == ("waiting", "451 4.3.2 not now")
        [route] = ask(relay, "/api/v1/routes").json()["routes"]
        assert (route["name"], route["waiting"]) == ("office", 1)
        assert 'relayprobe_queue_mails{state="waiting"} 1.0' in ask(relay, "/metrics").text
        other.answers.clear()
        with httpx.stream(
            "GET", f"{address(relay)}/api/v1/events", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE
        ) as told:
            assert ask(relay, f"/api/v1/queue/{mail['id']}/retry", "POST").status_code == 200
            assert other.arrived()[0][1] == ["anna@contoso.test"]
            lines = told.iter_lines()
            while "event: mails" not in next(lines):
                pass
            assert json.loads(next(lines).removeprefix("data: "))["mails"][0]["id"] == mail["id"]
        relay.until_mail("delivered")
        session = ask(relay, "/api/v1/sessions").json()["sessions"][0]["id"]
        [sent] = ask(relay, f"/api/v1/sessions/{session}").json()["sent_on"]
        assert sent["id"] == mail["id"]
        assert sent["tries"][-1]["dialogue"]


def test_a_route_is_tried_again(tmp_path: Path) -> None:
    with (
        OtherSide(banner="421 4.3.2 closed") as other,
        Relaying(tmp_path / "relay", HERE + other.route("office"), *ANY, **PAGED) as relay,
    ):
        relay.send("anna@contoso.test")
        until(lambda: ask(relay, "/api/v1/routes").json()["routes"][0]["state"] == "waiting")
        other.answers.clear()
        assert ask(relay, "/api/v1/routes/office/retry", "POST").status_code == 202
        assert ask(relay, "/api/v1/routes/ofice/retry", "POST").status_code == 404
        other.arrived()


def test_what_of_the_page_takes_effect_at_a_start_is_said(tmp_path: Path) -> None:
    with (
        OtherSide() as other,
        Relaying(tmp_path / "relay", HERE + other.route(), *ANY, **PAGED) as relay,
    ):
        relay.reload(HERE + other.route() + '[web]\nhosts = ["probe.contoso.test"]\n')
        assert relay.logged("when relayprobe is started anew")["keys"] == ["web"]
        assert httpx.get(f"{address(relay)}/livez", headers={"Host": "probe.contoso.test"}).status_code == 421
