"""A connection heard from beside: the two streams of a capture that was made elsewhere become events.

It is the same reader that follows the dialogue, so secrets are masked as ever. What is inside TLS stays unread, and one
`Encrypted` stands for all of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from relayprobe.wire.codec import from_object
from relayprobe.wire.dialogue import BodyPart, Dialogue, Output
from relayprobe.wire.events import (
    MASK,
    Body,
    Closed,
    Connected,
    Credentials,
    Encrypted,
    Event,
    HelloMoment,
    Line,
    Missing,
    Secret,
    Side,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.exported import ABOUT, HELLO, LEFT_OUT, MESSAGE, SECRET, event_in
from relayprobe.wire.handshake import TYPES, Handshake
from relayprobe.wire.hello import HelloReader, looks_like_hello
from relayprobe.wire.retold import STAND_IN, octets, told_of_secret

MOST_EVENTS = 50_000
"""Events of one connection that are kept: a hundred times what a long session has."""

AFTER_BANNER = "hello-after-banner"
"""The reason of a failure: the server had greeted in clear text, and takes a hello for a command."""

_State = Literal["clear", "handshake", "tls", "lost"]


class Overheard:
    """`events` is what has happened so far. Times are seconds since `started`, which is Unix time."""

    def __init__(self, started: float, peer: str, listener: str) -> None:
        self.started = started
        self.peer = peer
        self.listener = listener
        self.events: list[Event] = [Connected(0.0, peer, listener)]
        self.octets = 0  # kept, about
        self.spoke: set[Side] = set()
        self.full = False
        self._dialogue = Dialogue()
        self._state: _State = "clear"
        self._handshake = Handshake("on-connect")
        self._moment: HelloMoment = "on-connect"
        self._begun = False  # the device has begun the handshake
        self._resync: set[Side] = set()  # whose next whole line is waited for
        self._encrypted: dict[Side, int] = {"client": 0, "server": 0}
        self._up_at = self._last = 0.0
        self._first: Closed | None = None
        self._about: str | None = None  # what our own export says of the secret that is hidden in what comes next
        self._secret: Secret | None = None
        self._hello: TlsHello | None = None
        self._size: tuple[int, float] | None = None  # and of the message: its octets, and how long it took

    def heard(self, sender: Side, data: bytes, moment: float) -> None:
        """Octets of one side, at a Unix time."""
        at = self._time(moment)
        first = sender not in self.spoke
        self.spoke.add(sender)
        if self._state == "tls":
            self._encrypted[sender] += len(data)
        elif self._state == "handshake":
            self._shake(sender, data, at)
        elif self._state == "clear":
            if self._about is not None:
                self._hidden(data, at)
            else:
                self._clear(sender, data, at, first=first)
        elif sender == "server" and data[:3].isdigit():
            self._say(sender, data, at)

    def told(self, text: str, moment: float) -> None:
        """What relayprobe has written beside a packet, in an export of its own: what no packet can tell."""
        at = self._time(moment)
        for line in text.split("\n"):
            if line.startswith(LEFT_OUT):
                self._say("server", octets(line.removeprefix(LEFT_OUT)) + b"\r\n", at)
                if early := self._dialogue.behind_starttls():
                    self._keep_all(self._dialogue.thrown_away(early, at))
            elif line.startswith(HELLO):
                self._whole_hello(line.removeprefix(HELLO))
            elif found := ABOUT.fullmatch(line):
                self._about = found[1]
            elif line.startswith(SECRET):
                self._secret = _secret_in(line.removeprefix(SECRET))
            elif found := MESSAGE.fullmatch(line):
                self._size = int(found[1].replace(",", "")) if found[1] else 0, float(found[2])
            else:
                self._state_told(event_in(at, line))

    def _state_told(self, event: Event | None) -> None:
        match event:
            case Connected(peer=peer, listener=listener):
                self.peer, self.listener = peer, listener
                self.events[0] = event
            case TlsHello():
                self._hello = event
            case TlsUp():
                self._keep(event)
                self._dialogue.secured()
                self._state = "clear"
            case TlsFailed():
                if self._state == "handshake":
                    self._keep_all(self._handshake.broken_off(event.by, event.reason, event.at)[:-1])  # the hello
                self._keep(event)
                self._state = "clear"
            case Encrypted() | Missing():
                self._keep(event)
            case Closed():
                self._first = event

    def _whole_hello(self, digits: str) -> None:
        """The octets of the hello that was told last, where they are not in the packet."""
        if self._hello is None:
            return
        reader = HelloReader()
        with contextlib.suppress(ValueError):
            reader.feed(bytes.fromhex(digits))
        found = replace(self._hello, raw=reader.raw, hello=reader.hello) if reader.done else self._hello
        self._keep(found)
        self._hello = None

    def _hidden(self, data: bytes, at: float) -> None:
        """A line of the device in which a secret is hidden: put to the reader with a stand-in for it."""
        user, secret, valid = told_of_secret(self._about or "")
        secret = self._secret or secret
        self._about = self._secret = None
        for event in self._dialogue.receive("client", data.replace(MASK, STAND_IN.encode()), at):
            if isinstance(event, Credentials):
                self._keep(replace(event, raw=data, user=user, secret=secret, valid_base64=valid))
            else:
                self._keep_all((event,))

    def missing(self, sender: Side, octets: int, moment: float) -> None:
        """Octets of one side are not in the capture."""
        at = self._time(moment)
        self._keep(Missing(at, sender, octets))
        if self._state == "tls":
            self._encrypted[sender] += octets
        elif self._state == "handshake":
            for event in self._handshake.broken_off(sender, "not-in-the-capture", at)[:-1]:
                self._keep(event)  # the hello; how it came out is not known
            self._begin_tls(at)
        else:
            self._dialogue.lost(sender, octets)
            if sender == "server" or not self._dialogue.in_chunk:
                self._resync.add(sender)

    def ended(self, sender: Side, moment: float, *, reset: bool) -> None:
        """A side has sent its last."""
        at = self._time(moment)
        if self._first is not None:
            return
        how: Literal["rst", "fin"] = "rst" if reset else "fin"
        if self._state == "handshake":
            if self._moment == "late":
                self._keep_all(self._handshake.broken_off("server", AFTER_BANNER, at))
            else:
                self._keep_all(self._handshake.broken_off(sender, "reset" if reset else "closed", at))
            self._state = "lost"
        if self._said_goodbye():
            self._first = Closed(at, "server", "quit")
        else:
            self._first = Closed(at, sender, how)

    def over(self) -> list[Event]:
        """All events; nothing comes any more."""
        self._keep_all(self._dialogue.close(self._last))
        if self._state == "tls":
            self.events.append(Encrypted(self._up_at, self._last, self._encrypted["client"], self._encrypted["server"]))
        if self._first is not None:
            self.events.append(replace(self._first, at=self._last))
        return self.events

    def _time(self, moment: float) -> float:
        self._last = max(self._last, moment - self.started)
        return self._last

    def _clear(self, sender: Side, data: bytes, at: float, *, first: bool = False) -> None:
        if sender == "server":
            data = self._from_next_line(sender, data)
            while data and self._state == "clear":
                end = data.find(b"\n") + 1 or len(data)
                self._say(sender, data[:end], at)
                data = data[end:]
                if self._dialogue.starting_tls:
                    self._behind_starttls(at)
            if data:
                self._shake(sender, data, at)
        elif first and looks_like_hello(data):  # it begins TLS of itself
            self._expect_tls("late" if "server" in self.spoke else "on-connect")
            self._shake(sender, data, at)
        elif data := self._from_next_line(sender, data):
            self._say(sender, data, at)

    def _from_next_line(self, sender: Side, data: bytes) -> bytes:
        if sender in self._resync:
            end = data.find(b"\n") + 1
            if not end:
                return b""
            self._resync.discard(sender)
            return data[end:]
        return data

    def _behind_starttls(self, at: float) -> None:
        """STARTTLS was granted. What the device sent before it knew is a hello, or is thrown away (RFC 3207 4.2)."""
        early = self._dialogue.behind_starttls()
        self._expect_tls("after-starttls")
        if early and looks_like_hello(early):
            self._shake("client", early, at)
        elif early:
            self._keep_all(self._dialogue.thrown_away(early, at))

    def _expect_tls(self, moment: HelloMoment) -> None:
        self._moment = moment
        self._handshake = Handshake(moment)
        self._begun = False
        self._state = "handshake"

    def _shake(self, sender: Side, data: bytes, at: float) -> None:
        if sender == "client" and not self._begun:
            if self._moment == "after-starttls" and not looks_like_hello(data):
                self._keep_all(self._handshake.broken_off("client", "continued-in-clear", at))
                self._state = "clear"
                self._clear(sender, data, at)
                return
            self._begun = True
        if sender == "server" and data[0] not in TYPES:
            if data[:3].isdigit():  # it takes the hello for a command
                self._keep_all(self._handshake.broken_off("server", AFTER_BANNER, at))
                self._state = "lost"
                self._say(sender, data, at)
            return
        events = self._handshake.feed(sender, data, at)
        self._keep_all(events)
        if self._handshake.done:
            if isinstance(events[-1], TlsUp):
                self._begin_tls(at)
            else:
                self._state = "lost"

    def _begin_tls(self, at: float) -> None:
        self._state = "tls"
        self._up_at = at
        self._encrypted = dict(self._handshake.behind)
        self._dialogue.secured()

    def _say(self, sender: Side, data: bytes, at: float) -> None:
        self._keep_all(self._dialogue.receive(sender, data, at))

    def _said_goodbye(self) -> bool:
        """Whether the server's last line was the answer to QUIT."""
        last = next((e for e in reversed(self.events) if isinstance(e, Line) and e.sender == "server"), None)
        return last is not None and last.raw.startswith(b"221")

    def _keep_all(self, found: Sequence[Output]) -> None:
        for event in found:
            if isinstance(event, Body) and self._size is not None:
                (size, took), self._size = self._size, None
                if size != event.size:  # what is left of it
                    event = replace(event, size=size, until=event.at + took, purged=True)  # noqa: PLW2901
            if not isinstance(event, BodyPart):
                self._keep(event)

    def _keep(self, event: Event) -> None:
        if len(self.events) >= MOST_EVENTS:
            self.full = True
            return
        self.events.append(event)
        self.octets += 200 + len(getattr(event, "raw", b""))


def _secret_in(text: str) -> Secret | None:
    """What our own export says, as JSON, that is known of a password."""
    with contextlib.suppress(ValueError, RecursionError):
        thing = {"kind": "credentials", "at": 0.0, "raw": "", "stage": "password", "mechanism": "?"}
        event = from_object(thing | {"secret": json.loads(text)})
        return event.secret if isinstance(event, Credentials) else None
    return None
