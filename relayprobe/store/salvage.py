"""Mail that is still to be delivered, carried over from a damaged database into a new one."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

from relayprobe.store.mail import OPEN, Recipient
from relayprobe.store.queue import COLUMNS, RECIPIENTS, mail_of
from relayprobe.store.schema import transaction
from relayprobe.store.sought import PUT_SOUGHT, sought
from relayprobe.store.spool import put

_MAGIC, _PAGE = b"SQLite format 3\0", 4096
_FIRST_PAGE = (b"\x0d", b"\x05")  # behind the header the schema's table begins: a leaf, or what leads to leaves
_MOST_GAPS = 5000  # numbers in a row that lead nowhere
_AFTER = f"SELECT rowid, {COLUMNS} FROM mails WHERE rowid > ? ORDER BY rowid LIMIT 1"


def salvage(aside: Path, into: sqlite3.Connection) -> tuple[int, int]:
    """Copy mail that is still to be delivered out of a damaged database: how many were saved, how many were met and
    could not be. A text that has suffered is told by its digest when it is to be sent. Never raises.

    Row by row, for behind a damaged page there are others; `_MOST_GAPS` numbers are tried without finding one.
    """
    saved = lost = gaps = at = 0
    try:
        _give_header(aside)
        with closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as old:
            old.text_factory = lambda octets: octets.decode("utf-8", "replace")
            while gaps < _MOST_GAPS:
                try:
                    found = old.execute(_AFTER, (at,)).fetchone()
                except sqlite3.DatabaseError:
                    at, gaps = at + 1, gaps + 1
                    continue
                if found is None:
                    break
                at, state = found[0], found[10]
                if state in OPEN:
                    copied = _copied(old, found[1:], into)
                    saved, lost = saved + copied, lost + (not copied)
    except (sqlite3.Error, OSError):
        pass
    aside.with_name(f"{aside.name}-shm").unlink(missing_ok=True)  # made by reading it
    return saved, lost


def _give_header(aside: Path) -> None:
    """Where the first octets are gone, what SQLite needs there to read the rest. The format:
    https://www.sqlite.org/fileformat2.html section 1.3."""
    with aside.open("r+b") as file:
        start = file.read(101)
        if start.startswith(_MAGIC) or start[100:] not in _FIRST_PAGE:  # sound, or never a database
            return
        pages = aside.stat().st_size // _PAGE
        file.seek(0)
        file.write(
            struct.pack(
                ">16sHBBBBBBIIIIIIIIIIII20xII",
                *(_MAGIC, _PAGE, 2, 2, 0, 64, 32, 32),  # WAL, and the fractions that are always so
                *(1, pages, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0),  # no free pages; schema format 4; UTF-8
                *(1, 3_000_000),
            )
        )


def _copied(old: sqlite3.Connection, record: tuple[Any, ...], into: sqlite3.Connection) -> bool:
    try:
        id, session = record[0], record[1]
        recipients = old.execute(f"SELECT {RECIPIENTS} FROM recipients WHERE mail = ? ORDER BY n", (id,)).fetchall()
        mail = mail_of(record, [Recipient(*one) for one in recipients])
        bodies = old.execute("SELECT session, n, head, large FROM bodies WHERE session = ?", (session,)).fetchall()
        if not mail.recipients or not {text.n for text in mail.texts} <= {body[1] for body in bodies}:
            return False
        with transaction(into):
            listed = into.execute(
                "INSERT OR IGNORE INTO sessions (id, touched, started, ended, peer, host, listener, context, users, "
                "senders, findings, messages, octets) VALUES (?, ?, ?, ?, ?, ?, '', '{}', '[]', '[]', '[]', 1, ?)",
                (session, mail.arrived, mail.arrived, mail.arrived, mail.host, mail.host, mail.size),
            )
            if listed.rowcount:
                into.execute(PUT_SOUGHT, sought(mail.arrived, session, mail.host))
            into.executemany("INSERT OR IGNORE INTO bodies (session, n, head, large) VALUES (?, ?, ?, ?)", bodies)
            for sql, values in put(mail):
                into.execute(sql, values)
    except (sqlite3.Error, TypeError, ValueError, KeyError):
        return False
    return True
