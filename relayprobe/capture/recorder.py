"""What becomes of what the tap hears: it is read into events, shown to whoever looks on, and handed to the store.

Events go to the store in batches, at the latest after a quarter of a second; the text of a message above 64 KiB, or
one that arrives slowly, goes to its file piece by piece. So memory does not grow with a scan, and a killed process has
lost no event that was older than a second.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from relayprobe.store import BodyFile, Row, Store, StoreError, Text
from relayprobe.wire.codec import to_json
from relayprobe.wire.dialogue import HEAD_LIMIT, BodyPart, Dialogue, Output
from relayprobe.wire.events import Body, Closed, Credentials, Event, Line, Side, TlsUp
from relayprobe.wire.session import sender_side

log = structlog.get_logger(__name__)

MOST_EVENTS, MOST_OCTETS = 20000, 4 * 2**20
"""Events that a session may have, and octets of lines in them. What the device says beyond is neither kept nor shown,
and the session is ended."""

HEADS = 2**20
"""Octets of messages that a session's events hold in memory; the store has them all."""


class Onlooker(Protocol):
    """Somebody who watches sessions as they happen."""

    def event(self, session: str, event: Event) -> None:
        """An event has happened."""


class Recorder:
    """Records one session."""

    def __init__(
        self,
        row: Row,
        store: Store,
        *,
        accounts: Mapping[str, str],
        body_limit: int,
        onlookers: tuple[Onlooker, ...],
        finished: Callable[[Recorder, Row], None],
        stored: Callable[[], Awaitable[None]],
        trouble: Callable[[OSError], None],
    ) -> None:
        self.id = row.id
        self.row = row
        self.events: list[Event] = []
        self.lag = 0.0
        self.full = False
        self.text_head = b""  # the first 64 KiB of the latest text
        self._octets = self._heads = 0
        self._began = time.perf_counter()
        self._store = store
        self._dialogue = Dialogue(accounts)
        self._body_limit = body_limit
        self._onlookers = onlookers
        self._finished = finished
        self._stored_for_good = stored
        self._trouble = trouble
        self._unsaved: list[str] = []
        self._bodies = 0
        self._head = bytearray()  # of the text that is arriving, until it goes to a file
        self._size = 0
        self._file: BodyFile | None = None
        self._failure: BaseException | None = None
        self.texts: list[Text] = []  # that came since the last mail was begun
        self._digest = hashlib.blake2b(digest_size=16)
        store.begin(row)

    def now(self) -> float:
        """Seconds since the device came."""
        return time.perf_counter() - self._began

    @property
    def weight(self) -> int:
        """Octets in its events, and something for each event."""
        return self._octets + min(self._heads, HEADS) + 500 * len(self.events)

    @property
    def in_text(self) -> bool:
        """Whether a message is arriving."""
        return self._dialogue.in_text

    def heard(self, side: Side, data: bytes) -> None:
        """One side has sent this."""
        self._keep(self._dialogue.receive(side, data, self.now()))

    def behind_starttls(self) -> bytes:
        """What came behind STARTTLS before it was answered."""
        return self._dialogue.behind_starttls()

    def thrown_away(self, data: bytes) -> None:
        """Clear text behind STARTTLS: recorded, and never answered."""
        self._keep(self._dialogue.thrown_away(data, self.now()))

    def text_ended(self) -> None:
        """The text that is arriving was taken as complete by silence."""
        self._keep(self._dialogue.text_ended(self.now()))

    def secured(self, event: TlsUp) -> None:
        """TLS is up."""
        self._dialogue.secured()
        self.note(event)

    def note(self, event: Event) -> None:
        """Something has happened that is not in the dialogue."""
        self._keep([event])

    def finish(self, closed: Closed) -> None:
        """The connection is over."""
        self._keep(self._dialogue.close(self.now()))
        self._keep([closed])
        self.flush()
        self._finished(self, self.row)

    def flush(self) -> None:
        """Hand over to the store what it has not yet."""
        if self._unsaved:
            self._store.append(self.id, self._unsaved)
            self._unsaved = []
        if self._head and self._file is None and self._dialogue.in_text:
            self._spill()

    @property
    def dirty(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._unsaved) or (bool(self._head) and self._file is None)

    async def kept(self) -> bool:
        """Whether all that came so far is on the disk."""
        self.flush()
        failure, self._failure = self._failure, None
        if failure is not None:
            return False
        try:
            await self._stored_for_good()
        except StoreError:
            return False
        return True

    def _keep(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, BodyPart):
                self._body_part(output.data)
                continue
            if self.full and sender_side(output) == "client" and not isinstance(output, Closed | Body):
                continue
            self.events.append(self._remembered(output))
            self._unsaved.append(to_json(self._stored(output)))
            for onlooker in self._onlookers:
                try:
                    onlooker.event(self.id, output)
                except Exception:  # who looks on must not disturb what is recorded
                    log.exception("an onlooker failed", session=self.id)

    def _remembered(self, event: Event) -> Event:
        """An event as it is kept until the session is judged: of many or large messages, only the facts."""
        if isinstance(event, Line | Credentials):
            self._octets += len(event.raw)
            self.full = self._octets > MOST_OCTETS or len(self.events) >= MOST_EVENTS
        elif isinstance(event, Body):
            self.text_head = event.raw
            self._heads += len(event.raw)
            if self._heads > HEADS:
                return replace(event, raw=b"")
        return event

    def _stored(self, event: Event) -> Event:
        """An event as the store keeps it: the text of a message apart, where it can be purged."""
        if not isinstance(event, Body):
            return event
        self._body_done(event)
        return replace(event, raw=b"")

    def _body_part(self, data: bytes) -> None:
        self._digest.update(data)
        room = self._body_limit - self._size
        self._size += len(data)
        if room <= 0:
            return
        data = data[:room]
        if self._file is None:
            self._head += data
            if len(self._head) > HEAD_LIMIT:
                self._spill()
        else:
            self._write(data)

    def _spill(self) -> None:
        try:
            self._file = self._store.open_body(self.id, self._bodies)
        except OSError as error:
            self._fail(error)
            return
        head, self._head = self._head, bytearray()
        self._write(bytes(head))

    def _write(self, data: bytes) -> None:
        if self._file is None or self._failure is not None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failure = error
        self._head = bytearray()
        self._size = self._body_limit  # nothing more of this text is kept
        self._trouble(error)

    def _body_done(self, body: Body) -> None:
        in_file = self._file is not None
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._failure is None:
            self._store.body(self.id, self._bodies, body.raw, in_file=in_file)
        if not body.refused:
            self.texts.append(Text(self._bodies, body.size, self._digest.digest(), body.end, body.lines))
        self._digest = hashlib.blake2b(digest_size=16)
        self._bodies += 1
        self._head = bytearray()
        self._size = 0
