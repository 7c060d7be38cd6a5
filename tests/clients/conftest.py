"""Listeners for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.listening import SETTINGS, Listening
from tests.clients.wire import Wire


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Any]:
    """Starts listeners: `listen("-v", settings=...)`, each with a folder of its own unless one is named."""
    started: list[Listening] = []

    def start(*options: str, settings: str = SETTINGS, name: str = "") -> Listening:
        listening = Listening(tmp_path / (name or f"listener-{len(started)}"), *options, settings=settings)
        started.append(listening)
        return listening

    yield start
    for listening in started:
        listening.stop()


@pytest.fixture
def wire() -> Iterator[Any]:
    """Starts recording forwarders: `wire(port)`."""
    laid: list[Wire] = []

    def lay(port: int) -> Wire:
        laid.append(Wire(port))
        return laid[-1]

    yield lay
    for one in laid:
        one.close()
