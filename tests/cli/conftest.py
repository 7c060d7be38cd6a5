"""Data folders for the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.kept import LOGIN_ALONE, NO_LOGIN, PROBE, Held, keep


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sessions of two devices, to be read only."""
    made = tmp_path_factory.mktemp("kept") / "data"
    start = Held("", "").started
    keep(
        made,
        [
            Held("aa00000001", NO_LOGIN, "192.168.1.20:40001", start),
            Held("aa00000002", LOGIN_ALONE, "192.168.1.21:40002", start + 60),
            Held("bb00000003", PROBE, "192.168.1.20:40003", start + 120),
            Held("cc00000004", NO_LOGIN, "[fd00::5]:40004", start + 180, mode="direct-send"),
        ],
    )
    return made
