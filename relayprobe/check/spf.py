"""Whether the domain's SPF record lets the site's address send: RFC 7208, evaluated by pyspf over our own questions.

pyspf waits for each answer, so it runs in a thread; its way to DNS is a method of its own, which is overridden here, so
that nothing of the module is changed. What it asks is bounded by the resolver.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import spf

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Kind, Resolver
from relayprobe.office365.modes import AT_MX, Mode
from relayprobe.tongue import said

Result = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"]

INCLUDE = "include:spf.protection.outlook.com"

RFC = "RFC 7208"
SOURCE = f"{RFC}; Microsoft recommends ~all, because of valid forwarding (Exchange team blog, 2025-04-28)"

LOOKUPS = 10
"""RFC 7208 4.6.4: the terms that ask DNS."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`why`: the library's English, data; `lookups`: the terms that asked DNS; `void`: answers without a record."""

    result: Result
    why: str = ""
    lookups: int = 0
    void: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """`answer`: the TXT records of `domain`."""

    domain: str
    answer: Answer

    @property
    def records(self) -> tuple[str, ...]:
        return spf_records(self.answer.texts)


def spf_records(texts: tuple[bytes, ...]) -> tuple[str, ...]:
    """Those that are SPF's by RFC 7208 4.5: `v=spf1` and then a space or nothing."""
    return tuple(text.decode("ascii", "replace") for text in texts if re.match(rb"v=spf1(?: |\Z)", text, re.IGNORECASE))


def with_address(record: str, address: str) -> str:
    """The record with the address in it, first, so that it is met before any lookup."""
    version, *rest = record.split()
    return " ".join((version, _term(address), *rest))


async def look(resolver: Resolver, domain: str) -> Seen:
    return Seen(domain, await resolver.ask(domain, "TXT"))


async def evaluate(resolver: Resolver, address: str, sender: str, helo: str) -> Evaluated:
    """SPF's result for a client address, MAIL FROM and HELO. An error of the library itself, which
    reads what strangers publish, is `temperror`."""
    loop = asyncio.get_running_loop()

    def ask(name: str, kind: Kind) -> Answer:
        return asyncio.run_coroutine_threadsafe(resolver.ask(name, kind), loop).result()

    query = _Query(ask, address, sender, helo)
    try:
        result, _, why = await asyncio.to_thread(query.check)
    except Exception as error:
        return Evaluated("temperror", f"{type(error).__name__}: {error}", query.lookups, query.void_lookups)
    return Evaluated(cast("Result", result), str(why), query.lookups, query.void_lookups)


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's, with our questions."""

    def __init__(self, ask: Any, address: str, sender: str, helo: str) -> None:
        super().__init__(i=address, s=sender, h=helo)
        self._ask = ask

    def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        """As the overridden one answers: texts as pieces, MX as pairs, addresses and names as text."""
        name = str(name).removesuffix(".")
        if not all(0 < len(label) < 64 for label in name.split(".")):
            return []
        answer: Answer = self._ask(name, qtype)
        if answer.outcome != "unreadable" and not answer.settled:
            raise spf.TempError(f"DNS {answer.outcome}")
        match qtype:
            case "TXT":
                found: list[Any] = [(text,) for text in answer.texts]
            case "MX":
                found = list(answer.exchangers)
            case "PTR":
                found = list(answer.names)
            case _:
                found = list(answer.addresses)
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        return found

    def validated_ptrs(self) -> list[str]:
        """RFC 7208 5.5: a name whose address cannot be looked up is left out; the library gives up over it."""
        return [name for name in self.dns_ptr(self.i)[: spf.MAX_PTR] if self._leads_back(name)]

    def _leads_back(self, name: str) -> bool:
        try:
            return bool(self.cidrmatch(self.dns_a(name, self.A), self.cidrmax))
        except spf.TempError:
            return False


def judged_record(seen: Seen) -> Checked:
    """`spf-record`: exactly one, with Microsoft's include, by itself."""
    observed = {"records": list(seen.records)}
    domain = seen.domain
    if not seen.answer.settled:
        says = said("the SPF record of {domain} could not be looked up: {why}", domain=domain, why=seen.answer.why)
        return Checked("spf-record", "unknown", says, observed=observed, source=RFC)
    if not seen.records:
        says = said("{domain} has no SPF record", domain=domain)
        fix = said("publish a TXT record of {domain}: {record}", domain=domain, record=f"v=spf1 {INCLUDE} ~all")
        return Checked("spf-record", "failed", says, fix, (), AT_MX, observed, 0, f"{RFC} 4.5")
    if len(seen.records) > 1:
        says = said("{domain} has {n} SPF records, and only one is allowed", domain=domain, n=len(seen.records))
        fix = said("put what they say into one record and remove the others")
        return Checked("spf-record", "failed", says, fix, (), AT_MX, observed, 0, f"{RFC} 4.5")
    record = seen.records[0]
    terms = record.lower().split()
    if INCLUDE not in terms and not any(term.startswith("redirect=") for term in terms):
        says = said(
            "the SPF record of {domain} does not itself include Office 365: {record}", domain=domain, record=record
        )
        fix = said("unless another include brings it in, add {term}", term=INCLUDE)
        return Checked("spf-record", "warning", says, fix, (), (), observed, 0, SOURCE)
    if any(term in ("+all", "all") for term in terms):
        says = said("the SPF record of {domain} lets everybody send: {record}", domain=domain, record=record)
        return Checked("spf-record", "warning", says, said("end it with ~all"), (), (), observed, 0, SOURCE)
    says = said("{domain} has one SPF record: {record}", domain=domain, record=record)
    return Checked("spf-record", "ok", says, observed=observed, source=SOURCE)


def judged_address(seen: Seen, address: str, found: Evaluated, policy: str | None) -> Checked:
    """`spf`: the result for the address. `policy`: DMARC's, which decides whether a miss is refused (5.7.509)."""
    observed = {
        "result": found.result,
        "address": address,
        "lookups": found.lookups,
        "void": found.void,
        "why": found.why,
    }
    domain, records = seen.domain, seen.records
    if found.result == "pass":
        says = said("SPF of {domain} lets {address} send", domain=domain, address=address)
        return Checked("spf", "ok", says, observed=observed, source=RFC)
    if found.result == "temperror":
        says = said("SPF of {domain} could not be evaluated: {why}", domain=domain, why=found.why)
        return Checked("spf", "unknown", says, observed=observed, source=RFC)
    blocks: tuple[Mode, ...] = ("direct-send",) if policy == "reject" else ()
    risks: tuple[Mode, ...] = ("connector",) if blocks else AT_MX
    status: Literal["failed", "warning"] = "failed" if blocks or found.result in ("fail", "permerror") else "warning"
    if found.result == "permerror":
        says = said("the SPF record of {domain} cannot be used: {why}", domain=domain, why=found.why)
        fix = said("correct the record, at most {n} lookups, then add {term}", n=LOOKUPS, term=_term(address))
    else:
        says = said("SPF of {domain} for {address}: {result}", domain=domain, address=address, result=found.result)
        record = with_address(records[0], address) if len(records) == 1 else f"v=spf1 {_term(address)} {INCLUDE} ~all"
        fix = said("publish this as the one SPF record of {domain}: {record}", domain=domain, record=record)
    return Checked("spf", status, says, fix, blocks, risks, observed, 0, SOURCE)


def _term(address: str) -> str:
    return f"ip{ipaddress.ip_address(address).version}:{address}"
