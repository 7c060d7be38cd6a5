"""What can be reached, and what stands in between: `check` against real servers on loopback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from relayprobe.check import ports
from relayprobe.check.run import run_object
from relayprobe.wire.events import TlsUp
from tests.check.places import (
    MX,
    SUBMISSION,
    ZONE,
    Change,
    Office365,
    dropping,
    in_between,
    looked,
    office_365,
    own_tls,
    refusing,
    stalling,
    verdict,
)
from tests.clients.listening import SETTINGS


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office365]:
    with office_365(tmp_path_factory.mktemp("office"), SETTINGS) as there:
        yield there


async def test_an_open_site(office: Office365) -> None:
    found = await looked(office.asked())
    assert {one.mode: one.works for one in found.verdicts} == {
        "submission": True,
        "direct-send": True,
        "connector": True,
    }
    for place in ("submission", "mx"):
        for aspect in ("port", "greeting", "starttls", "tls"):
            assert found.check(f"{aspect}:{place}:ipv4").status == "ok"
    tls = found.check("tls:submission:ipv4")
    assert re.search(r"TLSv1\.[23], \S+; the certificate is made out to that name", tls.says)
    assert tls.seconds > 0
    assert found.check("port:submission:ipv6").says == f"{SUBMISSION} has no IPv6 address"
    assert found.addresses == ("127.0.0.1",)
    assert [list(one.seconds) for one in found.heard if one.connected] == [
        ["connect", "banner", "ehlo", "tls", "ehlo-again"]
    ] * 2
    thing = run_object(found, 0.0)
    assert {one["place"] for one in thing["dialogues"]} == {"submission", "mx"}
    assert sum(isinstance(event, TlsUp) for one in found.heard for event in one.events) == 2


@pytest.mark.parametrize(
    ("port", "found_as", "says"),
    [
        (dropping, "timeout", "something on the way drops the connection"),
        (lambda: nullcontext(refusing()), "refused", "refuses connections over IPv4"),
        (stalling, "silent", "takes the connection and then says nothing"),
    ],
)
async def test_a_port_that_leads_nowhere(
    office: Office365, port: Callable[[], AbstractContextManager[int]], found_as: str, says: str
) -> None:
    with port() as number:
        found = await looked(office.asked(submission=(SUBMISSION, number), patience=0.5))
    checked = next(one for one in found.checks if one.observed.get("found") == found_as)
    assert says in checked.says
    assert checked.blocks == ("submission",)
    assert (verdict(found, "submission"), verdict(found, "direct-send")) == (False, True)
    assert checked.fix


def _stripped(line: bytes) -> bytes:
    return line.replace(b"250-STARTTLS\r\n", b"")


def _crossed_out(line: bytes) -> bytes:
    return line.replace(b"STARTTLS", b"XXXXXXXA")


def _starred(line: bytes) -> bytes:
    return b"220 " + b"*" * 60 + b"\r\n" if b"ready at" in line else line


def _foreign(line: bytes) -> bytes:
    return b"220 mail.example ESMTP Postfix\r\n" if b"ready at" in line else line


async def test_another_server_of_microsofts_make(office: Office365) -> None:
    """An Exchange server in the house greets nearly alike: it is not taken for Office 365."""

    def change(line: bytes) -> bytes:
        return b"220 mail01.corp.local " + line.split(b" ", 2)[2] if b"ready at" in line else line

    async with (
        in_between(office.submission.port, change) as at_submission,
        in_between(office.mx.port, lambda line: change(_stripped(line))) as at_mx,
    ):
        found = await looked(office.asked(submission=(SUBMISSION, at_submission), mx=(MX, at_mx)))
    for place in ("submission", "mx"):
        greeting = found.check(f"greeting:{place}:ipv4")
        assert (greeting.status, greeting.observed["found"]) == ("warning", "alike")
        assert "an Exchange server in your own house" in greeting.fix
    assert [one.works for one in found.verdicts if one.mode != "submission"] == [None, None]


@pytest.mark.parametrize(
    ("change", "id", "found_as", "says", "submission", "direct"),
    [
        (_stripped, "starttls", "starttls-stripped", "something in between takes it out", False, True),
        (_crossed_out, "starttls", "starttls-stripped", "there is XXXXXXXA instead", False, True),
        (_starred, "greeting", "greeting-starred", "written over with stars", True, True),
        (_foreign, "greeting", "foreign-greeting", "another server answers: 220 mail.example", True, True),
        (lambda line: _foreign(_stripped(line)), "greeting", "foreign-greeting", "another server", False, False),
        (
            lambda line: line.replace(b"220 2.0.0 SMTP server ready", b"454 4.7.0 TLS not available"),
            "starttls",
            "starttls-refused",
            "refuses it: 454 4.7.0 TLS not available",
            False,
            True,
        ),
    ],
)
async def test_something_in_between(
    office: Office365, change: Change, id: str, found_as: str, says: str, submission: bool, direct: bool
) -> None:
    async with (
        in_between(office.submission.port, change) as at_submission,
        in_between(office.mx.port, change) as at_mx,
    ):
        found = await looked(office.asked(submission=(SUBMISSION, at_submission), mx=(MX, at_mx)))
    checked = found.check(f"{id}:submission:ipv4")
    assert (checked.status, checked.observed["found"]) == ("warning" if submission else "failed", found_as)
    assert says in checked.says
    assert "inspect esmtp" in checked.fix
    assert (verdict(found, "submission"), verdict(found, "direct-send")) == (submission, direct)


async def test_tls_that_is_opened_on_the_way(office: Office365, tmp_path: Path) -> None:
    context = own_tls(tmp_path / "proxy", SUBMISSION)
    async with in_between(office.submission.port, lambda line: line, context) as number:
        found = await looked(office.asked(submission=(SUBMISSION, number)))
    checked = found.check("tls:submission:ipv4")
    assert checked.observed["found"] == "tls-intercepted"
    assert "issued by relayprobe local authority, whom this machine does not trust" in checked.says
    assert (checked.status, checked.blocks) == ("failed", ("submission",))


async def test_a_certificate_for_another_name(office: Office365) -> None:
    found = await looked(
        office.asked(submission=("smtp.example", office.submission.port)), {**ZONE, "smtp.example": ZONE[MX]}
    )
    checked = found.check("tls:submission:ipv4")
    assert checked.observed["found"] == "certificate-name"
    assert f"another name ({SUBMISSION}" in checked.says


async def test_port_25_closed_with_587_open_is_no_block(office: Office365) -> None:
    heard = (await looked(office.asked())).heard
    closed = (await looked(office.asked(submission=(SUBMISSION, refusing())))).heard
    for one in closed:
        one.target = replace(one.target, place="submission-25") if one.target.place == "submission" else one.target
    checks = ports.judged([*heard, *closed])
    checked = next(one for one in checks if one.id == "port:submission-25:ipv4")
    assert (checked.status, checked.blocks, checked.fix) == ("warning", (), "nothing, where devices use port 587")


async def test_a_name_that_the_resolver_denies(office: Office365) -> None:
    found = await looked(office.asked(), {name: records for name, records in ZONE.items() if name != SUBMISSION})
    assert found.check("port:submission:ipv4").says == f"the resolver here says that there is no {SUBMISSION}"
    assert verdict(found, "submission") is False


async def test_the_mx_host_is_looked_up(office: Office365) -> None:
    found = await looked(office.asked(mx=None))
    assert found.mx == MX  # port 25 of loopback, where nobody listens
    assert found.check("port:mx:ipv4").status == "failed"


async def test_where_everything_is_silent_no_firewall_is_blamed(office: Office365) -> None:
    """All questions and connections are dropped: that is no proof of anything but of a network that is not there."""
    silent = dict.fromkeys(
        (*ZONE, "_dmarc.contoso.com", *(f"selector{n}._domainkey.contoso.com" for n in (1, 2))), "silent"
    )
    with dropping() as number:
        places = ("127.0.0.1", number)
        found = await looked(office.asked(submission=places, mx=places, patience=0.3, deadline=5.0), silent)
    assert not found.network
    assert found.seconds <= 5.0
    others = [one for one in found.checks if one.id != "network" and not one.id.startswith("local:")]
    assert {one.status for one in others} == {"unknown"}
    assert not any(one.fix or one.blocks or one.risks or "drops" in one.says for one in others)
    assert {one.works for one in found.verdicts} == {None}


async def test_ipv6_alone_that_leads_nowhere_blocks_nothing(office: Office365) -> None:
    found = await looked(office.asked(), {**ZONE, SUBMISSION: [("A", "127.0.0.1"), ("AAAA", "::1")]})
    checked = found.check("port:submission:ipv6")
    assert (checked.observed["address"], checked.observed["found"]) == ("::1", "refused")
    assert (checked.status, checked.blocks, checked.risks) == ("warning", (), ("submission",))
    assert verdict(found, "submission") is True
