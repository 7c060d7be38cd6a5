"""What DNS says: of a domain, and of the address that a site sends from."""

from __future__ import annotations

import asyncio

from relayprobe.check import address as addresses
from relayprobe.check import block_lists, dkim, dmarc, mx, spf
from relayprobe.check.checked import Checked
from relayprobe.check.mx import Exchangers, mail_exchangers
from relayprobe.check.resolver import Resolver

__all__ = ["Exchangers", "address_checks", "domain_checks", "mail_exchangers"]

SELECTORS = ("selector1", "selector2")
"""Those that Office 365 signs with."""

LISTS = ("zen.spamhaus.org",)


async def domain_checks(resolver: Resolver, domain: str, selectors: tuple[str, ...] = SELECTORS) -> tuple[Checked, ...]:
    """What the domain's own records say: `mx`, `mx-kind`, `spf-record`, `dkim`, `dmarc`."""
    exchangers, sender, keys, policy = await asyncio.gather(
        mail_exchangers(resolver, domain),
        spf.look(resolver, domain),
        dkim.look(resolver, domain, selectors),
        dmarc.look(resolver, domain),
    )
    return (*mx.judged(exchangers), spf.judged_record(sender), *dkim.judged(keys), dmarc.judged(policy))


async def address_checks(
    resolver: Resolver, domain: str, address: str, lists: tuple[str, ...] = LISTS
) -> tuple[Checked, ...]:
    """What DNS says of the public address that mail of the domain comes from.

    `address-kind`, and where it is a public one `spf`, `ptr` and `block-list:...` for each list.
    """
    if addresses.sort_of(address) != "public":
        return (addresses.judged_kind(address),)
    (sender, policy, result, named), listed = await asyncio.gather(
        asyncio.gather(
            spf.look(resolver, domain),
            dmarc.look(resolver, domain),
            spf.evaluate(resolver, address, f"postmaster@{domain}", domain),
            addresses.look(resolver, address),
        ),
        asyncio.gather(*(block_lists.look(resolver, address, zone) for zone in lists)),
    )
    return (
        spf.judged_address(sender, address, result, policy.policy),
        addresses.judged_name(named),
        addresses.judged_kind(address, named.answer.names),
        *map(block_lists.judged, listed),
    )
