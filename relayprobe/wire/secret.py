"""Secrets, at the only place where they are read: what may be known of them is taken, and a mask put in their place.

The reader of the dialogue knows when a secret is due and calls here; nothing further on ever sees one. What follows a
refused AUTH is guarded too, for a device that was refused often sends its password all the same, as a "command".
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping

from relayprobe.wire import command
from relayprobe.wire.events import MASK, Charset, Likeness, Secret

MECHANISMS = (
    "LOGIN PLAIN XOAUTH2 OAUTHBEARER CRAM-MD5 DIGEST-MD5 NTLM GSSAPI GSS-SPNEGO EXTERNAL ANONYMOUS SCRAM-SHA-1 "
    "SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS KERBEROS_V4 SKEY OTP MSN"
).split()
"""Names a mechanism may have. Any other word after AUTH may be a piece of a secret and is masked."""

FIELD_WIDTHS = (15, 16, 20, 31, 32, 63, 64)
"""Lengths at which devices are known to cut a password (manuals of Epson, Xerox, Dell)."""

LONG = 40
"""Octets of a password beyond which its base64 is wrapped by some devices (muquit/mailsend#22)."""

_AUTH = re.compile(rb"(.*?AUTH\s*)(.*)", re.IGNORECASE | re.DOTALL)  # telnet negotiation or a BOM may precede it
_WORD = re.compile(rb"[A-Z]+|[a-z]+|[A-Z][a-z]+|[0-9]+|[A-Za-z]{1,11}")
_TOKEN = re.compile(rb"[A-Za-z0-9+/=_-]{8,}")
_ANNOUNCED = re.compile(
    rb"AUTH|AUHT|\bPASS|PASSW|\bPWD|\bLOGIN\b|\bPLAIN\b|BEARER|COOKIE:|SECRET|TOKEN|://[^/\s]*@", re.IGNORECASE
)
_BARE = frozenset(b"DATA EXPN HELP NOOP QUIT RSET STARTTLS TURN VRFY".split())
_PARAMETER = re.compile(rb"(BODY=(7BIT|8BITMIME|BINARYMIME)|SIZE=[0-9]{1,12})", re.IGNORECASE)  # those of MAIL
_DIGEST = re.compile(rb"[0-9a-fA-F]{32}")
_HIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff]AUTH\s+[A-Z0-9]", re.IGNORECASE)


class Exchange:
    """One AUTH attempt as it is read: what stage is due, what is known so far."""

    def __init__(self, mechanism: str, accounts: Mapping[str, str]) -> None:
        self.mechanism = mechanism
        self.user: str | None = None
        self._accounts = accounts

    def answer(self, text: bytes, stage: str) -> tuple[str | None, Secret | None, bool, bool]:
        """Take an answer (line end removed): user name, what is known of the secret, base64 or not, safe to show."""
        raw = unbase64(text)
        if raw is None:
            return None, None, False, False
        if stage == "user":
            self.user = None if self._is_password(raw) else user_name(raw)
            return self.user, None, True, self.user is not None and self.user.isprintable()
        if stage == "password":
            return self.user, self.known_of(raw), True, False
        user, password = self._split(raw)
        if user is not None:
            self.user = user
        return user, None if password is None else self.known_of(password), True, False

    def _split(self, raw: bytes) -> tuple[str | None, bytes | None]:
        match self.mechanism:
            case "PLAIN":  # RFC 4616: authzid NUL authcid NUL passwd
                _, _, rest = raw.partition(b"\0")
                user, second, password = rest.partition(b"\0")
                # One of the three is missing, or moved: what looks like the user may be the password.
                if not second or (raw[:1] != b"\0" and not password) or self._is_password(user):
                    return None, raw
                return user_name(user), password
            case "XOAUTH2" | "OAUTHBEARER":
                found = re.match(rb"(?:n,a|user)=([^\x00-\x20,^\\]*)", raw)
                return user_name(found[1]) if found else None, None
            case "CRAM-MD5":  # RFC 2195: user SP digest
                user, _, digest = raw.rpartition(b" ")
                return user_name(user) if _DIGEST.fullmatch(digest) else None, None
            case "DIGEST-MD5":
                found = re.search(rb'username="([^"]*)"', raw)
                return user_name(found[1]) if found else None, None
            case "NTLM":
                return user_name((ntlm_user(raw) or "").encode()) or None, None
            case _:
                return None, None

    def _is_password(self, raw: bytes) -> bool:
        return command.decoded(raw) in self._accounts.values()  # typed into the wrong field

    def known_of(self, password: bytes) -> Secret:
        """What may be known of a password."""
        expected = self._accounts.get((self.user or "").lower())
        return Secret(
            empty=not password,
            line_end=password.endswith((b"\r", b"\n")),
            charset=_charset(password),
            long=len(password) > LONG,
            field_width=len(password) if len(password) in FIELD_WIDTHS else None,
            likeness=None if expected is None else likeness(password, expected),
        )


def user_name(raw: bytes) -> str | None:
    """A user name that may be shown; None for what cannot be one and may hold a password: a token of another mechanism,
    or name and password in one field. A line end behind it stays, for devices have that fault."""
    name = command.decoded(raw)
    word = name.rstrip("\r\n")
    if not word.isprintable() or ":" in word or "auth=" in word.lower() or ("@" in word and " " in word.strip()):
        return None
    return name


def likeness(given: bytes, expected: str) -> Likeness:
    """How a password compares with the expected one, as far as that explains a mistake."""
    right = expected.encode()
    if given == right:
        return "equal"
    if given.rstrip(b"\r\n") == right:
        return "line-end"
    if given.strip() == right.strip():
        return "blank"
    if given and right.startswith(given):
        return "prefix"
    if given in _encodings(expected):
        return "encoding"
    if given.lower() == right.lower():
        return "case"
    return "different"


def unbase64(text: bytes) -> bytes | None:
    """The octets that base64 stands for, with or without its padding; None where it is not base64."""
    if text in (b"", b"="):  # RFC 4954 4: a single equals sign is an empty initial response
        return b""
    try:
        return b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), validate=True)
    except (Base64Error, ValueError):
        return None


def masked_auth(line: bytes) -> tuple[bytes, str, bytes | None]:
    """An AUTH command: itself with the secret masked, the mechanism (`?` if unknown), and the initial response."""
    ending = line[len(line.rstrip(b"\r\n")) :]
    found = _AUTH.match(line.rstrip(b"\r\n"))
    if not found:
        return masked_line(line), "?", None
    head, rest = found.groups()
    words = rest.split(None, 1)
    if not words:
        return head + ending, "?", None
    name = words[0].decode("latin-1").upper()
    if name not in MECHANISMS:
        return head + MASK + ending, "?", None
    initial = words[1].strip() if len(words) > 1 else None
    shown = head + rest[: rest.index(words[0]) + len(words[0])]
    return shown + (b"" if initial is None else b" " + MASK) + ending, name, initial


def masked_line(line: bytes) -> bytes:
    """A line of which nothing may be shown but its end."""
    return MASK + line[len(line.rstrip(b"\r\n")) :]


def may_be_secret(line: bytes, after_auth: bool) -> bool:
    """Whether an unknown "command" may hold a secret: anything once AUTH was tried, what looks like base64 at any time,
    and the words by which this and other protocols announce a password."""
    text = line.strip()
    if not text:
        return False
    if after_auth or _ANNOUNCED.search(text):
        return True
    return any(_TOKEN.fullmatch(token) and not _WORD.fullmatch(token) for token in re.split(rb"[\s\0&]+", text))


def hides_auth(line: bytes) -> bool:
    """Whether an AUTH command stands within the line of another, behind a blank, a bare CR or an octet that is no
    text."""
    return b"UTH" in line.upper() and _HIDDEN.search(line) is not None


def masked_argument(line: bytes, said: command.Command, after_auth: bool) -> bytes:
    """A line without what follows a command that takes nothing, or nothing that matters, where it may be a secret."""
    if said.verb not in _BARE or not said.argument or _PARAMETER.fullmatch(said.argument):
        return line
    if not may_be_secret(said.argument, after_auth):
        return line
    return said.verb + b" " + masked_line(line)


def ntlm_user(raw: bytes) -> str | None:
    """The user, with its domain, in an NTLM type 3 message (MS-NLMP 2.2.1.3); None in any other."""
    if not raw.startswith(b"NTLMSSP\0\x03\0\0\0") or len(raw) < 64:
        return None

    def text(at: int) -> str:
        length = int.from_bytes(raw[at : at + 2], "little")
        offset = int.from_bytes(raw[at + 4 : at + 8], "little")
        unicode = raw[60] & 1
        return raw[offset : offset + length].decode("utf-16-le" if unicode else "latin-1", "replace")

    domain, user = text(28), text(36)
    return f"{domain}\\{user}" if domain else user


def _charset(password: bytes) -> Charset:
    if password.isascii():
        return "ascii"
    try:
        password.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _encodings(text: str) -> set[bytes]:
    found = set()
    for encoding in ("latin-1", "cp1252", "cp437", "cp850", "utf-16-le", "utf-7"):
        try:
            found.add(text.encode(encoding))
        except UnicodeEncodeError:
            continue
    return found
