"""The imitation of Exchange Online: each refusal at its stage and in its words, and what is right goes through."""

from __future__ import annotations

import asyncio
import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relayprobe.capture.answers import Login, Talk
from relayprobe.capture.imitation import REFUSED_LOGINS, Imitation, Tenant
from relayprobe.capture.tls import imitated_context, own_certificate
from relayprobe.office365.modes import Mode
from tests.capture.conftest import PASSWORD, USER, Running
from tests.device import Script, play

SITE = ("contoso.com",)
SHAPE = r"\[\S+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 08DE[0-9A-F]{12}\]"
"""What stands at the end of a refusal: server, time, id."""

PASSAGES = {
    "GREET": ["S1: 220", "C: EHLO mfp01.contoso.com", "Sone: 250"],
    "TLS": ["C: STARTTLS", "S= 220 2.0.0 SMTP server ready", "T: starttls", "C: EHLO mfp01.contoso.com", "Sone: 250"],
    "AUTH": [
        "C: AUTH LOGIN",
        "S= 334 VXNlcm5hbWU6",
        "C: c2Nhbm5lckBjb250b3NvLmNvbQ==",
        "S= 334 UGFzc3dvcmQ6",
        "C: U2Nhbi0yMDI0IQ==",
    ],
    "LOGIN": ["M: GREET", "M: TLS", "M: AUTH", "S= 235 2.7.0 Authentication successful"],
    "ENVELOPE": [f"C: MAIL FROM:<{USER}>", "S= 250 2.1.0 Sender OK", "C: RCPT TO:<anna@contoso.com>", "S: 250 2.1.5"],
    "TEXT": ["C: DATA", "S: 354", f"C: From: {USER}", "C: Message-ID: <1@mfp>", "C:", "C: scan", "C: ."],
    "QUIT": ["C: QUIT", "S= 221 2.0.0 Service closing transmission channel"],
}


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, ssl.SSLContext]:
    """For the MX endpoint, and for client submission."""
    folder: Path = tmp_path_factory.mktemp("imitation")
    paths = own_certificate(folder, "relayprobe.local")
    return {True: imitated_context(*paths, "connector"), False: imitated_context(*paths, "submission")}


@pytest.fixture
def imitate(start: Any, contexts: dict[bool, ssl.SSLContext]) -> Any:
    async def begin(mode: Mode, pin: Any = None, **tenant: Any) -> Running:
        told = Tenant(**({"domains": SITE} | tenant))
        answers = Imitation("x", mode, told, accounts={USER: PASSWORD}, message_size=2**30)
        running: Running = await start(answers=answers, tls=contexts[mode != "submission"], imitate=mode, pin=pin)
        return running

    return begin


async def hold(running: Running, *steps: str) -> list[str]:
    """Hold a dialogue, and give what was answered in it, in words."""
    session = await running.play(play, Script("device", steps=list(steps)), PASSAGES, running.address, "sim")
    return [exchange.reply.text for exchange in session.exchanges if exchange.reply]


SUBMISSION = {
    "no greeting": ["S: 220", f"C: MAIL FROM:<{USER}>", "S: 503 5.5.2"],
    "a bad name": ["S: 220", "C: EHLO mfp01.", "S: 501 5.5.4", "C: HELO", "S: 501 5.5.4", "C: HELO a_b", "S: 250"],
    "MAIL in clear text": ["M: GREET", f"C: MAIL FROM:<{USER}>", "S: 451 5.7.3", "M: QUIT"],
    "MAIL after HELO": ["S: 220", "C: HELO mfp", "S: 250", f"C: MAIL FROM:<{USER}>", "S: 451 5.7.3"],
    "AUTH in clear text": ["M: GREET", "C: AUTH LOGIN", "S: 504 5.7.4", "M: QUIT"],
    "no greeting inside TLS": ["M: GREET", "C: STARTTLS", "S: 220", "T: starttls", "C: AUTH LOGIN", "S: 503 5.5.2"],
    "AUTH PLAIN": ["M: GREET", "M: TLS", "C: AUTH PLAIN AGEAYg==", "S: 504 5.7.4"],
    "AUTH CRAM-MD5, twice": ["M: GREET", "M: TLS", "C: AUTH CRAM-MD5", "S: 504", "C: AUTH CRAM-MD5", "S: 504 5.7.4"],
    "no login": ["M: GREET", "M: TLS", f"C: MAIL FROM:<{USER}>", "S: 530 5.7.57", "M: QUIT"],
    "STARTTLS inside TLS": ["M: GREET", "M: TLS", "C: STARTTLS", "S: 503"],
    "no brackets": ["M: LOGIN", f"C: MAIL FROM:{USER}", "S: 501 5.1.7"],
    "a display name": ["M: LOGIN", f"C: MAIL FROM:Scanner <{USER}>", "S: 501 5.1.7"],
    "a space behind the colon": ["M: LOGIN", f"C: MAIL FROM: <{USER}>", "S: 250"],
    "letters beyond ASCII": ["M: LOGIN", "C~ MAIL FROM:<ty\\xc5\\x82@contoso.com>\\r\\n", "S: 501 5.1.7"],
    "too large": ["M: LOGIN", f"C: MAIL FROM:<{USER}> SIZE=157286401", "S: 552 5.3.4"],
    "no domain": ["M: LOGIN", f"C: MAIL FROM:<{USER}>", "S: 250", "C: RCPT TO:<root>", "S: 501 5.1.3"],
    "a list": ["M: LOGIN", f"C: MAIL FROM:<{USER}>", "S: 250", "C: RCPT TO:<a@b.c,d@e.f>", "S: 501 5.1.3"],
    "an address of the network": [
        "M: LOGIN",
        f"C: MAIL FROM:<{USER}>",
        "S: 250",
        "C: RCPT TO:<a@[10.0.0.1]>",
        "S: 501",
    ],
    "quotes": ["M: LOGIN", f"C: MAIL FROM:<{USER}>", "S: 250", "C: RCPT TO:<'a@b.c'>", "S: 501 5.1.3"],
    "too many": [
        "M: LOGIN",
        f"C: MAIL FROM:<{USER}>",
        "S: 250",
        "C*S 500 RCPT TO:<u{i}@b.cd> = 250",
        "C: RCPT TO:<one@b.cd>",
        "S: 452 4.5.3",
    ],
    "RCPT without MAIL": ["M: LOGIN", "C: RCPT TO:<a@b.c>", "S: 503"],
    "DATA without RCPT": ["M: LOGIN", f"C: MAIL FROM:<{USER}>", "S: 250", "C: DATA", "S: 503"],
    "DATA with a parameter": ["M: LOGIN", "M: ENVELOPE", "C: DATA BODY=8BITMIME", "S: 501 5.5.4"],
    "another sender": [
        "M: LOGIN",
        "C: MAIL FROM:<seller@contoso.com>",
        "S: 250",
        "C: RCPT TO:<anna@contoso.com>",
        "S: 250",
        "M: TEXT",
        "S: 554 5.2.252",
    ],
    "another From": ["M: LOGIN", "M: ENVELOPE", "C: DATA", "S: 354", "C: From: a@b.c", "C:", "C: .", "S: 554 5.2.252"],
    "no sender": [
        "M: LOGIN",
        "C: MAIL FROM:<>",
        "S: 250",
        "C: RCPT TO:<anna@contoso.com>",
        "S: 250",
        "M: TEXT",
        "S: 550 5.7.60",
    ],
    "an unknown command": ["S: 220", "C: U2Nhbi0yMDI0IQ==", "S: 500 5.3.3"],
    "an empty line": ["S: 220", "C:", "S: 500 5.3.3"],
    "telnet in front": ["S: 220", "C~ \\xff\\xfb\\x1fEHLO mfp\\r\\n", "S: 500 5.3.3", "C: EHLO mfp", "S: 250"],
    "an end between bare LF": ["M: LOGIN", "M: ENVELOPE", "C: DATA", "S: 354", "C~ a\\n.\\n", "S: none 1", "X: fin"],
    "TLS at once": ["T: hello min=1.0 max=1.2", "S: 220", "S: eof"],
    "an old handshake": [
        "M: GREET",
        "C: STARTTLS",
        "S: 220",
        "T: starttls max=1.0",
        "C: EHLO mfp01.contoso.com",
        "S: 421 4.7.66",
        "S: eof",
    ],
}


@pytest.mark.parametrize("steps", SUBMISSION.values(), ids=list(SUBMISSION))
async def test_client_submission_refuses(imitate: Any, steps: list[str]) -> None:
    await hold(await imitate("submission"), *steps)


async def test_a_correct_submission_goes_through(imitate: Any) -> None:
    running = await imitate("submission")
    said = await hold(running, "M: LOGIN", "M: ENVELOPE", "M: TEXT", "S: 250 2.0.0", "M: QUIT")
    assert re.fullmatch(r"250 2\.0\.0 OK <1@mfp> \[Hostname=\S+\]", said[-2])
    session = running.judged[0].session
    assert session.banner is not None
    assert re.fullmatch(
        r"220 \w+\.outlook\.office365\.com Microsoft ESMTP MAIL Service ready at \w{3}, \d\d \w{3} \d{4} "
        r"\d\d:\d\d:\d\d \+0000 \[08DE[0-9A-F]{12}\]",
        session.banner.text,
    )
    clear, secure = session.greetings
    common = ("SIZE", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
    assert set(clear.offers) == {*common, "STARTTLS"}
    assert set(secure.offers) == {*common, "AUTH"}
    assert secure.mechanisms == ("LOGIN", "XOAUTH2")
    assert clear.offers["SIZE"] == ("157286400",)
    assert [f.rule.id for f in running.judged[0].findings if f.severity != "note"] == []


async def test_refusals_are_signed_and_never_repeat_what_came(imitate: Any) -> None:
    running = await imitate("submission")
    said = await hold(running, "M: GREET", f"C: MAIL FROM:<{USER}>", "S: 451", f"C: {PASSWORD}", "S: 500", "M: QUIT")
    assert re.fullmatch(rf"451 5\.7\.3 STARTTLS is required to send mail {SHAPE}", said[1])
    assert re.fullmatch(rf"500 5\.3\.3 Unrecognized command 'unknown' {SHAPE}", said[2])


@pytest.mark.parametrize("why", REFUSED_LOGINS)
async def test_a_right_login_that_is_not_allowed(imitate: Any, why: str) -> None:
    running = await imitate("submission", smtp_auth=why)
    expected = REFUSED_LOGINS[why]  # type: ignore[index]
    said = await hold(
        running, "M: GREET", "M: TLS", "M: AUTH", f"S: {expected.code}", f"C: MAIL FROM:<{USER}>", "S: 530 5.7.57"
    )
    assert said[-2].startswith(expected.line)
    assert said[-1] == f"530 5.7.57 Client not authenticated to send mail. Error: {said[-2]}"


async def test_a_wrong_password(imitate: Any) -> None:
    running = await imitate("submission")
    wrong = [step.replace("U2Nhbi0yMDI0IQ==", "d3Jvbmc=") for step in PASSAGES["AUTH"]]
    said = await hold(running, "M: GREET", "M: TLS", *wrong, "S: 535 5.7.3", "M: QUIT")
    assert re.fullmatch(rf"535 5\.7\.3 Authentication unsuccessful {SHAPE}", said[-2])


async def test_send_as(imitate: Any) -> None:
    running = await imitate("submission", send_as={USER: ("Seller@contoso.com",)})
    mail = ["C: MAIL FROM:<seller@contoso.com>", "S: 250", "C: RCPT TO:<anna@contoso.com>", "S: 250", "M: TEXT"]
    await hold(running, "M: LOGIN", *mail, "S: 250 2.0.0", "M: QUIT")
    mail[0] = "C: MAIL FROM:<boss@contoso.com>"
    said = await hold(running, "M: LOGIN", *mail, "S: 554 5.2.252", "M: QUIT")
    assert said[-2].startswith(
        f"554 5.2.252 SendAsDenied; {USER} not allowed to send as boss@contoso.com; STOREDRV.Submission.Exception:"
        "SendAsDeniedException.MapiExceptionSendAsDenied"
    )


async def test_a_fourth_connection_of_a_mailbox_is_put_off_and_a_place_becomes_free_again(imitate: Any) -> None:
    running = await imitate("submission", connections=1)
    holding = asyncio.create_task(hold(running, "M: LOGIN", "M: ENVELOPE", "W: 1", "M: QUIT"))
    while not any(tap.smtp.talk.recipients for tap in running.listener._taps):  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    await asyncio.to_thread(
        play,
        Script("second", steps=["M: LOGIN", "M: ENVELOPE", "M: TEXT", "S: 432 4.3.2", "M: QUIT"]),
        PASSAGES,
        running.address,
        "sim",
    )
    await holding
    await running.session(1)
    await hold(running, "M: LOGIN", "M: ENVELOPE", "M: TEXT", "S: 250", "M: QUIT")


def test_beyond_so_many_messages_a_minute_each_waits_for_its_share() -> None:
    moment = [0.0]
    tenant = Tenant(messages_per_minute=3)
    imitation = Imitation(
        "x", "submission", tenant, accounts={}, message_size=1, clock=lambda: datetime.fromtimestamp(moment[0], UTC)
    )
    talk = Talk("10.0.0.1", user="Scanner@contoso.com")
    assert [imitation.hold(talk) for _ in range(5)] == [0.0, 0.0, 0.0, 20.0, 20.0]
    moment[0] = 200.0
    assert imitation.hold(talk) == 0.0
    assert imitation.hold(Talk("10.0.0.1", user="other@contoso.com")) == 0.0


def test_where_no_account_is_told_any_login_will_do_but_an_empty_one() -> None:
    imitation = Imitation("x", "submission", Tenant(), accounts={}, message_size=1)
    assert imitation.login(Login("LOGIN", "a@b.c", b"x"), Talk("h", tls="TLSv1.3")).startswith("235")
    assert imitation.login(Login("LOGIN", "a@b.c", b""), Talk("h")).startswith("535 5.7.3")
    assert imitation.login(Login("LOGIN", "", b"x"), Talk("h")).startswith("535 5.7.3")


def to(recipient: str, sender: str = USER) -> list[str]:
    return ["M: GREET", f"C: MAIL FROM:<{sender}>", "S: 250", f"C: RCPT TO:<{recipient}>"]


AT_MX: dict[str, tuple[Mode, dict[str, Any], list[str]]] = {
    "a login": ("direct-send", {}, ["M: GREET", "M: TLS", "C: AUTH LOGIN", "S: 504 5.7.4"]),
    "outside": ("direct-send", {}, [*to("eva@fabrikam.com"), "S: 550 5.7.64"]),
    "inside": ("direct-send", {}, [*to("anna@contoso.com"), "S: 250", "M: TEXT", "S: 250 2.6.0", "M: QUIT"]),
    "inside TLS": ("direct-send", {}, ["M: GREET", "M: TLS", "M: ENVELOPE", "M: TEXT", "S: 250 2.6.0", "M: QUIT"]),
    "nobody": ("direct-send", {"recipients": frozenset(("anna@contoso.com",))}, [*to("x@contoso.com"), "S: 550 5.4.1"]),
    "an empty sender": ("direct-send", {}, [*to("anna@contoso.com", ""), "S: 250"]),
    "switched off": ("direct-send", {"reject_direct_send": True}, [*to("anna@contoso.com"), "S: 550 5.7.68"]),
    "switched off, a stranger": (
        "direct-send",
        {"reject_direct_send": True},
        [*to("anna@contoso.com", "eva@fabrikam.com"), "S: 250"],
    ),
    "a connector": ("connector", {}, [*to("eva@fabrikam.com"), "S: 250", "M: TEXT", "S: 250 2.6.0"]),
    "a connector, switched off": ("connector", {"reject_direct_send": True}, [*to("eva@fabrikam.com"), "S: 250"]),
    "a connector, a stranger": ("connector", {}, [*to("eva@fabrikam.com", "otto@fabrikam.com"), "S: 550 5.7.64"]),
    "a connector, no sender": ("connector", {}, [*to("eva@fabrikam.com", ""), "S: 550 5.7.64"]),
    "no connector": ("connector", {"connector": False}, [*to("eva@fabrikam.com"), "S: 550 5.7.64"]),
    "no domain told": ("direct-send", {"domains": ()}, [*to("eva@fabrikam.com"), "S: 550 5.7.64"]),
    "no domain told, inside": ("direct-send", {"domains": ()}, [*to("anna@contoso.com"), "S: 250"]),
    "too many of one domain": (
        "direct-send",
        {},
        [
            "M: GREET",
            f"C: MAIL FROM:<{USER}>",
            "S: 250",
            "C*S 200 RCPT TO:<u{i}@contoso.com> = 250",
            "C: RCPT TO:<anna@contoso.com>",
            "S: 452 4.5.3",
        ],
    ),
    "TLS 1.0": (
        "direct-send",
        {},
        ["M: GREET", "C: STARTTLS", "S: 220", "T: hello min=1.0 max=1.0 ciphers=c014,0035", "S: tls-alert", "X: fin"],
    ),
    "old suites": (
        "direct-send",
        {},
        ["M: GREET", "C: STARTTLS", "S: 220", "T: hello max=1.2 ciphers=0035,002f,000a", "S: tls-alert", "X: fin"],
    ),
}


@pytest.mark.parametrize(("mode", "tenant", "steps"), AT_MX.values(), ids=list(AT_MX))
async def test_the_mx_endpoint(imitate: Any, mode: Mode, tenant: dict[str, Any], steps: list[str]) -> None:
    await hold(await imitate(mode, **tenant), *steps)


async def test_the_mx_endpoint_in_its_own_words(imitate: Any) -> None:
    running = await imitate("direct-send")
    said = await hold(running, *to("eva@fabrikam.com"), "S: 550", "M: QUIT")
    assert re.fullmatch(rf"550 5\.7\.64 TenantAttribution; Relay Access Denied {SHAPE}", said[2])
    session = running.judged[0].session
    assert session.banner is not None
    assert ".mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at " in session.banner.text
    assert "AUTH" not in session.greetings[0].offers


async def test_a_refused_login_waits(imitate: Any) -> None:
    running = await imitate("submission", delay=0.2)
    wrong = [step.replace("U2Nhbi0yMDI0IQ==", "d3Jvbmc=") for step in PASSAGES["AUTH"]]
    await hold(running, "M: GREET", "M: TLS", *wrong, "S: 535 5.7.3", "M: QUIT")
    attempt = running.judged[0].session.auths[0]
    assert attempt.reply is not None
    assert attempt.reply.at - running.judged[0].session.events[attempt.events[-1]].at >= 0.2


async def test_a_port_for_tls_serves_it_at_once(imitate: Any) -> None:
    running = await imitate("submission", pin="tls")
    await hold(running, "T: implicit", "S: 220", "C: EHLO mfp", "S: 250", "M: QUIT")
    assert "port-465-to-office365" in {finding.rule.id for finding in running.judged[0].findings}


async def test_who_talks_before_the_banner_is_noticed_although_nobody_waits(imitate: Any) -> None:
    running = await imitate("submission")
    for _ in range(3):
        session = await running.play(
            play,
            Script("early", steps=["C~ EHLO mfp\\r\\nQUIT\\r\\n", "S: 220", "S: 250", "S: 221"]),
            {},
            running.address,
        )
        assert session.banner is not None
    rules = [{finding.rule.id for finding in judged.findings} for judged in running.judged]
    assert any("talks-before-banner" in found for found in rules)
