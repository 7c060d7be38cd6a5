"""What is said of Office 365: dated, with a source, and in the form in which it crosses the wire."""

from __future__ import annotations

import re

import pytest

from relayprobe.office365 import endpoints, replies, sources, tls
from relayprobe.office365.modes import MODES
from relayprobe.office365.replies import ANSWERS, Answer
from relayprobe.rules import RULES
from relayprobe.wire.tls_names import suite_name

NAMES = {value: name for name, value in vars(replies).items() if isinstance(value, Answer)}
CODE = r"[45]\.\d{1,3}\.\d{1,3}"


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES.__getitem__)
def test_a_reply_has_a_source_and_a_way_out(answer: Answer) -> None:
    assert re.fullmatch(r"(20\d\d(-\d\d(-\d\d)?)?)?", answer.seen)
    assert answer.source
    assert answer.meaning.endswith(".")
    assert answer.fix.endswith((".", "/"))
    assert answer.enhanced is None or re.fullmatch(CODE, answer.enhanced)
    assert answer.until is None or re.fullmatch(CODE, answer.until)
    assert answer.line.isascii()
    assert "[" not in answer.text  # the server's name and the time are its own
    assert answer.modes
    assert answer.stage not in answer.also


def test_a_fault_of_the_setup_is_not_taken_for_a_passing_one() -> None:
    """4xx: keep and try again, but for what no waiting mends; 535 and 530 are never the mail's fault."""
    temporary = {answer for answer in ANSWERS if (answer.enhanced or str(answer.code)).startswith("4")}
    for answer in temporary:
        assert answer.retry != "never" or answer.stage == "later", answer.line
    configured = {replies.STARTTLS_REQUIRED, replies.TLS_TOO_OLD}
    assert all(answer.retry == "configuration" for answer in configured)
    for answer in ANSWERS:
        if answer.code in (530, 535) or answer is replies.BASIC_AUTH_RETIRED:
            assert answer.retry == "hold", answer.line
        if answer.text.startswith("Sender throttled"):
            assert answer.retry == "stop-hours", answer.line


def test_a_reply_is_in_the_table_once() -> None:
    assert len(set(ANSWERS)) == len(ANSWERS) == len(NAMES)
    assert len({(answer.code, answer.enhanced, answer.text) for answer in ANSWERS}) == len(ANSWERS)


def test_a_reply_of_which_only_the_number_is_known() -> None:
    assert replies.BAD_HELO.line == "5.7.506 Access Denied, Bad HELO"
    assert replies.BANNED_ADDRESS.line == "550 5.7.606 to 5.7.649 Access denied, banned sending IP"
    assert (replies.IPV6_REFUSED.line, replies.IPV6_REFUSED.dated) == ("5.7.510", "seen 2024-03-08")
    assert replies.MESSAGE_TOO_LARGE.dated == "from a source without a date"
    assert replies.SPF_VIOLATION.later
    assert not replies.STARTTLS_REQUIRED.later


def test_a_reply_as_it_stands_in_a_dialogue() -> None:
    assert replies.STARTTLS_REQUIRED.line == "451 5.7.3 STARTTLS is required to send mail"
    assert replies.RELAY_DENIED.line == "550 5.7.64 TenantAttribution; Relay Access Denied"


def test_what_rules_answer_with_is_in_the_table() -> None:
    for rule in RULES.values():
        assert set(rule.answer.values()) <= set(ANSWERS), rule.id


def test_there_is_an_endpoint_for_each_mode_and_no_mx_host_is_made_up() -> None:
    assert tuple(endpoints.ENDPOINTS) == MODES
    assert endpoints.ENDPOINTS["submission"].host == "smtp.office365.com"
    assert all(endpoints.ENDPOINTS[mode].host is None for mode in ("direct-send", "connector"))
    assert "December 2026" in endpoints.BASIC_AUTH_ENDS.text


def test_cipher_suites_have_the_numbers_that_belong_to_their_names() -> None:
    for number, name in tls.SUITES.items():
        iana = suite_name(number).removeprefix("TLS_").replace("_WITH_", "-").replace("_", "-").replace("AES-", "AES")
        wanted = iana.removeprefix("RSA-").replace("-CBC-", "-").removesuffix("-SHA256") + (
            "-SHA256" if iana.endswith("-SHA256") else ""
        )
        assert wanted == name
    for number, name in tls.SUITES_TLS13.items():
        assert suite_name(number) == name


def test_every_source_has_a_date() -> None:
    for name, text in vars(sources).items():
        if name.isupper():
            assert re.search(r"20\d\d", text), name
