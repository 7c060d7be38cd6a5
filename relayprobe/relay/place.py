"""Where mail goes, and what the dialogue there needs: the place, the login, the patience, the letter."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiosmtplib.esmtp import parse_esmtp_extensions

from relayprobe.relay.outcome import Reply


@dataclass(frozen=True, slots=True)
class Place:
    """A mail server.

    `name` must stand in its certificate; it is `host` where it is empty. `addresses` are tried in order; where there
    are none, the system looks `host` up, and IPv4 goes first (Office 365 asks more of mail over IPv6). `helo` is what
    we say to be.
    """

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"]
    context: ssl.SSLContext | None
    helo: str
    name: str = ""
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tls != "none" and self.context is None:
            raise ValueError("TLS needs a context")

    @property
    def verified(self) -> str:
        """The name that the certificate must have."""
        return self.name or self.host

    @property
    def label(self) -> str:
        """`host:port`, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NoSecretError(Exception):
    """There is no password or token to be had; the text says why. `lasting`: until somebody acts."""

    def __init__(self, words: str, *, lasting: bool = True) -> None:
        super().__init__(words)
        self.lasting = lasting


@dataclass(frozen=True, slots=True, repr=False)
class SignIn:
    """A login. `secret` is asked for the password or the access token at each connection, and nothing keeps what it
    says; it raises NoSecretError where there is none."""

    user: str
    by: Literal["password", "oauth"]
    secret: Callable[[], Awaitable[str]]

    def __repr__(self) -> str:
        return f"SignIn(user={self.user!r}, by={self.by!r})"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the other side may take, in seconds (RFC 5321 4.5.3.2). `connect` is for each address; `block` for each
    128 KiB of a text; `letter` for one mail in all; a connection that was `idle` for longer is not used again."""

    connect: float = 30
    banner: float = 300
    tls: float = 60
    command: float = 300
    data: float = 120
    block: float = 180
    end_of_data: float = 600
    letter: float = 4 * 3600
    idle: float = 60
    quit: float = 5


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it is to go out.

    `sender` is empty for a report. `chunks` gives the text anew at each call, with CRLF alone for a line end, and no
    dots doubled. `size` is its size in octets to the octet, None where it is not known. `smtputf8`: the header fields
    need it; that an address does is seen.
    """

    sender: str
    recipients: tuple[str, ...]
    chunks: Callable[[], Iterator[bytes]]
    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False


@dataclass(frozen=True, slots=True)
class Offers:
    """What the server offers in its reply to EHLO: extensions by name, with their arguments."""

    extensions: Mapping[str, str] = field(default_factory=dict)
    mechanisms: tuple[str, ...] = ()

    @classmethod
    def of(cls, reply: Reply) -> Offers:
        """From the reply to EHLO."""
        extensions, mechanisms = parse_esmtp_extensions(reply.text)
        return cls(
            {name.upper(): said for name, said in extensions.items()}, tuple(name.upper() for name in mechanisms)
        )

    def __contains__(self, name: str) -> bool:
        return name in self.extensions

    @property
    def size(self) -> int | None:
        """The most octets that a mail may have, None where no limit is told (RFC 1870 4: 0 is none)."""
        limit = self.extensions.get("SIZE", "").strip()
        return int(limit) or None if limit.isascii() and limit.isdigit() and len(limit) < 20 else None
