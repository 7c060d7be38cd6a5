"""From findings to what to type: verdicts, the choice of a mode, and its settings."""

from __future__ import annotations

import pytest

from relayprobe.advice.choice import Advice, advise
from relayprobe.advice.findings import diagnose, intended_mode
from relayprobe.advice.verdicts import Verdict, verdicts
from relayprobe.wire.session import Session
from tests.rules.written import HERE, Written, dialogues, read

TLS_LOGIN = "control-clean-submission"


def written(name: str, **about: str) -> Written:
    found = read(HERE / f"{name}.txt")
    found.about |= about
    return found


def advice(name: str, **about: str) -> Advice:
    visits, session = written(name, **about).last()
    return advise(session, diagnose(session, visits), verdicts(session, visits))


def judged(name: str, **about: str) -> dict[str, Verdict]:
    visits, session = written(name, **about).last()
    return {verdict.mode: verdict for verdict in verdicts(session, visits)}


def test_intended_mode() -> None:
    session = Session("", 0.0, "", "", ())
    assert intended_mode(session) == "submission"
    assert intended_mode(Session("", 0.0, "", "", (), imitate="connector")) == "connector"
    assert intended_mode(Session("", 0.0, "", "", (), mode="direct-send", imitate="connector")) == "direct-send"
    assert intended_mode(session, "connector") == "connector"


def test_findings_are_weighed_for_the_mode_and_the_worst_comes_first() -> None:
    *_, session = written("no-tls").sessions()
    assert [(f.rule.id, f.severity) for f in diagnose(session)] == [("no-tls", "error"), ("no-auth", "error")]
    assert {f.severity for f in diagnose(session, mode="direct-send")} == {"note"}
    assert diagnose(session)[0].answer == "451 5.7.3 STARTTLS is required to send mail"
    assert "STARTTLS" in diagnose(session)[0].fix
    assert diagnose(session, mode="direct-send")[0].answer is None


def test_verdicts_of_a_device_that_logs_in() -> None:
    found = judged(TLS_LOGIN)
    assert found["submission"] == Verdict("submission", True, (), (), (), True)
    assert found["direct-send"].blockers == found["connector"].blockers == ("auth-not-advertised",)
    assert found["direct-send"].repairs


def test_verdicts_of_a_device_without_tls_and_login() -> None:
    found = judged("no-tls")
    assert found["submission"].blockers == ("no-tls", "no-auth")
    assert len(found["submission"].repairs) == 2
    assert found["direct-send"].works
    assert found["direct-send"].proven


def test_nothing_is_proven_where_nothing_was_sent() -> None:
    assert judged("probe-session-no-data-bare")["submission"] == Verdict("submission", True, (), (), (), False)
    assert not judged("no-auth-not")["submission"].proven  # the login was refused


def test_a_clean_submission_stays_what_it_is_and_hears_of_basic_authentication() -> None:
    found = advice(TLS_LOGIN)
    assert found.mode == "submission"
    assert found.settings == {
        "server": "smtp.office365.com",
        "port": "587",
        "security": 'STARTTLS (in some menus "TLS"; not "SSL")',
        "user": "scanner@contoso.com",
        "sender": "scanner@contoso.com",
    }
    assert "December 2026" in found.warnings[0]
    assert "MC786329" in found.warnings[0]


def test_oauth_is_spared_the_warning() -> None:
    found = advice("control-oauth")
    assert found.mode == "submission"
    assert "OAuth" in found.because
    assert found.warnings == ()


def test_without_tls_and_login_direct_send_does_for_internal_mail() -> None:
    found = advice("no-tls")
    assert found.mode == "direct-send"
    assert found.settings["server"] == ("the MX host of contoso.com (look it up: `nslookup -type=mx contoso.com`)")
    assert found.settings["port"] == "25"
    assert found.settings["user"].startswith("none")
    assert found.settings["sender"] == "scanner@contoso.com"
    assert any("5.7.68" in warning for warning in found.warnings)


def test_a_connector_goes_before_direct_send_and_the_mx_host_is_taken_as_told() -> None:
    found = advice("no-tls", connector="yes", mx="contoso-com.mail.protection.outlook.com")
    assert found.mode == "connector"
    assert found.settings["server"] == "contoso-com.mail.protection.outlook.com"
    assert any("Connectors" in warning for warning in found.warnings)


def test_without_recipients_the_recommended_mode_is_advised() -> None:
    found = advice("helo-invalid-name")
    assert found.mode == "submission"
    assert "host can have" in found.because


@pytest.mark.parametrize(
    ("name", "mode"), [("tls10-11-only", "direct-send"), ("sslv3-only", "direct-send"), ("bare-lf", "submission")]
)
def test_what_the_device_cannot_do_a_relay_can(name: str, mode: str) -> None:
    found = advice(name)
    assert found.mode == mode
    assert "A relay between" in found.because


def test_old_tls_is_switched_off_at_the_mx_endpoint() -> None:
    assert advice("tls10-11-only").settings["security"].startswith("none")
    assert advice("control-connector").settings["security"] == "STARTTLS"


def test_plain_only_leaves_the_mx_endpoint() -> None:
    assert advice("auth-plain-only").mode == "direct-send"
    assert advice("auth-plain-only-note").mode == "submission"


def test_outside_recipients_never_get_direct_send() -> None:
    found = advice("external-recipient-direct-send")
    assert found.mode == "submission"
    assert found.alternatives == ("connector",)


def test_a_wrong_password_is_said_to_be_wrong_and_how() -> None:
    found = advice("auth-password-charset-not")
    assert "capital and small letters differ" in found.warnings[0]
    assert "2024" not in found.warnings[0]


def test_a_factory_sender_is_not_advised() -> None:
    found = advice("mail-from-default-domain", domains="contoso.com")
    assert "email.com" not in str(found.settings)


@pytest.mark.parametrize("name", [w.name for w in dialogues()])
def test_advice_is_complete_whatever_happened(name: str) -> None:
    found = advice(name)
    assert found.because.endswith(".")
    assert list(found.settings) == ["server", "port", "security", "user", "sender"]
    assert all(found.settings.values())
    assert found.mode not in found.alternatives
    if found.mode != "submission":
        assert "nslookup -type=mx" in found.settings["server"]
