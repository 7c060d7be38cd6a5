"""What the SMTP side reads from: command lines as devices end them, and the end of a text.

Both take bytes from the tap as they arrive and wake the one coroutine that waits. A command ends with CRLF, with a bare
LF, or with a bare CR and silence; a text ends with CRLF.CRLF, or with a look-alike and silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Literal

from relayprobe.wire.body import EndOfData
from relayprobe.wire.dialogue import proxy_header_size

LINE_LIMIT = 65536
"""Octets of a command line: tokens of several thousand exist, and more than this is no command."""

CR_PATIENCE = 0.3
"""Seconds of silence after a bare CR until it is taken as a line end."""


HEADER_PATIENCE = 5.0
"""Seconds that a PROXY header may pause."""


class LineTooLong(Exception):
    """A line went past LINE_LIMIT without an end."""


class LineReader:
    """Command lines out of what arrives."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake_reader = wake
        self._buffer = bytearray()
        self._eof = False
        self._waiting = self._news = False
        self._begun = False
        self.only_bare_lf = True  # no line has ended with CRLF so far

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def partial(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._buffer) and b"\n" not in self._buffer

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data
        self._wake()

    def feed_eof(self) -> None:
        """Nothing more will arrive."""
        self._eof = True
        self._wake()

    def take(self) -> bytes:
        """Everything that was not read yet."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    async def line(self) -> bytes | None:
        """The next line with its end, or None when there is none any more. Raises LineTooLong."""
        if not self._begun:
            await self._pass_over_preamble()
        buffer = self._buffer
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > LINE_LIMIT:
                raise LineTooLong
            if self._eof:
                return None
            if buffer.endswith(b"\r") and await self._silence(CR_PATIENCE):
                break
            if not buffer.endswith(b"\r"):
                await self._more()
        line = bytes(buffer[: end + 1]) if end >= 0 else bytes(buffer)
        del buffer[: len(line)]
        self.only_bare_lf = self.only_bare_lf and not line.endswith(b"\r\n")
        return line

    async def _pass_over_preamble(self) -> None:
        """A load balancer's PROXY header is recorded by the tap and never answered."""
        while not self._buffer and not self._eof:
            await self._more()
        while (size := proxy_header_size(bytes(self._buffer[:65552]))) is None:
            sure = len(self._buffer) >= 5  # no device begins so
            if self._eof or await self._silence(HEADER_PATIENCE if sure else CR_PATIENCE):
                size = 0
                break
        del self._buffer[:size]
        self._begun = True

    async def _silence(self, seconds: float) -> bool:
        """Whether nothing arrived for so long."""
        before = len(self._buffer)
        timer = self._loop.call_later(seconds, self._wake)
        await self._more()
        timer.cancel()
        return len(self._buffer) == before and not self._eof

    async def _more(self) -> None:
        self._waiting, self._news = True, False
        await _news
        self._waiting = False

    def has_news(self) -> bool:
        """Whether something has come since the reader began to wait."""
        return self._waiting and self._news

    def _wake(self) -> None:
        self._news = True
        if self._waiting:
            self._wake_reader()


class _News:
    """What a coroutine awaits that its driver will step again when there is news."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_news = _News()


Ending = Literal["mark", "silence", "eof"]


class TextWatch:
    """Waits for the end of a text without holding any of it.

    `patience`: seconds of silence behind a look-alike of the end; None takes none for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patience: float | None,
        chunk: int | None = None,
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._silent = silent  # called at once when silence ends the text, before anything else can arrive
        self._patience = patience
        self._left = chunk  # octets of a BDAT chunk still to come, None for DATA
        self._end = EndOfData()
        self._timer: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self.size = 0
        self.began = loop.time()

    def feed(self, data: bytes) -> bytes | None:
        """Take a piece; return what follows the text once it has ended, None while it has not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._left is not None:
            cut = min(self._left, len(data))
            self._left -= cut
            self.size += cut
            return self._done(data[cut:]) if self._left == 0 else None
        end = self._end.feed(data)
        self.size += len(data) if end is None else end
        if end is not None:
            return self._done(data[end:])
        if self._end.looks_ended and self._patience is not None:
            self._timer = self._loop.call_later(self._patience, self._fell_silent)
        return None

    def feed_eof(self) -> None:
        """The device will send no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._finish("eof")

    def _fell_silent(self) -> None:
        self._silent()
        self._finish("silence")

    def _done(self, rest: bytes) -> bytes:
        self._finish("mark")
        return rest

    def _finish(self, how: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(how)
