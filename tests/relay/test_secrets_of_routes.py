"""Where secrets come from, and that they go nowhere else."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from relayprobe.relay.secrets import LARGEST, Origin, SecretError, read, write_private

SECRET = "hunter2 ü"


class InMemory(keyring.backend.KeyringBackend):
    """A keyring of the library's own kind, in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked(SECRET)
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.fixture
def ring() -> Iterator[InMemory]:
    before, ring = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    return path


def sentence(origin: Origin) -> str:
    with pytest.raises(SecretError) as caught:
        read(origin)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_each_place_gives_its_secret(file: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTE_SECRET", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    keyring.set_password("relayprobe", "office", SECRET)
    for origin in (
        Origin(file=file),
        Origin(env="ROUTE_SECRET"),
        Origin(credential="secret"),
        Origin(keyring="relayprobe/office"),
        Origin(literal=SecretStr(SECRET)),
    ):
        assert read(origin) == SECRET
        assert repr(origin) == f"Origin({origin.kind})"


def test_a_file_is_read_anew(file: Path) -> None:
    origin = Origin(file=file)
    assert read(origin) == SECRET
    file.write_text("rotated")
    assert read(origin) == "rotated"


@pytest.mark.parametrize(
    ("content", "secret"),
    [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a \n", " a "), ("a", "a"), ("a\nb", "a\nb")],
)
def test_one_line_end_is_taken_off(file: Path, content: str, secret: str) -> None:
    file.write_bytes(content.encode())
    assert read(Origin(file=file)) == secret


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_file_is_taken_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "any"
        file.touch(0o600)
        file.write_bytes(content)
        with contextlib.suppress(SecretError):
            secret = read(Origin(file=file))
            assert content.decode() in (secret, secret + "\n", secret + "\r\n", secret + "\r")
            assert secret
            assert "\0" not in secret


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"hunter2 \xff", "no text in UTF-8"), (b"a\0b", "no text in UTF-8")],
)
def test_what_is_no_secret_is_refused(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    said = sentence(Origin(file=file, key="route.office.password_file"))
    assert says in said
    assert str(file) in said
    assert "route.office.password_file" in said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"run `chmod 600 {file}`" in sentence(Origin(file=file))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 12345, 12345)
    assert "belongs to another user" in sentence(Origin(file=file))


def test_what_is_no_file_is_refused_without_waiting(file: Path) -> None:
    pipe = file.parent / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "is no file" in sentence(Origin(file=pipe))
    assert "is no file" in sentence(Origin(file=file.parent))
    assert "cannot be read" in sentence(Origin(file=file.parent / "none"))
    file.write_bytes(b"x" * (LARGEST + 1))
    assert "larger than" in sentence(Origin(file=file))


def test_what_is_not_there_is_said(ring: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTE_SECRET", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "variable ROUTE_SECRET is not set" in sentence(Origin(env="ROUTE_SECRET"))
    assert "LoadCredential=" in sentence(Origin(credential="secret"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "cannot be read" in sentence(Origin(credential="secret"))
    (tmp_path.parent / "outside").write_text(SECRET)
    for name in ("../outside", "..", ".", "", "a\nb"):
        assert "cannot be the name" in sentence(Origin(credential=name))
    assert "`keyring set relayprobe office`" in sentence(Origin(keyring="relayprobe/office"))
    assert "service/user" in sentence(Origin(keyring="relayprobe"))
    assert "as it stands in the settings" in sentence(Origin(literal=SecretStr("")))
    ring.locked = True
    assert "KeyringLocked" in sentence(Origin(keyring="relayprobe/office"))


def test_without_the_library_the_keyring_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install 'relayprobe[keyring]'" in sentence(Origin(keyring="relayprobe/office"))


@pytest.mark.parametrize("given_", [{}, {"env": "A", "file": Path("b")}, {"env": "A", "literal": SecretStr("")}])
def test_a_secret_comes_from_exactly_one_place(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one place"):
        Origin(**given_)


def test_a_private_file_is_written_whole_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    before = os.umask(0)
    try:
        write_private(path, b"one")
        write_private(path, b"two")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_a_private_file_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / f".kept.{os.getpid()}.new").symlink_to(target)
    write_private(tmp_path / "kept", b"secret")
    assert target.read_text() == "mine"
    assert not (tmp_path / "kept").is_symlink()
