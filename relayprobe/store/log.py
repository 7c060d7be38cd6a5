"""The write-ahead log of a process that was killed, and damage in the middle of it.

SQLite takes the log up to the first frame whose checksum is wrong, and throws the rest away without a word, for such a
frame is what a power cut leaves at the end. With many finished transactions behind it, it is no end but damage, and
what was answered 250 is behind it. Then the checksums are written anew, so that SQLite goes on reading: one page is bad
at most, which the check at opening or the digest of a text finds. The format: https://www.sqlite.org/fileformat2.html
section 4.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # by the magic number: how the words of pages are read for the checksum
_MOST = 64 * 1024 * 1024  # octets of a log that are looked through; it is cut to 4 MiB whenever no reader is in the way

_Sums = tuple[int, int]


def mend(path: Path, aside: Path) -> bool:
    """Mend a damaged log, a copy of which is left at `aside`; whether it was damaged. Raises OSError.

    Nothing else may write to the database meanwhile.
    """
    try:
        if path.stat().st_size > _MOST:
            return False
        raw = path.read_bytes()
    except FileNotFoundError:
        return False
    sums = dict(_right_sums(raw))
    if not sums:
        return False
    shutil.copy(path, aside)
    aside.chmod(0o600)
    with path.open("r+b") as file:
        for at, right in sums.items():
            file.seek(at + 8)
            file.write(raw[16:24] + struct.pack(">II", *right))
        file.flush()
        os.fsync(file.fileno())
    return True


@dataclass(frozen=True, slots=True)
class _Frame:
    at: int
    sound: bool
    commits: bool


def _right_sums(raw: bytes) -> Iterator[tuple[int, _Sums]]:
    """The checksums from the first damaged frame on, by the place of the frame; none where nothing is damaged."""
    if len(raw) < _HEADER or (order := _ORDERS.get(int.from_bytes(raw[:4]))) is None:
        return
    whole = _FRAME + int.from_bytes(raw[8:12])
    frames = list(_chain(raw, order, whole))
    first = next((number for number, frame in enumerate(frames) if not frame.sound), None)
    if first is None:
        return
    # A transaction is on the disk for good before the next one begins: torn is the last one at most.
    commits = [number for number, frame in enumerate(frames) if frame.commits and number >= first]
    if len(commits) < 2:
        return
    running = _sums_at(raw, frames[first].at - whole) if first else _stored(raw, 24)
    for frame in frames[first : commits[-1] + 1]:
        running = _computed(raw, order, frame.at, whole, running)
        yield frame.at, running


def _chain(raw: bytes, order: str, whole: int) -> Iterator[_Frame]:
    """The frames, as far as one follows from the other; of a damaged one the next tells that it belongs to them."""
    running = _stored(raw, 24)
    for at in range(_HEADER, len(raw) - whole + 1, whole):
        computed, stored = _computed(raw, order, at, whole, running), _sums_at(raw, at)
        sound = computed == stored and raw[at + 8 : at + 16] == raw[16:24]
        if not sound:
            after = at + whole
            if after + whole > len(raw) or raw[after + 8 : after + 16] != raw[16:24]:
                return
            followed = [sums for sums in (stored, computed) if _follows(raw, order, after, whole, sums)]
            if not followed:
                return
            running = followed[0]
        else:
            running = stored
        yield _Frame(at, sound, raw[at + 4 : at + 8] != bytes(4))


def _follows(raw: bytes, order: str, at: int, whole: int, before: _Sums) -> bool:
    return _computed(raw, order, at, whole, before) == _sums_at(raw, at)


def _sums_at(raw: bytes, at: int) -> _Sums:
    return _stored(raw, at + 16)


def _stored(raw: bytes, at: int) -> _Sums:
    first, second = struct.unpack_from(">II", raw, at)
    return first, second


def _computed(raw: bytes, order: str, at: int, whole: int, before: _Sums) -> _Sums:
    first, second = before
    octets = raw[at : at + 8] + raw[at + _FRAME : at + whole]
    words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
    for one, another in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + another + first) & 0xFFFFFFFF
    return first, second
