"""What shows only in several visits of a device: the listener remembers them, and those still open. Real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from relayprobe.capture.listener import Judged
from tests.capture.conftest import Running
from tests.device import Device, Script, play

LOGIN = [
    "S: 220",
    "C: EHLO mfp01.contoso.com",
    "S: 250",
    "C: STARTTLS",
    "S: 220",
    "T: starttls",
    "C: EHLO mfp01.contoso.com",
    "S: 250",
    "C: AUTH LOGIN",
    "S: 334",
    "C: c2Nhbm5lckBjb250b3NvLmNvbQ==",
    "S: 334",
]
GOOD = [*LOGIN, "C: U2Nhbi0yMDI0IQ==", "S: 235"]
WRONG = [*LOGIN, "C: d3Jvbmc=", "S: 535", "C: QUIT", "S: 221"]
QUIT = ["C: QUIT", "S: 221"]


def found(judged: Judged, rule: str) -> str | None:
    return next((finding.severity for finding in judged.findings if finding.rule.id == rule), None)


async def four_at_once(running: Running) -> None:
    devices = [Device(running.address, "cap", {}) for _ in range(4)]
    for device in devices:
        await asyncio.to_thread(device.connect)
        await asyncio.to_thread(device.run, GOOD)
    for device in devices:
        await asyncio.to_thread(device.run, QUIT)
        device.close()
    await running.session(3)


async def test_a_fourth_connection_at_once_is_noticed_by_all_of_them(start: Any) -> None:
    running = await start()
    await four_at_once(running)
    assert [found(judged, "parallel-connections") for judged in running.judged] == ["warning"] * 4


async def test_three_at_once_are_no_fault(start: Any) -> None:
    running = await start()
    for _ in range(3):
        await running.play(play, Script("one", steps=[*GOOD, *QUIT]), {}, running.address)
    assert [found(judged, "parallel-connections") for judged in running.judged] == [None] * 3


async def test_a_wrong_password_tried_again_at_once(start: Any) -> None:
    running = await start()
    for _ in range(3):
        await running.play(play, Script("one", steps=WRONG), {}, running.address)
    again = [found(judged, "fast-retry-after-permanent-error") for judged in running.judged]
    assert again == [None, "warning", "warning"]


async def test_what_was_found_live_is_found_again_in_the_store(start: Any) -> None:
    from relayprobe.dossier.judging import judge_stored

    running = await start()
    await four_at_once(running)
    await asyncio.wrap_future(running.store.flushed())
    with running.archive() as archive:
        again = [judge_stored(archive, row) for row in archive.sessions()]
    for judgement in again:
        assert "parallel-connections" in {finding.rule.id for finding in judgement.findings}
