"""Whether the site's address is on a block list, with the list itself tried first, as RFC 5782 has it.

A list counts only while 127.0.0.2 is on it and 127.0.0.1 is not. What is no listing is never taken for one, and what
is not certain is "not checked", never "clean". A key in a zone's name is a secret and is not shown.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Resolver
from relayprobe.office365.modes import AT_MX
from relayprobe.tongue import said

SOURCE = "RFC 5782 5; Spamhaus, Available Zones; Spamhaus news 788"

CODES = {
    "127.0.0.2": "SBL",
    "127.0.0.3": "CSS",
    "127.0.0.4": "XBL",
    "127.0.0.9": "DROP",
    "127.0.0.10": "PBL, by the provider",
    "127.0.0.11": "PBL, by Spamhaus",
    "127.0.0.30": "BCL",
}
"""What zen.spamhaus.org answers."""

PBL = frozenset({"127.0.0.10", "127.0.0.11"})
"""Addresses that are not meant to send mail by themselves, such as dynamic ones."""

ERRORS = {
    "127.255.255.252": said("the zone's name is mistyped"),
    "127.255.255.254": said("it was asked through a public resolver"),
    "127.255.255.255": said("too many questions came from this resolver"),
    "127.0.0.1": said("it answers with an error"),
}
"""Answers that are no listings."""

WITH_KEY = ".dq.spamhaus.net"
NEVER = ("sorbs.net", "dnsbl-2.uceprotect.net", "dnsbl-3.uceprotect.net")
"""Closed, and such as list whole providers."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`listed`, `unlisted`: the two that tell whether the list works. None: it was not asked, and `why`."""

    zone: str
    address: str
    answer: Answer | None = None
    listed: Answer | None = None
    unlisted: Answer | None = None
    why: str = ""

    @property
    def shown(self) -> str:
        """The zone without its key."""
        return self.zone.split(".", 1)[1] if self.zone.endswith(WITH_KEY) else self.zone


async def look(resolver: Resolver, address: str, zone: str) -> Seen:
    zone = zone.rstrip(".").lower()
    if any(zone == one or zone.endswith(f".{one}") for one in NEVER):
        return Seen(zone, address, why=said("this list is closed, or lists whole providers"))
    if resolver.public and not zone.endswith(WITH_KEY):
        return Seen(zone, address, why=said("the resolver is a public one, which block lists do not answer"))
    six = ipaddress.ip_address(address).version == 6
    # RFC 5782 5: the list for IPv6 has these two, as IPv4 addresses within IPv6
    controls = ("::ffff:7f00:2", "::ffff:7f00:1") if six else ("127.0.0.2", "127.0.0.1")
    listed, unlisted = await asyncio.gather(*(resolver.ask(query(one, zone), "A") for one in controls))
    seen = Seen(zone, address, None, listed, unlisted)
    return (
        Seen(zone, address, await resolver.ask(query(address, zone), "A"), listed, unlisted)
        if not fault(seen)
        else seen
    )


def query(address: str, zone: str) -> str:
    """The name to ask for: the address from behind, by bytes (IPv4) or half bytes (IPv6)."""
    reverse: str = ipaddress.ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def fault(seen: Seen) -> str:
    """Why the list's answers cannot be relied on; '' where they can."""
    if seen.listed is None or seen.unlisted is None:
        return seen.why
    answers = [one for one in (seen.listed, seen.unlisted, seen.answer) if one]
    for answer in answers:
        if not answer.settled:
            return answer.why
        for address in answer.addresses:
            if address in ERRORS:
                return ERRORS[address]
            if address.startswith("127.255.255."):
                return said("it answers with the error {code}", code=address)
            if not address.startswith("127."):
                return said("it answers with {code}, which no block list does: the zone is no longer one", code=address)
    if not seen.listed.addresses:
        return said("its test entry is missing")
    if seen.unlisted.addresses:
        return said("it lists what it must not")
    return ""


def judged(seen: Seen) -> Checked:
    """`block-list:zen` and so on, by the first label."""
    shown = seen.shown
    name = f"block-list:{shown.split('.', 1)[0]}"
    why = fault(seen)
    if why or seen.answer is None:
        says = said("{zone} was not checked: {why}", zone=shown, why=why)
        return Checked(name, "unknown", says, observed={"zone": shown}, source=SOURCE)
    codes = seen.answer.addresses
    observed = {"zone": shown, "codes": list(codes)}
    if not codes:
        says = said("{address} is not on {zone}", address=seen.address, zone=shown)
        return Checked(name, "ok", says, observed=observed, source=SOURCE)
    spamhaus = shown in ("zen.spamhaus.org", "zen.dq.spamhaus.net")
    on = ", ".join(CODES.get(code, code) if spamhaus else code for code in codes)
    says = said("{address} is on {zone}: {codes}", address=seen.address, zone=shown, codes=on)
    if spamhaus and PBL.issuperset(codes):
        fix = said("ask the provider for a static address that may send mail, or use client submission")
    else:
        fix = said("find out what sent from this address, then ask the list to remove it")
    return Checked(name, "failed", says, fix, (), AT_MX, observed, 0, SOURCE)
