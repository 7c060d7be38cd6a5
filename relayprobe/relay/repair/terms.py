"""The records that repairs are asked with and answered by, and the table of all repairs there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relayprobe.wire.events import BodyEnd, LineFacts


@dataclass(frozen=True, slots=True)
class Source:
    """A captured text, exactly as it crossed the wire: dots doubled and the end mark included, but for BDAT.

    `open` gives its octets from the beginning, and may be called several times. `lines`: summed over the chunks of
    BDAT.
    """

    open: Callable[[], Iterator[bytes]]
    end: BodyEnd
    lines: LineFacts


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be true of the text that goes up.

    `id` and `name`: of the mail and of the relay, for a Message-ID. `arrived`: Unix time. `received`: the value of the
    trace field that is put in front, always. `sender`: of the envelope, as the device gave it. `mailbox`: what From
    becomes where `rewrite` is set, but for addresses that may stay there (`stays`). `eight_bit` and `smtputf8`: what
    the other side offers. `domain` completes an address that has none. `off`: repairs that are not made.
    """

    id: str
    name: str
    arrived: float
    received: str
    sender: str = ""
    mailbox: str | None = None
    rewrite: bool = False
    stays: Callable[[str], bool] = lambda address: False
    eight_bit: bool = True
    smtputf8: bool = False
    domain: str | None = None
    off: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair that was made. `says`: what was changed and what that may have broken, for an administrator."""

    id: str
    count: int
    says: str


@dataclass(frozen=True, slots=True)
class Mended:
    """The text as it goes up.

    `chunks` gives its octets, and may be called several times: lines end in CRLF and in nothing else, the last one
    too; dots are not doubled, and there is no end mark. No chunk ends between CR and LF. `size` in octets where it was
    cheap to know. `left`: what is wrong and was not changed, in words. `before` and `after`: the header. `places`:
    excerpts of what was changed in the rest, before and after. `eight_bit`: octets beyond ASCII are left;
    `smtputf8`: they are in the header.
    """

    repairs: tuple[Repair, ...]
    left: tuple[str, ...]
    chunks: Callable[[], Iterator[bytes]]
    size: int | None
    before: bytes
    after: bytes
    places: Callable[[], Iterator[tuple[bytes, bytes]]]
    eight_bit: bool
    smtputf8: bool

    def measured(self) -> int:
        """The size in octets, read through where it is not known."""
        return self.size if self.size is not None else sum(map(len, self.chunks()))


REPAIRS: Mapping[str, str] = MappingProxyType(
    {
        "line-ends": "ends every line in CR LF, where a bare LF or CR stood; cannot be switched off",
        "dots": "keeps the dot of a line that begins with one, where the device does not double it",
        "nul": "takes NUL octets away; an attachment that has them unencoded is encoded in base64",
        "header-broken": "mends a header whose lines are no fields, that has empty lines in front, or no end",
        "duplicate-fields": "leaves one of each field that may stand once; addresses are put together",
        "header-encoded": "encodes letters beyond ASCII in the header (RFC 2047, RFC 2231)",
        "text-declared": "says of a text with letters beyond ASCII how it is to be read",
        "eight-bit": "encodes the text, where the other side takes no letters beyond ASCII",
        "long-lines": "folds, wraps or encodes lines of more than 998 octets",
        "list-semicolons": "writes commas in place of semicolons between addresses",
        "multipart-encoding": "takes base64 or quoted-printable away from the header of a mail of several parts",
        "from-missing": "adds From, where it is missing or has no address, with the sender of the envelope",
        "from-rewritten": "puts the mailbox's address into From, and the device's into Reply-To",
        "sender-missing": "adds Sender, where From names several addresses",
        "date-missing": "adds Date, with the time at which the mail arrived",
        "date-old": "puts the time at which the mail arrived in place of a date that cannot be right",
        "message-id-missing": "adds Message-ID",
        "bcc": "takes Bcc away, which all recipients could read",
        "address": "puts the writing of an address in the envelope right",
        "empty-sender": "puts the mailbox's address in place of an empty sender",
        "sender-rewritten": "puts the mailbox's address in place of another sender",
    }
)
"""Each repair, by its id: what it does. The last three are of the envelope."""

ALWAYS = frozenset(["line-ends"])
"""Repairs that cannot be switched off: a bare line end that goes on is the hole through which mail is smuggled."""
