"""The data folder: its modes, the lock that lets one process write, and the files of large message bodies.

Everything in it is for its owner alone, whatever the umask: mail is private. No link is followed in writing, and no
file name comes from mail.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from relayprobe.store.errors import StoreError, in_words
from relayprobe.store.row import SESSION_ID

DATABASE = "relayprobe.db"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither, and needs the other
_BINARY = getattr(os, "O_BINARY", 0)


def make(folder: Path) -> None:
    """Make the data folder (0700) with its `bodies` and an empty database (0600), as far as they are missing.

    A folder that is there already is closed to others if there is nothing in it but ours; any other keeps its mode,
    for `--data /tmp` should not lock everybody out of /tmp. Raises StoreError.
    """
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            _make_private(missing)
        if all(path.name in ("bodies", "lock") or path.name.startswith(DATABASE) for path in folder.iterdir()):
            _close_to_others(folder)
        bodies = folder / "bodies"
        if not bodies.is_dir():
            _make_private(bodies)
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "bodies", "lock"):
            if (folder / name).is_symlink():
                raise StoreError(f"{folder / name} is a link, which is not followed: remove it, or use another --data")
        _close_to_others(bodies)
        os.close(_open_private(folder / DATABASE, os.O_RDWR | os.O_CREAT))  # before SQLite would, with the umask's mode
    except OSError as error:
        raise in_words(error, folder) from error


def free(folder: Path) -> int:
    """Octets that may still be written on the disk of the data folder."""
    return shutil.disk_usage(folder).free


def _make_private(folder: Path) -> None:
    folder.mkdir(0o700, exist_ok=True)
    folder.chmod(0o700)  # a umask may have taken away our own rights, too


def _close_to_others(folder: Path) -> None:
    state = folder.stat()
    open_to_others = stat.S_IMODE(state.st_mode) & 0o077 and not state.st_mode & stat.S_ISVTX
    # Where another owns it, as with a volume of a container, it stays as it is: the files in it are private anyway.
    if sys.platform != "win32" and open_to_others and state.st_uid == os.geteuid():
        folder.chmod(0o700)


def _open_private(path: Path, flags: int) -> int:
    """Open a file of ours that nobody else may read, without following a link. Raises OSError."""
    descriptor = os.open(path, flags | _NOFOLLOW | _BINARY, 0o600)
    if sys.platform != "win32" and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
        os.fchmod(descriptor, 0o600)
    return descriptor


# The lock


class Lock:
    """The right to write to a data folder, held by one process at a time, and given up when it ends in whatever way."""

    def __init__(self, folder: Path) -> None:
        """Take the lock. Raises StoreError where another process has it."""
        try:
            self._descriptor = _open_private(folder / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise in_words(error, folder) from error
        if not _locked(self._descriptor):
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreError(
                f"another relayprobe (process {holder}) is writing to {folder}: stop it, or give this one its own "
                "folder with --data"
            )
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Let another process write."""
        os.close(self._descriptor)


def holder(folder: Path) -> int | None:
    """The process that writes to a data folder; None where none does. Raises StoreError."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | _NOFOLLOW | _BINARY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise in_words(error, folder) from error
    try:
        if _locked(descriptor):
            return None
        said = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(said) if said.isdigit() else None
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far behind the process number, which stays readable so
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# Bodies


def body_path(folder: Path, session: str, n: int) -> Path:
    """Where the large body `n` of a session is or would be. Raises StoreError for what cannot be a session's id."""
    if not SESSION_ID.fullmatch(session):
        raise StoreError(f"{session!r} is not the id of a session: `relayprobe sessions` lists them")
    return folder / "bodies" / f"{session}.{n:d}"


class BodyFile:
    """A body above 64 KiB on its way to the disk. Every write goes to the system at once."""

    __slots__ = ("_closed", "_descriptor", "size")

    def __init__(self, path: Path, closed: Callable[[int], None]) -> None:
        """Make the file; it must not exist yet, not even as a link. `closed` is told its size in octets at the end."""
        self._descriptor = _open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._closed = closed
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Write all of it. Raises OSError, above all where the disk is full; what was written before stays."""
        rest = memoryview(chunk)
        while rest:
            written = os.write(self._descriptor, rest)
            self.size += written
            rest = rest[written:]

    def close(self) -> None:
        """Done with it; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._closed(self.size)


def make_durable(paths: Sequence[Path]) -> None:
    """Wait until files and their names are on the disk for good. Raises OSError."""
    for path in (*paths, *{path.parent for path in paths}):
        if sys.platform == "win32" and path.is_dir():
            continue
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _BINARY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_body(path: Path, chunk: int = 65536) -> Iterator[bytes]:
    """The octets of a body file in chunks. Raises FileNotFoundError where there is none, OSError for a link."""
    with open(os.open(path, os.O_RDONLY | _NOFOLLOW | _BINARY), "rb", buffering=0) as file:
        while data := file.read(chunk):
            yield data


def body_files(folder: Path) -> Iterator[tuple[str, int, os.stat_result]]:
    """Session, number and state of each body file; what has another kind of name is passed over."""
    with os.scandir(folder / "bodies") as entries:
        for entry in entries:
            session, _, number = entry.name.rpartition(".")
            if SESSION_ID.fullmatch(session) and number.isascii() and number.isdigit():
                try:
                    yield session, int(number), entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed meanwhile


# Damage


def set_aside(folder: Path, now: float) -> Path:
    """Move the database out of the way, its log with it, so that a new one can begin; says where it is now.

    The body files stay: retention removes them when they are old, like the database set aside.
    """
    aside = free_name(folder, now)
    for end in ("", "-wal"):
        source = folder / (DATABASE + end)
        if source.exists():
            target = aside.with_name(aside.name + end)
            source.replace(target)
            os.utime(target, (now, now))  # its age counts from here
    (folder / f"{DATABASE}-shm").unlink(missing_ok=True)
    return aside


def free_name(folder: Path, now: float, end: str = "") -> Path:
    """Where something damaged may be kept."""
    aside = folder / time.strftime(f"{DATABASE}.damaged-%Y%m%dT%H%M%SZ{end}", time.gmtime(now))
    while aside.exists():
        aside = aside.with_name(aside.name + "-again")
    return aside


def set_aside_files(folder: Path) -> Iterator[Path]:
    """The files of damaged databases that were set aside."""
    return folder.glob(f"{DATABASE}.damaged-*")
