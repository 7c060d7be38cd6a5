"""How it goes: the routes, and whether mail is taken."""

from __future__ import annotations

from typing import Any

from relayprobe.store import StoreError, free
from relayprobe.web.house import House


def routes_now(house: House) -> list[dict[str, Any]]:
    """The routes of the relay, each with its health and with what waits for it; none where nothing is sent on."""
    if house.relay is None:
        return []
    waiting: dict[str, tuple[int, float]] = {}
    try:
        with house.spool() as spool:
            waiting = {name: (count, arrived) for name, count, arrived in spool.routes_of_waiting()}
    except StoreError:
        pass  # nothing was ever taken
    lanes = dict(house.relay.delivery.lanes)
    told = []
    for route in house.settings().route:
        lane = lanes.get(route.name)
        count, oldest = waiting.get(route.name, (0, None))
        health = lane.health if lane is not None else None
        told.append(
            {
                "name": route.name,
                "mode": route.mode,
                "host": route.host,
                "port": route.port,
                "user": route.user,
                "state": health.state if health is not None else "ok",
                "why": health.why if health is not None else None,
                "since": health.since if health is not None and health.state != "ok" else None,
                "until": health.until if health is not None else None,
                "failures": health.failures if health is not None else 0,
                "waiting": count,
                "oldest": oldest,
            }
        )
    return told


def unready(house: House) -> list[str]:
    """Why mail cannot be taken, or does not get out; empty where all is well."""
    why = []
    if free(house.folder) < house.settings().limits.message_size * 3 // 2:
        why.append("there is too little room on the disk")
    try:
        with house.archive() as stored:
            stored.count()
    except StoreError:
        if not house.empty:
            why.append("the database cannot be read")
    if any(route["state"] == "stopped" for route in routes_now(house)):
        why.append("a route is stopped")
    return why
