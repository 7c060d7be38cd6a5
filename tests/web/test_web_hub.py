"""What goes on now: sessions that are open, and news of them, for readers who keep up and for those who do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relayprobe.web import hub as hub_module
from relayprobe.web.hub import EVENTS, OCTETS, OPEN_SESSIONS, ROWS, SUBSCRIBERS, WAITING, Hub, News, TooMany
from relayprobe.wire.events import Body, Closed, Connected, Event, Line, LineFacts
from tests.web.serving import PATIENCE, TOKEN, Serving

STREAM = "/api/v1/events"


def row(id: str, worst: str | None = None, findings: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": id, "worst": worst, "findings": list(findings)}


def line(n: int, raw: bytes = b"NOOP\r\n") -> Event:
    return Line(float(n), "client", raw)


def begin(hub: Hub, id: str, lines: int = 0) -> None:
    hub.event(id, Connected(0.0, "192.168.1.9:40000", "0.0.0.0:2525"))
    for n in range(lines):
        hub.event(id, line(n))


async def news(hub: Hub, tell: Callable[[], None], session: str | None = None, wait: float = 3.0) -> list[News]:
    """What one reader is told of something, until nothing more comes."""
    with hub.subscribe(session) as reader:
        tell()
        told = []
        with contextlib.suppress(TimeoutError):
            while (piece := await reader.next(hub_module.GATHER * wait)) is not None:
                told.append(piece)
        return told


# Sessions that are open


def test_what_is_open_and_what_has_ended() -> None:
    hub = Hub(lambda: 1_700_000_000.0)
    begin(hub, "aa", 2)
    begin(hub, "bb")
    assert [(one.id, one.peer, one.listener, len(one.events)) for one in hub.open()] == [
        ("bb", "192.168.1.9:40000", "0.0.0.0:2525", 1),
        ("aa", "192.168.1.9:40000", "0.0.0.0:2525", 3),
    ]
    hub.ended(row("aa"))
    assert [one.id for one in hub.open()] == ["bb"]
    assert hub.session("aa") is None
    hub.event("aa", Closed(1.0, "client", "quit"))  # nothing begins with its end
    assert hub.session("aa") is None
    hub.ended(row("zz"))  # one that was never seen


def test_an_endless_session_takes_no_endless_room() -> None:
    hub = Hub()
    begin(hub, "many", EVENTS + 10)
    found = hub.session("many")
    assert found is not None
    assert (len(found.events), found.left_out) == (EVENTS, 11)
    begin(hub, "long")
    for n in range(10):
        hub.event("long", line(n, b"x" * (OCTETS // 4)))
    found = hub.session("long")
    assert found is not None
    assert (len(found.events), found.left_out) == (5, 6)
    begin(hub, "large")
    for n in range(5):
        hub.event("large", Body(float(n), float(n), b"y" * 65536, 10**8, "crlf", LineFacts()))
    found = hub.session("large")
    assert found is not None
    assert found.octets == sum(len(e.raw) for e in found.events if isinstance(e, Body)) <= 5 * 8192
    assert [event.size for event in found.events if isinstance(event, Body)] == [10**8] * 5


def test_more_sessions_than_there_is_room_for() -> None:
    hub = Hub()
    for n in range(OPEN_SESSIONS + 3):
        begin(hub, f"s{n}")
    assert len(hub.open()) == OPEN_SESSIONS
    assert hub.open()[0].id == f"s{OPEN_SESSIONS + 2}"
    assert hub.session("s2") is None


def test_nothing_is_gathered_for_nobody() -> None:
    hub = Hub()  # there is not even a loop
    for n in range(100):
        begin(hub, f"s{n}", 3)
        hub.ended(row(f"s{n}"))
        hub.mail({"id": f"s{n}-1"})


# News


def test_news_are_gathered() -> None:
    async def told() -> list[News]:
        hub = Hub()

        def tell() -> None:
            for n in range(ROWS + 7):
                begin(hub, f"s{n}")
                hub.ended(row(f"s{n}"))
            begin(hub, "open")
            hub.mail({"id": "s1-1"})

        return await news(hub, tell)

    found = asyncio.run(told())
    assert [piece.kind for piece in found] == ["connected", "sessions", "mails"]
    assert found[0].thing == {"count": 1}
    assert len(found[1].thing["sessions"]) == ROWS
    assert found[1].thing["more"] == 7
    assert found[2].thing == {"mails": [{"id": "s1-1"}]}


def test_lines_are_told_to_whoever_asks_for_them() -> None:
    async def told(session: str | None) -> list[News]:
        hub = Hub()
        begin(hub, "aa", 2)

        def tell() -> None:
            hub.event("aa", line(2))
            begin(hub, "bb", 5)
            hub.event("aa", Closed(3.0, "client", "quit"))
            hub.ended(row("aa"))

        return [piece for piece in await news(hub, tell, session) if piece.kind == "lines"]

    assert asyncio.run(told(None)) == []
    pieces = asyncio.run(told("aa"))
    assert {piece.thing["session"] for piece in pieces} == {"aa"}
    lines = [one for piece in pieces for one in piece.thing["lines"]]
    assert [one["n"] for one in lines] == [0, 1, 2, 3, 4]
    assert [one["event"]["kind"] for one in lines] == ["connected", "line", "line", "line", "closed"]


def test_a_slow_reader_is_told_what_it_missed_and_slows_nobody() -> None:
    async def told() -> tuple[list[News], list[News], int]:
        hub = Hub()
        with hub.subscribe("aa") as slow:
            begin(hub, "aa")
            quick: list[News] = []
            for n in range(WAITING + 20):
                with hub.subscribe() as reader:
                    hub.ended(row(f"s{n}"))
                    hub._tell()
                    quick.append(await reader.next(1.0) or News("", {}))
            waiting = slow._queue.qsize()
            late = [await slow.next(1.0) for _ in range(WAITING + 1)]
            hub.ended(row("after"))
            hub._tell()
            late += [await slow.next(1.0)]
            return quick, [piece for piece in late if piece is not None], waiting

    quick, late, waiting = asyncio.run(told())
    assert len(quick) == WAITING + 20
    assert waiting == WAITING
    assert late[WAITING].kind == "missed"
    assert late[WAITING].thing["count"] > 20
    assert late[-1].kind != "missed"


def test_there_are_only_so_many_readers() -> None:
    hub = Hub()
    with contextlib.ExitStack() as stack:
        for _ in range(SUBSCRIBERS):
            stack.enter_context(hub.subscribe())
        with pytest.raises(TooMany), hub.subscribe():
            pass
    with hub.subscribe():
        pass


def test_the_end_comes_to_everybody() -> None:
    async def told() -> list[News | None]:
        hub = Hub()
        with hub.subscribe() as idle, hub.subscribe() as full:
            for n in range(WAITING + 5):
                full.put(News("sessions", {"n": n}))
            hub.close()
            with pytest.raises(TooMany), hub.subscribe():
                pass
            last = None
            for _ in range(WAITING + 5):
                if (last := await full.next(1.0)) is None:
                    break
            return [await idle.next(1.0), last]

    assert asyncio.run(told()) == [None, None]


# As a stream


class Stream:
    """A stream that is being read."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, Any]:
        """The next piece of news."""
        kind = ""
        for text in self._lines:
            if text.startswith("event: "):
                kind = text.removeprefix("event: ")
            elif text.startswith("data: "):
                return kind, json.loads(text.removeprefix("data: "))
        return "end", None


@contextlib.contextmanager
def streaming(server: Serving, query: str = "", **headers: str) -> Iterator[Stream]:
    address = f"{server.web.address.rstrip('/')}{STREAM}{query}"
    with httpx.stream("GET", address, headers={"Authorization": f"Bearer {TOKEN}"} | headers, timeout=PATIENCE) as told:
        yield Stream(told)


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def readers(server: Serving) -> int:
    return len(server.hub._subscriptions)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path / "data") as server:
        yield server


def test_a_stream_tells_what_happens(own: Serving) -> None:
    with streaming(own, "?session=aa") as stream:
        assert stream.answer.status_code == 200
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert stream.answer.headers["cache-control"] == "no-store"
        until(lambda: readers(own) == 1)
        own.do(lambda: begin(own.hub, "aa", 2))
        seen = [stream.next(), stream.next()]
        assert sorted(kind for kind, _ in seen) == ["connected", "lines"]
        [lines] = [thing for kind, thing in seen if kind == "lines"]
        assert [one["n"] for one in lines["lines"]] == [0, 1, 2]
        own.do(lambda: own.hub.ended(row("aa", "error", ("no-tls",))))
        seen = [stream.next(), stream.next()]
        assert ("sessions", {"sessions": [row("aa", "error", ("no-tls",))], "more": 0}) in seen


def test_a_stream_says_that_it_is_still_there(own: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.web.api.HEARTBEAT", 0.05)
    with streaming(own) as stream:
        found = []
        for text in stream.answer.iter_lines():
            found.append(text)
            if found.count(": still here") == 3:
                break
        assert found[0] == "retry: 2000"


def test_news_of_strangers_break_no_line(own: Serving) -> None:
    """What is in a session cannot end a piece of news, nor begin another."""
    with streaming(own) as stream:
        until(lambda: readers(own) == 1)
        evil = "x\n\nevent: sessions\ndata: {}\n\n\r\r\u2028"
        own.do(lambda: own.hub.ended(row(evil)))
        while (told := stream.next())[0] != "sessions":
            pass
        assert told[1]["sessions"][0]["id"] == evil


def test_who_goes_gives_the_place_back(own: Serving) -> None:
    for _ in range(SUBSCRIBERS + 10):
        with streaming(own) as stream:
            assert stream.answer.status_code == 200
    until(lambda: readers(own) == 0)


def test_too_many_streams_are_refused_and_the_page_goes_on(own: Serving) -> None:
    with contextlib.ExitStack() as held:
        answers = [held.enter_context(streaming(own)).answer.status_code for _ in range(SUBSCRIBERS + 5)]
        assert answers == [200] * SUBSCRIBERS + [503] * 5
        with streaming(own) as refused:
            assert refused.answer.headers["retry-after"] == "10"
            assert refused.answer.headers["content-type"] == "application/problem+json"
        assert own.ask("/livez").status_code == 200
    until(lambda: readers(own) == 0)
    with streaming(own) as stream:
        assert stream.answer.status_code == 200


def test_the_end_of_the_server_is_the_end_of_its_streams(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        with Serving(tmp_path / "data") as server:
            streams = [held.enter_context(streaming(server)) for _ in range(10)]
            until(lambda: readers(server) == 10)
        assert [stream.next() for stream in streams] == [("end", None)] * 10


@pytest.mark.parametrize("id", ["../x", "a b", "%0d%0a", "x" * 65])
def test_a_stream_of_what_is_no_session(own: Serving, id: str) -> None:
    answer = own.ask(STREAM, params={"session": id})
    assert answer.status_code == 400
    assert "/api/v1/sessions" in answer.json()["detail"]


def test_figures(own: Serving) -> None:
    own.do(lambda: begin(own.hub, "open"))
    for n, (worst, findings) in enumerate([("error", ("no-tls", "no-auth")), ("error", ("no-tls",)), (None, ())]):
        own.do(lambda n=n, worst=worst, findings=findings: own.hub.ended(row(f"s{n}", worst, findings)))  # type: ignore[misc]
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(own.ask("/metrics").text)
        for sample in family.samples
    }
    assert told == {
        ("relayprobe_sessions_total", "error"): 2,
        ("relayprobe_sessions_total", "warning"): 0,
        ("relayprobe_sessions_total", "note"): 0,
        ("relayprobe_sessions_total", "none"): 1,
        ("relayprobe_findings_total", "no-tls"): 2,
        ("relayprobe_findings_total", "no-auth"): 1,
        ("relayprobe_sessions_open",): 1,
    }
    assert own.ask("/metrics", token=None).status_code == 401
