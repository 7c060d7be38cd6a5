"""A byte that is wrong in the log of a killed process costs what stands there, not all that came after it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relayprobe.store import Retention, Row, Spool, Store, StoreDamaged, StoreError
from relayprobe.store.log import mend
from tests.store.data_folder import NOW, Desk
from tests.store.test_spool import mail, take

Rows = Callable[..., Row]
MAILS = 40
LOG = "relayprobe.db-wal"


@pytest.fixture
def killed(desk: Desk, row: Rows, tmp_path: Path) -> Path:
    """The folder as a process leaves it that is killed after so many transactions."""
    store = desk.store(synchronous="FULL")
    for number in range(MAILS):
        take(store, row, mail(f"m{number:02}-1"))
    left = tmp_path / "killed"
    shutil.copytree(desk.folder, left)
    return left


def opened(folder: Path) -> tuple[set[str], list[StoreError]]:
    """The mails that are in the queue at the next start, and what is said then."""
    said: list[StoreError] = []
    store = Store.open(folder, Retention(None, None, None, None), clock=lambda: NOW, on_error=said.append)
    spool = Spool.open(folder)
    try:
        return {one.id for one in spool.mails()}, said
    finally:
        spool.close()
        store.close()


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.parent / name))


def test_one_wrong_byte_costs_little_and_is_said(killed: Path) -> None:
    mended = 0
    for seed in range(30):
        chance = random.Random(seed)
        folder = copy(killed, f"seed{seed}")
        raw = bytearray((folder / LOG).read_bytes())
        raw[chance.randrange(32, len(raw) * 9 // 10)] ^= 1 << chance.randrange(8)
        (folder / LOG).write_bytes(raw)
        found, said = opened(folder)
        assert len(found) >= MAILS - 1, f"seed {seed}"
        assert said
        assert all(isinstance(one, StoreDamaged) for one in said)
        kept = [path for path in folder.glob("relayprobe.db.damaged-*-log") if path.read_bytes() == bytes(raw)]
        mended += len(kept)
        assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert mended == 30


def test_a_log_that_ends_as_after_a_power_cut_is_left_to_sqlite(killed: Path, tmp_path: Path) -> None:
    raw = (killed / LOG).read_bytes()
    page = 24 + int.from_bytes(raw[8:12])
    frames = (len(raw) - 32) // page
    last = max(n for n in range(frames - 1) if raw[32 + n * page + 4 :][:4] != bytes(4)) + 1  # of the last transaction
    at = 32 + last * page + 24
    torn = raw[:at] + bytes(octet ^ 0xFF for octet in raw[at : at + 512]) + raw[at + 512 :]
    log = tmp_path / "log"
    for text in (
        raw,  # whole
        raw[: len(raw) - 1000],  # cut
        raw[: len(raw) - 512] + bytes(512),  # a sector that did not get there
        torn,  # nor did one before it
        raw[:20],
        b"",
    ):
        log.write_bytes(text)
        assert not mend(log, tmp_path / "aside")
        assert log.read_bytes() == text
    assert not mend(tmp_path / "none", tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


def test_old_frames_behind_the_new_ones_are_no_damage(desk: Desk, row: Rows, tmp_path: Path) -> None:
    """SQLite begins again at the front of the log, and leaves what is behind."""
    store = desk.store(synchronous="FULL")
    for number in range(300):  # beyond the thousand pages after which it begins again
        take(store, row, mail(f"m{number:03}-1"))
    log = tmp_path / "log"
    shutil.copy(desk.folder / LOG, log)
    raw = log.read_bytes()
    page = 24 + int.from_bytes(raw[8:12])
    assert any(raw[at + 8 : at + 16] != raw[16:24] for at in range(32, len(raw), page)), "it has no old frames"
    assert not mend(log, tmp_path / "aside")
