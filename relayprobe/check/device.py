"""A device at this site: what was checked here, put into what is known of the site, and then both verdicts together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relayprobe.check.address import sort_of
from relayprobe.check.checked import Checked
from relayprobe.check.run import Run
from relayprobe.check.verdicts import SiteVerdict
from relayprobe.dossier.judging import Judgement
from relayprobe.office365 import mx, replies
from relayprobe.office365.modes import MODE_OF, MODES, Mode
from relayprobe.report.text import WAY_NAMES
from relayprobe.tongue import all_of, said
from relayprobe.wire.session import Site

CLOSED = frozenset(("refused", "timeout", "unreachable"))
CLOSED_BLOCKS = frozenset(("port-25-closed", "port-587-closed"))
"""Blocks of a device's verdict that are the site's (advice.table)."""

PORTS: Mapping[str, int] = {"submission": 587, "mx": 25}
"""What a place stands for, whatever port it was looked at on."""


def site_with(site: Site, found: Run) -> Site:
    """What was told of the site, with what a run has shown of it."""
    if not found.network:
        return site
    closed = [
        number
        for place, number in PORTS.items()
        if (there := [one for one in found.heard if one.target.place == place])
        and not any(one.connected for one in there)
        and any(one.reached in CLOSED for one in there)
    ]
    public = [address for address in found.addresses if ":" not in address and sort_of(address) == "public"]
    known = {one.id: one for one in found.checks}
    outside, inside = known.get("dry-run:outside"), known.get("dry-run:inside")
    refused = {line for one in found.checks if one.id.startswith("sign-in:") for line in one.observed.get("known", ())}
    basic_off = {replies.BASIC_AUTH_DISABLED.line, replies.BASIC_AUTH_RETIRED.line} & refused
    rejects = inside is not None and inside.observed.get("known") == replies.DIRECT_SEND_REJECTED.line
    named = found.mx if found.mx and mx.kind_of(found.mx) != "other" else None
    return replace(
        site,
        domains=site.domains or (found.domain,),
        blocked_ports=tuple(sorted({*site.blocked_ports, *closed})),
        mx=site.mx or named,
        public_ip=public[0] if len(public) == 1 else site.public_ip,
        connector=outside.status == "ok" if outside and outside.status in ("ok", "failed") else site.connector,
        reject_direct_send=True if rejects else site.reject_direct_send,
        basic_auth=site.basic_auth and not basic_off,
    )


def todo(checks: Sequence[Checked], modes: Sequence[Mode]) -> list[str]:
    """What is to be done for these modes at the site: first what blocks them, then what may."""
    steps = [one.fix for one in checks if one.id == "network" and one.fix]
    steps += [one.fix for mode in modes for one in checks if mode in one.blocks]
    steps += [one.fix for mode in modes for one in checks if mode in one.risks]
    return list(dict.fromkeys(filter(None, steps)))


def device_object(session: str, judged: Judgement, found: Run) -> dict[str, Any]:
    """The device at this site: in which ways it works, and what is to be done, in order."""
    of_site = {one.mode: one for one in found.verdicts}
    ways = [
        {
            "mode": one.mode,
            "site": of_site[MODE_OF[one.mode]].works,
            "device": one.works,
            "proven": one.proven,
            "works": bool(one.works and of_site[MODE_OF[one.mode]].works),
            "blockers": [*of_site[MODE_OF[one.mode]].blockers, *one.blockers],
        }
        for one in judged.verdicts
        if one.mode in MODES
    ]
    working = [str(one["mode"]) for one in ways if one["works"]]
    advised = judged.advice
    name = advised.device or judged.session.host
    shown = all_of([said(WAY_NAMES[mode]) for mode in working])
    says = (
        said("This device ({device}), at this site, works by {ways}.", device=name, ways=shown)
        if working
        else said(
            "This device ({device}), at this site, works in no way as it is. The way that asks for least: {way}.",
            device=name,
            way=said(WAY_NAMES[advised.way]),
        )
    )
    return {
        "session": session,
        "says": says,
        "ways": ways,
        "way": advised.way,
        "because": advised.because,
        "settings": dict(advised.settings),
        "todo": list(dict.fromkeys(_steps(judged, found.checks, of_site))),
    }


def _steps(judged: Judgement, checks: Sequence[Checked], of_site: Mapping[Mode, SiteVerdict]) -> Iterator[str]:
    """The site first, for without it no setting of the device helps; then the device; then what may go wrong yet."""
    advice = judged.advice
    mode = MODE_OF[advice.way]
    yield from todo([one for one in checks if one.id in of_site[mode].blockers or one.id == "network"], (mode,))
    verdict = next((one for one in judged.verdicts if one.mode == advice.way), None)
    if verdict is not None:
        yield from (removal.do for removal in verdict.remove if removal.do)
    if not (verdict and verdict.works and verdict.proven):
        for setting, value in advice.settings.items():
            yield said("set in the device: {setting}: {value}", setting=setting, value=value)
    yield from todo([one for one in checks if one.id in of_site[mode].risks], (mode,))
    yield from (said("find out {what}", what=what) for what in of_site[mode].untested)
    for other in MODES:
        as_it_is = next(one for one in judged.verdicts if one.mode == other)
        if other != advice.way and set(as_it_is.blockers) <= CLOSED_BLOCKS and of_site[other].works is False:
            blocking = [one for one in checks if one.id in of_site[other].blockers]
            for fix in todo(blocking, (other,)):
                way = said(WAY_NAMES[other])
                yield said("or, with the device as it is, so that {way} works: {fix}", way=way, fix=fix)
