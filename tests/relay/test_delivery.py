"""Delivery over days: pace, turns, clocks that are set, mail that grows too old, restarts and other routes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relayprobe.relay import lane
from relayprobe.relay.place import Timeouts
from relayprobe.relay.sending import Connector
from relayprobe.store import Attempt, Mail, by_hand, spool
from relayprobe.store.mail import EVERY
from relayprobe.store.queue import Wanted
from tests.relay.moved_clock import DAY, HOUR, MINUTE, House, at_work, route, run, signed_in
from tests.relay.other_side import Do, OtherSide
from tests.relay.test_lane_faults import REPLIES, at, most_within

YEAR = 365 * DAY


def states(house: House) -> dict[str, int]:
    counts: dict[str, int] = {}
    for mail in house.spool.mails(Wanted(EVERY)):
        counts[mail.state] = counts.get(mail.state, 0) + 1
    return counts


# Pace and turns


@pytest.mark.parametrize("routes", [1, 2])
def test_a_mailbox_sends_thirty_a_minute_over_three_connections(routes: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder):
            names = ["office", "second"][:routes]
            tables = [signed_in(side.port, folder, name) for name in names]
            async with at_work(tmp_path, tables, side) as house:
                for name in names:
                    await house.send(*(f"{name}-{n}" for n in range(100 // routes)), route=name)
                await house.quiet()
                await house.on(5 * MINUTE, step=0.7)
                assert len(side.taken) == 100
                assert most_within(side.mails, 60.0) <= 30
                assert side.most_open <= 3

    run(scenario())


def test_a_route_lets_go_of_idle_connections_that_another_of_the_mailbox_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "IDLE", DAY)

    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder):
            tables = [signed_in(side.port, folder, name, connections=1) for name in ("office", "second")]
            async with at_work(tmp_path, tables, side) as house:
                for n in range(5):
                    await house.send(str(n), route=tables[n % 2]["name"])
                    await house.quiet()
                assert side.subjects == list("01234")
                assert side.most_open == 1
                assert len(side.connections) == 5

    run(scenario())


def test_a_slow_server_has_no_more_than_thirty_within_any_minute(tmp_path: Path) -> None:
    """A mail may be counted there at any time between its first command and the last reply."""

    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder), at_work(tmp_path, [signed_in(side.port, folder)], side) as house:
            side.answer = at("mail", Do.STALL, 2)
            await house.send(*map(str, range(90)))
            await house.quiet()
            await house.on(6 * MINUTE, step=1.3)
            assert most_within(side.mails, 60.0) <= 30
            await house.on(10 * MINUTE)
            assert sorted(side.subjects, key=int) == list(map(str, range(90)))

    run(scenario())


def test_recipients_a_day_are_counted_over_restarts_and_changes(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder):
            table = signed_in(side.port, folder, recipients_per_day=100, recipients_per_message=50)
            async with at_work(tmp_path, [table], side) as house:
                to = [f"r{n}@contoso.com" for n in range(30)]
                mails = await house.send(*map(str, range(5)), to=to)
                await house.on(MINUTE)
                assert len(side.taken) == 3  # 90; another would be 120
                late = [mail for mail in mails if house.now(mail).state == "waiting"]
                assert all("recipients" in (house.now(mail).why or "") for mail in late)
                await house.again()
                await house.change([{**table, "messages_per_minute": 10}])
                await house.on(HOUR)
                assert len(side.taken) == 3
                await house.send("small", to=to[:10])
                await house.on(MINUTE)
                assert side.subjects[3:] == ["small"]
                await house.send("none", to=to[:1])
                await house.on(MINUTE)
                assert "24 hours" in (house.lanes["office"].health.why or "")
                await house.on(26 * HOUR, step=10 * MINUTE)
                assert len(side.taken) == 7
                assert states(house) == {"delivered": 7}

    run(scenario())


def test_routes_of_one_mailbox_remember_its_day_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder):
            tables = [signed_in(side.port, folder, name, recipients_per_day=10) for name in ("office", "second")]
            async with at_work(tmp_path, tables, side) as house:
                await house.send("a", route="second")
                await house.quiet()
                await house.send(*map(str, range(9)))
                await house.quiet()
                await house.again()
                await house.send("over")
                await house.on(HOUR)
                assert len(side.taken) == 10

    run(scenario())


def test_a_device_with_two_thousand_mails_does_not_starve_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide()
        async with side.running(), at_work(tmp_path, [route(side.port, messages_per_minute=30)], side) as house:
            await house.send(*map(str, range(2000)))
            await house.quiet()
            await house.send("single", host="10.0.0.2")
            await house.on(3 * MINUTE, step=5)
            assert side.subjects.index("single") <= 32

    run(scenario())


# A fault of ours


def test_a_mail_that_makes_us_stumble_waits_and_the_others_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send, connect = Connector.send, Connector.connect
    stumbles = [True]

    async def stumbling(self: Connector, connection: object, mail: Mail, *more: object) -> object:
        if mail.sender.startswith("poison"):
            raise RecursionError
        return await send(self, connection, mail, *more)  # type: ignore[arg-type]

    async def failing(self: Connector) -> object:
        if stumbles:
            stumbles.pop()
            raise ValueError("nobody thought of it")
        return await connect(self)

    monkeypatch.setattr(Connector, "send", stumbling)
    monkeypatch.setattr(Connector, "connect", failing)

    async def scenario() -> None:
        side = OtherSide()
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            [poison] = await house.send("poison", sender="poison@contoso.com")
            await house.send(*map(str, range(20)))
            await house.on(15, step=1)
            assert len(side.taken) >= 19
            await house.on(DAY, step=5 * MINUTE)
            assert len(side.taken) == 20
            now = house.now(poison)
            assert (now.state, now.attempts <= 20) == ("waiting", True)
            assert "fault of relayprobe (RecursionError)" in (now.why or "")

    run(scenario())


# Clocks


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DAY, -DAY, YEAR, -YEAR])
def test_a_clock_that_is_set_skips_nothing_expires_nothing_and_hammers_nothing(jump: float, tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("rcpt", REPLIES["450"]))
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            mails = await house.send(*map(str, range(5)))
            await house.on(10 * MINUTE)
            [held] = await house.send("held", state="held", why="by hand")
            before = len(side.mails)
            house.jumped += jump
            [new] = await house.send("new")  # before anybody has noticed
            await house.quiet()
            await house.on(MINUTE, step=1)
            assert len(side.mails) - before <= 2 * len(mails) + 2
            assert {house.now(mail).state for mail in mails} == {"waiting"}
            assert abs(house.wall() - house.now(held).arrived) < HOUR
            side.answer = lambda moment: None
            await house.on(3 * HOUR)
            assert {house.now(mail).state for mail in [*mails, new]} == {"delivered"}
            assert "given-up" not in house.kinds()
            assert len(side.taken) == 6

    run(scenario())


@pytest.mark.parametrize("jump", [DAY, -DAY, YEAR])
def test_a_route_that_waits_is_not_put_off_by_a_clock_that_is_set(jump: float, tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("banner", REPLIES["421"]))
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            await house.send("one")
            await house.on(10 * MINUTE)
            house.jumped += jump
            await house.on(HOUR)
            assert len(side.connections) <= 8
            side.answer = lambda moment: None
            await house.on(HOUR + 10 * MINUTE)
            assert side.subjects == ["one"]

    run(scenario())


def test_what_a_wrong_clock_put_off_for_years_goes_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("rcpt", REPLIES["450"], 1))
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            house.jumped += 10 * YEAR
            await house.on(5, step=1)
            [mail] = await house.send("one")
            await house.quiet()
            await house.close()
            house.jumped -= 10 * YEAR
            house.open()
            await house.on(DAY + HOUR, step=10 * MINUTE)
            assert house.now(mail).state == "delivered"

    run(scenario())


# Lifetime


def test_what_is_too_old_is_given_up_and_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("rcpt", REPLIES["450"]))
        more = {"bounce": "sender", "lifetime": "5d"}
        async with side.running(), at_work(tmp_path, [route(side.port)], side, **more) as house:
            [mail, null, ours] = (
                *await house.send("one"),
                *await house.send("bounce", sender=""),
                *await house.send("ours", sender="relay@contoso.com", kind="report"),
            )
            await house.on(4.9 * DAY, step=HOUR)
            assert [house.now(one).state for one in (mail, null, ours)] == ["waiting"] * 3
            assert house.now(mail).attempts <= 70
            await house.on(0.3 * DAY, step=HOUR)
            assert [house.now(one).state for one in (mail, null, ours)] == ["failed"] * 3
            now = house.now(mail)
            assert "within 5 days" in (now.why or "")
            assert "450 4.2.1 busy" in (now.why or "")
            reports = [one for one in house.spool.mails(Wanted(EVERY)) if one.kind == "report" and one.id != ours.id]
            assert [one.recipients[0].address for one in reports] == ["scan@contoso.com"]
            assert house.kinds("waiting") == ["given-up"] * 2  # the one, and that of nobody
            side.answer = lambda moment: None
            await house.on(HOUR)
            await house.on(6 * DAY, step=HOUR)
            assert len(side.taken) == 1  # the report
            assert b"5 days" in side.taken[0].text or b"450 4.2.1" in side.taken[0].text
            assert states(house) == {"failed": 3, "delivered": 1}

    run(scenario())


def test_mail_of_a_route_that_is_stopped_is_kept_beyond_its_lifetime(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(at("login", REPLIES["535"])), tmp_path / "tls"
        async with (
            side.running(folder),
            at_work(tmp_path, [signed_in(side.port, folder)], side, lifetime="1h") as house,
        ):
            [mail] = await house.send("one")
            await house.on(3 * DAY, step=HOUR)
            assert house.now(mail).state == "waiting"
            assert "given-up" not in house.kinds()
            side.answer = lambda moment: None
            await house.on(DAY, step=HOUR)
            assert house.now(mail).state == "delivered"

    run(scenario())


def test_a_report_that_cannot_be_delivered_is_not_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("rcpt", REPLIES["550"]))
        async with side.running(), at_work(tmp_path, [route(side.port)], side, bounce="sender") as house:
            await house.send("one")
            await house.on(DAY, step=10 * MINUTE)
            assert states(house) == {"failed": 2}

    run(scenario())


def test_mail_that_is_just_being_sent_is_not_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("rcpt", REPLIES["450"]))
        async with side.running(), at_work(tmp_path, [route(side.port)], side, lifetime="1h") as house:
            [mail] = await house.send("one")
            await house.on(59 * MINUTE)
            begun = Attempt(9999, mail.id, house.wall(), "office", "127.0.0.1")
            house.store.change(spool.begun(begun))  # not on the disk yet, when it is looked for what is too old
            house.relay.delivery._too_old(house.wall() + HOUR)
            await house.quiet()
            assert house.now(mail).state == "sending"
            assert "given-up" not in house.kinds()

    run(scenario())


# Restarts and other routes


@pytest.mark.parametrize("stage", ["banner", "mail", "dot"])
def test_a_clean_end_amid_sending_is_no_crash(stage: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at(stage, Do.STALL))
        async with side.running(), at_work(tmp_path, [route(side.port)], side, timeouts=Timeouts()) as house:
            [mail] = await house.send("one")
            await house.quiet()
            house.relay.delivery.stop = _soon(house)  # type: ignore[method-assign]
            await house.again()
            now = house.now(mail)
            assert (now.state, now.crashes, now.unknown) == ("waiting", 0, int(stage == "dot"))
            side.answer = lambda moment: None
            await house.on(10 * MINUTE)
            assert house.now(mail).state == "delivered"
            broken_off = "unknown" if stage == "dot" else "interrupted"
            assert [one.result for one in house.spool.attempts(mail.id)] == [broken_off, "delivered"]

    run(scenario())


def _soon(house: House) -> object:
    """The relay waits for a second only: what hangs does not end by itself."""
    stop = house.relay.delivery.stop
    return lambda seconds: stop(0.1)


def test_each_state_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder), at_work(tmp_path, [signed_in(side.port, folder)], side) as house:
            side.answer = at("rcpt", REPLIES["450"])
            [waits] = await house.send("waits")
            await house.quiet()
            side.answer = at("rcpt", REPLIES["550"])
            [failed] = await house.send("failed")
            await house.quiet()
            [held] = await house.send("held")
            await house.quiet()
            by_hand.retry(house.folder, house.now(failed), house.wall())
            await house.on(5, step=1)
            by_hand.retry(house.folder, house.now(held), house.wall())
            by_hand.hold(house.folder, house.now(held))
            side.answer = at("login", REPLIES["535"])
            await house.on(HOUR)
            health = house.lanes["office"].health
            assert health.state == "stopped"
            before = {mail.id: house.now(mail) for mail in (waits, failed, held)}
            assert [one.state for one in before.values()] == ["waiting", "failed", "held"]
            logins = len(side.logins)
            for _ in range(3):
                await house.again()
                await house.quiet()
                assert house.lanes["office"].health.state == "stopped"
            for id, was in before.items():
                now = house.spool.mail(id)
                assert now is not None
                assert (now.state, now.recipients) == (was.state, was.recipients)
                assert now.crashes == 0
            assert len(side.logins) - logins <= 3
            assert house.kinds("waiting", "given-up") == ["stopped"]

    run(scenario())


def test_mail_of_a_route_that_is_gone_goes_by_another_or_is_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, other = OtherSide(), OtherSide()
        async with side.running(), other.running():
            tables = [route(side.port), route(other.port, "other")]
            async with at_work(tmp_path, tables, side, other) as house:
                side.answer = at("rcpt", REPLIES["450"])
                await house.send("one")
                [kept_back] = await house.send("two", state="held", why="by hand")
                await house.quiet()
                await house.change([route(other.port, "other")])
                await house.quiet()
                await house.on(2 * HOUR)
                assert other.subjects == ["one"]
                by_hand.release(house.folder, house.now(kept_back))
                await house.on(MINUTE)
                assert other.subjects == ["one", "two"]
                other.answer = at("rcpt", REPLIES["450"])
                [left] = await house.send("three", route="other")
                await house.quiet()
                await house.change([route(side.port, "office", recipients=["*@fabrikam.com"])])
                await house.on(10, step=1)
                assert house.now(left).state == "held"
                assert "route other is no longer configured" in (house.now(left).why or "")

    run(scenario())


def test_a_route_that_is_changed_while_it_hangs_leaves_no_mail_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, well = OtherSide(at("mail", Do.STALL)), OtherSide()
        async with side.running(), well.running():
            tables = [route(side.port)]
            async with at_work(tmp_path, tables, side, well, timeouts=Timeouts()) as house:
                mails = await house.send(*map(str, range(5)))
                await house.quiet()
                change = asyncio.create_task(house.change([route(well.port)]))
                while not change.done():
                    await asyncio.sleep(0)
                    house.loop.moved += 0.1
                await change
                await house.on(MINUTE)
                assert {house.now(mail).state for mail in mails} == {"delivered"}
                assert sorted(well.subjects) == list(map(str, range(5)))

    run(scenario())


def test_a_change_of_one_route_leaves_the_pace_and_the_connections_of_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(), tmp_path / "tls"
        async with side.running(folder):
            tables = [signed_in(side.port, folder), route(side.port, "other")]
            async with at_work(tmp_path, tables, side) as house:
                for turn in range(4):
                    await house.send(*(f"{turn}-{n}" for n in range(20)))
                    await house.quiet()
                    tables[turn % 2] = {**tables[turn % 2], "recipients_per_message": 10 + turn}
                    await house.change(tables)
                    await house.quiet()
                assert len(side.mails) == 30
                await house.on(3 * MINUTE, step=1)
                assert len(side.taken) == 80
                assert most_within(side.mails, 60.0) <= 30
                await house.on(MINUTE)
                assert {one.open for one in house.relay._common.allowances.values()} == {0}

    run(scenario())


# Mail whose device waits


def test_a_device_that_waits_is_answered_by_the_other_route_where_its_own_cannot(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, other = OtherSide(at("banner", REPLIES["421"])), OtherSide()
        async with first.running(), other.running():
            tables = [route(first.port, fallback="other"), route(other.port, "other")]
            async with at_work(tmp_path, tables, first, other) as house:
                [one] = await house.send("one", at_once=True)
                assert house.reply.startswith("451 4.4.0 421 4.3.2 Service not available")
                [two] = await house.send("two", at_once=True)
                assert house.reply.startswith("250")
                await house.quiet()
                assert [house.now(mail).state for mail in (one, two)] == ["dropped", "delivered"]
                assert len(first.connections) == 1
                assert other.subjects == ["two"]

    run(scenario())


def test_a_device_that_waits_hears_what_the_other_side_says_and_keeps_what_it_does_not_take(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide()
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            for step, word in [
                (b"550 5.1.1 unknown\r\n", "550 5.1.1"),
                (Do.CLOSE, "451"),
                (b"450 4.2.1 no\r\n", "450"),
            ]:
                side.answer = at("rcpt", step)
                [mail] = await house.send("one", at_once=True)
                await house.quiet()
                assert house.reply.startswith(word)
                assert house.now(mail).state == "dropped"
            side.answer = lambda moment: None
            await house.on(DAY, step=HOUR)
            assert side.taken == []

    run(scenario())
