"""One connection to a mail server, as far as it is to be looked at: greeting, EHLO, STARTTLS, EHLO again, QUIT.

Nothing is judged here, and nothing that the other side does is an exception: `Heard` has what was met, how long each
step took, and the dialogue as events. What is to be said between the second EHLO and QUIT (a login, an envelope) comes
as a function.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from relayprobe.check.resolver import Resolver
from relayprobe.relay.outcome import Reply, Trouble
from relayprobe.relay.place import Offers
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.relay.record import Record
from relayprobe.relay.tls import client_context
from relayprobe.report.visible import visible
from relayprobe.wire.events import Event

Family = Literal["ipv4", "ipv6"]
Reached = Literal["connected", "refused", "timeout", "unreachable", "no-address", "no-such-name", "no-name"]
"""`no-address`: the name has none of this family; `no-such-name`: DNS does not know it; `no-name`: it could not be
looked up."""

Step = Literal["connect", "banner", "ehlo", "tls", "ehlo-again", "done"]

ADDRESSES = 2
"""Addresses of a host that are tried, one after the other."""

NO_WAY = frozenset((errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""This machine has no route of that family at all."""


@dataclass(frozen=True, slots=True)
class Target:
    """A port to look at. `place`: what it is called in the ids of checks."""

    place: str
    host: str
    port: int
    helo: str = "relayprobe.local"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the server showed. `names`: those it is made out to; `until`: its last day, ISO 8601; `chain`: subjects of
    what was sent, where Python tells them."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    until: str
    own: bool  # it has issued itself
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tls:
    """`up`: the handshake is done and the certificate verified. `why`: why it is not; `certificate`: where one came,
    from a second handshake where the first was broken off on its account."""

    up: bool
    version: str = ""
    suite: str = ""
    why: str = ""
    verify: bool = False  # the certificate is at fault
    certificate: Certificate | None = None


@dataclass(slots=True)
class Heard:
    """What was met at one port, over one family. `step`: how far it came; `trouble`: what ended it there."""

    target: Target
    family: Family
    address: str = ""
    reached: Reached = "no-name"
    why: str = ""
    no_route: bool = False
    step: Step = "connect"
    trouble: str = ""
    silent: bool = False  # nothing came, in time
    banner: Reply | None = None
    greeted: datetime | None = None  # when the banner had come, in UTC
    hello: Reply | None = None
    refused_tls: Reply | None = None
    tls: Tls | None = None
    hello_again: Reply | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def connected(self) -> bool:
        return self.reached == "connected"

    @property
    def offers(self) -> Offers:
        """Before TLS."""
        return Offers.of(self.hello) if self.hello else Offers()

    @property
    def public_address(self) -> str | None:
        """Ours, as the server sees it."""
        for reply in (self.hello_again, self.hello):
            if reply and (found := _SEEN.search(reply.text.split("\n")[0])):
                try:
                    return str(ipaddress.ip_address(found[1].removeprefix("IPv6:")))
                except ValueError:
                    continue
        return None


_SEEN = re.compile(r"Hello \[([0-9A-Fa-f:.]{2,45}|IPv6:[0-9A-Fa-f:.]{2,45})\]")

Then = Callable[[UpstreamProtocol, Heard], Awaitable[None]]


async def look(
    target: Target,
    family: Family,
    resolver: Resolver,
    context: ssl.SSLContext,
    seconds: float,
    then: Then | None = None,
) -> Heard:
    """Walk through one dialogue. `seconds`: for connecting to each address, and for each step after it."""
    heard = Heard(target, family)
    await walk(heard, resolver, context, seconds, then)
    return heard


async def walk(
    heard: Heard, resolver: Resolver, context: ssl.SSLContext, seconds: float, then: Then | None = None
) -> None:
    """The same, noted in `heard` as it goes, so that what was met is kept where the walk is cut short."""
    loop = asyncio.get_running_loop()
    addresses = await _addresses(heard, resolver)
    for address in addresses[:ADDRESSES]:
        record = Record()
        began = loop.time()
        heard.address, heard.reached = address, "timeout"
        try:
            async with asyncio.timeout(seconds):
                _, protocol = await loop.create_connection(
                    lambda record=record: UpstreamProtocol(loop, record),  # type: ignore[misc]
                    address,
                    heard.target.port,
                )
        except TimeoutError:
            heard.reached, heard.why = "timeout", ""
        except OSError as error:
            heard.reached = "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"
            heard.reached = "timeout" if error.errno == errno.ETIMEDOUT else heard.reached
            heard.why = error.strerror or str(error)
            heard.no_route = error.errno in NO_WAY
        else:
            heard.reached, heard.why = "connected", ""
            heard.seconds["connect"] = loop.time() - began
            try:
                await _dialogue(heard, protocol, context, seconds, then)
            except asyncio.CancelledError:
                heard.silent = True
                raise
            finally:
                protocol.break_off("lost", "given up", "quit")
                heard.events = record.transcript
            if heard.tls and heard.tls.verify:
                heard.tls = await _with_certificate(heard, heard.tls, seconds)
            return
        heard.seconds["connect"] = loop.time() - began


def families(host: str) -> tuple[Family, ...]:
    """Those that a host may be looked at over: an address has but one."""
    try:
        return ("ipv4",) if ipaddress.ip_address(host).version == 4 else ("ipv6",)
    except ValueError:
        return "ipv4", "ipv6"


async def _addresses(heard: Heard, resolver: Resolver) -> tuple[str, ...]:
    host = heard.target.host
    if families(host) == (heard.family,):
        return (host,)
    if host == "localhost":
        return ("127.0.0.1",) if heard.family == "ipv4" else ("::1",)
    answer = await resolver.ask(host, "A" if heard.family == "ipv4" else "AAAA")
    if not answer.addresses:
        heard.reached, heard.why = "no-address" if answer.settled else "no-name", answer.why
        if answer.outcome == "no-name":
            heard.reached = "no-such-name"
    return answer.addresses


async def _dialogue(
    heard: Heard, protocol: UpstreamProtocol, context: ssl.SSLContext, seconds: float, then: Then | None
) -> None:
    name = heard.target.helo.encode("ascii", "replace")
    heard.step = "banner"
    heard.banner = await _timed(heard, "banner", protocol.reply(seconds))
    heard.greeted = datetime.now(UTC)
    if heard.banner is None or heard.banner.code != 220:
        return
    heard.step = "ehlo"
    heard.hello = await _timed(heard, "ehlo", protocol.ask(b"EHLO", name, timeout=seconds))
    if heard.hello is None or heard.hello.code != 250:
        return
    if "STARTTLS" in heard.offers:
        heard.step = "tls"
        if not await _secured(heard, protocol, context, seconds):
            return
        heard.step = "ehlo-again"
        heard.hello_again = await _timed(heard, "ehlo-again", protocol.ask(b"EHLO", name, timeout=seconds))
        if heard.hello_again is None:
            return
    if then is not None:
        await then(protocol, heard)
    heard.step = "done"
    if protocol.usable:
        await protocol.ask(b"QUIT", timeout=min(seconds, 5.0))
        await protocol.leave(min(seconds, 5.0))


async def _secured(heard: Heard, protocol: UpstreamProtocol, context: ssl.SSLContext, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = await protocol.into_tls(context, heard.target.host, seconds)
    heard.seconds["tls"] = loop.time() - began
    if said is None:
        assert protocol.transport is not None
        secured: Any = protocol.transport.get_extra_info("ssl_object")
        suite = secured.cipher()
        certificate = _certificate(secured.getpeercert(True), _chain(secured))
        heard.tls = Tls(True, secured.version() or "", suite[0] if suite else "", certificate=certificate)
        return True
    if isinstance(said, Reply):
        heard.refused_tls = said
    else:
        heard.trouble, heard.silent = said.words, said.cause == "timeout"
        heard.tls = Tls(False, why=said.words, verify=said.cause == "certificate")
    return False


async def _timed(heard: Heard, step: str, asked: Awaitable[Reply | Trouble]) -> Reply | None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = await asked
    heard.seconds[step] = loop.time() - began
    if isinstance(said, Reply):
        return said
    heard.trouble, heard.silent = said.words, said.cause == "timeout"
    return None


async def _with_certificate(heard: Heard, tls: Tls, seconds: float) -> Tls:
    """Whose the certificate is that was not trusted: asked for once more, with a handshake that trusts nobody and says
    nothing after it."""
    loose = trusting()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            _, protocol = await loop.create_connection(
                lambda: UpstreamProtocol(loop, Record()), heard.address, heard.target.port
            )
            try:
                await protocol.reply(seconds)
                await protocol.ask(b"EHLO", heard.target.helo.encode("ascii", "replace"), timeout=seconds)
                if await protocol.into_tls(loose, heard.target.host, seconds) is None and protocol.transport:
                    secured: Any = protocol.transport.get_extra_info("ssl_object")
                    suite = secured.cipher()
                    certificate = _certificate(secured.getpeercert(True), _chain(secured))
                    return Tls(False, secured.version() or "", suite[0] if suite else "", tls.why, True, certificate)
            finally:
                protocol.break_off("lost", "given up", "quit")
    except OSError:  # TimeoutError is one: then it stays unknown
        pass
    return tls


def trusting(certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A context for where nothing secret is said: the server may be anybody, as it may for a device that does not
    look. Raises CertificateError."""
    context = client_context(None, certificate, key)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _chain(secured: Any) -> tuple[str, ...]:
    ask = getattr(secured, "get_unverified_chain", None)  # from Python 3.13 on
    return tuple(_name(x509.load_der_x509_certificate(one).subject) for one in ask()[1:]) if ask else ()


def _certificate(der: bytes | None, chain: tuple[str, ...]) -> Certificate | None:
    if der is None:
        return None
    try:
        found = x509.load_der_x509_certificate(der)
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            dns = tuple(visible(name) for name in names.get_values_for_type(x509.DNSName))[:20]
        except x509.ExtensionNotFound:
            dns = ()
        return Certificate(
            _name(found.subject),
            _name(found.issuer),
            dns,
            found.not_valid_after_utc.date().isoformat(),
            found.subject == found.issuer,
            chain,
        )
    except ValueError:  # it is none that can be read
        return None


def _name(name: x509.Name) -> str:
    """The name that a person would call it by."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return visible(str(found[0].value))[:200]
    return visible(name.rfc4514_string())[:200]


def observed(heard: Heard) -> Mapping[str, Any]:
    """What JSON holds of it."""
    tls, certificate = heard.tls, heard.tls.certificate if heard.tls else None
    return {
        "host": heard.target.host,
        "port": heard.target.port,
        "family": heard.family,
        "address": heard.address or None,
        "reached": heard.reached,
        "step": heard.step,
        "why": heard.why or heard.trouble or None,
        "banner": heard.banner.line if heard.banner else None,
        "offers": heard.hello.text.split("\n")[1:] if heard.hello else [],
        "offers_in_tls": heard.hello_again.text.split("\n")[1:] if heard.hello_again else [],
        "public_address": heard.public_address,
        "tls": tls
        and {
            "up": tls.up,
            "version": tls.version or None,
            "suite": tls.suite or None,
            "why": tls.why or None,
            "certificate": certificate
            and {
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "names": list(certificate.names),
                "until": certificate.until,
                "chain": list(certificate.chain),
            },
        },
        "seconds": {step: round(seconds, 3) for step, seconds in heard.seconds.items()},
    }
