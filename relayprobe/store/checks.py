"""The runs of `relayprobe check`, and which address the site had at each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayprobe.store.by_hand import wishes
from relayprobe.store.folder import DATABASE
from relayprobe.store.reading import Reading
from relayprobe.tongue import found_again, kept

KEPT = 1000
"""Runs that are kept; beyond them the oldest go."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `at`: Unix time; `addresses`: those that servers saw the site come from; `record`: what was found."""

    id: str
    at: float
    domain: str
    addresses: tuple[str, ...]
    record: Mapping[str, Any]


def keep(folder: Path, at: float, domain: str, addresses: Sequence[str], record: Mapping[str, Any]) -> str:
    """Keep a run, beside a listener that may be at work; its id. Raises StoreError."""
    id = secrets.token_hex(5)
    if not (folder / DATABASE).exists():
        _begin(folder)
    with wishes(folder) as run:
        put = (id, at, domain, json.dumps(list(addresses)), json.dumps(kept(record)))
        run("INSERT INTO checks VALUES (?, ?, ?, ?, ?)", put)
        run("DELETE FROM checks WHERE id NOT IN (SELECT id FROM checks ORDER BY at DESC LIMIT ?)", (KEPT,))
    return id


def _begin(folder: Path) -> None:
    """A data folder in which nothing was captured yet."""
    from relayprobe.store.writer import Store

    Store.open(folder).close()


def runs(folder: Path, domain: str | None = None, limit: int = 100) -> list[Run]:
    """The runs, newest first. Raises StoreError where there is nothing yet."""
    reading = Reading(folder)
    try:
        of_domain = "SELECT id, at, domain, addresses, record FROM checks WHERE ?1 IS NULL OR domain = ?1"
        found = reading.select(f"{of_domain} ORDER BY at DESC LIMIT ?2", [domain, limit])
    finally:
        reading.close()
    return [
        Run(str(id), at, str(name), tuple(json.loads(seen)), found_again(json.loads(record)))
        for id, at, name, seen, record in found
    ]
