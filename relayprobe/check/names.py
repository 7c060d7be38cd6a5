"""What DNS says: of a domain, and of the address that a site sends from."""

from __future__ import annotations

from relayprobe.check.checked import Checked
from relayprobe.check.mx import Exchangers, judged, mail_exchangers
from relayprobe.check.resolver import Resolver

__all__ = ["Exchangers", "address_checks", "domain_checks", "mail_exchangers"]

SELECTORS = ("selector1", "selector2")
"""Those that Office 365 signs with."""

LISTS = ("zen.spamhaus.org",)


async def domain_checks(resolver: Resolver, domain: str, selectors: tuple[str, ...] = SELECTORS) -> tuple[Checked, ...]:
    """What the domain's own records say: `mx`, `mx-kind`."""
    return judged(await mail_exchangers(resolver, domain))


async def address_checks(
    resolver: Resolver, domain: str, address: str, lists: tuple[str, ...] = LISTS
) -> tuple[Checked, ...]:
    """What DNS says of the public address that mail of the domain comes from."""
    return ()
