"""The connection itself: aiosmtplib's protocol, with every octet recorded, and several replies due at once.

aiosmtplib's client class makes its own protocol and drops all replies but the first, so only the protocol is taken
from it: commands without control characters, writing, the step into TLS. Replies are read here, and strictly: what is
no reply, is endless, or comes unasked ends the connection, for behind it no reply can be told from another. Nothing of
what a server sends is kept beyond the reply that is arriving.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Sequence
from typing import cast

from aiosmtplib.errors import SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import COMMAND_INJECTION_REGEX, SMTPProtocol
from aiosmtplib.response import SMTPResponse

from relayprobe.capture.tap import host_port
from relayprobe.relay.outcome import Cause, Reply, Said, Trouble
from relayprobe.relay.record import Record
from relayprobe.relay.tls import reason_word, tls_trouble
from relayprobe.report.visible import visible
from relayprobe.wire.events import MASK, ClosedHow

LINE_LIMIT, REPLY_LIMIT = 8192, 32768
"""Octets of a line, and of a whole reply, that are waited for: many times those of any real one."""

TEXT_LIMIT = 4096
"""Characters of a reply that are kept beside the record: those that tell what it is come first."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\r?\n", re.DOTALL)


class _BrokenError(SMTPServerDisconnected):
    """What aiosmtplib's own code meets where we have a Trouble."""


class UpstreamProtocol(SMTPProtocol):
    """One connection to another mail server.

    `unasked`: a reply that came though none was due, as the 421 of a server that ends a long silence. `trouble`: why
    nothing more is to be had from this connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, record: Record) -> None:
        super().__init__(loop=loop)
        self.unasked: Reply | None = None
        self.trouble: Trouble | None = None
        self._record = record
        self._due = 1  # the banner
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()
        self._code = b""  # of the reply that is arriving
        self._texts: list[str] = []
        self._octets = 0
        self._hushed: tuple[bytes, ...] = ()
        self._starting_tls = False

    @property
    def secure(self) -> bool:
        """Whether TLS is up."""
        return self._over_ssl

    @property
    def usable(self) -> bool:
        """Whether another command may be sent."""
        return self.is_connected and self.trouble is None and self.unasked is None

    def hush(self, *secrets: bytes) -> None:
        """Never let these into the record, though the server should say them back to us."""
        self._hushed = (*self._hushed, *(secret for secret in secrets if len(secret) > 3))

    # What is said

    async def ask(self, *words: bytes, timeout: float) -> Said:
        """Send one command, and take the reply."""
        if self.unusable is not None:
            return self.unusable
        try:
            response = await self.execute_command(*words, timeout=timeout)
        except SMTPServerDisconnected:
            return self._why()
        return Reply(response.code, response.message)

    def say(self, commands: Sequence[bytes]) -> None:
        """Send several commands in one write (RFC 2920). A reply is due for each."""
        for command in commands:
            if COMMAND_INJECTION_REGEX.search(command):
                raise ValueError("a control character in a command")
        self._due += len(commands)
        self.send(b"".join(command + b"\r\n" for command in commands))

    def send(self, data: bytes) -> None:
        """Send octets to which no reply is due, if the connection is still there; if not, `reply` and `room` tell."""
        if self.is_connected:
            self.write(data)

    def end_text(self, mark: bytes) -> bool:
        """Send the end mark, to which a reply is due. False where the connection is gone, and nothing was sent."""
        if not self.usable:
            return False
        self._due += 1
        self.write(mark)
        return True

    async def room(self, timeout: float) -> Said | None:
        """Wait until more of a text can be sent. None, or what stands against it: that may be a refusal before its
        time."""
        try:
            async with asyncio.timeout(timeout):
                await self._room.wait()
        except TimeoutError:
            self.break_off("timeout", f"the server took nothing more for {timeout:g} seconds")
        await asyncio.sleep(0)  # others may send, too; and what the server said meanwhile is read
        if self.unasked is not None and self.unasked.code >= 400:
            return self.unasked
        return self.unusable

    async def reply(self, timeout: float) -> Said:
        """The next reply that is due."""
        if not self._replies and self.trouble is None:
            self._waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._waiter
            except TimeoutError:
                self.break_off("timeout", f"the server did not answer within {timeout:g} seconds")
            finally:
                self._waiter = None
        return self._replies.popleft() if self._replies else self._why()

    async def into_tls(self, context: ssl.SSLContext, name: str, timeout: float) -> Said | None:
        """STARTTLS. None once TLS is up; the reply or the trouble where it is not."""
        if self.unusable is not None:
            return self.unusable
        self._due += 1
        self._starting_tls = True
        try:
            await self.start_tls(context, name, timeout)
        except SMTPResponseException as error:
            return Reply(error.code, error.message)
        except _BrokenError:
            return self._why()
        except OSError as error:  # ssl.SSLError is one, and aiosmtplib's are
            return self._tls_failed(error, name)
        finally:
            self._starting_tls = False
        if self.transport is None:  # asyncio gives None where the connection is lost at this moment
            return self._tls_failed(ConnectionResetError(), name)
        self._note_tls()
        return None

    def _note_tls(self) -> None:
        assert self.transport is not None
        secured = self.transport.get_extra_info("ssl_object")
        cipher = secured.cipher() if secured else None
        self._record.secured(secured.version() or "" if secured else "", cipher[0] if cipher else "")

    def _tls_failed(self, error: Exception, name: str) -> Trouble:
        self._record.tls_failed(reason_word(error))
        trouble = tls_trouble(error, name)
        self.break_off(trouble.cause, trouble.words)
        return trouble

    async def leave(self, timeout: float) -> None:
        """Close in good order, and wait until it is done."""
        if self.transport is None or self.trouble is not None:
            return
        self.transport.close()
        self._record.closed("client", "quit")
        try:
            async with asyncio.timeout(timeout):
                await self._gone.wait()
        except TimeoutError:
            self.break_off("timeout", "the server did not close the connection")

    def break_off(self, cause: Cause, words: str, how: ClosedHow | None = None) -> None:
        """Nothing more is to be had from this connection: cut it."""
        if self.trouble is None:
            self.trouble = Trouble(cause, words)
            self._record.closed("client", how or ("timeout" if cause == "timeout" else "failed"))
        if self.transport is not None:
            # close() would first send what is waiting, and the end of a text that is broken off may be there.
            cast(asyncio.WriteTransport, self.transport).abort()
        self._wake()

    @property
    def unusable(self) -> Said | None:
        """What stands against sending anything more."""
        if self.unasked is not None:
            # RFC 5321 3.8: 421 may come at any time. Any other reply belongs to no command.
            if self.unasked.code == 421:
                return self.unasked
            return Trouble("garbled", f"the server spoke unasked: {self.unasked.line}")
        return self.trouble if self.trouble or self.is_connected else Trouble("lost", "the connection was lost")

    def _why(self) -> Said:
        return self.unusable or Trouble("lost", "the connection was lost")

    # aiosmtplib's own

    def write(self, data: bytes) -> None:
        """Record, and send."""
        if self.is_connected:
            self._record.heard("client", data)
        super().write(data)

    async def execute_command(self, *args: bytes, timeout: float | None = None) -> SMTPResponse:
        """One command and its reply, as aiosmtplib does it."""
        self._due += 1
        return await super().execute_command(*args, timeout=timeout)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:
        """The next reply, for aiosmtplib's own methods."""
        said = await self.reply(timeout or 300)
        if self._starting_tls and isinstance(said, Reply) and said.code == 220 and (self._buffer or self.unasked):
            # RFC 3207 4.2, CVE-2011-0411: it would be taken for something that was said inside TLS.
            self.break_off("garbled", "the server sent more in clear text behind its reply to STARTTLS")
            raise _BrokenError("garbled")
        if isinstance(said, Trouble):
            raise _BrokenError(said.words)
        return SMTPResponse(said.code, said.text)

    def data_received(self, data: bytes) -> None:
        """Take apart what the server sent."""
        if self.trouble is not None:
            return
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for number, line in enumerate(lines):
            self._line(line + b"\n")
            if self.trouble is not None:
                return
            if self._starting_tls and not self._due:
                self._buffer[:] = b"\n".join((*lines[number + 1 :], rest))
                return
        if len(self._buffer) > LINE_LIMIT:
            self._line(bytes(self._buffer))

    def _line(self, raw: bytes) -> None:
        raw = self._without_secrets(raw)
        found = _LINE.fullmatch(raw) if len(raw) <= LINE_LIMIT else None
        self._record.heard("server", raw[:LINE_LIMIT])
        self._octets += len(raw)
        if self._octets > REPLY_LIMIT or (found is None and len(raw) > LINE_LIMIT):
            self.break_off("garbled", "the server's reply has no end")
        elif found is None or (self._texts and found[1] != self._code):
            self.break_off("garbled", f"what the server sent is no reply: {visible(raw[:80])}")
        else:
            self._code = found[1]
            self._texts.append(visible((found[3] or b"").strip()))
            if found[2] != b"-":
                self._complete(Reply(int(found[1]), "\n".join(self._texts)[:TEXT_LIMIT]))

    def _complete(self, reply: Reply) -> None:
        self._texts, self._octets = [], 0
        if self._due:
            self._due -= 1
            self._replies.append(reply)
        elif self.unasked is None:
            self.unasked = reply
        else:
            self.break_off("garbled", "the server goes on speaking unasked")
        self._wake()

    def _without_secrets(self, raw: bytes) -> bytes:
        """A line without the secret that it repeats; its code stays, for a password may begin with digits."""
        code = 4 if _LINE.fullmatch(raw) else 0
        for secret in self._hushed:
            if 0 <= raw.find(secret) < code:
                return raw[:code] + MASK + b"\r\n"
            raw = raw[:code] + raw[code:].replace(secret, MASK)
        return raw

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.trouble is not None or self.unasked is not None:
            self._room.set()

    def eof_received(self) -> bool:
        """The server has closed its side; `connection_lost` follows."""
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, and inside TLS where that is implicit."""
        super().connection_made(transport)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._record.connected(host_port(peer) if peer else "", host_port(local) if local else "")
        if self.secure:
            self._note_tls()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._buffer and self.trouble is None:
            self._record.heard("server", self._without_secrets(bytes(self._buffer)))
        super().connection_lost(exc)
        if self.trouble is None:
            why = f": {visible(reason_word(exc))}" if isinstance(exc, ssl.SSLError) else ""
            self.trouble = Trouble("lost", f"the server closed the connection{why}")
        self._record.closed("server", "rst" if exc else "fin")
        self._gone.set()
        self._wake()

    def pause_writing(self) -> None:
        """The server takes less than we send."""
        super().pause_writing()
        if self.trouble is None and self.unasked is None:
            self._room.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._room.set()
