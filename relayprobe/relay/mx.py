"""The MX host of a domain: where Direct Send and a connector deliver.

Looked up with dnspython, never built from the domain's name, and never taken from the A record where there is no MX:
this is for mail to Office 365, which has one. Answers are kept as long as DNS says, within a minute and a day; what is
not there for a minute. A lookup that fails (no answer, SERVFAIL, no network) is `later`; one that is answered, and by
an answer that no waiting mends, is `configuration`. When a lookup fails and an answer is at hand that ran out within
the last day, it serves once more, and that is said (RFC 8767).

A hundred messages for a domain ask once. Nothing is asked for longer than ten seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from relayprobe.office365.mx import DOUBTS, Kind, kind_of
from relayprobe.report.visible import visible

__all__ = ["Found", "Host", "Kind", "Lookup", "NotFound", "kind_of", "name_server"]

TIMEOUT = 5.0
"""Seconds for the MX record, and again for the addresses."""

SHORTEST, LONGEST = 60.0, 86_400.0
"""Seconds for which an answer is kept, whatever DNS says."""

NOTHING = 60.0
"""Seconds for which it is kept that something is not there."""

TROUBLE = 20.0
"""Seconds after a failure before it is asked again: shorter than the first wait of a message."""

STALE = 86_400.0
"""Seconds for which an answer that ran out still serves, while no other can be had."""

DOMAINS = 1000
"""Answers kept."""

HOSTS, ADDRESSES, ALIASES = 8, 8, 8
"""MX hosts of a domain, addresses of a host of each kind, and CNAMEs in a row that are followed."""


@dataclass(frozen=True, slots=True)
class Host:
    """One MX host with its addresses, IPv4 first: mail over IPv6 has to meet more (office365.replies, IPV6_...)."""

    name: str
    preference: int
    addresses: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Found:
    """The hosts of a domain, in the order in which they are tried. `warnings`: sentences for a person."""

    domain: str
    hosts: tuple[Host, ...]
    warnings: tuple[str, ...] = ()
    stale: bool = False


@dataclass(frozen=True, slots=True)
class NotFound:
    """No host, and why, as a sentence. `later`: the same question may be answered soon. `configuration`: no."""

    domain: str
    kind: Literal["later", "configuration"]
    says: str


class Lookup:
    """Looks up, and remembers. `server`: the address and port of a resolver, None for the machine's own."""

    def __init__(
        self,
        server: tuple[str, int] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT,
    ) -> None:
        self._server = server
        self._clock = clock
        self._timeout = timeout
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Found | NotFound]] = {}

    async def mx(self, domain: str) -> Found | NotFound:
        """The MX hosts of a domain. Never raises for what DNS, or the domain, may hold."""
        name = _name(domain)
        if name is None:
            says = f"{visible(domain[:100])} is no domain: correct the address, or the domain in the configuration"
            return NotFound(domain, "configuration", says)
        kept = self._kept.get(name)
        if kept and self._clock() < kept.until:
            self._kept.move_to_end(name)
            return kept.answer
        # A task of its own: whoever asked first may be cancelled, and the others wait for the same answer.
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.create_task(self._ask(name))
            task.add_done_callback(lambda _: self._asked.pop(name, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, name: str) -> Found | NotFound:
        answer, lasts = await _Question(name, self._server, self._timeout).answer()
        now = self._clock()
        old = self._kept.get(name)
        good, good_until = (old.good, old.good_until) if old else (None, 0.0)
        match answer:
            case Found():
                good, good_until = answer, now + lasts + STALE
            case NotFound(kind="configuration"):
                good = None
            case NotFound(says=says) if good and now < good_until:
                because = f"{says}; the answer from before is used for now"
                answer = replace(good, stale=True, warnings=(*good.warnings, because))
        self._kept[name] = _Kept(answer, now + lasts, good, good_until)
        self._kept.move_to_end(name)
        if len(self._kept) > DOMAINS:
            self._kept.popitem(last=False)
        return answer


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is answered until when; and the last answer that had hosts, with the end of its use."""

    answer: Found | NotFound
    until: float
    good: Found | None
    good_until: float


class _Question:
    """One domain, asked for once."""

    def __init__(self, domain: str, server: tuple[str, int] | None, timeout: float) -> None:
        self._domain = domain
        self._server = server
        self._timeout = timeout

    async def answer(self) -> tuple[Found | NotFound, float]:
        """What was found, and how many seconds that lasts."""
        records = await self._records(self._domain, "MX")
        match records:
            case _Failed(says=says):
                return self._later(f"the MX record of {self._domain} cannot be looked up: {says}")
            case _Missing(domain=False):
                return self._wrong(f"the domain {self._domain} does not exist in DNS: check how it is spelt")
            case _Missing():
                return self._wrong(
                    f"{self._domain} has no MX record, so DNS does not say where its mail goes: add the one that the "
                    "Microsoft 365 admin centre names (Settings > Domains), or set the route's host"
                )
        named = [(record.preference, record.exchange.to_text(omit_final_dot=True)) for record in records.data]
        # RFC 5321 5.1: hosts of the same preference in any order; they stay as the server gave them, which turns them.
        named = sorted((one for one in named if one[1] not in ("@", ".", "")), key=lambda one: one[0])[:HOSTS]
        if not named:  # RFC 7505
            return self._wrong(
                f"{self._domain} says that it takes no mail (its MX record is a single dot): use a domain "
                "that does, or correct the record"
            )
        looked_up = await asyncio.gather(*(self._addresses(host) for _, host in named))
        hosts = tuple(
            Host(host.lower(), preference, addresses.found, kind_of(host))
            for (preference, host), addresses in zip(named, looked_up, strict=True)
            if addresses.found
        )
        if not hosts:
            host = named[0][1]
            if failed := next((one.failed for one in looked_up if one.failed), None):
                return self._later(
                    f"the address of {host}, the MX host of {self._domain}, cannot be looked up: {failed}"
                )
            return self._wrong(f"{host}, the MX host of {self._domain}, has no address: correct the MX record")
        lasts = min(records.ttl, *(one.ttl for one in looked_up if one.found))
        return Found(self._domain, hosts, _warnings(self._domain, hosts)), min(max(lasts, SHORTEST), LONGEST)

    def _later(self, says: str) -> tuple[NotFound, float]:
        return NotFound(self._domain, "later", says), TROUBLE

    def _wrong(self, says: str) -> tuple[NotFound, float]:
        return NotFound(self._domain, "configuration", says), NOTHING

    async def _addresses(self, host: str) -> _Addresses:
        """IPv4 first. One kind is enough where the other fails."""
        answers = await asyncio.gather(self._records(host, "A"), self._records(host, "AAAA"))
        found = [answer for answer in answers if isinstance(answer, _Records)]
        failed = next((answer.says for answer in answers if isinstance(answer, _Failed)), None)
        addresses = chain.from_iterable([record.to_text() for record in one.data[:ADDRESSES]] for one in found)
        ttl = min((one.ttl for one in found), default=0.0)
        return _Addresses(tuple(addresses), ttl if failed is None else min(ttl, SHORTEST), failed)

    async def _records(self, name: str, kind: Literal["MX", "A", "AAAA"]) -> _Records | _Missing | _Failed:
        """The records of a name, wherever CNAMEs lead; within the timeout, all in all."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._followed(dns.name.from_text(name), kind)
        except TimeoutError:
            return _Failed(f"no answer within {self._timeout:g} seconds")

    async def _followed(self, name: dns.name.Name, kind: Literal["MX", "A", "AAAA"]) -> _Records | _Missing | _Failed:
        ttl = LONGEST
        for _ in range(ALIASES):
            try:
                # Made anew: a machine gets other resolvers while it runs, with another network.
                answer = await _resolver(self._server, self._timeout).resolve(name, kind, search=False)
            except dns.resolver.NXDOMAIN:
                return _Missing(domain=False)
            except dns.resolver.NoAnswer as error:
                # The CNAME came without what it points at, as from a server that does not look up for others.
                alias = error.kwargs["response"].resolve_chaining()
                if alias.canonical_name == name:
                    return _Missing(domain=True)
                name, ttl = alias.canonical_name, min(ttl, alias.minimum_ttl)
                continue
            except (dns.exception.DNSException, OSError) as error:
                return _Failed(_in_words(error, self._timeout))
            return _Records(list(answer), min(ttl, answer.chaining_result.minimum_ttl))
        return _Failed("its CNAME records lead on and on")


@dataclass(frozen=True, slots=True)
class _Records:
    data: list[Any]
    ttl: float


@dataclass(frozen=True, slots=True)
class _Missing:
    """It is certain that there is none. `domain`: the name itself exists."""

    domain: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    says: str


@dataclass(frozen=True, slots=True)
class _Addresses:
    found: tuple[str, ...]
    ttl: float
    failed: str | None


def name_server(text: str) -> tuple[str, int]:
    """A resolver as the configuration has it: `192.168.1.1`, `192.168.1.1:53`, `[fe80::1]:53`. Raises ValueError."""
    host, colon, port = text.strip().rpartition(":") if text.count(":") == 1 or "]:" in text else (text.strip(), "", "")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port) if colon else 53
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f"{text!r} is no resolver: write its IP address and port, as 192.168.1.1:53")
    return str(address), number


def _resolver(server: tuple[str, int] | None, timeout: float) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=server is None)
    if server:
        resolver.nameservers = [server[0]]
        resolver.port = server[1]
    resolver.timeout = timeout / 2.5  # one server's share: another one, or the same again, has its turn within the time
    resolver.lifetime = timeout
    return resolver


def _name(domain: str) -> str | None:
    """The domain as DNS writes it; None where it cannot be one. An address in brackets is none."""
    if not domain or len(domain) > 255 or any(c in domain for c in "[]\\@: \t\r\n\0") or not domain.strip("."):
        return None
    try:
        return dns.name.from_text(domain).to_text(omit_final_dot=True).lower()
    except (dns.exception.DNSException, UnicodeError):
        return None


def _in_words(error: Exception, timeout: float) -> str:
    match error:
        case dns.resolver.LifetimeTimeout():
            return f"no answer within {timeout:g} seconds"
        case dns.resolver.NoNameservers():
            return "the resolver answers that it cannot (SERVFAIL or the like)"
        case dns.resolver.NoResolverConfiguration():
            return "this machine names no resolver"
        case OSError(strerror=str(why)):
            return f"the resolver cannot be reached ({why})"
    return f"the resolver's answer makes no sense ({type(error).__name__})"


def _warnings(domain: str, hosts: Sequence[Host]) -> tuple[str, ...]:
    first = hosts[0]
    if first.kind == "other":
        return (
            f"{first.name}, the MX host of {domain}, has no name of Office 365: a gateway may stand in front of it. "
            "Direct Send and the connector want the host that the Microsoft 365 admin centre names (Settings > "
            "Domains): set it as the route's host",
        )
    doubt = DOUBTS.get(first.kind)
    return (f"{first.name} is taken for a host of Office 365, but {doubt}",) if doubt else ()
