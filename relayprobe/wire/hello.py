"""What a device says when it opens TLS: its ClientHello, read from the octets before any TLS library sees them.

Python's ssl module does not say what a device offered, least of all when OpenSSL refuses the handshake, which is when
people ask. So the hello is parsed here: in one record or in many, and in the SSLv2 form that old devices send even
where they can do TLS. `looks_like_hello` says whether a connection begins with one at all, `HelloReader` puts
the records together, and `parse_handshake` reads the message. All are pure, none raises, and all are lenient: of a
hello that is cut short or malformed, what could be read is kept, for it is evidence and not a basis for a handshake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relayprobe.wire.tls_names import VERSIONS, group_name, signature_name, suite_name, version_name

LONGEST = 64 * 1024
"""No hello with its record headers is longer; with post-quantum key shares one has about 2 KiB."""

GREASE = frozenset(high << 8 | high for high in range(0x0A, 0x100, 0x10))
"""RFC 8701: numbers that mean nothing, sent so that servers get used to what they do not know."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4  # RFC 8446 5.1: type, version, length; 4: type, length
_RANDOM = 32
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 4.1.3
_SERVER_NAME, _GROUPS, _SIGNATURES, _ALPN, _VERSIONS = 0, 10, 13, 16, 43

# The octets that a hello may begin with, one entry for each place. In the SSLv2 form a length comes first, its top bit
# set: 4 KiB hold every suite there is, and keep telnet's 0xFF and a BOM's 0xEF out.
_ANY = range(256)
_SSLV2_LENGTH = range(0x80, 0x90)
_BEGINNINGS = (
    ("tls", ((_HANDSHAKE,), (3,), _ANY, _ANY, _ANY, (_CLIENT_HELLO,))),
    ("sslv2", (_SSLV2_LENGTH, _ANY, (_CLIENT_HELLO,), (3,), _ANY)),
    ("sslv2", (_SSLV2_LENGTH, _ANY, (_CLIENT_HELLO,), (0,), (2,))),
)
_SSLV2_BEGINNING = 5


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a device offers (RFC 8446 4.1.2; RFC 5246 E.2 for the SSLv2 form), in its order and without GREASE.

    `form` is `tls` or `sslv2`. `version` is the version field, which TLS 1.3 no longer uses; `versions` is all that the
    device offers, from the extension where there is one. Suites of SSLv2 are numbers of three octets, and the signals
    that are among the suites (RFC 5746, RFC 7507) are left there.
    """

    form: str
    version: int
    versions: tuple[int, ...]
    suites: tuple[int, ...]
    groups: tuple[int, ...] = ()
    signatures: tuple[int, ...] = ()
    sni: str | None = None
    alpn: tuple[str, ...] = ()

    @property
    def best_version(self) -> int:
        """The highest version offered; drafts and made-up numbers do not count where there is a real one."""
        return max((number for number in self.versions if number in VERSIONS), default=self.version)

    @property
    def fingerprint(self) -> str:
        """Versions, suites, groups and signature schemes in hex, as text: alike for all devices with the same TLS.

        `0301,0035-002f-000a-0005,,`: JA3's form, without its list of extensions.
        """
        parts = (self.versions, self.suites, self.groups, self.signatures)
        return ",".join("-".join(f"{number:04x}" for number in numbers) for numbers in parts)

    @property
    def version_names(self) -> tuple[str, ...]:
        """The versions by name, as `TLS 1.2`."""
        return tuple(map(version_name, self.versions))

    @property
    def suite_names(self) -> tuple[str, ...]:
        """The suites by IANA's names."""
        return tuple(map(suite_name, self.suites))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups for the key exchange by IANA's names."""
        return tuple(map(group_name, self.groups))

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The signature schemes by IANA's names."""
        return tuple(map(signature_name, self.signatures))


def looks_like_hello(data: bytes) -> bool:
    """Whether a connection that begins with `data` may begin with a ClientHello.

    A first octet of 22 is enough, for no text begins with it; the SSLv2 form needs its first five octets to be told
    from text of eight bits. More data may turn a yes into a no, and, for the SSLv2 form only, a no into a yes.
    """
    form = _form(data)
    return (form == "tls" and len(data) > 0) or (form == "sslv2" and len(data) >= _SSLV2_BEGINNING)


def _form(data: bytes | bytearray) -> str | None:
    """The form of hello that `data` may be the beginning of; nothing at all may become any of them."""
    for form, beginning in _BEGINNINGS:
        if all(octet in allowed for octet, allowed in zip(data, beginning, strict=False)):
            return form
    return None


class HelloReader:
    """Puts a ClientHello together from whatever pieces the wire delivers (RFC 8446 5.1, RFC 5246 E.2).

    What it finds does not depend on where the pieces were cut. `hello` or `error` is set once it is `done`, and what is
    fed after that is ignored; `raw` holds the whole records, headers included, that were used until then.
    """

    def __init__(self) -> None:
        self.hello: ClientHello | None = None
        self.error: str | None = None
        self._raw = bytearray()
        self._message = bytearray()  # what the records carried
        self._waiting = bytearray()  # a record that is not whole yet, and what comes after it

    @property
    def done(self) -> bool:
        """Whether the hello is there, or never will be."""
        return self.hello is not None or self.error is not None

    @property
    def raw(self) -> bytes:
        """The octets of the records read so far, and nothing that came after the hello."""
        return bytes(self._raw)

    def feed(self, data: bytes) -> None:
        """Take the next octets of the connection."""
        if self.done:
            return
        self._waiting += data
        match _form((self._raw or self._waiting)[:_RECORD_HEADER]):
            case "sslv2":
                self._read_sslv2()
            case "tls":
                while not self.done and self._read_record():
                    pass
            case _:
                self.error = "not a ClientHello"
        if self.done:
            self._waiting.clear()

    def _read_sslv2(self) -> None:
        size = 2 + (int.from_bytes(self._waiting[:2]) & 0x7FFF)
        if len(self._waiting) >= max(size, _SSLV2_BEGINNING):
            self._raw += self._waiting[:size]
            self._settle(_parse_sslv2(bytes(self._raw[2:])))

    def _read_record(self) -> bool:
        """Read one record of TLS; false where there is none to read."""
        # The checks come in the order of the octets they look at, or else it would show how the pieces were cut.
        waiting = self._waiting
        if len(waiting) < _RECORD_HEADER:
            return False
        size = _RECORD_HEADER + int.from_bytes(waiting[3:5])
        if waiting[0] != _HANDSHAKE:
            self.error = f"a record of type {waiting[0]} within the ClientHello"
        elif size == _RECORD_HEADER:
            self.error = "an empty record"  # RFC 8446 5.1 forbids it
        elif len(self._raw) + size > LONGEST:
            self.error = "longer than 64 KiB"
        elif not self._raw and len(waiting) > _RECORD_HEADER and waiting[_RECORD_HEADER] != _CLIENT_HELLO:
            self.error = f"a handshake message of type {waiting[_RECORD_HEADER]}, not a ClientHello"
        if self.error or len(waiting) < size:
            return False
        self._raw += waiting[:size]
        self._message += waiting[_RECORD_HEADER:size]
        del waiting[:size]
        self._look_at_message()
        return True

    def _look_at_message(self) -> None:
        if len(self._message) < _MESSAGE_HEADER:
            return
        size = _MESSAGE_HEADER + int.from_bytes(self._message[1:_MESSAGE_HEADER])
        if size > LONGEST:
            self.error = "longer than 64 KiB"
        elif len(self._message) >= size:
            self._settle(parse_handshake(bytes(self._message[:size])))

    def _settle(self, hello: ClientHello | None) -> None:
        self.hello = hello
        if hello is None:
            self.error = "too short for a ClientHello"


def parse_handshake(message: bytes) -> ClientHello | None:
    """Read a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) with its header; None if it ends before the session id.

    Of an extension that comes twice the first counts.
    """
    body = _Octets(message[_MESSAGE_HEADER:])
    version = body.number(2)
    body.take(_RANDOM)
    if not body:
        return None
    body.vector(1)  # session id
    suites = _numbers(body.vector(2))
    body.vector(1)  # compression methods
    extensions: dict[int, _Octets] = {}
    rest = _Octets(body.vector(2))
    while rest:
        extensions.setdefault(rest.number(2), _Octets(rest.vector(2)))

    def offered(extension: int, length_of_length: int = 2) -> bytes:
        return extensions.get(extension, _Octets(b"")).vector(length_of_length)

    return ClientHello(
        form="tls",
        version=version,
        versions=_numbers(offered(_VERSIONS, 1)) or (version,),  # RFC 8446 4.2.1
        suites=suites,
        groups=_numbers(offered(_GROUPS)),  # RFC 7919 2, RFC 8422 5.1.1
        signatures=_numbers(offered(_SIGNATURES)),  # RFC 8446 4.2.3
        sni=_host_name(offered(_SERVER_NAME)),
        alpn=tuple(_protocols(offered(_ALPN))),
    )


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What the server chose (RFC 8446 4.1.3). `retry`: it asks for another ClientHello."""

    version: int
    suite: int
    retry: bool


def parse_server_hello(message: bytes) -> ServerHello | None:
    """Read a ServerHello with its header; None if it ends before the suite."""
    body = _Octets(message[_MESSAGE_HEADER:])
    version, random = body.number(2), body.take(_RANDOM)
    body.vector(1)  # session id
    if not body:
        return None
    suite = body.number(2)
    body.take(1)  # compression method
    rest = _Octets(body.vector(2))
    while rest:
        kind, content = rest.number(2), rest.vector(2)
        if kind == _VERSIONS:
            version = int.from_bytes(content)
    return ServerHello(version, suite, random == _RETRY)


def _parse_sslv2(message: bytes) -> ClientHello | None:
    """RFC 5246 E.2: type, version, three lengths, then the suites; a suite of TLS has a zero in front."""
    octets = _Octets(message)
    octets.take(1)
    version, length = octets.number(2), octets.number(2)
    octets.take(4)  # the lengths of session id and challenge
    if not octets:
        return None
    return ClientHello("sslv2", version, (version,), _numbers(octets.take(length), 3))


def _host_name(names: bytes) -> str | None:
    """RFC 6066 3: the first name of type host_name, the only type there is."""
    octets = _Octets(names)
    while octets:
        kind, name = octets.number(1), octets.vector(2)
        if kind == 0:
            return _text(name) or None
    return None


def _protocols(names: bytes) -> Iterator[str]:
    """RFC 7301 3.1."""
    octets = _Octets(names)
    while octets:
        name = octets.vector(1)
        if name and not (len(name) == 2 and int.from_bytes(name) in GREASE):
            yield _text(name)


def _text(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def _numbers(data: bytes, size: int = 2) -> tuple[int, ...]:
    """The numbers of `size` octets in `data`, without GREASE and what is left over at the end."""
    whole = range(0, len(data) - size + 1, size)
    numbers = (int.from_bytes(data[at : at + size]) for at in whole)
    return tuple(number for number in numbers if number not in GREASE)


class _Octets:
    """Reads from the front; past the end there is nothing, and a number of no octets is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, length_of_length: int) -> bytes:
        """A variable-length vector (RFC 8446 3.4)."""
        return self.take(self.number(length_of_length))
