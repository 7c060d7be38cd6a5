"""What people are told, by mail, by a command and by a webhook, and that telling never goes in a circle."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.clients.listening import until
from tests.operation.working import OtherSide, Relaying

ADMIN = "admin@contoso.test"
RELAY = """
[relay]
devices = ["127.0.0.1"]
retry = ["1s"]
{relay}
[relay.notify]
command = ["/bin/sh", "-c", "cat >> {file}; echo >> {file}"]
{notify}
"""


class Told:
    """The notices that the command has got."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "notices"

    def settings(self, relay: str = "", notify: str = "") -> str:
        return RELAY.format(relay=relay, notify=notify, file=self._file)

    def all(self) -> list[dict[str, Any]]:
        lines = self._file.read_text().split("\n") if self._file.exists() else []
        return [json.loads(line) for line in lines[:-1] if line]

    def of(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: next((one for one in self.all() if one["kind"] == kind), None))
        return found


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[str | None, dict[str, Any]]]]]:
    """Its address, and what it was posted: the Authorization header, the object."""
    posted: list[tuple[str | None, dict[str, Any]]] = []

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.headers["Authorization"], json.loads(text)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Request)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook-secret", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_by_every_way(tmp_path: Path) -> None:
    """A mail that is given up: by the command, by the webhook with its secret, and by mail."""
    told = Told(tmp_path)
    secret = tmp_path / "hook"
    secret.touch(0o600)
    secret.write_text("Marker-Of-Hook\n")
    with OtherSide(**{"RCPT anna@contoso.test": "550 5.1.1 nobody \x1b[31m"}) as other, webhook() as (address, posted):
        hook = f'webhook = "{address}"\nwebhook_secret_file = "{secret}"\nform = "chat"\nmail = ["{ADMIN}"]'
        with Relaying(tmp_path / "relay", told.settings(notify=hook, relay='bounce = "none"') + other.route()) as relay:
            assert relay.send()[0] == 250
            notice = told.of("given-up")
            assert relay.mail(notice["key"])["state"] == "failed"
            assert "550 5.1.1 nobody" in notice["text"]
            until(lambda: posted)
            _, [to], text = other.arrived()[0]
            assert (to, b"Subject: relayprobe: Mail from 127.0.0.1 could not be delivered" in text) == (ADMIN, True)
            assert b"Auto-Submitted: auto-generated" in text
        assert posted[0][0] == "Bearer Marker-Of-Hook"
        assert notice["text"] in posted[0][1]["text"]
        for text in (json.dumps(posted), json.dumps(told.all()), relay.err.read_text()):
            assert "\\u001b" not in text
            assert "hook-secret" not in text
        assert "Marker-Of-Hook" not in relay.err.read_text()
        assert len(other.mails) == 1


@pytest.mark.parametrize(("bounce", "to"), [("sender", "scanner@contoso.test"), ("admin", ADMIN), ("none", None)])
def test_who_gets_the_report(tmp_path: Path, bounce: str, to: str | None) -> None:
    told = Told(tmp_path)
    with OtherSide(**{"RCPT anna@contoso.test": "550 5.1.1 nobody"}) as other:
        settings = told.settings(relay=f'bounce = "{bounce}"', notify=f'mail = ["{ADMIN}"]\nroute = "out"')
        with Relaying(tmp_path / "relay", settings + other.route()) as relay:
            assert relay.send()[0] == 250
            told.of("given-up")
            mails = other.arrived(1 if to is None else 2)
            until(lambda: relay.queue("waiting", "sending") == [])
    reports = [mail for mail in mails if b"multipart/report" in mail[2]]
    assert [(mail[0], mail[1]) for mail in reports] == ([] if to is None else [("", [to])])
    assert all(b"5.1.1" in mail[2] for mail in reports)


def test_a_report_that_is_refused_makes_no_other(tmp_path: Path) -> None:
    """Nor does a notice, nor a mail without a sender."""
    told = Told(tmp_path)
    with OtherSide(RCPT="550 5.1.1 nobody") as other:
        settings = told.settings(relay='bounce = "sender"', notify=f'mail = ["{ADMIN}"]')
        with Relaying(tmp_path / "relay", settings + other.route()) as relay:
            assert relay.send()[0] == 250
            assert relay.send(sender="")[0] == 250
            until(lambda: len([one for one in told.all() if one["kind"] == "given-up"]) == 2)
            # Two of the device, the report about the first, to its sender, one about the second, and two notices.
            until(lambda: len(relay.queue("failed")) == 6)
            assert relay.queue("waiting", "sending", "held") == []
            assert len(told.all()) == 2
    assert other.mails == []


def test_a_notice_that_is_held_makes_no_other(tmp_path: Path) -> None:
    told = Told(tmp_path)
    with OtherSide(**{".": "close"}) as other:
        settings = told.settings(notify=f'mail = ["{ADMIN}"]')
        with Relaying(tmp_path / "relay", settings + other.route()) as relay:
            assert relay.send()[0] == 250
            notice = told.of("held")
            assert relay.mail(notice["key"])["session"] is not None
            until(lambda: len(relay.queue("held")) == 2)
            other.answers.clear()
            assert relay.send("last@contoso.test")[0] == 250
            other.arrived()
            assert [one["kind"] for one in told.all()] == ["held"]
            assert len(relay.queue("held")) == 2


def test_mail_that_waits_and_then_is_given_up(tmp_path: Path) -> None:
    """A mail that somebody holds back hides none that waits."""
    told = Told(tmp_path)
    with OtherSide(MAIL="451 4.3.2 not now") as other:
        settings = told.settings(relay='lifetime = "{lifetime}"', notify='waiting = "2s"')
        config = settings.replace("{lifetime}", "1h") + other.route()
        with Relaying(tmp_path / "relay", config) as relay:
            assert relay.send()[0] == 250
            held = relay.until_mail("waiting")["id"]
            until(lambda: relay.run("queue hold", held).returncode == 0)
            assert relay.send()[0] == 250
            waits = relay.mail()["id"]
            until(lambda: any(one["kind"] == "waiting" and one["key"] == waits for one in told.all()))
            assert "451 4.3.2 not now" in told.of("waiting")["text"]
            relay.reload(settings.replace("{lifetime}", "1s") + other.route())
            assert told.of("given-up")["key"] == waits
            assert "could not be delivered within" in relay.mail(waits)["why"]
            assert relay.mail(held)["state"] == "held"


def test_what_ends_soon_and_a_disk_that_is_full(tmp_path: Path) -> None:
    told = Told(tmp_path)
    soon = (
        '[[route]]\nname = "office"\nmode = "submission"\nuser = "a@contoso.test"\n[route.oauth]\n'
        'tenant = "contoso.test"\nclient_id = "c"\nsecret = "s"\nsecret_expires = 2020-01-01\n'
    )
    with Relaying(tmp_path / "relay", '[limits]\nmessage_size = "100TiB"\n' + told.settings() + soon) as relay:
        assert "The client secret of the route office has expired" in told.of("expires")["subject"]
        assert str(relay.data) in told.of("disk-full")["key"]
        assert relay.logged("route office: the client secret expired on 2020-01-01")


def test_channels_that_do_not_work_stop_nothing(tmp_path: Path) -> None:
    told = Told(tmp_path)
    with OtherSide(RCPT="550 5.1.1 nobody") as other:
        settings = told.settings(notify='webhook = "http://127.0.0.1:1/hook-secret"').replace("/bin/sh", "/no/such/sh")
        with Relaying(tmp_path / "relay", settings + other.route()) as relay:
            assert relay.send()[0] == 250
            assert "it cannot be reached" in relay.logged("notice not sent", channel="webhook")["because"]
            assert "cannot be run" in relay.logged("notice not sent", channel="command")["because"]
            other.answers.clear()
            assert relay.send()[0] == 250
            other.arrived()
            assert "hook-secret" not in relay.err.read_text()
