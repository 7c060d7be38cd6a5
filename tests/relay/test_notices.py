"""Notices reach the administrator by real commands and a real web server, once, and hold nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from structlog.testing import capture_logs

from relayprobe.relay import occasions
from relayprobe.relay.channels import Channel
from relayprobe.relay.notices import Command, Kind, Mail, Notice, Notifier, Webhook

NOTICE = Notice("stopped", "office", "The route office has stopped", "What happened.\nWhat to do.", 1_800_000_000.0)
RECORD = {
    "kind": "stopped",
    "key": "office",
    "subject": "The route office has stopped",
    "text": "What happened.\nWhat to do.",
    "at": "2027-01-15T08:00:00+00:00",
}


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """A channel that keeps what it is given, and fails while `fails` says why."""

    notices: list[Notice] = field(default_factory=list)
    fails: str | None = None
    goes: asyncio.Event | None = None
    name: str = "kept"

    async def send(self, notice: Notice) -> str | None:
        if self.goes:
            await self.goes.wait()
        self.notices.append(notice)
        return self.fails

    @property
    def subjects(self) -> list[str]:
        return [notice.subject for notice in self.notices]

    async def has(self, number: int) -> None:
        async with asyncio.timeout(30):
            while len(self.notices) < number:
                await asyncio.sleep(0.005)


def news(n: int, kind: Kind = "waiting") -> Notice:
    return Notice(kind, f"mail {n}", f"subject {n}", "text", 0.0)


# Commands


def script(folder: Path, text: str) -> str:
    path = folder / "tell"
    path.write_text(f"#!{sys.executable}\nimport json, os, signal, subprocess, sys, time\n{text}\n", encoding="utf-8")
    path.chmod(stat.S_IRWXU)
    return str(path)


async def test_a_command_gets_the_notice_as_json_and_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAYPROBE_PASSWORD", "hunter2")
    told = tmp_path / "told"
    text = f"json.dump([json.load(sys.stdin), dict(os.environ), sys.argv[1:]], open({str(told)!r}, 'w'))"
    assert await Command([script(tmp_path, text), "a b", "$(x)"]).send(NOTICE) is None
    record, environment, arguments = json.loads(told.read_text(encoding="utf-8"))
    assert record == RECORD
    assert {key: environment[f"RELAYPROBE_NOTICE_{key.upper()}"] for key in RECORD} == RECORD
    assert arguments == ["a b", "$(x)"]
    assert "hunter2" not in str(environment)
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("print('no \\033[2J mail'); sys.exit(3)", r"tell ended with 3: no \x1b[2J mail"),
        ("sys.exit(1)", "tell ended with 1"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "tell was ended by signal 15"),
    ],
)
async def test_a_command_that_fails_says_why(tmp_path: Path, text: str, says: str) -> None:
    why = await Command([script(tmp_path, text)]).send(NOTICE)
    assert why is not None
    assert why.endswith(says)


async def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    why = await Command([str(tmp_path / "nothing")]).send(NOTICE)
    assert why == f"{tmp_path}/nothing cannot be run: No such file or directory"
    assert "cannot be run" in (await Command(["a\0b"]).send(NOTICE) or "")


async def test_the_output_of_a_command_has_an_end(tmp_path: Path) -> None:
    why = await Command([script(tmp_path, "sys.stdout.write('x' * 50_000_000); sys.exit(1)")], timeout=60).send(NOTICE)
    assert why is not None
    assert why.endswith("tell ended with 1: " + "x" * 300)


async def test_a_command_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(600)"
    )
    why = await Command([script(tmp_path, text)], timeout=5).send(NOTICE)
    assert why is not None
    assert why.endswith("did not end within 5 seconds, and was killed")
    await gone(pids)


async def test_a_command_is_killed_when_the_relay_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    new = tmp_path / "new"
    text = f"open({str(new)!r}, 'w').write(str(os.getpid()))\nos.rename({str(new)!r}, {str(pids)!r})\ntime.sleep(600)"
    notifier = Notifier([Command([script(tmp_path, text)], timeout=600)])
    notifier.tell(NOTICE)
    async with asyncio.timeout(30):
        while not pids.exists():
            await asyncio.sleep(0.01)
    await notifier.close(deadline=0.01)
    await gone(pids)


async def test_what_a_command_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    text = f"child = subprocess.Popen(['sleep', '600'])\nopen({str(pid)!r}, 'w').write(str(child.pid))"
    try:
        assert await Command([script(tmp_path, text)], timeout=300).send(NOTICE) is None
    finally:
        os.kill(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)


def test_a_command_is_a_program_at_least() -> None:
    for argv in ([], [""]):
        with pytest.raises(ValueError, match="names no program"):
            Command(argv)


async def gone(pids: Path) -> None:
    async with asyncio.timeout(30):
        for pid in pids.read_text(encoding="utf-8").split():
            while alive(int(pid)):
                await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """A process that is dead and not yet reaped by whoever inherits it is not alive."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


# Webhooks


@dataclass
class Web:
    """A web server; what it answers, and what it was asked."""

    port: int
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    hangs: Event | None = None
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/T0P-SECRET"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    told: list[Web] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = told[0]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said.asked.append((self.path, dict(self.headers), body))
            if said.hangs:
                said.hangs.wait(60)
            with contextlib.suppress(ConnectionError):
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    told.append(Web(server.server_address[1]))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield told[0]
    if told[0].hangs:
        told[0].hangs.set()
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_webhook_posts_json_with_the_secret_header(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = iter(["Bearer one", "Bearer two"])
    hook = Webhook(web.url, header=("Authorization", lambda: next(secrets)))
    assert await hook.send(NOTICE) is None
    assert await hook.send(NOTICE) is None
    (path, headers, body), (_, again, _) = web.asked
    assert path == "/hook/T0P-SECRET"
    assert json.loads(body) == RECORD
    assert headers["Content-Type"] == "application/json"
    assert (headers["Authorization"], again["Authorization"]) == ("Bearer one", "Bearer two")


async def test_the_form_for_chats_has_all_in_its_text(web: Web) -> None:
    assert await Webhook(web.url, form="chat").send(NOTICE) is None
    assert json.loads(web.asked[0][2]) == RECORD | {"text": f"{RECORD['subject']}\n\n{RECORD['text']}"}


async def test_a_redirect_is_not_followed(web: Web) -> None:
    web.status, web.headers = 302, {"Location": web.url}
    assert await Webhook(web.url).send(NOTICE) == "127.0.0.1: it answered 302, and another address is not followed"
    assert len(web.asked) == 1


async def test_a_refusal_is_told_and_its_text_is_not(web: Web) -> None:
    web.status, web.body = 403, b"T0P-SECRET" * 10_000_000
    assert await Webhook(web.url).send(NOTICE) == "127.0.0.1: it answered 403"


async def test_a_webhook_that_hangs_is_left_and_not_piled_up(web: Web) -> None:
    web.hangs = Event()
    hook = Webhook(web.url, timeout=0.5)
    assert await hook.send(NOTICE) == "127.0.0.1: no answer"
    slow = Webhook(web.url, timeout=60)
    first = asyncio.create_task(slow.send(NOTICE))
    async with asyncio.timeout(30):
        while len(web.asked) < 2:
            await asyncio.sleep(0.01)
    assert await slow.send(NOTICE) == "127.0.0.1 still has not answered the notice before"
    web.hangs.set()
    assert await first is None


async def test_a_failure_does_not_tell_the_secret(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    await Webhook(web.url).send(NOTICE)
    assert "Authorization" not in web.asked[0][1]

    def broken() -> str:
        raise RuntimeError("T0P-SECRET")

    gone = Webhook("http://127.0.0.1:9/T0P-SECRET")
    hooks = [
        (gone, "it cannot be reached"),
        (Webhook(f"https://127.0.0.1:{web.port}/T0P-SECRET"), "TLS failed"),
        (Webhook(web.url, header=("X-Key", lambda: "T0P-SECRET\r\nX: y")), "the secret cannot stand in a header"),
        (Webhook(web.url, header=("X-Key", broken)), "the secret for it cannot be had (RuntimeError)"),
    ]
    for hook, says in hooks:
        with capture_logs() as logs:
            notifier = Notifier([hook])
            notifier.tell(NOTICE)
            await notifier.close(30)
        assert says in logs[0]["because"]
        assert "T0P-SECRET" not in str(logs) + repr(hook)


@pytest.mark.parametrize("url", ["", "ftp://x.test/", "https://", "file:///etc/passwd", "x.test/hook"])
def test_what_is_no_address_of_a_webhook(url: str) -> None:
    with pytest.raises(ValueError, match="begins with https"):
        Webhook(url)


# Mail


async def test_mail_is_handed_over() -> None:
    posted: list[tuple[str, str, str]] = []

    async def post(to: str, subject: str, text: str) -> None:
        posted.append((to, subject, text))

    assert await Mail(post, "admin@contoso.com").send(NOTICE) is None
    assert posted == [("admin@contoso.com", f"relayprobe: {NOTICE.subject}", NOTICE.text + "\n")]


async def test_mail_that_cannot_be_posted_says_so() -> None:
    async def broken(to: str, subject: str, text: str) -> None:
        raise RuntimeError("T0P-SECRET")

    async def slow(to: str, subject: str, text: str) -> None:
        await asyncio.sleep(600)

    assert await Mail(broken, "a@b.test").send(NOTICE) == "it could not be posted (RuntimeError)"
    assert await Mail(slow, "a@b.test", timeout=0.01).send(NOTICE) == "it could not be posted within 0.01 seconds"


# When


async def test_all_channels_are_used_whatever_one_of_them_does() -> None:
    class Raises:
        name = "raises"

        async def send(self, notice: Notice) -> str | None:
            raise RuntimeError("no")

    first, last = Kept(fails="it is out"), Kept()
    channels: list[Channel] = [first, Raises(), last]
    with capture_logs() as logs:
        notifier = Notifier(channels)
        assert notifier.tell(NOTICE)
        await notifier.close(30)
    assert first.notices == last.notices == [NOTICE]
    assert [entry.get("because") for entry in logs] == ["it is out", "RuntimeError", None]


async def test_the_same_news_is_told_once_in_a_while() -> None:
    clock, kept = Clock(), Kept()
    notifier = Notifier([kept], clock=clock, repeat=100)
    assert notifier.tell(news(1))
    assert notifier.tell(news(2))
    assert notifier.tell(news(1, "given-up"))
    await kept.has(3)
    clock.now += 99
    assert not notifier.tell(news(1))
    clock.now += 1
    assert notifier.tell(news(1))
    clock.now -= 5000  # a clock that was set back keeps nobody silent
    assert notifier.tell(news(1))
    await notifier.close(30)
    assert kept.subjects == ["subject 1", "subject 2", "subject 1", "subject 1", "subject 1"]


async def test_the_opposite_makes_it_news_again() -> None:
    kept = Kept()
    notifier = Notifier([kept], clock=Clock())
    told = [notifier.tell(news(1, kind)) for kind in ("stopped", "stopped", "working", "working", "stopped")]
    assert told == [True, False, True, False, True]
    assert notifier.tell(news(2, "working"))
    assert not notifier.tell(news(1, "stopped"))
    await notifier.close(30)


async def test_what_no_channel_took_is_tried_again_when_it_is_told_again() -> None:
    kept = Kept(fails="it is out")
    notifier = Notifier([kept], clock=Clock())
    assert notifier.tell(news(1))
    await kept.has(1)
    await asyncio.sleep(0)
    kept.fails = None
    assert notifier.tell(news(1))
    await kept.has(2)
    assert not notifier.tell(news(1))
    await notifier.close(30)


async def test_over_so_many_an_hour_the_rest_is_told_as_one() -> None:
    clock, kept = Clock(), Kept()
    notifier = Notifier([kept], clock=clock, wall=lambda: 1_800_000_000.0, hourly=3)
    for n in range(8):
        assert notifier.tell(news(n))
    await kept.has(3)
    clock.now += 3599
    assert notifier.tell(news(8))
    await asyncio.sleep(0.05)
    assert len(kept.notices) == 3
    clock.now += 1
    assert notifier.tell(news(9))
    await kept.has(4)
    assert kept.notices[3].kind == "summary"
    assert kept.notices[3].subject == "7 more notices"
    assert [f"- subject {n}" in kept.notices[3].text for n in range(10)] == [False] * 3 + [True] * 7
    assert notifier.tell(news(10))
    await kept.has(5)
    assert kept.subjects[4] == "subject 10"
    await notifier.close(30)


async def test_the_summary_comes_by_itself() -> None:
    clock, kept = Clock(), Kept()
    notifier = Notifier([kept], clock=clock, hourly=1)
    notifier.tell(news(1))
    await kept.has(1)
    clock.now += 3599.9
    notifier.tell(news(2))
    await asyncio.sleep(0.05)
    clock.now += 0.2
    await kept.has(2)
    assert kept.notices[1].kind == "summary"
    await notifier.close(30)


async def test_closing_sends_the_summary() -> None:
    kept = Kept()
    notifier = Notifier([kept], clock=Clock(), hourly=1)
    for n in range(60):
        notifier.tell(news(n))
    await notifier.close(30)
    assert kept.subjects == ["subject 0", "59 more notices"]
    assert "- subject 50\n- and 9 more" in kept.notices[1].text
    assert not notifier.tell(news(99))
    await notifier.close(30)


async def test_nobody_waits_and_what_is_too_much_is_counted() -> None:
    kept = Kept(goes=asyncio.Event())
    notifier = Notifier([kept], clock=Clock(), hourly=1000)
    assert notifier.tell(news(0))
    await asyncio.sleep(0.01)  # the first one is on its way, and hangs
    told = [notifier.tell(news(n)) for n in range(1, 151)]
    assert told == [True] * 100 + [False] * 50
    assert kept.goes is not None
    kept.goes.set()
    await kept.has(102)
    assert kept.subjects[-1] == "50 more notices"
    assert "- and 50 that came too fast to be kept" in kept.notices[-1].text
    assert notifier.tell(news(150))  # it was not told, so it still is news
    await notifier.close(30)


async def test_closing_has_a_deadline_and_says_what_is_left() -> None:
    kept = Kept(goes=asyncio.Event())
    notifier = Notifier([kept], clock=Clock())
    for n in range(150):
        notifier.tell(news(n))
    await asyncio.sleep(0.01)
    with capture_logs() as logs:
        await notifier.close(0.01)
    assert (logs[-1]["event"], logs[-1]["number"]) == ("notices not sent", 150)


async def test_without_channels_nothing_is_kept() -> None:
    notifier = Notifier([])
    assert not notifier.tell(NOTICE)
    await notifier.close()


async def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.relay.notices.REMEMBERED", 2)
    notifier = Notifier([Kept()], clock=Clock())
    assert [notifier.tell(news(n)) for n in (1, 2, 3, 3, 2, 1)] == [True, True, True, False, False, True]
    await notifier.close(30)


# Words

SEND_AS = "554 5.2.252 SendAsDenied; a@contoso.com not allowed to send as b@contoso.com"
EACH = [
    occasions.waiting("0A1B", "192.168.1.20", "4 hours", "451 4.7.500 Server busy", at=0),
    occasions.stopped(
        "office", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", waits=3, at=0
    ),
    occasions.working("office", waits=1, at=0),
    occasions.given_up("0A1B", "192.168.1.20", 2, SEND_AS, told=None, at=0),
    occasions.expires("The client secret", "office", 30, at=0),
    occasions.disk_full("/var/lib/relayprobe", 5_000_000, at=0),
    occasions.summary(["a"], 0, 0, at=0),
]


@pytest.mark.parametrize("notice", EACH, ids=lambda notice: notice.kind)
def test_each_occasion_says_what_happened_and_what_to_do(notice: Notice) -> None:
    assert notice.subject
    assert len(notice.subject) < 100
    assert re.search("`relayprobe|by itself|Nothing is to be done", notice.text)


def test_a_reply_is_explained() -> None:
    assert "It means: " in EACH[1].text
    assert "To do: " in EACH[1].text
    assert "The last answer was: 535 5.7.139" in EACH[1].text
    assert "No server has answered yet." in occasions.stopped("office", "", waits=0, at=0).text
    assert "Not certain: " in occasions.stopped("office", "550 5.7.64 no", waits=0, at=0).text
    assert "It means" not in occasions.stopped("office", "571 5.9.9 zzz", waits=0, at=0).text


@pytest.mark.parametrize(
    ("days", "says"),
    [(30, "expires in 30 days"), (1, "expires in 1 day"), (0, "expires today"), (-1, "has expired")],
)
def test_the_end_of_a_secret_is_counted_in_days(days: int, says: str) -> None:
    assert occasions.expires("The client secret", "office", days, at=0).subject.endswith(f"route office {says}")


def test_nothing_in_a_notice_can_act() -> None:
    evil = "\x1b[2J\u202e\r\nBcc: x\ud800" * 1000
    for notice in (
        occasions.waiting("0A1B", evil, "4 hours", f"451 4.7.500 {evil}", at=0),
        occasions.given_up("0A1B", evil, 1, evil, told=evil, at=0),
        Notice("waiting", evil, evil, evil, 0),
    ):
        record = notice.record()
        assert record["subject"].isprintable()
        assert record["key"].isprintable()
        assert all(line.isprintable() for line in record["text"].split("\n"))
        assert len(json.dumps(record)) < 60_000
