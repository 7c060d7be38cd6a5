"""Real mail programs against `listen --imitate`: what is right goes through, and each refusal comes at its stage.

What was answered, and to what, is taken from the captured session; that the program was told so, from what it prints.
"""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients import programs
from tests.clients.listening import PASSWORD, SETTINGS, USER, Listening
from tests.clients.programs import HOST, MESSAGE, RECIPIENT, Program, Sending, Tls
from tests.conftest import need

FIVE: list[Program] = [programs.swaks, programs.curl, programs.msmtp, programs.nodemailer, programs.python]


def answered(listening: Listening, count: int = 1) -> list[tuple[str, str]]:
    """Of the last session: what the device said, by its verb (`TEXT` for a message), and the reply to it."""
    listening.ended(count)
    report = listening.last()
    found: list[tuple[str, str]] = []
    said = "BANNER"
    for event in report["session"]["events"]:
        kind, sender = event["kind"], event.get("sender")
        if kind == "body":
            said = "TEXT"
        elif kind == "credentials":
            said = "AUTH"
        elif kind == "line" and sender == "client":
            said = event["raw"].split()[0].upper() if event["raw"].strip() else ""
        elif kind == "line" and event["raw"][3:4] != "-":
            found.append((said, event["raw"].rstrip()))
    return found


def refused(listening: Listening) -> tuple[str, str]:
    """What was refused first, and with which words."""
    return next((said, reply) for said, reply in answered(listening) if reply[0] in "45")


@pytest.mark.parametrize("program", FIVE, ids=lambda program: program.__name__)
def test_a_correct_submission_goes_through(program: Program, listen: Any, tmp_path: Path) -> None:
    listening = listen("--imitate", "submission")
    program(Sending(listening.port, tmp_path, "starttls", "LOGIN"))
    assert [reply[:9] for said, reply in answered(listening) if said == "TEXT"] == ["250 2.0.0"]
    report = listening.last()
    assert [f["rule"] for f in report["findings"] if f["severity"] != "note"] == []
    assert (report["session"]["imitate"], report["verdicts"][0]["proven"]) == ("submission", True)


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("mode", ["direct-send", "connector"])
@pytest.mark.parametrize("program", FIVE, ids=lambda program: program.__name__)
def test_a_correct_mail_to_the_mx_endpoint_goes_through(
    program: Program, mode: str, tls: Tls, listen: Any, tmp_path: Path
) -> None:
    listening = listen("--imitate", mode)
    program(Sending(listening.port, tmp_path, tls))
    assert [reply[:9] for said, reply in answered(listening) if said == "TEXT"] == ["250 2.6.0"]
    assert [f["rule"] for f in listening.last()["findings"] if f["severity"] != "note"] == []


def with_other(**changes: bytes) -> bytes:
    """The message with other header fields."""
    message = MESSAGE
    for name, value in changes.items():
        old = next(line for line in message.split(b"\r\n") if line.lower().startswith(name.encode() + b":"))
        message = message.replace(old, name.capitalize().encode() + b": " + value, 1)
    return message


NO_TLS = "MAIL", "451 5.7.3 STARTTLS is required to send mail"
EARLY = "AUTH", "504 5.7.4 Unrecognized authentication type"
NO_LOGIN = "MAIL", "530 5.7.57 Client not authenticated to send mail"
DENIED = "TEXT", f"554 5.2.252 SendAsDenied; {USER} not allowed to send as other@contoso.com; STOREDRV"

FAULTS: dict[str, tuple[Tls, str | None, bytes, tuple[str, str]]] = {
    "no TLS": ("none", None, MESSAGE, NO_TLS),
    "no login": ("starttls", None, MESSAGE, NO_LOGIN),
    "another From": ("starttls", "LOGIN", with_other(**{"from": b"other@contoso.com"}), DENIED),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("program", FIVE, ids=lambda program: program.__name__)
def test_every_program_is_refused_at_the_stage_and_told_so(
    program: Program, fault: str, listen: Any, tmp_path: Path
) -> None:
    tls, mechanism, message, (stage, words) = FAULTS[fault]
    listening = listen("--imitate", "submission")
    with pytest.raises(Exception, match=f"{words[:3]}|Weird server reply"):  # as curl calls a 5 behind the message
        program(Sending(listening.port, tmp_path, tls, mechanism, message))
    said, reply = refused(listening)
    assert said == stage
    assert reply.startswith(words)


def swaks(port: int, *options: str) -> str:
    """What swaks prints, whatever comes of it."""
    text = ["--helo", HOST, "--h-From", USER, "--hide-all"] if "--hide-all" in options else ["--helo", HOST]
    command = [need("swaks"), "--server", f"127.0.0.1:{port}", *text, *options]
    if "--from" not in options:
        command += ["--from", USER]
    if "--to" not in options:
        command += ["--to", RECIPIENT]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.stdout.decode("latin-1")


LOGIN = ["--tls", "--auth", "LOGIN", "--auth-user", USER, "--auth-password", PASSWORD]
OFF = SETTINGS + '[imitate]\nsmtp_auth = "off-tenant"\n'
KNOWN = SETTINGS + '[imitate]\nrecipients = ["anna@contoso.com"]\nreject_direct_send = false\n'
REJECTS = SETTINGS + "[imitate]\nreject_direct_send = true\n"
FEW = SETTINGS + "[imitate]\nrecipients_per_message = 2\n[limits]\nmessage_size = 1000\n"

OF_SWAKS: dict[str, tuple[str, str, list[str], tuple[str, str]]] = {
    "login before TLS": ("submission", SETTINGS, ["--quit-after", "AUTH", "--protocol", "SMTP", *LOGIN[1:]], NO_TLS),
    "a wrong password": (
        "submission",
        SETTINGS,
        [*LOGIN[:-1], "wrong"],
        ("AUTH", "535 5.7.3 Authentication unsuccessful"),
    ),
    "SMTP AUTH off": (
        "submission",
        OFF,
        LOGIN,
        ("AUTH", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."),
    ),
    "another sender": ("submission", SETTINGS, [*LOGIN, "--from", "other@contoso.com"], DENIED),
    "a bad name": ("submission", SETTINGS, ["--helo", "mfp01."], ("EHLO", "501 5.5.4 Invalid domain name")),
    "too many": (
        "submission",
        FEW,
        [*LOGIN, "--to", "a@b.cd,e@f.gh,i@j.kl"],
        ("RCPT", "452 4.5.3 Too many recipients"),
    ),
    "TLS 1.0": ("submission", SETTINGS, ["--tls", "--tls-protocol", "tlsv1", "--tls-cipher", "ALL:@SECLEVEL=0"],
                ("EHLO", "421 4.7.66 TLS 1.0 and 1.1 are not supported.")),
    "outside": ("direct-send", SETTINGS, ["--to", "eva@fabrikam.com"],
                ("RCPT", "550 5.7.64 TenantAttribution; Relay Access Denied")),
    "nobody": ("direct-send", KNOWN, ["--to", "nobody@contoso.com"],
               ("RCPT", "550 5.4.1 Recipient address rejected: Access denied.")),
    "Direct Send refused": ("direct-send", REJECTS, [], ("RCPT", "550 5.7.68 TenantInboundAttribution; Direct Send")),
    "a stranger through the connector": ("connector", SETTINGS, ["--from", "eva@fabrikam.com", "--to", "x@y.zz"],
                                         ("RCPT", "550 5.7.64 Relay Access Denied ATTR36")),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_SWAKS)
def test_swaks_is_refused(name: str, listen: Any) -> None:
    mode, settings, options, (stage, words) = OF_SWAKS[name]
    listening = listen("--imitate", mode, settings=settings)
    shown = swaks(listening.port, *options)
    if name == "login before TLS":  # it sees no offer, and says so by itself
        assert "Host did not advertise authentication" in shown
        return
    said, reply = refused(listening)
    assert (said, reply[: len(words)]) == (stage, words)
    assert words in shown


def test_plain_is_refused_although_it_is_sent_all_the_same(listen: Any, tmp_path: Path) -> None:
    listening = listen("--imitate", "submission")
    with pytest.raises(smtplib.SMTPAuthenticationError, match="504"):
        programs.python(Sending(listening.port, tmp_path, "starttls", "PLAIN"))
    said, reply = refused(listening)
    assert (said, reply[: len(EARLY[1])]) == EARLY


def test_a_login_at_the_mx_endpoint_and_one_without_an_offer(listen: Any) -> None:
    """smtplib asks for no offer when it is told what to say."""
    for mode in ("direct-send", "submission"):
        listening = listen("--imitate", mode)
        with smtplib.SMTP("127.0.0.1", listening.port, HOST) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("auth")
            code, text = smtp.docmd("AUTH", "LOGIN")
            assert (code, text[:5]) == (504, b"5.7.4")


def test_a_message_that_is_announced_too_large(listen: Any, tmp_path: Path) -> None:
    listening = listen("--imitate", "direct-send", settings=FEW)
    with pytest.raises(AssertionError, match="552"):  # curl announces the size
        programs.curl(Sending(listening.port, tmp_path, message=MESSAGE + b"x" * 2000 + b"\r\n"))
    assert refused(listening) == ("MAIL", "552 5.3.4 Message size exceeds fixed maximum message size")


TLS_AT_ONCE: list[Callable[[Sending], object]] = [programs.swaks, programs.curl, programs.python]


@pytest.mark.parametrize("program", TLS_AT_ONCE, ids=lambda program: program.__name__)
def test_tls_at_once_fails_as_it_does_at_office_365(program: Program, listen: Any, tmp_path: Path) -> None:
    listening = listen("--imitate", "submission")
    with pytest.raises(Exception, match=r"(?i)tls|ssl|wrong version"):
        program(Sending(listening.port, tmp_path, "implicit", "LOGIN"))
    listening.ended()
    assert "implicit-tls-on-starttls-port" in {finding["rule"] for finding in listening.last()["findings"]}
