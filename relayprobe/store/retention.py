"""How long sessions are kept, and how they go: in small bites, oldest first, and out of every file.

Bodies go before their sessions: of a purged body only the header fields that rules look at are left, so the diagnosis
of an old session still stands. A session that still goes on is never touched.

What is deleted is overwritten (`secure_delete`), free pages are given back, and the log is emptied into the database
and cut to nothing. One gap is left: where SQLite moved a row within or between pages, the old place is overwritten only
with the page. Tables fill and empty in order of time, so in a busy database that page goes soon after; where days may
lie between two neighbours, the database is small, and VACUUM writes it anew.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from relayprobe.store.folder import DATABASE, body_files, body_path, free, read_body, set_aside_files
from relayprobe.store.schema import BUSY, transaction

HEAD = 65536
"""Octets of a body that are kept in the database: all of a small one, the beginning of a large one."""

_DAY = 86400.0
_BITE = 200  # sessions
_BITE_SECONDS = 0.05  # a transaction of retention is cut short after this: a device may be waiting for the next one
_BITE_PAGES = 256
_SPARE = 0.9  # purged down to this part of the size allowed, so as not to purge again at once
_SMALL = 32 * 1024 * 1024  # octets of a database that is written anew as a whole
_STRAY = 3600.0  # seconds after which a file without a session has none coming
_PATIENCE = 20  # milliseconds that readers may hold up the emptying of the log

# A session whose mail is still to be delivered stays, however old it is, and whatever room it takes.
_DONE_WITH = (
    "ended IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM mails WHERE session = sessions.id AND state IN ('waiting', 'sending', 'held'))"
)

_Key = tuple[int, str]  # rowid and id of a session: a damaged id would be chosen for ever, and never found

Trim = Callable[[bytes], bytes]
"""What is left of a purged body, made from its first 64 KiB (or all of it, if smaller)."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: ages in seconds since a session ended, a number of sessions, octets on disk. None: no limit."""

    session_age: float | None = 30 * _DAY
    body_age: float | None = 7 * _DAY
    sessions: int | None = 10_000
    size: int | None = 5 * 1024**3


def sweep(
    connection: sqlite3.Connection, folder: Path, retention: Retention, *, now: float, trim: Trim, thorough: bool
) -> Iterator[None]:
    """Apply the retention; between two steps of this iterator no transaction is open, and others may write.

    `thorough`: a small database is written anew where something was purged, which may take a fifth of a second.
    Raises sqlite3.Error and OSError; what was done before stays done.
    """
    purged = False
    for _ in chain(
        _old_sessions(connection, folder, retention.session_age, now),
        _surplus_sessions(connection, folder, retention.sessions),
        _old_bodies(connection, folder, retention.body_age, now, trim),
        _oversize(connection, folder, retention.size, now),
    ):
        purged = True
        yield
    _old_notices(connection, retention.session_age, now)
    ages = [age for age in (retention.session_age, retention.body_age) if age is not None]
    if ages:
        _strays(connection, folder, now - min(ages))
    if purged and thorough:
        _write_anew(connection, folder)
    yield from _give_back(connection)


def _old_sessions(connection: sqlite3.Connection, folder: Path, age: float | None, now: float) -> Iterator[None]:
    if age is None:
        return
    oldest = f"SELECT rowid, id FROM sessions WHERE started < ? AND {_DONE_WITH} ORDER BY started LIMIT ?"
    while keys := _keys(connection, oldest, now - age, _BITE):
        _forget(connection, folder, keys)
        yield


def _surplus_sessions(connection: sqlite3.Connection, folder: Path, allowed: int | None) -> Iterator[None]:
    if allowed is None:
        return
    (there,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    while (surplus := there - allowed) > 0 and (keys := _oldest(connection, min(surplus, _BITE))):
        there -= _forget(connection, folder, keys)
        yield


def _oversize(connection: sqlite3.Connection, folder: Path, allowed: int | None, now: float) -> Iterator[None]:
    if allowed is None or _on_disk(folder) <= allowed:
        return
    _strays(connection, folder, now - _STRAY)  # what nobody can find goes before what is listed
    yield from _give_back(connection)  # free pages and the log may be all there is to win
    while (used := _in_use(connection, folder)) > allowed * _SPARE:
        (there,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        surplus = int(there * (used - allowed * _SPARE) / used / 2) + 1  # half of it, as if all were of one size
        if not (keys := _oldest(connection, min(surplus, _BITE))):
            return
        _forget(connection, folder, keys)
        yield


def _old_bodies(
    connection: sqlite3.Connection, folder: Path, age: float | None, now: float, trim: Trim
) -> Iterator[None]:
    if age is None:
        return
    oldest = (
        f"SELECT rowid, id FROM sessions WHERE started < ? AND {_DONE_WITH} AND purged = 0 ORDER BY started LIMIT ?"
    )
    while keys := _keys(connection, oldest, now - age, _BITE):
        _empty(connection, folder, keys, trim)
        yield


def _oldest(connection: sqlite3.Connection, limit: int) -> list[_Key]:
    return _keys(connection, f"SELECT rowid, id FROM sessions WHERE {_DONE_WITH} ORDER BY started LIMIT ?", limit)


def _keys(connection: sqlite3.Connection, sql: str, *values: float) -> list[_Key]:
    return connection.execute(sql, values).fetchall()


def _forget(connection: sqlite3.Connection, folder: Path, keys: Sequence[_Key]) -> int:
    """Delete sessions and all that belongs to them; says how many, for it stops after a while."""
    files = []
    gone = 0
    with transaction(connection):
        for number, id in _for_a_while(keys):
            large = connection.execute("SELECT n FROM bodies WHERE session = ? AND large", (id,))
            files += [body_path(folder, id, n) for (n,) in large]
            for table in ("pieces", "bodies", "remains"):
                connection.execute(f"DELETE FROM {table} WHERE session = ?", (id,))
            _forget_mails(connection, "session = ?", id)
            connection.execute(
                "DELETE FROM sought WHERE (started, id) IN (SELECT started, id FROM sessions WHERE rowid = ?)",
                (number,),
            )
            connection.execute("DELETE FROM sessions WHERE rowid = ?", (number,))
            gone += 1
    _unlink(files)  # after the commit: a file without its row is a stray, and goes when it is old
    return gone


def _forget_mails(connection: sqlite3.Connection, where: str, *values: object) -> None:
    mails = f"SELECT id FROM mails WHERE {where}"
    for table in ("recipients", "attempts"):
        connection.execute(f"DELETE FROM {table} WHERE mail IN ({mails})", values)
    connection.execute(f"DELETE FROM mails WHERE {where}", values)


def _old_notices(connection: sqlite3.Connection, age: float | None, now: float) -> None:
    """Mail of relayprobe's own belongs to no session, and goes when it is done with and old."""
    if age is None:
        return
    old = "kind <> 'device' AND arrived < ? AND state IN ('delivered', 'dropped', 'failed')"
    with transaction(connection):
        connection.execute(
            f"DELETE FROM bodies WHERE session IN (SELECT session FROM mails WHERE {old}) "
            "AND session NOT IN (SELECT id FROM sessions)",
            (now - age,),
        )
        _forget_mails(connection, old, now - age)


def _empty(connection: sqlite3.Connection, folder: Path, keys: Sequence[_Key], trim: Trim) -> None:
    """Leave of the sessions' bodies what `trim` keeps."""
    files = []
    with transaction(connection):
        for number, id in _for_a_while(keys):
            bodies = connection.execute("SELECT n, head, large FROM bodies WHERE session = ?", (id,)).fetchall()
            for n, head, large in bodies:
                path = body_path(folder, id, n)
                raw = _beginning(path) if head is None else bytes(head)
                connection.execute("INSERT OR REPLACE INTO remains VALUES (?, ?, ?)", (id, n, _trimmed(raw, trim)))
                if large:
                    files.append(path)
            connection.execute("DELETE FROM bodies WHERE session = ?", (id,))
            connection.execute("UPDATE sessions SET purged = 1 WHERE rowid = ?", (number,))
    _unlink(files)


def _for_a_while(keys: Sequence[_Key]) -> Iterator[_Key]:
    """The keys, fewer of them where they take long; the first one always."""
    until = time.perf_counter() + _BITE_SECONDS
    for key in keys:
        yield key
        if time.perf_counter() > until:
            return


def _beginning(path: Path) -> bytes:
    """The head of a body that was cut off, so that none was stored."""
    try:
        return b"".join(islice(read_body(path, HEAD), 1))
    except OSError:
        return b""


def _trimmed(raw: bytes, trim: Trim) -> bytes:
    try:
        return trim(raw)
    except Exception:  # a message too strange for the one who trims must not stay for ever because of that
        return b""


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _strays(connection: sqlite3.Connection, folder: Path, before: float) -> None:
    """Remove old files that nothing leads to: after a crash in the middle of a purge, or beside a damaged database."""
    for session, n, state in body_files(folder):
        if state.st_mtime < before:
            wanted = connection.execute("SELECT 1 FROM bodies WHERE session = ? AND n = ?", (session, n))
            if wanted.fetchone() is None:
                body_path(folder, session, n).unlink(missing_ok=True)
    for path in set_aside_files(folder):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _write_anew(connection: sqlite3.Connection, folder: Path) -> None:
    size = _pragma(connection, "page_count") * _pragma(connection, "page_size")
    if size <= _SMALL and free(folder) > 3 * size:
        connection.execute("VACUUM")


def _give_back(connection: sqlite3.Connection) -> Iterator[None]:
    """Give free pages back to the disk, and cut the log, in which deleted things may still stand.

    A reader can hold up the log; then the next sweep, a minute later, cuts it.
    """
    while spare := _pragma(connection, "freelist_count"):
        connection.execute(f"PRAGMA incremental_vacuum({_BITE_PAGES:d})").fetchall()
        if _pragma(connection, "freelist_count") >= spare:
            break  # made without auto_vacuum: by hand, or by a foreign tool
        yield
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE:d}")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000):d}")
    yield


def _in_use(connection: sqlite3.Connection, folder: Path) -> int:
    """Octets that purging can influence: a log that a reader holds up does not get smaller by it."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size") + _bodies_size(folder)


def _on_disk(folder: Path) -> int:
    size = _bodies_size(folder)
    for name in (DATABASE, f"{DATABASE}-wal"):
        with suppress(FileNotFoundError):
            size += os.stat(folder / name).st_size
    return size


def _bodies_size(folder: Path) -> int:
    return sum(state.st_size for _, _, state in body_files(folder))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
