"""A mail server on loopback that does what a test tells it to: the other side of the relay.

`Scripted(on={"RCPT": [OK, b"550 5.1.1 no\\r\\n"]})`: what is answered to a verb, one after the other; the last one
repeats. A list's items are replies, or what is done in their place. `BANNER`, `DOT` (behind the text) and `TEXT`
(when the text begins) are verbs, too. What came is in `said` and `texts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Do(Enum):
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    SPEW = "spew"  # one line without an end
    CONTINUE = "continue"  # a reply without an end


Step = bytes | Do
OK = b"250 2.0.0 ok\r\n"
EHLO = ("SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING", "SMTPUTF8")
DEFAULT: dict[str, Step] = {
    "BANNER": b"220 mail.example ready\r\n",
    "STARTTLS": b"220 2.0.0 go\r\n",
    "DATA": b"354 go\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
    "LOGIN": b"235 2.7.0 in\r\n",
    "TEXT": b"",
}


@dataclass
class Scripted:
    """What the server does. `tls`: its context; `implicit`: TLS from the first octet."""

    on: dict[str, Step | Sequence[Step]] = field(default_factory=dict)
    offers: Sequence[str] = EHLO
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    mechanisms: str = "LOGIN XOAUTH2"
    behind_starttls: bytes = b""
    slow: float = 0.0  # seconds between two reads of a text
    stuck: bool = False  # it reads nothing of a text
    said: list[bytes] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    cut: list[bytes] = field(default_factory=list)  # texts without their end
    connections: int = 0
    octets: int = 0  # of texts that are not kept
    keep: bool = True
    port: int = 0
    versions: list[str] = field(default_factory=list)
    certificates: list[bool] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def commands(self) -> list[str]:
        """The first word of each command."""
        return [line.split(b" ")[0].decode("latin-1").upper() for line in self.said]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Scripted]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls if self.implicit else None)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            while self._writers:
                await asyncio.sleep(0.001)

    def _step(self, verb: str) -> Step:
        steps = self.on.get(verb, DEFAULT.get(verb, OK))
        if isinstance(steps, bytes | Do):
            return steps
        count = self._counts[verb] = self._counts.get(verb, 0) + 1
        return steps[min(count, len(steps)) - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._dialogue(reader, writer)
        except (OSError, asyncio.IncompleteReadError, _OverError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if not writer.is_closing() else None

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = self.implicit
        if secure:
            self._noted(writer)
        await self._do("BANNER", writer)
        while line := await reader.readline():
            line = line.rstrip(b"\r\n")
            self.said.append(line)
            verb = line.split(b" ")[0].decode("latin-1").upper()
            if verb == "EHLO" and "EHLO" not in self.on:
                offers = ["mail.example greets", *self.offers]
                if secure:
                    offers.append(f"AUTH {self.mechanisms}")
                elif self.tls:
                    offers.append("STARTTLS")
                lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
                await self._write(writer, "".join(f"{text}\r\n" for text in lines).encode())
            elif verb == "STARTTLS":
                reply = self._step(verb)
                await self._do(verb, writer, reply, self.behind_starttls)
                if isinstance(reply, bytes) and reply.startswith(b"220") and self.tls:
                    await self._into_tls(writer, self.tls)
                    secure = True
            elif verb == "AUTH":
                await self._auth(line, reader, writer)
            elif verb == "DATA":
                reply = self._step(verb)
                await self._do(verb, writer, reply)
                if isinstance(reply, bytes) and reply.startswith(b"354"):
                    await asyncio.sleep(0.3 if self.stuck else 0)  # until the client has no room left
                    await self._do("TEXT", writer)
                    if self.stuck:
                        await self._do("TEXT", writer, Do.STALL)
                    await self._text(reader)
                    await self._do("DOT", writer)
            else:
                await self._do(verb, writer)
                if verb == "QUIT":
                    writer.close()
                    return

    async def _into_tls(self, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        clear = writer.transport
        try:
            await writer.start_tls(context)
        except AttributeError:  # asyncio gives None for a transport where the client has gone meanwhile
            writer._transport = clear  # type: ignore[attr-defined]
            raise _OverError from None
        self._noted(writer)

    def _noted(self, writer: asyncio.StreamWriter) -> None:
        secured = writer.get_extra_info("ssl_object")
        self.versions.append(secured.version())
        self.certificates.append(secured.getpeercert(binary_form=True) is not None)

    async def _auth(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mechanism = line.split(b" ")[1]
        if "AUTH" in self.on:
            await self._do("AUTH", writer)
            return
        prompts = {b"LOGIN": (b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"), b"XOAUTH2": (b"334 ",)}.get(mechanism, ())
        for number, prompt in enumerate(prompts):
            await self._write(writer, prompt + b"\r\n")
            answer = await reader.readline()
            self.said.append(answer.rstrip(b"\r\n"))
            if not answer:
                raise _OverError
            if step := self.on.get(f"LOGIN{number + 1}"):
                await self._do(f"LOGIN{number + 1}", writer)
                if isinstance(step, bytes) and step.startswith(b"334"):
                    self.said.append((await reader.readline()).rstrip(b"\r\n"))
                    break
                return
        await self._do("LOGIN", writer)

    async def _text(self, reader: asyncio.StreamReader) -> None:
        text, tail = bytearray(), b"\r\n"
        while not (tail.endswith(b"\r\n.\r\n")):
            piece = await reader.read(65536)
            if not piece:
                self.cut.append(bytes(text))
                raise _OverError
            self.octets += len(piece)
            text += piece if self.keep else b""
            tail = (tail + piece)[-5:]
            if self.slow:
                await asyncio.sleep(self.slow)
        self.texts.append(bytes(text))

    async def _do(self, verb: str, writer: asyncio.StreamWriter, step: Step | None = None, more: bytes = b"") -> None:
        match self._step(verb) if step is None else step:
            case bytes() as reply:
                await self._write(writer, reply + more)
            case Do.CLOSE:
                writer.close()
                raise _OverError
            case Do.RESET:
                writer.transport.abort()
                raise _OverError
            case Do.STALL:
                while not writer.is_closing():
                    await asyncio.sleep(0.005)
                raise _OverError
            case Do.SPEW:
                while True:
                    await self._write(writer, b"2" * 65536)
            case Do.CONTINUE:
                while True:
                    await self._write(writer, b"250-and more\r\n" * 4000)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if data:
            writer.write(data)
            await writer.drain()


class _OverError(Exception):
    """The dialogue is over."""


@dataclass(frozen=True)
class Made:
    """Certificates of a test: an authority, and what it has issued, as PEM files."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    authority: x509.Certificate

    @classmethod
    def at(cls, folder: Path) -> Made:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _certificate("test authority", key, None, key, ca=True)
        (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, authority)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, *, days: int = 30, own: bool = False) -> Path:
        """A certificate with its key in one file. `own`: it has issued itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = (None, key) if own else (self.authority, self.key)
        made = _certificate(name, key, issuer, issuer_key, days=days)
        path = self.folder / f"{name}-{days}-{own}.pem"
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        return path

    def server(self, certificate: Path | None = None, *, asks: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate or self.issue("mail.example"))
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    days: int = 30,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not ca:
        names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
