"""A TLS handshake heard from beside: what goes in clear before TLS is up, and how it comes out.

In a capture that was made elsewhere nothing of TLS can be decrypted, but the hellos, the alerts before the first key,
and the lengths of the records tell enough: the version, the suite, and who broke it off.
"""

from __future__ import annotations

from relayprobe.wire.events import Event, HelloMoment, Side, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.hello import LONGEST, HelloReader, ServerHello, parse_server_hello
from relayprobe.wire.tls_names import alert_name, openssl_name, version_name

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
TYPES = frozenset((CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA))

TLS13 = 0x0304
VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
"""As `TlsUp` has them."""

HIDDEN_ALERT = "encrypted-alert"
"""The reason of a failure that was told inside of what is encrypted."""

_LONGEST_RECORD = 5 + 2**14 + 2048  # RFC 5246 6.2.3
_SHORTEST_FINISHED = 40  # RFC 8446 4.4.4 and 5.2: 4 + 32 + 1 + 8 at least, where an alert has 2 + 1 + 16 at the most


class Handshake:
    """`feed` it what both sides send; it is `done` when TLS is up or has failed."""

    def __init__(self, moment: HelloMoment) -> None:
        self.done = False
        self.behind: dict[Side, int] = {"client": 0, "server": 0}  # octets of each side that came behind the handshake
        self._moment: HelloMoment = moment
        self._hello = HelloReader()
        self._first = bytearray()  # of the client, until its hello is read
        self._noted = False
        self._waiting: dict[Side, bytearray] = {"client": bytearray(), "server": bytearray()}
        self._chosen: ServerHello | None = None
        self._message = bytearray()  # the server's handshake messages, until its hello is read
        self._keyed: set[Side] = set()  # who has sent ChangeCipherSpec: what it sends then is encrypted
        self._finished: set[Side] = set()
        self._out: list[Event] = []

    def feed(self, sender: Side, data: bytes, at: float) -> list[Event]:
        """Take the next octets of a side; what they come to."""
        if sender == "client" and not self._noted:
            self._first += data
            self._hello.feed(data)
            if self._hello.done:
                data = bytes(self._first[len(self._hello.raw) :])
                self._note_hello(at)
            else:
                data = b""
        self._waiting[sender] += data
        while not self.done and self._record(sender, at):
            pass
        if self.done:
            for side, waiting in self._waiting.items():
                self.behind[side] += len(waiting)
                waiting.clear()
        out, self._out = self._out, []
        return out

    def broken_off(self, by: Side, how: str, at: float) -> list[Event]:
        """The connection ended, or went on in another way, before TLS was up: `how` is the reason, in a word."""
        if not self._noted and self._hello.raw:
            self._note_hello(at)
        self._fail(by, how, at)
        out, self._out = self._out, []
        return out

    def _note_hello(self, at: float) -> None:
        self._noted = True
        self._first.clear()
        self._out.append(TlsHello(at, self._hello.raw, self._hello.hello, self._moment))

    def _fail(self, by: Side, reason: str, at: float, alert: int | None = None) -> None:
        if not self.done:
            self.done = True
            self._out.append(TlsFailed(at, by, reason, alert))

    def _record(self, sender: Side, at: float) -> bool:
        """Read one record of a side; false where there is no whole one."""
        waiting = self._waiting[sender]
        if len(waiting) < 5:
            return False
        kind, size = waiting[0], 5 + int.from_bytes(waiting[3:5])
        if kind not in TYPES or size > _LONGEST_RECORD:
            self._fail(sender, "no-tls-record", at)
            return False
        if len(waiting) < size:
            return False
        payload = bytes(waiting[5:size])
        del waiting[:size]
        newest = self._chosen is not None and self._chosen.version == TLS13
        if kind == ALERT:
            self._alert(sender, payload, at, hidden=sender in self._keyed and not newest)
        elif newest:
            if kind == APPLICATION_DATA and sender == "client":
                if len(payload) < _SHORTEST_FINISHED:
                    self._fail("client", HIDDEN_ALERT, at)
                else:
                    self._up(at)
            elif kind == HANDSHAKE and sender == "server":
                self._look_at(payload)  # after a retry
        elif kind == CHANGE_CIPHER_SPEC:
            self._keyed.add(sender)
        elif kind == HANDSHAKE and sender in self._keyed:
            self._finished.add(sender)
            if len(self._finished) == 2:
                self._up(at)
        elif kind == HANDSHAKE and sender == "server":
            self._look_at(payload)
        return True

    def _look_at(self, payload: bytes) -> None:
        if (self._chosen is not None and not self._chosen.retry) or len(self._message) > LONGEST:
            return
        self._message += payload
        while len(self._message) >= 4:
            size = 4 + int.from_bytes(self._message[1:4])
            if len(self._message) < size:
                return
            if self._message[0] == 2:
                self._chosen = parse_server_hello(bytes(self._message[:size])) or self._chosen
            del self._message[:size]

    def _alert(self, sender: Side, payload: bytes, at: float, *, hidden: bool) -> None:
        if hidden or len(payload) != 2:
            self._fail(sender, HIDDEN_ALERT, at)
            return
        level, number = payload
        if number == 0:
            self._fail(sender, "closed", at)
        elif level == 2:
            self._fail(sender, alert_name(number).replace("_", "-"), at, number)

    def _up(self, at: float) -> None:
        if self._chosen is not None:
            version, suite = self._chosen.version, openssl_name(self._chosen.suite)
            self._out.append(TlsUp(at, VERSIONS.get(version) or version_name(version), suite))
        else:
            self._out.append(TlsUp(at, "", ""))
        self.done = True
