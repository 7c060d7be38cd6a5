"""A command that only reads starts at once: it loads no library that only listening needs, and finds one among many."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from relayprobe.store import Row, Store
from tests.cli.kept import NO_LOGIN, Held, keep
from tests.clients.listening import COMMAND, environment

SLOW = {"pydantic", "aiosmtpd", "cryptography", "rich", "structlog"}


def loaded(*arguments: str | Path) -> tuple[str, set[str]]:
    """What a command prints, and the packages that it loads."""
    python, *rest = COMMAND
    command = [python, "-X", "importtime", *rest, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=True)
    return done.stdout, set(re.findall(r"\| +(\w+)", done.stderr))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand sessions."""
    folder = tmp_path_factory.mktemp("many")
    store = Store.open(folder)
    start = Held("", "").started
    for number in range(9_999):
        at = start - 10_000 + number
        peer = f"192.168.{number % 200}.20:40000"
        store.finish(Row(f"{number:010x}", at, at + 1, peer, "0.0.0.0:2525", findings=("no-tls",), worst="error"))
    store.close()
    keep(folder, [Held("ffffffffff", NO_LOGIN)])
    return folder


def test_show_last_among_ten_thousand(many: Path) -> None:
    shown, packages = loaded("show", "last", "--data", many)
    assert shown.startswith("Session ffffffffff from 192.168.1.20:40000\n")
    assert "error: no-auth" in shown
    assert packages >= {"relayprobe", "sqlite3"}
    assert packages & SLOW == set()


@pytest.mark.parametrize(
    "command",
    [["sessions"], ["show", "last", "--json"], ["export", "last"], ["diagnose", "bb"], ["rules"], ["--help"]],
    ids=" ".join,
)
def test_what_a_reading_command_loads(folder: Path, command: list[str]) -> None:
    data = [] if command == ["--help"] else ["--data", folder]
    _, packages = loaded(*command, *data)
    assert packages & SLOW == set()
