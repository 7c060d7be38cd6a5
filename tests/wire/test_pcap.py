"""Captures of packets, made by hand: every kind of frame, what TCP does to order, what is missing, what is hostile."""

from __future__ import annotations

import io
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.advice.findings import diagnose
from relayprobe.report.text import dialogue
from relayprobe.report.unseen import unseen
from relayprobe.wire import tls_names
from relayprobe.wire.codec import to_json
from relayprobe.wire.events import (
    Body,
    Closed,
    Credentials,
    Encrypted,
    Event,
    Line,
    Missing,
    Side,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.packets import NotACapture, looks_like_capture
from relayprobe.wire.pcap import Capture, Captured
from relayprobe.wire.session import Session, session_of
from tests.transcript import said

SYN, ACK, FIN, RST, PUSH = 2, 16, 1, 4, 8
STARTED = 1_700_000_000.0
PLAIN = """
S: 220 mail.example ESMTP
C: EHLO mfp01.contoso.com
S: 250-mail.example
S: 250 AUTH LOGIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: c2Nhbm5lckBjb250b3NvLmNvbQ==
S: 334 UGFzc3dvcmQ6
C: U2Nhbi0yMDI0IQ==
S: 235 OK
C: MAIL FROM:<scanner@contoso.com>
S: 250 OK
C: RCPT TO:<anna@contoso.com>
S: 250 OK
C: DATA
S: 354 go on
C: From: scanner@contoso.com
C:
C: a line
C: .
S: 250 OK
C: QUIT
S: 221 bye
"""
FOUND = {"no-tls", "auth-before-starttls"}


@dataclass
class Talk:
    """A TCP connection as packets: (time, frame of IP)."""

    client: tuple[str, int] = ("192.168.1.21", 49152)
    server: tuple[str, int] = ("192.0.2.7", 25)
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    at: float = STARTED
    seq: dict[str, int] = field(default_factory=lambda: {"client": 0xFFFFFF00, "server": 1000})  # it wraps soon

    def open(self) -> Talk:
        self.send("client", flags=SYN, ack=False)
        self.send("server", flags=SYN | ACK)
        self.send("client", flags=ACK)
        return self

    def send(self, side: Side, data: bytes = b"", flags: int = PUSH | ACK, *, ack: bool = True) -> Talk:
        other: Side = "server" if side == "client" else "client"
        self.at += 0.01
        self.packets.append((self.at, self.packet(side, self.seq[side], self.seq[other] if ack else 0, flags, data)))
        self.seq[side] = (self.seq[side] + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        return self

    def packet(self, side: str, seq: int, ack: int, flags: int, data: bytes) -> bytes:
        source, target = (self.client, self.server) if side == "client" else (self.server, self.client)
        tcp = dpkt.tcp.TCP(sport=source[1], dport=target[1], seq=seq, ack=ack, flags=flags, data=data)
        if ":" in source[0]:
            pack = lambda host: socket.inet_pton(socket.AF_INET6, host)  # noqa: E731
            ip = dpkt.ip6.IP6(src=pack(source[0]), dst=pack(target[0]), nxt=6, plen=len(tcp), data=tcp)
            ip.extension_hdrs = {}
            return bytes(ip)
        pack = socket.inet_aton
        return bytes(dpkt.ip.IP(src=pack(source[0]), dst=pack(target[0]), p=6, data=tcp))

    def say(self, text: str) -> Talk:
        for side, data in said(text):
            self.send(side, data)
        return self

    def close(self, first: Side = "server") -> Talk:
        self.send(first, flags=FIN | ACK)
        return self.send("client" if first == "server" else "server", flags=FIN | ACK)


def pcap(packets: list[tuple[float, bytes]], link: int = 101, wrap: bytes = b"", *, order: str = "<") -> bytes:
    """A capture file; `wrap` stands before each packet."""
    made = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for at, packet in packets:
        frame = wrap + packet
        made += struct.pack(order + "IIII", int(at), round(at % 1 * 1e6), len(frame), len(frame)) + frame
    return made


def pcapng(interfaces: list[int], packets: list[tuple[float, int, bytes]], *, order: str = "<") -> bytes:
    """A pcapng file whose interfaces have those kinds of frames, their times in nanoseconds."""

    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    made = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    for link in interfaces:
        resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
        made += block(1, struct.pack(order + "HHI", link, 0, 0) + resolution)
    for at, interface, frame in packets:
        ticks = round(at * 1e9)
        head = struct.pack(order + "5I", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        made += block(6, head + frame) + block(5, b"statistics  ")
    return made


def captured(octets: bytes, *ports: int) -> tuple[list[Captured], list[str]]:
    capture = Capture(io.BytesIO(octets), ports)
    found = list(capture)
    return found, capture.remarks


def one(octets: bytes, *ports: int) -> Session:
    [found], remarks = captured(octets, *ports)
    assert remarks == []
    return session(found)


def session(found: Captured) -> Session:
    return session_of(found.events, started=found.started, source="pcap")


def told(events: tuple[Event, ...]) -> list[str]:
    return [e.raw.decode("latin-1") for e in events if isinstance(e, (Line, Credentials, Body))]


WHOLE = Talk().open().say(PLAIN).close()
EXPECTED = one(pcap(WHOLE.packets))
ETHERNET = b"\x02" * 6 + b"\x04" * 6


def test_a_plain_session() -> None:
    found = EXPECTED
    assert (found.peer, found.listener) == ("192.168.1.21:49152", "192.0.2.7:25")
    assert found.started == pytest.approx(STARTED + 0.01)
    assert {f.rule.id for f in diagnose(found) if f.severity != "note"} == FOUND
    assert found.closed is not None
    assert (found.closed.by, found.closed.how) == ("server", "quit")
    [attempt] = found.auths
    assert (attempt.user, attempt.accepted) == ("scanner@contoso.com", True)
    assert [m.body.raw for m in found.messages] == [b"From: scanner@contoso.com\r\n\r\na line\r\n.\r\n"]
    assert unseen(found) == ()
    for secret in (b"U2Nhbi0yMDI0IQ", b"Scan-2024"):
        assert secret.decode() not in "".join(map(to_json, found.events))


@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (1, ETHERNET + b"\x08\x00"),
        (1, ETHERNET + b"\x81\x00\x00\x07\x08\x00"),
        (1, ETHERNET + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00"),
        (113, struct.pack(">HHH8sH", 0, 1, 6, b"\2" * 8, 0x0800)),
        (276, struct.pack(">HHiHBB8s", 0x0800, 0, 1, 1, 0, 6, b"\2" * 8)),
        (0, struct.pack("<I", 2)),
        (0, struct.pack(">I", 2)),
        (108, struct.pack(">I", 2)),
        (12, b""),
        (101, b""),
        (228, b""),
    ],
    ids="ethernet vlan qinq sll sll2 null null-be loop dlt-raw raw ipv4".split(),
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_kinds_of_frames(link: int, wrap: bytes, order: str) -> None:
    assert one(pcap(WHOLE.packets, link, wrap, order=order)) == EXPECTED


@pytest.mark.parametrize(("link", "wrap"), [(1, ETHERNET + b"\x86\xdd"), (101, b""), (0, struct.pack("<I", 30))])
def test_ipv6(link: int, wrap: bytes) -> None:
    talk = Talk(("fd00::21", 49152), ("fd00::7", 587)).open().say(PLAIN).close()
    found = one(pcap(talk.packets, link, wrap))
    assert (found.peer, found.listener) == ("[fd00::21]:49152", "[fd00::7]:587")
    assert told(found.events) == told(EXPECTED.events)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_two_interfaces(order: str) -> None:
    """One side's packets on each, as where a capture is of more than one network."""
    ethernet = ETHERNET + b"\x08\x00"
    packets = [(at, n % 2, ethernet + p if n % 2 else p) for n, (at, p) in enumerate(WHOLE.packets)]
    assert told(one(pcapng([101, 1], packets, order=order)).events) == told(EXPECTED.events)


def test_ethernet_pads_short_frames() -> None:
    padded = [(at, packet + b"\0" * 10) for at, packet in WHOLE.packets]
    assert one(pcap(padded, 1, ETHERNET + b"\x08\x00")) == EXPECTED


# What TCP does


def test_segments_that_come_twice_or_overlap() -> None:
    twice = [packet for packet in WHOLE.packets for _ in range(2)]
    assert one(pcap(twice)) == EXPECTED
    talk = Talk().open().send("server", b"220 a\r\n")
    talk.send("client", b"EHLO mf")
    talk.seq["client"] -= 4  # sent again, with more behind
    talk.send("client", b"O mfp01\r\n").send("server", b"250 a\r\n").close()
    assert told(one(pcap(talk.packets)).events) == ["220 a\r\n", "EHLO mfp01\r\n", "250 a\r\n"]


def test_segments_out_of_order() -> None:
    """Neighbours change places all along the capture: of one side, and a reply before what it answers."""
    for first in (3, 4):
        packets = list(WHOLE.packets)
        for n in range(first, len(packets) - 3, 2):
            packets[n], packets[n + 1] = packets[n + 1], packets[n]
        assert told(one(pcap(packets)).events) == told(EXPECTED.events)


def test_octet_by_octet() -> None:
    talk = Talk().open()
    for side, data in said(PLAIN):
        for n in range(len(data)):
            talk.send(side, data[n : n + 1])
    talk.close()
    assert told(one(pcap(talk.packets)).events) == told(EXPECTED.events)


def test_what_is_missing_is_said_and_not_made_up() -> None:
    talk = Talk().open()
    before, after = PLAIN.split("C: a line\n")
    talk.say(before)
    talk.seq["client"] = (talk.seq["client"] + 1000) & 0xFFFFFFFF
    talk.send("client", b"rest of a line\r\nanother\r\n").say(after).close()
    talk.at += 5
    found = one(pcap(talk.packets))
    assert [(e.sender, e.octets) for e in found.events if isinstance(e, Missing)] == [("client", 1000)]
    [message] = found.messages
    assert message.body.raw == b"From: scanner@contoso.com\r\n\r\nanother\r\n.\r\n"
    assert message.body.lines.bare_lf == 0
    assert any("1,000 octets of the device and 0 of the server are missing" in sentence for sentence in unseen(found))


def test_a_login_of_which_a_part_is_missing_shows_no_secret() -> None:
    talk = Talk().open().say("S: 220 a\nC: EHLO x\nS: 250 AUTH LOGIN")
    talk.seq["client"] += len(b"AUTH LOGIN\r\n")
    talk.say("S: 334 VXNlcm5hbWU6\nC: c2Nhbg==\nS: 334 UGFzc3dvcmQ6\nC: cHc=\nS: 235 OK\nC: QUIT\nS: 221 bye").close()
    shown = "".join(text for _, text in dialogue(one(pcap(talk.packets))))
    assert "missing" in shown
    assert "cHc=" not in shown
    assert "c2Nhbg" not in shown


def test_packets_captured_in_part() -> None:
    cut = [(at, packet[:50]) for at, packet in WHOLE.packets]
    [found], remarks = captured(pcap(cut))
    assert any(isinstance(event, Missing) for event in found.events)
    assert any("captured in part only" in remark for remark in remarks)


def test_one_direction_alone() -> None:
    packets = [WHOLE.packets[n] for n in range(len(WHOLE.packets)) if dpkt.ip.IP(WHOLE.packets[n][1]).tcp.dport == 25]
    [found], _ = captured(pcap(packets))
    assert "EHLO mfp01.contoso.com\r\n" in told(found.events)
    assert sum(e.octets for e in found.events if isinstance(e, Missing) and e.sender == "server") > 100
    assert "U2Nhbi0yMDI0IQ" not in "".join(map(to_json, found.events))


# Which connections


def test_one_that_began_before_the_capture_is_left_out_unless_it_has_its_greeting() -> None:
    assert told(one(pcap(WHOLE.packets[3:])).events) == told(EXPECTED.events)
    found, remarks = captured(pcap(WHOLE.packets[9:]))
    assert found == []
    assert any("begun before the capture" in remark for remark in remarks)


def test_a_port_that_is_none_for_mail() -> None:
    talk = Talk(server=("192.0.2.7", 8025)).open().say(PLAIN).close()
    assert told(one(pcap(talk.packets)).events) == told(EXPECTED.events)
    for other in (
        Talk(server=("192.0.2.7", 21)).open().say("S: 220 ftp\nC: USER anna\nS: 331 go on").close(),
        Talk(server=("192.0.2.7", 80)).open().say("C: GET / HTTP/1.1\nS: HTTP/1.1 200 OK").close(),
        Talk(server=("192.0.2.7", 25)).open().say("S: SSH-2.0-x\nC: SSH-2.0-y").close(),
    ):
        assert captured(pcap(other.packets)) == ([], [])
    ftp = Talk(server=("192.0.2.7", 21)).open().say("S: 220 ftp\nC: USER anna\nS: 331 go on").close()
    assert told(one(pcap(ftp.packets), 21).events)[0] == "220 ftp\r\n"


def test_one_that_is_refused_or_never_answered() -> None:
    refused = Talk().send("client", flags=SYN, ack=False).send("server", flags=RST | ACK)
    silent = Talk(("192.168.1.22", 5000)).send("client", flags=SYN, ack=False).send("client", flags=SYN, ack=False)
    silent.packets[1] = silent.packets[0]
    found, remarks = captured(pcap(refused.packets + silent.packets))
    assert found == []
    [remark] = remarks
    assert "2 connections were tried on a port for mail, and refused or never answered" in remark


def test_the_same_ports_again_are_another_connection() -> None:
    again = Talk(at=STARTED + 60, seq={"client": 77, "server": 99}).open().say(PLAIN).close()
    found, remarks = captured(pcap([*WHOLE.packets, *again.packets]))
    assert [told(each.events) for each in found] == [told(EXPECTED.events)] * 2
    assert remarks == []
    unfinished = Talk().open().say(PLAIN)
    found, _ = captured(pcap([*unfinished.packets, *again.packets]))
    assert [told(each.events) for each in found] == [told(EXPECTED.events)] * 2


def test_connections_at_the_same_time_are_known_of() -> None:
    first, second = Talk(), Talk(("192.168.1.21", 49153), at=STARTED + 0.005)
    first.open().say(PLAIN).close()
    second.open().say(PLAIN)
    capture = Capture(io.BytesIO(pcap(sorted(first.packets + second.packets))))
    connections = iter(capture)
    assert next(connections).peer == "192.168.1.21:49152"
    [(peer, began)] = capture.going_on("192.168.1.21")
    assert (peer, began) == ("192.168.1.21:49153", pytest.approx(STARTED + 0.015))
    assert next(connections).peer == "192.168.1.21:49153"
    assert capture.going_on("192.168.1.21") == []


@pytest.mark.parametrize(
    ("first", "flags", "how"),
    [("client", FIN | ACK, ("client", "fin")), ("client", RST, ("client", "rst")), ("server", RST, ("server", "rst"))],
)
def test_how_it_ends(first: Side, flags: int, how: tuple[str, str]) -> None:
    talk = Talk().open().say(PLAIN.partition("C: QUIT")[0]).send(first, flags=flags)
    found = one(pcap(talk.packets))
    assert found.closed is not None
    assert (found.closed.by, found.closed.how) == how


def test_one_that_does_not_end_within_the_capture() -> None:
    found = one(pcap(WHOLE.packets[:-2]))
    assert found.closed is None
    assert "How the connection ended is not in it." in unseen(found)


# TLS


def shake(talk: Talk, version: ssl.TLSVersion, *, how: Literal["up", "unknown-ca", "no-shared-cipher"] = "up") -> None:
    """A handshake by OpenSSL on both sides, in memory, put on the wire."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_REQUIRED if how == "unknown-ca" else ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    if how == "no-shared-cipher":
        client.set_ciphers("AES128-SHA")
        server.set_ciphers("AES256-SHA")
    server.load_cert_chain(certificate())
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, pipes[0])
    theirs = server.wrap_bio(to_server, pipes[1], server_side=True)
    sides: list[tuple[Side, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]] = [
        ("client", ours, pipes[0], to_server),
        ("server", theirs, pipes[1], to_client),
    ]
    failed = False
    for _ in range(4):
        for side, machine, sent, towards in sides:
            try:
                machine.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                failed = True
            if data := sent.read():
                talk.send(side, data)
                towards.write(data)
    assert failed == (how != "up")
    if not failed:
        for side, machine, sent, _ in sides:
            machine.write(b"what nobody can read\r\n")
            talk.send(side, sent.read())


_CERTIFICATES: list[str] = []


def certificate() -> str:
    return _CERTIFICATES[0]


@pytest.fixture(scope="module", autouse=True)
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from relayprobe.capture.tls import own_certificate

    folder = tmp_path_factory.mktemp("tls")
    chain, key = own_certificate(folder, "relayprobe.local")
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    _CERTIFICATES.append(str(both))
    yield
    _CERTIFICATES.clear()


STARTTLS = "S: 220 a\nC: EHLO mfp01.contoso.com\nS: 250-a\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go ahead"


@pytest.mark.parametrize(
    ("version", "expected", "suite"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2", "ECDHE-RSA-"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3", "TLS_AES_")],
)
@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
def test_tls(version: ssl.TLSVersion, expected: str, suite: str, implicit: bool) -> None:
    talk = Talk(server=("192.0.2.7", 465 if implicit else 587)).open()
    if not implicit:
        talk.say(STARTTLS)
    shake(talk, version)
    found = one(pcap(talk.close("client").packets))
    [(_, hello)] = found.hellos
    assert hello.hello is not None
    assert hello.moment == ("on-connect" if implicit else "after-starttls")
    assert hello.raw[:1] == b"\x16"
    [(_, up)] = found.tls
    assert (up.version, up.cipher[: len(suite)]) == (expected, suite)
    assert found.encrypted is not None
    assert found.encrypted.client >= len(b"what nobody can read\r\n")
    assert found.encrypted.server >= len(b"what nobody can read\r\n")
    assert [type(event) for event in found.events[-4:]] == [TlsHello, TlsUp, Encrypted, Closed]
    assert {f.rule.id for f in diagnose(found)} == ({"no-sni", "port-465-to-office365"} if implicit else {"no-sni"})
    assert any("cannot be read here" in sentence for sentence in unseen(found))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_that_the_device_breaks_off(version: ssl.TLSVersion) -> None:
    talk = Talk(server=("192.0.2.7", 587)).open().say(STARTTLS)
    shake(talk, version, how="unknown-ca")
    found = one(pcap(talk.send("client", flags=RST).packets))
    [(_, failed)] = found.tls_failures
    assert (failed.by, failed.reason, failed.alert) == ("client", "unknown-ca", 48)
    assert found.encrypted is None
    assert [f.rule.id for f in diagnose(found) if f.severity == "error"] == ["cert-rejected-by-client"]


def test_tls_that_the_server_breaks_off() -> None:
    talk = Talk(server=("192.0.2.7", 587)).open().say(STARTTLS)
    shake(talk, ssl.TLSVersion.TLSv1_2, how="no-shared-cipher")
    found = one(pcap(talk.close().packets))
    assert [failed for _, failed in found.tls_failures] == [
        TlsFailed(pytest.approx(0.13, abs=0.1), "server", "handshake-failure", 40)
    ]


def test_tls_that_is_broken_off_without_a_word() -> None:
    talk = Talk(server=("192.0.2.7", 587)).open().say(STARTTLS)
    shake(talk, ssl.TLSVersion.TLSv1_2)
    talk.packets = talk.packets[:-5]  # the hellos are there, and no more
    talk.seq = {"client": talk.seq["client"], "server": talk.seq["server"]}
    packets = [*talk.packets[:10], (talk.at, talk.packet("client", 0, 0, RST, b""))]
    [found], _ = captured(pcap(packets))
    assert [(e.by, e.reason) for e in found.events if isinstance(e, TlsFailed)] == [("client", "reset")]


def test_it_goes_on_in_clear_after_starttls() -> None:
    talk = Talk().open().say(STARTTLS).say("C: MAIL FROM:<a@contoso.com>\nS: 530 no").close()
    found = one(pcap(talk.packets))
    assert [failed.reason for _, failed in found.tls_failures] == ["continued-in-clear"]
    assert found.envelopes[0].sender == "a@contoso.com"


def test_a_hello_after_the_greeting() -> None:
    talk = Talk().open().send("server", b"220 a\r\n")
    shake(talk, ssl.TLSVersion.TLSv1_2)
    talk.packets = talk.packets[:5]
    found = one(pcap(talk.packets))
    assert [hello.moment for _, hello in found.hellos] == ["late"]
    assert "implicit-tls-on-starttls-port" in {f.rule.id for f in diagnose(found)}


def test_names_of_suites_are_those_of_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    theirs = {cipher["id"] & 0xFFFF: cipher["name"] for cipher in context.get_ciphers()}
    known = {number: name for number, name in theirs.items() if number in tls_names.SUITES and "PSK" not in name}
    assert len(known) > 20
    assert {number: tls_names.openssl_name(number) for number in known} == known


# What is damaged, and what is hostile


def test_a_file_that_breaks_off_is_used_as_far_as_it_goes() -> None:
    octets = pcap(WHOLE.packets)
    for size in (len(octets) - 1, len(octets) - 100, len(octets) // 2):
        [found], remarks = captured(octets[:size])
        assert told(found.events)[0] == "220 mail.example ESMTP\r\n"
        assert any("breaks off within packet" in remark for remark in remarks)
    whole = pcapng([101], [(at, 0, packet) for at, packet in WHOLE.packets])
    _, remarks = captured(whole[:-30])
    assert any("breaks off" in remark for remark in remarks)
    found, remarks = captured(octets[:30])
    assert (found, len(remarks)) == ([], 1)


def test_a_packet_of_an_impossible_size_is_damage() -> None:
    octets = pcap(WHOLE.packets) + b"\xff" * 16 + b"x" * 100
    [found], remarks = captured(octets)
    assert told(found.events) == told(EXPECTED.events)
    assert any("is no packet" in remark for remark in remarks)


def test_a_network_that_cannot_be_read() -> None:
    found, remarks = captured(pcap(WHOLE.packets, 105))
    assert found == []
    assert any("kind of network that cannot be read" in remark for remark in remarks)


@pytest.mark.parametrize("octets", [b"", b"\xd4\xc3", b"{}", b"220 mail.example\r\n", b"\x1f\x8b\x08\x00"])
def test_what_is_no_capture(octets: bytes) -> None:
    assert not looks_like_capture(octets)
    with pytest.raises(NotACapture):
        Capture(io.BytesIO(octets))


FILES = [
    pcap(WHOLE.packets),
    pcap(WHOLE.packets, 1, ETHERNET + b"\x08\x00"),
    pcapng([101], [(1.0, 0, WHOLE.packets[0][1])]),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=8))
def test_no_file_is_too_odd(octets: bytes, changes: list[tuple[int, bytes]]) -> None:
    made = bytearray(octets)
    for at, change in changes:
        made[4 + at : 4 + at + len(change)] = change
    for found in captured(bytes(made))[0]:
        judged = session(found)
        diagnose(judged)
        assert all(text.isprintable() for _, text in dialogue(judged))


SEGMENTS = st.tuples(
    st.sampled_from(["client", "server"]),
    st.integers(-50, 300),
    st.integers(-50, 300) | st.integers(0, 2**32 - 1),
    st.sampled_from([ACK, FIN | ACK, RST, SYN, 0]),
    st.sampled_from(
        [b"", b"220 a\r\n", b"EHLO x\r\n", b"250 STARTTLS\r\n", b"STARTTLS\r\n", b"220 b\r\n", b"\x16\x03\x01\0\5\1"]
    )
    | st.binary(max_size=30),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SEGMENTS, max_size=40))
def test_no_order_of_segments_is_too_odd(segments: list[tuple[Side, int, int, int, bytes]]) -> None:
    talk = Talk().open()
    base = dict(talk.seq)
    for side, seq, ack, flags, data in segments:
        other = "server" if side == "client" else "client"
        talk.at += 0.3
        packet = talk.packet(side, (base[side] + seq) & 0xFFFFFFFF, (base[other] + ack) & 0xFFFFFFFF, flags, data)
        talk.packets.append((talk.at, packet))
    for found in captured(pcap(talk.packets))[0]:
        judged = session(found)
        diagnose(judged)
        assert all(0 <= event.at <= talk.at - STARTED for event in judged.events)
        if judged.closed is not None:
            assert judged.events[-1] == judged.closed


def test_many_connections_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.wire.pcap.MOST_OPEN", 10)
    packets = []
    for n in range(40):
        packets += Talk(("192.168.1.21", 1000 + n), at=STARTED + n).open().say(PLAIN.partition("C: QUIT")[0]).packets
    capture = Capture(io.BytesIO(pcap(packets)))
    assert [len(capture._open) for _ in capture] == [10] * 30 + list(range(9, -1, -1))
