"""What an administrator asks for, beside a relay that may be running.

Each is one transaction that asks for the state it expects, so that neither undoes what the other does. A running relay
sees it within a second.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from relayprobe.store.errors import in_words
from relayprobe.store.folder import DATABASE
from relayprobe.store.mail import Mail
from relayprobe.store.schema import BUSY, open_to_read, transaction

_ASK = "INSERT INTO asked VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at"


@contextmanager
def wishes(folder: Path) -> Iterator[Callable[[str, Sequence[Any]], int]]:
    """One transaction of an administrator: yields a function that runs a statement, and says how many rows it changed.

    A running relay sees the change within a second. Raises StoreError.
    """
    open_to_read(folder).close()  # says what is wrong where there is nothing, or an older version's
    try:
        path = (folder / DATABASE).absolute()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY, isolation_level=None)) as base:
            base.execute("PRAGMA synchronous = FULL")
            base.execute("PRAGMA secure_delete = ON")
            with transaction(base):
                yield lambda sql, values: base.execute(sql, values).rowcount
    except sqlite3.Error as error:
        raise in_words(error, folder) from error


def retry(folder: Path, mail: Mail, now: float) -> bool:
    """Have a mail tried at once, and its route too, whatever has stopped that; one that was held or given up waits
    again. False where it is being sent."""
    with wishes(folder) as run:
        changed = run(
            "UPDATE mails SET state = 'waiting', due = 0, crashes = 0, unknown = 0, "
            "arrived = CASE state WHEN 'failed' THEN ? ELSE arrived END, "  # its lifetime begins anew
            "why = 'somebody asked for it' WHERE id = ? AND state IN ('waiting', 'held', 'failed', 'dropped') "
            "AND NOT at_once",
            (now, mail.id),
        )
        if changed and mail.state in ("failed", "dropped"):
            run(
                "UPDATE recipients SET state = 'waiting' WHERE mail = ? AND state IN ('refused', 'dropped')", (mail.id,)
            )
        if changed:
            run(_ASK, (mail.route, now))
        return bool(changed)


def hold(folder: Path, mail: Mail) -> bool:
    """Keep a waiting mail back until it is released."""
    with wishes(folder) as run:
        return bool(
            run("UPDATE mails SET state = 'held', why = 'held by hand' WHERE id = ? AND state = 'waiting'", (mail.id,))
        )


def release(folder: Path, mail: Mail) -> bool:
    """Let a held mail go on."""
    with wishes(folder) as run:
        return bool(
            run(
                "UPDATE mails SET state = 'waiting', due = 0, crashes = 0, unknown = 0, why = 'released by hand' "
                "WHERE id = ? AND state = 'held'",
                (mail.id,),
            )
        )


def drop(folder: Path, mail: Mail) -> bool:
    """Give a mail up without a word to anybody. False where it is being sent, or done with."""
    with wishes(folder) as run:
        changed = run(
            "UPDATE mails SET state = 'dropped', why = 'dropped by hand' "
            "WHERE id = ? AND state IN ('waiting', 'held', 'failed')",
            (mail.id,),
        )
        if changed:
            run("UPDATE recipients SET state = 'dropped' WHERE mail = ? AND state = 'waiting'", (mail.id,))
        return bool(changed)


def ask_for_route(folder: Path, route: str, now: float) -> None:
    """Have a route tried again now, whatever has stopped it."""
    with wishes(folder) as run:
        run(_ASK, (route, now))
