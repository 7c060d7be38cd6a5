"""Delivery reports: what they say to people and to programs, and that none is ever answered by another."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.relay.bounce import Returned, Undelivered, loop, may_bounce, own_hops, received_count, report
from relayprobe.report.explained import RETRIES

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HEAD = (
    b"From: Scanner <scan@contoso.com>\r\nTo: a@fabrikam.com\r\nMessage-ID: <one@scanner>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nthe secret text\r\n"
)
MAIL = Returned("0A1B", "scan@contoso.com", "192.168.1.20", NOW, HEAD)
SEND_AS = "554 5.2.252 SendAsDenied; scan@contoso.com not allowed to send as boss@contoso.com; STOREDRV.Submission"
RELAY = "550 5.7.64 TenantAttribution; Relay Access Denied"


def told(mail: Returned = MAIL, *failed: Undelivered, to: str = "scan@contoso.com") -> EmailMessage:
    raw = report(
        mail,
        failed or (Undelivered("a@fabrikam.com", RELAY, server="smtp.office365.com", tried=NOW),),
        to=to,
        mailbox="relay@contoso.com",
        name="relay.contoso.com",
        now=NOW,
    )
    sound(raw)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    return message


def sound(raw: bytes) -> None:
    """What any server takes: CRLF, ASCII, no control characters, no long lines."""
    assert raw.endswith(b"\r\n")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert re.fullmatch(rb"[ -~\r\n\t]*", raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def words(message: EmailMessage) -> str:
    part = next(message.iter_parts())
    assert isinstance(part, EmailMessage)
    return " ".join(part.get_content().split())


def status(message: EmailMessage) -> list[dict[str, str]]:
    blocks = list(message.iter_parts())[1].get_payload()
    return [{key: " ".join(str(value).split()) for key, value in block.items()} for block in blocks]  # type: ignore[union-attr]


def test_a_report_says_what_happened_what_it_means_and_what_to_do() -> None:
    text = words(told())
    for says in (
        "Mail that the device 192.168.1.20 sent could not be delivered to the recipient below",
        "Sender: scan@contoso.com",
        "Subject: Grüße",
        "a@fabrikam.com",
        "It was refused for good.",
        f"The server smtp.office365.com answered: {RELAY}",
        "It means: ",
        "To do: ",
        RETRIES["configuration"],
        "`relayprobe queue show 0A1B`",
    ):
        assert says in text
    assert "You are told because" not in text


def test_its_header_makes_it_a_report_and_an_answer() -> None:
    message = told()
    assert message["From"] == "relayprobe <relay@contoso.com>"
    assert message["To"] == "scan@contoso.com"
    assert message["Subject"] == "Not delivered: mail from 192.168.1.20"
    assert message["Auto-Submitted"] == "auto-replied"
    assert re.fullmatch(r"<report\.0A1B\.[0-9a-f]{8}@relay\.contoso\.com>", message["Message-ID"])
    assert message["In-Reply-To"] == message["References"] == "<one@scanner>"
    assert message["Date"] == "Mon, 23 Nov 2026 12:00:00 +0000"


def test_its_part_for_programs() -> None:
    first, second, third, fourth = status(
        told(
            MAIL,
            Undelivered("a@fabrikam.com", SEND_AS, server="smtp.office365.com", tried=NOW),
            Undelivered("b@fabrikam.com", "451 4.7.500 Server busy", why="expired"),
            Undelivered("m\u00fcller+x@fabrikam.com", "no connection to smtp.office365.com, port 587", why="expired"),
        )
    )
    assert first == {"Reporting-MTA": "dns; relay.contoso.com", "Arrival-Date": "Mon, 23 Nov 2026 12:00:00 +0000"}
    assert second == {
        "Final-Recipient": "rfc822; a@fabrikam.com",
        "Action": "failed",
        "Status": "5.2.252",
        "Remote-MTA": "dns; smtp.office365.com",
        "Diagnostic-Code": f"smtp; {SEND_AS}",
        "Last-Attempt-Date": "Mon, 23 Nov 2026 12:00:00 +0000",
    }
    assert third["Status"] == "4.7.500"
    assert fourth["Status"] == "4.4.7"
    assert fourth["Diagnostic-Code"].startswith("x-relayprobe; no connection")
    assert fourth["Final-Recipient"] == r"utf-8; m\x{FC}ller\x{2B}x@fabrikam.com"


def test_the_header_of_the_mail_is_attached_and_its_text_is_not() -> None:
    message = told()
    attached = list(message.iter_parts())[2].get_payload(decode=True)
    assert isinstance(attached, bytes)
    assert attached.replace(b"\r\n", b"\n") == HEAD.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n") + b"\n"
    assert b"secret text" not in bytes(message)


def test_recipients_with_the_same_reply_share_its_explanation() -> None:
    failed = [Undelivered(f"r{n}@fabrikam.com", RELAY) for n in range(30)]
    text = words(told(MAIL, *failed, Undelivered("x@fabrikam.com", SEND_AS)))
    assert text.count("It means:") == 2
    assert "r19@fabrikam.com and 10 more" in text
    assert "r20@fabrikam.com" not in text
    assert "to the recipients below" in text


def test_what_is_not_certain_says_so() -> None:
    assert "Known by its number alone" in words(told(MAIL, Undelivered("a@fabrikam.com", "550 5.7.64 no")))
    text = words(told(MAIL, Undelivered("a@fabrikam.com", "550 5.7.60 Client does not have permissions to send as")))
    assert "Not certain: " in text
    text = words(told(MAIL, Undelivered("a@fabrikam.com", "571 5.9.9 zzz")))
    assert "By its class: refused for good" in text


def test_what_expired_or_was_dropped_is_not_said_to_be_refused() -> None:
    text = words(
        told(MAIL, Undelivered("a@fabrikam.com", "", why="expired"), Undelivered("b@x.test", "", why="dropped"))
    )
    assert "It could not be delivered for too long" in text
    assert "An administrator has taken it out of the queue" in text
    assert "refused for good" not in text


def test_an_administrator_is_told_why_he_is_told() -> None:
    text = words(told(MAIL, to="admin@contoso.com"))
    assert "You are told because the sender of the mail cannot be, or is not to be." in text


def test_a_report_that_is_made_again_is_the_same() -> None:
    assert bytes(told()) == bytes(told())
    later = told(MAIL, Undelivered("b@fabrikam.com", RELAY))
    assert later["Message-ID"] != told()["Message-ID"]


def test_a_thousand_recipients_and_replies_of_kilobytes_have_an_end() -> None:
    failed = [Undelivered(f"{n}@{'x' * 400}.test", f"554 5.0.0 {n} {'y ' * 5000}") for n in range(1500)]
    message = told(MAIL, *failed)
    assert len(status(message)) == 1001
    assert "There are 1495 more replies" in words(message)
    assert len(words(message)) < 20_000


STRANGE = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("\r\n\t <>@:;=?.\x00\x1b\x9b\u202e\u2028\ud800aé\U0001f600"), max_size=60),
    st.sampled_from(["x" * 1100, "é" * 1100, "x é" * 400]),
)
WHY = st.sampled_from(["refused", "expired", "dropped"])
BLOBS = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"A: b", b" c", b"\0", b".", b"--=_"])).map(b"".join),
)


@settings(deadline=None)
@given(
    st.tuples(STRANGE, STRANGE, STRANGE, BLOBS),
    st.lists(st.tuples(STRANGE, STRANGE, WHY, STRANGE), min_size=1, max_size=4),
    st.tuples(STRANGE, STRANGE, STRANGE),
    STRANGE,
)
def test_whatever_strangers_send_the_report_is_sound_and_is_never_reported(
    mail: tuple[str, str, str, bytes], failed: list[tuple[str, str, str, str]], ours: tuple[str, str, str], sender: str
) -> None:
    id, origin, device, head = mail
    to, mailbox, name = ours
    raw = report(
        Returned(id, origin, device, NOW, head),
        [Undelivered(address, said, why, server) for address, said, why, server in failed],  # type: ignore[arg-type]
        to=to,
        mailbox=mailbox,
        name=name,
        now=NOW,
    )
    sound(raw)
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    assert not message.defects
    assert len(message.get_payload()) == 3
    assert set(message.keys()) <= {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "In-Reply-To", "References"),
        *("MIME-Version", "Content-Type"),
    }
    for who in (sender, origin, "someone@contoso.com", ""):
        assert not may_bounce(who, raw, ())


@settings(deadline=None)
@given(STRANGE, BLOBS)
def test_any_header_and_any_sender_may_be_asked_about(sender: str, head: bytes) -> None:
    may_bounce(sender, head, ["relay@contoso.com"])
    loop(head, sender)


@pytest.mark.parametrize("sender", ["scan@contoso.com", "<scan@contoso.com>", "o'neill+x@contoso.com", "a@[192.0.2.1]"])
def test_a_person_may_be_told(sender: str) -> None:
    assert may_bounce(sender, HEAD, ["relay@contoso.com"])
    assert may_bounce(sender, b"Auto-Submitted: No\r\n" + HEAD, ["relay@contoso.com"])
    assert may_bounce(sender, b"Precedence: first-class\r\n" + HEAD, [])


@pytest.mark.parametrize(
    "sender",
    [
        *("", "<>", " <> ", None, "scanner", "a b@c.test", "m\u00fcller@contoso.com", "MAILER-DAEMON@contoso.com"),
        *("relay@contoso.com", "RELAY@Contoso.com", "relay+x@contoso.com", "x@contoso.com\r\nBcc: y@x.test"),
    ],
)
def test_nobody_and_oneself_are_not_told(sender: str | None) -> None:
    assert not may_bounce(sender, HEAD, ["relay@contoso.com"])


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"auto-submitted:auto-generated; owner-email=x",
        b"Auto-Submitted: no\r\nAuto-Submitted: auto-generated",
        b"Auto-Submitted:\r\n auto-replied",
        b"Auto-Submitted: no-such-word",
        b"Auto-Submitted:",
        b'Content-Type: multipart/report; report-type="delivery-status"',
        b"CONTENT-TYPE: Multipart/Report;\r\n\treport-type=delivery-status",
        b"Precedence: bulk",
        b"Precedence: Junk",
        b"Precedence: list (of all)",
        b"Return-Path: <>",
    ],
)
def test_what_no_person_wrote_is_not_answered(field: bytes) -> None:
    assert not may_bounce("scan@contoso.com", field + b"\r\n" + HEAD, [])
    assert not may_bounce("scan@contoso.com", HEAD.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n"), [])
    assert may_bounce("scan@contoso.com", HEAD + field + b"\r\n", [])  # in the text, it is no field


def test_hops_are_counted() -> None:
    own = b"Received: from x (x [192.0.2.1])\r\n\tby relay.contoso.com with ESMTP id 1; Mon\r\n"
    other = b"received: from relay.contoso.com by mx.contoso.com with ESMTP; Mon\r\n"
    longer = b"Received: from y by relay.contoso.com.evil.test; Mon\r\n"
    head = own + other + longer + own + HEAD
    assert received_count(head) == 4
    assert own_hops(head, "Relay.Contoso.com") == 2
    assert own_hops(head, "mx.contoso.com") == 1
    assert received_count(HEAD + own) == 0


def test_a_mail_that_goes_in_a_circle_is_refused() -> None:
    own = b"Received: from x by relay with ESMTP id 1; Mon\r\n"
    assert loop(own + HEAD, "relay") is None
    assert (loop(own + own + HEAD, "relay") or "").startswith("554 5.4.6 ")
    other = b"Received: from x by another; Mon\r\n"
    assert loop(other * 50 + HEAD, "relay") is None
    assert (loop(other * 51 + HEAD, "relay") or "").startswith("554 5.4.6 ")
