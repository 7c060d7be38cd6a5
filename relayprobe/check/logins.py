"""Whether Office 365 takes the logins of the routes: one AUTH for each, then QUIT. Nothing here repeats one by itself,
for wrong logins lock a mailbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from relayprobe.check.checked import Checked
from relayprobe.office365.modes import Mode
from relayprobe.office365.recognise import recognise
from relayprobe.relay.place import Timeouts
from relayprobe.relay.relay import connector_for
from relayprobe.relay.routes import Route
from relayprobe.relay.secrets import SecretError
from relayprobe.relay.sending import RouteFailed
from relayprobe.relay.text import habit_of
from relayprobe.settings import Settings
from relayprobe.tongue import joined, said


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one login. `stage`, `reply`: where it failed, and what was said; `why`: in words of ours."""

    route: str
    mode: str
    user: str
    by: str
    place: str
    stage: str = ""
    reply: str = ""
    why: str = ""
    dialogue: tuple[str, ...] = ()

    @property
    def taken(self) -> bool:
        return not self.stage


def routes_with_login(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    return tuple(route for route in routes if route.user is not None)


async def look(route: Route, settings: Settings, patience: float) -> Tried:
    """Connect as the route says, log in once, say goodbye."""
    timeouts = Timeouts(connect=patience, banner=patience, tls=patience, command=max(patience, 10.0), quit=5)
    by = "OAuth" if route.oauth is not None else "password"
    user = route.user or ""
    try:
        connector = connector_for(route, settings, lambda: habit_of(settings), None, timeouts)
        connection = await connector.connect(again=False)
    except RouteFailed as failed:
        return Tried(
            route.name,
            route.mode,
            user,
            by,
            failed.place,
            failed.stage,
            failed.reply,
            failed.trouble.why,
            failed.dialogue,
        )
    except SecretError as error:
        return Tried(route.name, route.mode, user, by, route.place, "auth", str(error))
    await connection.close()
    return Tried(route.name, route.mode, user, by, connection.place, dialogue=connection.events())


def judged(tried: Tried) -> Checked:
    """`sign-in:` and the route's name."""
    name, blocks = f"sign-in:{tried.route}", _blocks(tried)
    observed: dict[str, Any] = {
        "route": tried.route,
        "user": tried.user,
        "by": tried.by,
        "place": tried.place,
        "stage": tried.stage or None,
        "reply": tried.reply or None,
        "dialogue": [json.loads(event) for event in tried.dialogue],
    }
    if tried.taken:
        says = said(
            "{place} takes the login of {user} ({by}); whether it may use its sender shows only after a message",
            place=tried.place,
            user=tried.user,
            by=tried.by,
        )
        return Checked(name, "ok", says, observed=observed)
    if tried.stage != "auth":
        says = said("the login of {user} was not tried: {why}", user=tried.user, why=tried.reply)
        return Checked(name, "unknown", says, observed=observed)
    says = said("{place} refuses the login of {user}: {reply}", place=tried.place, user=tried.user, reply=tried.reply)
    matches = recognise(tried.reply).matches
    worded = [match.answer for match in matches if match.by == "words"] or [match.answer for match in matches]
    if not worded:  # no reply, or none that is known
        if not tried.reply[:3].isdecimal():
            says = said("the login of {user} cannot be made: {why}", user=tried.user, why=tried.reply)
        return Checked(name, "failed", says, "", blocks, (), observed)
    observed["known"] = [answer.line for answer in worded]
    meant = joined((joined((says, "."), ""), *(said(answer.meaning) for answer in worded)), " ")
    fix = joined((said(answer.fix) for answer in worded), " ")
    if all(answer.retry == "retry" for answer in worded):
        return Checked(name, "warning", meant, fix, (), blocks, observed, 0, worded[0].source)
    return Checked(name, "failed", meant, fix, blocks, (), observed, 0, worded[0].source)


def _blocks(tried: Tried) -> tuple[Mode, ...]:
    return ("submission",) if tried.mode == "submission" else ()
