"""The sign-in of a person, kept for the relay: msal's cache with the refresh token in it, in an encrypted file.

The key is kept elsewhere (`Origin`), so that a copy of the folder is worth nothing. The file holds one sign-in;
`relayprobe login` writes it, and the relay, another process, sees that it changed. Without a file and a key it is kept
in memory, and ends with the process.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msal
from cryptography.fernet import Fernet, InvalidToken

from relayprobe.relay.secrets import Origin, SecretError, read, read_private, write_private

LARGEST = 1024 * 1024
IN_MEMORY = (
    "The sign-in is kept in memory only, and ends with this process: to keep it, name a file, and where its key comes "
    "from."
)


class Cache:
    """One sign-in. Methods but `changed` do IO, and are called from a thread."""

    def __init__(self, path: Path | None = None, key: Origin | None = None) -> None:
        if (path is None) != (key is None):
            raise ValueError("a sign-in that is kept needs both a file and a key")
        self._path = path
        self._key = key
        self._memory = ""
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()

    @property
    def kept(self) -> bool:
        """Whether the sign-in outlives the process."""
        return self._path is not None

    def changed(self) -> bool:
        """Whether another process has signed in since the file was last read or written here."""
        return self._path is not None and self._state() != self._seen

    def check(self) -> None:
        """Raises SecretError where a sign-in could not be kept."""
        if self._key is not None:
            self._fernet()

    def load(self) -> msal.SerializableTokenCache:
        """The sign-in for msal, empty where nobody has signed in. Raises SecretError."""
        cache = msal.SerializableTokenCache()
        with self._lock:
            cache.deserialize(self._read() if self._path else self._memory)
        return cache

    def store(self, cache: msal.SerializableTokenCache, *, over: bool = False) -> None:
        """Keep what msal has now. Raises SecretError.

        A file that another process wrote meanwhile is left as it is, for what is in it is newer; but for `over`.
        """
        text = cache.serialize()
        with self._lock:
            if self._path is None:
                self._memory = text
            elif over or self._state() == self._seen:
                sealed = self._fernet().encrypt(text.encode())
                try:
                    write_private(self._path, sealed)
                except OSError as error:
                    raise SecretError(
                        f"the sign-in cannot be kept in {self._path} ({error.strerror}): check the folder and its room"
                    ) from None
                self._seen = self._state()

    def _read(self) -> str:
        assert self._path is not None
        self._seen = self._state()
        if self._seen is None:
            return ""
        sealed = read_private(self._path, "the sign-in", LARGEST)
        fernet = self._fernet()
        try:
            return fernet.decrypt(sealed).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise SecretError(
                f"the sign-in in {self._path} cannot be decrypted: the key is another, or the file is damaged; give "
                "the old key back, or run `relayprobe login` again"
            ) from None

    def _state(self) -> tuple[int, int, int] | None:
        assert self._path is not None
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size

    def _fernet(self) -> Fernet:
        assert self._key is not None
        key = read(self._key).strip()
        try:
            return Fernet(key)
        except ValueError:
            pass  # not raised from it, for it stands next to the key
        raise SecretError(f"{self._key.key} is no key: make one with `openssl rand -base64 32`")
