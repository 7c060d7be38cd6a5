"""What the kernel was asked for before 250 was said; and a store that the disk has damaged, at the next start."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relayprobe.store.folder import holder
from tests.clients.listening import until
from tests.conftest import need
from tests.relay.relay_process import Device, RelayProcess, free_port, message, numbered
from tests.relay.upstream_sink import Sink


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """One whose mail goes nowhere yet."""
    made = RelayProcess(tmp_path, free_port())
    yield made
    made.end()


def calls(trace: Path) -> list[tuple[str, str]]:
    """The finished calls with their arguments, in the order in which they returned."""
    begun: dict[str, str] = {}
    done = []
    for line in trace.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if found := re.match(r"\w+\(.*(?=<unfinished)", rest):
            begun[thread] = found[0]
        else:
            if found := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
                rest = begun.pop(thread, "") + found[1]
            if found := re.match(r"(\w+)\((.*)", rest):
                done.append((found[1], found[2]))
    return done


def test_all_of_a_mail_is_on_the_disk_before_its_250(relay: RelayProcess, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    what = "trace=fsync,fdatasync,sendto,write,sendmsg,pwrite64"
    relay.start(need("strace"), "-f", "-y", "-s", "40", "-o", str(trace), "-e", what)
    with Device(relay.port) as device:
        for number, body in enumerate([b"small\r\n", b"large\r\n" * 60_000]):
            assert device.send(message(f"m{number}", body)).startswith("250")
    process = holder(relay.data)
    assert process is not None
    os.kill(process, signal.SIGKILL)  # strace ends with it, and would not for a signal of its own
    relay.wait()
    seen = calls(trace)
    texts = [at for at, (_, said) in enumerate(seen) if '"354 ' in said]
    answers = [at for at, (_, said) in enumerate(seen) if "250 2.0.0 OK, queued" in said]
    assert (len(texts), len(answers)) == (2, 2)
    for large, (began, answered) in enumerate(zip(texts, answers, strict=True)):
        between = seen[began:answered]
        written = [at for at, (name, said) in enumerate(between) if name == "pwrite64" and "relayprobe.db-wal>" in said]
        synced = [at for at, (name, said) in enumerate(between) if "sync" in name and "relayprobe.db-wal>" in said]
        assert max(written) < max(synced)
        files = [
            at for at, (name, said) in enumerate(between) if name == "fsync" and re.search(r"bodies/\w+\.1>", said)
        ]
        folders = [at for at, (name, said) in enumerate(between) if name == "fsync" and "/bodies>" in said]
        assert (len(files), len(folders)) == (large, large)
        if large:
            pieces = [at for at, (name, said) in enumerate(between) if name == "write" and "bodies/" in said]
            assert max(pieces) < files[0] < folders[0] < max(written)


def test_what_the_disk_has_damaged_is_set_aside_and_the_rest_is_delivered(relay: RelayProcess, tmp_path: Path) -> None:
    given = [*numbered(30, 9, large=0), *(message(f"large{n}", b"%d lines\r\n" % n * 20_000) for n in range(3))]
    digests = {one.id: one.digest for one in given}
    relay.start()
    with Device(relay.port) as device:
        for one in given:
            assert device.send(one).startswith("250")
    relay.kill()
    flip(relay.data / "relayprobe.db-wal", 0.5)
    file = sorted((relay.data / "bodies").iterdir(), key=lambda path: path.stat().st_mtime)[1]
    flip(file, 0.7)

    sink = Sink(tmp_path)
    again = RelayProcess(tmp_path, sink.port)
    try:
        again.start()
        until(lambda: {mail["state"] for mail in again.queue()} == {"held"})
        held = again.queue()
        assert again.stop() == 0
    finally:
        again.end()
        sink.close()
    assert len(sink.ids()) == len(given) - len(held)
    assert "large1" not in sink.ids()
    assert len(held) <= 2  # the damaged text, and what stood in the damaged page of the log
    assert all("damaged" in mail["why"] or "cannot be read" in mail["why"] for mail in held)
    assert all(one.digest == digests[one.id] for one in sink.arrived())
    said = again.log.read_text()
    assert "the log of the database" in said
    assert "Traceback" not in said


def test_damage_in_a_large_database_is_met_and_the_rest_is_delivered(relay: RelayProcess, tmp_path: Path) -> None:
    """One too large to be looked through as a whole at the start; a page of the mails is overwritten."""
    given = numbered(60, 4, large=0)
    relay.start()
    with Device(relay.port) as device:
        for one in given:
            assert device.send(one).startswith("250")
    assert relay.stop() == 0
    file = relay.data / "relayprobe.db"
    with closing(sqlite3.connect(file)) as base:
        base.execute("CREATE TABLE pad (octets BLOB)")
        base.execute("INSERT INTO pad VALUES (zeroblob(80000000))")
        base.commit()
    raw = file.read_bytes()
    leaves = [
        at for at in range(0, 2**21, 4096) if raw[at] == 0x0D and b'"crlf",{' in raw[at : at + 4096]
    ]  # of `mails`
    with file.open("r+b") as damaged:
        damaged.seek(leaves[len(leaves) // 2])
        damaged.write(b"\xff" * 4096)

    sink = Sink(tmp_path)
    again = RelayProcess(tmp_path, sink.port)
    try:
        again.start()
        until(lambda: "mails to be sent were carried over" in again.log.read_text())
        until(lambda: again.queue() == [])
        late = message("late", b"it goes on\r\n")
        with Device(again.port) as device:
            assert device.send(late).startswith("250")
        sink.wait_for({"late"})
        assert again.stop() == 0
    finally:
        again.end()
        sink.close()
    assert len(sink.ids()) > len(given) // 2
    digests = {one.id: one.digest for one in (*given, late)}
    assert all(one.digest == digests[one.id] for one in sink.arrived())
    assert "Traceback" not in again.log.read_text()


def flip(path: Path, where: float) -> None:
    """Turn one bit round."""
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * where)] ^= 4
    path.write_bytes(raw)
