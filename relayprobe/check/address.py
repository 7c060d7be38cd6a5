"""What the site's public address looks like to others: its name, and whether it is the site's own, and lasting."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

import dns.reversename

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Resolver
from relayprobe.tongue import said

NAMES = 5
"""Names of an address that are looked up again."""

CARRIER = ipaddress.ip_network("100.64.0.0/10")

DYNAMIC = re.compile(
    r"(?:^|[^a-z])(?:dyn|dynamic|dynip|pool|pools|dsl|adsl|vdsl|dhcp|ppp|dial|dialup|cable)(?:[^a-z]|$)"
)
"""Words in a name that say that the address is lent; a hint, no proof."""

Sort = Literal["public", "carrier", "private", "none"]


@dataclass(frozen=True, slots=True)
class Seen:
    """`confirmed`: the names whose own address it is."""

    address: str
    answer: Answer
    confirmed: tuple[str, ...] = ()
    unsettled: bool = False


def sort_of(address: str) -> Sort:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "none"
    if ip.version == 4 and ip in CARRIER:
        return "carrier"
    return "public" if ip.is_global else "private"


async def look(resolver: Resolver, address: str) -> Seen:
    """`address` is one, of whatever sort."""
    answer = await resolver.ask(dns.reversename.from_address(address).to_text(), "PTR")
    names = answer.names[:NAMES]
    kind: Literal["A", "AAAA"] = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
    forward = await asyncio.gather(*(resolver.ask(name, kind) for name in names))
    own = ipaddress.ip_address(address)
    confirmed = tuple(
        name for name, one in zip(names, forward, strict=True) if own in map(ipaddress.ip_address, one.addresses)
    )
    return Seen(address, answer, confirmed, any(not one.settled for one in forward))


def judged_kind(address: str, names: tuple[str, ...] = ()) -> Checked:
    """`address-kind`: by the address and by its names."""
    sort = sort_of(address)
    observed = {"address": address, "sort": sort, "names": list(names)}
    match sort:
        case "none":
            return Checked(
                "address-kind", "unknown", said("{address} is no IP address", address=address), observed=observed
            )
        case "carrier":
            says = said("{address} is an address that a carrier shares among its customers", address=address)
            fix = said("ask the provider for a public address of the site's own; a connector cannot use this one")
            return Checked(
                "address-kind", "failed", says, fix, ("connector",), ("direct-send",), observed, 0, "RFC 6598"
            )
        case "private":
            says = said("{address} is no public address, so it is not the one that Office 365 sees", address=address)
            return Checked("address-kind", "unknown", says, observed=observed, source="RFC 6890")
    if hint := next((name for name in names if DYNAMIC.search(name)), None):
        says = said("{address} is probably dynamic: its name is {name}", address=address, name=hint)
        fix = said("ask the provider whether the address is static; a connector by address needs one that is")
        return Checked("address-kind", "warning", says, fix, (), ("connector",), observed)
    says = said("{address} is a public address; whether it is static cannot be seen in one look", address=address)
    return Checked("address-kind", "ok", says, observed=observed)


def judged_name(seen: Seen) -> Checked:
    """`ptr`: a name that leads back."""
    observed = {"names": list(seen.answer.names), "confirmed": list(seen.confirmed)}
    source = "RFC 1912 2.1"
    if not seen.answer.settled:
        says = said("the name of {address} could not be looked up: {why}", address=seen.address, why=seen.answer.why)
        return Checked("ptr", "unknown", says, observed=observed, source=source)
    fix = said("ask the provider to set the reverse name of {address}, one that leads back to it", address=seen.address)
    if not seen.answer.names:
        says = said("{address} has no name in DNS (no PTR record)", address=seen.address)
        return Checked("ptr", "warning", says, fix, (), ("direct-send",), observed, 0, source)
    name = (seen.confirmed or seen.answer.names)[0]
    if seen.confirmed:
        says = said("{address} is {name}, and that name leads back to it", address=seen.address, name=name)
        return Checked("ptr", "ok", says, observed=observed, source=source)
    if seen.unsettled:
        says = said(
            "{address} is {name}; whether it leads back could not be looked up", address=seen.address, name=name
        )
        return Checked("ptr", "unknown", says, observed=observed, source=source)
    says = said("{address} is {name}, but that name does not lead back to it", address=seen.address, name=name)
    return Checked("ptr", "warning", says, fix, (), ("direct-send",), observed, 0, source)
