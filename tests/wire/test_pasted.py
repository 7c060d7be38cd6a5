"""Dialogues that other tools printed, read back: the same findings, no secret, and what a text cannot tell is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.advice.findings import diagnose
from relayprobe.dossier.judging import judge
from relayprobe.report.objects import session_from_object, session_object
from relayprobe.report.text import dialogue, report
from relayprobe.report.unseen import unseen
from relayprobe.wire.codec import to_json
from relayprobe.wire.events import Body, Closed, Credentials, Event, Line, TlsFailed, TlsUp
from relayprobe.wire.pasted import Pasted, decoded, read
from relayprobe.wire.session import Session, session_of
from relayprobe.wire.visit import Visit
from tests.rules.written import Written, dialogues

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
PASSWORD, SECRET = "Scan-2024!", "U2Nhbi0yMDI0IQ=="


def one(text: str) -> Pasted:
    [pasted] = read(text)
    return pasted


def session(text: str) -> Session:
    pasted = one(text)
    return session_of(pasted.events, source=pasted.source)


def shown(events: tuple[Event, ...]) -> str:
    return "\n".join(map(to_json, events))


# What is said, in every form

SAID = [
    ("S", "220 mail.example ESMTP"),
    ("C", "EHLO mfp01.contoso.com"),
    ("S", "250-mail.example Hello"),
    ("S", "250-STARTTLS"),
    ("S", "250 SIZE 1000"),
    ("C", "STARTTLS"),
    ("S", "220 go ahead"),
    ("T", ""),
    ("C", "EHLO mfp01.contoso.com"),
    ("S", "250-mail.example Hello"),
    ("S", "250 AUTH LOGIN XOAUTH2"),
    ("C", "AUTH LOGIN"),
    ("S", "334 VXNlcm5hbWU6"),
    ("C", "c2Nhbm5lckBjb250b3NvLmNvbQ=="),
    ("S", "334 UGFzc3dvcmQ6"),
    ("C", SECRET),
    ("S", "535 5.7.3 Authentication unsuccessful"),
    ("C", "MAIL FROM:<other@contoso.com>"),
    ("S", "530 5.7.57 Client not authenticated"),
    ("C", "QUIT"),
    ("S", "221 bye"),
]


def swaks() -> str:
    lines, tls = ["=== Trying mail.example:587...", "=== Connected to mail.example."], False
    for side, text in SAID:
        if side == "T":
            lines.append("=== TLS started with cipher TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256")
            tls = True
        elif side == "C":
            lines.append(f" {'~' if tls else '-'}> {text}")
        else:
            mark = "<~" if tls else "<-"
            lines.append(f"{mark}* {text}" if text[0] == "5" else f"{mark}  {text}")
    return "\n".join([*lines, "=== Connection closed with remote host."])


def marked(server: str, client: str, time: str = "") -> str:
    marks = {"S": server, "C": client}
    return "\n".join(f"{time}{marks[side]}{text}" for side, text in SAID if side in marks)


def quoted(server: str, client: str) -> str:
    marks = {"S": server, "C": client}
    return "\n".join(f"{marks[side]}{(text + chr(13) + chr(10)).encode()!r}" for side, text in SAID if side in marks)


def php_mailer() -> str:
    lines, code = [], ""
    for side, text in SAID:
        if side == "C":
            lines.append(f"2024-01-15 10:00:00 CLIENT -> SERVER: {text}")
        elif side == "S" and code == text[:3]:
            lines.append(" " * 46 + text)
        elif side == "S":
            lines.append(f"2024-01-15 10:00:00 SERVER -> CLIENT: {text}")
        code = text[:3] if side == "S" and text[3:4] == "-" else code if side == "S" and text[:3] == code else ""
    return "\n".join(lines)


def proxy() -> str:
    """The log of email-oauth2-proxy: both connections of it, the device's and its own, with deeper arrows."""
    begin = "2023-05-31 20:06:52,123: SMTP (localhost:1587; ::1:51978->smtp.office365.com:587)"
    lines = [f"{begin} --> [ Client connected ]"]
    for side, text in SAID:
        arrow = {"S": "<--", "C": "-->"}.get(side)
        if arrow:
            lines += [
                f"{begin} {arrow} {(text + chr(13) + chr(10)).encode()!r}",
                f"{begin}     {arrow} b'0 hidden\\r\\n'",
            ]
    return "\n".join(lines)


def curl() -> str:
    lines = ["*   Trying 192.0.2.7:587...", "* Connected to mail.example (192.0.2.7) port 587 (#0)"]
    for side, text in SAID:
        if side == "T":
            lines += ["} [179 bytes data]", "* SSL connection using TLSv1.2 / ECDHE-RSA-AES256-GCM-SHA384"]
        else:
            lines.append(f"{'>' if side == 'C' else '<'} {text}")
    return "\n".join(lines)


def postfix(daemon: str) -> str:
    """The log of Postfix with `-v`: of its server, and of its client."""
    begin = f"Jan 15 10:00:00 mail postfix/submission/{daemon}[4711]: "
    marks = {"S": "> unknown[192.0.2.7]", "C": "< unknown[192.0.2.7]"}
    up = "Anonymous TLS connection established from unknown[192.0.2.7]: TLSv1.2 with cipher AES256-GCM-SHA384"
    if daemon == "smtp":
        marks = {"S": "< mail.example[192.0.2.7]:25", "C": "> mail.example[192.0.2.7]:25"}
        up = "Untrusted TLS connection established to mail.example[192.0.2.7]:25: TLSv1.2 with cipher AES256-GCM-SHA384"
    talk = [f"{begin}{marks[side]}: {text}" if side in marks else f"{begin}{up} (256/256 bits)" for side, text in SAID]
    return "\n".join([f"{begin}connect from unknown[192.0.2.7]", *talk, f"{begin}disconnect from unknown[192.0.2.7]"])


def typed() -> str:
    lines = ["Trying 192.0.2.7...", "Connected to mail.example.", "Escape character is '^]'."]
    return "\n".join([*lines, *(text for side, text in SAID if side != "T"), "Connection closed by foreign host."])


FORMS = {
    "swaks": swaks(),
    "C and S": marked("S: ", "C: "),
    "nodemailer": marked("S: ", "C: ", "[2024-01-15 10:00:00] DEBUG [ytPRjLrwZs] "),
    "PHPMailer": php_mailer(),
    "msmtp": marked("<-- ", "--> "),
    "smtplib": quoted("reply: ", "send: "),
    "email-oauth2-proxy": proxy(),
    "email-oauth2-proxy, an excerpt": quoted("<-- ", "--> "),
    "curl": curl(),
    "sendmail": marked("", ">>> "),
    "Postfix, the server": postfix("smtpd"),
    "Postfix, the client": postfix("smtp"),
    "typed": typed(),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=list(FORMS))
def test_a_form_is_read(text: str) -> None:
    found = session(text)
    assert found.source == "text"
    said = [e.raw.decode().rstrip() for e in found.events if isinstance(e, (Line, Credentials))]
    secret = SAID.index(("C", SECRET))
    expected = [text for side, text in SAID if side != "T"]
    expected[secret - 1] = "********"
    assert said == expected
    [attempt] = found.auths
    assert (attempt.mechanism, attempt.user, attempt.accepted) == ("LOGIN", "scanner@contoso.com", False)
    assert attempt.tls
    assert len(found.tls) == 1
    assert found.closed is not None
    assert found.closed.how == "quit"
    assert SECRET not in shown(found.events)
    assert {f.rule.id for f in diagnose(found) if f.severity != "note"} == {"mail-from-not-auth-user"}


@pytest.mark.parametrize("form", ["swaks", "curl"])
def test_what_a_tool_says_of_tls(form: str) -> None:
    [(_, up)] = session(FORMS[form]).tls
    assert up == TlsUp(0.0, "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")


def test_where_a_tool_says_nothing_of_tls_it_is_up_and_no_more_is_said() -> None:
    found = session(FORMS["C and S"])
    assert [up for _, up in found.tls] == [TlsUp(0.0, "", "")]
    assert any("what the device offers in TLS" in sentence for sentence in unseen(found))


def test_where_a_tool_says_that_it_is_in_clear_tls_has_failed() -> None:
    text = swaks().replace(" ~> ", " -> ").replace("<~", "<-").replace("=== TLS started", "=== nothing")
    found = session(text)
    assert [failed.reason for _, failed in found.tls_failures] == ["continued-in-clear"]
    assert not found.tls


@pytest.mark.parametrize(
    ("line", "by", "reason"),
    [
        (
            "*** TLS startup failed (connect(): error:0A000086:SSL routines::certificate verify failed)",
            "client",
            "certificate-verify-failed",
        ),
        (
            "*** TLS startup failed (connect(): error:0A000410:SSL routines::sslv3 alert handshake failure)",
            "server",
            "sslv3-alert-handshake-failure",
        ),
    ],
)
def test_tls_that_failed(line: str, by: str, reason: str) -> None:
    lines = swaks().splitlines()
    text = "\n".join([*lines[: lines.index("<-  220 go ahead") + 1], line, "*** STARTTLS attempted but failed"])
    [(_, failed)] = session(text).tls_failures
    assert failed == TlsFailed(0.0, by, reason)  # type: ignore[arg-type]


def test_a_message_that_is_shown_is_read_and_one_that_is_not_is_said_to_be_unknown() -> None:
    head = (
        "S: 220 a\nC: EHLO x\nS: 250 a\nC: MAIL FROM:<a@contoso.com>\nS: 250 a\nC: RCPT TO:<b@contoso.com>\nS: 250 a\n"
    )
    whole = session(f"{head}C: DATA\nS: 354 go\nC: From: z@contoso.com\nC:\nC: 250 of them\nC: .\nS: 250 ok\nC: QUIT")
    [envelope] = whole.envelopes
    assert envelope.message is not None
    assert envelope.message.body.raw == b"From: z@contoso.com\r\n\r\n250 of them\r\n.\r\n"
    for shown_of_it in ("", "C: <235 bytes encoded mime message (source size 232 bytes)>\n"):
        hidden = session(f"{head}C: DATA\nS: 354 go\n{shown_of_it}S: 250 ok\nC: QUIT\nS: 221 bye")
        [envelope] = hidden.envelopes
        assert envelope.message is not None
        assert (envelope.message.body.raw, envelope.message.body.purged) == (b"", True)
        assert envelope.message.body.size == (235 if shown_of_it else 0)
        assert envelope.message.reply is not None
        assert [e.raw for e in hidden.events if isinstance(e, Line)][-2] == b"QUIT\r\n"
        assert any("text of the message" in sentence for sentence in unseen(hidden))


def test_a_chunk_is_read_without_its_text() -> None:
    found = session(
        "S: 220 a\nC: EHLO x\nS: 250 a\nC: BDAT 1000000000 LAST\nC: text\nC: more\nS: 250 ok\nC: QUIT\nS: 221 b"
    )
    [body] = [event for event in found.events if isinstance(event, Body)]
    assert (body.size, body.end, body.raw) == (1_000_000_000, "bdat", b"")
    assert [e.raw for e in found.events if isinstance(e, Line) and e.sender == "client"][1:] == [
        b"BDAT 1000000000 LAST\r\n",
        b"QUIT\r\n",
    ]


@pytest.mark.parametrize(
    "hidden", ["********", "[credentials hidden]", "<credentials hidden>", "/* secret */", "[REDACTED]"]
)
def test_a_password_that_the_tool_has_hidden_is_no_fault_of_the_device(hidden: str) -> None:
    text = FORMS["C and S"].replace(SECRET, hidden)
    [attempt] = session(text).auths
    assert (attempt.valid_base64, attempt.user, attempt.accepted) == (True, "scanner@contoso.com", False)
    plain = f"S: 220 a\nC: EHLO x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN {hidden}\nS: 235 ok"
    [attempt] = session(plain).auths
    assert (attempt.mechanism, attempt.user, attempt.accepted, attempt.valid_base64) == ("PLAIN", None, True, True)


def test_several_connections_are_several_dialogues() -> None:
    assert len(read(f"{swaks()}\n{swaks()}")) == 2
    assert len(read(f"{FORMS['C and S']}\n{FORMS['C and S']}")) == 2
    assert len(read(f"{typed()}\n{typed()}")) == 2


def test_openssl_s_client() -> None:
    found = session(
        "CONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN = a\nMIIB\n---\n"
        "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\n---\n250 SMTPUTF8\nEHLO x\n250-a\n250 AUTH PLAIN\n"
        "AUTH PLAIN AHNjYW4AU2Nhbi0yMDI0IQ==\n235 ok\nQUIT\n221 b"
    )
    assert [up.cipher for _, up in found.tls] == ["TLS_AES_256_GCM_SHA384"]
    [attempt] = found.auths
    assert (attempt.user, attempt.accepted, attempt.tls) == ("scan", True, True)
    assert PASSWORD not in shown(found.events)
    assert "AHNj" not in shown(found.events)


@pytest.mark.parametrize("text", ["", "hello\nworld", "S: 220 a", "2024 was\n250 pages", "<html>\n> quoted\n"])
def test_what_is_no_dialogue(text: str) -> None:
    assert read(text) == []


def test_texts_of_windows() -> None:
    text = FORMS["swaks"].replace("\n", "\r\n")
    for data in (text.encode("utf-16"), text.encode("utf-8-sig"), text.encode()):
        assert one(decoded(data)) == one(FORMS["swaks"])


ANY_LINE = st.sampled_from([line for text in FORMS.values() for line in text.splitlines()]) | st.text(max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_LINE, max_size=40))
def test_no_text_is_too_odd(lines: list[str]) -> None:
    for pasted in read("\n".join(lines)):
        found = session_of(pasted.events, source=pasted.source)
        diagnose(found)
        assert all(text.isprintable() for _, text in dialogue(found))


# Our own export, and back

LOST = {  # what an export as text does not carry -> findings that hang on it
    "in which way the password differs from the expected one, its characters and its length": {
        "auth-password-truncated",
        "auth-password-charset",
        "auth-newline-inside-base64",
        "auth-wrong-password",
    },
    "the text of the message": {
        "bare-lf",
        "header-from-not-auth-user",
        "end-of-data-lf-only",
        "header-list-semicolon",
        "mime-boundary-broken",
        "missing-from-header",
        "missing-date-or-message-id",
        "no-dot-stuffing",
    },
    "octets that are no characters": {"proxy-preamble", "telnet-noise-first"},
    "the cipher suites that the device offers": {"legacy-ciphers-only", "cert-rejected-by-client"},
}
NOT_CARRIED = {rule for rules in LOST.values() for rule in rules}


def exported(before: Session, visits: tuple[Visit, ...] = ()) -> Session:
    """A session, after it was exported as text and read back, with what the text leaves to `--mode` and `--config`."""
    judgement = judge(before, visits)
    lines = report(judgement.session, judgement.findings, judgement.verdicts, judgement.advice)
    pasted = one("\n".join(text for _, text in lines))
    assert pasted.source == "export"
    kept = {"id": before.id, "started": before.started, "mode": before.mode, "site": before.site}
    return session_of(pasted.events, source=pasted.source, **kept)  # type: ignore[arg-type]


def serious(session: Session, visits: tuple[Visit, ...] = ()) -> dict[str, str]:
    return {f.rule.id: f.severity for f in diagnose(session, visits) if f.severity != "note"}


@pytest.mark.parametrize("written", dialogues(), ids=lambda written: written.name)
def test_a_dialogue_comes_back_from_a_text_export(written: Written) -> None:
    visits, before = written.last()
    after = exported(before, visits)
    compare(serious(before, visits), serious(after, visits))
    if written.name == "proxy-preamble":  # of version 2, which is no text
        return
    assert [type(event) for event in after.events] == [type(event) for event in before.events]
    assert [event.at for event in after.events] == pytest.approx([event.at for event in before.events])
    assert serious(exported(after, visits), visits) == serious(after, visits)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_comes_back_from_a_text_export(path: Path) -> None:
    before = session_from_object(json.loads(path.read_text()))
    after = exported(before)
    compare(serious(before), serious(after))
    assert unseen(before) == ()
    assert unseen(after)[0].startswith("The dialogue was read from a text export")


def compare(before: dict[str, str], after: dict[str, str]) -> None:
    differing = {rule for rule in before.keys() | after.keys() if before.get(rule) != after.get(rule)}
    assert differing <= NOT_CARRIED


def test_what_was_read_from_a_text_says_so_as_json_too() -> None:
    thing = session_object(session(FORMS["swaks"]))
    assert thing["source"] == "text"
    again = session_from_object(json.loads(json.dumps(thing)))
    assert again.source == "text"
    assert replace(again, started=0.0) == session(FORMS["swaks"])


def test_how_a_text_ends_is_known_where_it_tells() -> None:
    assert any(isinstance(event, Closed) for event in one(FORMS["swaks"]).events)
    cut = session(swaks().partition(" ~> QUIT")[0])
    assert cut.closed is None
    assert "How the connection ended is not in it." in unseen(cut)
    lost = one(swaks().partition(" ~> QUIT")[0] + "*** Remote host closed connection unexpectedly.")
    assert lost.events[-1] == Closed(0.0, "server", "fin")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(FORMS.values())), st.sets(st.integers(0, 30), max_size=6))
def test_no_secret_of_a_text_of_which_lines_are_missing(text: str, gone: set[int]) -> None:
    """People cut a text before they paste it."""
    lines = [line for n, line in enumerate(text.splitlines()) if n not in gone]
    for pasted in read("\n".join(lines)):
        assert SECRET not in shown(pasted.events)
        assert PASSWORD not in shown(pasted.events)


def test_what_login_begins_with_is_a_user_name_only_where_a_password_is_asked_for() -> None:
    begun = f"S: 220 mail ESMTP\nC: EHLO scanner\nS: 250 AUTH LOGIN\nC: AUTH LOGIN {SECRET}\n"
    assert SECRET in shown(one(begun + "S: 334 UGFzc3dvcmQ6\nC: QUIT").events)
    assert SECRET not in shown(one(begun + "S: 535 5.7.3 Authentication unsuccessful\nC: QUIT").events)


# A text that does not begin with the greeting


@pytest.mark.parametrize("form", [name for name in FORMS if name != "typed"])
def test_a_text_that_begins_behind_the_greeting(form: str) -> None:
    lines = FORMS[form].splitlines()
    greeting = next(n for n, line in enumerate(lines) if "220 mail.example ESMTP" in line)
    found = session("\n".join(lines[greeting + 1 :]))
    assert found.banner is None
    assert [attempt.accepted for attempt in found.auths] == [False]
    assert found.greetings[-1].offers.keys() == {"AUTH"}
    assert {f.rule.id for f in diagnose(found) if f.severity != "note"} == {"mail-from-not-auth-user"}
    assert "The text does not begin with the server's greeting: what came before is not judged." in unseen(found)


def test_a_text_that_begins_with_the_answer_to_what_is_missing() -> None:
    pasted = one("S: 250 SIZE 1000\nC: MAIL FROM:<a@contoso.com>\nS: 250 ok\nC: QUIT\nS: 221 bye")
    found = session_of(pasted.events, source=pasted.source)
    assert [exchange.reply and exchange.reply.code for exchange in found.exchanges] == [250, 221]


def test_a_device_that_talks_before_the_greeting_is_seen_in_a_text() -> None:
    found = session("C: EHLO mfp01.contoso.com\nS: 220 mail\nS: 250 ok\nC: QUIT\nS: 221 bye")
    assert "talks-before-banner" in {f.rule.id for f in diagnose(found)}


def test_connections_one_behind_the_other_without_their_greetings() -> None:
    lines = quoted("reply: ", "send: ").splitlines()[1:]
    assert [len(pasted.events) for pasted in read("\n".join(lines * 2))] == 2 * [len(one("\n".join(lines)).events)]


def test_the_tickets_that_openssl_prints_are_not_said_by_the_device() -> None:
    ticket = (
        "---\nPost-Handshake New Session Ticket arrived:\nSSL-Session:\n    Protocol  : TLSv1.3\n\n---\nread R BLOCK\n"
    )
    text = f"""CONNECTED(00000003)
---
New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384
---
250 SMTPUTF8
EHLO mfp01.contoso.com
{ticket}250 AUTH LOGIN
{ticket}QUIT
221 bye
{ticket}closed"""
    found = session(text)
    assert [exchange.command and exchange.command.verb for exchange in found.exchanges] == [b"EHLO", b"QUIT"]
    assert [up.version for _, up in found.tls] == ["TLSv1.3"]
