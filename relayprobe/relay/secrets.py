"""Where a secret comes from: a file, the environment, a systemd credential, the keyring, or the settings themselves.

The settings name the place, and the secret is read there anew each time, so that one that was changed is taken
without a restart. A file that others can read is refused. What goes wrong is one sentence that names the place, never
the secret.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

LARGEST = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,255}")
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO must not keep us waiting


class SecretError(Exception):
    """A secret cannot be had; the text is one sentence that names the place and the way out."""


@dataclass(frozen=True, slots=True, repr=False)
class Origin:
    """Where a secret comes from: exactly one of the five. `key` is the setting that says so, for messages.

    `env`: the name of a variable. `credential`: the name of a systemd credential. `keyring`: `service/user`.
    """

    file: Path | None = None
    env: str | None = None
    credential: str | None = None
    keyring: str | None = None
    literal: SecretStr | None = None
    key: str = "the secret"

    def __post_init__(self) -> None:
        given = [self.file, self.env, self.credential, self.keyring, self.literal]
        if sum(origin is not None for origin in given) != 1:
            raise ValueError(f"{self.key} must come from one place: a file, env, credential, keyring, or as it stands")

    @property
    def kind(self) -> str:
        """The kind of place, in one word."""
        return next(
            kind for kind in ("file", "env", "credential", "keyring", "literal") if getattr(self, kind) is not None
        )

    def __repr__(self) -> str:
        return f"Origin({self.kind})"


def read(origin: Origin) -> str:
    """The secret, without one line end behind it. Raises SecretError."""
    secret = _text(origin)
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise SecretError(f"{origin.key} is empty ({_place(origin)}): put the secret there")
    return secret


def read_private(path: Path, key: str, largest: int = LARGEST) -> bytes:
    """What is in a file that nobody else can read. Raises SecretError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError as error:
        raise SecretError(
            f"{key}: the file {path} cannot be read ({error.strerror}): check the path and whose it is"
        ) from None
    try:
        _check_private(os.fstat(descriptor), path, key)
        with open(descriptor, "rb", closefd=False) as file:
            found = file.read(largest + 1)
    finally:
        os.close(descriptor)
    if len(found) > largest:
        raise SecretError(f"{key}: the file {path} is larger than {largest} bytes: it cannot be what is meant")
    return found


def write_private(path: Path, data: bytes) -> None:
    """Put a file that only we can read in the place of the old one, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # O_EXCL follows no link
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _text(origin: Origin) -> str:
    match origin:
        case Origin(file=Path() as path):
            return _decoded(read_private(path, origin.key), origin)
        case Origin(env=str(name)):
            found = os.environ.get(name)
            if found is None:
                raise SecretError(f"{origin.key}: the environment variable {name} is not set: set it, or name another")
            return found
        case Origin(credential=str(name)):
            return _decoded(_credential(name, origin.key), origin)
        case Origin(keyring=str(entry)):
            return _from_keyring(entry, origin.key)
    assert origin.literal is not None
    return origin.literal.get_secret_value()


def _decoded(found: bytes, origin: Origin) -> str:
    # Not raised from the UnicodeDecodeError, which holds the secret.
    text = found.decode("utf-8", "surrogateescape")
    if not text.isprintable() and re.search(r"[\x00\ud800-\udfff]", text):
        raise SecretError(f"{origin.key} is no text in UTF-8 ({_place(origin)}): write it anew")
    return text


def _credential(name: str, key: str) -> bytes:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise SecretError(
            f"{key}: there are no systemd credentials here: start relayprobe by a unit with LoadCredential= for {name}"
        )
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise SecretError(f"{key}: {name!r} cannot be the name of a credential: write it as in LoadCredential=")
    try:
        # systemd keeps others out by the folder and by access lists, which show as bits for the group.
        with (Path(folder) / name).open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise SecretError(
            f"{key}: the credential {name} cannot be read ({error.strerror}): add LoadCredential= for it to the unit"
        ) from None


def _from_keyring(entry: str, key: str) -> str:
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise SecretError(f"{key}: {entry!r} names nothing in the keyring: write it as service/user")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise SecretError(f"{key}: the keyring needs a library: pip install 'relayprobe[keyring]'") from None
    try:
        found = keyring.get_password(service, user)
    except Exception as error:  # each backend has errors of its own beside KeyringError
        raise SecretError(
            f"{key}: the keyring cannot be asked ({type(error).__name__}): unlock it, or keep the secret in a file"
        ) from None
    if found is None:
        raise SecretError(f"{key}: nothing in the keyring for {entry}: run `keyring set {service} {user}`")
    return str(found)


def _check_private(state: os.stat_result, path: Path, key: str) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise SecretError(f"{key}: {path} is no file: name a file that holds the secret alone")
    if sys.platform == "win32":
        return
    if stat.S_IMODE(state.st_mode) & 0o077:
        raise SecretError(f"{key}: the file {path} can be read by others: run `chmod 600 {path}`")
    if state.st_uid not in (os.geteuid(), 0):
        raise SecretError(f"{key}: the file {path} belongs to another user: run `chown` and `chmod 600 {path}`")


def _place(origin: Origin) -> str:
    match origin.kind:
        case "literal":
            return "as it stands in the settings"
        case kind:
            return f"{kind} {getattr(origin, kind)}"
