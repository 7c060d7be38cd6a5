"""Where a domain's mail goes, and whose host that is: Direct Send and a connector want Office 365's own."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass

from relayprobe.check.checked import Checked
from relayprobe.check.resolver import Answer, Resolver
from relayprobe.office365 import mx
from relayprobe.office365.modes import AT_MX
from relayprobe.tongue import said

HOSTS = 8
"""MX hosts that are looked at."""

DEAD = ("mail.messaging.microsoft.com", "mail.global.frontbridge.com")
"""Names that Office 365 no longer takes mail under: 451 4.4.62, ATTR35."""

SOURCE = mx.SOURCE
RFC_MX = "RFC 5321 5.1"
RFC_NULL = "RFC 7505"
ATTR35 = "Microsoft, SupportArticles-docs: ATTR35 response code when mail is sent to EOP/EXO (2022-03-31)"


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX host. `name` is '' in a null MX."""

    preference: int
    name: str
    v4: Answer
    v6: Answer

    @property
    def kind(self) -> mx.Kind:
        return mx.kind_of(self.name)

    @property
    def addresses(self) -> tuple[str, ...]:
        """IPv4 first."""
        return self.v4.addresses + self.v6.addresses


@dataclass(frozen=True, slots=True)
class Exchangers:
    """The MX hosts of a domain, in the order in which they are tried.

    `guess`: the name of the classic form, which is only a guess; `guessed`: its A records, where a host that is not
    Office 365's stands first.
    """

    domain: str
    answer: Answer
    hosts: tuple[Exchanger, ...] = ()
    guess: str = ""
    guessed: Answer | None = None

    @property
    def endpoint(self) -> str | None:
        """The first host of Office 365, as the MX record names it: never a guess."""
        return next((host.name for host in self.hosts if host.kind != "other"), None)


async def mail_exchangers(resolver: Resolver, domain: str) -> Exchangers:
    """Looks, and judges nothing."""
    answer = await resolver.ask(domain, "MX")
    named = answer.exchangers[:HOSTS]
    looked_up = await asyncio.gather(*(_addresses(resolver, name) for _, name in named))
    hosts = tuple(Exchanger(*one, *addresses) for one, addresses in zip(named, looked_up, strict=True))
    guess = f"{domain.rstrip('.').lower().replace('.', '-')}.mail.protection.outlook.com"
    foreign = any(host.kind == "other" for host in hosts) or not hosts
    guessed = await resolver.ask(guess, "A") if foreign and answer.settled else None
    return Exchangers(domain, answer, hosts, guess, guessed)


async def _addresses(resolver: Resolver, name: str) -> tuple[Answer, Answer]:
    return await resolver.addresses(name) if name else (Answer("no-data"), Answer("no-data"))


def judged(seen: Exchangers) -> tuple[Checked, ...]:
    """`mx`: there is one, and it leads somewhere; `mx-kind`: whose the first host is."""
    record = _record(seen)
    first = seen.hosts[0].name if seen.hosts else ""
    return (record,) if not first or _is_address(first) or first in DEAD else (record, *_kind(seen))


def _record(seen: Exchangers) -> Checked:
    domain = seen.domain
    observed = {
        "hosts": [
            {"name": host.name, "preference": host.preference, "kind": host.kind, "addresses": list(host.addresses)}
            for host in seen.hosts
        ]
    }
    if not seen.answer.settled:
        says = said("the MX record of {domain} could not be looked up: {why}", domain=domain, why=seen.answer.why)
        return Checked("mx", "unknown", says, observed=observed, source=RFC_MX)
    publish = said("publish the MX record that the Microsoft 365 admin centre names (Settings > Domains)")
    if seen.answer.outcome == "no-name":
        says = said("the domain {domain} does not exist in DNS", domain=domain)
        return Checked("mx", "failed", says, said("check how the domain is spelt"), AT_MX, (), observed, 0, RFC_MX)
    if not seen.hosts:
        says = said("{domain} has no MX record; others then try the address of the name itself", domain=domain)
        return Checked("mx", "failed", says, publish, AT_MX, (), observed, 0, RFC_MX)
    if not seen.hosts[0].name:
        says = said("{domain} says that it takes no mail: its MX record is a single dot", domain=domain)
        return Checked("mx", "failed", says, publish, AT_MX, (), observed, 0, RFC_NULL)
    for host in seen.hosts:
        if _is_address(host.name):
            says = said(
                "the MX record of {domain} has the address {host} where a name must be", domain=domain, host=host.name
            )
            return Checked("mx", "failed", says, publish, AT_MX, (), observed, 0, RFC_MX)
        if host.name in DEAD:
            says = said(
                "the MX record of {domain} has {host}, a name that Office 365 no longer uses",
                domain=domain,
                host=host.name,
            )
            return Checked("mx", "failed", says, publish, AT_MX, (), observed, 0, ATTR35)
    without = [host for host in seen.hosts if not host.addresses]
    if len(without) == len(seen.hosts):
        first = without[0]
        if not (first.v4.settled and first.v6.settled):
            why = first.v4.why or first.v6.why
            says = said("the address of {host} could not be looked up: {why}", host=first.name, why=why)
            return Checked("mx", "unknown", says, observed=observed, source=RFC_MX)
        says = said("{host}, the MX host of {domain}, has no address", host=first.name, domain=domain)
        return Checked("mx", "failed", says, publish, AT_MX, (), observed, 0, RFC_MX)
    names = ", ".join(host.name for host in seen.hosts)
    says = said("mail for {domain} goes to {names}", domain=domain, names=names)
    if without:
        says = said(
            "mail for {domain} goes to {names}; {host} has no address", domain=domain, names=names, host=without[0].name
        )
        return Checked("mx", "warning", says, publish, (), AT_MX, observed, 0, RFC_MX)
    return Checked("mx", "ok", says, observed=observed, source=RFC_MX)


def _kind(seen: Exchangers) -> tuple[Checked, ...]:
    first = seen.hosts[0]
    observed: dict[str, object] = {"host": first.name, "kind": first.kind}
    if first.kind == "other":
        return (_other(seen, first.name, observed),)
    cloud = {
        "classic": said("{host} is Office 365's own host, in the classic form", host=first.name),
        "dnssec": said("{host} is Office 365's own host, in the form with DNSSEC", host=first.name),
        "government": said("{host} is a host of Office 365 for the government of the United States", host=first.name),
        "china": said(
            "{host} is taken for a host of Office 365 in China (recalled, not found in a source)", host=first.name
        ),
    }
    return (Checked("mx-kind", "ok", cloud[first.kind], observed=observed, source=SOURCE),)


def _other(seen: Exchangers, host: str, observed: dict[str, object]) -> Checked:
    says = said("{host} has no name of Office 365: a gateway or another mail server stands in front", host=host)
    if seen.endpoint:
        observed["endpoint"] = seen.endpoint
        fix = said("set {host} as the device's server for Direct Send or a connector", host=seen.endpoint)
    elif seen.guessed and seen.guessed.addresses:
        observed["guess"] = seen.guess
        fix = said(
            "set the host that the Microsoft 365 admin centre names (Settings > Domains) as the device's server; "
            "{guess} exists and may be it, which is a guess",
            guess=seen.guess,
        )
    else:
        fix = said("set the host that the Microsoft 365 admin centre names (Settings > Domains) as the device's server")
    return Checked("mx-kind", "warning", says, fix, (), AT_MX, observed, 0, SOURCE)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
