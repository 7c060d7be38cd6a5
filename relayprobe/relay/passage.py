"""One letter on its way over a connection: the envelope, the text, and what came of it for each recipient.

Where the server offers PIPELINING, MAIL, all RCPT and DATA go out in one write. Refused recipients keep their own
reply; the rest share what becomes of the text. A reply that does not fit, 421, or a trouble ends the connection, and
all that is still open of the letter ends with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator
from typing import Literal

from relayprobe.relay.envelope import mail_command, rcpt_command, unsuitable, unsuitable_address
from relayprobe.relay.outcome import Fault, Outcome, Reply, Said, Stage, Trouble, outcome_of
from relayprobe.relay.place import Letter, Offers, Timeouts
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.relay.stuffing import BareLineEndError, Stuffing

GOOD = range(200, 300)
BLOCK = 128 * 1024
"""Octets that are handed to the connection at once: each such block has a timeout of its own."""


class Passage:
    """A letter on its way.

    `stage`: how far it is. `answered`: the server has said something to it. `finished`: the server holds nothing of its
    envelope any more. `fault`: why the connection ended, where it did.
    """

    def __init__(self, letter: Letter, protocol: UpstreamProtocol, offers: Offers, timeouts: Timeouts) -> None:
        self.stage: Stage = "mail"
        self.answered = False
        self.finished = True
        self.fault: Fault | None = None
        self._letter = letter
        self._protocol = protocol
        self._offers = offers
        self._timeouts = timeouts
        self._open: dict[int, str] = dict(enumerate(letter.recipients))
        self._settled: dict[int, Outcome] = {}

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """For each recipient, in the letter's order; none is left open once the letter is through."""
        return tuple(self._settled[number] for number in range(len(self._letter.recipients)))

    async def go(self, reset: bool) -> None:
        """Send it. `reset`: the server may still hold an earlier envelope."""
        if trouble := unsuitable(self._letter, self._offers):
            self.rest(trouble)
            return
        for number, recipient in list(self._open.items()):
            if trouble := unsuitable_address(recipient, self._offers):
                self._settle(number, trouble, "rcpt")
        if not self._open:
            return
        if reset and not await self._reset():
            return
        self.finished = False
        asked = self._in_one_write() if "PIPELINING" in self._offers else self._one_by_one()
        if await asked:
            self.finished = await self._text()

    def rest(self, said: Said) -> None:
        """All recipients that are still open end so."""
        for number in list(self._open):
            self._settle(number, said, self.stage)

    def broken(self, said: Said, scope: Literal["route", "mail"] = "route") -> None:
        """The connection is of no more use."""
        cause, words = (said.cause, said.words) if isinstance(said, Trouble) else ("lost", said.line)
        self._protocol.break_off(cause, words)
        self.fault = Fault(self.stage, said, scope)
        self.rest(said)

    async def _reset(self) -> bool:
        self.stage = "rset"
        said = await self._protocol.ask(b"RSET", timeout=self._timeouts.command)
        if self._goes_on(said, GOOD) and not _among(said, GOOD):
            self.broken(said)
        self.stage = "mail" if self.fault is None else "rset"
        return self.fault is None

    async def _in_one_write(self) -> bool:
        """MAIL, RCPT and DATA with all replies due (RFC 2920). Whether the text is due now."""
        if self._protocol.unusable is not None:
            self.broken(self._protocol.unusable)
            return False
        asked = list(self._open)
        recipients = [rcpt_command(self._open[number]) for number in asked]
        self._protocol.say([mail_command(self._letter, self._offers), *recipients, b"DATA"])
        said = await self._protocol.reply(self._timeouts.command)
        if not self._goes_on(said, GOOD):
            return False
        if not _among(said, GOOD):
            self.rest(said)
        for number in asked:
            said = await self._protocol.reply(self._timeouts.command)
            if not self._recipient(number, said):
                return False
        self.stage = "data" if self._open else self.stage
        return self._started(await self._protocol.reply(self._timeouts.data)) and await self._wanted()

    async def _one_by_one(self) -> bool:
        """MAIL, RCPT and DATA, each after the reply to the one before. Whether the text is due now."""
        said = await self._protocol.ask(mail_command(self._letter, self._offers), timeout=self._timeouts.command)
        if not self._goes_on(said, GOOD):
            return False
        if not _among(said, GOOD):
            self.rest(said)
        for number, recipient in list(self._open.items()):
            said = await self._protocol.ask(rcpt_command(recipient), timeout=self._timeouts.command)
            if not self._recipient(number, said):
                return False
        if not self._open:
            return False
        self.stage = "data"
        return self._started(await self._protocol.ask(b"DATA", timeout=self._timeouts.data))

    def _recipient(self, number: int, said: Said) -> bool:
        """The reply to a RCPT. Whether the dialogue goes on."""
        if number in self._open:
            self.stage = "rcpt"
        if not self._goes_on(said, GOOD):
            return False
        if number not in self._open:  # MAIL was refused
            if _among(said, GOOD):
                self.broken(Trouble("garbled", f"the server refused the sender, and took a recipient: {said}"))
            return self.fault is None
        if not _among(said, GOOD):
            self._settle(number, said, "rcpt")
        return True

    def _started(self, said: Said) -> bool:
        """The reply to DATA. Whether the server waits for a text."""
        if not self._goes_on(said, (354,)):
            return False
        if not _among(said, (354,)):
            self.rest(said)
            return False
        return True

    async def _wanted(self) -> bool:
        """Whether anybody is left to write to. If not, the server waits for a text all the same (RFC 2920 3.1): it gets
        an empty one, for which it has no recipients."""
        if self._open:
            return True
        if self._protocol.end_text(b".\r\n"):
            self.finished = self._goes_on(await self._protocol.reply(self._timeouts.end_of_data), GOOD)
        return False

    async def _text(self) -> bool:
        """The text. Whether the server has answered to it."""
        self.stage = "text"
        stuffing = Stuffing()
        try:
            with contextlib.closing(self._blocks()) as blocks:
                for block in blocks:
                    self._protocol.send(stuffing.feed(block))
                    said = await self._protocol.room(self._timeouts.block)
                    if said is not None:
                        self.broken(said)
                        return False
            mark = stuffing.end()
        except BareLineEndError:
            return self._own_text(f"the text has a CR or LF alone within its first {stuffing.size} octets")
        except OSError as error:
            return self._own_text(f"the text cannot be read: {error.strerror or error}")
        if self._letter.size not in (None, stuffing.size):
            return self._own_text(f"the text has {stuffing.size} octets, and should have {self._letter.size}")
        if not self._protocol.end_text(mark):
            self.broken(self._protocol.unusable or Trouble("lost", "the connection was lost"))
            return False
        self.stage = "end-of-data"
        said = await self._protocol.reply(self._timeouts.end_of_data)
        if not self._goes_on(said, GOOD):
            return False
        self.rest(said)
        return True

    def _blocks(self) -> Generator[bytes]:
        for chunk in self._letter.chunks():
            for start in range(0, len(chunk), BLOCK):
                yield chunk[start : start + BLOCK]

    def _own_text(self, words: str) -> bool:
        # What the server has of the text stays without its end mark, so it is no mail.
        self.broken(Trouble("own-text", words), "mail")
        return False

    def _goes_on(self, said: Said, fine: Collection[int]) -> bool:
        """Whether the dialogue goes on after this: not after a trouble, after 421 (RFC 5321 3.8), or after a reply that
        cannot be one to what was asked."""
        if isinstance(said, Reply) and said.code != 421:
            if said.code in fine or said.code >= 400:
                self.answered = True
                return True
            said = Trouble("garbled", f"the server answered out of turn: {said.line}")
        self.broken(said)
        return False

    def _settle(self, number: int, said: Said, stage: Stage) -> None:
        del self._open[number]
        self._settled[number] = outcome_of(said, stage)


def _among(said: Said, codes: Collection[int]) -> bool:
    return isinstance(said, Reply) and said.code in codes
