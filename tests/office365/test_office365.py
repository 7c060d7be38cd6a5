"""What is said of Office 365: dated, with a source, and in the form in which it crosses the wire."""

from __future__ import annotations

import re

import pytest

from relayprobe.office365 import endpoints, replies, sources, tls
from relayprobe.office365.modes import MODES
from relayprobe.office365.replies import ANSWERS, Answer
from relayprobe.rules import RULES
from relayprobe.wire.tls_names import suite_name


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.code} {answer.enhanced}")
def test_a_reply_is_dated_and_has_a_source(answer: Answer) -> None:
    assert re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", answer.seen)
    assert answer.source
    assert answer.meaning.endswith(".")
    assert re.fullmatch(r"[245]\d\d [245]\.\d{1,3}\.\d{1,3} \S.*", answer.line)
    assert answer.line.isascii()
    assert "[" not in answer.text  # the server's name and the time are its own


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
