"""What a device is answered. `Accept` is the listener's own manner: it takes what it can, so that the device talks on.

Whoever answers is asked for one reply at a time, and is told where the dialogue stands (`Talk`); nothing here sees a
socket. A reply is its text without the line end, and one that begins with 2 or 3 grants what was asked. Where accounts
are named, a login is checked against them, so that a device with a wrong password fails here as at Office 365.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relayprobe.store import Text
from relayprobe.wire.command import Path

OFFERED = ("LOGIN", "PLAIN", "XOAUTH2")
"""Mechanisms on offer. CRAM-MD5 and NTLM are not: a device that has a choice takes them first, and they end nowhere."""

WALKED = ("CRAM-MD5", "NTLM")
"""Mechanisms that are refused once, and walked through with a device that insists."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a device gave to log in with. `digest`: of CRAM-MD5, over `challenge`. Never stored, never shown."""

    mechanism: str
    user: str
    password: bytes | None = None
    challenge: bytes = b""
    digest: bytes = b""

    def __repr__(self) -> str:
        return f"Login({self.mechanism})"


@dataclass(slots=True)
class Talk:
    """Where a dialogue stands. `tls` is the version, None in clear text; `greeted` since TLS began, if it did.

    `user` is the login that was accepted, and `refused` what one that was not was answered. `recipients` are those that
    were granted. `insisted`: mechanisms that were asked for and refused.
    """

    host: str
    tls: str | None = None
    greeted: bool = False
    user: str | None = None
    refused: str | None = None
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    insisted: set[str] = field(default_factory=set)


def granted(reply: str) -> bool:
    """Whether a reply grants what was asked."""
    return reply[:1] in ("2", "3")


class Accept:
    """The listener's own manner. `accounts`: user name in lower case -> password; empty: anybody may log in.

    `starttls`: whether it is offered. `tls`: how hands are shaken, where it is not as the listener does. `patient`: a
    text that looks ended is taken for ended when nothing follows. `waits`: a new device is given a moment to begin with
    TLS; `hello_wait`: how long, in seconds, where it is not as usual. `lenient`: noise in front of a command is passed
    over. `interview`: what is offered is a question, and less than there is. `delay`: seconds that a refused login and
    an unknown command are kept waiting.
    """

    patient = True
    waits = True
    lenient = True
    delay = 0.0
    interview = False
    hello_wait: float | None = None

    def __init__(
        self,
        name: str,
        *,
        accounts: Mapping[str, str],
        message_size: int,
        mechanisms: tuple[str, ...] = OFFERED,
        starttls: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.mechanisms = mechanisms
        self.starttls = starttls
        self.tls = tls
        self._accounts = accounts
        self._message_size = message_size

    def banner(self) -> str:
        """The first line. It is one line: some devices take the first of several for the whole."""
        return f"220 {self.name} ESMTP relayprobe ready"

    def farewell(self, talk: Talk) -> str | None:
        """What ends the dialogue before its next command is looked at; None lets it go on."""
        return None

    def greet(self, verb: str, name: str, talk: Talk) -> str:
        """The reply to HELO and EHLO: any name will do, and none."""
        if verb == "HELO":
            return f"250 {self.name} Hello [{talk.host}]"
        return listed(self.ehlo(talk.host, talk.tls is not None))

    def ehlo(self, host: str, tls: bool) -> list[str]:
        """The lines of the reply to EHLO: what Office 365 offers, and AUTH at once and with PLAIN."""
        return [
            # Its own name first: sendmail's kin take the client's name there for a mail loop.
            f"{self.name} Hello [{host}]",
            f"SIZE {self._message_size}",
            "PIPELINING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            *(["STARTTLS"] if self.starttls and not tls else []),
            *([f"AUTH {' '.join(self.mechanisms)}"] if self.mechanisms else []),
            "8BITMIME",
            "BINARYMIME",
            "CHUNKING",
            "SMTPUTF8",
        ]

    def start_tls(self, talk: Talk) -> str:
        """The reply to STARTTLS."""
        if talk.tls is not None:
            return "503 5.5.1 TLS is already active"
        return "220 2.0.0 Ready to start TLS" if self.starttls else "502 5.5.1 STARTTLS is not offered"

    def auth(self, mechanism: str, known: bool, talk: Talk) -> str | None:
        """What an AUTH command is refused with; None lets the device go on. `known`: we can walk through it."""
        if known and (mechanism in self.mechanisms or (mechanism in WALKED and mechanism in talk.insisted)):
            return None
        return "504 5.7.4 Unrecognized authentication type"

    def login(self, login: Login, talk: Talk) -> str:
        """The reply to credentials."""
        return "235 2.7.0 Authentication successful" if self._good(login) else "535 5.7.3 Authentication unsuccessful"

    async def check(self, login: Login, talk: Talk) -> str:
        """The same, where to answer takes its time."""
        return self.login(login, talk)

    def mail(self, path: Path | None, talk: Talk) -> str:
        """The reply to MAIL: any sender that can be found in the line, and any parameters."""
        if path is None:
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        return self._too_large(path) or "250 2.1.0 Sender OK"

    def rcpt(self, path: Path | None, talk: Talk) -> str:
        """The reply to RCPT: any recipient that can be found in the line."""
        if path is None:
            return "501 5.5.4 Syntax: RCPT TO:<address>"
        return "503 5.5.1 Need MAIL first" if talk.sender is None else "250 2.1.5 Recipient OK"

    def data(self, argument: bytes, talk: Talk) -> str:
        """The reply to DATA, and what BDAT is refused with."""
        if not talk.recipients:
            return "503 5.5.1 Need MAIL and RCPT first"
        return "354 Start mail input; end with <CRLF>.<CRLF>"

    def refusal(self, head: bytes, talk: Talk) -> str | None:
        """What a message is refused with, now that it is here; None takes it. `head`: its first 64 KiB, as sent."""
        return None

    def keep(self, session: str, texts: Sequence[Text], talk: Talk) -> None:
        """What else is to be on the disk before the message is answered; `texts` are what it is made of."""

    def hold(self, talk: Talk) -> float:
        """Seconds that the reply to a message that is taken has to wait."""
        return 0.0

    def taken(self, session: str, head: bytes, size: int) -> str:
        """The reply to a message that is on the disk."""
        return f"250 2.0.0 OK, captured by relayprobe in session {session}; not sent on"

    async def answer(self, session: str, head: bytes, size: int, talk: Talk) -> str:
        """The same, where to answer takes its time."""
        return self.taken(session, head, size)

    def unknown(self, talk: Talk) -> str:
        """The reply to what is no command. What came is not repeated: it may be a password."""
        return "500 5.5.1 Unrecognized command"

    def left(self, talk: Talk) -> None:
        """The connection is gone."""

    def _too_large(self, path: Path) -> str | None:
        size = path.parameter("SIZE") or ""
        large = size.isdecimal() and int(size[:18]) > self._message_size
        return "552 5.3.4 Message size exceeds fixed maximum message size" if large else None

    def _good(self, login: Login) -> bool:
        if not login.user and not login.password:
            return False
        if not self._accounts:
            return True
        expected = self._accounts.get(login.user.lower())
        if login.mechanism == "NTLM":  # its answer cannot be checked without the hash: the name has to do
            name = login.user.rpartition("\\")[2].lower()
            return any(name in (user, user.partition("@")[0]) for user in self._accounts)
        if expected is None:
            return False
        match login.mechanism:
            case "CRAM-MD5":
                right = hmac.new(expected.encode(), login.challenge, "md5").hexdigest().encode()
                return hmac.compare_digest(login.digest.lower(), right)
            case "XOAUTH2":  # a token is Microsoft's to check
                return True
            case _:
                return login.password is not None and hmac.compare_digest(login.password, expected.encode())


def listed(lines: list[str]) -> str:
    """The lines of a reply to EHLO as one reply."""
    return "\r\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)
