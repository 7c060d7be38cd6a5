"""What a device is answered. `Accept` is the listener's own manner: it takes what it can, so that the device talks on.

Answers are texts of one reply each; nothing here sees a socket. Where accounts are named, a login is checked against
them, so that a device with a wrong password fails here as it would at Office 365.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

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


class Accept:
    """The listener's own manner. `accounts`: user name in lower case -> password; empty: anybody may log in.

    `starttls`: whether it is offered. `tls`: how hands are shaken, where it is not as the listener does.
    """

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

    def helo(self, host: str) -> str:
        """The reply to HELO."""
        return f"250 {self.name} Hello [{host}]"

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

    def login(self, login: Login) -> str:
        """The reply to credentials."""
        return "235 2.7.0 Authentication successful" if self._good(login) else "535 5.7.3 Authentication unsuccessful"

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
