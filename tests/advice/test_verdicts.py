"""Verdicts for every way of sending: what blocks it, and what would remove the block."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayprobe.advice.choice import CANNOT_BE_SET, JUDGED, Advice, advise
from relayprobe.advice.findings import diagnose
from relayprobe.advice.table import BLOCKS
from relayprobe.advice.verdicts import Verdict, verdicts
from relayprobe.office365.modes import MODES, WAYS
from relayprobe.report.text import advice_text
from relayprobe.rules import RULES
from relayprobe.wire.session import Session, Site
from tests.rules.written import HERE, dialogues, read


def session_of(name: str, **site: object) -> Session:
    _, session = read(HERE / f"{name}.txt").last()
    return replace(session, site=replace(session.site, **site))  # type: ignore[arg-type]


def judged(name: str, **site: object) -> dict[str, Verdict]:
    return {verdict.mode: verdict for verdict in verdicts(session_of(name, **site))}


def advice(name: str, **site: object) -> Advice:
    session = session_of(name, **site)
    return advise(session, diagnose(session), verdicts(session))


def test_there_is_one_for_every_way_and_the_modes_come_first() -> None:
    found = verdicts(session_of("control-clean-submission"))
    assert tuple(verdict.mode for verdict in found) == WAYS
    assert WAYS[: len(MODES)] == MODES


def test_a_password_is_in_the_way_of_oauth_and_oauth_is_not() -> None:
    assert judged("control-clean-submission")["submission-oauth"].blockers == ("no-oauth",)
    assert judged("control-oauth")["submission-oauth"].works
    assert judged("auth-password-truncated")["submission-oauth"].blockers == ("no-oauth",)
    assert judged("no-auth")["submission-oauth"].blockers == ("no-auth", "no-oauth")


def test_the_terms_of_high_volume_email_and_azure_communication_services() -> None:
    inside, outside = judged("control-clean-submission"), judged("control-outside-recipient")
    assert inside["high-volume-email"].works
    assert outside["high-volume-email"].blockers == ("external-recipient",)
    assert outside["azure-communication-services"].works
    session = session_of("control-clean-submission")
    [envelope] = session.envelopes
    assert envelope.message is not None
    large = replace(envelope, message=replace(envelope.message, body=replace(envelope.message.body, size=10_000_001)))
    for altered, block in ((large, "over-10-mb"), (replace(envelope, recipients=envelope.recipients * 51), None)):
        found = {v.mode: v for v in verdicts(replace(session, envelopes=(altered,)))}
        for way in ("high-volume-email", "azure-communication-services"):
            assert found[way].blockers == (block or "over-50-recipients",)
        assert found["submission"].works


def test_through_a_relay_blocks_only_what_a_relay_cannot_put_right() -> None:
    for name in ("no-tls", "no-auth", "bare-lf", "tls10-11-only", "mail-from-not-auth-user", "helo-empty"):
        assert judged(name)["relayprobe"].works, name
    for name in ("data-never-finished", "cert-rejected-by-client", "sslv3-only", "utf8-address", "message-too-large"):
        assert name in judged(name)["relayprobe"].blockers


@pytest.mark.parametrize("name", [written.name for written in dialogues()])
def test_every_block_has_a_way_out(name: str) -> None:
    for verdict in verdicts(session_of(name)):
        assert tuple(removal.blocker for removal in verdict.remove) == verdict.blockers
        assert all(removal.do.endswith(".") for removal in verdict.remove)
        assert verdict.works is not bool(verdict.blockers)
        for blocker in verdict.blockers:
            assert blocker in RULES or blocker in {row.block for row in BLOCKS}


def test_with_passwords_off_the_advice_is_another() -> None:
    found = advice("control-clean-submission", basic_auth=False)
    assert (found.way, found.mode) == ("high-volume-email", "submission")
    assert found.settings["server"] == "smtp.hve.mx.microsoft"
    assert "Passwords are switched off" in found.because
    assert any("September 2028" in warning for warning in found.warnings)
    assert any("hve in [site]" in question for question in found.questions)
    found = advice("control-clean-submission", basic_auth=False, hve=False)
    assert found.way == "direct-send"
    found = advice("control-outside-recipient", basic_auth=False, static_ip=False)
    assert found.way == "azure-communication-services"
    assert "resource|" in found.settings["user"]


def test_oauth_stays() -> None:
    assert advice("control-oauth", basic_auth=False).way == "submission-oauth"


def test_a_closed_port_changes_the_advice() -> None:
    assert advice("no-tls").way == "direct-send"
    assert advice("no-tls", blocked_ports=(25,)).way == "submission"
    assert advice("control-clean-submission", blocked_ports=(587,)).way in ("direct-send", "connector")


def test_what_a_relay_would_do_is_said_in_the_words_of_the_rows() -> None:
    assert any("OAuth" in line for line in advice("control-clean-submission").relay)
    assert any("puts the faults right" in line for line in advice("bare-lf").relay)


def test_a_device_that_is_known_is_told_its_own_fields() -> None:
    session = session_of("helo-unqualified")
    greeting = replace(session.greetings[0], name="XC-B8C463")
    session = replace(session, greetings=(greeting,))
    found = advise(session, diagnose(session), verdicts(session))
    assert found.device is not None
    assert found.device.startswith("Xerox")
    assert "XC-B8C463" in found.device
    assert found.fields["server"] == "SMTP Server Address"


def test_what_was_not_told_is_asked_for() -> None:
    _, session = read(HERE / "no-tls.txt").last()
    session = replace(session, site=Site())
    questions = advise(session, diagnose(session), verdicts(session)).questions
    assert any("domains in [site]" in question for question in questions)
    assert len(questions) <= 2


@pytest.mark.parametrize(
    ("name", "site", "way", "block"),
    [
        ("control-clean-submission", {"basic_auth": False}, "submission", "passwords-switched-off"),
        ("control-oauth", {"oauth": False}, "submission-oauth", "no-oauth-here"),
        ("control-oauth", {}, "azure-communication-services", "no-password"),
        ("no-tls", {"reject_direct_send": True}, "direct-send", "direct-send-refused"),
        ("no-tls", {"static_ip": False}, "connector", "no-fixed-address"),
        ("no-tls", {"blocked_ports": (25,)}, "direct-send", "port-25-closed"),
        ("control-clean-submission", {"blocked_ports": (587,)}, "submission", "port-587-closed"),
        ("control-clean-submission", {"blocked_ports": (25, 587)}, "relayprobe", "no-port-open"),
        ("control-clean-submission", {"hve": False}, "high-volume-email", "no-high-volume-email"),
        (
            "control-clean-submission",
            {"acs": False},
            "azure-communication-services",
            "no-azure-communication-services",
        ),
    ],
)
def test_what_was_told_of_the_site_closes_a_way(name: str, site: dict[str, object], way: str, block: str) -> None:
    found = judged(name, **site)[way]
    assert not found.works
    assert found.proven
    assert block in found.blockers
    assert all(row.block not in judged("control-clean-submission")["submission"].blockers for row in BLOCKS)


def test_a_login_that_is_no_mailbox_may_send_as_another() -> None:
    for name in ("mail-from-not-auth-user", "header-from-not-auth-user", "auth-user-not-upn"):
        assert name in judged(name)["submission"].blockers
        assert judged(name)["azure-communication-services"].works


NOTHING_LEFT = {"basic_auth": False, "hve": False, "acs": False, "static_ip": False, "reject_direct_send": True}


def test_where_no_way_is_left_it_is_a_relay_and_ours_is_named() -> None:
    for found in (advice("control-clean-submission", **NOTHING_LEFT), advice("bare-lf"), advice("end-of-data-lf-only")):
        assert found.way == "relayprobe"
        assert found.settings["server"] == "the address of the relay on your own network"
        assert "relayprobe relay" in found.because
        assert any(line.startswith("Send through a relay") for _, line in advice_text(found))
        assert all(warning for warning in found.warnings)
    because = advice("control-clean-submission", **NOTHING_LEFT).because
    assert "Passwords are switched off" in because
    assert "refuses Direct Send" in because


def test_where_not_even_a_relay_helps_none_is_advised() -> None:
    for found in (advice("data-never-finished"), advice("control-clean-submission", blocked_ports=(25, 587))):
        assert found.way != "relayprobe"
        assert "A relay between" not in found.because
    assert "Port 587 is closed" in found.because


def test_every_rule_that_blocks_is_judged_once() -> None:
    judgements = [slug for slugs in JUDGED.values() for slug in slugs.split()]
    assert len(judgements) == len(set(judgements))
    blocking = {rule.id for rule in RULES.values() if any(rule.severity(mode) == "error" for mode in MODES)}
    assert set(judgements) == blocking
    assert "tls10-11-only" in CANNOT_BE_SET["submission"]
    assert "tls10-11-only" not in CANNOT_BE_SET["direct-send"]
    assert "bare-lf" in CANNOT_BE_SET["connector"]
