"""Logins towards the relay: right, wrong, or too many guesses."""

from __future__ import annotations

import asyncio
import traceback

import argon2
import pytest

from relayprobe.relay import logins
from relayprobe.relay.logins import FAILURES, HOSTS, WINDOW, LoginError, Logins, hashed

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash("right")


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def some(clock: Clock) -> Logins:
    return Logins({"Scanner": HASH, "other": CHEAP.hash("other's")}, clock)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that were worked out, by the real function."""
    seen: list[str] = []
    real = logins._verified

    def watched(kept: str, password: str) -> bool:
        seen.append(kept)
        return real(kept, password)

    monkeypatch.setattr(logins, "_verified", watched)
    return seen


def test_a_password_is_hashed_modestly() -> None:
    made = hashed("pässword")
    assert made.startswith("$argon2id$")
    parameters = argon2.extract_parameters(made)
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)
    assert hashed("pässword") != made


async def test_right_and_wrong(some: Logins) -> None:
    assert await some.check("10.0.0.1", "scanner", "right") == "good"
    assert await some.check("10.0.0.1", "SCANNER", "right") == "good"
    assert await some.check("10.0.0.1", "scanner", "wrong") == "wrong"
    assert await some.check("10.0.0.1", "scanner", "") == "wrong"
    assert await some.check("10.0.0.1", "other", "right") == "wrong"
    assert await some.check("10.0.0.1", "nobody", "right") == "wrong"


async def test_what_hashed_makes_is_taken(clock: Clock) -> None:
    some = Logins({"scanner": hashed("pässword \udcff")}, clock)
    assert await some.check("10.0.0.1", "scanner", "pässword \udcff") == "good"


async def test_nobody_gets_in_where_there_are_no_logins(clock: Clock) -> None:
    assert await Logins({}, clock).check("10.0.0.1", "", "") == "wrong"


async def test_an_unknown_user_costs_as_much(some: Logins, verified: list[str]) -> None:
    await some.check("10.0.0.1", "nobody", "right")
    await some.check("10.0.0.1", "scanner", "wrong")
    assert len(verified) == 2
    assert argon2.extract_parameters(verified[0]) == argon2.extract_parameters(verified[1])
    assert verified[0] not in (HASH, verified[1])


async def test_a_login_that_was_right_is_not_worked_out_again(some: Logins, verified: list[str]) -> None:
    for _ in range(5):
        assert await some.check("10.0.0.1", "scanner", "right") == "good"
    assert len(verified) == 1
    assert await some.check("10.0.0.1", "scanner", "Right") == "wrong"
    assert await some.check("10.0.0.1", "scannerr", "ight") == "wrong"
    assert len(verified) == 3


async def test_guessing_ends_for_one_host_and_not_for_others(some: Logins, clock: Clock, verified: list[str]) -> None:
    assert await some.check("10.0.0.1", "scanner", "right") == "good"
    for n in range(FAILURES):
        assert await some.check("10.0.0.1", "scanner" if n % 2 else f"user{n}", f"guess {n}") == "wrong"
    worked_out = len(verified)
    for password in ("guess", "right"):
        assert await some.check("10.0.0.1", "scanner", password) == "later"
        assert await some.check("::ffff:10.0.0.1", "other", password) == "later"
    assert len(verified) == worked_out
    assert await some.check("10.0.0.2", "scanner", "right") == "good"
    clock.now += WINDOW - 1
    assert await some.check("10.0.0.1", "scanner", "right") == "later"
    clock.now += 1
    assert await some.check("10.0.0.1", "scanner", "right") == "good"


async def test_failures_that_lie_apart_are_no_guessing(some: Logins, clock: Clock) -> None:
    for _ in range(3 * FAILURES):
        assert await some.check("10.0.0.1", "scanner", "wrong") == "wrong"
        clock.now += WINDOW / (FAILURES - 1)


async def test_guesses_at_once_are_counted_too(some: Logins, verified: list[str]) -> None:
    answers = await asyncio.gather(*(some.check("10.0.0.1", "scanner", f"guess {n}") for n in range(50)))
    assert len(verified) <= FAILURES + 1
    assert answers.count("later") >= 50 - FAILURES - 1


async def test_an_ipv6_host_does_not_escape_by_another_address(some: Logins) -> None:
    for n in range(FAILURES):
        assert await some.check(f"2001:db8::{n:x}", "scanner", "wrong") == "wrong"
    assert await some.check("2001:db8::ffff", "scanner", "right") == "later"
    assert await some.check("2001:db8:0:1::1", "scanner", "right") == "good"
    assert await some.check("fe80::1%eth0", "scanner", "right") == "good"


async def test_the_table_of_hosts_is_bounded(some: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "HOSTS", 20)
    assert HOSTS > 1000
    for n in range(50):
        await some.check(f"10.0.1.{n}", "scanner", "wrong")
    assert len(some._failed) == 20


async def test_two_are_worked_out_at_once(some: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    running = most = 0
    real = asyncio.to_thread

    async def watched(*work: object) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await real(*work)  # type: ignore[arg-type]
        finally:
            running -= 1

    monkeypatch.setattr(logins.asyncio, "to_thread", watched)
    await asyncio.gather(*(some.check(f"10.0.0.{n}", "scanner", "right") for n in range(20)))
    assert most == 2


@pytest.mark.parametrize(
    "kept", ["hunter2", "", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=a$b$c"]
)
def test_what_is_no_hash_is_said_without_repeating_it(kept: str) -> None:
    with pytest.raises(
        LoginError, match="the login scanner has no argon2 hash: make one with `relayprobe password`"
    ) as caught:
        Logins({"scanner": kept})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("cost", ["m=4194304,t=2,p=1", "m=19456,t=1000,p=1"])
def test_a_hash_that_would_take_the_machine_is_refused(cost: str) -> None:
    with pytest.raises(LoginError, match="costs too much"):
        Logins({"scanner": HASH.replace("m=8,t=1,p=1", cost)})


async def test_the_password_is_nowhere(some: Logins) -> None:
    await some.check("10.0.0.1", "scanner", "right")
    assert "right" not in repr(some)
    assert "right" not in repr(vars(some))
