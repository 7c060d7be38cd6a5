"""An interview in words and as JSON: what is known of a device, and what its next send is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from relayprobe.advice.interview import Offer, Profile, table, words_of
from relayprobe.report.text import Styled, wrapped
from relayprobe.report.visible import visible


def progress_text(host: str, profile: Profile, following: Offer | None) -> Iterator[Styled]:
    """After a send: what is known so far and what comes next, or the whole table when the interview is over."""
    over = following is None
    sends = f"{profile.sends} send{'' if profile.sends == 1 else 's'}"
    yield "", ""
    if over:
        yield "heading", f"The interview with {visible(host)} is over, after {sends}. What the device can do:"
    else:
        yield "heading", f"Known of {visible(host)} after {sends}:"
    for ability in table(profile):
        if over or ability.certain:
            yield from wrapped(
                "" if ability.certain else "info", f"  {ability.name + ':':34}{visible(ability.known)}", 36
            )
    if following is not None:
        yield from wrapped("fix", f"Next: let the device send once more. relayprobe then {words_of(following)}.", 6)
    else:
        yield "info", "relayprobe answers this device as usual from now on. To ask it again, start anew."


def progress_object(host: str, offer: Offer, profile: Profile, following: Offer | None) -> dict[str, Any]:
    """The same as a JSON object: one for each send."""
    return {
        "interview": host,
        "offer": asdict(offer),
        "known": {ability.id: ability.known for ability in table(profile) if ability.certain},
        "sends": profile.sends,
        "next": None if following is None else asdict(following),
    }
