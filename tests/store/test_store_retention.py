"""Captures go when they are old, many or large; and then they are gone from every file."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from data_folder import DAY, FOREVER, NOW, Desk

from relayprobe.store import Retention, Row, Store

Rows = Callable[..., Row]
MARKER = b"Very Private Words"


def capture(store: Store, row: Row, large: int = 0) -> None:
    """A session with a marker in all that can hold one; `large`: octets of a second message, in a file."""
    secret = MARKER.decode()
    store.append(row.id, [f'{{"raw":"MAIL FROM:<{secret}> {row.id}"}}'] * 9)
    store.body(row.id, 0, b"Subject: keep\r\n" + MARKER * 9)
    if large:
        file = store.open_body(row.id, 1)
        file.write(MARKER * (large // len(MARKER)))
        file.close()
        store.body(row.id, 1, MARKER * 3640)
    store.finish(replace(row, senders=(secret,), users=(secret,)))


def ids(desk: Desk) -> list[str]:
    return [each.id for each in desk.archive().sessions()]


def age(folder: Path, seconds: float) -> None:
    """Body files as they are when their sessions are so old."""
    for path in folder.iterdir():
        os.utime(path, (seconds, seconds))


def test_by_age(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, session_age=30 * DAY))
    capture(store, row("old", NOW - 31 * DAY), large=200_000)
    store.begin(row("going-on", NOW - 90 * DAY, ended=None))
    store.finish(row("new", NOW - 29 * DAY))
    store.purge().result()
    assert ids(desk) == ["new", "going-on"]
    assert not list((desk.folder / "bodies").iterdir())
    assert MARKER not in desk.octets()


def test_by_number(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, sessions=300))
    store.begin(row("going-on", NOW - 99999, ended=None))
    for n in range(1000):
        capture(store, row(f"s{n}", NOW + n))
    store.purge().result()
    assert ids(desk) == [*(f"s{n}" for n in reversed(range(701, 1000))), "going-on"]


def test_by_number_without_being_asked_once_much_has_come(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, sessions=1000))
    most = 0
    for n in range(5000):
        store.finish(row(f"s{n}", NOW + n))
        if n % 25 == 24:
            store.flushed().result()
            most = max(most, store._connection.execute("SELECT count(*) FROM sessions").fetchone()[0])
    assert most <= 1500


def test_by_size(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, size=4_000_000))
    for n in range(30):
        capture(store, row(f"s{n}", NOW + n), large=200_000)
    store.purge().result()
    kept = ids(desk)
    assert kept == [f"s{n}" for n in reversed(range(30 - len(kept), 30))]
    assert 8 <= len(kept) <= 20
    assert len(list((desk.folder / "bodies").iterdir())) == len(kept)
    assert len(desk.octets()) < 4_000_000


def test_a_small_folder_is_left_alone_whatever_the_log(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, size=1_500_000))
    for n in range(200):
        store.finish(row(f"s{n}", NOW + n))
        store.flushed().result()  # a log of many small transactions, larger than what is in it
    store.purge().result()
    assert len(ids(desk)) == 200


def test_bodies_go_first(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, body_age=7 * DAY), trim=lambda raw: raw[:15])
    capture(store, row("old", NOW - 8 * DAY))
    cut = store.open_body("old", 2)
    cut.write(b"Subject: cut!!\n" + MARKER * 9999)
    cut.close()
    store.body("new", 0, b"whole")
    store.finish(row("new", NOW))
    store.purge().result()
    archive = desk.archive()
    assert archive.body("old", 0) == b"Subject: keep\r\n"
    assert archive.body("old", 2) == b"Subject: cut!!\n"
    assert archive.purged("old", 0)
    assert archive.purged("old", 2)
    assert archive.unfinished_bodies("old") == []
    assert archive.body("new", 0) == b"whole"
    assert not archive.purged("new", 0)
    assert not list((desk.folder / "bodies").iterdir())
    assert len(archive.events("old")) == 9
    assert MARKER * 2 not in desk.octets()


def test_a_trim_that_fails_keeps_nothing(desk: Desk, row: Rows) -> None:
    def fails(raw: bytes) -> bytes:
        raise ValueError(raw)

    store = desk.store(replace(FOREVER, body_age=7 * DAY), trim=fails)
    capture(store, row("old", NOW - 8 * DAY))
    store.purge().result()
    assert desk.archive().body("old", 0) == b""
    assert desk.archive().purged("old", 0)


@pytest.mark.parametrize("seed", range(5))
def test_purged_is_gone_from_all_files(desk: Desk, row: Rows, seed: int) -> None:
    """Sessions of all sizes, in any order of age, some still open, beside others that stay."""
    chance = random.Random(seed)
    store = desk.store(replace(FOREVER, session_age=30 * DAY))
    for n in range(1500):
        id = f"{chance.getrandbits(64):016x}"
        if chance.random() < 0.5:
            store.append(id, [f'{{"raw":"{MARKER.decode()} {"x" * chance.randrange(200)}"}}'] * chance.randrange(30))
            store.body(id, 0, MARKER * chance.randrange(200))
            names = (MARKER.decode(),) * chance.randrange(30)
            store.finish(row(id, NOW - 40 * DAY, senders=names, recipients=names))
        else:
            store.append(id, ['{"raw":"stays"}'] * chance.randrange(100))
            store.body(id, 0, b"stays" * chance.randrange(2000))
            store.finish(row(id, NOW + n))
        if chance.random() < 0.1:
            store.flushed().result()
        if chance.random() < 0.01:
            store.purge().result()
    store.purge().result()
    assert MARKER.lower() not in desk.octets().lower()  # what is searched is in small letters


def test_a_reader_that_lingers_does_not_stop_a_purge(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, session_age=30 * DAY))
    capture(store, row("old", NOW))
    store.flushed().result()
    reader = sqlite3.connect(f"file:{desk.folder}/relayprobe.db?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sessions").fetchall()
    desk.clock.now += 31 * DAY
    store.purge().result()
    assert ids(desk) == []
    reader.close()
    store.purge().result()
    assert MARKER not in desk.octets()
    assert not desk.errors


def test_it_is_applied_at_opening(desk: Desk, row: Rows) -> None:
    store = desk.store()
    capture(store, row("old", NOW - 31 * DAY), large=100_000)
    store.close()
    store = desk.store(Retention())
    store.purge().result()
    assert ids(desk) == []
    assert MARKER not in desk.octets()


def test_strays_go_when_they_are_old(desk: Desk, row: Rows) -> None:
    store = desk.store(Retention())
    capture(store, row("kept", NOW - 6 * DAY), large=100_000)
    bodies = desk.folder / "bodies"
    (bodies / "lost.0").write_bytes(MARKER)
    (bodies / "not ours").write_bytes(b"")
    (desk.folder / "relayprobe.db.damaged-20200101T000000Z").write_bytes(MARKER)
    store.flushed().result()
    store.purge().result()
    assert (bodies / "lost.0").exists()  # it may have a session coming
    age(bodies, NOW - 8 * DAY)
    age(desk.folder, NOW - 8 * DAY)
    store.purge().result()
    assert sorted(path.name for path in bodies.iterdir()) == ["kept.1", "not ours"]
    assert not list(desk.folder.glob("*damaged*"))


def test_strays_go_before_sessions_when_there_is_too_much(desk: Desk, row: Rows) -> None:
    store = desk.store(replace(FOREVER, size=1_000_000))
    capture(store, row("kept"))
    lost = desk.folder / "lost"
    lost.write_bytes(b"x" * 2_000_000)
    os.utime(lost, (NOW - DAY, NOW - DAY))
    lost.rename(desk.folder / "bodies" / "lost.0")  # old from the first moment, for a sweep may be under way
    store.purge().result()
    assert ids(desk) == ["kept"]
