"""What can go wrong with the data folder, each as one sentence that names the way out.

Errors of sqlite3 and of the operating system become ours here, once.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The data folder cannot be used as asked. The text is one sentence for people, and names the way out."""


class StoreFull(StoreError):
    """There is no room left. What is handed over later is tried again, so that room is enough to go on."""


class StoreDamaged(StoreError):
    """The database is not what SQLite wrote: a bad disk, a copy cut short, a foreign file under its name."""


DAMAGE = frozenset(
    (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_IOERR_SHORT_READ,
    )
)
"""Result codes that mean a damaged file."""

# SQLite answers FULL to ENOSPC alone; a quota or a file size limit ends as a failed write.
_FULL = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE))
_NO_ROOM = frozenset((errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)))
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))


def code_of(error: BaseException) -> int:
    """The extended SQLite result code of an error, 0 if it has none."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code if isinstance(code, int) else 0


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the database file itself is damaged (any extended code of the kinds in `DAMAGE`)."""
    code = code_of(error)
    return code in DAMAGE or code & 0xFF in DAMAGE


def in_words(error: BaseException, folder: Path) -> StoreError:
    """The error as a sentence about the data folder; one that is ours already is returned as it is."""
    if isinstance(error, StoreError):
        return error
    code = code_of(error)
    if is_damage(error):
        return StoreDamaged(
            f"the database in {folder} is damaged ({error}): start `relayprobe listen`, which sets it aside and begins "
            "a new one when it meets the damage, or name another folder with --data"
        )
    if code in _FULL or code & 0xFF in _FULL or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        return StoreFull(f"there is no room left for {folder} ({error}): make room, or name another folder with --data")
    if code & 0xFF in _BUSY:
        return StoreError(f"the database in {folder} is busy ({error}): try again in a moment")
    if isinstance(error, PermissionError) or code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreError(f"no permission for {folder} ({error}): run as its owner, or name another folder with --data")
    return StoreError(f"{folder} cannot be used ({error}): see to its disk, or name another folder with --data")
