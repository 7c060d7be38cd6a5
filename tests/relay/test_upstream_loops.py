"""The same on uvloop, and with one loop kept fair: large letters, TLS, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayprobe.relay.outcome import Deferred, Delivered, Fault, Unknown
from relayprobe.relay.place import Letter
from relayprobe.relay.record import MOST_OCTETS, Record
from relayprobe.relay.upstream import Upstream
from relayprobe.wire.events import Closed, Line
from tests.relay.scripted import OK, Do, Made, Scripted
from tests.relay.test_upstream import QUICK, SHORT, clear, letter
from tests.relay.test_upstream_tls import login, place

CHUNK = (b"x" * 76 + b"\r\n") * 800


LOOPS: dict[str, Callable[[], Any]] = {
    "asyncio": lambda: asyncio.new_event_loop,
    "uvloop": lambda: pytest.importorskip("uvloop").new_event_loop,
}


@pytest.mark.parametrize("factory", LOOPS.values(), ids=LOOPS)
def test_everything_that_touches_the_loop(factory: Callable[[], Any], tmp_path: Path) -> None:
    made = Made.at(tmp_path)

    async def scenario() -> None:
        async with Scripted(tls=made.server(), keep=False).running() as server:
            upstream = await Upstream.connect(place(server, made), login(), QUICK, Record())
            assert isinstance(upstream, Upstream), upstream
            large = Letter("a@x.com", ("b@x.com",), lambda: (CHUNK for _ in range(100)), 100 * len(CHUNK))
            for one in (letter(), large):
                assert isinstance((await upstream.send(one)).outcomes[0], Delivered)
            await upstream.quit()
        strange = Made.at(tmp_path)
        async with Scripted(tls=strange.server(strange.issue("x.example"))).running() as server:
            assert isinstance(await Upstream.connect(place(server, strange), login(), QUICK, Record()), Fault)
        async with Scripted(tls=made.server(), behind_starttls=b"250 x\r\n").running() as server:
            fault = await Upstream.connect(place(server, made), login(), QUICK, Record())
            assert isinstance(fault, Fault)
        for verb, step, kind in (
            ("DOT", Do.CLOSE, Unknown),
            ("DOT", Do.STALL, Unknown),
            ("RCPT", Do.RESET, Deferred),
            ("RCPT", Do.SPEW, Deferred),
            ("MAIL", b"421 4.3.2 no\r\n", Deferred),
        ):
            async with Scripted(on={verb: step}).running() as server:
                one_more = await Upstream.connect(clear(server), None, SHORT, Record())
                assert isinstance(one_more, Upstream)
                assert isinstance((await one_more.send(letter())).outcomes[0], kind)
        unreachable = await Upstream.connect(clear(Scripted(port=1)), None, QUICK, Record())
        assert isinstance(unreachable, Fault)
        assert "Connection refused" in unreachable.words

    with asyncio.Runner(loop_factory=factory()) as runner:
        runner.run(scenario())


async def test_a_cancelled_letter_is_cut_and_its_stage_can_be_asked() -> None:
    for verb in ("DATA", "DOT"):
        async with Scripted(on={verb: Do.STALL}).running() as server:
            record = Record()
            upstream = await Upstream.connect(clear(server), None, QUICK, record)
            assert isinstance(upstream, Upstream)
            task = asyncio.create_task(upstream.send(letter()))
            while "DATA" not in server.commands or (verb == "DOT" and not server.texts):
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (upstream.stage == "end-of-data") is (verb == "DOT")
            assert not upstream.usable
            assert record.transcript[-1] == Closed(record.transcript[-1].at, "client", "shutdown")


async def test_a_large_letter_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Scripted(keep=False).running() as server:
        upstream = await Upstream.connect(clear(server), None, QUICK, Record())
        assert isinstance(upstream, Upstream)
        task = asyncio.create_task(other())
        await upstream.send(Letter("a@x.com", ("b@x.com",), lambda: iter([CHUNK * 100])))
        task.cancel()
        await upstream.quit()
    assert turns > len(CHUNK) * 100 // (128 * 1024)


async def test_a_record_of_a_talkative_server_has_a_bound() -> None:
    long = b"".join(b"250-" + b"y" * 7000 + b"\r\n" for _ in range(4)) + OK
    recipients = tuple(f"r{number}@x.com" for number in range(200))
    async with Scripted(on={"RCPT": long}).running() as server:
        upstream = await Upstream.connect(clear(server), None, QUICK, Record())
        assert isinstance(upstream, Upstream)
        came = await upstream.send(letter(*recipients))
        events = upstream.record.transcript
        await upstream.quit()
    assert all(isinstance(one, Delivered) for one in came.outcomes)
    lines = [event for event in events if isinstance(event, Line)]
    assert sum(len(line.raw) for line in lines) <= MOST_OCTETS + 1000  # and the introduction's
    assert any(line.omitted for line in lines)
