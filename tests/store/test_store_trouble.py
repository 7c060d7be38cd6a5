"""What a data folder has to bear: other processes, crashes, full disks, damage, links, other versions."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from data_folder import NOW, Desk

from relayprobe.store import Filter, Row, Store, StoreDamaged, StoreError, StoreFull, free, schema, writer

Rows = Callable[..., Row]


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})


OPEN_AND_SAY = """
    import sys
    from pathlib import Path
    from relayprobe.store import Store, StoreError
    try:
        Store.open(Path(sys.argv[1])).close()
    except StoreError as error:
        print(error)
"""


def test_one_process_writes(desk: Desk) -> None:
    store = desk.store()
    with run(OPEN_AND_SAY, desk.folder) as other:
        said, _ = other.communicate()
    assert f"another relayprobe (process {os.getpid()}) is writing to {desk.folder}: stop it, or give" in said
    with pytest.raises(StoreError, match="another relayprobe"):
        desk.store()
    store.close()
    with run(OPEN_AND_SAY, desk.folder) as other:
        said, _ = other.communicate()
    assert said == ""


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_modes(desk: Desk, row: Rows, umask: int) -> None:
    before = os.umask(umask)
    try:
        desk.folder = desk.folder / "below"
        store = desk.store()
        store.open_body("a", 0).close()
        store.finish(row("a"))
        store.flushed().result()
    finally:
        os.umask(before)
    for path in (desk.folder.parent, desk.folder, *desk.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert {path.name for path in desk.folder.iterdir()} >= {"relayprobe.db", "relayprobe.db-wal", "lock", "bodies"}


def test_a_folder_is_closed_to_others_unless_it_holds_other_things(desk: Desk) -> None:
    desk.folder.mkdir()
    desk.folder.chmod(0o755)
    (desk.folder / "holiday.jpeg").write_bytes(b"")
    for _ in range(2):
        desk.store().close()
        assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o755
        assert stat.S_IMODE((desk.folder / "bodies").stat().st_mode) == 0o700
    (desk.folder / "holiday.jpeg").unlink()
    desk.store().close()
    assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file(desk: Desk) -> None:
    desk.folder.write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be used"):
        desk.store()


def test_links_are_not_followed(desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    store = desk.store()
    (desk.folder / "bodies" / "x.0").symlink_to(target)
    (desk.folder / "bodies" / "x.1").symlink_to(tmp_path / "nowhere")
    for n in (0, 1):
        with pytest.raises(OSError, match="exists"):
            store.open_body("x", n)
    store.close()
    for name in ("lock", "relayprobe.db", "bodies"):
        path = desk.folder / name
        path.rename(tmp_path / f"{name}.moved")
        path.symlink_to(tmp_path / f"{name}.moved")
        with pytest.raises(StoreError, match="is a link"):
            desk.store()
        path.unlink()
        (tmp_path / f"{name}.moved").rename(path)
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_body_file_that_became_a_link_is_not_read(desk: Desk, row: Rows, tmp_path: Path) -> None:
    store = desk.store()
    store.open_body("x", 0).close()
    store.finish(row("x"))
    store.flushed().result()
    (tmp_path / "target").write_bytes(b"precious")
    path = desk.folder / "bodies" / "x.0"
    path.unlink()
    path.symlink_to(tmp_path / "target")
    with pytest.raises(StoreError):
        desk.archive().body("x", 0)


def test_killed(desk: Desk) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from relayprobe.store import Row, Store
        store = Store.open(Path(sys.argv[1]))
        store.begin(Row("a", time.time(), None, "10.0.0.1:1", ":25"))
        body = store.open_body("a", 0)
        body.write(b"the beginning")
        store.append("a", ['"flushed"'])
        store.flushed().result()
        store.append("a", ['"not waited for"'])
        while store.backlog:
            time.sleep(0.01)
        print("now", flush=True)
        for n in range(10**9):
            store.append("b", [f'"{n}"'])
            time.sleep(0)
    """
    with run(script, desk.folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert desk.archive().find("a").ended is None
    desk.clock.now = NOW * 2
    desk.store()
    archive = desk.archive()
    session = archive.find("a")
    assert session.ended is not None
    assert session.started <= session.ended < NOW * 2  # when it was last heard of, not when it was found
    assert archive.events("a") == ['"flushed"', '"not waited for"']
    assert archive.unfinished_bodies("a") == [0]
    assert archive.body("a", 0) == b"the beginning"
    later = archive.events("b")
    assert later == [f'"{n}"' for n in range(len(later))]


def test_a_body_file_is_found_although_its_row_was_lost(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.begin(row("a", ended=None))
    store.close()
    (desk.folder / "bodies" / "a.7").write_bytes(b"cut")
    desk.store()
    assert desk.archive().unfinished_bodies("a") == [7]


# Versions


def test_an_older_database_is_brought_up_to_date(desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    store = desk.store()
    store.finish(row("a"))
    store.close()

    def two(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE sessions ADD COLUMN colour TEXT DEFAULT 'blue'")

    def three(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE sessions SET colour = 'light ' || colour")

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE sessions SET colour = 'red'")
        raise sqlite3.OperationalError("no such function")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, two, three, fails))
    with pytest.raises(StoreError, match="an older relayprobe wrote"):
        desk.archive()
    with pytest.raises(StoreError, match="no such function"):
        desk.store()
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
    store = desk.store()
    assert store._connection.execute("SELECT id, colour FROM sessions").fetchall() == [("a", "light blue")]
    assert store._connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert desk.archive().find("a") == row("a")


def test_what_an_older_one_captured_is_found(desk: Desk, row: Rows) -> None:
    desk.store().close()
    path = desk.folder / "relayprobe.db"
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        schema.migrate(old, desk.folder, schema.MIGRATIONS[:2])
        put = (
            "INSERT INTO sessions (id, started, ended, touched, peer, host, listener, context, users, senders, "
            "findings, messages, octets) "
            "VALUES (?, ?, 0, 0, ?, '192.168.1.20', '', '{}', ?, ?, '[\"tls-missing\"]', 1, 5)"
        )
        old.execute(put, ("a", NOW, "192.168.1.20:1", '["Anna"]', '["anna@contoso.com"]'))
        old.execute(put, ("b", NOW + 1, "192.168.1.20:2", "[", "[]"))
        old.execute(put, ("c", None, None, None, None))
    desk.store()
    archive = desk.archive()
    assert [each.id for each in archive.page(Filter(), 5).rows] == ["a"]  # the others cannot be read
    found = archive.page(Filter(peer="192.168.1.0/24", finding="tls-missing", user="anna", sender="ANNA@"), 5).rows
    assert [(each.id, each.recipients, each.verdict) for each in found] == [("a", (), "")]


def test_a_newer_database_is_left_alone(desk: Desk) -> None:
    desk.store().close()
    with closing(sqlite3.connect(desk.folder / "relayprobe.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (desk.folder / "relayprobe.db").read_bytes()
    for attempt in (desk.store, desk.archive):
        with pytest.raises(StoreError, match=r"newer relayprobe wrote .*: upgrade relayprobe, or name another"):
            attempt()
    assert (desk.folder / "relayprobe.db").read_bytes() == before


# Full disks


def fill(store: Store) -> None:
    store.flushed().exception()
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(store: Store) -> None:
    store._connection.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_is_said_and_room_is_used_again(desk: Desk, row: Rows) -> None:
    store = desk.store()
    fill(store)
    store.begin(row("a", ended=None))
    store.append("a", ['"1"'])
    store.body("a", 0, b"x" * 60_000)
    with pytest.raises(StoreFull, match=r"no room left .*: make room"):
        store.flushed().result()
    assert [type(error) for error in desk.errors] == [StoreFull]
    store.append("a", ['"2"'])
    with pytest.raises(StoreFull):
        store.flushed().result()
    assert len(desk.errors) == 2
    make_room(store)
    store.append("a", ['"3"'])
    store.finish(row("b"))
    store.flushed().result()
    archive = desk.archive()
    assert archive.find("a") == row("a", ended=None)
    assert archive.events("a") == ['"1"', '"2"', '"3"']
    assert archive.body("a", 0) == b"x" * 60_000
    assert archive.find("b") == row("b")
    assert store.backlog == 0


def test_what_cannot_be_written_does_not_fill_the_memory(desk: Desk, row: Rows) -> None:
    store = desk.store()
    fill(store)
    store.begin(row("a", ended=None))
    for n in range(40):
        store.body("a", n, b"x" * 1_000_000)
        store.finish(row(f"gone{n}"))
        assert isinstance(store.flushed().exception(), StoreFull)
        assert store.backlog <= writer._KEPT
    make_room(store)
    store.finish(row("b"))
    store.flushed().result()
    assert desk.archive().find("a") == row("a", ended=None)


def test_room_is_found_without_anything_new(desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_RETRY", 0.01)
    store = desk.store()
    fill(store)
    store.finish(row("a"))
    store.body("a", 0, b"x" * 60_000)
    assert isinstance(store.flushed().exception(), StoreFull)
    make_room(store)
    while store.backlog:
        os.sched_yield()
    assert desk.archive().find("a") == row("a")
    assert len(desk.errors) == 1


def test_data_that_cannot_be_stored_harms_nobody_else(desk: Desk, row: Rows) -> None:
    store = desk.store()
    store.finish(row("a", octets=2**70))
    with pytest.raises(StoreError):
        store.flushed().result()
    store.finish(row("b"))
    store.flushed().result()
    assert [each.id for each in desk.archive().sessions()] == ["b"]


def test_a_log_that_fails_does_not_stop_the_store(desk: Desk, row: Rows) -> None:
    def fails(error: StoreError) -> None:
        raise RuntimeError

    store = Store.open(desk.folder, on_error=fails)
    with closing(store):
        fill(store)
        store.body("a", 0, b"x" * 60_000)
        assert isinstance(store.flushed().exception(), StoreFull)
        make_room(store)
        store.flushed().result()


def test_a_limit_of_the_system(desk: Desk) -> None:
    """The same through the system's own refusal: no file of this process may grow beyond 1 MB."""
    script = """
        import sys, resource
        from pathlib import Path
        from relayprobe.store import Row, Store, StoreFull
        store = Store.open(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        body = store.open_body("a", 0)
        try:
            body.write(b"x" * 2_000_000)
        except OSError as error:
            print("body refused at", body.size)
        for n in range(40):
            store.body("b", n, b"x" * 60_000)
        print("full", isinstance(store.flushed().exception(), StoreFull))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.append("c", ["{}"])
        print("again", store.flushed().exception())
        store.close()
    """
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with run(script, desk.folder) as process:
        said, _ = process.communicate()
    assert said.splitlines() == ["body refused at 1000000", "full True", "again None"]
    archive = desk.archive()
    assert len(archive.body("a", 0) or b"") == 1_000_000
    assert [len(archive.body("b", n) or b"") for n in range(40)] == [60_000] * 40


def test_free(tmp_path: Path) -> None:
    assert free(tmp_path) > 0


# Damage


def some_sessions(desk: Desk, row: Rows, number: int = 300) -> None:
    store = desk.store()
    for n in range(number):
        store.append(f"s{n}", [f'"{"x" * 300}{n}"'])
        store.finish(row(f"s{n}", NOW + n))
    store.close()


def test_a_damaged_database_is_set_aside(desk: Desk, row: Rows) -> None:
    desk.folder.mkdir()
    (desk.folder / "relayprobe.db").write_bytes(b"this is not a database, " * 1000)
    with pytest.raises(StoreError, match=r"damaged .*: start `relayprobe listen`"):
        desk.archive()
    store = desk.store()
    assert [type(error) for error in desk.errors] == [StoreDamaged]
    (aside,) = desk.folder.glob("relayprobe.db.damaged-*")
    assert aside.name in str(desk.errors[0])
    assert aside.read_bytes().startswith(b"this is not")
    store.finish(row("a"))
    store.flushed().result()
    assert desk.archive().find("last").id == "a"


def test_damage_met_while_running(desk: Desk, row: Rows) -> None:
    some_sessions(desk, row)
    store = desk.store()
    store.purge().result()
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path = desk.folder / "relayprobe.db"
    raw = bytearray(path.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    path.write_bytes(raw)
    store._connection.execute("PRAGMA shrink_memory")
    store.finish(row("new"))
    store.flushed().result()
    store.finish(row("newer", NOW + 1))
    store.flushed().result()
    assert [type(error) for error in desk.errors] == [StoreDamaged]
    assert [each.id for each in desk.archive().sessions()] == ["newer", "new"]


def test_damage_on_a_full_disk(desk: Desk, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """No new database can be begun at first; when one can, what was handed over is in it."""
    some_sessions(desk, row)
    store = desk.store()
    store.purge().result()

    def damaged(sessions: object) -> None:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    def full(*_: object) -> sqlite3.Connection:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "open_to_write", full)
        patch.setattr(store, "_write", damaged)
        store.finish(row("new"))
        assert isinstance(store.flushed().exception(), StoreFull)
        assert isinstance(store.flushed().exception(), StoreFull)
        with pytest.raises(StoreError, match="no database"):
            store.purge().result()
    store.flushed().result()
    store.purge().result()
    assert [each.id for each in desk.archive().sessions()] == ["new"]


@pytest.mark.parametrize("seed", range(60))
def test_any_damage_is_survived(desk: Desk, row: Rows, seed: int) -> None:
    """One octet changed, often in the header, or the file cut short: it opens, takes a session and lists it."""
    chance = random.Random(seed)
    some_sessions(desk, row)
    path = desk.folder / "relayprobe.db"
    raw = bytearray(path.read_bytes())
    if seed % 4 == 0:
        del raw[chance.randrange(len(raw)) :]
    else:
        place = chance.randrange(100 if seed % 4 == 1 else len(raw))
        place += place == 63  # the octet of the version, which says that the database is newer, and is believed
        raw[place] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    with suppress(StoreError):
        list(desk.archive().sessions())
    store = desk.store()
    store.append("new", ['"new"'])
    store.finish(row("new", NOW * 2))
    store.flushed().result()
    archive = desk.archive()
    assert archive.find("last") == row("new", NOW * 2)
    assert archive.events("new") == ['"new"']


def test_one_damaged_session_does_not_hide_the_others(desk: Desk, row: Rows) -> None:
    some_sessions(desk, row, 1200)
    with closing(sqlite3.connect(desk.folder / "relayprobe.db")) as connection:
        connection.execute("UPDATE sessions SET senders = '[\"', messages = 'x' WHERE id = 's7'")
        connection.execute("UPDATE sessions SET peer = CAST(x'ff41' AS TEXT) WHERE id = 's8'")
        connection.commit()
    ids = [each.id for each in desk.archive().sessions()]
    assert ids == [f"s{n}" for n in reversed(range(1200)) if n != 7]
    raw = bytearray((desk.folder / "relayprobe.db").read_bytes())
    with closing(sqlite3.connect(desk.folder / "relayprobe.db")) as connection:
        page = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'sessions' AND pagetype = 'leaf' LIMIT 1 OFFSET 5"
        ).fetchone()[0]
    raw[(page - 1) * 4096 : page * 4096] = b"\xee" * 4096
    (desk.folder / "relayprobe.db").write_bytes(raw)
    ids = [each.id for each in desk.archive().sessions()]
    assert 1100 < len(ids) < 1199
    assert ids == sorted(ids, key=lambda id: -int(id[1:]))
    assert [each.id for each in desk.archive().sessions(Filter(sender="scanner"))] == ids
    paged: list[str] = []
    cursor = None
    while cursor or not paged:
        page = desk.archive().page(Filter(), 100, cursor)
        paged += [each.id for each in page.rows]
        cursor = page.next
    assert paged == ids
    assert desk.archive().find(ids[0]) == replace(row(ids[0], NOW + 1199))
