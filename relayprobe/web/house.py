"""What the page and the API show, and where it comes from: the data folder, what goes on now, and the relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relayprobe.store import Archive, Spool
from relayprobe.store.folder import DATABASE
from relayprobe.web.hub import Hub

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from relayprobe.relay.relay import Relay
    from relayprobe.settings import Settings


@dataclass(frozen=True)
class House:
    """`settings` gives those of the moment, for a relay reads them anew; `relay` is None where nothing is sent on."""

    folder: Path
    settings: Callable[[], Settings]
    hub: Hub
    figures: CollectorRegistry
    relay: Relay | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written here: then that nothing can be read is no fault."""
        return not (self.folder / DATABASE).exists()

    @contextmanager
    def archive(self) -> Iterator[Archive]:
        """What was captured, for one answer. Raises StoreError."""
        with Archive.open(self.folder) as stored:
            yield stored

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """The spool, for one answer. Raises StoreError."""
        spool = Spool.open(self.folder)
        try:
            yield spool
        finally:
            spool.close()
