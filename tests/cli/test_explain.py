"""`relayprobe explain`, and `relayprobe rules --code`: what was pasted is explained, and never printed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from relayprobe.cli import main
from relayprobe.office365 import replies
from relayprobe.office365.recognise import LONGEST
from relayprobe.office365.replies import ANSWERS
from relayprobe.report.explained import RETRIES, STAGES
from tests.cli.kept import refusal, run

REFUSED = "550 5.7.64 TenantAttribution; Relay Access Denied [VE1EUR03FT012.eop-EUR03.prod.protection.outlook.com]"


def test_a_reply_is_explained() -> None:
    told = run("explain", REFUSED)
    assert told.exit_code == 0
    assert told.stdout.startswith("550 5.7.64 TenantAttribution; Relay Access Denied\n")
    said = " ".join(told.stdout.split())
    assert "When: after RCPT TO." in said
    assert "Where: direct send" in said
    assert "Do: Direct Send reaches recipients inside alone" in said
    assert "Trying again does not help until the setting is changed." in said
    assert "external-recipient-direct-send: " in said
    assert "Seen 2024-01-24; MicrosoftDocs/OfficeDocs-Exchange#2651" in said


def test_a_reply_as_json() -> None:
    told = json.loads(run("explain", "--json", REFUSED).stdout)
    assert told["recognised"] is True
    assert told["unknown"] == told["texts"] == told["codes"] == told["normal"] == []
    [answer] = told["answers"]
    assert answer["line"] == replies.RELAY_DENIED.line
    assert (answer["by"], answer["stages"], answer["modes"]) == ("words", ["rcpt"], ["direct-send", "connector"])
    assert answer["retry"] == "configuration"
    assert "external-recipient-direct-send" in answer["rules"]


def test_words_need_no_quotes_and_may_come_from_standard_input() -> None:
    assert run("explain", *REFUSED.split()).stdout == run("explain", REFUSED).stdout
    piped = CliRunner().invoke(
        main,
        ["explain", "-"],
        input=REFUSED.replace(" ", "\n") + "\n\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    )
    assert piped.stdout == run("explain", REFUSED).stdout
    assert run("explain", "-", "550", "5.7.64").exit_code == 0
    wide = CliRunner().invoke(main, ["explain", "-"], input=REFUSED.encode("utf-16"))  # what PowerShell writes
    assert wide.stdout == run("explain", REFUSED).stdout


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.line[:40])
def test_every_reply_can_be_told(answer: replies.Answer) -> None:
    told = run("explain", answer.line if answer is not replies.FOREIGN_BANNER else "220 ***")
    assert told.exit_code == 0
    said = " ".join(told.stdout.split())
    assert " ".join(answer.meaning.split()) in said
    assert answer.fix in said
    if answer.doubt:
        assert f"Not certain: {answer.doubt}." in said


def test_there_are_words_for_every_stage_and_every_way_to_try_again() -> None:
    assert {answer.retry for answer in ANSWERS} == set(RETRIES)
    assert {stage for answer in ANSWERS for stage in (answer.stage, *answer.also)} == set(STAGES)


def test_a_number_with_many_meanings() -> None:
    said = run("explain", "535 5.7.139").stdout
    assert said.startswith("5.7.139 has several meanings")
    assert "SmtpClientAuthentication is disabled for the Tenant" in said
    assert "basic authentication is disabled" in said


def test_a_number_alone_is_said_to_be_that() -> None:
    assert "Known by its number alone" in run("explain", "550 5.7.511").stdout
    assert "Known by its number alone" not in run("explain", REFUSED).stdout


def test_what_is_no_fault() -> None:
    told = run("explain", "235 2.7.0 Authentication successful")
    assert (told.exit_code, "No fault." in told.stdout) == (0, True)


def test_what_is_not_known() -> None:
    told = run("explain", "550 5.9.9 Computer says no")
    assert told.exit_code == 1
    assert "No reply of Office 365 that is known here" in told.stdout
    assert "refused for good" in told.stdout
    assert run("explain", "hello").exit_code == 1
    assert json.loads(run("explain", "--json", "hello").stdout)["recognised"] is False
    assert "there is nothing to explain" in refusal(run("explain"))


def test_the_text_of_a_program_is_explained() -> None:
    told = run("explain", "smtplib.SMTPNotSupportedError: SMTP AUTH extension not supported by server.")
    assert told.exit_code == 0
    assert "Python's smtplib" in told.stdout
    assert "no-tls: " in told.stdout


def test_the_code_of_a_device_is_explained() -> None:
    assert run("explain", "16#5108").stdout == run("rules", "--code", "16#5108").stdout
    assert set(json.loads(run("rules", "--code", "16#5108", "--json").stdout)["rules"]) == {"no-auth", "no-tls"}
    assert "Windows programs" in run("explain", "Sending failed, error 0x800CCC0E.").stdout
    said = run("rules", "--code", "8530").stdout
    assert "530 5.7.57 Client not authenticated to send mail" in said
    assert "Not certain: " in said
    both = run("rules", "--code", "504").stdout
    assert ".NET" in both
    assert "AutoIt" in both
    assert "host was not found" in run("rules", "--code", "-1").stdout


def test_a_code_that_is_not_known() -> None:
    said = refusal(run("rules", "--code", "16#51O8"))
    assert said.startswith("no code '16#51O8' is known: the nearest is 16#5108; known are those of Beckhoff")
    assert "none is like it" in refusal(run("rules", "--code", "zzz"))
    assert "`relayprobe explain` tells what it means" in refusal(run("rules", "--code", "5.7.57"))
    assert "leave one out" in refusal(run("rules", "no-tls", "--code", "5108"))


def test_nothing_that_was_pasted_is_printed() -> None:
    nasty = "\x1b[31m secret-password \x07 550 5.7.64 nobody@contoso.com TenantAttribution 550 5.9.9\x1b]0;x\x07"
    for arguments in (["explain", nasty], ["explain", "--json", nasty]):
        said = run(*arguments).stdout
        assert "secret" not in said
        assert "contoso" not in said
        assert "\x1b" not in said
    assert "\x1b" not in run("rules", "--code", "\x1b[31m").stderr


def test_a_text_that_is_too_long_is_said_to_be_cut() -> None:
    assert "its end was not read" in run("explain", REFUSED + " x" * LONGEST).stdout
