"""A name server with the zone of a test, over UDP and TCP on loopback; it can keep silent, fail and cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dnslib import AAAA, CNAME, MX, PTR, QTYPE, RCODE, RR, TXT, A, DNSLabel, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

Zone = Mapping[str, Any]
"""Name -> list of (type, value), or "silent" or "servfail". A name that is not there does not exist."""


class _Answers(BaseResolver):  # type: ignore[misc]
    def __init__(self, zone: Zone) -> None:
        self.zone = {str(DNSLabel(name.lower())).rstrip("."): records for name, records in zone.items()}
        self.asked: list[tuple[str, str]] = []

    def resolve(self, request: Any, handler: Any) -> Any:
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        self.asked.append((name, kind))
        reply = request.reply()
        for _ in range(8):
            records = self.zone.get(name)
            if records == "silent":
                raise _Silence
            if records == "servfail":
                reply.header.rcode = RCODE.SERVFAIL
                return reply
            if records is None:
                reply.header.rcode = RCODE.NXDOMAIN
                return reply
            for one, value in records:
                if one == kind or (one == "CNAME" and kind != "CNAME"):
                    reply.add_answer(RR(name, getattr(QTYPE, one), rdata=_data(one, value), ttl=60))
            alias = next((value for one, value in records if one == "CNAME"), None)
            if alias is None or kind == "CNAME":
                return reply
            name = alias.rstrip(".").lower()
        return reply


class _Silence(Exception):
    """No answer is sent: the server's thread ends with this."""


class _Quiet(DNSLogger):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(log="-request,-reply,-truncated,-error", prefix=False)


class NameServer:
    def __init__(self, port: int, answers: _Answers) -> None:
        self.address = ("127.0.0.1", port)
        self.asked = answers.asked


@contextmanager
def name_server(zone: Zone) -> Iterator[NameServer]:
    """Serves until the block ends. The port is free for both UDP and TCP, or another is tried."""
    answers = _Answers(zone)
    for _ in range(20):
        udp = DNSServer(answers, port=0, address="127.0.0.1", logger=_Quiet(), handler=_CutsOff)
        port = udp.server.server_address[1]
        try:
            tcp = DNSServer(answers, port=port, address="127.0.0.1", tcp=True, logger=_Quiet())
        except OSError:
            udp.server.server_close()
            continue
        break
    else:
        raise OSError("no port is free for both UDP and TCP")
    for server in (udp, tcp):
        server.server.handle_error = lambda *_: None
        server.thread = threading.Thread(
            target=server.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        server.thread.start()
    try:
        yield NameServer(port, answers)
    finally:
        for server in (udp, tcp):
            server.stop()
            server.server.server_close()


class _CutsOff(DNSHandler):  # type: ignore[misc]
    """A longer answer over UDP is cut off, and says so; dnslib's own way leaves the question out of it."""

    def get_reply(self, data: bytes) -> bytes:
        whole: bytes = super().get_reply(data)
        if self.protocol == "tcp" or len(whole) <= 1232:
            return whole
        reply = DNSRecord.parse(data).reply()
        reply.header.tc = 1
        return bytes(reply.pack())


def _data(kind: str, value: Any) -> Any:
    match kind:
        case "A":
            return A(value)
        case "AAAA":
            return AAAA(value)
        case "CNAME":
            return CNAME(value)
        case "PTR":
            return PTR(value)
        case "MX":
            return MX(value[1], value[0])
        case _:
            pieces = [value] if isinstance(value, str | bytes) else list(value)
            pieces = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
            return TXT([piece[i : i + 255] for piece in pieces for i in range(0, max(len(piece), 1), 255)])
