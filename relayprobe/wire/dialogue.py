"""The reader: both sides' bytes in, events out.

It waits for nothing and knows no socket, so the same reader serves the listener, a replayed file and a test. It follows
the replies as well as the commands, for only they tell what the device's next octets are: after 334 a secret, after
354 a message, after the 220 of STARTTLS nothing that may be read. What comes while such a reply is due is held back
until it is known. So however a stream is cut into pieces, the events are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relayprobe.wire import command, secret
from relayprobe.wire.body import EndOfData, LineCounter
from relayprobe.wire.events import Body, BodyEnd, Credentials, Event, Line, Side, Stage

HEAD_LIMIT = 65536
"""Octets of a message that its event holds; the whole goes by as `BodyPart`s."""

HELD_LIMIT = 2**20
"""Octets that are held back until a reply tells what they are."""

LINE_LIMIT = 65536
"""Octets of a line that are kept."""

Due = Literal["other", "auth", "data", "starttls", "body"]
HOLDS: frozenset[Due] = frozenset(("auth", "data", "starttls"))
"""Replies that decide what the octets behind the command are."""


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A piece of the message that is arriving. Its `Body` follows when it has ended."""

    data: bytes


Output = Event | BodyPart


class _Text:
    """A message that is arriving."""

    def __init__(self, tls: bool, refused: bool = False, chunk: int | None = None) -> None:
        self.at: float | None = None
        self.until = 0.0
        self.tls = tls
        self.refused = refused
        self.left = chunk  # octets of a BDAT chunk still to come, None for DATA
        self.head = bytearray()
        self.size = 0
        self.end = EndOfData()
        self.lines = LineCounter()

    def take(self, data: bytes, at: float) -> tuple[bytes, bytes, bool]:
        """The piece of `data` that belongs to the text, the rest, and whether the text has ended with it."""
        if self.left is not None:
            cut: int | None = min(self.left, len(data))
            self.left -= min(self.left, len(data))
            ended = self.left == 0
        else:
            cut = self.end.feed(data)
            ended = cut is not None
        piece, rest = (data[:cut], data[cut:]) if ended else (data, b"")
        if self.size < HEAD_LIMIT:
            self.head += piece[: HEAD_LIMIT - self.size]
        self.size += len(piece)
        self.lines.feed(piece)
        self.at = at if self.at is None else self.at
        self.until = at
        return piece, rest, ended

    def skip(self, octets: int) -> None:
        """Octets are missing here, and what follows begins a line."""
        self.size += octets
        self.left = None if self.left is None else max(0, self.left - octets)
        self.end = EndOfData()
        self.lines.skip(octets)

    def event(self, end: BodyEnd) -> Body:
        facts = self.lines.facts(ended=end in ("crlf", "bare-lf"))
        return Body(self.at or 0.0, self.until, bytes(self.head), self.size, end, facts, self.tls, self.refused)


class Dialogue:
    """Turns the bytes of one connection into events.

    `accounts`: user name in lower case -> expected password, so that a wrong one can be told apart without keeping it.
    """

    def __init__(self, accounts: Mapping[str, str] | None = None) -> None:
        self.tls = False
        self._accounts = accounts or {}
        self._out: list[Output] = []
        self._started = False  # the device has said something
        self._partial = b""
        self._partial_at = 0.0
        self._omitted = 0
        self._held: deque[tuple[float, bytes]] = deque()
        self._due: deque[Due] = deque()
        self._greeted = False
        self._server_partial = b""
        self._auth: secret.Exchange | None = None
        self._stage: Stage | None = None  # the secret that is due, None in command state
        self._seen_auth = self._refused_auth = False
        self._refused_data = False
        self._text: _Text | None = None
        self._refused: _Text | None = None  # one that is sent although it was refused
        self._closing = False
        self._starting_tls = False

    @property
    def starting_tls(self) -> bool:
        """Whether STARTTLS was answered with 220: what comes next is TLS, or should be."""
        return self._starting_tls

    @property
    def in_chunk(self) -> bool:
        """Whether a chunk of BDAT is arriving, in which lines mean nothing."""
        return self._text is not None and self._text.left is not None

    @property
    def secret_due(self) -> bool:
        """Whether the device's next line is an answer in an AUTH attempt."""
        return self._stage is not None

    @property
    def in_text(self) -> bool:
        """Whether a message is arriving."""
        return self._text is not None

    def receive(self, sender: Side, data: bytes, at: float) -> list[Output]:
        """Take what one side has sent, `at` seconds since the connection began; return what it came to."""
        if not data:
            return []
        if sender == "server":
            self._server(data, at)
        elif self._holding:
            if sum(len(held) for _, held in self._held) < HELD_LIMIT:
                self._held.append((at, data))
        else:
            self._client(data, at)
        out, self._out = self._out, []
        return out

    def text_ended(self, at: float) -> list[Output]:
        """The text that is arriving was taken as complete, because it looked so and nothing followed."""
        if self._text and self._text.end.looks_ended:
            self._end_text("bare-lf")
        out, self._out = self._out, []
        return out

    def secured(self) -> None:
        """TLS is up: what comes from now on was encrypted."""
        self.tls = True
        self._starting_tls = False
        self._partial = b""

    def behind_starttls(self) -> bytes:
        """What the device sent behind STARTTLS before it was answered: a ClientHello, or something to throw away."""
        held = b"".join(data for _, data in self._held)
        self._held.clear()
        self._starting_tls = False
        return held

    def lost(self, sender: Side, octets: int) -> None:
        """Octets of one side are missing, as in a capture made elsewhere; what it sends next begins a line, unless a
        chunk is arriving.

        What is unfinished is dropped, and from now on any "command" that is none counts as a secret: what announced one
        may be what is missing.
        """
        self._started = self._seen_auth = True
        self._held.clear()
        if sender == "server":
            self._server_partial = b""
            self._due.clear()
            self._stage = None
            self._greeted = True
        elif self._text:
            self._text.skip(octets)
        else:
            self._partial = b""

    def thrown_away(self, data: bytes, at: float) -> list[Output]:
        """Record clear text that was sent behind STARTTLS. It is never answered (RFC 3207 4.2)."""
        self._unanswered(data, at)
        out, self._out = self._out, []
        return out

    def _unanswered(self, data: bytes, at: float) -> None:
        for line in data.splitlines(keepends=True):
            self._command_line(line, at, answered=False)

    def close(self, at: float) -> list[Output]:
        """The connection is over: what was left unread becomes events, secrets masked."""
        self._closing = True
        if self._holding and self._held:
            due, rest = self._due[0], b"".join(data for _, data in self._held)
            held_at = self._held[0][0]
            self._held.clear()
            if due == "auth":
                self._credentials(secret.masked_line(self._partial + rest), "cut", held_at)
            elif due == "data":
                self._refused_data = True
                self._unanswered(rest, held_at)
            else:
                self._unanswered(rest, held_at)
            self._partial = b""
        if self._text:
            self._end_text("bare-lf" if self._text.left is None and self._text.end.looks_ended else "cut")
        elif self._partial:
            partial, self._partial = self._partial, b""
            if self._stage or command.parse(partial).verb.startswith((b"AUTH", b"AUT")):
                self._credentials(secret.masked_line(partial), "cut", self._partial_at)
            else:
                self._command_line(partial, self._partial_at, answered=False)
        self._end_refused("cut")
        if self._server_partial:
            self._out.append(Line(at, "server", self._server_partial, self.tls))
            self._server_partial = b""
        out, self._out = self._out, []
        return out

    # The device's side

    @property
    def _holding(self) -> bool:
        return bool(self._due) and self._due[-1] in HOLDS

    def _client(self, data: bytes, at: float) -> None:
        if not self._started:
            data = self._preamble(data, at)
        while data:
            if self._holding:
                self._held.append((at, data))
                return
            if self._text:
                data = self._into_text(data, at)
                continue
            end = data.find(b"\n") + 1
            if not end:
                self._keep_partial(data, at)
                return
            line, data = data[:end], data[end:]
            if self._partial:
                line, self._partial = self._partial + line, b""
            self._line(line, at)

    def _keep_partial(self, data: bytes, at: float) -> None:
        room = LINE_LIMIT - len(self._partial)
        if not self._partial:
            self._partial_at = at
        self._partial += data[:room]
        self._omitted += max(0, len(data) - room)

    def _preamble(self, data: bytes, at: float) -> bytes:
        """Take a PROXY header off the beginning: nobody answers it, and that of version 2 has line ends inside."""
        data = self._partial + data
        self._partial = b""
        size = proxy_header_size(data)
        if size is None:
            self._keep_partial(data, at)
            return b""
        self._started = True
        if size:
            self._out.append(Line(at, "client", data[:size], self.tls))
        return data[size:]

    def _line(self, line: bytes, at: float) -> None:
        if self._stage:
            self._answer(line, at)
        else:
            self._command_line(line, at)

    def _command_line(self, line: bytes, at: float, answered: bool = True) -> None:
        omitted, self._omitted = self._omitted + max(0, len(line) - LINE_LIMIT), 0
        line = line[:LINE_LIMIT]
        said = command.parse(line)
        due: Due = "other"
        if self._refused_text(line, said, at):
            return
        if said.verb == b"AUTH" or (said.verb.startswith(b"AUTH") and not said.known):
            self._auth_command(line, at, ignored=not answered)
            due = "auth"
        elif secret.hides_auth(line) if said.known else secret.may_be_secret(line, self._seen_auth):
            valid = secret.unbase64(line.strip()) is not None
            self._credentials(secret.masked_line(line), "stray", at, valid, ignored=not answered)
        else:
            shown = secret.masked_argument(line, said, self._seen_auth)
            self._out.append(Line(at, "client", shown, self.tls, omitted, not answered and not self._closing))
            self._refused_data = False
            if said.verb == b"DATA":
                due = "data"
            elif said.verb == b"STARTTLS":
                due = "starttls"
            elif said.verb == b"BDAT" and answered and (chunk := command.chunk(said.argument)) and chunk[0]:
                self._text = _Text(self.tls, chunk=chunk[0])
                return
        if answered:
            self._due.append(due)

    def _refused_text(self, line: bytes, said: command.Command, at: float) -> bool:
        """Whether a line belongs to a message that is sent although DATA was refused. A command ends it."""
        text = self._refused
        if text is None:
            if not self._refused_data or said.known or not said.verb or self._seen_auth:
                return False
            self._refused_data = False
            text = self._refused = _Text(self.tls, refused=True)
        elif said.known:
            self._end_refused("cut")
            return False
        piece, _, ended = text.take(line, at)
        self._out.append(BodyPart(piece))
        if ended:
            self._end_refused("crlf")
            self._due.append("body")
        return True

    def _end_refused(self, end: BodyEnd) -> None:
        if self._refused is not None:
            self._out.append(self._refused.event(end))
            self._refused = None

    def _auth_command(self, line: bytes, at: float, ignored: bool) -> None:
        shown, mechanism, initial = secret.masked_auth(line)
        self._seen_auth = True
        self._auth = secret.Exchange(mechanism, self._accounts)
        user = known = None
        valid = True
        if initial is not None:
            stage = "user" if mechanism == "LOGIN" else "response"
            user, known, valid, safe = self._auth.answer(initial, stage)
            if safe:
                shown = line
        self._out.append(Credentials(at, shown, "initial", mechanism, user, known, valid, self.tls, ignored))

    def _answer(self, line: bytes, at: float) -> None:
        stage, self._stage = self._stage or "response", None
        assert self._auth is not None  # a stage is only ever due within an attempt
        text = line.strip(b" \t\r\n")
        if text.upper() == b"QUIT":  # a device that gives up at a prompt (Xerox); three octets of it are no user name
            self._command_line(line, at)
            return
        self._due.append("auth")
        if text == b"*":  # RFC 4954 4: the client cancels
            self._credentials(line, "cancel", at)
            return
        user, known, valid, safe = self._auth.answer(text, stage)
        shown = line if safe else secret.masked_line(line)
        self._out.append(Credentials(at, shown, stage, self._auth.mechanism, user, known, valid, self.tls))

    def _credentials(self, raw: bytes, stage: Stage, at: float, valid: bool = True, *, ignored: bool = False) -> None:
        mechanism = self._auth.mechanism if self._auth else "?"
        self._out.append(Credentials(at, raw, stage, mechanism, valid_base64=valid, tls=self.tls, ignored=ignored))

    def _into_text(self, data: bytes, at: float) -> bytes:
        assert self._text is not None
        piece, rest, ended = self._text.take(data, at)
        self._out.append(BodyPart(piece))
        if ended:
            self._end_text("crlf" if self._text.left is None else "bdat")
        return rest

    def _end_text(self, end: BodyEnd) -> None:
        assert self._text is not None
        self._out.append(self._text.event(end))
        self._text = None
        if end != "cut":
            self._due.append("body")

    # The server's side

    def _server(self, data: bytes, at: float) -> None:
        data = self._server_partial + data
        *lines, self._server_partial = data.split(b"\n")
        for text in lines:
            line = text + b"\n"
            final = line[3:4] != b"-" and line[:3].isdigit()
            if final and self._greeted and not self._due:
                self._answered_by_silence()
            self._out.append(Line(at, "server", line, self.tls))
            if final:
                self._reply(int(line[:3]), line)

    def _answered_by_silence(self) -> None:
        """A reply is here and nothing was complete: then what is there was taken as complete, for nothing followed."""
        if self._text:
            if self._text.end.looks_ended:
                self._end_text("bare-lf")
        elif not self._started:
            self._started = True
            partial, self._partial = self._partial, b""
            self._client(partial, self._partial_at)
        elif self._partial.endswith(b"\r"):
            partial, self._partial = self._partial, b""
            self._line(partial, self._partial_at)

    def _reply(self, code: int, line: bytes) -> None:
        if not self._greeted:
            self._greeted = True
            return
        due = self._due.popleft() if self._due else "other"
        if code == 334 and due == "other" and self._stage:
            # A second prompt, and no answer to the first: so it is in a text of which lines are missing.
            self._stage = "password" if self._next_stage(line) == "password" else "response"
        elif due == "auth":
            if code == 334:
                self._stage = self._next_stage(line)
            else:
                self._stage = None
                self._refused_auth = self._refused_auth or code >= 400
        elif due == "data":
            if code == 354:
                self._text = _Text(self.tls)
            else:
                self._refused_data = True
        elif due == "starttls" and code == 220:
            self._starting_tls = True
            return  # what is held is for `behind_starttls`
        if due in HOLDS:
            held, self._held = self._held, deque()
            while held:
                then, data = held.popleft()
                if self._holding:
                    self._held.append((then, data))
                else:
                    self._client(data, then)

    def _next_stage(self, line: bytes) -> Stage:
        if self._auth is None or self._auth.mechanism != "LOGIN":
            return "response"
        prompt = (secret.unbase64(line[4:].strip()) or b"").lower()
        if prompt.startswith(b"user"):
            return "user"
        if prompt.startswith(b"pass"):
            return "password"
        return "password" if self._auth.user is not None else "user"


PROXY_V1 = b"PROXY "
"""What a PROXY header of version 1 begins with; it is a line of at most 107 octets."""


def proxy_header_size(data: bytes) -> int | None:
    """How many octets at the beginning are a PROXY header (0: there is none), None while that cannot be told."""
    if data.startswith(PROXY_V1[: len(data)]):
        end = data.find(b"\n", 0, 108) + 1
        return end if end or len(data) > 107 else None
    signature = command.PROXY_V2
    if not data.startswith(signature[: len(data)]):
        return 0
    if len(data) < len(signature) + 4:
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    return size if len(data) >= size else None
