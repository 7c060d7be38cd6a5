"""The database: how it is opened, what is in it, and how an older one becomes a newer one.

`PRAGMA user_version` is the number of migrations that a database has seen. A change of the schema is a new function
at the end of `MIGRATIONS`; those that were ever released are never changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from relayprobe.store.errors import StoreDamaged, StoreError, code_of, in_words
from relayprobe.store.folder import DATABASE
from relayprobe.store.sought import PUT_SOUGHT, sought

Synchronous = Literal["NORMAL", "FULL"]
Migration = Callable[[sqlite3.Connection], None]

BUSY = 5.0
"""Seconds to wait for another connection: a reader that recovers the log after a crash, or the last one closing."""

_SMALL = 64 * 1024 * 1024  # octets that are looked through at opening; in a larger one damage shows when it is met
_ABSURD = 256  # no relayprobe will have so many versions: the number itself is damaged


def _1_sessions(connection: sqlite3.Connection) -> None:
    # users, senders and findings are JSON lists. touched: when the last of it was stored. purged: its bodies are gone.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS sessions (
            id TEXT PRIMARY KEY, started REAL, ended REAL, touched REAL, peer TEXT, host TEXT, listener TEXT,
            context TEXT, users TEXT, senders TEXT, findings TEXT, worst TEXT, messages INTEGER, octets INTEGER,
            purged INTEGER NOT NULL DEFAULT 0)""")
    connection.execute("CREATE INDEX IF NOT EXISTS sessions_started ON sessions (started, id)")
    connection.execute("CREATE INDEX IF NOT EXISTS sessions_host ON sessions (host, started)")
    # events: JSON texts, one a line. seq only grows within a session, for SQLite gives the highest number plus one.
    connection.execute(
        "CREATE TABLE IF NOT EXISTS pieces (seq INTEGER PRIMARY KEY, session TEXT NOT NULL, events TEXT)"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS pieces_session ON pieces (session)")
    # head: all of a small body, the beginning of a large one, NULL while a large one comes in. large: it is in a file.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS bodies (
            session TEXT NOT NULL, n INTEGER NOT NULL, head BLOB, large INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (session, n))""")
    # What is left of purged bodies: a table of its own, so that pages of `bodies` empty in the order they filled in.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS remains (
            session TEXT NOT NULL, n INTEGER NOT NULL, head BLOB NOT NULL, PRIMARY KEY (session, n))""")


def _2_spool(connection: sqlite3.Connection) -> None:
    # texts and changed are JSON lists. state: waiting, sending, held, failed, delivered, dropped.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS mails (
            id TEXT PRIMARY KEY, session TEXT NOT NULL, texts TEXT NOT NULL, arrived REAL NOT NULL,
            host TEXT NOT NULL, user TEXT, sender TEXT NOT NULL, route TEXT NOT NULL, kind TEXT NOT NULL,
            state TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL, deferrals INTEGER NOT NULL,
            crashes INTEGER NOT NULL, unknown INTEGER NOT NULL, at_once INTEGER NOT NULL, why TEXT,
            changed TEXT NOT NULL)""")
    connection.execute("CREATE INDEX IF NOT EXISTS mails_session ON mails (session)")
    connection.execute(
        "CREATE INDEX IF NOT EXISTS mails_waiting ON mails (route, host, due, id) WHERE state = 'waiting'"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS mails_due ON mails (route, due) WHERE state = 'waiting'")
    connection.execute("CREATE INDEX IF NOT EXISTS mails_arrived ON mails (arrived, id) WHERE state = 'waiting'")
    connection.execute(
        "CREATE INDEX IF NOT EXISTS mails_queued ON mails (state, arrived, id) "
        "WHERE state IN ('waiting', 'sending', 'held', 'failed')"
    )
    connection.execute("""
        CREATE TABLE IF NOT EXISTS recipients (
            mail TEXT NOT NULL, n INTEGER NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, reply TEXT,
            PRIMARY KEY (mail, n)) WITHOUT ROWID""")
    # dialogue: events as JSON texts, one a line.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS attempts (
            number INTEGER PRIMARY KEY, mail TEXT NOT NULL, began REAL NOT NULL, ended REAL, route TEXT NOT NULL,
            place TEXT NOT NULL, result TEXT, stage TEXT, reply TEXT, dialogue TEXT, repairs TEXT)""")
    connection.execute("CREATE INDEX IF NOT EXISTS attempts_mail ON attempts (mail)")
    connection.execute("CREATE TABLE IF NOT EXISTS routes (name TEXT PRIMARY KEY, record TEXT NOT NULL)")
    connection.execute("CREATE TABLE IF NOT EXISTS asked (name TEXT PRIMARY KEY, at REAL NOT NULL)")


def _3_search(connection: sqlite3.Connection) -> None:
    for column, default in (
        ("recipients", "[]"),
        ("codes", "[]"),
        ("tls", ""),
        ("login", ""),
        ("device", ""),
        ("verdict", ""),
    ):
        there = [name for _, name, *_ in connection.execute("PRAGMA table_info(sessions)")]
        if column not in there:
            connection.execute(f"ALTER TABLE sessions ADD COLUMN {column} TEXT NOT NULL DEFAULT '{default}'")
    # What a search looks through: narrow, and in the order of the list, so that going through all of it is quick.
    # host: its octets in hex, so that a network is a range. The others: in small letters, a line for each.
    connection.execute("""
        CREATE TABLE IF NOT EXISTS sought (
            started REAL NOT NULL, id TEXT NOT NULL, host TEXT NOT NULL, users TEXT NOT NULL, senders TEXT NOT NULL,
            recipients TEXT NOT NULL, codes TEXT NOT NULL, findings TEXT NOT NULL, peer TEXT NOT NULL,
            PRIMARY KEY (started, id)) WITHOUT ROWID""")
    old = connection.execute(
        "SELECT started, id, peer, users, senders, findings FROM sessions "
        "WHERE typeof(started) = 'real' AND typeof(id) = 'text' AND typeof(peer) = 'text'"  # others are damaged
    )
    for started, id, peer, users, senders, findings in old.fetchall():
        put = sought(started, id, peer, _names(users), _names(senders), findings=_names(findings))
        connection.execute(PUT_SOUGHT, put)
    connection.execute("""
        CREATE TABLE IF NOT EXISTS checks (
            id TEXT PRIMARY KEY, at REAL NOT NULL, domain TEXT NOT NULL, addresses TEXT NOT NULL, record TEXT NOT NULL)
        """)
    connection.execute("CREATE INDEX IF NOT EXISTS checks_at ON checks (at)")


def _names(text: Any) -> tuple[str, ...]:
    """The names of a JSON list; none where the row is damaged."""
    try:
        names = json.loads(text)
    except (TypeError, ValueError):
        return ()
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


_COLUMNS = {
    "sessions": "id, started, ended, touched, peer, host, listener, context, users, senders, findings, worst, "
    "messages, octets, purged, recipients, codes, tls, login, device, verdict",
    "sought": "started, id, host, users, senders, recipients, codes, findings, peer",
    "checks": "id, at, domain, addresses, record",
    "pieces": "seq, session, events",
    "bodies": "session, n, head, large",
    "remains": "session, n, head",
    "mails": "id, session, texts, arrived, host, user, sender, route, kind, state, due, attempts, deferrals, crashes, "
    "unknown, at_once, why, changed",
    "recipients": "mail, n, address, state, reply",
    "attempts": "number, mail, began, ended, route, place, result, stage, reply, dialogue, repairs",
    "routes": "name, record",
    "asked": "name, at",
}
"""What the tables must have, for a damaged schema is met here and not at the first write."""

MIGRATIONS: tuple[Migration, ...] = (_1_sessions, _2_spool, _3_search)


def open_to_write(folder: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """The one connection that writes, its schema up to date. The file must exist, for its mode is not SQLite's matter.

    Raises StoreError, and StoreDamaged where the database should be set aside.
    """
    connection = sqlite3.connect(folder / DATABASE, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        with _suspicion(folder):
            if _version(connection, folder, len(MIGRATIONS)) == 0:  # a newer one stays as it is
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            connection.execute("PRAGMA temp_store = MEMORY")  # VACUUM would copy private mail to /tmp
            _distrust(connection)
        migrate(connection, folder, MIGRATIONS)
        with _suspicion(folder):
            _prove(connection, folder)
    except sqlite3.Error as error:
        connection.close()
        raise in_words(error, folder) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(folder: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises StoreError, also where nothing has been written yet."""
    nothing = StoreError(
        f"there is nothing captured in {folder} yet: start `relayprobe listen`, or name another folder with --data"
    )
    path = (folder / DATABASE).absolute()
    try:
        if not path.exists():
            raise nothing
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise in_words(error, folder) from error
    try:
        connection.execute("PRAGMA query_only = ON")
        _distrust(connection)
        version = _version(connection, folder, len(MIGRATIONS))
        if version == 0:
            raise nothing
        if version < len(MIGRATIONS):
            raise StoreError(
                f"an older relayprobe wrote the database in {folder}: start `relayprobe listen` once, which brings it "
                "up to date"
            )
    except sqlite3.Error as error:
        connection.close()
        raise in_words(error, folder) from error
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, folder: Path, steps: Sequence[Migration]) -> None:
    """Apply the steps that the database has not seen, each in a transaction. StoreError if it has seen more of them."""
    for number in range(_version(connection, folder, len(steps)), len(steps)):
        with transaction(connection):
            steps[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1:d}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself after some errors
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, folder: Path, known: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version < _ABSURD:
        raise _damaged(folder, f"it says it is of version {version}")
    if version > known:
        raise StoreError(
            f"a newer relayprobe wrote the database in {folder} (version {version}, this one knows {known}): upgrade "
            "relayprobe, or name another folder with --data"
        )
    return version


def _distrust(connection: sqlite3.Connection) -> None:
    """Have damage noticed early, and nothing run that a foreign file may carry."""
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.text_factory = lambda octets: octets.decode("utf-8", "replace")  # a damaged text is still a text


def _damaged(folder: Path, why: object) -> StoreDamaged:
    return StoreDamaged(f"the database in {folder} is damaged ({why}): start `relayprobe listen`, which sets it aside")


@contextmanager
def _suspicion(folder: Path) -> Iterator[None]:
    """Take for damage what in sound files cannot be: an unknown format, a missing table, a refusal to be written.

    Not for migrations: a mistake in one of them must not cost the captures.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if code_of(error) & 0xFF in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY):
            raise _damaged(folder, error) from error
        raise


def _prove(connection: sqlite3.Connection, folder: Path) -> None:
    """See that the tables are there, whole if that is quickly seen, and can be written."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * size <= _SMALL:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise _damaged(folder, found.replace("\n", " "))
    with transaction(connection):
        for table, columns in _COLUMNS.items():
            connection.execute(f"SELECT {columns} FROM {table} LIMIT 1").fetchone()
        connection.execute("INSERT INTO pieces (session) VALUES ('')")
        connection.execute("DELETE FROM pieces WHERE session = ''")
