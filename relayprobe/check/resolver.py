"""Asks DNS, and tells apart what may come of it: records, no such name, no such record, failure, silence.

One `Resolver` serves one run. The same question is asked once; few are asked at a time, so many at most, and none
after the run's time is over. What an answer means is for those who ask to say. dnspython repeats a cut-off answer's
question over TCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from relayprobe.tongue import said

Kind = Literal["A", "AAAA", "CNAME", "MX", "PTR", "TXT"]

Outcome = Literal["found", "no-name", "no-data", "servfail", "timeout", "no-resolver", "unreadable"]
"""`servfail`: no server gives an answer that counts; `unreadable`: neither the name nor the answer can be used."""

SETTLED: frozenset[Outcome] = frozenset({"found", "no-name", "no-data"})
"""What DNS itself has said: asking again says the same."""

PUBLIC = frozenset(
    "8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844 1.1.1.1 1.0.0.1 2606:4700:4700::1111 "
    "2606:4700:4700::1001 9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9 208.67.222.222 208.67.220.220 "
    "2620:119:35::35 2620:119:53::53".split()
)
"""Resolvers for everybody: Google, Cloudflare, Quad9, OpenDNS. Block lists do not answer them (Spamhaus, news 788)."""

RECORDS = 100
"""Records of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question. `records`: dnspython's; `why`: for a person, where `outcome` is not settled."""

    outcome: Outcome
    records: tuple[Any, ...] = ()
    why: str = ""

    @property
    def settled(self) -> bool:
        return self.outcome in SETTLED

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of an A or AAAA answer."""
        return tuple(record.address for record in self.records)

    @property
    def names(self) -> tuple[str, ...]:
        """Of a CNAME or PTR answer, small letters, without the last dot."""
        return tuple(_plain(record.target) for record in self.records)

    @property
    def exchangers(self) -> tuple[tuple[int, str], ...]:
        """Of an MX answer: preference and name, the smallest first; a null MX (RFC 7505) has the name ''."""
        return tuple(sorted((record.preference, _plain(record.exchange)) for record in self.records))

    @property
    def texts(self) -> tuple[bytes, ...]:
        """Of a TXT answer, each put together from its pieces (RFC 7208 3.3)."""
        return tuple(b"".join(record.strings) for record in self.records)


class Resolver:
    """`servers`: address and port of each name server to ask; none: those of this machine.

    `timeout`: seconds for one question; `deadline`: seconds from the first question to the last answer; `parallel`:
    questions at a time; `most`: questions in all. What is over the last two is answered with `timeout`.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] = (),
        *,
        timeout: float = 5.0,
        deadline: float = 25.0,
        parallel: int = 16,
        most: int = 500,
    ) -> None:
        self._servers = tuple(servers)
        self._timeout = timeout
        self._deadline = deadline
        self._most = most
        self._turn = asyncio.Semaphore(parallel)
        self._asked: dict[tuple[str, Kind], asyncio.Task[Answer]] = {}
        self._until: float | None = None

    @property
    def public(self) -> bool:
        """One of those asked is a resolver for everybody. One that merely forwards to such cannot be told by this."""
        if self._servers:
            return any(address in PUBLIC for address, _ in self._servers)
        try:
            return any(str(server) in PUBLIC for server in dns.asyncresolver.Resolver().nameservers)
        except (dns.exception.DNSException, OSError):
            return False

    @property
    def answered(self) -> bool:
        """A name server has said something, if only that it cannot."""
        done = [task for task in self._asked.values() if task.done() and not task.cancelled()]
        answers = [task.result() for task in done if task.exception() is None]
        return any(answer.settled or answer.outcome == "servfail" for answer in answers)

    async def ask(self, name: str, kind: Kind) -> Answer:
        """Never raises for what a name or an answer may hold."""
        key = name.rstrip(".").lower(), kind
        if key not in self._asked:
            if len(self._asked) >= self._most:
                return Answer("timeout", why=said("{most} questions were asked, and that is the most", most=self._most))
            # A task of its own: whoever asked first may be cancelled, and the others wait for the same answer.
            self._asked[key] = asyncio.create_task(self._ask(*key))
        return await asyncio.shield(self._asked[key])

    async def addresses(self, name: str) -> tuple[Answer, Answer]:
        """A and AAAA."""
        return await asyncio.gather(self.ask(name, "A"), self.ask(name, "AAAA"))

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _ask(self, name: str, kind: Kind) -> Answer:
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._deadline
        try:
            async with asyncio.timeout_at(self._until), self._turn:
                return await self._resolved(name, kind)
        except TimeoutError:
            return Answer("timeout", why=said("the time for DNS was over before an answer came"))

    async def _resolved(self, name: str, kind: Kind) -> Answer:
        try:
            asked = dns.name.from_text(name)
            found = await self._resolver().resolve(asked, kind, search=False)
        except dns.resolver.NXDOMAIN:
            return Answer("no-name")
        except dns.resolver.NoAnswer:
            return Answer("no-data")
        except dns.resolver.LifetimeTimeout:
            return Answer("timeout", why=said("no answer came within {seconds} seconds", seconds=f"{self._timeout:g}"))
        except dns.resolver.NoNameservers as error:
            tried = error.kwargs.get(
                "errors", ()
            )  # of each server: itself, TCP or not, its port, what went wrong, answer
            if not any(one[4] is not None for one in tried):
                return Answer("no-resolver", why=said("the resolver cannot be reached"))
            return Answer("servfail", why=said("the resolver answers that it cannot (SERVFAIL or the like)"))
        except dns.resolver.NoResolverConfiguration:
            return Answer("no-resolver", why=said("this machine names no resolver"))
        except OSError as error:
            why = said("the resolver cannot be reached ({error})", error=error.strerror or type(error).__name__)
            return Answer("no-resolver", why=why)
        except (dns.exception.DNSException, UnicodeError, ValueError) as error:
            why = said("the name or the answer makes no sense ({error})", error=type(error).__name__)
            return Answer("unreadable", why=why)
        return Answer("found", tuple(found)[:RECORDS])

    def _resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._servers]
        resolver.timeout = self._timeout / 2.5  # one server's share: another, or the same again, has its turn in time
        resolver.lifetime = self._timeout
        return resolver


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removesuffix(".").removeprefix("@")
