"""Real mail programs send a mail: what is shown is what they said, to the octet; what is found is what they do wrong.

A forwarder between program and listener keeps what crossed the wire. What went in clear is compared with it whole, what
went inside TLS up to the hello, and further where the program tells what it said.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.clients import programs
from tests.clients.listening import PASSWORD, SETTINGS, USER
from tests.clients.programs import MESSAGE, Program, Sending, Tls

FAULTS: dict[str, set[str]] = {
    "none": {"no-tls", "auth-before-starttls"},
    "starttls": set(),  # as Office 365 wants it
    "implicit": {"implicit-tls-on-starttls-port"},
}
OF_PROGRAMS = {
    programs.openssl: {"pipelining-not-offered"},  # it waits for no answer
    programs.openssl_of_old: {"tls10-11-only", "pipelining-not-offered"},
    programs.typed: {"bare-lf", "end-of-data-lf-only"},
}
NOTES = {
    "no-sni",  # they were given an address
    "no-quit",  # nodemailer
    "auth-login-initial-response",
    "lowercase-verbs",
    "auth-plain-only",
    "auth-plain-two-step",
    "auth-cram-md5-no-fallback",
    "helo-unqualified",
}
"""What may be noted of them; Office 365 takes it all."""

ALL_MECHANISMS = SETTINGS + '[listen]\nmechanisms = ["CRAM-MD5", "LOGIN", "PLAIN", "XOAUTH2"]\n'


@dataclass(frozen=True)
class Case:
    """A program, and how it sends."""

    program: Program
    tls: Tls
    mechanism: str = "LOGIN"
    settings: str = field(default=SETTINGS, repr=False)

    def __str__(self) -> str:
        return f"{self.program.__name__}-{self.tls}-{self.mechanism}"

    @property
    def faults(self) -> set[str]:
        return FAULTS[self.tls] | OF_PROGRAMS.get(self.program, set())


WELL_KNOWN: list[Program] = [
    programs.swaks,
    programs.curl,
    programs.msmtp,
    programs.nodemailer,
    programs.net_smtp,
    programs.python,
    programs.python_asyncio,
]
TLS: list[Tls] = ["none", "starttls", "implicit"]
CASES = [
    *[Case(program, tls) for program in WELL_KNOWN for tls in TLS],
    *[Case(program, "starttls", "PLAIN") for program in WELL_KNOWN],
    *[Case(p, "none", "CRAM-MD5", ALL_MECHANISMS) for p in (programs.swaks, programs.curl, programs.python)],
    Case(programs.curl, "starttls", "XOAUTH2"),
    Case(programs.openssl, "starttls"),
    Case(programs.openssl, "implicit"),
    Case(programs.openssl_of_old, "starttls"),
    Case(programs.typed, "none"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mail_program(case: Case, listen: Any, wire: Any, tmp_path: Path) -> None:
    listening = listen(settings=case.settings)
    between = wire(listening.port)
    told = case.program(Sending(between.port, tmp_path, case.tls, case.mechanism))
    report = listening.last()
    between.close()
    events = report["session"]["events"]
    secrets = secrets_in(bytes(between.server))

    in_clear = [event for event in events if not event.get("tls")]
    if case.tls == "none":
        assert octets(in_clear, "server") == between.server
        assert octets(in_clear, "client") == masked(bytes(between.client), secrets)
    else:
        assert between.server.startswith(octets(in_clear, "server"))
        assert between.client.startswith(octets(in_clear, "client"))
        assert octets([event for event in events if event["kind"] == "tls-hello"], "client") in between.client
    if told is not None:
        assert octets([e for e in events if e["kind"] != "tls-hello"], "client") == masked(told, secrets)

    [body] = [event["raw"].encode("latin-1") for event in events if event["kind"] == "body"]
    assert body == stuffed(MESSAGE.replace(b"\r\n", b"\n" if case.program is programs.typed else b"\r\n"))
    assert {f["rule"] for f in report["findings"] if f["severity"] != "note"} == case.faults
    assert {f["rule"] for f in report["findings"] if f["severity"] == "note"} <= NOTES


@pytest.mark.parametrize("mode", ["direct-send", "connector"])
def test_a_correct_mail_to_the_mx_endpoint_has_no_fault(mode: str, listen: Any, tmp_path: Path) -> None:
    listening = listen("--mode", mode)
    sendings = [(program, tls) for program in WELL_KNOWN for tls in ("none", "starttls")]
    for program, tls in sendings:
        program(Sending(listening.port, tmp_path, tls, None))
    rows = listening.ended(len(sendings))
    assert [(row.worst, row.findings) for row in rows if row.worst not in (None, "note")] == []
    assert {finding for row in rows for finding in row.findings} <= NOTES | {"no-tls", "no-auth", "message-flood"}


@pytest.mark.parametrize("tls", TLS)
def test_a_message_of_any_octets(tls: Tls, listen: Any, tmp_path: Path) -> None:
    """Lines longer than the standards allow, octets that are no text, and more than is held in memory."""
    head = f"From: {USER}\r\nSubject: \xdcbersicht\r\n\r\n".encode("latin-1")
    message = head + b"x" * 5000 + b"\r\n" + (bytes(set(range(256)) - {10, 13}) + b"\r\n") * 800
    listening = listen()
    programs.python(Sending(listening.port, tmp_path, tls, "LOGIN", message))
    report = listening.last()
    [body] = [event for event in report["session"]["events"] if event["kind"] == "body"]
    assert body["raw"].encode("latin-1") == stuffed(message)
    assert body["size"] == len(stuffed(message))
    assert listening.run("export", "last", "--as", "eml").stdout == message


def octets(events: list[dict[str, Any]], sender: str) -> bytes:
    return b"".join(event["raw"].encode("latin-1") for event in events if event.get("sender") == sender)


def stuffed(message: bytes) -> bytes:
    """As it crosses the wire (RFC 5321 4.5.2)."""
    line_end = b"\r\n" if message.endswith(b"\r\n") else b"\n"
    return re.sub(rb"^\.", b"..", message, flags=re.MULTILINE) + b"." + line_end


def secrets_in(answers: bytes) -> list[bytes]:
    """The forms that the password takes on the wire; for CRAM-MD5 it depends on the challenge."""
    found = [f"\0{USER}\0{PASSWORD}".encode(), PASSWORD.encode()]
    for challenge in re.findall(rb"334 (\S+)", answers):
        digest = hmac.new(PASSWORD.encode(), b64decode(challenge), "md5").hexdigest()
        found.append(f"{USER} {digest}".encode())
    return found


def masked(said: bytes, secrets: list[bytes]) -> bytes:
    for secret in secrets:
        said = said.replace(b64encode(secret), b"********")
    return said
