"""Sessions written and found again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from data_folder import NOW, Desk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relayprobe.store import Filter, Row, Store, StoreError, host_of

Rows = Callable[..., Row]


def test_a_session_comes_back_as_it_was(desk: Desk, row: Rows) -> None:
    store = desk.store()
    whole = row("a1")
    store.begin(replace(whole, ended=None, users=(), senders=(), findings=(), worst=None, messages=0, octets=0))
    store.append("a1", ['{"kind":"connected"}', '{"kind":"line"}'])
    store.body("a1", 0, b"Hi\r\n.")
    store.append("a1", ['{"kind":"body"}'])
    store.flushed().result()
    store.append("a1", ['{"kind":"closed"}'])
    store.finish(whole)
    store.flushed().result()
    assert store.backlog == 0
    archive = desk.archive()
    assert list(archive.sessions()) == [whole]
    assert archive.events("a1") == [f'{{"kind":"{kind}"}}' for kind in ("connected", "line", "body", "closed")]
    assert archive.body("a1", 0) == b"Hi\r\n."
    assert archive.body("a1", 1) is None
    assert not archive.purged("a1", 0)
    assert archive.events("zz") == []


def test_a_short_session_is_one_row_of_events(desk: Desk, row: Rows) -> None:
    store = desk.store(linger=60)
    for _ in range(5):
        store.append("a1", ["{}", "{}"])
    store.finish(row("a1"))
    store.flushed().result()
    assert store._connection.execute("SELECT count(*) FROM pieces").fetchone() == (1,)
    assert desk.archive().events("a1") == ["{}"] * 10


def test_what_nobody_waits_for_is_written_too(desk: Desk, row: Rows) -> None:
    store = desk.store(linger=0.01)
    store.begin(row("a1", ended=None))
    while store.backlog:
        os.sched_yield()
    assert desk.archive().find("a1").ended is None


def test_order_of_coming_does_not_matter(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.append("a1", ["{}"])
    store.flushed().result()
    assert desk.archive().find("a1").peer == ""
    store.finish(row("a1"))
    store.flushed().result()
    assert desk.archive().find("a1") == row("a1")


def test_a_large_body_goes_to_a_file(desk: Desk, row: Rows) -> None:
    store = desk.store()
    raw = bytes(range(256)) * 1000
    file = store.open_body("a1", 3)
    store.begin(row("a1", ended=None))
    file.write(raw[:100_000])
    store.flushed().result()
    archive = desk.archive()
    assert archive.unfinished_bodies("a1") == [3]
    assert archive.body("a1", 3) == raw[:100_000]
    file.write(raw[100_000:])
    assert file.size == len(raw)
    file.close()
    file.close()
    store.body("a1", 3, raw[:65536])
    store.flushed().result()
    assert archive.unfinished_bodies("a1") == []
    assert b"".join(archive.body_stream("a1", 3)) == raw
    assert (desk.folder / "bodies" / "a1.3").read_bytes() == raw
    with pytest.raises(FileExistsError):
        store.open_body("a1", 3)


def test_reading_while_writing(desk: Desk, row: Rows) -> None:
    store = desk.store()
    archive = desk.archive()

    def write(device: int) -> None:
        for n in range(50):
            id = f"d{device}-{n}"
            store.begin(row(id, ended=None))
            store.append(id, ["{}"])
            store.finish(row(id))
            store.flushed().result()
            assert archive.events(id) == ["{}"]

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, device) for device in range(4)]
        while not all(each.done() for each in done):
            assert all(each.peer for each in archive.sessions())
        for each in done:
            each.result()
    assert len(list(archive.sessions())) == 200


def test_a_list_is_not_disturbed_by_new_sessions(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for n in range(1200):
        store.finish(row(f"s{n:04}", NOW + n // 3))  # some at the same moment
    store.flushed().result()
    rows = desk.archive().sessions()
    seen = [next(rows).id]
    store.finish(row("new", NOW + 9999))
    store.flushed().result()
    seen += [each.id for each in rows]
    assert seen == [f"s{n:04}" for n in reversed(range(1200))]


def test_find(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for n, id in enumerate(["ab12", "ab13", "ab", "cd", *(f"e{n}" for n in range(9))]):
        store.finish(row(id, NOW - n))
    store.flushed().result()
    archive = desk.archive()
    assert archive.find("last").id == "ab12"
    assert archive.find("c").id == "cd"
    assert archive.find("ab13").id == "ab13"
    assert archive.find("ab").id == "ab"  # whole, though others begin so
    with pytest.raises(StoreError, match="'ab1' may be any of ab12, ab13: give more"):
        archive.find("ab1")
    with pytest.raises(StoreError, match=r"e0, e1, e2, e3, e4, \.\.\.: give more"):
        archive.find("e")
    for none in ("x", "", "%", "a_", "../../etc/passwd", "\0", "\ud800"):
        with pytest.raises(StoreError, match="there is no session"):
            archive.find(none)


def test_nothing_captured_yet(desk: Desk) -> None:
    with pytest.raises(StoreError, match=r"nothing captured in .* yet: start `relayprobe listen`"):
        desk.archive()
    assert not desk.folder.exists()
    desk.store()
    with pytest.raises(StoreError, match=r"nothing captured in .* yet"):
        desk.archive().find("last")
    assert list(desk.archive().sessions()) == []


def test_filters(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.finish(row("a", NOW - 30, peer="192.168.1.20:1", users=("Ärger@Contoso.com",)))
    store.finish(row("b", NOW - 20, peer="192.168.1.21:1", findings=("tls-missing-late",), senders=("Copier@x.de",)))
    store.finish(row("c", NOW - 10, peer="[2001:db8::1]:7", findings=(), users=()))
    store.finish(row("d", NOW, peer="[::ffff:192.168.1.20]:9"))
    store.flushed().result()
    archive = desk.archive()

    def ids(limit: int | None = None, **what: object) -> str:
        return "".join(each.id for each in archive.sessions(Filter(**what), limit))  # type: ignore[arg-type]

    assert ids() == "dcba"
    assert ids(2) == "dc"
    assert ids(peer="192.168.1.20") == "da"
    assert ids(peer="192.168.1.20:1") == "a"
    assert ids(peer="192.168.1.0/24") == "dba"
    assert ids(peer="192.168.1.21/32") == "b"
    assert ids(peer="2001:DB8:0::1") == ids(peer="[2001:db8::1]:7") == ids(peer="2001:db8::/32") == "c"
    assert ids(peer="::/0") == "c"
    assert ids(peer="192.168.1.2") == ""
    assert ids(finding="tls-missing") == "da"
    assert ids(finding="tls-missing-late") == "b"
    assert ids(since=NOW - 20) == "dcb"
    assert ids(user="ärger") == ids(user="ÄRGER@contoso") == "a"
    assert ids(sender="copier") == "b"
    assert ids(peer="192.168.1.0/24", user="scanner", limit=1) == "d"
    with pytest.raises(StoreError, match="is not a network"):
        ids(peer="192.168.1/99")


def test_earlier_sessions_of_a_device(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for n in range(5):
        store.finish(row(f"s{n}", NOW + n, peer=f"10.0.0.1:{n}"))
    store.finish(row("other", NOW + 1, peer="10.0.0.2:1"))
    store.flushed().result()
    archive = desk.archive()
    assert [each.id for each in archive.earlier("10.0.0.1", NOW + 4, 3, 9)] == ["s1", "s2", "s3"]
    assert [each.id for each in archive.earlier("10.0.0.1", NOW + 4, 9, 2)] == ["s2", "s3"]
    assert archive.earlier("10.0.0.1", NOW, 9, 9) == []


def test_after_close_nothing_is_taken(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.finish(row("a"))
    store.close()
    store.close()
    for late in (
        lambda: store.append("a", ["{}"]),
        lambda: store.begin(row("b")),
        lambda: store.body("a", 0, b""),
        lambda: store.open_body("a", 0),
        store.flushed,
        store.purge,
    ):
        with pytest.raises(StoreError, match="closed"):
            late()
    assert desk.archive().find("last").id == "a"


def test_a_waiter_that_went_away_does_no_harm(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.finish(row("a"))
    store.flushed().cancel()
    store.flushed().result()


@pytest.mark.parametrize("id", ["", "../x", "a/b", ".", "a.1", "a\0", "a\nb", "ä", "\ud800", "x" * 65])
def test_ids_that_cannot_name_a_file_are_refused(desk: Desk, row: Rows, id: str) -> None:
    store = desk.store()
    for attempt in (
        lambda: store.begin(row(id)),
        lambda: store.append(id, ["{}"]),
        lambda: store.body(id, 0, b""),
        lambda: store.open_body(id, 0),
    ):
        with pytest.raises(StoreError, match="id of a session"):
            attempt()
    assert not list((desk.folder / "bodies").iterdir())
    if "\ud800" not in id:
        assert desk.archive().body(id, 0) is None


stores: list[Store] = []
anything = st.text(st.characters(codec=None, categories=None))  # NUL, quotes, lone surrogates, all of it


@example(names=["\ud800"], word="\ud800", value="")
@given(names=st.lists(anything, max_size=3), word=anything, value=st.recursive(anything, st.lists, max_leaves=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_garbage_is_kept(desk: Desk, row: Rows, names: list[str], word: str, value: object) -> None:
    store = desk.store() if not desk.folder.exists() else stores[-1]
    stores.append(store)
    events = [json.dumps(value), json.dumps({"raw": word}, indent=1)]
    given_row = row("x", users=tuple(names), senders=(word,), findings=(word,), peer=word, context=json.dumps(word))
    store.body("x", 0, word.encode("utf-8", "surrogatepass"))
    store.finish(given_row)
    before = len(stores)
    store.append("x", events)
    store.append(f"s{before}", events)
    store.flushed().result()
    with desk.archive() as archive:
        found = archive.find("x")
        assert replace(found, peer="") == replace(given_row, peer="")
        assert found.peer == word.encode("utf-8", "backslashreplace").decode()
        assert [json.loads(event) for event in archive.events(f"s{before}")] == [value, {"raw": word}]
        assert archive.body("x", 0) == word.encode("utf-8", "surrogatepass")
        assert list(archive.sessions(Filter(user=names[0] if names else "scanner"))) == [found] * bool(names)
    assert not desk.errors


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("1.2.3.4:567", "1.2.3.4"),
        ("[::1]:567", "::1"),
        ("::1", "::1"),
        ("[2001:DB8::0:1]", "2001:db8::1"),
        ("[::ffff:1.2.3.4]:5", "1.2.3.4"),
        ("[fe80::1%eth0]:5", "fe80::1%eth0"),
        ("Printer.example:5", "printer.example"),
        ("", ""),
    ],
)
def test_host_of(peer: str, host: str) -> None:
    assert host_of(peer) == host


def test_what_a_session_is_found_by(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.finish(row("a", NOW - 30, recipients=("Anna@Contoso.com", "bo@x.de"), codes=("535", "5.7.3")))
    store.finish(row("b", NOW - 20, recipients=("carl@contoso.com",), codes=("550", "5.7.30")))
    store.finish(row("c", NOW - 10, recipients=("\udce4@x.de",), device="Canon imageRUNNER"))
    store.flushed().result()
    archive = desk.archive()

    def ids(**what: object) -> str:
        return "".join(each.id for each in archive.sessions(Filter(**what)))  # type: ignore[arg-type]

    assert ids(recipient="anna@") == ids(text="ANNA") == "a"
    assert ids(code="535") == ids(code="5.7.3") == ids(code="535 5.7.3") == "a"
    assert ids(code="535 5.7.30") == ids(code="5.7") == ""
    assert ids(until=NOW - 20) == "a"
    assert ids(since=NOW - 20, until=NOW) == "cb"
    assert ids(text="b") == "ba", "an id, or a name with it in"
    assert ids(text="192.168.1.2") == "cba"


def test_pages(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for number in range(5):
        store.finish(row(f"s{number}", NOW + number // 2))
    store.flushed().result()
    archive = desk.archive()
    first = archive.page(Filter(), 2)
    second = archive.page(Filter(), 2, first.next)
    last = archive.page(Filter(), 2, second.next)
    assert [[row.id for row in page.rows] for page in (first, second, last)] == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    assert last.next is None
    with pytest.raises(StoreError, match="take `next`"):
        archive.page(Filter(), 2, "1; DROP TABLE sought")


def test_a_page_ends_where_a_clock_was_wrong(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for number in range(3):
        store.finish(row(f"s{number}", 0.1 + number * 1.1))  # the third: 2.3000000000000003
    store.flushed().result()
    first = desk.archive().page(Filter(), 1)
    assert [each.id for each in desk.archive().page(Filter(), 1, first.next).rows] == ["s1"]


def test_a_session_of_which_only_events_are_known(desk: Desk) -> None:
    store = desk.store()
    store.append("a", ['"event"'])
    store.flushed().result()
    archive = desk.archive()
    assert [each.id for each in archive.page(Filter(), 5).rows] == ["a"]
    assert [each.id for each in archive.sessions(Filter(since=NOW, until=NOW + 1))] == ["a"]


def test_a_device_and_its_history(desk: Desk, row: Rows) -> None:
    store = desk.store()
    for number in range(4):
        store.finish(row(f"s{number}", NOW + number, peer=f"192.168.1.{20 + number % 2}:1"))
    store.flushed().result()
    archive = desk.archive()
    assert [(seen.host, seen.sessions, seen.last.id) for seen in archive.devices(10)] == [
        ("192.168.1.21", 2, "s3"),
        ("192.168.1.20", 2, "s2"),
    ]
    assert [each.id for each in archive.history("192.168.1.20", 10)] == ["s0", "s2"]
