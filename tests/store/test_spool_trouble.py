"""A mail is taken or refused, and its device hears which, whatever happens between its text and its 250; and those who
read the queue go on with the database that takes a damaged one's place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayprobe.store import Row, Store, StoreDamaged, StoreError, folder
from relayprobe.store.folder import DATABASE
from tests.store.data_folder import Desk
from tests.store.test_spool import TEXT, mail, open_spool, take

Rows = Callable[..., Row]
SOON = 0.01


class FullDisk:
    """Transactions fail while it is full."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        self._write = store._write
        monkeypatch.setattr(store, "_write", self._or_not)

    def _or_not(self, batch: Any) -> Any:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return self._write(batch)


def test_a_mail_whose_transaction_failed_is_not_taken_though_the_next_one_works(
    desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may begin a transaction between `take` and `flushed`: nobody waits for it, but the mail is in it."""
    store = desk.store(linger=SOON)
    disk = FullDisk(store, monkeypatch)
    store.begin(row("a"))
    store.body("a", 0, TEXT)
    taken = store.take(mail())
    assert isinstance(taken.exception(10), StoreError)
    disk.full = False
    store.flushed().result(10)
    assert open_spool(desk).mail("a-1") is None


def test_a_mail_is_taken_though_its_text_needed_two_transactions(
    desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a large text is still on the disk for good before it is."""
    synced: list[Path] = []
    durable = folder.make_durable
    monkeypatch.setattr(folder, "make_durable", lambda paths: (synced.extend(paths), durable(paths)))
    store = desk.store(synchronous="FULL")
    disk = FullDisk(store, monkeypatch)
    store.begin(row("a"))
    body = store.open_body("a", 0)
    body.write(TEXT)
    body.close()
    store.body("a", 0, TEXT, in_file=True)
    assert isinstance(store.flushed().exception(10), StoreError)
    disk.full = False
    taken = store.take(mail())
    store.flushed().result(10)
    assert taken.exception(0) is None
    assert synced == [folder.body_path(desk.folder, "a", 0)]
    assert b"".join(open_spool(desk).text(mail())) == TEXT


def test_a_mail_whose_text_was_given_up_is_not_taken_and_another_is(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.begin(row("a"))
    lost = store.take(mail())
    store.begin(row("b"))
    store.body("b", 0, TEXT)
    taken = store.take(mail("b-1"))
    store.flushed().result(10)
    assert isinstance(lost.exception(0), StoreError)
    assert taken.exception(0) is None
    assert [one.id for one in open_spool(desk).mails()] == ["b-1"]


def test_what_is_not_written_before_the_end_was_not_taken(
    desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = desk.store()
    FullDisk(store, monkeypatch)
    store.begin(row("a"))
    store.body("a", 0, TEXT)
    taken = store.take(mail())
    store.close()
    assert isinstance(taken.exception(10), StoreError)


def test_who_reads_goes_on_with_the_database_that_takes_the_place_of_a_damaged_one(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail("a-1"))
    queue, archive = open_spool(desk), desk.archive()
    assert [one.id for one in queue.mails()] == ["a-1"]
    store._begin_anew(StoreError("met by the thread"))
    take(store, row, mail("b-1"))
    assert sorted(one.id for one in queue.mails()) == ["a-1", "b-1"]
    assert sorted(one.id for one in archive.sessions()) == ["a", "b"]


def test_damage_that_a_reader_meets_is_looked_for_and_set_aside(desk: Desk, row: Rows) -> None:
    """What is written may never touch the damaged place, and the queue could not be read for ever."""
    many = [mail(f"m{number:02}-1") for number in range(60)]
    store = desk.store()
    take(store, row, *many)
    store.close()
    store = desk.store()
    raw = (desk.folder / DATABASE).read_bytes()
    leaves = [at for at in range(0, len(raw), 4096) if raw[at] == 0x0D and b'"crlf",{' in raw[at : at + 4096]]
    with (desk.folder / DATABASE).open("r+b") as file:
        file.seek(leaves[len(leaves) // 2])
        file.write(b"\xff" * 4096)
    queue = open_spool(desk)
    with pytest.raises(StoreDamaged):
        list(queue.mails())
    store.doubt()
    store.flushed().result(10)
    assert [type(error) for error in desk.errors] == [StoreDamaged]
    left = list(queue.mails())
    assert len(many) // 2 < len(left) < len(many)
    assert {one.id for one in left} <= {one.id for one in many}
    store.doubt()  # it is sound now
    store.flushed().result(10)
    assert len(desk.errors) == 1
