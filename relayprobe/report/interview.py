"""An interview in words and as JSON: what is known of a device, and what its next send is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from relayprobe.advice.interview import Offer, Profile, table, words_of
from relayprobe.report.text import Styled, wrapped
from relayprobe.report.visible import visible
from relayprobe.tongue import ENGLISH, Said, Tongue, counted


def progress_text(host: str, profile: Profile, following: Offer | None, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """After a send: what is known so far and what comes next, or the whole table when the interview is over."""
    over = following is None
    yield "", ""
    yield "heading", tongue(_heading(visible(host), profile.sends, over))
    told = [(f"{tongue(one.name)}:", visible(tongue(one.known)), one.certain) for one in table(profile)]
    wide = max(34, *(len(name) for name, _, _ in told))
    for name, known, certain in told:
        if over or certain:
            yield from wrapped("" if certain else "info", f"  {name:{wide}}{known}", wide + 2)
    if following is None:
        text = tongue("relayprobe answers this device as usual from now on. To ask it again, start anew.")
        yield "info", text
        return
    text = tongue("Next: let the device send once more. relayprobe then {offers}.", offers=words_of(following))
    yield from wrapped("fix", text, 6)


def _heading(host: str, sends: int, over: bool) -> Said:
    if over:
        return counted(
            "The interview with {host} is over, after {n} send. What the device can do:",
            "The interview with {host} is over, after {n} sends. What the device can do:",
            sends,
            host=host,
        )
    return counted("Known of {host} after {n} send:", "Known of {host} after {n} sends:", sends, host=host)


def progress_object(
    host: str, offer: Offer, profile: Profile, following: Offer | None, tongue: Tongue = ENGLISH
) -> dict[str, Any]:
    """The same as a JSON object: one for each send."""
    return {
        "interview": host,
        "offer": asdict(offer),
        "known": {ability.id: tongue(ability.known) for ability in table(profile) if ability.certain},
        "sends": profile.sends,
        "next": None if following is None else asdict(following),
    }
