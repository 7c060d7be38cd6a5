"""The packets in a capture file, pcap or pcapng, as TCP segments.

The file is read block by block and never held whole. The blocks are read here, for a file that breaks off is to be used
as far as it goes, and a pcapng file may have many interfaces, each with its own kind of frames; what is in a frame is
taken apart by dpkt. What is no TCP, and what cannot be read, is passed over: a capture has the traffic of others, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

import dpkt

from relayprobe.tongue import said

LONGEST = 1 << 20
"""Octets of a block; a longer one is taken for damage. Frames have 256 KiB at the most (libpcap's MAXIMUM_SNAPLEN)."""

_PCAP = {  # the first four octets -> byte order, parts of a second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_RESOLUTION, _OFFSET = 9, 14  # options of an interface
_COMMENT, _APPLICATION = 1, 4  # of a packet, and of a section
_OURS = b"relayprobe "

_Host = tuple[str, int]


class File(Protocol):
    """What octets can be read from."""

    def read(self, size: int, /) -> bytes:
        """The next octets, fewer only at the end."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment. `at` is Unix time in seconds.

    `size` is the octets it carried, of which `data` may have only the beginning: a capture may cut its packets short.
    `comment`: what relayprobe has written beside it, in an export of its own.
    """

    at: float
    source: _Host
    target: _Host
    seq: int
    ack: int | None
    data: bytes
    size: int
    syn: bool
    fin: bool
    rst: bool
    comment: str = ""


class NotACapture(Exception):
    """The octets do not begin as pcap or pcapng does."""


def looks_like_capture(beginning: bytes) -> bool:
    """Whether a file that begins so is pcap or pcapng."""
    return beginning[:4] in _PCAP or beginning[:4] == _PCAPNG


class Packets:
    """Iterate over it for the segments, once. What is known about the file as a whole is known at its end.

    `damage` says where and why reading ended before the end of the file. `frames` counts all frames, `unreadable` those
    of a kind that cannot be read here, and `shortened` those of which the capture has only a part.
    """

    def __init__(self, file: File) -> None:
        """Raises NotACapture."""
        self.damage: str | None = None
        self.frames = self.unreadable = self.shortened = 0
        self._file = file
        self._ours = False
        self._begin = file.read(4)
        if not looks_like_capture(self._begin):
            raise NotACapture

    def __iter__(self) -> Iterator[Segment]:
        for at, link, frame, comment in self._pcap() if self._begin in _PCAP else self._pcapng():
            self.frames += 1
            unframe = _LINKS.get(link)
            if unframe is None:
                self.unreadable += 1
                continue
            segment = _segment(at, unframe, frame, comment)
            if segment is not None:
                self.shortened += segment.size > len(segment.data)
                yield segment

    def _take(self, size: int) -> bytes | None:
        """So many octets, or None with the damage noted."""
        data = self._file.read(size) if size <= LONGEST else b""
        if len(data) == size:
            return data
        if size > LONGEST:
            self.damage = said("what follows packet {frames:,} is no packet", frames=self.frames)
        else:
            self.damage = said("the file breaks off within packet {frames:,}", frames=self.frames + 1)
        return None

    def _pcap(self) -> Iterator[tuple[float, int, bytes, str]]:
        order, parts = _PCAP[self._begin]
        head = self._take(20)
        if head is None:
            return
        (link,) = struct.unpack(order + "16xI", head)
        link &= 0xFFFF  # above are the length of checksums, and flags
        while begin := self._file.read(1):
            rest = self._take(15)
            if rest is None:
                return
            seconds, part, kept, _ = struct.unpack(order + "4I", begin + rest)
            frame = self._take(kept)
            if frame is None:
                return
            yield seconds + part / parts, link, frame, ""

    def _pcapng(self) -> Iterator[tuple[float, int, bytes, str]]:
        order = "<"
        interfaces: list[tuple[int, Callable[[int], float]]] = []
        last = 0.0
        begin = self._begin
        while begin:
            rest = self._take(8 - len(begin)) if len(begin) < 8 else b""
            if rest is None:
                return
            head = begin + rest
            if head[:4] == _PCAPNG:
                mark = self._take(4)
                if mark is None:
                    return
                if mark not in _ORDERS:
                    self.damage = said("what follows packet {frames:,} is no packet", frames=self.frames)
                    return
                order, interfaces = _ORDERS[mark], []
                done = 12
            else:
                done = 8
            kind, size = struct.unpack(order + "II", head)
            if size < done + 4 or size % 4:
                self.damage = said("what follows packet {frames:,} is no packet", frames=self.frames)
                return
            body = self._take(size - done)
            if body is None:
                return
            body = body[:-4]  # the size once more
            if kind == _SECTION:
                self._ours = _option(order, body[12:], _APPLICATION).startswith(_OURS)
            elif kind == _INTERFACE:
                interfaces.append(_interface(order, body))
            elif kind in (_PACKET, _OLD_PACKET) and len(body) >= 20:
                which, high, low, kept, _ = struct.unpack_from(order + "5I", body)
                if kind == _OLD_PACKET:
                    which = struct.unpack_from(order + "H", body)[0]
                if which < len(interfaces):
                    link, seconds = interfaces[which]
                    last = seconds(high << 32 | low)
                    comment = _option(order, body[20 + kept + -kept % 4 :], _COMMENT) if self._ours else b""
                    yield last, link, body[20 : 20 + kept], comment.decode("utf-8", "replace")
            elif kind == _SIMPLE_PACKET and interfaces and len(body) >= 4:
                yield last, interfaces[0][0], body[4 : 4 + struct.unpack_from(order + "I", body)[0]], ""
            begin = self._file.read(1)


def _interface(order: str, body: bytes) -> tuple[int, Callable[[int], float]]:
    """The kind of frames of an interface, and how its times become seconds."""
    link = struct.unpack_from(order + "H", body)[0] if len(body) >= 2 else -1
    parts, offset = 10**6, 0
    for code, value in _options(order, body[8:]):
        if code == _RESOLUTION and value:
            parts = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** (value[0] & 0x7F)
        elif code == _OFFSET and len(value) == 8:
            (offset,) = struct.unpack(order + "q", value)
    return link, lambda ticks: offset + ticks / parts


def _options(order: str, body: bytes) -> Iterator[tuple[int, bytes]]:
    """The options at the end of a block."""
    at = 0
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            return
        yield code, body[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def _option(order: str, body: bytes, wanted: int) -> bytes:
    return next((value for code, value in _options(order, body) if code == wanted), b"")


def _internet(frame: bytes) -> dpkt.Packet:
    """A frame that is an IP packet and nothing around it."""
    return dpkt.ip6.IP6(frame) if frame[:1] and frame[0] >> 4 == 6 else dpkt.ip.IP(frame)


_LINKS: dict[int, Callable[[bytes], dpkt.Packet]] = {  # https://www.tcpdump.org/linktypes.html
    0: dpkt.loopback.Loopback,  # of BSD and macOS, in the byte order of the machine
    1: dpkt.ethernet.Ethernet,
    12: _internet,  # what some systems write for 101
    14: _internet,
    101: _internet,
    108: dpkt.loopback.Loopback,
    113: dpkt.sll.SLL,  # the device `any` of Linux
    228: _internet,
    229: _internet,
    276: dpkt.sll2.SLL2,  # the same of newer ones
}

# What dpkt raises on octets that are not what they seem to be, besides its own.
_MALFORMED = (dpkt.Error, struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, RecursionError)


def _segment(at: float, unframe: Callable[[bytes], dpkt.Packet], frame: bytes, comment: str) -> Segment | None:
    """The TCP segment in a frame, None where there is none."""
    try:
        packet = unframe(frame)
        while not isinstance(packet, (dpkt.ip.IP, dpkt.ip6.IP6)):
            packet = packet.data
            if not isinstance(packet, dpkt.Packet):
                return None
        tcp = packet.data
        if not isinstance(tcp, dpkt.tcp.TCP):
            return None
        header = tcp.off * 4
        if isinstance(packet, dpkt.ip.IP):
            whole = packet.len - packet.hl * 4 - header if packet.len else 0  # 0: the network card did the cutting
            if packet.mf:
                return None
        else:
            others = sum(extension.length for extension in packet.all_extension_headers)
            whole = packet.plen - others - header if packet.plen else 0
        data = bytes(tcp.data)
        return Segment(
            at=at,
            source=(str(ip_address(packet.src)), tcp.sport),
            target=(str(ip_address(packet.dst)), tcp.dport),
            seq=tcp.seq,
            ack=tcp.ack if tcp.flags & dpkt.tcp.TH_ACK else None,
            data=data,
            size=max(whole, len(data)),
            syn=bool(tcp.flags & dpkt.tcp.TH_SYN),
            fin=bool(tcp.flags & dpkt.tcp.TH_FIN),
            rst=bool(tcp.flags & dpkt.tcp.TH_RST),
            comment=comment,
        )
    except _MALFORMED:
        return None
