"""The decision table, row by row: when it applies, what it leaves straight to Microsoft, and what a relay does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayprobe.advice.case import REPAIRED, Case, case_of
from relayprobe.advice.table import BLOCKS, ROWS, Outcome, decide, rows_for
from relayprobe.office365.modes import Way
from relayprobe.rules import RULES
from relayprobe.wire.visit import Visit
from tests.rules.written import HERE, read

PLAIN = Case()
"""TLS 1.2, AUTH LOGIN, one sender that is the login, to one's own people; passwords are taken."""


def rows(case: Case) -> list[int]:
    return [row.number for row in rows_for(case)]


def straight(case: Case) -> tuple[Way, ...]:
    return decide(case).straight


def relay(case: Case) -> str:
    return "; ".join(decide(case).relay)


def test_row_1_a_sender_in_no_accepted_domain_goes_nowhere() -> None:
    case = replace(PLAIN, accepted=False)
    assert 1 in rows(case)
    assert straight(case) == ()
    assert "Reply-To" in relay(case)


def test_row_2_a_device_that_signs_in_with_oauth_keeps_it() -> None:
    case = replace(PLAIN, login="XOAUTH2")
    assert rows(case) == [2]
    assert straight(case)[0] == "submission-oauth"
    assert "submission" not in straight(case)
    assert "passes it through" in relay(case)


def test_row_3_a_password_login_that_is_right_is_told_its_end() -> None:
    assert rows(PLAIN) == [3]
    assert straight(PLAIN)[0] == "submission"
    assert "December 2026" in decide(PLAIN).reasons[0]
    assert "OAuth" in relay(PLAIN)


def test_row_4_with_passwords_off_and_mail_inside_it_is_high_volume_email() -> None:
    case = replace(PLAIN, basic_auth=False)
    assert rows(case) == [4]
    assert straight(case)[0] == "high-volume-email"
    assert "submission" not in straight(case)


def test_row_5_with_passwords_off_and_mail_outside_it_is_a_connector_or_acs() -> None:
    case = replace(PLAIN, basic_auth=False, recipients="outside")
    assert rows(case) == [5]
    assert straight(case) == ("connector", "azure-communication-services")


def test_row_6_other_logins_leave_the_mx_endpoint() -> None:
    case = replace(PLAIN, login="other")
    assert rows(case) == [6]
    assert straight(case) == ("direct-send", "connector")
    assert relay(case).startswith("it takes the device's login")


@pytest.mark.parametrize("tls", ["none", "old"])
def test_row_7_without_new_tls_mail_inside_goes_by_direct_send(tls: str) -> None:
    case = replace(PLAIN, tls=tls, login="none")  # type: ignore[arg-type]
    assert rows(case) == [7]
    assert straight(case) == ("direct-send", "connector")
    assert straight(replace(case, reject_direct_send=True)) == ("connector",)


@pytest.mark.parametrize("tls", ["none", "old"])
def test_row_8_without_new_tls_mail_outside_goes_by_a_connector(tls: str) -> None:
    case = replace(PLAIN, tls=tls, login="none", recipients="outside")  # type: ignore[arg-type]
    assert rows(case) == [8]
    assert straight(case) == ("connector",)
    assert "OAuth" in relay(case)


def test_row_9_tls_at_once_goes_nowhere() -> None:
    case = replace(PLAIN, tls="implicit")
    assert rows(case) == [9]
    assert straight(case) == ()
    assert "listens with TLS at once" in relay(case)


def test_row_10_many_senders_inside_go_by_direct_send_or_a_connector() -> None:
    case = replace(PLAIN, senders="many")
    assert rows(case) == [10]
    assert straight(case) == ("direct-send", "connector")
    assert straight(replace(case, connector=True)) == ("connector", "direct-send")


def test_row_11_many_senders_outside_go_by_a_connector() -> None:
    case = replace(PLAIN, senders="many", recipients="outside")
    assert rows(case) == [11]
    assert straight(case) == ("connector",)


def test_row_12_an_empty_sender_goes_by_direct_send_only() -> None:
    case = replace(PLAIN, senders="empty", accepted=None)
    assert rows(case) == [12]
    assert straight(case) == ("direct-send",)


def test_row_13_without_a_fixed_address_there_is_no_connector() -> None:
    case = replace(PLAIN, static_ip=False)
    assert rows(case) == [3, 13]
    assert "connector" not in straight(case)
    assert "direct-send" in straight(case)


def test_row_14_without_port_25_it_is_587() -> None:
    case = replace(PLAIN, blocked_ports=(25,))
    assert rows(case) == [3, 14]
    assert straight(case) == ("submission", "high-volume-email", "azure-communication-services")
    assert straight(replace(PLAIN, blocked_ports=(587,))) == ("direct-send", "connector")


def test_row_15_more_than_10_mb_is_too_much_for_hve_and_acs() -> None:
    case = replace(PLAIN, size=10_000_001)
    assert rows(case) == [3, 15]
    assert straight(case) == ("submission", "direct-send", "connector")
    assert rows(replace(PLAIN, size=10_000_000)) == [3]


@pytest.mark.parametrize("busy", [{"in_a_minute": 31}, {"at_once": 4}])
def test_row_16_too_many_at_once_are_not_for_a_mailbox(busy: dict[str, int]) -> None:
    inside, outside = replace(PLAIN, **busy), replace(PLAIN, recipients="outside", **busy)  # type: ignore[arg-type]
    assert rows(inside) == [3, 16]
    assert "submission" not in straight(inside)
    assert "high-volume-email" in straight(inside)
    assert "azure-communication-services" in straight(outside)
    assert "high-volume-email" not in straight(outside)
    assert rows(replace(PLAIN, in_a_minute=30, at_once=3)) == [3]


def test_row_17_more_than_500_recipients_go_nowhere_and_more_than_50_not_to_hve() -> None:
    case = replace(PLAIN, most_recipients=501)
    assert rows(case) == [3, 17]
    assert straight(case) == ()
    assert "splits" in relay(case)
    assert "high-volume-email" not in straight(replace(PLAIN, most_recipients=51))
    assert "high-volume-email" in straight(replace(PLAIN, most_recipients=50))


def test_row_18_mistakes_are_put_right_by_a_relay() -> None:
    case = replace(PLAIN, faults=("bare-lf",))
    assert rows(case) == [3, 18]
    assert straight(case) == straight(PLAIN)
    assert "puts the faults right" in relay(case)
    assert set(RULES) >= REPAIRED


def test_row_19_another_from_header_is_not_for_a_login() -> None:
    case = replace(PLAIN, from_differs=True)
    assert rows(case) == [3, 19]
    assert straight(case) == ("direct-send", "connector")
    assert "DMARC" in relay(case)


def test_every_row_has_its_number_and_says_something() -> None:
    assert [row.number for row in ROWS] == list(range(1, 20))
    for row in ROWS:
        assert row.says.endswith(".")
        assert row.relay
        assert not row.relay.endswith(".")


@pytest.mark.parametrize(
    ("case", "left"),
    [
        (replace(PLAIN, in_a_minute=31, hve=False, acs=False, blocked_ports=(25,)), ()),  # 3, 14, 16
        (replace(PLAIN, tls="old", senders="empty", login="none", accepted=None), ("direct-send",)),  # 7, 12
        (replace(PLAIN, tls="old", login="none", static_ip=False, reject_direct_send=True), ()),  # 7, 13
        (replace(PLAIN, basic_auth=False, size=20_000_000), ("direct-send", "connector")),  # 4, 15
        (replace(PLAIN, basic_auth=False, recipients="outside", static_ip=False), ("azure-communication-services",)),
        (replace(PLAIN, login="XOAUTH2", recipients="outside"), ("submission-oauth", "connector")),
        (replace(PLAIN, login="XOAUTH2", blocked_ports=(587,)), ("direct-send", "connector")),  # 2, 587 closed
        (replace(PLAIN, login="XOAUTH2", oauth=False), ("direct-send", "connector", "high-volume-email")),
    ],
)
def test_rows_together(case: Case, left: tuple[Way, ...]) -> None:
    assert straight(case) == left


def test_without_oauth_in_the_organization_no_relay_is_said_to_use_it() -> None:
    for case in (PLAIN, replace(PLAIN, tls="old", recipients="outside"), replace(PLAIN, login="other")):
        assert "OAuth" in relay(case)
        assert "OAuth" not in relay(replace(case, oauth=False))
        assert "password" not in relay(replace(case, oauth=False, basic_auth=False, login="other"))


def test_every_block_that_is_no_rule_says_where_it_is_from() -> None:
    assert len({row.block for row in BLOCKS}) == len(BLOCKS)
    for row in BLOCKS:
        assert row.block not in RULES
        assert row.do.endswith(".")
        assert any(letter.isdigit() for letter in row.source), row.block  # a date stands in it


def test_what_a_setting_can_change_does_not_close_a_way_for_good() -> None:
    for case in (replace(PLAIN, accepted=False), replace(PLAIN, tls="implicit"), replace(PLAIN, from_differs=True)):
        assert decide(case).reachable[0] == "submission"
    assert decide(replace(PLAIN, tls="old", login="none")).reachable == ("direct-send", "connector")
    assert decide(replace(PLAIN, tls="none", login="none")).reachable[0] == "submission"


@pytest.mark.parametrize(
    ("name", "tls", "login", "senders", "recipients"),
    [
        ("control-clean-submission", "modern", "LOGIN", "login", "inside"),
        ("control-oauth", "modern", "XOAUTH2", "login", "inside"),
        ("control-direct-send", "none", "none", "login", "inside"),
        ("control-outside-recipient", "modern", "LOGIN", "login", "outside"),
        ("no-tls", "none", "none", "login", "inside"),
        ("tls10-11-only", "old", "none", "unknown", "unknown"),
        ("sslv3-only", "old", "none", "unknown", "unknown"),
        ("legacy-ciphers-only", "old", "none", "unknown", "unknown"),
        ("implicit-tls-on-starttls-port", "implicit", "none", "unknown", "unknown"),
        ("auth-plain-only", "modern", "other", "unknown", "unknown"),
        ("auth-plain-only-note", "modern", "LOGIN", "login", "inside"),
        ("auth-cram-md5-no-fallback", "modern", "other", "unknown", "unknown"),
        ("mail-from-empty", "modern", "LOGIN", "empty", "inside"),
        ("mail-from-not-auth-user", "modern", "LOGIN", "other", "inside"),
    ],
)
def test_a_case_is_what_the_dialogue_shows(name: str, tls: str, login: str, senders: str, recipients: str) -> None:
    visits, session = read(HERE / f"{name}.txt").last()
    case = case_of(session, visits)
    assert (case.tls, case.login, case.senders, case.recipients) == (tls, login, senders, recipients)


def test_a_case_counts_over_the_visits_of_the_device() -> None:
    _, session = read(HERE / "control-clean-submission.txt").last()
    at = session.started
    visits = [Visit(str(n), at - 1, None, mails=tuple(at - n for _ in range(10))) for n in range(4)]
    case = case_of(session, visits, ["bare-lf", "no-sni"])
    assert (case.in_a_minute, case.at_once, case.faults) == (41, 5, ("bare-lf",))
    assert isinstance(decide(case), Outcome)
