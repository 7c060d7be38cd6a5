"""What another server refused, in a capture that was made elsewhere."""

from __future__ import annotations

import pytest

from relayprobe.advice.refused import MOST, refusals_of
from relayprobe.wire.pasted import read
from relayprobe.wire.session import Session, Source, session_of

BEGUN = "S: 220 AM0PR01.outlook.office365.com\nC: EHLO mfp01\nS: 250-x\nS: 250 AUTH LOGIN XOAUTH2\n"
LOGIN = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: c2Nhbm5lckBjb250b3NvLmNvbQ==\nS: 334 UGFzc3dvcmQ6\nC: U2Nhbg==\n"
OFF = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
NOBODY = "550 5.4.1 Recipient address rejected: Access denied."
MAIL = "S: 235 ok\nC: MAIL FROM:<a@contoso.com>\nS: 250 ok\n"
TEXT = "C: DATA\nS: 354 go\nC: Subject: x\nC:\nC: .\n"


def session(text: str, source: Source = "text") -> Session:
    [pasted] = read(text)
    return session_of(pasted.events, source=source)


@pytest.mark.parametrize(
    ("text", "to", "known"),
    [
        (BEGUN + LOGIN + f"S: {OFF}\nC: QUIT\nS: 221 bye", "the login", ["5.7.139"]),
        (
            BEGUN + LOGIN + MAIL + "C: RCPT TO:<b@x.y>\nS: 550 5.4.1 Recipient address rejected: Access denied.",
            "RCPT TO",
            ["5.4.1"],
        ),
        (
            BEGUN + LOGIN + MAIL + "C: RCPT TO:<b@x.y>\nS: 250 ok\n" + TEXT + "S: 550 5.1.90 daily",
            "the message",
            ["5.1.90"],
        ),
        (BEGUN + LOGIN + MAIL + "C: RCPT TO:<b@x.y>\nS: 550-other\nS: 550 server", "RCPT TO", []),
        (f"C: U2Nhbg==\nS: {OFF}\nC: QUIT\nS: 221 bye", "the login", ["5.7.139"]),
    ],
)
def test_a_refusal_is_found_and_explained(text: str, to: str, known: list[str]) -> None:
    found = session(text)
    [refusal] = refusals_of(found)
    assert refusal.to == to
    assert [match.answer.enhanced for match in refusal.found.matches] == known
    assert refusal.reply.event in [index for index, _ in enumerate(found.events)]


def test_what_the_device_got_round_is_no_refusal() -> None:
    tried = "C: AUTH NTLM\nS: 504 5.7.4 Unrecognized authentication type\n"
    assert refusals_of(session(BEGUN + tried + LOGIN + MAIL + "C: QUIT\nS: 221 bye")) == ()
    old = "S: 220 x\nC: EHLO a\nS: 502 no\nC: HELO a\nS: 250 x\nC: QUIT\nS: 221 x"
    assert refusals_of(session(old)) == ()


def test_what_our_own_listener_answered_is_none() -> None:
    assert refusals_of(session(BEGUN + LOGIN + f"S: {OFF}", source="live")) == ()


def test_many_are_explained_up_to_a_bound() -> None:
    many = "".join(f"C: RCPT TO:<{n}@x.y>\nS: 550 no {n}\n" for n in range(MOST + 5))
    assert len(refusals_of(session(BEGUN + many + "C: QUIT\nS: 221 bye"))) == MOST
