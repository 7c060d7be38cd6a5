"""Runs of `relayprobe check`: kept in a new folder and beside a listener, and no more of them than there may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_folder import NOW, Desk

from relayprobe.store import StoreError, checks


def test_the_first_thing_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    id = checks.keep(folder, NOW, "contoso.com", ["203.0.113.7"], {"checks": []})
    [run] = checks.runs(folder)
    assert run == checks.Run(id, NOW, "contoso.com", ("203.0.113.7",), {"checks": []})


def test_beside_a_listener(desk: Desk) -> None:
    desk.store()
    for number in range(3):
        checks.keep(desk.folder, NOW + number, f"{number % 2}.example", [], {})
    assert [run.at for run in checks.runs(desk.folder)] == [NOW + 2, NOW + 1, NOW]
    assert [run.at for run in checks.runs(desk.folder, "0.example", limit=1)] == [NOW + 2]


def test_old_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "KEPT", 2)
    for number in range(4):
        checks.keep(tmp_path, NOW + number, "contoso.com", [], {})
    assert [run.at for run in checks.runs(tmp_path)] == [NOW + 3, NOW + 2]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing captured"):
        checks.runs(tmp_path)
