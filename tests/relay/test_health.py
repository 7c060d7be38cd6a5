"""How a route is after failures: it waits ever longer, rests for what only a person can mend, and is itself again."""

from __future__ import annotations

import pytest

from relayprobe.relay.health import HOURS, STOPPED, THROTTLED, WELL, Health, Scope, asked_again, failed, from_record

RETRY = (60.0, 300.0, 900.0)
NOW = 1_700_000_000.0


def middle() -> float:
    return 0.5


def after(times: int, scope: Scope = "later", begin: Health = WELL) -> Health:
    health = begin
    for number in range(times):
        health = failed(health, scope, f"fault {number}", NOW + number, RETRY, middle)
    return health


@pytest.mark.parametrize(
    ("scope", "state", "waits"),
    [
        ("later", "waiting", RETRY),
        ("throttled", "waiting", THROTTLED),
        ("stop", "stopped", STOPPED),
        ("configuration", "stopped", STOPPED),
        ("hours", "stopped", HOURS),
    ],
)
def test_each_failure_waits_as_its_kind_does(scope: Scope, state: str, waits: tuple[float, ...]) -> None:
    for times in range(1, len(waits) + 3):
        health = after(times, scope)
        assert health.state == state
        assert health.until == NOW + times - 1 + waits[min(times, len(waits)) - 1]
        assert health.since == NOW
        assert health.failures == times


def test_in_a_quarter_of_an_hour_a_refused_login_is_tried_once_and_in_a_day_five_times() -> None:
    now, tries, health = NOW, [NOW], after(1, "stop")
    while health.until is not None and health.until < NOW + 86400:
        now = health.until
        tries.append(now)
        health = failed(health, "stop", "535", now, RETRY, lambda: 0.0)
    assert sum(one < NOW + 900 for one in tries) == 1
    assert len(tries) <= 5


def test_another_kind_of_failure_begins_anew() -> None:
    assert after(1, "later", after(3, "stop")).failures == 1


def test_it_is_blocked_until_its_time_and_no_longer_though_the_clock_was_put_back() -> None:
    health = after(1)
    assert WELL.blocked(NOW) == 0
    assert health.blocked(NOW) == 60
    assert health.blocked(NOW + 60) == 0
    assert health.blocked(NOW - 365 * 86400) <= 1.5 * STOPPED[-1]


def test_who_asks_has_it_tried_at_once_and_it_is_not_forgotten_before_it_works() -> None:
    health = asked_again(after(3, "stop"))
    assert health.blocked(NOW) == 0
    assert health.state == "stopped"
    assert failed(health, "stop", "535", NOW, RETRY, middle).failures == 4
    assert asked_again(WELL) == WELL


def test_over_a_restart_it_is_what_it_was_and_is_tried_once() -> None:
    health = after(2, "configuration")
    kept = from_record({**health.record(), "days": {"1": 2}})
    assert kept == asked_again(health)
    assert from_record({"state": "ok"}) == WELL
    assert from_record({"since": []}).state == "ok"
