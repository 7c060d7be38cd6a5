"""One dialogue as a text tells it, put to the same reader as on a wire.

A password that stands in the text is masked as ever and is in no event. What a tool leaves out (a password, the text of
the message) is put to the reader as a stand-in, and the event it comes to says that it is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from relayprobe.wire import command
from relayprobe.wire.dialogue import BodyPart, Dialogue, Output
from relayprobe.wire.events import (
    MASK,
    Body,
    BodyEnd,
    Closed,
    Connected,
    Credentials,
    Event,
    Line,
    LineFacts,
    Missing,
    Secret,
    Side,
    TlsFailed,
    TlsUp,
)
from relayprobe.wire.secret import masked_auth, masked_line

MOST_EVENTS = 50_000
"""Events of one dialogue that are read."""

REPLY = re.compile(r"\d{3}(?:[ -]|$)")
"""How a line of a server begins (RFC 5321 4.2)."""

_UP = re.compile(
    r"(?:started with cipher|connection using|^New,|connection established (?:from|to) \S+)\s*"
    r"(TLSv[\d.]+|SSLv3)\W+(?:Cipher is\s+|with cipher\s+)?([A-Z0-9][A-Z0-9_-]+)"
)
_FAILED = re.compile(r"TLS startup failed|SSL_connect|certificate problem|handshake fail|SSL_ERROR|alert number", re.I)
_REASON = re.compile(r"routines:[^:]*:([^:)]+)|(alert [a-z ]+|certificate [a-z ]+|handshake failure)", re.I)
_OPENED = re.compile(r"(?:=== |\*\s+|)(?:Trying|Connecting to) |connect: \(|CONNECTED\(|.*/smtpd\[\d+\]: connect from ")
_ADDRESS = re.compile(r"(?:Trying|Connecting to) (\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d+))?")
SERVER_CLOSED = re.compile(r"Remote host closed connection|Connection closed by (?:foreign|remote) host", re.I)

# Where a tool hides what was a secret, and where it stands for the whole of a message.
_HIDDEN = re.compile(
    r"\*{3,}|/\* secret \*/|\bREDACTED\b|"
    r"[<\[](?:[\w ]*(?:credential|password|secret|hidden|redact|removed)[\w ]*)[>\]]",
    re.I,
)
STAND_IN = "AHgAeA=="
"""Put to the reader where a secret is hidden."""

_MESSAGE = re.compile(r"<(\d{1,12}) bytes encoded mime message")


def listener_in(line: str) -> str:
    """The host and port that a tool says it connects to; empty where it says nothing."""
    found = _ADDRESS.search(line)
    return f"{found[1]}:{found[2]}" if found and found[2] else ""


def octets(text: str) -> bytes:
    """The octets of a text; those that were no UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def _verb(line: str) -> bytes:
    return command.parse(octets(line)).verb


def told_of_secret(about: str) -> tuple[str | None, Secret | None, bool]:
    """What our own exports say of a line in which a secret is hidden: the user, what is known of the secret, whether
    it was base64."""
    facts = about.split(", ")
    user = next((fact[5:] for fact in facts if fact.startswith("user ")), None)
    if user is not None:
        user = user.replace("\\r", "\r").replace("\\n", "\n") if user.endswith(("\\r", "\\n")) else user
    elif "empty user name" in facts:
        user = ""
    secret = None
    if "password hidden" in facts or "empty password" in facts:
        wrong = "not the expected one" in facts
        secret = Secret(empty="empty password" in facts, likeness="different" if wrong else None)
    return user, secret, "not base64" not in facts


class Reader:
    """Reads one dialogue, as it is told line by line.

    `at`: seconds since it began. `ours`: whether it is our own export, which tells more. `parted`: whether the server
    has said goodbye.
    """

    def __init__(self, listener: str = "", peer: str = "") -> None:
        self.listener = listener
        self.at = 0.0
        self.parted = False
        self.ours = False
        self._peer = peer
        self._dialogue = Dialogue()
        self._events: list[Event] = []
        self._begun = False  # something of the server's was read
        self._early: list[tuple[str, bool | None, bytes]] = []  # what the device said before that
        self._failed = False  # TLS has
        self._silent = False  # a chunk is known by its command: what is shown of it is passed over
        self._shown = False  # something of the text of the message is
        self._body: Callable[[Body], Body] | None = None  # what is known of the text that is to end next

    @property
    def in_text(self) -> bool:
        """Whether the text of a message is being read."""
        return self._dialogue.in_text

    def is_over(self, line: str) -> bool:
        """Whether the server has said goodbye, and a line of the device begins the next connection."""
        return self.parted and _verb(line) in (b"EHLO", b"HELO")

    @property
    def expects_tls(self) -> bool:
        """Whether STARTTLS was granted, and TLS has not begun."""
        return self._dialogue.starting_tls

    def opens(self, line: str) -> bool:
        """Whether a line of the tool begins another connection."""
        return _OPENED.match(line) is not None

    def finished(self) -> list[list[Event]]:
        """The events, where there are any."""
        if self._early:
            self._begin("")
        self._keep(self._dialogue.close(self.at))
        if not self._events:
            return []
        self._doubt_users()
        if self.parted and not isinstance(self._events[-1], Closed):
            self._events.append(Closed(self.at, "server", "quit"))
        if (self.listener or self._peer) and not isinstance(self._events[0], Connected):
            self._events.insert(0, Connected(0.0, self._peer, self.listener))
        return [self._events]

    def _doubt_users(self) -> None:
        """A user name is one where a password is asked for next. In a text of which lines are missing, what stands in
        its place may be the password."""
        asked = False
        for at in range(len(self._events) - 1, -1, -1):
            event = self._events[at]
            if isinstance(event, Line) and event.sender == "server":
                asked = event.raw.startswith(b"334")
            elif isinstance(event, Credentials) and event.mechanism == "LOGIN" and not asked:
                if event.stage == "user":
                    self._events[at] = replace(event, raw=masked_line(event.raw), user=None)
                elif event.stage == "initial" and event.user is not None:
                    self._events[at] = replace(event, raw=masked_auth(event.raw)[0], user=None)

    def _begin(self, first: str) -> None:
        """Tell whether the greeting is in the text, by the server's first line. People paste from EHLO on, and what
        prints a dialogue is often switched on when the greeting is through: Python's `set_debuglevel`, for one."""
        early, self._early = self._early, []
        if self._begun or self.ours:
            return
        self._begun = True
        answered = bool(early) and (not first.startswith("220") or _verb(early[0][0]) == b"STARTTLS")
        if answered or (first.startswith(("2", "3")) and not first.startswith("220")):
            self._dialogue.lost("server", 0)
            self._events.append(Missing(self.at, "server", 0))
        for text, in_tls, end in early:
            self.client(text, in_tls, end)

    # What the two sides say

    def server(self, text: str, in_tls: bool | None, end: bytes = b"\r\n") -> None:
        """A line of the server."""
        self._begin(text)
        self._tls_by_mark(in_tls)
        self._silent = False
        if self._dialogue.in_text and REPLY.match(text) and self._body is None:
            if not self._shown:
                self._body = lambda body: replace(body, raw=b"", size=0, lines=LineFacts(), purged=True)
            self._feed("client", b".\r\n")  # the tool does not show the end, or nothing of the message
        self._feed("server", octets(text.rstrip("\r\n")) + end)
        self.parted = text.startswith(("221", "421"))

    def client(self, text: str, in_tls: bool | None, end: bytes = b"\r\n") -> None:
        """A line of the device, or several."""
        if not self._begun and not self.ours:
            self._early.append((text, in_tls, end))
            return
        if self._silent:
            return
        if self._dialogue.starting_tls:
            self._behind_starttls(in_tls)
        self._tls_by_mark(in_tls)
        raw = octets(text) + (b"" if text.endswith("\n") else end)
        if self._dialogue.in_text:
            if found := _MESSAGE.match(text):
                self.message(int(found[1]), "crlf")
                return
            self._shown = True
            self._feed("client", raw)
            return
        self._shown = False
        said = command.parse(raw)
        if said.verb == b"BDAT" and (chunk := command.chunk(said.argument)) and chunk[0]:
            self._chunk(raw, chunk[0], last=chunk[1])
        elif (said.verb == b"AUTH" or self._dialogue.secret_due) and _HIDDEN.search(text):
            self.hidden(text, end)
        else:
            self._feed("client", raw)

    def hidden(self, text: str, end: bytes = b"\r\n", about: str = "") -> None:
        """A line of the device in which a secret is hidden; `about`: what our own export says of it."""
        user, secret, valid = told_of_secret(about)
        shown = octets(_HIDDEN.sub(MASK.decode(), text)) + end

        def known(event: Credentials) -> Credentials:
            return replace(event, raw=shown, user=user, secret=secret, valid_base64=valid)

        self._feed("client", octets(_HIDDEN.sub(STAND_IN, text)) + end, known)

    def message(self, size: int, how: BodyEnd, seconds: float = 0.0, *, refused: bool = False) -> None:
        """The text of a message, of which only this is known."""
        if self._silent:
            return
        began, until = self.at, self.at + seconds

        def known(body: Body) -> Body:
            facts = {"size": size, "end": how, "refused": refused}
            return replace(body, at=began, until=until, raw=b"", lines=LineFacts(), purged=True, **facts)  # type: ignore[arg-type]

        self._body = known
        if refused and not self._dialogue.in_text:
            self._feed("client", b"-\r\n")
        if how == "bare-lf":
            self._feed("client", b".\n")
        elif how != "cut":
            self._feed("client", b".\r\n")

    def _chunk(self, raw: bytes, size: int, *, last: bool) -> None:
        self._body = lambda body: replace(body, raw=b"", size=size, lines=LineFacts(), purged=True)
        self._feed("client", b"BDAT 1 LAST\r\n" if last else b"BDAT 1\r\n", shown=raw)
        self._feed("client", b"-")
        self._silent = True

    # TLS

    def _behind_starttls(self, in_tls: bool | None) -> None:
        if in_tls is False and self.ours:
            return  # it was thrown away
        if in_tls is False:
            self._dialogue.behind_starttls()
            self.tls_failed("client", "continued-in-clear")
        else:
            self.tls_up()  # the tool does not say, and the dialogue goes on

    def _tls_by_mark(self, in_tls: bool | None) -> None:
        if in_tls and not self._dialogue.tls:
            self.tls_up()

    def tls_up(self, version: str = "", cipher: str = "") -> None:
        """TLS is up."""
        if self._early:
            self._begin("")
        self._dialogue.behind_starttls()
        self._dialogue.secured()
        self._events.append(TlsUp(self.at, version, cipher))

    def tls_failed(self, by: Side, reason: str, alert: int | None = None) -> None:
        """TLS has failed."""
        if not self._failed:
            self._dialogue.behind_starttls()
            self._events.append(TlsFailed(self.at, by, reason, alert))
        self._failed = not self.ours

    def note(self, line: str) -> None:
        """What a tool says beside the dialogue: of TLS, and of the end."""
        if address := listener_in(line):
            self.listener = address
        if found := _UP.search(line):
            self.tls_up(found[1], found[2])
        elif _FAILED.search(line) and not self._dialogue.tls:
            reason = _REASON.search(line)
            words = (reason[1] or reason[2]).strip().lower().replace(" ", "-") if reason else "failed"
            self.tls_failed("server" if "alert" in words else "client", words)
        elif SERVER_CLOSED.search(line) and self._events:
            self._keep(self._dialogue.close(self.at))
            self._events.append(Closed(self.at, "server", "quit" if self.parted else "fin"))

    # The reader

    def _feed(
        self,
        side: Side,
        raw: bytes,
        known: Callable[[Credentials], Credentials] | None = None,
        *,
        shown: bytes | None = None,
    ) -> None:
        found = self._dialogue.receive(side, raw, self.at)
        for event in found:
            if known is not None and isinstance(event, Credentials):
                event = known(event)  # noqa: PLW2901
            elif shown is not None and isinstance(event, Line):
                event = replace(event, raw=shown)  # noqa: PLW2901
            self._keep([event])

    def _keep(self, found: list[Output]) -> None:
        for event in found:
            if isinstance(event, BodyPart):
                continue
            if isinstance(event, Body) and self._body is not None:
                event, self._body = self._body(event), None  # noqa: PLW2901
            if len(self._events) < MOST_EVENTS:
                self._events.append(event)

    def add(self, event: Event) -> None:
        """An event that the text states."""
        if isinstance(event, Closed):
            self._keep(self._dialogue.close(self.at))
        elif isinstance(event, Missing):
            self._dialogue.lost(event.sender, event.octets)
        self._events.append(event)

    def thrown_away(self, raw: bytes) -> None:
        """A line that was sent in clear behind STARTTLS."""
        self._keep(self._dialogue.thrown_away(raw, self.at))
