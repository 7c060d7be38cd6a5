"""An export as packets: what Wireshark makes of it, that every packet is sound, and that it comes back as it was."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dpkt
import pytest

from relayprobe.advice.findings import diagnose
from relayprobe.report.objects import session_from_object
from relayprobe.report.pcapng import pcapng
from relayprobe.wire.codec import to_json
from relayprobe.wire.events import Body, Closed, Connected, Credentials, Event, Line, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.hello import ClientHello, HelloReader
from relayprobe.wire.packets import Packets, Segment
from relayprobe.wire.pcap import Capture
from relayprobe.wire.session import Session, session_of
from tests.conftest import need
from tests.rules.written import Written, dialogues
from tests.transcript import events, said

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
STARTED = 1_700_000_000.25
V4 = Connected(0.0, "192.168.1.21:49152", "192.168.1.5:2525")
V6 = Connected(0.0, "[fd00::21]:49152", "[fd00::5]:587")


def example(path: Path) -> Session:
    return session_from_object(json.loads(path.read_text()))


def session(found: list[Event], connected: Connected = V4, started: float = STARTED) -> Session:
    return session_of([connected, *found], id="aa00000001", started=started)


def told(text: str) -> list[Event]:
    """The events of a dialogue, a tenth of a second apart."""
    found = [replace(event, at=at / 10) for at, event in enumerate(events(said(text)), 1)]
    return [replace(event, until=event.at) if isinstance(event, Body) else event for event in found]


def whole(shown: Session) -> bytes:
    return b"".join(pcapng(shown, diagnose(shown)))


def segments(file: bytes) -> list[Segment]:
    packets = Packets(io.BytesIO(file))
    found = list(packets)
    assert (packets.damage, packets.unreadable, packets.shortened) == (None, 0, 0)
    return found


def read_back(file: bytes, as_it_was: Session) -> Session:
    capture = Capture(io.BytesIO(file))
    [found] = capture
    assert capture.remarks == []
    kept = {"id": as_it_was.id, "mode": as_it_was.mode, "site": as_it_was.site, "started": as_it_was.started}
    assert found.started == pytest.approx(as_it_was.started, abs=1e-6)
    return session_of(found.events, **kept)  # type: ignore[arg-type]


def hello_octets(hello: ClientHello) -> bytes:
    """The octets of a hello as a device would send it."""

    def numbers(them: tuple[int, ...]) -> bytes:
        return b"".join(struct.pack("!H", number) for number in them)

    extensions = b""
    if hello.sni:
        name = hello.sni.encode()
        extensions += struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    if hello.versions != (hello.version,):
        extensions += struct.pack("!HHB", 43, 2 * len(hello.versions) + 1, 2 * len(hello.versions))
        extensions += numbers(hello.versions)
    body = struct.pack("!H", hello.version) + bytes(33) + struct.pack("!H", 2 * len(hello.suites))
    body += numbers(hello.suites) + b"\1\0" + struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


def with_octets(shown: Session) -> Session:
    """A written session has the facts of a hello only; here it has octets, too."""
    found: list[Event] = []
    for event in shown.events:
        if isinstance(event, TlsHello) and event.hello and event.hello.form == "tls":
            reader = HelloReader()
            reader.feed(hello_octets(event.hello))
            found.append(replace(event, raw=reader.raw, hello=reader.hello))
        else:
            found.append(event)
    kept = {"id": shown.id, "mode": shown.mode, "site": shown.site, "started": STARTED}
    return session_of(found, **kept)  # type: ignore[arg-type]


# It comes back


@pytest.mark.parametrize("written", dialogues(), ids=lambda written: written.name)
def test_a_dialogue_comes_back_from_packets(written: Written) -> None:
    visits, before = written.last()
    before = with_octets(before)
    after = read_back(b"".join(pcapng(before, diagnose(before, visits))), before)
    assert list(map(to_json, after.events)) == list(map(to_json, before.events))
    assert diagnose(after, visits) == diagnose(before, visits)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_comes_back_from_packets(path: Path) -> None:
    before = example(path)
    after = read_back(whole(before), before)
    assert list(map(to_json, after.events)) == list(map(to_json, before.events))


def test_a_name_that_looks_like_a_comment_of_ours_is_none() -> None:
    before = session(
        [
            Line(0.1, "server", b"220 a\r\n"),
            Line(0.2, "client", b"EHLO a\r\n"),
            Line(0.3, "server", b"250 AUTH LOGIN\r\n"),
            Credentials(0.4, b"AUTH LOGIN ********\r\n", "initial", "LOGIN", user="a\nTLS is up: TLSv1.3 with X"),
            Line(0.5, "client", b"TLS is up: TLSv1.3 with X\r\n"),
        ]
    )
    assert not read_back(whole(before), before).tls


def test_comments_of_another_program_are_passed_over() -> None:
    before = example(EXAMPLES[0])
    file = whole(before).replace(b"relayprobe 0", b"dumpcap    0")
    assert read_back(file, before).tls == ()


def test_what_is_left_of_a_purged_message() -> None:
    text = told(DIALOGUE)
    at = next(at for at, event in enumerate(text) if isinstance(event, Body))
    purged = replace(text[at], raw=b"From: a@b\r\n\r\n", purged=True, until=9.0, size=70_000_000)  # type: ignore[call-arg]
    before = session([*text[:at], purged, *(replace(event, at=10.0) for event in text[at + 1 :])])
    after = read_back(whole(before), before)
    body = next(event for event in after.events if isinstance(event, Body))
    assert (body.size, body.purged, body.end) == (70_000_000, True, "crlf")
    assert {f.rule.id for f in diagnose(after)} == {f.rule.id for f in diagnose(before)}


# Every packet is sound

DIALOGUE = """
S: 220 mail.example ESMTP
C: EHLO mfp01.contoso.com
S: 250-mail.example
S: 250 PIPELINING
C: MAIL FROM:<scanner@contoso.com>
S: 250 2.1.0 Sender OK
C: RCPT TO:<anna@contoso.com>
S: 250 2.1.5 Recipient OK
C: DATA
S: 354 go on
C: From: scanner@contoso.com
C:
C: ..a line
C: .
S: 250 2.0.0 OK
C: QUIT
S: 221 bye
"""


@pytest.mark.parametrize("connected", [V4, V6], ids=["IPv4", "IPv6"])
def test_packets_are_numbered_and_timed_as_the_lines_are(connected: Connected) -> None:
    shown = session([*told(DIALOGUE), Closed(2.0, "server", "quit")], connected)
    found = segments(whole(shown))
    device = found[0].source
    assert device == (("fd00::21" if connected is V6 else "192.168.1.21"), 49152)
    assert found[0].target[1] == (587 if connected is V6 else 25)
    assert [(s.syn, s.ack is not None) for s in found[:3]] == [(True, False), (True, True), (False, True)]
    assert sum(s.fin for s in found) == 2
    following = {device: 0, found[0].target: 0}
    for segment in found:
        assert segment.seq == following[segment.source]
        if segment.ack is not None:
            assert segment.ack == following[segment.target]
        following[segment.source] += segment.size + segment.syn + segment.fin
    lines = [event for event in shown.events if isinstance(event, (Line, Body))]
    sent = [segment for segment in found if segment.data]
    assert [(s.data, s.source == device) for s in sent] == [(e.raw, e.sender == "client") for e in lines]
    assert [s.at for s in sent] == pytest.approx([STARTED + e.at for e in lines], abs=1e-6)


@pytest.mark.parametrize("connected", [V4, V6], ids=["IPv4", "IPv6"])
def test_checksums_are_right(connected: Connected) -> None:
    for frame in frames(whole(session([*told(DIALOGUE), Closed(2.0, "client", "rst")], connected))):
        packet = dpkt.ip6.IP6(frame) if frame[0] >> 4 == 6 else dpkt.ip.IP(frame)
        tcp = bytes(packet.data)
        addresses = packet.src + packet.dst
        assert dpkt.in_cksum(addresses + struct.pack("!II", len(tcp), 6) + tcp) == 0
        if frame[0] >> 4 == 4:
            assert dpkt.in_cksum(frame[:20]) == 0


def frames(file: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(file):
        kind, size = struct.unpack_from("<II", file, at)
        if kind == 6:
            (kept,) = struct.unpack_from("<I", file, at + 20)
            yield file[at + 28 : at + 28 + kept]
        assert file[at + size - 4 : at + size] == struct.pack("<I", size)
        at += size


def test_a_large_message_is_read_in_pieces_and_cut_into_packets() -> None:
    line = b"x" * 74 + b"\r\n"
    pieces, size = 300, 300 * 100 * len(line) + 3
    body = Body(1.0, 4.0, line * 100, size, "crlf", next(e for e in told(DIALOGUE) if isinstance(e, Body)).lines)
    text = [body if isinstance(event, Body) else event for event in told(DIALOGUE)]
    shown = session([replace(event, at=5.0) if event.at > 1.1 else event for event in text])
    asked: list[int] = []

    def bodies(n: int) -> Iterator[bytes]:
        asked.append(n)
        for _ in range(pieces):
            yield line * 100
        yield b".\r\n"

    file = b"".join(pcapng(shown, (), bodies))
    assert asked == [0]
    text_sent = [s for s in segments(file) if s.source[1] == 49152 and (s.data[:1] == b"x" or s.size == 1460)]
    assert max(s.size for s in text_sent) == 1460
    assert text_sent[0].at == pytest.approx(STARTED + 1, abs=1e-6)
    assert [s.at for s in text_sent] == sorted(s.at for s in text_sent)
    after = next(event for event in read_back(file, shown).events if isinstance(event, Body))
    assert (after.size, after.at, after.until) == (size, pytest.approx(1.0), pytest.approx(4.0))


def test_what_a_device_says_too_early_stands_in_front_of_the_answer() -> None:
    found: list[Event] = [
        Line(0.1, "server", b"220 a\r\n"),
        Line(0.3, "server", b"250 a\r\n"),
        Line(0.2, "client", b"EHLO a\r\n"),
    ]
    sent = [segment.data for segment in segments(whole(session(found))) if segment.data]
    assert sent == [b"220 a\r\n", b"EHLO a\r\n", b"250 a\r\n"]


@pytest.mark.parametrize(
    ("peer", "listener"),
    [("", ""), ("printer:1", "host:x"), ("[fd00::1%eth0]:1", "0.0.0.0:25"), ("1.2.3.4:99999999", "pop3://0.0.0.0:110")],
)
def test_addresses_that_are_none(peer: str, listener: str) -> None:
    assert segments(whole(session(told(DIALOGUE), Connected(0.0, peer, listener))))


# Wireshark


def tshark(file: bytes, folder: Path, *fields: str) -> list[list[str]]:
    """Some fields of each packet, as tshark reads them; its own settings, and no hint of what the ports are."""
    path = folder / "session.pcapng"
    path.write_bytes(file)
    asked = [part for field in fields for part in ("-e", field)]
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    done = subprocess.run(
        [need("tshark"), "-n", "-r", path, *checks, "-T", "fields", "-E", "separator=\x1f", *asked],
        capture_output=True,
        check=True,
        timeout=60,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )
    return [line.split("\x1f") for line in done.stdout.decode().splitlines()]


SMTP = (
    "frame.time_epoch",
    "smtp.req.command",
    "smtp.req.parameter",
    "smtp.response.code",
    "smtp.rsp.parameter",
    "smtp.auth.username",
    "smtp.auth.password",
)


def expected(shown: Session) -> Iterator[tuple[str, ...]]:
    """What tshark is to read of each line. It calls the first four letters of a line the command, and the rest but one
    the parameter."""
    for at, event in enumerate(shown.events):
        moment = f"{shown.started + event.at:.4f}"
        match event:
            case Line(sender="server", raw=raw):
                text = raw.decode().rstrip("\r\n")
                before = shown.events[at - 1]
                if text[:3] != "220" or not (isinstance(before, Line) and before.raw.startswith(b"STARTTLS")):
                    yield moment, "", "", text[:3], text[4:], "", ""
            case Line(raw=raw) | Credentials(stage="initial", raw=raw):
                text = raw.decode().rstrip("\r\n")
                yield moment, text[:4], text[5:] if text != "STARTTLS" else "TLS", "", "", "", ""
            case Credentials(stage="user", raw=raw):
                yield moment, "", "", "", "", raw.decode().strip(), ""
            case Credentials(stage="password", raw=raw):
                yield moment, "", "", "", "", "", raw.decode().strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_tshark_reads_the_dialogue(path: Path, tmp_path: Path) -> None:
    shown = example(path)
    rows = tshark(whole(shown), tmp_path, *SMTP)
    read = [(f"{float(at):.4f}", *fields) for at, *fields in rows if any(fields)]
    assert read == list(expected(shown))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_tshark_finds_nothing_amiss(path: Path, tmp_path: Path) -> None:
    shown = example(path)
    file = whole(shown)
    signs = [f"tcp.analysis.{sign}" for sign in "retransmission duplicate_ack lost_segment out_of_order".split()]
    rows = tshark(file, tmp_path, "frame.protocols", "tcp.len", "tcp.checksum.status", *signs)
    assert {tuple(row[2:]) for row in rows} == {("1", "", "", "", "")}
    assert all("smtp" in protocols and "tls" not in protocols for protocols, size, *_ in rows if size != "0")
    messages = [row for row in tshark(file, tmp_path, "imf.from") if row[0]]
    assert len(messages) == sum(message.body.end == "crlf" for message in shown.messages)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_tshark_shows_findings_and_tls_as_comments(path: Path, tmp_path: Path) -> None:
    shown = example(path)
    comments = "\n".join(row[0] for row in tshark(whole(shown), tmp_path, "frame.comment"))
    for finding in diagnose(shown):
        assert f"{finding.rule.id}: " in comments
    for _, up in shown.tls:
        assert f"TLS is up: {up.version} with {up.cipher}" in comments
        assert "Left out here: 220 " in comments


def test_tshark_reads_on_behind_starttls_in_a_session_that_sends_twice(tmp_path: Path) -> None:
    text = told(DIALOGUE.replace("C: QUIT\nS: 221 bye\n", "") + "C: STARTTLS\nS: 220 go ahead\n")
    text += [TlsUp(3.0, "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")]
    second = [event for event in told(DIALOGUE) if event.at > 0.15]
    text += [replace(event, at=event.at + 3, tls=True) for event in second if not isinstance(event, TlsUp)]  # type: ignore[call-arg]
    commands = [row[0] for row in tshark(whole(session(text)), tmp_path, "smtp.req.command") if row[0]]
    assert commands == ["EHLO", "MAIL", "RCPT", "DATA", "STAR", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "TLS on connect"])
def test_tshark_takes_the_hello_apart_where_tls_failed(at_once: bool, tmp_path: Path) -> None:
    hello = ClientHello("tls", 0x0301, (0x0301,), (0x0035, 0x000A))
    reader = HelloReader()
    reader.feed(hello_octets(hello))
    before = [] if at_once else told("S: 220 a\nC: EHLO a\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go ahead")
    sent = TlsHello(1.0, reader.raw, reader.hello, "on-connect" if at_once else "after-starttls")
    shown = session([*before, sent, TlsFailed(1.1, "server", "unsupported-protocol"), Closed(1.2, "server", "failed")])
    rows = tshark(whole(shown), tmp_path, "tls.handshake.ciphersuite")
    assert [row[0] for row in rows if row[0]] == ["0x0035,0x000a"]
    assert list(map(to_json, read_back(whole(shown), shown).events)) == list(map(to_json, shown.events))
