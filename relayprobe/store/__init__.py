"""Sessions on disk, found again: `Store` writes them, `Archive` reads them, `Retention` says how long they are kept."""

from relayprobe.store.archive import Archive, Page, Seen
from relayprobe.store.errors import StoreDamaged, StoreError, StoreFull
from relayprobe.store.folder import BodyFile, free
from relayprobe.store.mail import Attempt, Mail, Recipient, Text
from relayprobe.store.queue import Spool
from relayprobe.store.retention import Retention
from relayprobe.store.row import Row, host_of
from relayprobe.store.sought import Filter
from relayprobe.store.writer import Store

__all__ = [
    "Archive",
    "Attempt",
    "BodyFile",
    "Filter",
    "Mail",
    "Page",
    "Recipient",
    "Retention",
    "Row",
    "Seen",
    "Spool",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "Text",
    "free",
    "host_of",
]
