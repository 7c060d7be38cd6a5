"""A data folder for tests, and a clock that stands still."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from relayprobe.store import Archive, Retention, Store, StoreError

NOW = 1_700_000_000.0
DAY = 86400.0
FOREVER = Retention(None, None, None, None)


class Clock:
    """Unix time that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Desk:
    """A data folder with what the tests do to it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.clock = Clock()
        self.errors: list[StoreError] = []
        self._stack = stack

    def store(self, retention: Retention = FOREVER, **more: Any) -> Store:
        store = Store.open(self.folder, retention, clock=self.clock, on_error=self.errors.append, **more)
        self._stack.callback(store.close)
        return store

    def archive(self) -> Archive:
        return self._stack.enter_context(Archive.open(self.folder))

    def octets(self) -> bytes:
        """All that is in any file of the folder."""
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())
