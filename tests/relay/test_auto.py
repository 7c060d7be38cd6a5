"""The advice chooses among the routes: which one, why, and which were passed over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relayprobe.advice.table import ROWS, TERMS
from relayprobe.office365.modes import WAYS
from relayprobe.relay.auto import Candidate, Choice, choose
from relayprobe.report.text import WAY_NAMES
from relayprobe.wire.session import Session, Site, session_of
from tests.rules.written import HERE, dialogues, read
from tests.transcript import events, said

BOX = "relay@contoso.com"
SMART = Candidate("smart", "smart-host")
DIRECT = Candidate("direct", "direct-send")
DIRECT_AS_BOX = Candidate("direct-as-box", "direct-send", mailbox=BOX)
CONNECTOR = Candidate("connector", "connector")
HVE = Candidate("hve", "high-volume-email", mailbox="hve@contoso.com")
ACS = Candidate("acs", "azure-communication-services", mailbox=BOX)
OFFICE = Candidate("office", "submission", mailbox=BOX)
OAUTH = Candidate("oauth", "submission-oauth", mailbox=BOX)

IN, OUT = "anna@contoso.com", "customer@fabrikam.com"
ME, FOREIGN = "scanner@contoso.com", "npif65e56@email.com"
SITE = {"domains": ("contoso.com",)}


def stopped(candidate: Candidate) -> Candidate:
    return replace(candidate, stopped="535 the password is wrong")


def held(name: str) -> Session:
    return read(HERE / f"{name}.txt").last()[1]


def chosen(
    name: str,
    *candidates: Candidate,
    to: tuple[str, ...] = (IN,),
    sender: str = ME,
    size: int = 1000,
    **site: Any,
) -> Choice:
    told = replace(Site(), **(SITE | site))
    return choose(held(name), sender, to, size, candidates, told)


@pytest.mark.parametrize(
    ("name", "candidates", "rest", "route", "passed"),
    [
        # the advised way, wherever it stands; what the relay logs in with is its own affair
        ("control-clean-submission", [SMART, DIRECT, OFFICE], {}, "office", []),
        ("control-clean-submission", [SMART, OAUTH, OFFICE], {}, "oauth", []),
        ("control-clean-submission", [SMART, OFFICE, OAUTH], {}, "office", []),
        ("control-oauth", [SMART, OFFICE], {}, "office", []),
        ("no-tls", [OFFICE, DIRECT], {}, "direct", []),
        ("control-connector", [DIRECT, OFFICE, CONNECTOR], {"connector": True, "to": (OUT,)}, "connector", []),
        ("control-clean-submission", [OFFICE, HVE], {"basic_auth": False}, "hve", []),
        # the device's own faults do not count: TLS, login, dialogue
        ("no-tls", [OFFICE], {}, "office", []),
        ("tls10-11-only", [OFFICE], {}, "office", []),
        ("sslv3-only", [OFFICE], {}, "office", []),
        ("cert-rejected-by-client", [OFFICE], {}, "office", []),
        ("no-auth", [OFFICE], {}, "office", []),
        ("auth-wrong-password", [OFFICE], {}, "office", []),
        ("bare-lf", [OFFICE], {}, "office", []),
        ("end-of-data-lf-only", [SMART, OFFICE], {}, "smart", []),  # no way is advised: the first
        ("mail-from-not-auth-user", [OFFICE], {}, "office", []),
        ("mail-from-empty", [CONNECTOR], {"sender": "", "connector": True}, "connector", []),
        # recipients
        ("no-tls", [DIRECT, OFFICE], {"to": (OUT,)}, "office", ["direct"]),
        ("no-tls", [DIRECT, OFFICE], {"to": (IN, OUT)}, "office", ["direct"]),
        ("no-tls", [DIRECT, OFFICE], {"to": ("Anna@CONTOSO.com",)}, "direct", []),
        ("no-tls", [DIRECT, OFFICE], {"to": ("root",)}, "direct", []),
        ("control-clean-submission", [HVE, SMART], {"to": (OUT,)}, "smart", ["hve"]),
        ("control-clean-submission", [HVE, SMART], {"to": (IN,)}, "hve", []),
        ("control-clean-submission", [HVE, ACS], {"to": (OUT,)}, "acs", ["hve"]),
        # the sender
        ("no-tls", [DIRECT, OFFICE], {"sender": FOREIGN}, "office", ["direct"]),
        ("no-tls", [DIRECT_AS_BOX, OFFICE], {"sender": FOREIGN}, "direct-as-box", []),
        ("no-tls", [DIRECT, OFFICE], {"sender": "scanner"}, "office", ["direct"]),
        ("no-tls", [DIRECT, OFFICE], {"sender": "scanner@printer.local", "domains": ()}, "office", ["direct"]),
        ("control-connector", [CONNECTOR, SMART], {"sender": FOREIGN, "connector": True}, "smart", ["connector"]),
        # the size
        ("control-clean-submission", [HVE, SMART], {"size": 10_000_000}, "hve", []),
        ("control-clean-submission", [HVE, SMART], {"size": 10_000_001}, "smart", ["hve"]),
        ("control-clean-submission", [ACS, SMART], {"size": 10_000_001}, "smart", ["acs"]),
        ("control-clean-submission", [replace(OFFICE, largest=999), SMART], {}, "smart", ["office"]),
        ("control-clean-submission", [replace(OFFICE, largest=1000), SMART], {}, "office", []),
        ("control-clean-submission", [replace(SMART, largest=999), HVE], {}, "hve", ["smart"]),
        # what was told of the site
        ("no-tls", [DIRECT, SMART], {"reject_direct_send": True}, "smart", ["direct"]),
        ("control-clean-submission", [OFFICE, OAUTH], {"basic_auth": False}, "oauth", ["office"]),
        ("control-clean-submission", [OAUTH, OFFICE], {"oauth": False}, "office", ["oauth"]),
        ("control-clean-submission", [HVE, SMART], {"hve": False}, "smart", ["hve"]),
        ("control-clean-submission", [ACS, SMART], {"acs": False}, "smart", ["acs"]),
        ("no-tls", [DIRECT, OFFICE], {"blocked_ports": (25,)}, "office", []),  # the advice knows it already
        ("control-clean-submission", [OFFICE, SMART], {"blocked_ports": (587,)}, "smart", ["office"]),
        ("control-clean-submission", [DIRECT, SMART], {"blocked_ports": (25,)}, "smart", ["direct"]),
        # no connector was told of, or no fixed address: not while another route is there
        ("control-connector", [CONNECTOR, OFFICE], {}, "office", ["connector"]),
        ("control-connector", [CONNECTOR], {}, "connector", []),
        ("control-connector", [CONNECTOR], {"connector": True, "static_ip": False}, "connector", []),
        ("control-connector", [CONNECTOR, SMART], {"connector": True, "static_ip": False}, "smart", ["connector"]),
        # a stopped route: not while another is there, and after one that is only in doubt
        ("control-clean-submission", [stopped(OFFICE), SMART], {}, "smart", ["office"]),
        ("control-clean-submission", [stopped(OFFICE)], {}, "office", []),
        ("control-clean-submission", [stopped(OFFICE), DIRECT], {"to": (OUT,)}, "office", []),
        ("control-clean-submission", [stopped(OFFICE), CONNECTOR], {}, "connector", ["office"]),
        # none
        ("no-tls", [DIRECT], {"to": (OUT,)}, None, ["direct"]),
        ("no-tls", [DIRECT, HVE], {"to": (OUT,)}, None, ["direct", "hve"]),
        ("no-tls", [], {}, None, []),
    ],
)
def test_a_route_is_chosen(
    name: str, candidates: list[Candidate], rest: dict[str, Any], route: str | None, passed: list[str]
) -> None:
    choice = chosen(name, *candidates, **rest)
    assert choice.name == route, choice
    assert [name for name, _ in choice.passed_over] == passed
    for text in (choice.because, *(why for _, why in choice.passed_over)):
        assert text.endswith((".", ".)"))
        assert text[0].isupper() or text.startswith("SMTP")
        assert "  " not in text


def test_the_words() -> None:
    choice = chosen("no-tls", DIRECT, OFFICE, to=(OUT,))
    assert (
        "Mail goes to others than your own people, whom Direct Send does not reach."
        in dict(choice.passed_over)["direct"]
    )
    choice = chosen("no-tls", replace(DIRECT, name="mx"), OFFICE, sender=FOREIGN)
    assert choice.because == (
        "The diagnosis advises direct send (port 25, your own domain only), but mx does not take this mail. The sender "
        "is in none of your accepted domains, so Office 365 takes its mail in no way. Its next choice is client "
        "submission (port 587, with a login), and this route is that."
    )
    choice = chosen("control-clean-submission", stopped(OFFICE))
    assert choice.because.endswith("The route is stopped at the moment: 535 the password is wrong.")
    assert "No other route takes this mail" in choice.because
    choice = chosen("control-clean-submission", replace(SMART, largest=10_000_000), size=12_400_000)
    assert choice.name is None
    assert "smart: The mail has 12,400,000 bytes, and this route takes 10,000,000 at the most." in choice.because
    assert "[[route]]" in chosen("no-tls").because
    assert chosen("bare-lf", SMART).because.startswith("The device can send through a relay only")


def test_where_no_domains_were_told_those_of_the_mailboxes_are_the_own_ones() -> None:
    assert chosen("no-tls", DIRECT, OFFICE, domains=()).name == "direct"
    choice = chosen("no-tls", DIRECT_AS_BOX, SMART, to=(OUT,), domains=())
    assert choice.name == "smart"
    assert "only contoso.com counts as yours" in dict(choice.passed_over)["direct-as-box"]
    # the device's own domain is another than the mailbox's
    elsewhere = replace(DIRECT, mailbox="relay@fabrikam.com")
    assert chosen("no-tls", elsewhere, SMART, to=(OUT,), domains=()).name == "direct"


TWO = """
S: 220 probe
C: EHLO mfp01.contoso.com
S: 250 probe
C: MAIL FROM:<scanner@contoso.com>
S: 250 OK
C: RCPT TO:<anna@contoso.com>
S: 250 OK
C: DATA
S: 354 go on
C: Subject: one
C:
C: .
S: 250 OK
C: MAIL FROM:<scanner@contoso.com>
S: 250 OK
C: RCPT TO:<customer@fabrikam.com>
S: 250 OK
C: DATA
S: 354 go on
C: Subject: two
C:
C: .
S: 250 OK
C: QUIT
S: 221 bye
"""


def test_each_mail_of_a_session_is_judged_by_itself() -> None:
    session = session_of(events(said(TWO)))
    assert len(session.envelopes) == 2
    site = Site(domains=("contoso.com",))
    inside = choose(session, ME, [IN], 100, [OFFICE, DIRECT], site)
    outside = choose(session, ME, [OUT], 100, [DIRECT, OFFICE], site)
    assert (inside.name, outside.name) == ("direct", "office")
    assert "advises direct send" in inside.because
    assert "advises client submission" in outside.because
    rewritten = choose(session, BOX, [IN], 100, [OFFICE, DIRECT], site)  # no envelope of the device's is like it
    assert rewritten.name == "office"


@pytest.mark.parametrize("name", [written.name for written in dialogues()])
def test_a_device_with_any_fault_gets_its_mail_through_client_submission(name: str) -> None:
    choice = chosen(name, OFFICE, to=(IN, OUT), sender=FOREIGN, size=20_000_000)
    assert choice.name == "office"


def test_every_way_has_a_name_and_every_reason_is_a_sentence() -> None:
    assert set(WAYS) <= set(WAY_NAMES)
    assert all(row.says.endswith(".") for row in (*ROWS, *TERMS) if row.says)
