"""One letter over one connection: what goes out, and what comes of it for each recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from relayprobe.relay.outcome import Deferred, Delivered, Fault, Refused, Reply, Sent, Trouble, Unknown
from relayprobe.relay.place import Letter, Place, SignIn, Timeouts
from relayprobe.relay.record import Record
from relayprobe.relay.upstream import Upstream
from relayprobe.wire.events import Body, Closed, Connected, Line
from tests.relay.scripted import EHLO, OK, Do, Scripted

TEXT = b"From: a@contoso.com\r\n\r\n.dot\r\n..two\r\nend\r\n"
QUICK = Timeouts(connect=10, banner=10, tls=10, command=10, data=10, block=10, end_of_data=10, letter=60, quit=10)
SHORT = Timeouts(connect=10, banner=0.2, tls=0.2, command=0.2, data=0.2, block=0.2, end_of_data=0.2, quit=0.2)
ONE_BY_ONE = tuple(offer for offer in EHLO if offer != "PIPELINING")
BOTH = pytest.mark.parametrize("offers", [EHLO, ONE_BY_ONE], ids=["pipelining", "one by one"])


def letter(*recipients: str, text: bytes = TEXT, sender: str = "scanner@contoso.com", **more: object) -> Letter:
    more.setdefault("size", len(text))
    return Letter(sender, recipients or ("a@contoso.com",), lambda: iter([text]), **more)  # type: ignore[arg-type]


def clear(server: Scripted) -> Place:
    return Place("127.0.0.1", server.port, "none", None, "relay.contoso.com")


async def connected(server: Scripted, timeouts: Timeouts = QUICK, login: SignIn | None = None) -> Upstream:
    upstream = await Upstream.connect(clear(server), login, timeouts, Record())
    assert isinstance(upstream, Upstream), upstream
    return upstream


async def sent(server: Scripted, one: Letter | None = None, timeouts: Timeouts = QUICK) -> tuple[Sent, Upstream]:
    upstream = await connected(server, timeouts)
    came = await upstream.send(one or letter())
    await upstream.quit()
    return came, upstream


@BOTH
async def test_a_letter_is_delivered_dots_doubled_and_ended_once(offers: tuple[str, ...]) -> None:
    async with Scripted(offers=offers, on={"DOT": b"250 2.6.0 queued\r\n"}).running() as server:
        came, _ = await sent(server, letter("a@contoso.com", "b@contoso.com"))
    assert came.outcomes == (Delivered(Reply(250, "2.6.0 queued")),) * 2
    assert (came.stage, came.fault, came.stale) == ("end-of-data", None, False)
    assert server.texts == [b"From: a@contoso.com\r\n\r\n..dot\r\n...two\r\nend\r\n.\r\n"]
    assert server.said == [
        b"EHLO relay.contoso.com",
        f"MAIL FROM:<scanner@contoso.com> SIZE={len(TEXT)}".encode(),
        b"RCPT TO:<a@contoso.com>",
        b"RCPT TO:<b@contoso.com>",
        b"DATA",
        b"QUIT",
    ]


@BOTH
async def test_each_recipient_has_its_own_outcome(offers: tuple[str, ...]) -> None:
    steps = [OK, b"550 5.1.1 unknown\r\n", b"452 4.5.3 too many\r\n", b"251 2.1.5 forwarded\r\n"]
    async with Scripted(offers=offers, on={"RCPT": steps}).running() as server:
        came, _ = await sent(server, letter("a@x.com", "b@x.com", "c@x.com", "d@x.com"))
    assert came.outcomes == (
        Delivered(Reply(250, "2.0.0 ok")),
        Refused(Reply(550, "5.1.1 unknown"), "rcpt"),
        Deferred(Reply(452, "4.5.3 too many"), "rcpt"),
        Delivered(Reply(250, "2.0.0 ok")),
    )
    assert len(server.texts) == 1


@BOTH
async def test_a_refused_sender_is_the_outcome_for_all(offers: tuple[str, ...]) -> None:
    on = {"MAIL": b"501 5.1.7 Invalid address\r\n", "RCPT": b"503 5.5.1 no\r\n", "DATA": b"503 5.5.1 no\r\n"}
    async with Scripted(offers=offers, on=on).running() as server:
        came, _ = await sent(server, letter("a@x.com", "b@x.com"))
    assert came.outcomes == (Refused(Reply(501, "5.1.7 Invalid address"), "mail"),) * 2
    assert (came.stage, came.fault) == ("mail", None)
    assert server.texts == []


async def test_where_all_are_refused_no_data_is_asked_for() -> None:
    async with Scripted(offers=ONE_BY_ONE, on={"RCPT": b"550 5.1.1 unknown\r\n"}).running() as server:
        came, _ = await sent(server)
    assert came.outcomes == (Refused(Reply(550, "5.1.1 unknown"), "rcpt"),)
    assert "DATA" not in server.commands


@pytest.mark.parametrize("verb", ["RCPT", "MAIL"])
async def test_a_server_that_waits_for_a_text_for_nobody_gets_an_empty_one(verb: str) -> None:
    steps = [b"550 5.1.1 unknown\r\n", OK]
    on = {verb: steps, "RCPT": steps, "DOT": [b"554 no recipients\r\n", OK]}
    async with Scripted(on=on).running() as server:
        upstream = await connected(server)
        came = await upstream.send(letter())
        again = await upstream.send(letter("b@x.com"))
        await upstream.quit()
    assert came.outcomes == (Refused(Reply(550, "5.1.1 unknown"), verb.lower()),)  # type: ignore[arg-type]
    assert came.fault is None
    assert again.outcomes == (Delivered(Reply(250, "2.0.0 ok")),)
    assert server.texts[0] == b".\r\n"
    assert server.connections == 1


async def test_a_server_that_takes_recipients_for_a_sender_it_refused_is_left() -> None:
    async with Scripted(on={"MAIL": b"550 5.7.1 no\r\n"}).running() as server:
        came, upstream = await sent(server)
    assert came.outcomes == (Refused(Reply(550, "5.7.1 no"), "mail"),)
    assert came.fault is not None
    assert server.texts == []  # no empty mail to those recipients
    assert not upstream.usable


@BOTH
async def test_data_refused_is_the_outcome_of_those_that_were_taken(offers: tuple[str, ...]) -> None:
    on = {"RCPT": [b"550 5.1.1 no\r\n", OK], "DATA": [b"451 4.3.0 later\r\n", b"354 go\r\n"]}
    async with Scripted(offers=offers, on=on).running() as server:
        upstream = await connected(server)
        came = await upstream.send(letter("a@x.com", "b@x.com"))
        again = await upstream.send(letter())
        await upstream.quit()
    assert came.outcomes == (
        Refused(Reply(550, "5.1.1 no"), "rcpt"),
        Deferred(Reply(451, "4.3.0 later"), "data"),
    )
    assert isinstance(again.outcomes[0], Delivered)
    assert server.commands.count("RSET") == 1


async def test_a_connection_carries_many_letters_and_resets_only_after_a_failure() -> None:
    async with Scripted(on={"DOT": [OK, b"554 5.2.252 SendAsDenied\r\n", OK]}).running() as server:
        upstream = await connected(server)
        came = [await upstream.send(letter()) for _ in range(3)]
        await upstream.quit()
    assert [type(one.outcomes[0]) for one in came] == [Delivered, Refused, Delivered]
    assert server.connections == 1
    assert "RSET" not in server.commands  # RFC 5321 4.1.1.4: a text that was answered ends the envelope


async def test_a_failed_reset_ends_the_connection_before_the_letter_is_tried() -> None:
    async with Scripted(on={"DATA": [b"451 later\r\n", b"354 go\r\n"], "RSET": b"502 what\r\n"}).running() as server:
        upstream = await connected(server)
        await upstream.send(letter())
        came = await upstream.send(letter())
    assert came.outcomes == (Deferred(Reply(502, "what"), "rset"),)
    assert came.fault == Fault("rset", Reply(502, "what"))
    assert not upstream.usable


async def test_an_empty_sender_and_an_empty_text() -> None:
    async with Scripted().running() as server:
        came, _ = await sent(server, letter(sender="", text=b""))
    assert isinstance(came.outcomes[0], Delivered)
    assert server.said[1] == b"MAIL FROM:<> SIZE=0"
    assert server.texts == [b".\r\n"]


async def test_a_text_whose_last_line_has_no_end_gets_one() -> None:
    async with Scripted().running() as server:
        await sent(server, letter(text=b"a\r\n."))
    assert server.texts == [b"a\r\n..\r\n.\r\n"]


# What cannot go


async def test_a_mail_above_the_limit_is_refused_before_it_is_sent() -> None:
    async with Scripted(offers=("SIZE 10",)).running() as server:
        came, _ = await sent(server)
    [outcome] = came.outcomes
    assert isinstance(outcome, Refused)
    assert outcome.said == Trouble("unsuitable", f"the mail has {len(TEXT)} octets, and the server takes 10 at most")
    assert server.commands == ["EHLO", "QUIT"]


async def test_a_limit_of_zero_is_none() -> None:
    for limit in ("SIZE 0", "SIZE", "SIZE what", "SIZE " + "9" * 5000):
        async with Scripted(offers=(limit,)).running() as server:
            came, _ = await sent(server)
        assert isinstance(came.outcomes[0], Delivered)


@pytest.mark.parametrize(
    ("offers", "more", "words"),
    [
        (("SMTPUTF8",), {"eight_bit": True}, "8BITMIME"),
        (("8BITMIME",), {"smtputf8": True}, "SMTPUTF8"),
        (("8BITMIME",), {"sender": "jürgen@contoso.com"}, "SMTPUTF8"),
        (EHLO, {"sender": "a@x.com> SIZE=1\r\nRCPT TO:<b@x.com"}, "not an address"),
        (EHLO, {"sender": "a@x.com\nRSET"}, "not an address"),
        (EHLO, {"sender": "a\ud800@x.com"}, "not an address"),
        (EHLO, {"sender": "a" * 2000 + "@x.com"}, "not an address"),
    ],
)
async def test_what_the_server_cannot_take_is_said_and_not_sent(
    offers: tuple[str, ...], more: dict[str, object], words: str
) -> None:
    async with Scripted(offers=offers).running() as server:
        came, _ = await sent(server, letter(**more))  # type: ignore[arg-type]
    [outcome] = came.outcomes
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.said, Trouble)
    assert words in outcome.said.words
    assert came.fault is None
    assert server.commands == ["EHLO", "QUIT"]


async def test_a_recipient_that_is_no_address_does_not_hold_up_the_others() -> None:
    async with Scripted().running() as server:
        came, _ = await sent(server, letter("a@x.com", "b@x.com>\r\nRSET", '"two words"@x.com'))
    assert [type(one) for one in came.outcomes] == [Delivered, Refused, Delivered]
    assert server.said[2:4] == [b"RCPT TO:<a@x.com>", b'RCPT TO:<"two words"@x.com>']


async def test_eight_bit_and_utf8_are_announced() -> None:
    async with Scripted().running() as server:
        await sent(server, letter("jürgen@x.com", size=None))
        await sent(server, letter(size=None, eight_bit=True))
    assert server.said[1] == b"MAIL FROM:<scanner@contoso.com> BODY=8BITMIME SMTPUTF8"
    assert server.said[2] == "RCPT TO:<jürgen@x.com>".encode()
    assert b"MAIL FROM:<scanner@contoso.com> BODY=8BITMIME" in server.said


# Texts that are not fit


@pytest.mark.parametrize(
    ("chunks", "size"),
    [
        ([b"a\r\n.\n", b"MAIL FROM:<x@y>\r\n"], None),
        ([b"a\r\nb\n"], None),
        ([b"a\rb\r\n"], None),
        ([b"a\r", b"b\r\n"], None),
        ([b"a\r\n\r"], None),
        ([b"cut sho"], 100),
    ],
)
async def test_a_text_that_is_not_fit_is_broken_off_in_front_of_its_end(chunks: list[bytes], size: int | None) -> None:
    async with Scripted().running() as server:
        upstream = await connected(server)
        came = await upstream.send(Letter("a@x.com", ("b@x.com",), lambda: iter([b"head\r\n\r\n", *chunks]), size))
    [outcome] = came.outcomes
    assert isinstance(outcome, Deferred)
    assert isinstance(outcome.said, Trouble)
    assert outcome.said.cause == "own-text"
    assert came.fault is not None
    assert came.fault.scope == "mail"
    assert server.texts == []
    assert not upstream.usable


async def test_a_text_that_cannot_be_read_is_an_outcome() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begin\r\n"
        raise OSError(5, "Input/output error")

    async with Scripted().running() as server:
        upstream = await connected(server)
        came = await upstream.send(Letter("a@x.com", ("b@x.com",), chunks))
    assert came.outcomes == (Deferred(Trouble("own-text", "the text cannot be read: Input/output error"), "text"),)
    assert server.texts == []


async def test_a_failure_of_ours_cuts_the_connection_and_is_not_hidden() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begin\r\n"
        raise KeyError("a bug")

    async with Scripted().running() as server:
        upstream = await connected(server)
        with pytest.raises(KeyError):
            await upstream.send(Letter("a@x.com", ("b@x.com",), chunks))
        assert (upstream.stage, upstream.usable) == ("text", False)
    assert server.texts == []


# The record


async def test_the_transcript_is_the_introduction_and_the_letters_own_part() -> None:
    async with Scripted(on={"DOT": [b"250 first\r\n", b"250 second\r\n"]}).running() as server:
        upstream = await connected(server)
        await upstream.send(letter("first@x.com"))
        await upstream.send(letter("second@x.com"))
        events = upstream.record.transcript
        await upstream.quit()
    assert isinstance(events[0], Connected)
    assert events[0].listener == f"127.0.0.1:{server.port}"  # who came is named first: relayprobe
    assert events[0].peer.startswith("127.0.0.1:")
    raw = b"".join(event.raw for event in events if isinstance(event, Line))
    assert b"220 mail.example ready\r\n" in raw
    assert raw.count(b"EHLO") == 1
    assert b"second" in raw
    assert b"first" not in raw
    [body] = [event for event in events if isinstance(event, Body)]
    assert (body.raw, body.end, body.size) == (b"", "crlf", len(TEXT) + len("..") + len(".\r\n"))
    assert isinstance(upstream.record.transcript[-1], Closed)


# Trouble at each stage

STAGES = {
    "BANNER": "banner",
    "EHLO": "ehlo",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "TEXT": "end-of-data",
    "DOT": "end-of-data",
}


async def met(server: Scripted, timeouts: Timeouts) -> tuple[object, object]:
    """The stage, and what was met there."""
    upstream = await Upstream.connect(clear(server), None, timeouts, Record())
    if isinstance(upstream, Fault):
        return upstream.stage, upstream.said
    came = await upstream.send(letter())
    assert came.fault is not None
    assert not upstream.usable
    await upstream.quit()
    assert came.fault.said == came.outcomes[0].said  # type: ignore[union-attr]
    if isinstance(came.outcomes[0], Unknown):
        assert came.stage == "end-of-data"
    else:
        assert isinstance(came.outcomes[0], Deferred)
        assert came.outcomes[0].stage == came.stage
    return came.stage, came.fault.said


@BOTH
@pytest.mark.parametrize("verb", STAGES)
@pytest.mark.parametrize("how", [Do.CLOSE, Do.RESET])
async def test_a_connection_may_be_lost_anywhere(verb: str, how: Do, offers: tuple[str, ...]) -> None:
    async with Scripted(offers=offers, on={verb: how}).running() as server:
        stage, said = await met(server, QUICK)
    assert stage == STAGES[verb] or (verb == "TEXT" and stage == "text")
    assert isinstance(said, Trouble)
    assert said.cause == "lost"


@BOTH
@pytest.mark.parametrize("verb", [verb for verb in STAGES if verb != "TEXT"])
async def test_a_server_may_stall_anywhere(verb: str, offers: tuple[str, ...]) -> None:
    async with Scripted(offers=offers, on={verb: Do.STALL}).running() as server:
        stage, said = await met(server, SHORT)
    assert stage == STAGES[verb]
    assert isinstance(said, Trouble)
    assert said.cause == "timeout"


@BOTH
@pytest.mark.parametrize("verb", [verb for verb in STAGES if verb != "TEXT"])
async def test_421_may_come_anywhere(verb: str, offers: tuple[str, ...]) -> None:
    async with Scripted(offers=offers, on={verb: b"421 4.3.2 Service not available\r\n"}).running() as server:
        stage, said = await met(server, QUICK)
    assert (stage, said) == (STAGES[verb], Reply(421, "4.3.2 Service not available"))


@BOTH
@pytest.mark.parametrize("verb", [verb for verb in STAGES if verb != "TEXT"])
@pytest.mark.parametrize(
    "garbage",
    [
        Do.SPEW,
        Do.CONTINUE,
        b"999 what\r\n",
        b"-12 what\r\n",
        b"+25 ok\r\n",
        b"250x\r\n",
        b"\x00\x1b[2J\xff\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250-a\r\n550 b\r\n",
        b"250-" + b"x" * 9000 + b"\r\n",
        b"2" * 2**20,
        b"199 what\r\n",
        b"\r\n",
    ],
    ids=repr,
)
async def test_garbage_ends_the_connection(verb: str, garbage: bytes | Do, offers: tuple[str, ...]) -> None:
    async with Scripted(offers=offers, on={verb: garbage}).running() as server:
        stage, said = await met(server, QUICK)
    assert stage == STAGES[verb]
    assert isinstance(said, Trouble)
    assert said.cause == "garbled"
    assert said.words.isprintable()


async def test_a_loss_behind_the_final_dot_is_unknown_and_nothing_else_is() -> None:
    for verb, kind in (("DATA", Deferred), ("DOT", Unknown)):
        async with Scripted(on={verb: Do.CLOSE, "RCPT": [b"550 5.1.1 no\r\n", OK]}).running() as server:
            came, _ = await sent(server, letter("a@x.com", "b@x.com"))
        assert [type(one) for one in came.outcomes] == [Refused, kind]


@pytest.mark.parametrize(("reply", "kind"), [(b"451 4.7.500 busy\r\n", Deferred), (b"554 5.6.0 no\r\n", Refused)])
async def test_a_reply_behind_the_final_dot_is_no_doubt(reply: bytes, kind: type) -> None:
    async with Scripted(on={"DOT": reply}).running() as server:
        came, _ = await sent(server)
    assert isinstance(came.outcomes[0], kind)
    assert came.fault is None


async def test_a_reply_has_no_octet_that_acts() -> None:
    async with Scripted(on={"RCPT": b"550-5.1.1 a\x1b[31m\r\n550 5.1.1 b\x00\xff\r\n"}).running() as server:
        came, _ = await sent(server)
    [outcome] = came.outcomes
    assert isinstance(outcome, Refused)
    assert outcome.said == Reply(550, "5.1.1 a\\x1b[31m\n5.1.1 b\\0\\xff")
    assert str(outcome.said) == "550 5.1.1 a\\x1b[31m b\\0\\xff"


# Out of turn


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 998 + b"\r\n"


@BOTH
async def test_250_before_the_text_is_there_is_not_believed(offers: tuple[str, ...]) -> None:
    async with Scripted(on={"DATA": b"354 go\r\n250 2.0.0 ok\r\n"}, offers=offers).running() as server:
        came, _ = await sent(server)
    assert came.outcomes == (Deferred(Trouble("garbled", "the server spoke unasked: 250 2.0.0 ok"), "text"),)
    assert server.texts == []


async def test_250_in_the_middle_of_the_text_is_not_believed() -> None:
    async with Scripted(on={"TEXT": OK}).running() as server:
        upstream = await connected(server)
        came = await upstream.send(Letter("a@x.com", ("b@x.com",), endless))
    assert came.outcomes == (Deferred(Trouble("garbled", "the server spoke unasked: 250 2.0.0 ok"), "text"),)
    assert server.texts == []


async def test_a_refusal_in_the_middle_of_the_text_is_the_outcome() -> None:
    async with Scripted(on={"TEXT": b"552 5.3.4 too big\r\n"}).running() as server:
        upstream = await connected(server)
        came = await upstream.send(Letter("a@x.com", ("b@x.com",), endless))
    assert came.outcomes == (Refused(Reply(552, "5.3.4 too big"), "text"),)
    assert server.texts == []
    assert not upstream.usable


async def test_a_refusal_is_heard_while_the_server_takes_nothing_more() -> None:
    async with Scripted(on={"TEXT": b"552 5.3.4 too big\r\n"}, stuck=True).running() as server:
        upstream = await connected(server, Timeouts())
        async with asyncio.timeout(60):  # far below the time that a block may take
            came = await upstream.send(Letter("a@x.com", ("b@x.com",), endless))
    assert came.outcomes == (Refused(Reply(552, "5.3.4 too big"), "text"),)


async def test_more_replies_than_are_due_end_the_connection() -> None:
    async with Scripted(on={"RCPT": OK + OK}).running() as server:
        came, _ = await sent(server)
    assert not any(isinstance(one, Delivered) for one in came.outcomes)
    assert came.fault is not None
    assert server.texts == []


async def test_a_kept_connection_that_the_server_has_ended_is_as_if_not_tried() -> None:
    async with Scripted(on={"DOT": OK + b"421 4.4.2 idle too long\r\n"}).running() as server:
        upstream = await connected(server)
        first = await upstream.send(letter())
        second = await upstream.send(letter())
    assert isinstance(first.outcomes[0], Delivered)
    assert not first.stale
    assert not upstream.usable
    assert second.stale
    assert second.outcomes == (Deferred(Reply(421, "4.4.2 idle too long"), "mail"),)
    assert server.commands.count("MAIL") == 1


async def test_what_a_server_says_between_two_letters_refuses_neither() -> None:
    async with Scripted(on={"DOT": OK + b"554 5.0.0 enough\r\n"}).running() as server:
        upstream = await connected(server)
        first = await upstream.send(letter())
        second = await upstream.send(letter())
    assert isinstance(first.outcomes[0], Delivered)
    assert second.outcomes == (Deferred(Trouble("garbled", "the server spoke unasked: 554 5.0.0 enough"), "mail"),)
    assert second.stale


async def test_a_kept_connection_that_is_closed_is_as_if_not_tried() -> None:
    async with Scripted(on={"MAIL": [OK, Do.CLOSE]}).running() as server:
        upstream = await connected(server)
        await upstream.send(letter())
        second = await upstream.send(letter())
    assert second.stale
    assert isinstance(second.outcomes[0], Deferred)


async def test_a_kept_connection_that_answers_and_then_closes_was_tried() -> None:
    async with Scripted(on={"RCPT": [OK, Do.CLOSE]}, offers=ONE_BY_ONE).running() as server:
        upstream = await connected(server)
        await upstream.send(letter())
        second = await upstream.send(letter())
    assert second.fault is not None
    assert not second.stale


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    async with Scripted().running() as server:
        upstream = await connected(server)
        assert upstream.usable
        upstream.idle_since -= 61
        assert not upstream.usable
        await upstream.quit()


# Time


async def test_a_slow_server_is_no_stalled_one() -> None:
    text = (b"x" * 78 + b"\r\n") * 30_000
    timeouts = Timeouts(block=30, end_of_data=30)
    async with Scripted(slow=0.002, keep=False).running() as server:
        came, _ = await sent(server, letter(text=text), timeouts)
    assert isinstance(came.outcomes[0], Delivered)
    assert server.octets == len(text) + 3


async def test_a_server_that_takes_nothing_more_is_left() -> None:
    async with Scripted(on={"TEXT": Do.STALL}).running() as server:
        upstream = await connected(server, SHORT)
        came = await upstream.send(Letter("a@x.com", ("b@x.com",), endless))
    assert came.outcomes == (Deferred(Trouble("timeout", "the server took nothing more for 0.2 seconds"), "text"),)


@pytest.mark.parametrize(("verb", "kind"), [("RCPT", Deferred), ("DOT", Unknown)])
async def test_a_letter_has_a_time_in_all(verb: str, kind: type) -> None:
    async with Scripted(on={verb: Do.STALL}).running() as server:
        came, upstream = await sent(server, timeouts=Timeouts(letter=0.2))
    assert isinstance(came.outcomes[0], kind)
    assert came.outcomes[0].said == Trouble("timeout", "the letter was not through after 0.2 seconds")  # type: ignore[union-attr]
    assert not upstream.usable


# Getting there


async def test_the_first_address_that_answers_is_taken() -> None:
    async with Scripted().running() as server:
        place = Place("mail.example", server.port, "none", None, "relay", addresses=("127.0.0.2", "127.0.0.1"))
        upstream = await Upstream.connect(place, None, QUICK, Record())
        assert isinstance(upstream, Upstream)
        await upstream.quit()


async def test_a_place_that_cannot_be_reached_is_told_in_words() -> None:
    place = Place("mail.example", 1, "none", None, "relay", addresses=("127.0.0.1",))
    assert await Upstream.connect(place, None, QUICK, Record()) == Fault(
        "connect",
        Trouble("nobody-listens", "mail.example:1 could not be reached (127.0.0.1:1: Connection refused)"),
    )


async def test_a_name_that_is_none_is_told_in_words() -> None:
    fault = await Upstream.connect(Place("no\u00ad..such", 25, "none", None, "relay"), None, QUICK, Record())
    assert isinstance(fault, Fault)
    assert fault.stage == "connect"


async def test_a_server_that_knows_no_ehlo_is_greeted_the_old_way() -> None:
    async with Scripted(on={"EHLO": b"502 5.5.1 what\r\n"}).running() as server:
        came, _ = await sent(server)
    assert isinstance(came.outcomes[0], Delivered)
    assert server.commands[:3] == ["EHLO", "HELO", "MAIL"]
