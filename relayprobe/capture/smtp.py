"""The patient SMTP side: aiosmtpd's state machine, in the one subclass that understands devices as they are.

aiosmtpd gives the sessions, envelopes and the table of verbs; the reader of lines, the grammar, AUTH, DATA, BDAT and
every reply are ours (its own hang on bare LF, ask for `User Name`, and read a message line by line). Its constructor
inspects itself at length, so it runs once, for a template, and each connection gets a copy.

Of what is private in aiosmtpd it uses `_smtp_methods`, and its own `_handle_client` stands for the one there; a test
holds both against a new release.
"""

# mypy: disable-error-code="override"
# The verbs take octets here, where aiosmtpd's take text: what a device sends is not always text.

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog
from aiosmtpd.smtp import SMTP

from relayprobe.capture.answers import Accept, Login, Talk, granted
from relayprobe.capture.lines import LineReader, LineTooLong, TextWatch
from relayprobe.wire import command, secret
from relayprobe.wire.dialogue import HEAD_LIMIT

if TYPE_CHECKING:
    from relayprobe.capture.tap import Tap

log = structlog.get_logger(__name__)

ERRORS, IDLERS, FAILED_LOGINS = 20, 100, 10
"""How often a session may err, do nothing useful (NOOP, RSET, EHLO), or fail to log in."""

TURN = 20
"""Commands of one device that are obeyed before others have their turn."""

PATIENCE, LONG_PATIENCE = 0.5, 5.0
"""Seconds of silence after a look-alike of the end of data: short for a device that ends every line with a bare LF."""

# MS-NLMP 2.2.1.2: a challenge message, enough for the device to send its type 3 message with the user name.
_NTLM_CHALLENGE = b"".join(
    (b"NTLMSSP\0\x02\0\0\0", b"\0\0\0\0\x38\0\0\0", b"\x05\x82\x81\xa2", b"relayprb", bytes(8), b"\0\0\0\0\x38\0\0\0")
).ljust(56, b"\0")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may take. Sizes in octets, times in seconds."""

    message_size: int = 150 * 1024 * 1024
    recipients: int = 1000
    messages_per_session: int = 1000
    command_timeout: float = 300.0
    data_timeout: float = 300.0
    session_timeout: float = 1800.0


class _Ended(Exception):
    """The session is to end here, after this reply."""


class PatientSMTP(SMTP):
    """The SMTP side of one connection."""

    # Of each connection, set by `clone`.
    tap: Tap
    lines: LineReader
    watch: TextWatch | None  # a text is arriving
    talk: Talk
    head: bytes  # of the text that has arrived, as far as it is looked at
    text_size: int  # of the BDAT chunks so far
    errors: int
    idlers: int
    failed_logins: int
    messages: int
    last_mail: float
    _steps: Coroutine[Any, None, None]
    _running: bool

    def __init__(self, answers: Accept, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(answers, hostname=answers.name, enable_SMTPUTF8=True, auth_require_tls=False, loop=loop)
        self.answers = answers
        self.limits = limits
        # Functions, not methods bound to the template.
        self._verbs: dict[bytes, Callable[[PatientSMTP, bytes], Awaitable[None]]] = {
            name.encode(): method.__func__ for name, method in self._smtp_methods.items()
        }

    def clone(self, tap: Tap, answers: Accept) -> Self:
        """A copy of this template for one connection, which is answered so."""
        new = self.__class__.__new__(self.__class__)
        new.__dict__.update(self.__dict__)
        new.tap = tap
        new.answers = answers
        new.lines = LineReader(self.loop, new._step)
        new._running = False
        new.watch = None
        new.errors = new.idlers = new.failed_logins = new.messages = 0
        new.talk = Talk(tap.host)
        new.head = b""
        new.text_size = 0
        new.last_mail = time.monotonic()
        return new

    # What the tap calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the banner goes out."""
        self.transport = transport
        self._steps = self._handle_client()
        self._step()

    def secured(self, version: str) -> None:
        """TLS is up: what was known of the device is forgotten (RFC 3207 4.2)."""
        self.talk = Talk(self.talk.host, tls=version, insisted=self.talk.insisted)

    def data_received(self, data: bytes) -> None:
        """Clear text from the device."""
        if self.watch is not None:
            rest = self.watch.feed(data)
            if rest is None:
                return
            self.watch, data = None, rest
        if data:
            self.lines.feed(data)

    def eof_received(self) -> bool:
        """The device has closed its side. What it said before is still answered, so the other side stays open."""
        if self.watch is not None:
            self.watch.feed_eof()
            self.watch = None
        self.lines.feed_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone. The coroutine is let run to its end: what it is storing is not cut."""
        self.eof_received()
        self.transport = None
        self.answers.left(self.talk)

    def say(self, reply: str) -> None:
        """Send a reply, whole, in one write: some devices read only what one segment brings."""
        if self.transport is not None:
            self.tap.write(reply.encode("ascii", "replace") + b"\r\n")

    def _step(self, done: asyncio.Future[object] | None = None) -> None:
        """Let the coroutine run until it has to wait: for a line, whose reader calls here, or for a future.

        A Task would do, but it goes through the loop for every line, which costs more than to answer it.
        """
        if self._running:
            return
        self._running = True
        try:
            waits_for = self._steps.send(None)
            while waits_for is None and self.lines.has_news():
                waits_for = self._steps.send(None)
        except StopIteration:
            return
        finally:
            self._running = False
        if waits_for is not None:
            waits_for._asyncio_future_blocking = False  # PEP 3156: as a Task does that has seen it
            waits_for.add_done_callback(self._step)

    # The loop

    async def _handle_client(self) -> None:
        self.say(self.answers.banner())
        obeyed = 0
        try:
            while self.transport is not None:
                line = await self.lines.line()
                if line is None:
                    break
                obeyed += 1
                if obeyed % TURN == 0:
                    await self._let_others()
                self.tap.resume()
                try:
                    await self._obey(line)
                except (_Ended, LineTooLong):
                    raise
                except Exception:
                    reference = secrets.token_hex(4)
                    log.exception("a command failed", session=self.tap.id, reference=reference)
                    self._refuse(f"451 4.3.0 Local fault, try again later (reference {reference})")
        except LineTooLong:
            self.say("500 5.5.2 Line too long")
            self.tap.end("limit")
            return
        except _Ended as end:
            self.say(str(end))
            self.tap.end("limit")
            return
        if self.transport is not None:
            self.tap.end("fin")

    async def _let_others(self) -> None:
        """Give way: a device that sends a thousand commands at once is one among many."""
        turn = self.loop.create_future()
        self.loop.call_soon(turn.set_result, None)
        await turn

    async def _obey(self, line: bytes) -> None:
        if over := self.answers.farewell(self.talk):
            raise _Ended(over)
        said = command.parse(line)
        method = self._verbs.get(said.verb)
        if method is None or (command.is_noisy(line) and not self.answers.lenient):
            await self._pause(self.answers.delay)
            self._refuse(self.answers.unknown(self.talk))
        else:
            await method(self, said.argument)

    def _refuse(self, reply: str) -> None:
        self.errors += 1
        if self.errors > ERRORS:
            raise _Ended("421 4.7.0 Too many errors, closing connection")
        self.say(reply)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            done = self.loop.create_future()
            self.loop.call_later(seconds, done.set_result, None)
            await done

    def _idle(self) -> None:
        self.idlers += 1
        if self.idlers > IDLERS:
            raise _Ended("421 4.7.0 Too many commands without mail, closing connection")

    def _reset(self) -> None:
        self.talk.sender = None
        self.talk.recipients = []
        self.head = b""
        self.text_size = 0
        self.tap.texts.clear()

    # The commands

    async def smtp_HELO(self, name: bytes) -> None:
        """A repeated greeting is no fault (RFC 5321 4.1.4). A login stays valid over it."""
        self._greeted("HELO", name)

    async def smtp_EHLO(self, name: bytes) -> None:
        """As HELO, with the offer."""
        self._greeted("EHLO", name)

    def _greeted(self, verb: str, name: bytes) -> None:
        self._idle()
        reply = self.answers.greet(verb, command.decoded(name), self.talk)
        if not granted(reply):
            self._refuse(reply)
            return
        self._reset()
        self.talk.greeted = True
        self.say(reply)

    async def smtp_LHLO(self, name: bytes) -> None:
        """LMTP's greeting, from a device that was given the wrong protocol."""
        await self.smtp_EHLO(name)

    async def smtp_STARTTLS(self, arg: bytes) -> None:
        """RFC 3207. What was sent behind it in clear is thrown away by the tap."""
        reply = self.answers.start_tls(self.talk)
        if not granted(reply):
            self._refuse(reply)
            return
        self._reset()
        behind = self.lines.take()
        self.say(reply)
        self.tap.start_tls(behind)

    async def smtp_NOOP(self, arg: bytes) -> None:
        """RFC 5321 4.1.1.9."""
        self._idle()
        self.say("250 2.0.0 OK")

    async def smtp_RSET(self, arg: bytes) -> None:
        """RFC 5321 4.1.1.5."""
        self._idle()
        self._reset()
        self.say("250 2.0.0 Resetting")

    async def smtp_HELP(self, arg: bytes) -> None:
        """RFC 5321 4.1.1.8."""
        self._idle()
        self.say("214 2.0.0 relayprobe records this dialogue and says what is wrong with it")

    async def smtp_VRFY(self, arg: bytes) -> None:
        """RFC 5321 3.5.3."""
        self._idle()
        self.say("252 2.1.5 Cannot verify, but will take mail for it")

    async def smtp_EXPN(self, arg: bytes) -> None:
        """RFC 5321 3.5.3."""
        self._refuse("502 5.3.3 Not implemented")

    async def smtp_QUIT(self, arg: bytes) -> None:
        """RFC 5321 4.1.1.10."""
        self.say("221 2.0.0 Service closing transmission channel")
        self.tap.end("quit")

    async def smtp_MAIL(self, argument: bytes) -> None:
        """A second MAIL begins anew."""
        path = command.path(argument)
        reply = self.answers.mail(path, self.talk)
        if not granted(reply):
            self._refuse(reply)
        elif self.messages >= self.limits.messages_per_session:
            raise _Ended("421 4.7.0 Too many messages in one session, closing connection")
        elif not self.tap.room_for(self.limits.message_size):
            self._reset()  # whoever answers has begun anew
            self._refuse("452 4.3.1 Insufficient disk space, try again later")
        else:
            self._idle()
            self._reset()
            self.talk.sender = path.address if path else ""
            self.say(reply)

    async def smtp_RCPT(self, argument: bytes) -> None:
        """RFC 5321 3.3."""
        path = command.path(argument)
        if self.talk.recipients and len(self.talk.recipients) >= self.limits.recipients:
            self._refuse(
                "452 4.5.3 Too many recipients"
            )  # before it is asked, for whoever answers keeps what it grants
        elif not granted(reply := self.answers.rcpt(path, self.talk)):
            self._refuse(reply)
        else:
            self.talk.recipients.append(path.address if path else "")
            self.say(reply)

    async def smtp_DATA(self, argument: bytes) -> None:
        """A message, however its lines end. Only CRLF.CRLF ends it while octets follow."""
        reply = self.answers.data(argument, self.talk)
        if not granted(reply):
            self._refuse(reply)
            return
        self.say(reply)
        patience = None
        if self.answers.patient:
            patience = PATIENCE if self.lines.only_bare_lf else LONG_PATIENCE
        watch = TextWatch(self.loop, patience, silent=self._text_fell_silent)
        if await self._read_text(watch):
            await self._answer_text(watch.size)

    async def smtp_BDAT(self, argument: bytes) -> None:
        """A chunk (RFC 3030). Its octets follow whatever is answered, so they are read first."""
        chunk = command.chunk(argument)
        if chunk is None:
            self._refuse("501 5.5.4 Syntax: BDAT size [LAST]")
            return
        size, last = chunk
        if size and not await self._read_text(TextWatch(self.loop, LONG_PATIENCE, chunk=size)):
            return
        self.text_size += size
        reply = self.answers.data(b"", self.talk)
        if not granted(reply):
            self._refuse(reply)
        elif last:
            await self._answer_text(self.text_size)
        elif self.text_size > self.limits.message_size:
            self._reset()
            self._refuse("552 5.3.4 Message size exceeds fixed maximum message size")
        else:
            self.say(f"250 2.0.0 {size} octets received")

    def _text_fell_silent(self) -> None:
        self.watch = None
        self.tap.text_ended()

    async def _read_text(self, watch: TextWatch) -> bool:
        """Whether a text came to its end."""
        rest = watch.feed(self.lines.take())
        if rest is None:
            self.watch = watch
        else:
            self.lines.feed(rest)
        how = await watch.ended
        self.watch = None
        if len(self.head) < HEAD_LIMIT:
            self.head += self.tap.text_head[: HEAD_LIMIT - len(self.head)]
        return how != "eof"

    async def _answer_text(self, size: int) -> None:
        talk, head = self.talk, self.head
        self.last_mail = time.monotonic()
        self.idlers = 0
        self.messages += 1
        if size > self.limits.message_size:
            self._refuse("552 5.3.4 Message size exceeds fixed maximum message size")
        elif refusal := self.answers.refusal(head, talk):
            self._refuse(refusal)
        else:
            self.answers.keep(self.tap.id, self.tap.texts, talk)
            if await self.tap.kept():
                await self._pause(self.answers.hold(talk))
                self.say(await self.answers.answer(self.tap.id, head, size, talk))
            else:
                self._refuse("451 4.3.1 Insufficient disk space, try again later")
        self._reset()

    # AUTH

    async def smtp_AUTH(self, argument: bytes) -> None:
        """RFC 4954, before or after EHLO, in clear or in TLS, once or again. The secret lives in this call only."""
        name, _, initial = argument.partition(b" ")
        mechanism = name.decode("latin-1").upper()
        walk = getattr(self, "_walk_" + mechanism.replace("-", "_").lower(), None)
        if not mechanism:
            self._refuse("501 5.5.4 Syntax: AUTH mechanism")
        elif (reply := self.answers.auth(mechanism, walk is not None, self.talk)) or walk is None:
            self.talk.insisted.add(mechanism)
            await self._pause(self.answers.delay)
            self._refuse(reply or self.answers.unknown(self.talk))
        else:
            await self._walk(walk, initial.strip() or None)

    async def _walk(self, walk: Callable[[bytes | None], Awaitable[Login | None]], initial: bytes | None) -> None:
        login = await walk(initial)
        if login is None or self.transport is None:
            return
        reply = await self.answers.check(login, self.talk)
        if granted(reply):
            self.talk.user, self.talk.refused = login.user, None
            self.say(reply)
            return
        self.talk.refused = reply
        await self._pause(self.answers.delay)
        self.failed_logins += 1
        if self.failed_logins >= FAILED_LOGINS:
            raise _Ended("421 4.7.0 Too many failed logins, closing connection")
        self._refuse(reply)

    async def _ask(self, prompt: bytes) -> bytes | None:
        """The device's answer to a challenge; None where it cancelled, hung up, or did not send base64."""
        self.say(f"334 {b64encode(prompt).decode()}")  # with nothing to ask, the space stays (RFC 4954 4)
        line = await self.lines.line()
        if line is None:
            return None
        if line.strip().upper() == b"QUIT":
            await self.smtp_QUIT(b"")
            return None
        if line.strip() == b"*":
            self._refuse("501 5.7.0 Authentication cancelled")
            return None
        return self._decode(line.strip())

    def _decode(self, text: bytes) -> bytes | None:
        raw = secret.unbase64(text)
        if raw is None:
            self._refuse("501 5.5.2 Cannot decode response")
        return raw

    async def _first(self, initial: bytes | None) -> bytes | None:
        return await self._ask(b"") if initial is None else self._decode(initial)

    async def _walk_login(self, initial: bytes | None) -> Login | None:
        # The prompts are exactly these: Xerox devices give up at any other.
        user = await self._ask(b"Username:") if initial is None else self._decode(initial)
        if user is None:
            return None
        password = await self._ask(b"Password:")
        return None if password is None else Login("LOGIN", command.decoded(user), password)

    async def _walk_plain(self, initial: bytes | None) -> Login | None:
        raw = await self._first(initial)
        if raw is None:
            return None
        _, _, rest = raw.partition(b"\0")
        user, _, password = rest.partition(b"\0")
        return Login("PLAIN", command.decoded(user), password)

    async def _walk_xoauth2(self, initial: bytes | None) -> Login | None:
        raw = await self._first(initial)
        if raw is None:
            return None
        user = raw.partition(b"user=")[2].partition(b"\x01")[0]
        return Login("XOAUTH2", command.decoded(user), raw)

    async def _walk_cram_md5(self, initial: bytes | None) -> Login | None:
        challenge = f"<{secrets.token_hex(8)}@{self.answers.name}>".encode()
        raw = await self._ask(challenge)
        if raw is None:
            return None
        user, _, digest = raw.rpartition(b" ")
        return Login("CRAM-MD5", command.decoded(user), challenge=challenge, digest=digest)

    async def _walk_ntlm(self, initial: bytes | None) -> Login | None:
        if await self._first(initial) is None:
            return None
        raw = await self._ask(_NTLM_CHALLENGE)
        return None if raw is None else Login("NTLM", secret.ntlm_user(raw) or "")
