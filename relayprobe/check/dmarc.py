"""What the domain wants done with mail that is neither SPF's nor DKIM's: `_dmarc`, its own or a parent's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Resolver
from relayprobe.tongue import said

Policy = Literal["none", "quarantine", "reject"]

PARENTS = 5
"""Names above the domain that are asked; never the last label alone."""

RFC = "RFC 7489 6.6.3"
REFUSED = "550 5.7.509: Microsoft, Email non-delivery reports and SMTP errors in Exchange Online (2024-03-08)"


@dataclass(frozen=True, slots=True)
class Seen:
    """`at`: the name whose record counts, of the last answer otherwise."""

    domain: str
    at: str
    answer: Answer

    @property
    def records(self) -> tuple[dict[str, str], ...]:
        return tuple(tags for text in self.answer.texts if (tags := tags_of(text)))

    @property
    def policy(self) -> Policy | None:
        """For mail of the domain; None where no record says it."""
        if len(self.records) != 1:
            return None
        tags = self.records[0]
        says = tags.get("sp", tags.get("p")) if self.at != self.domain else tags.get("p")
        match (says or "").lower():
            case "none" | "quarantine" | "reject" as policy:
                return policy
        return "none" if "rua" in tags else None  # 6.6.3 (6)


def tags_of(text: bytes) -> dict[str, str]:
    """The tags of a DMARC record, the first of each; empty where `v=DMARC1` does not stand first."""
    tags: dict[str, str] = {}
    for part in text.decode("ascii", "replace").split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags if next(iter(tags), "") == "v" and tags["v"] == "DMARC1" else {}


async def look(resolver: Resolver, domain: str) -> Seen:
    """The domain's own record, else the nearest parent's."""
    domain = domain.rstrip(".").lower()
    labels = domain.split(".")
    names = [".".join(labels[at:]) for at in range(max(len(labels) - 1, 1))][: PARENTS + 1]
    seen = Seen(domain, domain, Answer("no-name"))
    for name in names:
        seen = Seen(domain, name, await resolver.ask(f"_dmarc.{name}", "TXT"))
        if seen.records or not seen.answer.settled:
            break
    return seen


def judged(seen: Seen) -> Checked:
    observed = {"at": seen.at, "policy": seen.policy, "records": [dict(one) for one in seen.records]}
    domain = seen.domain
    if not seen.answer.settled:
        says = said("the DMARC record of {domain} could not be looked up: {why}", domain=domain, why=seen.answer.why)
        return Checked("dmarc", "unknown", says, observed=observed, source=RFC)
    if not seen.records:
        says = said("{domain} has no DMARC record", domain=domain)
        fix = said("publish a TXT record of _dmarc.{domain}: v=DMARC1; p=none", domain=domain)
        return Checked("dmarc", "warning", says, fix, observed=observed, source=RFC)
    if seen.policy is None:
        says = said("the DMARC record of {at} cannot be used: it has no policy, or there are several", at=seen.at)
        fix = said("keep one record of _dmarc.{at}, with p=none, p=quarantine or p=reject", at=seen.at)
        return Checked("dmarc", "warning", says, fix, observed=observed, source=RFC)
    if seen.policy == "reject":
        says = said(
            "DMARC of {at} says reject: Direct Send is refused (5.7.509) unless SPF passes for the site's address",
            at=seen.at,
        )
        return Checked("dmarc", "ok", says, "", (), (), observed, 0, REFUSED)
    says = said("DMARC of {at} says {policy}", at=seen.at, policy=seen.policy)
    return Checked("dmarc", "ok", says, observed=observed, source=RFC)
