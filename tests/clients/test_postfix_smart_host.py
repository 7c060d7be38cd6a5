"""The smart host of the tests is what it is taken for: it keeps the mail of those that log in, and refuses others."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import programs
from tests.clients.listening import PASSWORD, USER, until
from tests.clients.postfix import Postfix, discarding, smart_host
from tests.clients.programs import MESSAGE, RECIPIENT, Sending
from tests.conftest import need


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    with smart_host() as running:
        yield running


def test_what_swaks_sends_with_tls_and_a_login_arrives(postfix: Postfix, tmp_path: Path) -> None:
    before = len(postfix.arrived())
    programs.swaks(Sending(postfix.port, tmp_path, tls="starttls", mechanism="LOGIN"))
    mail = until(lambda: postfix.arrived()[before:])[0]
    header, _, text = mail.partition(b"\n\n")
    assert f"Return-Path: <{USER}>".encode() in header
    assert f"Delivered-To: {RECIPIENT}".encode() in header
    assert b"with ESMTPSA" in header  # TLS, and a login
    sent_header, _, sent_text = MESSAGE.replace(b"\r\n", b"\n").partition(b"\n\n")
    assert header.endswith(sent_header)
    assert text == sent_text


def test_its_certificate_can_be_checked(postfix: Postfix) -> None:
    before = len(postfix.arrived())
    checked = ssl.create_default_context(cafile=postfix.authority)
    with smtplib.SMTP("localhost", postfix.port, timeout=20) as smtp:
        smtp.starttls(context=checked)
        smtp.login(USER, PASSWORD)
        smtp.sendmail(USER, [RECIPIENT, "customer@fabrikam.com"], MESSAGE)
    mails = until(lambda: (found := postfix.arrived()[before:])[1:] and found)
    assert {to for mail in mails for to in re.findall(rb"^Delivered-To: (.*)$", mail, re.M)} == {
        RECIPIENT.encode(),
        b"customer@fabrikam.com",
    }


def test_others_are_refused(postfix: Postfix) -> None:
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")  # no password in clear
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(USER, [RECIPIENT], MESSAGE)
        smtp.starttls(context=programs.context())
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.login(USER, "another")
        assert refused.value.smtp_code == 535
    assert PASSWORD not in postfix.log


def test_the_peer_of_the_benchmark_queues_and_throws_away(tmp_path: Path) -> None:
    with discarding(tmp_path.parents[2]) as postfix:
        load = ["-s", "5", "-m", "50", "-l", "5120", "-f", USER, "-t", RECIPIENT, f"127.0.0.1:{postfix.port}"]
        subprocess.run([need("smtp-source"), *load], check=True, timeout=60)
        until(lambda: postfix.log.count("status=sent") == 50)
        assert postfix.log.count("relay=none") == 50
        assert postfix.arrived() == []
    assert not postfix.folder.exists()
