"""Mail in the spool: taken with its session, changed only from the state that is expected, kept from the retention,
and carried over from a damaged database."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relayprobe.store import (
    Archive,
    Attempt,
    Filter,
    Mail,
    Recipient,
    Retention,
    Row,
    Spool,
    Store,
    StoreError,
    Text,
    by_hand,
    spool,
)
from relayprobe.wire.events import LineFacts
from tests.store.data_folder import DAY, NOW, Desk

Rows = Callable[..., Row]
TEXT = b"Subject: scan\r\n\r\nhello\r\n.\r\n"


def digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()


def mail(id: str = "a-1", host: str = "192.168.1.9", **more: object) -> Mail:
    plain = Mail(
        id=id,
        session=id.partition("-")[0],
        texts=(Text(0, len(TEXT), digest(TEXT), "crlf", LineFacts(bare_lf=1)),),
        arrived=NOW,
        host=host,
        user=None,
        sender="scanner@contoso.com",
        recipients=(Recipient("anna@contoso.com"), Recipient("bert@fabrikam.com")),
        route="office",
        changed=("the sender was put in brackets",),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def take(store: Store, row: Rows, *mails: Mail, raw: bytes = TEXT) -> None:
    for one in mails:
        store.begin(row(one.session))
        store.body(one.session, 0, raw)
        store.take(one)
        store.finish(row(one.session))
    store.flushed().result(10)


def open_spool(desk: Desk) -> Spool:
    found = Spool.open(desk.folder)
    desk._stack.callback(found.close)
    return found


def attempt(store: Store, one: Mail, number: int = 1, **after: object) -> None:
    begun = Attempt(number, one.id, NOW, "office", "127.0.0.1:25")
    store.change(spool.begun(begun))
    store.flushed().result(10)
    if after:
        ended = replace(begun, ended=NOW + 1, result="deferred", reply="451 4.3.2 later", dialogue=('{"a":1}', "{}"))
        store.change(spool.ended(ended, replace(one, **after)))  # type: ignore[arg-type]
        store.flushed().result(10)


def test_what_was_taken_is_found_again_as_it_was(desk: Desk, row: Rows) -> None:
    take(desk.store(synchronous="FULL"), row, mail())
    found = open_spool(desk)
    assert found.mail("a-1") == mail() == found.find("a") == found.find("last")
    assert b"".join(found.text(mail())) == TEXT
    assert found.counts() == {"waiting": 1}
    assert [one.id for one in found.mails()] == ["a-1"]


def test_an_attempt_is_on_the_disk_before_it_is_made_and_its_end_with_the_recipients(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail())
    attempt(store, mail())
    found = open_spool(desk)
    assert found.find("a").state == "sending"
    assert found.attempts("a-1")[0].ended is None
    recipients = (Recipient("anna@contoso.com", "delivered", "250 OK"), Recipient("bert@fabrikam.com", reply="451"))
    ended = Attempt(
        1, "a-1", NOW, "office", "127.0.0.1:25", NOW + 1, "mixed", "rcpt", "451", ("{}",), ({"id": "dots"},)
    )
    store.change(spool.ended(ended, replace(mail(), state="waiting", due=NOW + 60, recipients=recipients, why="451")))
    store.flushed().result(10)
    now = found.find("a")
    assert (now.state, now.due, now.attempts, now.recipients) == ("waiting", NOW + 60, 1, recipients)
    assert now.waiting == ("bert@fabrikam.com",)
    assert found.attempts("a-1") == [ended]


def test_an_attempt_at_a_mail_that_was_dropped_meanwhile_changes_nothing(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail())
    assert by_hand.drop(desk.folder, mail())
    attempt(store, mail(), state="delivered")
    found = open_spool(desk)
    assert found.find("a").state == "dropped"
    assert found.attempts("a-1") == []


def test_each_host_has_its_turn(desk: Desk, row: Rows) -> None:
    many = [mail(f"m{n}-1", "10.0.0.1") for n in range(5)]
    take(desk.store(), row, *many, mail("x-1", "10.0.0.2"), mail("y-1", "10.0.0.3", due=NOW + 60))
    found = open_spool(desk)

    def after(host: str, *busy: str) -> str | None:
        one = found.next_due("office", NOW, host, busy)
        return one.id if one else None

    assert [after(""), after("10.0.0.1"), after("10.0.0.2"), after("10.0.0.3")] == ["m0-1", "x-1", "m0-1", "m0-1"]
    assert after("10.0.0.1", "x-1") == "m0-1"
    assert found.next_due("another", NOW, "") is None
    assert found.next_time("office") == 0


def test_an_attempt_that_never_ended_counts_and_three_set_the_mail_aside(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail())
    for crash in (1, 2, 3):
        attempt(store, mail(), crash)
        store.close()
        store = desk.store()
        now = open_spool(desk).find("a")
        assert (now.crashes, now.state) == (crash, "held" if crash == 3 else "waiting")
    assert [one.result for one in open_spool(desk).attempts("a-1")] == ["interrupted"] * 3
    assert by_hand.release(desk.folder, mail())
    assert open_spool(desk).find("a").crashes == 0


def test_a_mail_whose_device_was_not_answered_is_not_sent_after_a_crash(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail(at_once=True))
    attempt(store, mail())
    store.close()
    desk.store()
    assert open_spool(desk).find("a").state == "dropped"


def test_by_hand(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, mail())
    found = open_spool(desk)
    assert by_hand.hold(desk.folder, mail())
    assert found.find("a").state == "held"
    assert not by_hand.hold(desk.folder, mail())
    assert by_hand.retry(desk.folder, found.find("a"), NOW)
    assert found.find("a").state == "waiting"
    attempt(store, mail())
    for change in (by_hand.hold, by_hand.release, by_hand.drop):
        assert not change(desk.folder, mail())  # it is being sent
    refused = (Recipient("anna@contoso.com", "delivered"), Recipient("bert@fabrikam.com", "refused", "550"))
    store.change(
        spool.ended(Attempt(1, "a-1", NOW, "o", "p", NOW), replace(mail(), state="failed", recipients=refused))
    )
    store.flushed().result(10)
    assert by_hand.retry(desk.folder, found.find("a"), NOW + 9)
    assert (found.find("a").waiting, found.find("a").arrived) == (("bert@fabrikam.com",), NOW + 9)
    by_hand.ask_for_route(desk.folder, "office", NOW)
    assert found.asked() == {"office": NOW}


def test_another_process_is_noticed(desk: Desk, row: Rows) -> None:
    take(desk.store(), row, mail())
    found = open_spool(desk)
    before = found.version()
    assert found.version() == before
    by_hand.hold(desk.folder, mail())
    assert found.version() != before


def test_mail_to_be_sent_is_kept_however_old(desk: Desk, row: Rows) -> None:
    store = desk.store(Retention(session_age=DAY, body_age=DAY, sessions=1, size=1))
    take(store, row, mail(), mail("b-1", state="delivered"), mail("c-1", state="failed"), mail("d-1", state="held"))
    desk.clock.now += 40 * DAY
    store.purge().result(10)
    found = open_spool(desk)
    assert sorted(row.id for row in desk.archive().sessions()) == ["a", "d"]
    assert b"".join(found.text(found.find("a"))) == TEXT
    assert found.mail("b-1") is None
    assert found.attempts("b-1") == []


def test_mail_of_our_own_goes_when_it_is_old(desk: Desk, row: Rows) -> None:
    store = desk.store(Retention(session_age=DAY))
    store.body("n1", 0, TEXT)
    store.take(mail("n1", session="n1", kind="notice", state="delivered"))
    store.body("n2", 0, TEXT)
    store.take(mail("n2", session="n2", kind="notice"))
    store.flushed().result(10)
    desk.clock.now += 2 * DAY
    store.purge().result(10)
    found = open_spool(desk)
    assert found.mail("n1") is None
    assert b"".join(found.text(found.find("n2"))) == TEXT


def test_on_a_full_disk_a_mail_is_not_taken_and_what_became_of_others_is_kept(
    desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = desk.store()
    take(store, row, mail())
    attempt(store, mail())
    write = store._write
    monkeypatch.setattr(store, "_write", lambda batch: (_ for _ in ()).throw(sqlite3.OperationalError("disk full")))
    store.change(spool.ended(Attempt(1, "a-1", NOW, "o", "p", NOW), replace(mail(), state="delivered")))
    store.begin(row("b"))
    store.body("b", 0, TEXT)
    store.take(mail("b-1"))
    with pytest.raises(StoreError):
        store.flushed().result(10)
    monkeypatch.setattr(store, "_write", write)
    store.flushed().result(10)
    found = open_spool(desk)
    assert found.find("a").state == "delivered"
    assert found.mail("b-1") is None


def test_mail_is_carried_over_from_a_damaged_database(desk: Desk, row: Rows) -> None:
    """A page is overwritten in the middle: what can be read of the queue goes on, and nothing else is made up."""
    whole, survived = 0, 0
    for seed in range(30):
        folder = desk.folder / f"seed{seed}"
        store = Store.open(folder, Retention(None, None, None, None), clock=desk.clock)
        take(store, row, *(mail(f"m{n:02}-1", raw_id(n)) for n in range(60)))
        store.close()
        damage(folder / "relayprobe.db", random.Random(seed))
        told: list[StoreError] = []
        store = Store.open(folder, Retention(None, None, None, None), clock=desk.clock, on_error=told.append)
        found = Spool.open(folder)
        for one in found.mails():
            assert {address.state for address in one.recipients} == {"waiting"}
            assert len(one.texts) == 1
            survived += 1
        if told:
            with Archive.open(folder) as archive:
                carried = {each.id for each in archive.sessions()}
                assert carried == {each.id for each in archive.sessions(Filter(peer="10.0.0.0/24"))}
        whole += not told
        found.close()
        store.close()
    assert survived > 30 * 60 * 0.7
    assert whole < 30  # some of it was noticed at once


def raw_id(n: int) -> str:
    return f"10.0.0.{n}"


def damage(path: Path, chance: random.Random) -> None:
    octets = bytearray(path.read_bytes())
    page = chance.randrange(1, len(octets) // 4096)
    octets[page * 4096 : page * 4096 + 4096] = chance.randbytes(4096)
    path.write_bytes(octets)


def test_mail_is_carried_over_where_the_first_octets_are_gone(desk: Desk, row: Rows) -> None:
    store = desk.store()
    take(store, row, *(mail(f"m{n:02}-1") for n in range(20)))
    store.close()
    path = desk.folder / "relayprobe.db"
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    desk.store()
    assert len(list(open_spool(desk).mails())) == 20
    assert "20 mails to be sent were carried over" in str(desk.errors[0])
