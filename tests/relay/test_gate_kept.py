"""A device hears 250 of its own mail being on the disk, and of no other's."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from relayprobe.capture.answers import Talk
from relayprobe.relay.devices import devices_of
from relayprobe.relay.gate import Desk, Rules
from relayprobe.relay.routes import Route
from relayprobe.store import Mail, Row, Store, Text
from relayprobe.wire.command import path
from relayprobe.wire.events import LineFacts


async def test_a_mail_that_did_not_get_to_the_disk_is_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "data", synchronous="FULL", linger=0.01)
    write, full = store._write, True

    def on_a_full_disk(batch: Any) -> Any:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return write(batch)

    async def taken(mails: object) -> None:
        return None

    monkeypatch.setattr(store, "_write", on_a_full_disk)
    kept = []

    def keep(mail: Mail) -> Any:
        kept.append(store.take(mail))
        return kept[-1]

    rules = Rules(devices=devices_of(["127.0.0.1"]), routes=(Route("sink", "smart-host"),))
    desk = Desk(
        name="relay",
        rules=rules,
        message_size=1000,
        recipients=10,
        keep=keep,
        taken=taken,
        refused=lambda host, user, why: None,
        seen=lambda host, user, sender: None,
        queued=lambda: 0,
        now=lambda: 0.0,
    )
    replies = []
    for id in ("a", "b"):
        gate, talk = desk.answers_for("127.0.0.1", id), Talk("127.0.0.1", greeted=True)
        store.begin(Row(id=id, started=0.0, ended=None, peer="127.0.0.1:1", listener="x"))
        store.body(id, 0, b"text\r\n.\r\n")
        assert gate.mail(path(b"FROM:<scanner@contoso.com>"), talk).startswith("250")
        talk.sender = "scanner@contoso.com"
        assert gate.rcpt(path(b"TO:<anna@contoso.com>"), talk).startswith("250")
        gate.keep(id, [Text(0, 9, b"", "crlf", LineFacts())], talk)
        if full:
            kept[0].exception(10)  # a transaction that nobody waited for
            full = False
        store.flushed().result(10)
        replies.append((await gate.answer(id, b"", 9, talk))[:3])
    store.close()
    assert replies == ["451", "250"]
