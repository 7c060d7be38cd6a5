"""A bundle, read again: a session in one zip file, which may be a stranger's."""

from __future__ import annotations

import struct
import tempfile
import zlib
from typing import IO
from zipfile import BadZipFile, ZipFile

from relayprobe.cli.options import fail
from relayprobe.dossier.bundle import IN_MEMORY, SESSION
from relayprobe.tongue import Said, said
from relayprobe.wire.packets import File

LONGEST_SESSION = 64 * 1024 * 1024
"""Octets of a session in a bundle, unpacked: of its messages it has the first 64 KiB each."""

MOST_FILES = 2_000
"""Files in a bundle: a message each, and a few more."""

LONGEST_BUNDLE = 2 * 1024 * 1024 * 1024
_END = b"PK\x05\x06"
_UNREADABLE = (BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError, ValueError, struct.error)


def session_in(source: File, shown: str) -> bytes:
    """The session in a bundle, as JSON. What is none, or larger than one can be, ends the command."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        _copy(source, file, shown)
        _bounded(file, shown)
        try:
            with ZipFile(file) as bundle:
                if SESSION not in bundle.namelist():
                    fail(
                        said(
                            "{file} is compressed, and no bundle of relayprobe: unpack it first, with unzip", file=shown
                        )
                    )
                info = bundle.getinfo(SESSION)
                if info.file_size > LONGEST_SESSION:
                    fail(_too_large(shown))
                with bundle.open(info) as inner:
                    data = inner.read(LONGEST_SESSION + 1)
        except _UNREADABLE as error:
            fail(said("{file} is a damaged zip file ({why}): export the bundle again", file=shown, why=str(error)))
    if len(data) > LONGEST_SESSION:
        fail(_too_large(shown))
    return data


def _too_large(shown: str) -> Said:
    return said(
        "{file} unpacks to more than a session can have ({most} MiB), so it is left unread: export the bundle again",
        file=shown,
        most=LONGEST_SESSION >> 20,
    )


def _copy(source: File, file: IO[bytes], shown: str) -> None:
    """The zip file, as one in which can be gone back."""
    left = LONGEST_BUNDLE
    while piece := source.read(1 << 20):
        left -= len(piece)
        if left < 0:
            fail(
                said(
                    "{file} is larger than a bundle can be: unpack {inner} from it, and give that",
                    file=shown,
                    inner=SESSION,
                )
            )
        file.write(piece)


def _bounded(file: IO[bytes], shown: str) -> None:
    """See that the list of files in it is short, before it is read whole."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))  # it ends in a record of 22 octets, and a comment of 65,535 at most
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        fail(said("{file} is a damaged zip file (its end is missing): export the bundle again", file=shown))
    count, octets = struct.unpack_from("<HI", tail, at + 10)
    if count > MOST_FILES or octets > MOST_FILES * 200:
        fail(
            said(
                "{file} has more files in it than a bundle: unpack {inner} from it, and give that",
                file=shown,
                inner=SESSION,
            )
        )
    file.seek(0)
