"""Whether Office 365 can sign mail of the domain: the CNAME records of its selectors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Resolver
from relayprobe.tongue import said

RFC = "RFC 6376 3.6.2.1"


@dataclass(frozen=True, slots=True)
class Seen:
    """One selector. `key`: the TXT records at the end of its CNAME, or its own."""

    domain: str
    selector: str
    alias: Answer
    key: Answer

    @property
    def has_key(self) -> bool:
        return any(b"p=" in text.replace(b" ", b"") for text in self.key.texts)


async def look(resolver: Resolver, domain: str, selectors: tuple[str, ...]) -> tuple[Seen, ...]:
    async def one(selector: str) -> Seen:
        name = f"{selector}._domainkey.{domain}"
        return Seen(domain, selector, *await asyncio.gather(resolver.ask(name, "CNAME"), resolver.ask(name, "TXT")))

    return tuple(await asyncio.gather(*map(one, selectors)))


def judged(seen: tuple[Seen, ...]) -> tuple[Checked, ...]:
    """One `dkim`, for all selectors; none where none was asked."""
    if not seen:
        return ()
    observed = {one.selector: {"cname": list(one.alias.names), "key": one.has_key} for one in seen}
    domain = seen[0].domain
    with_key = [one.selector for one in seen if one.has_key]
    if with_key:
        says = said("DKIM of {domain} has a key at {selectors}", domain=domain, selectors=", ".join(with_key))
        return (Checked("dkim", "ok", says, observed=observed, source=RFC),)
    failed = next((one.key for one in seen if not one.key.settled), None)
    if failed:
        says = said("the DKIM records of {domain} could not be looked up: {why}", domain=domain, why=failed.why)
        return (Checked("dkim", "unknown", says, observed=observed, source=RFC),)
    says = said("{domain} has no DKIM key that Office 365 signs with", domain=domain)
    fix = said("switch DKIM on for the domain in Microsoft 365, and publish the CNAME records that it names")
    return (Checked("dkim", "warning", says, fix, observed=observed, source=RFC),)
