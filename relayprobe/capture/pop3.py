"""POP3 (RFC 1939), as far as a device needs it that logs in there before it sends: "POP before SMTP".

It takes any login, so that the device goes on to SMTP, has no mail for anybody, and records that it was there. A
password is masked where it is read, and goes nowhere.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from relayprobe.capture.tap import host_port
from relayprobe.wire import secret
from relayprobe.wire.events import Closed, ClosedHow, Connected, Credentials, Event, Line, Side, Stage

if TYPE_CHECKING:
    from relayprobe.capture.listener import Listener, Port
    from relayprobe.capture.recorder import Recorder

LINE_LIMIT = 4096
"""Octets of a command; RFC 2449 4 has 255."""

MOST_COMMANDS = 200
"""Commands of one connection: a device that logs in says a dozen."""

IDLE = 60.0
"""Seconds of silence after which a connection is closed."""

_CAPABILITIES = "+OK\r\nUSER\r\nUIDL\r\nSASL PLAIN LOGIN\r\n."

ANSWERS = {
    b"CAPA": _CAPABILITIES,
    b"USER": "+OK",
    b"PASS": "+OK logged in",
    b"APOP": "+OK logged in",
    b"STAT": "+OK 0 0",
    b"LIST": "+OK 0 messages\r\n.",
    b"UIDL": "+OK\r\n.",
    b"NOOP": "+OK",
    b"RSET": "+OK",
    b"QUIT": "+OK goodbye",
    b"RETR": "-ERR no such message",
    b"TOP": "-ERR no such message",
    b"DELE": "-ERR no such message",
    b"STLS": "-ERR TLS is not offered",
}
"""What is answered to each command; the mailbox is empty for everybody."""


class Pop3(asyncio.Protocol):
    """One connection of a device."""

    def __init__(self, listener: Listener, port: Port) -> None:
        self.listener = listener
        self.port = port
        self.host = ""
        self.recorder: Recorder
        self._transport: asyncio.Transport
        self._buffer = b""
        self._known = secret.Exchange("POP3", listener.manner.accounts)
        self._steps: list[Stage] = []  # answers of SASL that are due
        self._commands = 0
        self._last = time.monotonic()
        self._ending: tuple[Side, ClosedHow] = ("client", "fin")
        self._admitted = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A device has come."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]).removeprefix("::ffff:") if peer else ""
        if not peer or self.listener.admit(self, self.host) is not None:
            self._transport.abort()
            return
        self._admitted = True
        self.recorder = self.listener.recorder(host_port(peer), self.port)
        self._note(Connected(0.0, host_port(peer), self.port.name))
        self._say("+OK relayprobe ready")

    def data_received(self, data: bytes) -> None:
        """Octets have arrived."""
        if not self._admitted:
            return
        self._last = time.monotonic()
        self._buffer += data
        while b"\n" in self._buffer and not self._transport.is_closing():
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._obey(line + b"\n")
        if len(self._buffer) > LINE_LIMIT:
            self._end("limit")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._admitted and self.listener.left(self):
            side, how = self._ending
            self.recorder.finish(Closed(self.recorder.now(), side, "rst" if exc and side == "client" else how))

    # What the listener calls

    def resume(self) -> None:
        """Nothing is ever held up here."""

    def check(self, now: float) -> None:
        """End what says nothing."""
        if now - self._last > IDLE:
            self._end("timeout")

    def shut_down(self) -> None:
        """The listener stops."""
        self._end("shutdown")

    # The dialogue

    def _obey(self, line: bytes) -> None:
        self._commands += 1
        if self._commands > MOST_COMMANDS:
            self._end("limit")
            return
        if self._steps:
            self._credentials(line, self._steps.pop(0))
            self._say("+ " if self._steps else "+OK logged in")
            return
        verb, _, argument = line.strip().partition(b" ")
        match verb.upper():
            case b"USER":
                name, _, more = argument.partition(b" ")
                self._known.user = None if more else secret.user_name(name)  # a password may stand behind it
                self._note(Credentials(self.recorder.now(), self._shown(line), "initial", "POP3", self._known.user))
            case b"PASS":
                known = self._known.known_of(argument)
                masked = secret.masked_line(b"PASS " + argument + b"\r\n")
                self._note(Credentials(self.recorder.now(), masked, "password", "POP3", self._known.user, known))
            case b"APOP" | b"AUTH":
                self._credentials(line, "initial")
                if verb.upper() == b"AUTH":
                    self._sasl(argument)
                    return
            case other if other in ANSWERS and other not in (b"USER", b"PASS"):
                self._note(Line(self.recorder.now(), "client", line if not argument else other + b"\r\n"))
            case _:  # it may be anything, a password too
                self._note(Line(self.recorder.now(), "client", secret.masked_line(line)))
        self._say(ANSWERS.get(verb.upper(), "-ERR unknown command"))
        if verb.upper() == b"QUIT":
            self._end("quit")

    def _sasl(self, argument: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        if mechanism.upper() not in (b"PLAIN", b"LOGIN"):
            self._say("-ERR unknown mechanism" if mechanism else "+OK\r\nPLAIN\r\nLOGIN\r\n.")
        elif mechanism.upper() == b"LOGIN":
            self._steps = ["password"] if initial else ["user", "password"]
            self._say("+ UGFzc3dvcmQ6" if initial else "+ VXNlcm5hbWU6")
        elif initial:
            self._say("+OK logged in")
        else:
            self._steps = ["response"]
            self._say("+ ")

    def _credentials(self, line: bytes, stage: Stage) -> None:
        self._note(Credentials(self.recorder.now(), secret.masked_line(line), stage, "POP3"))

    def _shown(self, line: bytes) -> bytes:
        return line if self._known.user is not None else secret.masked_line(line)

    def _say(self, reply: str) -> None:
        for part in reply.split("\r\n"):
            self._note(Line(self.recorder.now(), "server", part.encode() + b"\r\n"))
        self._transport.write(reply.encode() + b"\r\n")

    def _note(self, event: Event) -> None:
        self.recorder.note(event)

    def _end(self, how: ClosedHow) -> None:
        self._ending = ("server", how)
        self._transport.close()
        self.listener.loop.call_later(5.0, self._transport.abort)  # a device that reads nothing does not stay
