"""What happened on a connection, as a list of frozen records.

A transcript is these events in the order in which they happened, and nothing else: sessions, findings and reports are
derived from it. `at` is in seconds since the connection was accepted, from one monotonic clock. Bytes stay bytes, line
ends included, so that the wire can be given back exactly. There is no field for a password: where one crossed the
wire, `raw` has `MASK` in its place and `Secret` says what the rules need to know about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relayprobe.wire.hello import ClientHello

Side = Literal["client", "server"]

MASK = b"********"
"""What stands in `raw` where a secret stood: always eight stars, so that not even its length is told."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A device opened a connection. `peer` and `listener` are `host:port` (`[host]:port` for IPv6)."""

    at: float
    peer: str
    listener: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line in either direction, its end included; the last line of a cut connection may have none.

    `omitted` counts octets of an overlong line that were not kept. `ignored`: it was sent in clear behind STARTTLS,
    and is never answered (RFC 3207 4.2). A PROXY header is a line of the client, too.
    """

    at: float
    sender: Side
    raw: bytes
    tls: bool = False
    omitted: int = 0
    ignored: bool = False


Charset = Literal["ascii", "utf-8", "latin-1"]
Likeness = Literal["equal", "prefix", "line-end", "encoding", "blank", "case", "different"]
Stage = Literal["initial", "user", "password", "response", "cancel", "stray", "cut"]


@dataclass(frozen=True, slots=True)
class Secret:
    """What may be known about a password: never what it was, nor how long."""

    empty: bool = False
    line_end: bool = False  # ends in CR or LF after decoding: `echo secret | base64`
    charset: Charset = "ascii"
    long: bool = False  # over 40 octets: base64 of it is wrapped by some devices
    field_width: int | None = None  # as long as a field that devices are known to cut at (15, 16, 20, 31, 32, 63, 64)
    likeness: Likeness | None = None  # compared with the password expected for the user, where one is configured


@dataclass(frozen=True, slots=True)
class Credentials:
    """A line of the client that belongs to an AUTH attempt, or that may be a stray piece of one.

    `stage`: `initial` is the AUTH command itself (with or without an initial response), `user` and `password` the
    answers in AUTH LOGIN, `response` any other answer, `cancel` the single star, `stray` an unknown "command" after a
    refused attempt, `cut` what was left unread when the connection ended. `mechanism` is as the standards spell it, or
    `?` where it is none that is known.
    """

    at: float
    raw: bytes
    stage: Stage
    mechanism: str
    user: str | None = None
    secret: Secret | None = None
    valid_base64: bool = True
    tls: bool = False
    ignored: bool = False
    sender: Literal["client"] = "client"


BodyEnd = Literal["crlf", "bare-lf", "bdat", "cut"]
"""How a text ended. `bare-lf`: it only looked ended (a dot between bare line feeds), and nothing followed; whether it
was then taken for a message, the reply tells."""


@dataclass(frozen=True, slots=True)
class LineFacts:
    """Counts over the whole of a message as it crossed the wire."""

    bare_lf: int = 0
    first_bare_lf: int | None = None  # offset in octets
    bare_cr: int = 0
    overlong: int = 0  # lines of more than 998 octets without their end (999 where that is a bare LF)
    eight_bit: bool = False
    nul: bool = False
    unstuffed_dots: int = 0  # lines that begin with one dot, and are not the end


@dataclass(frozen=True, slots=True)
class Body:
    """The text of a message as it crossed the wire, dots doubled, end mark included.

    `raw` holds it whole up to 64 KiB, and its beginning beyond that; `size` counts all of it in octets. `at` is when
    its first octet came, `until` when its last did. `refused`: the device sent it although DATA had been refused.
    `purged`: only the header fields that rules look at are left in `raw`.
    """

    at: float
    until: float
    raw: bytes
    size: int
    end: BodyEnd
    lines: LineFacts
    tls: bool = False
    refused: bool = False
    purged: bool = False
    sender: Literal["client"] = "client"


HelloMoment = Literal["on-connect", "after-starttls", "late"]


@dataclass(frozen=True, slots=True)
class TlsHello:
    """The device's ClientHello. `raw` is the octets of its records; `late`: sent after the banner had gone out."""

    at: float
    raw: bytes
    hello: ClientHello | None  # None where it could not be parsed
    moment: HelloMoment
    sender: Literal["client"] = "client"


@dataclass(frozen=True, slots=True)
class TlsUp:
    """The handshake is done. `version` as `TLSv1.2`, `cipher` by OpenSSL's name; both empty where a pasted text tells
    neither."""

    at: float
    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class TlsFailed:
    """The handshake ended without TLS.

    `by`: whose doing it was. `reason` is a word of ours or of OpenSSL (`unknown-ca`, `unsupported-protocol`,
    `continued-in-clear`, ...); `alert` the number of the TLS alert the client sent, where it sent one (in a foreign
    capture also that of the server).
    """

    at: float
    by: Side
    reason: str
    alert: int | None = None


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What was said in TLS and cannot be read: in a capture that was made elsewhere, beside the connection.

    `client` and `server`: octets of TLS records of each side, from `at` until `until`.
    """

    at: float
    until: float
    client: int
    server: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Octets that `sender` sent, and that are not in a capture that was made elsewhere; 0 where it is not known how
    many, as in front of a text that was cut."""

    at: float
    sender: Side
    octets: int


ClosedHow = Literal["fin", "rst", "quit", "timeout", "limit", "shutdown", "failed"]


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over. `lag`: the longest time, in seconds, that the loop kept events waiting meanwhile."""

    at: float
    by: Side
    how: ClosedHow
    lag: float = 0.0


Event = Connected | Line | Credentials | Body | TlsHello | TlsUp | TlsFailed | Encrypted | Missing | Closed
