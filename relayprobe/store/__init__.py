"""Sessions on disk, found again: `Store` writes them, `Archive` reads them, `Retention` says how long they are kept."""

from relayprobe.store.archive import Archive, Filter
from relayprobe.store.errors import StoreDamaged, StoreError, StoreFull
from relayprobe.store.folder import BodyFile, free
from relayprobe.store.retention import Retention
from relayprobe.store.row import Row, host_of
from relayprobe.store.writer import Store

__all__ = [
    "Archive",
    "BodyFile",
    "Filter",
    "Retention",
    "Row",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "free",
    "host_of",
]
