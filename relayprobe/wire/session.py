"""A session: what a transcript says, as facts that rules can ask for.

`session_of` walks the events once. Commands and replies are paired in the order in which they were sent, for a device
may send several before it reads the first answer (RFC 2920). All indices named `event` point into `Session.events`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from relayprobe.wire import command, message
from relayprobe.wire.command import Command, Path
from relayprobe.wire.events import (
    Body,
    Closed,
    Connected,
    Credentials,
    Encrypted,
    Event,
    Line,
    Missing,
    Secret,
    Side,
    TlsFailed,
    TlsHello,
    TlsUp,
)

Source = Literal["live", "export", "text", "pcap"]
"""How a session was captured: by a listener of ours; or elsewhere, and read from a text that relayprobe exported, from
one that another tool printed, or from a capture of packets."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Site:
    """What the administrator has told about the place the device sends from (`[site]` in the configuration)."""

    domains: tuple[str, ...] = ()  # accepted domains, lower case
    accounts: tuple[str, ...] = ()  # user names that devices should use
    public_ip: str | None = None
    connector: bool = False
    mx: str | None = None
    static_ip: bool | None = None  # what is None was not told
    basic_auth: bool = True  # passwords are still taken for client submission
    oauth: bool | None = None
    hve: bool | None = None
    acs: bool | None = None
    reject_direct_send: bool | None = None
    blocked_ports: tuple[int, ...] = ()

    def accepts(self, address: str) -> bool | None:
        """Whether an address is in an accepted domain; None where no domains were told."""
        if not self.domains:
            return None
        return domain_of(address) in self.domains


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply of the server. `event` is its first line, `enhanced` the code of RFC 3463 where it has one."""

    event: int
    at: float
    code: int
    enhanced: str | None
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reply as one text: code and lines."""
        return f"{self.code} " + " / ".join(self.lines)

    @property
    def positive(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something the device said, and the answer to it (None: none came).

    `early`: it was sent while an answer to something before it was still due.
    """

    event: int
    said: Line | Credentials | Body
    command: Command | None
    reply: Reply | None
    early: bool = False


@dataclass(frozen=True, slots=True)
class Greeting:
    """HELO or EHLO. `offers`: keyword -> parameters, in upper case, as the server's reply listed them."""

    event: int
    verb: str
    name: str
    tls: bool
    reply: Reply | None
    offers: dict[str, tuple[str, ...]]

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The AUTH mechanisms offered."""
        return self.offers.get("AUTH", ())


@dataclass(frozen=True, slots=True)
class AuthAttempt:
    """One AUTH command and what came of it.

    `offered`: the mechanism stood in the latest greeting's reply. `accepted` is None where no final reply came.
    `events`: the indices of all its lines. `greeted`: the latest greeting before it, None where there was none.
    """

    event: int
    events: tuple[int, ...]
    mechanism: str
    user: str | None
    secret: Secret | None
    tls: bool
    offered: bool
    accepted: bool | None
    cancelled: bool
    valid_base64: bool
    reply: Reply | None
    greeted: Greeting | None


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT command."""

    event: int
    path: Path
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Message:
    """The text of a mail as it was sent, and the answer to it (None: none came)."""

    event: int
    body: Body
    reply: Reply | None

    def fields(self, name: str) -> list[str]:
        """The values of a header field, unfolded, MIME words left as they are; empty where the field is missing."""
        return message.fields(self.body.raw, name)

    def addresses(self, name: str) -> list[str]:
        """The addresses in a header field."""
        return message.addresses(self.fields(name))


@dataclass(frozen=True, slots=True)
class Envelope:
    """One mail transaction, from MAIL on. `auth`: the login that was in force, None where there was none."""

    event: int
    path: Path
    tls: bool
    auth: AuthAttempt | None
    reply: Reply | None
    recipients: tuple[Recipient, ...]
    message: Message | None

    @property
    def sender(self) -> str:
        """The address of MAIL FROM, empty for the null sender."""
        return self.path.address


@dataclass(frozen=True)
class Session:
    """What happened on one connection of a device."""

    id: str
    started: float  # Unix time
    peer: str
    listener: str
    events: tuple[Event, ...]
    mode: str | None = None  # as stated by --mode
    imitate: str | None = None
    interview: bool = False
    site: Site = field(default_factory=Site)
    source: Source = "live"

    banner: Reply | None = None
    exchanges: tuple[Exchange, ...] = ()
    greetings: tuple[Greeting, ...] = ()
    hellos: tuple[tuple[int, TlsHello], ...] = ()
    tls: tuple[tuple[int, TlsUp], ...] = ()
    tls_failures: tuple[tuple[int, TlsFailed], ...] = ()
    auths: tuple[AuthAttempt, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    encrypted: Encrypted | None = None  # what could not be read: then nothing follows from what was not seen
    closed: Closed | None = None

    @property
    def host(self) -> str:
        """The address of the device, without its port."""
        return self.peer.rpartition(":")[0].strip("[]")

    @property
    def pinned_to_tls(self) -> bool:
        """Whether the listener was for TLS on connect, by its `tls://` or by its port, 465."""
        return self.listener.startswith("tls://") or self.listener.endswith(":465")

    @property
    def withheld(self) -> frozenset[str]:
        """What was kept from the device on purpose in an interview, `tls` or `login`: its not using it says nothing."""
        asked = [greeting for greeting in self.greetings if greeting.verb == "EHLO"]
        if not self.interview or not asked:
            return frozenset()
        tls = any(greeting.tls or "STARTTLS" in greeting.offers for greeting in asked)
        login = any("LOGIN" in greeting.mechanisms for greeting in asked)
        return frozenset(what for what, offered in (("tls", tls), ("login", login)) if not offered)

    @property
    def pop3(self) -> bool:
        """Whether it was a visit at the POP3 listener, where nothing is sent."""
        return self.listener.startswith("pop3://")

    @property
    def pop3_login(self) -> int | None:
        """Where the device began a login by POP3; None where it did not, as what looks for open ports does not."""
        if not self.pop3:
            return None
        return next(
            (e.event for e in self.exchanges if e.command is None or e.command.verb in (b"USER", b"APOP")), None
        )

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that were accepted."""
        return tuple(e.message for e in self.envelopes if e.message and e.message.reply and e.message.reply.positive)

    @cached_property
    def login(self) -> AuthAttempt | None:
        """The latest login that was accepted, else the latest attempt; None where none was made."""
        return next((a for a in reversed(self.auths) if a.accepted), self.auths[-1] if self.auths else None)

    def commands(self, *verbs: bytes) -> Iterator[Exchange]:
        """The exchanges whose command is one of these verbs (all that have one, where none is named)."""
        for exchange in self.exchanges:
            if exchange.command and (not verbs or exchange.command.verb in verbs):
                yield exchange


def domain_of(address: str) -> str:
    """The domain of an address in lower case, empty where it has none."""
    return address.rpartition("@")[2].strip(" >").rstrip(".").lower() if "@" in address else ""


def session_of(
    events: Sequence[Event],
    *,
    id: str = "",
    started: float = 0.0,
    mode: str | None = None,
    imitate: str | None = None,
    interview: bool = False,
    site: Site | None = None,
    source: Source = "live",
) -> Session:
    """The session that a transcript tells of. Never raises: what is missing from the transcript is missing here."""
    walk = _Walk()
    for index, event in enumerate(events):
        walk.step(index, event)
    connected = next((e for e in events if isinstance(e, Connected)), None)
    exchanges = walk.exchanges()
    greetings, auths, envelopes = _facts(exchanges)
    return Session(
        id=id,
        started=started,
        peer=connected.peer if connected else "",
        listener=connected.listener if connected else "",
        events=tuple(events),
        mode=mode,
        imitate=imitate,
        interview=interview,
        site=site or Site(),
        source=source,
        banner=walk.banner,
        exchanges=exchanges,
        greetings=greetings,
        hellos=tuple(walk.hellos),
        tls=tuple(walk.tls),
        tls_failures=tuple(walk.failures),
        auths=auths,
        envelopes=envelopes,
        encrypted=walk.encrypted,
        closed=walk.closed,
    )


class _Walk:
    """The pairing of what was said with what was answered."""

    def __init__(self) -> None:
        self.banner: Reply | None = None
        self.said_so_far: list[tuple[int, Line | Credentials | Body, Command | None, bool]] = []
        self.replies: list[Reply | None] = []  # to each of them
        self.due: deque[int] = deque()  # those that wait for their reply
        self.reply_lines: list[tuple[int, Line]] = []
        self.hellos: list[tuple[int, TlsHello]] = []
        self.tls: list[tuple[int, TlsUp]] = []
        self.failures: list[tuple[int, TlsFailed]] = []
        self.encrypted: Encrypted | None = None
        self.closed: Closed | None = None
        self.greeted = False  # the banner has come
        self.answered_at = 0.0

    def step(self, index: int, event: Event) -> None:
        if isinstance(event, Line):  # nearly all are, so they are not left to the match
            if event.sender == "server":
                self.server_line(index, event)
            else:
                self.said(index, event, command.parse(event.raw))
            return
        match event:
            case Credentials() | Body():
                self.said(index, event, None)
            case TlsHello():
                self.hellos.append((index, event))
            case TlsUp():
                self.tls.append((index, event))
            case TlsFailed():
                self.failures.append((index, event))
            case Encrypted():
                self.encrypted = event
            case Missing(sender="server"):
                self.reply_lines = []
                self.greeted = True  # or that is what is missing
                self.due.clear()  # what is answered next cannot be told
            case Closed():
                self.closed = event

    def said(self, index: int, event: Line | Credentials | Body, parsed: Command | None) -> None:
        if isinstance(event, Line) and is_preamble(event.raw):
            return
        if isinstance(event, Body) and event.end == "bdat" and self.due and self._verb(self.due[-1]) == b"BDAT":
            self.due.pop()  # RFC 3030: the chunk is answered, not the command in front of it
        early = bool(self.due) or not self.greeted or event.at < self.answered_at
        if isinstance(event, Body) or not event.ignored:
            self.due.append(len(self.replies))
        self.said_so_far.append((index, event, parsed, early))
        self.replies.append(None)

    def exchanges(self) -> tuple[Exchange, ...]:
        """What was said, each with its reply."""
        return tuple(
            Exchange(index, event, parsed, reply, early)
            for (index, event, parsed, early), reply in zip(self.said_so_far, self.replies, strict=True)
        )

    def _verb(self, at: int) -> bytes:
        said = self.said_so_far[at][2]
        return said.verb if said is not None else b""

    def server_line(self, index: int, line: Line) -> None:
        self.reply_lines.append((index, line))
        if line.raw[3:4] == b"-" and line.raw[:3].isdigit():
            return
        reply = _reply(self.reply_lines)
        self.reply_lines = []
        if reply is None:
            return
        self.answered_at = line.at
        if not self.greeted:
            self.greeted = True
            self.banner = reply
            return
        if not self.due:
            return  # a 421 that nobody asked for
        at = self.due.popleft()
        self.replies[at] = reply
        if reply.code == 220 and self._verb(at) == b"STARTTLS":
            self.due.clear()  # RFC 3207 4.2: what was sent behind STARTTLS is thrown away, and never answered


def is_preamble(raw: bytes) -> bool:
    """Whether a line is a header of the PROXY protocol, which no server answers."""
    return raw.startswith((command.PROXY_V2, b"PROXY "))


def _reply(lines: list[tuple[int, Line]]) -> Reply | None:
    last = lines[-1][1]
    if not (code := last.raw[:3]).isdigit():
        return None
    texts = tuple(command.decoded(line.raw[4:].rstrip(b"\r\n")) for _, line in lines)
    enhanced = _ENHANCED.match(texts[-1])
    return Reply(lines[0][0], last.at, int(code), enhanced[1] if enhanced else None, texts)


def _facts(
    exchanges: tuple[Exchange, ...],
) -> tuple[tuple[Greeting, ...], tuple[AuthAttempt, ...], tuple[Envelope, ...]]:
    greetings: list[Greeting] = []
    auths: list[AuthAttempt] = []
    drafts: list[_Draft] = []
    attempt: list[Exchange] = []  # the lines of the AUTH attempt that is under way
    login: AuthAttempt | None = None
    for exchange in exchanges:
        said = exchange.said
        if isinstance(said, Credentials):
            if said.stage == "initial" or not attempt:
                attempt = []
            if said.stage != "stray" and (said.stage == "initial" or attempt):
                attempt.append(exchange)
                greeted = greetings[-1] if greetings else None
                made = _attempt(attempt, greeted)
                if said.stage == "initial":
                    auths.append(made)
                else:
                    auths[-1] = made
                if made.accepted:
                    login = made
                if made.reply is not None:
                    attempt = []
        elif isinstance(said, Body):
            if drafts:
                drafts[-1].text(exchange, said)
        elif exchange.command:
            verb = exchange.command.verb
            if verb in (b"HELO", b"EHLO", b"LHLO"):
                greetings.append(_greeting(exchange, said, exchange.command))
            elif verb == b"MAIL" and (path := command.path(exchange.command.argument)):
                drafts.append(_Draft(exchange, path, said.tls, login))
            elif verb == b"RCPT" and drafts and (path := command.path(exchange.command.argument)):
                drafts[-1].recipients.append(Recipient(exchange.event, path, exchange.reply))
            elif verb == b"STARTTLS" and exchange.reply and exchange.reply.code == 220:
                login = None  # RFC 3207 4.2: what was known of the client is forgotten
    return tuple(greetings), tuple(auths), tuple(draft.envelope() for draft in drafts)


class _Draft:
    """An envelope that is being put together."""

    def __init__(self, mail: Exchange, path: Path, tls: bool, login: AuthAttempt | None) -> None:
        self.mail = mail
        self.path = path
        self.tls = tls
        self.login = login
        self.recipients: list[Recipient] = []
        self.texts: list[tuple[Exchange, Body]] = []

    def text(self, exchange: Exchange, body: Body) -> None:
        """A text, or a chunk that continues one (RFC 3030)."""
        if self.texts and self.texts[-1][1].end != "bdat":
            self.texts.clear()  # a second text without a MAIL of its own
        self.texts.append((exchange, body))

    def envelope(self) -> Envelope:
        """The envelope as it is in the end."""
        mail = self.mail
        recipients = tuple(self.recipients)
        return Envelope(mail.event, self.path, self.tls, self.login, mail.reply, recipients, self._message())

    def _message(self) -> Message | None:
        if not self.texts:
            return None
        (first, body), (last, final) = self.texts[0], self.texts[-1]
        if len(self.texts) > 1:
            bodies = [body for _, body in self.texts]
            raw = b"".join(body.raw for body in bodies)
            body = replace(body, raw=raw, size=sum(body.size for body in bodies), until=final.until, end=final.end)
        return Message(first.event, body, last.reply)


def _greeting(exchange: Exchange, line: Line, said: Command) -> Greeting:
    offers: dict[str, tuple[str, ...]] = {}
    if exchange.reply and said.verb == b"EHLO" and exchange.reply.code == 250:
        for text in exchange.reply.lines[1:]:
            keyword, *parameters = text.upper().replace("AUTH=", "AUTH ").split() or [""]
            offers[keyword] = tuple(parameters)
    name = command.decoded(said.argument)
    return Greeting(exchange.event, said.verb.decode(), name, line.tls, exchange.reply, offers)


def _attempt(lines: list[Exchange], greeted: Greeting | None) -> AuthAttempt:
    said = [e.said for e in lines if isinstance(e.said, Credentials)]
    last = lines[-1]
    final = last.reply if last.reply and last.reply.code != 334 else None
    mechanism = said[0].mechanism
    return AuthAttempt(
        event=lines[0].event,
        events=tuple(e.event for e in lines),
        mechanism=mechanism,
        user=next((c.user for c in said if c.user is not None), None),
        secret=next((c.secret for c in reversed(said) if c.secret is not None), None),
        tls=said[0].tls,
        offered=bool(greeted and mechanism in greeted.mechanisms),
        accepted=None if final is None else final.code == 235,
        cancelled=any(c.stage == "cancel" for c in said),
        valid_base64=all(c.valid_base64 for c in said),
        reply=final,
        greeted=greeted,
    )


def sender_side(event: Event) -> Side | None:
    """Who an event comes from, where it comes from one of the two."""
    match event:
        case Line() | Credentials() | Body() | TlsHello():
            return event.sender
        case TlsFailed() | Closed():
            return event.by
        case _:
            return None
