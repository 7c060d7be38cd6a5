"""What a request asks for: which sessions, and how many."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from relayprobe.rules import RULES
from relayprobe.store import Filter, StoreError
from relayprobe.store.sought import conditions
from relayprobe.tongue import said

LIMIT, MOST = 100, 500
LONGEST = 200
"""Characters of one thing that is looked for."""


class NotAsked(Exception):
    """A request that cannot be answered as it is; `says` names the way out."""

    def __init__(self, says: str) -> None:
        super().__init__(says)
        self.says = says


def asked_limit(query: Mapping[str, str]) -> int:
    """How many are wanted. Raises NotAsked."""
    text = query.get("limit", str(LIMIT))
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST:
        raise NotAsked(said("limit {text} is none: write a number from 1 to {most}", text=text, most=MOST))
    return int(text)


def asked_filter(query: Mapping[str, str]) -> Filter:
    """Which sessions are wanted. What is empty, as a form sends it, is not asked for. Raises NotAsked."""
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    for name in ("peer", "user", "sender", "recipient", "finding", "code", "q"):
        if len(given.get(name, "")) > LONGEST:
            raise NotAsked(said("{name} is too long to look for", name=name))
    finding = given.get("finding")
    if finding is not None and finding not in RULES:
        raise NotAsked(said("there is no rule {id}: /rules lists them", id=finding))
    wanted = _filter(given, finding)
    try:
        conditions(wanted)
    except StoreError as error:
        raise NotAsked(str(error)) from error
    return wanted


def _filter(given: Mapping[str, str], finding: str | None) -> Filter:
    return Filter(
        peer=given.get("peer"),
        user=given.get("user"),
        sender=given.get("sender"),
        recipient=given.get("recipient"),
        finding=finding,
        code=given.get("code"),
        since=_time(given, "since"),
        until=_time(given, "until"),
        text=given.get("q"),
    )


def _time(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,6})?", text):
        return float(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise NotAsked(
            said("{name} {text} is no time: write 2026-11-26 or 2026-11-26T13:00, in UTC", name=name, text=text)
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
