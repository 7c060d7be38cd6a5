"""The tap: it owns the socket, records every octet both ways, and does TLS itself, in memory.

    socket -> Tap: DETECT -> PLAIN -> HANDSHAKE -> TLS -> DEAD
                | all that passes goes to the recorder first
                v
              the SMTP side sees an ordinary transport

With TLS through `ssl.MemoryBIO` the ClientHello is seen before OpenSSL judges it, so a handshake that fails is
explained; a device that speaks TLS at once, or in one segment with STARTTLS, or goes on in clear after it, is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from relayprobe.capture.smtp import PatientSMTP
from relayprobe.store import Text
from relayprobe.wire.events import Closed, ClosedHow, Connected, HelloMoment, Side, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.hello import HelloReader, looks_like_hello
from relayprobe.wire.tls_names import ALERTS

if TYPE_CHECKING:
    from relayprobe.capture.listener import Listener, Port
    from relayprobe.capture.recorder import Recorder

CHUNK = 131072
"""Octets read from a socket at once."""

LINES_PIECE, TEXT_PIECE = 4096, 65536
"""Octets that are worked on at once: a flood of empty lines is stopped by its limit before all of it is read."""

TURNS = 3
"""Turns of the loop before a greeting that nothing else holds up: in the second of them the socket is looked at."""

BACKLOG = 16384
"""Octets of commands not yet read at which a device is made to wait."""

LINGER = 5.0
"""Seconds that a closing connection has to take what was sent to it."""

LINE_TIME = 60.0
"""Seconds that a command line may take from its first octet to its end."""

HANDSHAKE_TIME = 60.0
GRACE, SLOWEST = 60.0, 500.0
"""A text that is slower than SLOWEST octets a second, after GRACE seconds, is cut."""

_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)|(?:SSL|TLS)V?\d*_ALERT_(\w+)")
_ALERT_NUMBERS = {name: number for number, name in ALERTS.items()}

# One buffer serves all connections of a loop, for what is read is taken before the next is. Not so on Windows, where
# the reads of all connections are under way at once.
_SHARED = None if sys.platform == "win32" else memoryview(bytearray(CHUNK))


class State(Enum):
    """Where a connection stands."""

    DETECT = "detect"
    PLAIN = "plain"
    HANDSHAKE = "handshake"
    TLS = "tls"
    LATE = "late"  # a hello came after the banner: it is read, and then it is over
    DEAD = "dead"


class Tap(asyncio.BufferedProtocol):
    """One connection of a device."""

    def __init__(self, listener: Listener, port: Port) -> None:
        self.listener = listener
        self.port = port
        self.state = State.DETECT
        self.recorder: Recorder
        self.smtp: PatientSMTP
        self.host = ""
        self._raw: asyncio.Transport
        self._view = _SHARED if _SHARED is not None else memoryview(bytearray(CHUNK))
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._unread = False  # it does not read its answers
        self._serves_hello = True  # TLS on connect is spoken here
        self._heard = False  # the device has said something in clear
        self._hello: HelloReader
        self._shaking = False  # an octet of the handshake has come
        self._moment: HelloMoment = "on-connect"
        self._incoming: ssl.MemoryBIO  # made when TLS begins
        self._outgoing: ssl.MemoryBIO
        self._tls: ssl.SSLObject | None = None
        self._ending: tuple[Side, ClosedHow] | None = None
        self._began = self._last = self._line_began = time.monotonic()

    @property
    def id(self) -> str:
        """The session's id."""
        return self.recorder.id

    @property
    def secure(self) -> bool:
        """Whether TLS is up."""
        return self.state is State.TLS

    # The socket

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where asyncio puts what it reads."""
        return self._view

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A device has come."""
        self._raw = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        peer = transport.get_extra_info("peername")
        if not peer:  # it has gone again
            self.state = State.DEAD
            self._raw.abort()
            return
        self.host = str(peer[0]).removeprefix("::ffff:")
        refusal = self.listener.admit(self, self.host)
        if refusal:
            self.state = State.DEAD
            self._raw.write(refusal.encode() + b"\r\n")
            self._raw.close()
            return
        self.recorder = self.listener.recorder(host_port(peer), self.port)
        self.recorder.note(Connected(0.0, host_port(peer), self.port.name))
        self.smtp = self.listener.smtp(self)
        self._serves_hello = self.smtp.answers.waits or port_for_tls(self.port)
        pin = self.port.pin if self.port.pin != "pop3" and self._serves_hello else "plain"
        asked = self.smtp.answers.hello_wait
        wait = self.listener.waits.before_banner(self.host, pin) if asked is None else asked
        if wait:
            self._timer = self.listener.loop.call_later(wait, self._go_plain)
        else:
            self._greet_soon(TURNS)

    def _greet_soon(self, turns: int) -> None:
        """Greet, after some turns of the loop: what came with the connection is read first, and is known as early."""
        if turns:
            self._timer = self.listener.loop.call_soon(self._greet_soon, turns - 1)
        else:
            self._go_plain()

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have arrived."""
        self._received(bytes(self._view[:nbytes]))

    def eof_received(self) -> bool:
        """The device closed its side; what it said before is still answered."""
        match self.state:
            case State.PLAIN:
                self._closing("client", "fin")
                return self.smtp.eof_received()
            case State.TLS:
                self._closing("client", "fin")
                self.smtp.eof_received()
                return True
            case State.DETECT:
                # A probe: it gets its banner, and the end of its session.
                self._closing("client", "fin")
                self._go_plain()
                return self.smtp.eof_received()
            case State.HANDSHAKE | State.LATE:
                self._closing("client", "fin")
                self._handshake_failed("client", "closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        admitted = self.listener.left(self)
        if not admitted:
            return
        if self.state is State.HANDSHAKE:
            self._handshake_failed("client", "reset" if exc else "closed")
        side, how = self._ending or (("client", "rst") if exc else ("client", "fin"))
        self.state = State.DEAD
        self.smtp.connection_lost(exc)
        self.recorder.finish(Closed(self.recorder.now(), side, how, self.recorder.lag))

    def pause_writing(self) -> None:
        """The device does not read its answers: then it is not listened to either."""
        self._unread = True
        self._pause()

    def resume_writing(self) -> None:
        """It has read them."""
        self._unread = False
        self.resume()

    def resume(self) -> None:
        """Listen again, where nothing speaks against it any more."""
        if not self._paused:
            return
        full = len(self.smtp.lines) > BACKLOG and not self.smtp.lines.partial
        if not self._unread and not full and not self.listener.behind:
            self._paused = False
            if not self._raw.is_closing():
                self._raw.resume_reading()

    def _pause(self) -> None:
        if not self._paused and not self._raw.is_closing():
            self._paused = True
            self._raw.pause_reading()

    # Towards the SMTP side

    def _received(self, data: bytes) -> None:
        self._last = time.monotonic()
        match self.state:
            case State.PLAIN:
                if not self._heard and looks_like_hello(data):
                    self._late_hello(data)
                else:
                    self._heard = True
                    self._clear(data)
            case State.TLS:
                self._incoming.write(data)
                self._decrypt()
            case State.HANDSHAKE:
                self._shake(data)
            case State.DETECT:
                assert self._timer is not None
                self._timer.cancel()
                if not looks_like_hello(data):
                    self._heard = True
                    self._clear(data)  # before the banner: recorded in that order
                    self._go_plain()
                    self.listener.waits.early(self.host)
                elif self._serves_hello:
                    self.listener.waits.hello(self.host, self.recorder.now())
                    self.start_tls(data, moment="on-connect")
                else:
                    self._go_plain()
                    self._late_hello(data)
            case State.LATE:
                self._late_hello(data)
            case State.DEAD:
                pass

    def _clear(self, data: bytes) -> None:
        while data and not self._raw.is_closing():
            size = TEXT_PIECE if self.recorder.in_text else LINES_PIECE
            self._piece(data[:size])
            data = data[size:]

    def _piece(self, data: bytes) -> None:
        self.recorder.heard("client", data)
        self.smtp.data_received(data)
        if self.recorder.full:
            self.smtp.say("421 4.7.0 Too much was said in one session, closing connection")
            self._close("limit")
            return
        if self.smtp.lines.partial:
            waiting = False  # for its end: the limit on lines is what holds it up
        else:
            self._line_began = self._last
            waiting = len(self.smtp.lines) > BACKLOG and self.smtp.watch is None
        if waiting or self.listener.behind:
            self._pause()

    def _go_plain(self) -> None:
        if self.state is not State.DETECT:
            return
        self.state = State.PLAIN
        self.listener.waits.silence(self.host)
        self.smtp.connection_made(SMTPTransport(self))

    # TLS

    def start_tls(self, first: bytes = b"", moment: HelloMoment = "after-starttls") -> None:
        """Shake hands: `first` is what came behind STARTTLS, or the first octets of the connection."""
        if self.state is State.DEAD:
            return
        first = first if moment == "on-connect" else self.recorder.behind_starttls()
        self._moment = moment
        self._hello = HelloReader()
        self._shaking = False
        self.state = State.HANDSHAKE
        self._began = time.monotonic()
        if first and moment == "after-starttls" and not looks_like_hello(first):
            self.recorder.thrown_away(first)
            first = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = self.smtp.answers.tls or self.listener.tls
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if first:
            self._shake(first)

    def _shake(self, data: bytes) -> None:
        if not self._hello.done:
            if not self._shaking and self._moment == "after-starttls" and not looks_like_hello(data):
                self._continue_in_clear(data)
                return
            self._shaking = True
            self._hello.feed(data)
            if self._hello.done:
                self._note_hello()
        self._incoming.write(data)
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._handshake_failed(*reason_of(error))
            self._close("failed")
            return
        self._flush()
        self.state = State.TLS
        cipher = self._tls.cipher()
        version = self._tls.version() or ""
        self.recorder.secured(TlsUp(self.recorder.now(), version, cipher[0] if cipher else ""))
        self.smtp.secured(version)
        if self._moment == "on-connect":
            self.smtp.connection_made(SMTPTransport(self))
        self._decrypt()

    def _continue_in_clear(self, data: bytes) -> None:
        self.recorder.note(TlsFailed(self.recorder.now(), "client", "continued-in-clear"))
        self.state = State.PLAIN
        self._tls = None
        self._clear(data)

    def _note_hello(self) -> None:
        reader = self._hello
        self.recorder.note(TlsHello(self.recorder.now(), reader.raw, reader.hello, self._moment))

    def _late_hello(self, data: bytes) -> None:
        """TLS on connect, but the banner is out: it cannot be served, only read. The next time this device is waited
        for."""
        if self.state is not State.LATE:
            self.state = State.LATE
            self._moment = "late"
            self._hello = HelloReader()
            self._began = time.monotonic()
            self.listener.waits.hello(self.host, self.recorder.now())
        self._hello.feed(data)
        if self._hello.done:
            self._note_hello()
            self.recorder.note(TlsFailed(self.recorder.now(), "server", "hello-after-banner"))
            self._close("failed")

    def _handshake_failed(self, side: Side, reason: str, alert: int | None = None) -> None:
        if self.state in (State.HANDSHAKE, State.LATE):
            if not self._hello.done and self._hello.raw:
                self._note_hello()
            self.state = State.DEAD
            self.recorder.note(TlsFailed(self.recorder.now(), side, reason, alert))

    def _decrypt(self) -> None:
        assert self._tls is not None
        while self.state is State.TLS:
            try:
                data = self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLError) as error:
                self._flush()
                self._closing("client", "fin" if isinstance(error, ssl.SSLZeroReturnError) else "failed")
                self.smtp.eof_received()
                break
            if not data:
                break
            self._clear(data)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # From the SMTP side

    def write(self, data: bytes) -> None:
        """Send a reply."""
        if self.state not in (State.PLAIN, State.TLS) or self._raw.is_closing():
            return
        self.recorder.heard("server", data)
        if self.state is State.TLS:
            assert self._tls is not None
            try:
                self._tls.write(data)
            except ssl.SSLError:
                self._close("failed")
                return
            self._flush()
        else:
            self._raw.write(data)

    def end(self, how: ClosedHow) -> None:
        """End the session, for this reason."""
        self._close(how)

    async def kept(self) -> bool:
        """Whether everything so far is kept for good."""
        return await self.recorder.kept()

    @property
    def texts(self) -> list[Text]:
        """The texts that came since the last mail was begun."""
        return self.recorder.texts

    def text_ended(self) -> None:
        """The text was taken as complete, because it looked so and nothing followed."""
        self.recorder.text_ended()

    @property
    def text_head(self) -> bytes:
        """The first 64 KiB of the latest text."""
        return self.recorder.text_head

    def room_for(self, size: int) -> bool:
        """Whether the disk has room for a message of so many octets."""
        return self.listener.room_for(size)

    def _close(self, how: ClosedHow) -> None:
        self._closing("server", how)
        if self.state is State.TLS and self._tls is not None:
            with contextlib.suppress(ssl.SSLError):  # the device's own farewell is not waited for
                self._tls.unwrap()
            self._flush()
        self._raw.close()
        if self._raw.get_write_buffer_size():
            self.listener.loop.call_later(LINGER, self._raw.abort)  # a device that reads nothing does not stay

    def _closing(self, side: Side, how: ClosedHow) -> None:
        if self._ending is None:
            self._ending = (side, how)

    # Time

    def check(self, now: float) -> None:
        """End what takes too long; called about once a second."""
        limits = self.listener.limits
        if self.state in (State.HANDSHAKE, State.LATE):
            if now - self._began > HANDSHAKE_TIME:
                self._handshake_failed("client", "timeout")
                self._close("timeout")
        elif self.state in (State.PLAIN, State.TLS):
            idle = now - self._last
            if (text := self.smtp.watch) is not None:
                lasted = self.listener.loop.time() - text.began
                if idle > limits.data_timeout or (lasted > GRACE and text.size < SLOWEST * lasted):
                    self._time_out("421 4.4.2 Message arrives too slowly, closing connection")
            elif self.smtp.lines.partial and now - self._line_began > LINE_TIME:
                self._time_out("421 4.4.2 Command arrives too slowly, closing connection")
            elif idle > limits.command_timeout:
                self._time_out("421 4.4.2 Timeout, closing connection")
            elif now - self.smtp.last_mail > limits.session_timeout:
                self._time_out("421 4.4.2 Session lasts too long without mail, closing connection")

    def _time_out(self, reply: str) -> None:
        self.smtp.say(reply)
        self._close("timeout")

    def shut_down(self) -> None:
        """The listener stops."""
        if self.state in (State.PLAIN, State.TLS):
            self.smtp.say("421 4.3.2 Service is stopping")
        self._close("shutdown")
        self._raw.abort()


class SMTPTransport(asyncio.Transport):
    """What the SMTP side takes for its transport."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a reply."""
        self._tap.write(bytes(data))

    def close(self) -> None:
        """End the session: the device has gone, or it is through."""
        self._tap.end("fin")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of any transport."""
        return self._tap._raw.get_extra_info(name, default)


def port_for_tls(port: Port) -> bool:
    """Whether a port is one for TLS on connect, by its pin or its number."""
    return port.pin == "tls" or port.number == 465


def reason_of(error: ssl.SSLError) -> tuple[Side, str, int | None]:
    """Whose doing a failed handshake is, why, and the number of the alert where the device sent one."""
    reason = error.reason or str(error)
    found = _ALERT.search(reason)
    if found:
        name = (found[1] or found[2]).lower()
        return "client", name.replace("_", "-"), _ALERT_NUMBERS.get(name)
    return "server", reason.lower().replace("_", "-"), None


def host_port(address: tuple[Any, ...]) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    host, port = str(address[0]).removeprefix("::ffff:"), address[1]  # IPv4 through a socket for both is IPv4
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
