"""Reading a database beside the process that writes it, and that may put another in its place: a damaged one is set
aside while it runs, and whoever went on reading the old file would see the past for ever."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from threading import Lock
from typing import Any

from relayprobe.store.errors import in_words
from relayprobe.store.folder import DATABASE
from relayprobe.store.schema import open_to_read


class Reading:
    """A connection that reads the database of a folder, whichever that is now. May be used from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError."""
        self._folder = folder
        self._one_at_a_time = Lock()  # a query that begins beside another one sees what that one sees: the past
        self._file = self._there()
        self._connection = open_to_read(folder)

    def select(self, sql: str, values: list[Any]) -> list[Any]:
        """All rows. Raises StoreError."""
        try:
            with self._one_at_a_time:
                if (there := self._there()) != self._file and there is not None:
                    connection = open_to_read(self._folder)  # fails while the new one is being made: then later
                    self._connection.close()
                    self._connection, self._file = connection, there
                return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise in_words(error, self._folder) from error

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def _there(self) -> tuple[int, int] | None:
        """The file of that name, by device and number."""
        try:
            state = os.stat(self._folder / DATABASE)
        except OSError:
            return None
        return state.st_dev, state.st_ino
