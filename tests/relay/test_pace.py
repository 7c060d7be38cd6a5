"""The pace holds in every stretch of time, over restarts, and whatever the clock does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.relay.pace import HOUR, Bucket, Days, Jumps, backoff

NOON = 1_800_000_000.0 // HOUR * HOUR
DAY = 24 * HOUR


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.floats(0, 90), min_size=1, max_size=150), st.floats(0, 2e9))
def test_no_minute_has_more_messages_than_allowed(most: int, pauses: list[float], now: float) -> None:
    bucket = Bucket(most)
    went: list[float] = []
    for pause in pauses:
        now += pause if pause > 60 else 0  # a rush, and now and then a rest
        while wait := bucket.wait(now):
            now += wait
        bucket.take(now)
        went.append(now)
    for first, over in zip(went, went[most:], strict=False):
        assert over - first >= 60 - 1e-5  # the clock of 2027 rounds to a quarter of a microsecond


def test_a_full_minute_may_go_at_once_and_the_next_one_waits() -> None:
    bucket = Bucket()
    for _ in range(30):
        assert bucket.wait(100.0) == 0
        bucket.take(100.0)
    assert bucket.wait(100.0) == 60
    assert bucket.wait(159.0) == 1
    assert bucket.wait(160.0) == 0


def test_what_is_taken_without_waiting_counts() -> None:
    bucket = Bucket(2)
    for at in (0.0, 1.0, 2.0):
        bucket.take(at)
    assert bucket.wait(2.0) == 59


def test_a_step_back_of_the_clock_blocks_for_a_minute_at_most_and_forgets_nothing() -> None:
    bucket = Bucket(2)
    bucket.take(1e9)
    bucket.take(1e9)
    assert bucket.wait(5.0) == 60
    bucket.take(5.0)
    assert bucket.wait(5.0) == 60
    assert bucket.wait(65.0) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9 * HOUR), st.integers(1, 60)), min_size=1, max_size=80), st.booleans())
def test_no_24_hours_have_more_recipients_than_allowed(mails: list[tuple[float, int]], restarted: bool) -> None:
    days, now = Days(most=100), NOON
    went: list[tuple[float, int]] = []
    for pause, recipients in mails:
        now += pause
        if restarted:
            days = Days(json.loads(json.dumps(days.counts)), most=100)
        if wait := days.wait(now, recipients):
            assert wait <= 25 * HOUR
            assert days.room(now) < recipients
            now += wait
            assert days.wait(now, recipients) == 0
        assert days.room(now) >= recipients
        days.add(now, recipients)
        went.append((now, recipients))
        assert sum(n for at, n in went if at > now - DAY) <= 100
        assert len(days.counts) <= 25


def test_the_wait_ends_with_the_first_hour_that_makes_room() -> None:
    days = Days(most=10)
    days.add(NOON + 10, 6)
    days.add(NOON + 2 * HOUR, 4)
    assert days.room(NOON + 3 * HOUR) == 0
    assert days.wait(NOON + 3 * HOUR) == 22 * HOUR
    assert days.wait(NOON + 3 * HOUR, 7) == 24 * HOUR
    assert days.wait(NOON + 3 * HOUR, 5000) == 24 * HOUR  # more than a day's: when all is free
    assert days.room(NOON + 25 * HOUR - 1) == 0
    assert days.room(NOON + 25 * HOUR) == 6


@pytest.mark.parametrize("back", [1.0, HOUR, DAY, 365 * DAY])
def test_a_clock_set_back_forgets_nothing_and_blocks_for_a_day_at_most(back: float) -> None:
    days = Days(most=10)
    days.add(NOON + 5, 10)
    now = NOON + 5 - back
    assert days.room(now) == 0
    assert 23 * HOUR < days.wait(now) <= 25 * HOUR
    assert days.room(now + 25 * HOUR) == 10


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DAY, -DAY, 365 * DAY, -365 * DAY, 1800.0, -1800.0, 100.0])
def test_what_was_counted_moves_with_a_clock_that_jumps(jump: float) -> None:
    days = Days(most=10)
    days.add(NOON - 20 * HOUR, 4)
    days.add(NOON, 6)
    days.jumped(jump)
    now = NOON + jump
    assert days.room(now) == 0
    assert days.room(now + 4 * HOUR - 1) == 0
    assert days.room(now + 6 * HOUR) == 4  # 26 hours after, whatever part of an hour the jump had
    assert days.room(now + 26 * HOUR) == 10


@settings(deadline=None)
@given(st.lists(st.floats(-DAY, DAY), max_size=30))
def test_a_clock_that_jumps_to_and_fro_ends_where_it_began(jumps: list[float]) -> None:
    days = Days({str(int(NOON // HOUR)): 7})
    for jump in jumps:
        days.jumped(jump)
    for jump in jumps:
        days.jumped(-jump)
    (hour,) = days.counts
    assert 0 <= int(hour) - NOON // HOUR <= 1  # floats may leave a crumb, which counts as later


def test_damaged_counts_are_left_out() -> None:
    damaged = {"x": 5, "12": -3, str(int(NOON // HOUR)): 3, "13": "many"}
    assert Days(damaged).room(NOON) == 9997  # type: ignore[arg-type]


def test_a_jump_of_the_wall_clock_is_told_once() -> None:
    jumps = Jumps(1000.0, 10.0)
    assert jumps.seen(1060.0, 70.0) == 0
    assert jumps.seen(1061.5, 71.0) == 0  # half a second of correction
    assert jumps.seen(4661.0, 71.0) == 3600
    assert jumps.seen(4671.0, 81.0) == 0
    assert jumps.seen(1071.0, 81.0) == -3600


def test_waits_follow_the_schedule_and_the_last_one_repeats() -> None:
    schedule = (60.0, 300.0, 3600.0)
    waits = [backoff(schedule, n, lambda: 0.5) for n in (0, 1, 2, 3, 4, 900)]
    assert waits == pytest.approx([60, 60, 300, 3600, 3600, 3600])


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 50))
def test_waits_are_spread_by_a_fifth(chance: float, attempts: int) -> None:
    assert 79.99 <= backoff((100.0,), attempts, lambda: chance) <= 120.01
    assert backoff((100.0,), 1, lambda: 0.0) == pytest.approx(80)
    assert backoff((100.0,), 1, lambda: 1.0) == pytest.approx(120)
