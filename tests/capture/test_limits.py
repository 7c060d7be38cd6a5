"""Nobody holds the listener up, fills it, or gets an answer that tells of its inside."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from typing import Any

import pytest

from relayprobe.capture import listener as listening
from relayprobe.capture import recorder as recording
from relayprobe.capture import tap as tapping
from relayprobe.capture.listener import Listener, ListenError, Manner, Port
from relayprobe.capture.smtp import Limits
from relayprobe.store import StoreFull
from tests.capture.test_sloppy import talk

ENVELOPE = [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"]


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection that has been greeted."""
    device = socket.create_connection(address, timeout=10)
    assert device.recv(65536).startswith(b"220 ")
    return device


def to_the_end(device: socket.socket) -> bytes:
    """All that comes until the listener closes."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while data := device.recv(65536):
            heard += data
    device.close()
    return heard


async def test_one_device_gets_no_more_than_its_share(start: Any) -> None:
    running = await start(pin="plain", connections_per_peer=3)
    devices = [await asyncio.to_thread(connect, running.address) for _ in range(3)]

    def fourth() -> bytes:
        return to_the_end(socket.create_connection(running.address, timeout=10))

    assert (await asyncio.to_thread(fourth)).startswith(b"421 4.7.0 ")
    devices[0].close()
    await running.session(0)
    devices[0] = await asyncio.to_thread(connect, running.address)
    for device in devices:
        device.close()


async def test_all_together_get_no_more_than_there_is(start: Any) -> None:
    running = await start(pin="plain", connections=2)
    devices = [await asyncio.to_thread(connect, running.address) for _ in range(2)]
    refused = await asyncio.to_thread(lambda: to_the_end(socket.create_connection(running.address, timeout=10)))
    assert refused.startswith(b"421 4.7.0 ")
    for device in devices:
        device.close()


async def test_strangers_leave_room_for_those_who_are_named(start: Any) -> None:
    running = await start(pin="plain", connections=4, known=lambda host: host == "127.0.0.2")

    def come(source: str) -> tuple[socket.socket, bytes]:
        device = socket.create_connection(running.address, source_address=(source, 0))
        return device, device.recv(3)

    came = [await asyncio.to_thread(come, source) for source in ("127.0.0.3",) * 3 + ("127.0.0.2",) * 3]
    assert [code for _, code in came] == [b"220", b"220", b"421", b"220", b"220", b"421"]
    for device, _ in came:
        device.close()


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        *[
            (host, True)
            for host in ("192.168.1.5", "10.1.2.3", "127.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "203.0.114.9")
        ],
        *[(host, False) for host in ("8.8.8.8", "2a00::1", "nonsense")],
    ],
)
async def test_who_is_answered(start: Any, host: str, answered: bool) -> None:
    from ipaddress import ip_network

    running = await start(allow=(ip_network("203.0.114.0/24"),))
    assert running.listener._allowed(host) is answered


@pytest.mark.parametrize(
    ("line", "times", "reply"),
    [(b"NOOP", 101, b"421 4.7.0 "), (b"XYZ 1", 21, b"421 4.7.0 "), (b"AUTH PLAIN AHgAeQ==", 10, b"421 4.7.0 ")],
    ids=["idle", "errors", "logins"],
)
async def test_misbehaviour_ends_a_session(start: Any, line: bytes, times: int, reply: bytes) -> None:
    running = await start(pin="plain")

    def device() -> bytes:
        connection = connect(running.address)
        connection.sendall((line + b"\r\n") * times)
        return to_the_end(connection)

    heard = await asyncio.to_thread(device)
    assert heard.splitlines()[-1].startswith(reply)
    assert heard.count(b"\r\n") == times
    session = await running.session(0)
    assert session.closed is not None
    assert session.closed.how == "limit"


async def test_endless_talk_ends_a_session(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_EVENTS", 300)
    running = await start(pin="plain")

    def device() -> bytes:
        connection = connect(running.address)
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n" * 20_000)
        return to_the_end(connection)

    await asyncio.to_thread(device)
    session = await running.session(0)
    assert session.closed is not None
    assert session.closed.how == "limit"
    assert len(session.events) < 1000


async def test_many_messages_do_not_stay_in_memory(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "HEADS", 10_000)
    running = await start(pin="plain")
    text = b"Subject: x\r\n\r\n" + b"x" * 4000 + b"\r\n.\r\n"
    session = await running.play(talk, running.address, *[*ENVELOPE, text] * 10)
    assert sum(len(message.body.raw) for message in session.messages) < 10_000
    with running.archive() as archive:
        assert all(archive.body(session.id, n) == text for n in range(10))


async def test_devices_wait_for_a_slow_disk(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(pin="plain")
    monkeypatch.setattr(listening, "MOST_BEHIND", -1)  # as if a disk could not keep up at all
    heard: list[bytes] = []

    def device() -> None:
        connection = connect(running.address)
        connection.sendall(b"EHLO a\r\n")
        connection.recv(65536)
        connection.settimeout(0.3)
        connection.sendall(b"NOOP\r\n")
        with contextlib.suppress(TimeoutError):
            heard.append(connection.recv(65536))
        monkeypatch.undo()
        connection.settimeout(10)
        heard.append(connection.recv(65536))
        connection.close()

    await running.play(device)
    assert [reply[:4] for reply in heard] == [b"250 "]


async def test_a_line_without_an_end_is_cut(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> bytes:
        connection = connect(running.address)
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"EHLO " + b"x" * 3_000_000)
        return to_the_end(connection)

    await asyncio.to_thread(device)
    session = await running.session(0)
    assert session.closed is not None
    assert session.closed.how == "limit"
    assert sum(len(event.raw) for event in session.events if hasattr(event, "raw")) < 70_000


@pytest.mark.parametrize("size", [b"SIZE=100000", b""], ids=["announced", "sent"])
async def test_a_message_that_is_too_large(start: Any, size: bytes) -> None:
    running = await start(pin="plain", limits=Limits(message_size=50_000))
    envelope = [b"MAIL FROM:<a@b> " + size + b"\r\n", *ENVELOPE[1:]]
    text = [b"x" * 70 + b"\r\n"] * 2000 + [b".\r\n"]
    pieces = envelope[:1] if size else [*envelope, b"".join(text)]
    replies: list[str] = []
    session = await running.play(lambda: replies.extend(talk(running.address, *pieces)))
    assert replies[-1].startswith("552 5.3.4 ")
    if not size:
        await asyncio.wrap_future(running.store.flushed())
        with running.archive() as archive:
            kept = archive.body(session.id, 0)
        assert kept is not None
        assert len(kept) <= 65536


async def test_recipients_and_messages_have_a_limit(start: Any) -> None:
    running = await start(pin="plain", limits=Limits(recipients=2, messages_per_session=1))
    replies: list[str] = []
    pieces = [ENVELOPE[0], *[b"RCPT TO:<c@d>\r\n"] * 3, b"DATA\r\n", b"x\r\n.\r\n", ENVELOPE[0]]
    await running.play(lambda: replies.extend(talk(running.address, *pieces)))
    assert [reply[:3] for reply in replies] == ["250", "250", "250", "452", "354", "250", "421"]


async def test_time_has_a_limit(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(pin="plain", limits=Limits(command_timeout=0.2, data_timeout=0.2))

    def idle() -> bytes:
        return to_the_end(connect(running.address))

    def in_a_text() -> bytes:
        connection = connect(running.address)
        connection.sendall(b"".join(ENVELOPE) + b"Subject: x\r\n")
        return to_the_end(connection)

    assert b"421 4.4.2 " in await asyncio.to_thread(idle)
    assert b"421 4.4.2 " in await asyncio.to_thread(in_a_text)
    monkeypatch.setattr(tapping, "HANDSHAKE_TIME", 0.1)

    def in_a_handshake() -> bytes:
        connection = connect(running.address)
        connection.sendall(b"STARTTLS\r\n")
        return to_the_end(connection)

    await asyncio.to_thread(in_a_handshake)
    assert [(await running.session(n)).closed.how for n in range(3)] == ["timeout"] * 3


async def test_a_trickle_is_cut_and_a_steady_scan_is_not(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapping, "GRACE", 0.5)
    monkeypatch.setattr(tapping, "SLOWEST", 500.0)
    running = await start(pin="plain")

    def device(octets: int) -> bytes:
        connection = connect(running.address)
        connection.sendall(b"".join(ENVELOPE))
        with contextlib.suppress(OSError):
            for _ in range(30):
                connection.sendall(b"x" * octets)
                time.sleep(0.1)
            connection.sendall(b"\r\n.\r\nQUIT\r\n")
        return to_the_end(connection)

    slow, steady = await asyncio.gather(asyncio.to_thread(device, 1), asyncio.to_thread(device, 500))
    assert b"421 4.4.2 " in slow
    assert b"250 2.0.0 OK, captured" in steady


async def test_only_the_text_is_timed_not_what_was_before_it(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapping, "GRACE", 0.5)
    monkeypatch.setattr(tapping, "SLOWEST", 3000.0)
    running = await start(pin="plain")

    def device() -> bytes:
        connection = connect(running.address)
        time.sleep(2.0)  # as after another mail on the same connection
        connection.sendall(b"".join(ENVELOPE))
        with contextlib.suppress(OSError):
            for _ in range(20):
                connection.sendall(b"x" * 1000)
                time.sleep(0.1)
            connection.sendall(b"\r\n.\r\nQUIT\r\n")
        return to_the_end(connection)

    assert b"250 2.0.0 OK, captured" in await asyncio.to_thread(device)


async def test_a_device_that_reads_nothing_does_not_fill_the_memory(start: Any) -> None:
    running = await start(pin="plain")

    def device() -> int:
        connection = connect(running.address)
        connection.settimeout(1.0)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                sent += connection.send(b"EHLO a\r\nMAIL FROM:<a@b>\r\n" * 1000)
        connection.close()
        return sent

    assert await asyncio.to_thread(device) < 50_000_000


async def test_a_full_disk_is_a_passing_fault(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(pin="plain")
    monkeypatch.setattr(listening, "free", lambda folder: 1000)
    replies: list[str] = []
    await running.play(lambda: replies.extend(talk(running.address, ENVELOPE[0])))
    assert replies[-1].startswith("452 4.3.1 ")
    monkeypatch.undo()
    running.listener._room = (0.0, 0)

    def full() -> Any:
        from concurrent.futures import Future

        future: Future[None] = Future()
        future.set_exception(StoreFull("no room"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(running.store, "flushed", full)
        replies.clear()
        await running.play(lambda: replies.extend(talk(running.address, *ENVELOPE, b"x\r\n.\r\n")))
        assert replies[-1].startswith("451 4.3.1 ")
    replies.clear()
    await running.play(lambda: replies.extend(talk(running.address, *ENVELOPE, b"x\r\n.\r\n")))
    assert replies[-1].startswith("250 ")


async def test_no_room_for_a_large_message(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(pin="plain")

    def no_room(session: str, n: int) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running.store, "open_body", no_room)
    replies: list[str] = []
    pieces = [*ENVELOPE, b"x" * 200_000 + b"\r\n.\r\n", b"RSET\r\n", *ENVELOPE, b"small\r\n.\r\n"]
    await running.play(lambda: replies.extend(talk(running.address, *pieces)))
    assert [reply[:3] for reply in replies] == ["250", "250", "354", "451", "250", "250", "250", "354", "250"]


async def test_garbage_never_ends_the_listener(start: Any) -> None:
    running = await start(pin="plain")
    chance = random.Random(7)

    def device() -> None:
        words = [
            b"EHLO a",
            b"AUTH LOGIN",
            b"AUTH PLAIN",
            b"MAIL FROM:<a@b>",
            b"RCPT TO:<c@d>",
            b"DATA",
            b".",
            b"STARTTLS",
        ]
        words += [b"BDAT 10", b"BDAT 4 LAST", b"\x16\x03\x01\x02\x00", b"*", b"\r", b"\n", b"\0" * 9, b"\xff\xfb\x01"]
        with contextlib.suppress(OSError), socket.create_connection(running.address, timeout=0.3) as connection:
            for _ in range(chance.randrange(1, 12)):
                piece = chance.choice([*words, chance.randbytes(chance.randrange(1, 300))])
                connection.sendall(piece + chance.choice([b"", b"\r\n", b"\n"]))
            if chance.random() < 0.3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif chance.random() < 0.3:
                heard = connection.recv(65536)
                assert b"Traceback" not in heard
                assert all(octet in b"\r\n" or 32 <= octet < 127 for octet in heard) or heard[:1] in b"\x15\x16"

    for _ in range(10):
        await asyncio.gather(*(asyncio.to_thread(device) for _ in range(30)))
    replies = await asyncio.to_thread(talk, running.address, b"EHLO a\r\n")
    assert replies[0].startswith("250 ")


async def test_a_fault_of_ours_is_a_passing_one_and_tells_nothing(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(pin="plain")

    def fault(size: int) -> bool:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(running.listener, "room_for", fault)
    replies: list[str] = []
    await running.play(lambda: replies.extend(talk(running.address, ENVELOPE[0], b"NOOP\r\n")))
    assert replies[0].startswith("451 4.3.0 ")
    assert "secret" not in replies[0]
    assert replies[1].startswith("250 ")


async def test_a_port_in_use_is_said_so(start: Any) -> None:
    running = await start(pin="plain")
    port = Port(*running.address)
    other = Listener([port], running.listener.manner, running.listener.tls, running.store, running.folder)
    with pytest.raises(ListenError, match=r"in use by another program.*--listen"):
        await other.start()
    assert isinstance(other.manner, Manner)


async def test_a_stranger_address_is_said_so(start: Any) -> None:
    running = await start(pin="plain")
    other = Listener(
        [Port("192.0.2.77", 0)], running.listener.manner, running.listener.tls, running.store, running.folder
    )
    with pytest.raises(ListenError, match=r"no address 192\.0\.2\.77"):
        await other.start()
