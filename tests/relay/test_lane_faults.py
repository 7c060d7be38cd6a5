"""Faults of the other side: refusals, silence, cuts and garbage at each stage; and what becomes of the mail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relayprobe.relay.place import Timeouts
from relayprobe.store import by_hand
from tests.relay.moved_clock import DAY, HOUR, MINUTE, at_work, route, run, signed_in
from tests.relay.other_side import Do, Moment, OtherSide, Step

STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")
REPLIES = {
    "421": b"421 4.3.2 Service not available\r\n",
    "450": b"450 4.2.1 busy\r\n",
    "451": b"451 4.7.0 Temporary server error. Please try again later. PRX1\r\n",
    "452": b"452 4.3.1 Insufficient system resources\r\n",
    "500": b"500 5.3.3 Unrecognized command\r\n",
    "530": b"530 5.7.57 Client not authenticated to send mail\r\n",
    "535": b"535 5.7.3 Authentication unsuccessful\r\n",
    "550": b"550 5.1.1 unknown\r\n",
    "550 5.7.30": b"550 5.7.30 Basic authentication is not supported for Client Submission.\r\n",
    "550 5.2.251": b"550 5.2.251 Sender throttled due to continuous mailbox full errors.\r\n",
    "550 5.7.64": b"550 5.7.64 TenantAttribution; Relay Access Denied\r\n",
    "552": b"552 5.3.4 Message size exceeds fixed maximum message size\r\n",
    "554": b"554 5.2.0 STOREDRV.Submission.Exception\r\n",
    "451 5.7.3": b"451 5.7.3 STARTTLS is required to send mail\r\n",
    "421 4.7.66": b"421 4.7.66 TLS 1.0 and 1.1 are not supported.\r\n",
    "432": b"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded\r\n",
    "451 4.7.500": b"451 4.7.500 Server busy. Please try again later from [1.2.3.4]. (AS77712344)\r\n",
}
ILL: dict[str, Step] = {
    **REPLIES,
    "closes": Do.CLOSE,
    "resets": Do.RESET,
    "stalls": Do.STALL,
    "garbage": b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n",
    "out of turn": b"334 ?\r\n",
    "half a reply": Do.HALF,
}


def at(stage: str, step: Step, times: int = 1_000_000, subject: str | None = None) -> Callable[[Moment], Step]:
    """The first so many times that it comes to this."""
    left = times

    def answer(moment: Moment) -> Step:
        nonlocal left
        if moment.stage != stage or not left or (subject and subject.encode() not in moment.text):
            return None
        left -= 1
        return step

    return answer


def most_within(times: list[float], seconds: float) -> int:
    """The most of them in any stretch of so long."""
    times = sorted(times)
    return max(sum(begin <= one < begin + seconds for one in times) for begin in times)


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_is_met_the_mail_arrives_once_or_says_why_it_does_not(stage: str, tmp_path: Path) -> None:
    async def scenario(name: str, step: Step, pipelining: bool) -> None:
        side = OtherSide(at(stage, step, 2), pipelining)
        folder = tmp_path / f"{name}-{pipelining}".replace(" ", "-")
        folder.mkdir()
        async with side.running(), at_work(folder, [route(side.port)], side, bounce="none") as house:
            [mail] = await house.send("one")
            await house.quiet()
            await house.on(2 * DAY, step=1801)
            now = house.now(mail)
            what = f"{name} at {stage}: {now.state}, {now.why}, {now.attempts} attempts, {len(side.connections)}"
            assert len(side.taken) == (now.state == "delivered"), what
            if now.state in ("held", "failed"):
                assert now.why, what
                assert now.recipients[0].reply, what
            else:
                assert now.state == "delivered", what
            assert len(side.connections) <= 4, what

    for n, (name, step) in enumerate(ILL.items()):
        run(scenario(name, step, n % 2 == STAGES.index(stage) % 2))


def test_lost_after_the_dot_it_is_sent_once_more_and_then_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("dot", Do.KEEP))
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            [mail] = await house.send("one")
            await house.quiet()
            now = house.now(mail)
            assert (now.state, now.unknown) == ("waiting", 1)
            assert "may have arrived" in (now.why or "")
            await house.on(DAY, step=300)
            now = house.now(mail)
            assert (now.state, now.unknown, now.attempts) == ("held", 2, 2)
            assert "queue release" in (now.why or "")
            assert len({one.message_id for one in side.taken}) == 1
            assert house.kinds("waiting") == ["held"]

    run(scenario())


def test_each_recipient_is_sent_to_until_it_has_it_and_never_again(tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    def answer(moment: Moment) -> Step:
        if moment.stage != "rcpt":
            return None
        [one] = moment.recipients
        tries[one] = tries.get(one, 0) + 1
        if one.startswith("no"):
            return REPLIES["550"]
        return REPLIES["450"] if one.startswith("later") and tries[one] < 3 else None

    async def scenario() -> None:
        side = OtherSide(answer)
        async with side.running(), at_work(tmp_path, [route(side.port)], side, bounce="none") as house:
            [mail] = await house.send("one", to=["a@x.com", "no@x.com", "later@x.com", "b@x.com"])
            await house.on(HOUR)
            now = house.now(mail)
            assert {one.address: one.state for one in now.recipients} == {
                "a@x.com": "delivered",
                "no@x.com": "refused",
                "later@x.com": "delivered",
                "b@x.com": "delivered",
            }
            assert tries == {"a@x.com": 1, "no@x.com": 1, "later@x.com": 3, "b@x.com": 1}
            assert now.state == "failed"
            assert "refused for 1 of 4" in (now.why or "")
            assert house.kinds() == ["given-up"]

    run(scenario())


def test_three_that_fail_together_are_one_failure_of_the_route(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("banner", REPLIES["421"]))
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            await house.send(*map(str, range(9)))
            await house.quiet()
            assert house.lanes["office"].health.failures == 1
            assert len(side.connections) <= 3
            await house.on(80)
            assert house.lanes["office"].health.failures == 2

    run(scenario())


def test_a_refused_login_stops_the_route_and_is_tried_seldom(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide(at("login", REPLIES["535"]))
        folder = tmp_path / "tls"
        async with side.running(folder), at_work(tmp_path, [signed_in(side.port, folder)], side) as house:
            mails = await house.send(*map(str, range(20)))
            await house.on(15 * MINUTE)
            assert 1 <= len(side.logins) <= 3
            assert {house.now(mail).state for mail in mails} == {"waiting"}
            assert "password" in (house.lanes["office"].health.why or "").lower()
            await house.on(DAY, step=MINUTE)
            assert len(side.logins) <= 10
            assert house.kinds("waiting") == ["stopped"]
            side.answer = lambda moment: None
            by_hand.ask_for_route(house.folder, "office", house.wall())
            await house.on(3 * MINUTE, step=1)
            assert sorted(side.subjects, key=int) == [str(n) for n in range(20)]
            assert house.kinds("waiting") == ["stopped", "working"]
            assert b"Sesame" not in b"".join(p.read_bytes() for p in house.folder.rglob("*") if p.is_file())

    run(scenario())


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "text", "dot"])
@pytest.mark.parametrize("step", [Do.CLOSE, b"421 4.4.2 closing\r\n", b"999 ?\r\n"])
def test_a_mail_at_which_the_connection_breaks_holds_nobody_up(stage: str, step: Step, tmp_path: Path) -> None:
    """A firewall that looks into mail cuts the one that it does not like, each time."""

    def answer(moment: Moment) -> Step:
        return step if moment.stage == stage and moment.sender == "poison@contoso.com" else None

    async def scenario() -> None:
        side = OtherSide(answer)
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            [poison] = await house.send("poison", sender="poison@contoso.com")
            good = await house.send(*map(str, range(20)))
            await house.quiet()
            await house.on(10, step=1)
            assert {house.now(mail).state for mail in good} == {"delivered"}
            await house.on(DAY, step=300)
            now = house.now(poison)
            assert now.attempts <= 40
            assert now.why

    run(scenario())


def test_a_connection_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    for stage in ("banner", "ehlo", "mail", "data", "dot", "quit"):

        async def scenario(stage: str) -> None:
            side = OtherSide(at(stage, Do.STALL, 1))
            folder = tmp_path / stage
            folder.mkdir()
            async with side.running(), at_work(folder, [route(side.port)], side, timeouts=Timeouts()) as house:
                await house.send("hangs")
                await house.quiet()
                if stage == "quit":
                    await house.on(20, step=20)
                others = await house.send(*map(str, range(5)))
                await house.on(6, step=0.5)
                assert {house.now(mail).state for mail in others} == {"delivered"}, stage
                house.relay._timeouts = Timeouts()
                await side.fall()

        run(scenario(stage))


def test_throttled_the_route_slows_down_though_others_came_through(tmp_path: Path) -> None:
    def answer(moment: Moment) -> Step:
        return REPLIES["432"] if moment.stage == "dot" and len(side.mails) % 3 == 1 else None

    side = OtherSide(answer)

    async def scenario() -> None:
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            mails = await house.send(*map(str, range(30)))
            await house.quiet()
            assert len(side.mails) <= 6
            assert house.lanes["office"].health.state == "waiting"
            await house.on(4 * HOUR)
            assert {house.now(mail).state for mail in mails} == {"delivered"}
            assert sum(house.now(mail).deferrals for mail in mails) == 0
            assert len(side.taken) == 30

    run(scenario())


def test_a_penalty_stops_the_route_for_hours_though_others_came_through(tmp_path: Path) -> None:
    side, folder = OtherSide(at("dot", REPLIES["550 5.2.251"], 1)), tmp_path / "tls"

    async def scenario() -> None:
        async with side.running(folder), at_work(tmp_path, [signed_in(side.port, folder)], side) as house:
            await house.send(*map(str, range(30)))
            await house.on(3 * HOUR)
            assert len(side.mails) <= 3
            await house.again()
            await house.on(10 * MINUTE)
            assert len(side.mails) <= 3
            await house.on(2 * HOUR)
            assert len(side.taken) == 30

    run(scenario())


def test_down_for_a_day_nothing_is_lost_and_nothing_hammered(tmp_path: Path) -> None:
    async def scenario() -> None:
        side = OtherSide()
        async with side.running(), at_work(tmp_path, [route(side.port)], side) as house:
            await side.fall()
            mails = await house.send(*(str(n) for n in range(1000)))
            await house.on(DAY, step=2 * MINUTE)
            assert {house.now(mail).state for mail in mails} == {"waiting"}
            tries = [house.spool.attempts(mail.id) for mail in mails]
            assert max(map(len, tries)) <= 40
            began = sorted(attempt.began for each in tries for attempt in each)
            assert len(began) <= 45
            assert house.kinds()[0] == "waiting"
            await side.rise()
            await house.on(HOUR + 15 * MINUTE, step=MINUTE)
            assert sorted(map(int, side.subjects)) == list(range(1000))

    run(scenario())


def test_what_the_first_route_cannot_the_other_takes(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, other = OtherSide(at("banner", REPLIES["421"])), OtherSide()
        async with first.running(), other.running():
            routes = [route(first.port, fallback="other"), route(other.port, "other", recipients=["nobody@x.com"])]
            async with at_work(tmp_path, routes, first, other) as house:
                await house.send(*map(str, range(300)))
                await house.on(5, step=1)
                assert len(other.taken) == 300
                assert len(first.connections) <= 3
                await house.on(2 * HOUR)
                first.answer = lambda moment: None
                await house.on(2 * HOUR)
                await house.send("last")
                await house.on(MINUTE)
                assert first.subjects == ["last"]

    run(scenario())


QUOTA = b"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Submission quota exceeded\r\n"
SEND_AS = b"554 5.2.252 SendAsDenied; scan@contoso.com not allowed to send as x@contoso.com; STOREDRV.Submission\r\n"


@pytest.mark.parametrize(
    ("stage", "step", "scope", "state"),
    [
        ("starttls", b"454 4.7.0 TLS not available\r\n", "later", "waiting"),
        ("starttls", Do.CLOSE, "later", "waiting"),
        ("starttls", Do.STALL, "later", "waiting"),
        ("login", REPLIES["535"], "stop", "waiting"),
        ("login", REPLIES["550 5.7.30"], "stop", "waiting"),
        ("login", b"454 4.7.0 Temporary authentication failure\r\n", "later", "waiting"),
        ("login", Do.CLOSE, "later", "waiting"),
        ("login", Do.STALL, "later", "waiting"),
        ("mail", REPLIES["530"], "stop", "waiting"),
        ("mail", REPLIES["451 5.7.3"], "configuration", "waiting"),
        ("mail", REPLIES["421 4.7.66"], "configuration", "waiting"),
        ("rcpt", REPLIES["451 4.7.500"], "throttled", "waiting"),
        ("rcpt", REPLIES["550 5.7.64"], None, "held"),
        ("dot", REPLIES["550 5.2.251"], "hours", "waiting"),
        ("dot", REPLIES["432"], "throttled", "waiting"),
        ("dot", QUOTA, "hours", "waiting"),
        ("dot", SEND_AS, None, "failed"),
        ("dot", REPLIES["550"], None, "failed"),
    ],
)
def test_what_office_365_refuses_stops_the_route_or_the_mail(
    stage: str, step: Step, scope: str | None, state: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        side, folder = OtherSide(at(stage, step)), tmp_path / "tls"
        async with side.running(folder):
            tables = [signed_in(side.port, folder)]
            async with at_work(tmp_path, tables, side, bounce="none") as house:
                [mail] = await house.send("one")
                await house.on(15 * MINUTE)
                now, health = house.now(mail), house.lanes["office"].health
                assert (health.scope, now.state) == (scope, state), (health, now.why)
                assert now.why
                assert len(side.logins) <= 3 if scope in ("stop", "hours", "configuration") else len(side.logins) <= 6
                assert now.deferrals == 0 if scope is not None else True
                side.answer = lambda moment: None
                by_hand.ask_for_route(house.folder, "office", house.wall())
                by_hand.release(house.folder, now)
                await house.on(4 * HOUR)
                assert side.subjects == ([] if state == "failed" else ["one"])

    run(scenario())
