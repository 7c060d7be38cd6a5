"""Where mail of a domain goes, asked of a real name server."""

from __future__ import annotations

import pytest

from relayprobe.check.mx import judged, mail_exchangers
from relayprobe.check.names import domain_checks
from relayprobe.check.resolver import Resolver
from tests.check.name_server import Zone, name_server

CLASSIC = "contoso-com.mail.protection.outlook.com"
HERE = [("A", "192.0.2.1")]


@pytest.mark.parametrize(
    ("zone", "status", "says", "kind"),
    [
        ({"contoso.com": [("MX", (0, CLASSIC))], CLASSIC: HERE}, "ok", f"goes to {CLASSIC}", "ok"),
        ({"contoso.com": [("MX", (0, "contoso-com.e-v1.mx.microsoft"))], "contoso-com.e-v1.mx.microsoft": HERE},
         "ok", "goes to contoso-com.e-v1", "ok"),
        ({"contoso.com": [("MX", (0, "x.protection.office365.us"))], "x.protection.office365.us": HERE},
         "ok", "goes to x.protection", "ok"),
        ({"contoso.com": [("MX", (0, "other-com.mail.protection.outlook.com"))],
          "other-com.mail.protection.outlook.com": HERE}, "ok", "goes to other-com", "ok"),
        ({"contoso.com": [("MX", (0, "gate.example"))], "gate.example": HERE, CLASSIC: HERE},
         "ok", "goes to gate.example", "warning"),
        ({"contoso.com": [("MX", (0, "."))]}, "failed", "takes no mail", None),
        ({"contoso.com": HERE}, "failed", "has no MX record", None),
        ({}, "failed", "does not exist", None),
        ({"contoso.com": [("MX", (0, "192.0.2.7"))]}, "failed", "the address 192.0.2.7 where a name", None),
        ({"contoso.com": [("MX", (0, "mail.global.frontbridge.com"))]}, "failed", "no longer uses", None),
        ({"contoso.com": [("MX", (0, CLASSIC))]}, "failed", "has no address", "ok"),
        ({"contoso.com": "servfail"}, "unknown", "SERVFAIL", None),
        ({"contoso.com": "silent"}, "unknown", "no answer came within", None),
    ],
)  # fmt: skip
async def test_mx(zone: Zone, status: str, says: str, kind: str | None) -> None:
    with name_server(zone) as server:
        resolver = Resolver([server.address], timeout=1)
        checks = {one.id: one for one in judged(await mail_exchangers(resolver, "contoso.com"))}
        await resolver.close()
    assert (checks["mx"].status, says in checks["mx"].says) == (status, True), checks["mx"].says
    assert (checks["mx-kind"].status if "mx-kind" in checks else None) == kind


async def test_a_gateway_in_front_and_the_guess_is_called_one() -> None:
    zone: Zone = {"contoso.com": [("MX", (0, "gate.example"))], "gate.example": HERE, CLASSIC: HERE}
    with name_server(zone) as server:
        checks = await domain_checks(Resolver([server.address]), "contoso.com")
    fix = next(one.fix for one in checks if one.id == "mx-kind")
    assert CLASSIC in fix
    assert "a guess" in fix


async def test_the_same_question_is_asked_once_and_a_long_answer_comes_over_tcp() -> None:
    with name_server({"long.example": [("TXT", "x" * 3000)]}) as server:
        resolver = Resolver([server.address])
        first, second = await resolver.ask("long.example", "TXT"), await resolver.ask("LONG.example.", "TXT")
    assert first.texts == second.texts == (b"x" * 3000,)
    assert len(server.asked) == 2  # UDP, cut off, then TCP


async def test_no_more_questions_than_the_most() -> None:
    with name_server({}) as server:
        resolver = Resolver([server.address], most=1)
        assert (await resolver.ask("a.example", "A")).outcome == "no-name"
        assert (await resolver.ask("b.example", "A")).outcome == "timeout"


async def test_a_resolver_that_says_it_cannot_is_there_all_the_same() -> None:
    with name_server({"contoso.com": "servfail"}) as server:
        resolver = Resolver([server.address], timeout=1)
        assert (await resolver.ask("contoso.com", "A")).outcome == "servfail"
        assert resolver.answered
        await resolver.close()
