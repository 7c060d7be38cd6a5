"""What the tests of the store are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from data_folder import NOW, Desk

from relayprobe.store import Row


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path / "data", stack)


@pytest.fixture
def row() -> Callable[..., Row]:
    """A finished session; anything about it may be given."""

    def make(id: str, started: float = NOW, **more: Any) -> Row:
        facts: dict[str, Any] = {
            "ended": started + 2,
            "peer": "192.168.1.20:40000",
            "listener": "0.0.0.0:2525",
            "context": json.dumps({"mode": "submission"}),
            "users": ("scanner@contoso.com",),
            "senders": ("scanner@contoso.com",),
            "findings": ("tls-missing",),
            "worst": "error",
            "messages": 1,
            "octets": 5,
        }
        return Row(id, started, **(facts | more))

    return make
