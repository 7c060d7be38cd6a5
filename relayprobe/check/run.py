"""One run: all looks at once, each with its own time, and all of them within that of the run; then the verdicts.

What is observed and what is made of it are apart: the looks fill in `Heard` and ask DNS, and judging begins when they
are done. Where nothing at all has answered, neither a name server nor a mail server, this machine has no network: that
is said once, and everything else is unknown, for silence proves no firewall.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from relayprobe.check import ports
from relayprobe.check.checked import Checked
from relayprobe.check.local import clock
from relayprobe.check.mx import Exchangers, mail_exchangers
from relayprobe.check.names import LISTS, SELECTORS, address_checks, domain_checks
from relayprobe.check.resolver import Resolver
from relayprobe.check.talk import Heard, Target, families, walk
from relayprobe.check.verdicts import SiteVerdict, verdicts
from relayprobe.office365.endpoints import ENDPOINTS
from relayprobe.office365.modes import Mode
from relayprobe.relay.tls import client_context
from relayprobe.tongue import said
from relayprobe.wire.codec import to_object

Told = Callable[[str, int, int], None]
"""Is told which look is done, how many are, and of how many."""

Extra = Callable[[ssl.SSLContext, Resolver], Awaitable[tuple[Checked, ...]]]
"""A look besides; it has its own checks as the answer."""

AtMx = Callable[[Target, ssl.SSLContext, Resolver], Awaitable[tuple[Checked, ...]]]
"""A look besides, at the MX endpoint."""

MARGIN = 1.0
"""Seconds of the run's time that are left for judging."""

Place = tuple[str, int | None]
"""Host, and port where one was given."""


@dataclass(frozen=True)
class Asked:
    """What to look at. `deadline` and `patience`: seconds for the whole run, and for one step of a dialogue.

    `public_ip`: as the settings have it; `extras`: further looks by name; `at_mx`: looks at the MX endpoint, which
    begin when its host is known; `earlier`: when which addresses were seen, newest first.
    """

    domain: str
    submission: Place = (str(ENDPOINTS["submission"].host), None)
    mx: Place | None = None
    ca_file: Any = None
    deadline: float = 30.0
    patience: float = 10.0
    public_ip: str | None = None
    helo: str = "relayprobe.local"
    selectors: tuple[str, ...] = SELECTORS
    lists: tuple[str, ...] = LISTS
    extras: Mapping[str, Extra] | None = None
    at_mx: Mapping[str, AtMx] | None = None
    earlier: tuple[tuple[float, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Run:
    """What came of it. `addresses`: those that servers saw; `mx`: the MX host that was looked at."""

    domain: str
    network: bool
    checks: tuple[Checked, ...]
    verdicts: tuple[SiteVerdict, ...]
    addresses: tuple[str, ...]
    heard: tuple[Heard, ...]
    mx: str | None
    seconds: float

    def check(self, id: str) -> Checked:
        return next(one for one in self.checks if one.id == id)


async def run(asked: Asked, resolver: Resolver, told: Told = lambda name, done, of: None) -> Run:
    """Look at everything and judge it. Raises CertificateError for a `ca_file` that cannot be used."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    context = await asyncio.to_thread(client_context, asked.ca_file)
    looks = _Looks(asked, resolver, context, told)
    try:
        await looks.all(began + asked.deadline - MARGIN)
    finally:
        await resolver.close()
    checks = looks.judged()
    network = resolver.answered or any(one.connected or one.reached == "refused" for one in looks.heard)
    reached = {mode for one in looks.heard if ports.usable(one) for mode in ports.MODES_OF[one.target.place]}
    checks = (_network(network), *(checks if network else map(_unknown, checks)))
    addresses = tuple(dict.fromkeys(one.public_address for one in looks.heard if one.public_address))
    return Run(
        domain=asked.domain,
        network=network,
        checks=checks,
        verdicts=verdicts(checks, reached, any(map(ports.in_front, looks.heard))),
        addresses=addresses,
        heard=tuple(looks.heard),
        mx=looks.mx_host,
        seconds=loop.time() - began,
    )


def _network(network: bool) -> Checked:
    if network:
        return Checked("network", "ok", said("this machine has a network"))
    says = said(
        "there is no network: no name server and no mail server answered this machine, so nothing can be said about "
        "this site"
    )
    return Checked("network", "failed", says, said("check cable, address, gateway and resolver of this machine"))


def _unknown(checked: Checked) -> Checked:
    """Nothing follows from silence where everything is silent. What was looked at on this machine itself stays."""
    if checked.id.startswith("local:"):
        return checked
    says = checked.says
    if checked.observed.get("found") == "timeout":
        where = f"{checked.observed['host']}:{checked.observed['port']}"
        says = said("{where} did not answer, and neither did anything else", where=where)
    return replace(checked, status="unknown", says=says, fix="", blocks=(), risks=())


class _Looks:
    """The looks of one run, while they last."""

    def __init__(self, asked: Asked, resolver: Resolver, context: ssl.SSLContext, told: Told) -> None:
        self.heard: list[Heard] = []
        self.mx_host: str | None = None
        self._asked = asked
        self._resolver = resolver
        self._context = context
        self._told = told
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._found: dict[str, tuple[Checked, ...]] = {}
        self._done = 0
        self._progress = asyncio.Event()  # a dialogue has ended

    async def all(self, until: float) -> None:
        """Look at everything until then."""
        asked = self._asked
        host, port = asked.submission
        targets = [Target("submission", host, port or 587, asked.helo)]
        if port is None:
            targets.append(Target("submission-25", host, 25, asked.helo))
        self._kept("domain", domain_checks(self._resolver, asked.domain, asked.selectors))
        for target in targets:
            self._dialogues(target)
        self._start("mx", self._at_mx())
        self._kept("address", self._address())
        for name, extra in (asked.extras or {}).items():
            self._kept(name, _as_coroutine(extra(self._context, self._resolver)))
        loop = asyncio.get_running_loop()
        while running := [task for task in self._tasks.values() if not task.done()]:
            if (left := until - loop.time()) <= 0:
                break
            await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        late = {name for name, task in self._tasks.items() if not task.done()}
        for name in late:
            self._tasks[name].cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for name, task in self._tasks.items():
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
            if name in late and name in self._found:
                says = said("the time of this run was over before this was known")
                self._found[name] = tuple(Checked(id, "unknown", says) for id in _OF.get(name, (name,)))

    def judged(self) -> tuple[Checked, ...]:
        """The checks, in the order in which they are read."""
        seen = list(ports.judged(self.heard))
        if self.mx_host is None:
            says = said("the MX endpoint was not looked at, for its host is not known")
            seen.append(Checked("port:mx", "unknown", says))
        public = ports.judged_public(self.heard, self._asked.public_ip, self._asked.earlier)
        found = dict(self._found)
        domain, address = found.pop("domain", ()), found.pop("address", ())
        others = (one for more in found.values() for one in more)
        return (*seen, public, *domain, *address, *others, clock(self.heard, datetime.now(UTC)))

    def _dialogues(self, target: Target) -> list[asyncio.Task[Any]]:
        tasks = []
        for family in families(target.host):
            heard = Heard(target, family)
            self.heard.append(heard)
            look = walk(heard, self._resolver, self._context, self._asked.patience)
            tasks.append(self._start(f"{target.place}:{family}", look))
        return tasks

    async def _at_mx(self) -> None:
        asked = self._asked
        host: str | None
        if asked.mx is not None:
            host, port = asked.mx
        else:
            host, port = _host_of(await mail_exchangers(self._resolver, asked.domain)), None
        if host is None:
            return
        self.mx_host = host
        target = Target("mx", host, port or 25, asked.helo)
        self._dialogues(target)
        for name, look in (asked.at_mx or {}).items():
            self._kept(name, _as_coroutine(look(target, self._context, self._resolver)))

    async def _address(self) -> tuple[Checked, ...]:
        """What DNS says of the address, as soon as a server has told it."""
        while not (address := self._seen()) and self._talking():
            self._progress.clear()
            await self._progress.wait()
        address = address or self._asked.public_ip or self._any()
        if address is None:
            says = said("the site's address to the outside is not known, so nothing was asked about it")
            return tuple(Checked(id, "unknown", says) for id in _OF["address"])
        return await address_checks(self._resolver, self._asked.domain, address, self._asked.lists)

    def _seen(self) -> str | None:
        """A public IPv4 address; Office 365 asks more of mail over IPv6."""
        from relayprobe.check.address import sort_of

        found = (one.public_address for one in self.heard)
        return next((one for one in found if one and ":" not in one and sort_of(one) in ("public", "carrier")), None)

    def _any(self) -> str | None:
        return next((one.public_address for one in self.heard if one.public_address), None)

    def _talking(self) -> bool:
        of_dialogues = [task for name, task in self._tasks.items() if name.partition(":")[0] in _PLACES]
        return any(not task.done() for task in of_dialogues)

    def _kept(self, name: str, look: Coroutine[Any, Any, tuple[Checked, ...]]) -> None:
        async def kept() -> None:
            self._found[name] = await look

        self._found[name] = ()  # its place in the order
        self._start(name, kept())

    def _start(self, name: str, look: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(look)
        self._tasks[name] = task

        def done(_: object) -> None:
            self._done += 1
            self._progress.set()
            self._told(name, self._done, len(self._tasks))

        task.add_done_callback(done)
        return task


_PLACES = ("submission", "submission-25", "mx")

_OF: Mapping[str, Sequence[str]] = {
    "domain": ("mx", "spf-record", "dkim", "dmarc"),
    "address": ("address-kind", "spf", "ptr"),
}
"""The checks of a look, for when it does not come to its end."""


async def _as_coroutine(one: Awaitable[tuple[Checked, ...]]) -> tuple[Checked, ...]:
    return await one


def _host_of(exchangers: Exchangers) -> str | None:
    """Office 365's own host where the domain names one, else the first."""
    return exchangers.endpoint or next((host.name for host in exchangers.hosts if host.name), None)


# As JSON holds it

FORMAT = "relayprobe-check-1"


def run_object(found: Run, at: float) -> dict[str, Any]:
    """The run as the JSON object that is promised, the texts as they were said. `at`: Unix time of its beginning."""
    return {
        "format": FORMAT,
        "domain": found.domain,
        "at": at,
        "seconds": round(found.seconds, 3),
        "network": found.network,
        "addresses": list(found.addresses),
        "mx": found.mx,
        "checks": [check_object(one) for one in found.checks],
        "verdicts": [verdict_object(one) for one in found.verdicts],
        "dialogues": [
            {
                "place": one.target.place,
                "family": one.family,
                "host": one.target.host,
                "port": one.target.port,
                "address": one.address,
                "events": [to_object(event) for event in one.events],
            }
            for one in found.heard
            if one.events
        ],
    }


def check_object(one: Checked) -> dict[str, Any]:
    return {
        "id": one.id,
        "status": one.status,
        "says": one.says,
        "fix": one.fix,
        "blocks": list(one.blocks),
        "risks": list(one.risks),
        "observed": dict(one.observed),
        "seconds": round(one.seconds, 3),
        "source": one.source,
    }


def verdict_object(one: SiteVerdict) -> dict[str, Any]:
    return {
        "mode": one.mode,
        "works": one.works,
        "blockers": list(one.blockers),
        "risks": list(one.risks),
        "untested": list(one.untested),
    }


def blocked(found: Run, chosen: Sequence[Mode]) -> bool:
    """Whether one of these modes is not seen to work: it is blocked, or could not be told."""
    return any(not one.works and one.mode in chosen for one in found.verdicts)
