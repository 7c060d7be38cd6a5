"""The reader: whatever the pieces, the same events; and no secret among them."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.advice.findings import diagnose
from relayprobe.wire import codec, message
from relayprobe.wire.dialogue import BodyPart, Dialogue
from relayprobe.wire.events import Body, Credentials, Line
from relayprobe.wire.session import session_of
from tests.transcript import events, said

USER, PASSWORD = "scanner@contoso.com", "Geheim-Wort-7!"
U, P = b64encode(USER.encode()).decode(), b64encode(PASSWORD.encode()).decode()
PLAIN = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
MOVED = b64encode(f"{USER}\0{PASSWORD}\0".encode()).decode()
CARET = b64encode(f"user={USER}^Aauth=Bearer {PASSWORD}^A^A".encode()).decode()
BOTH = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
ASKED = "S: 334 UGFzc3dvcmQ6"
CRAM = b64encode(f"{USER} {PASSWORD}".encode()).decode()
BEARER = b64encode(f"user={USER}\x01auth=Bearer {PASSWORD}\x01\x01".encode()).decode()

DIALOGUES = {
    "login": f"S: 220 x\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {U}\nS: 334 UGFzc3dvcmQ6\nC: {P}\nS: 235 ok",
    "login with initial response": f"S: 220 x\nC: auth login {U}\nS: 334 UGFzc3dvcmQ6\nC: {P}\nS: 235 ok",
    "plain": f"S: 220 x\nC: AUTH PLAIN {PLAIN}\nS: 235 ok",
    "plain in two steps": f"S: 220 x\nC: AUTH PLAIN\nS: 334 \nC: {PLAIN}\nS: 235 ok",
    "xoauth2": f"S: 220 x\nC: AUTH XOAUTH2 {BEARER}\nS: 235 ok",
    "refused, then sent as commands": f"S: 220 x\nC: AUTH LOGIN\nS: 538 no\nC: {U}\nS: 500 ?\nC: {P}\nS: 500 ?",
    "refused, then in clear": f"S: 220 x\nC: AUTH PLAIN {PLAIN}\nS: 535 no\nC: {PASSWORD}\nS: 500 ?",
    "cancelled": f"S: 220 x\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 no\nC: {PASSWORD}\nS: 500 ?",
    "wrapped": f"S: 220 x\nC: AUTH LOGIN {U}\nS: 334 UGFzc3dvcmQ6\nC: {P[:10]}\nS: 535 no\nC: {P[10:]}\nS: 500 ?",
    "pipelined": f"S: 220 x\nC: AUTH LOGIN\nC: {U}\nC: {P}\nS: 334 VXNlcm5hbWU6\nS: 334 UGFzc3dvcmQ6\nS: 235 ok",
    "pipelined and refused": f"S: 220 x\nC: AUTH LOGIN\nC: {U}\nC: {P}\nS: 503 no\nS: 500 ?\nS: 500 ?",
    "cut in the middle": f"S: 220 x\nC: AUTH LOGIN {U}\nS: 334 UGFzc3dvcmQ6\nC~ {P[:-3]}",
    "cut in the command": f"S: 220 x\nC~ AUTH PLAIN {PLAIN}",
    "cut before the reply": f"S: 220 x\nC: AUTH LOGIN\nC~ {P}",
    "a lone token": f"S: 220 x\nC: EHLO a\nS: 250 x\nC: {P}\nS: 500 ?",
    "not base64": f"S: 220 x\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {PASSWORD}\nS: 501 no",
    "unknown mechanism": f"S: 220 x\nC: AUTH {P}\nS: 504 no",
    "telnet in front": f"S: 220 x\nC~ \\xff\\xfb\\x1fAUTH PLAIN {PLAIN}\\r\\n\nS: 235 ok",
    "joined": f"S: 220 x\nC: AUTHPLAIN {PLAIN}\nS: 500 ?",
    "http": f"S: 220 x\nC: POST / HTTP/1.1\nS: 500 ?\nC: Authorization: Basic {PLAIN}\nS: 500 ?",
    "refused text, then login": f"S: 220 x\nC: DATA\nS: 503 no\nC: hello\nS: 500 ?\nC: AUTH LOGIN {U}\n{ASKED}\nC: {P}",
    "behind a PROXY header": f"C: PROXY TCP4 192.0.2.1 192.0.2.2 5 25\nS: 220 x\nC: AUTH LOGIN {U}\n{ASKED}\nC: {P}",
    "a chunk that is refused": f"S: 220 x\nC~ BDAT 3\\tFIRST\\r\\n\nS: 501 no\nC: AUTH PLAIN {PLAIN}\nS: 235 ok",
    "a NUL in the wrong place": f"S: 220 x\nC: AUTH PLAIN {MOVED}\nS: 535 no",
    "a caret for octet 1": f"S: 220 x\nC: AUTH XOAUTH2 {CARET}\nS: 535 no",
    "name and password in one": f"S: 220 x\nC: AUTH LOGIN {BOTH}\nS: 334 UGFzc3dvcmQ6\nC: {P}\nS: 535 no",
    "pop3": f"S: 220 x\nC: USER {USER}\nS: 500 ?\nC: PASS {PASSWORD}\nS: 500 ?",
    "behind a command": f"S: 220 x\nC: AUTH PLAIN {PLAIN}\nS: 535 no\nC: QUIT {P}\nS: 221 x\nC: noop {PASSWORD}",
    "base64 behind a command": f"S: 220 x\nC: RSET {P}\nS: 250 x\nC: HELP {PLAIN}\nS: 502 no",
    "behind an octet that is no text": f"S: 220 x\nC~ EHLO mfp\\x85AUTH PLAIN {PLAIN}\\r\\n\nS: 501 no",
    "behind a bare CR and more": f"S: 220 x\nC~ EHLO mfp\\r\\x80AUTH PLAIN {PLAIN}\\r\\n\nS: 501 no",
    "cram": f"S: 220 x\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: {CRAM}\nS: 235 ok",
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_secrets_are_in_no_event_and_pieces_do_not_matter(name: str) -> None:
    steps = said(DIALOGUES[name])
    whole = events(steps)
    assert events(steps, bytewise=True) == whole
    stored = json.dumps([codec.to_object(event) for event in whole])
    for secret in (PASSWORD, MOVED, CARET, BOTH, P, P[:10], P[10:], P[:-3], PLAIN, BEARER, PLAIN[8:40]):
        assert secret not in stored


def test_what_is_known_of_a_password() -> None:
    def likeness(given: bytes) -> object:
        steps = said(f"S: 220 x\nC: AUTH LOGIN {U}\nS: 334 UGFzc3dvcmQ6\nC: {b64encode(given).decode()}\nS: 535 no")
        return session_of(events(steps, {USER: "Pässwort"})).auths[0].secret.likeness  # type: ignore[union-attr]

    assert likeness("Pässwort".encode()) == "equal"
    assert likeness("Pässwort".encode("latin-1")) == "encoding"
    assert likeness("Pässwort\n".encode()) == "line-end"
    assert likeness("Pässw".encode()) == "prefix"
    assert likeness("PÄSSWORT".lower().encode()) != "equal"
    assert likeness(b"quite another") == "different"


def test_bytes_come_back_exactly() -> None:
    steps = said(
        "S: 220-x\nS: 220 y\nC~ \\xff\\xfd\\x03EHLO\\ta\\n\nS: 250 x\nC:  MAIL FROM : <a@b>\nS: 250 ok\n"
        "C: RCPT TO:<c@d>\nS: 250 ok\nC: DATA\nS: 354 go\nC~ a\\nb\\rc\\r\\n..d\\r\\n.\\r\\nQUIT\\r\\n\n"
        "S: 250 ok\nS: 221 bye\nC~ \\x00rest"
    )
    for side in ("client", "server"):
        sent = b"".join(data for sender, data in steps if sender == side)
        kept = b"".join(e.raw for e in events(steps) if isinstance(e, Line | Body) and e.sender == side)
        assert kept == sent


def test_a_pipelined_message_is_a_message() -> None:
    steps = said("S: 220 x\nC: MAIL FROM:<a@b>\nC: RCPT TO:<c@d>\nC: DATA\nC: Subject: x\nC:\nC: text\nC: .\nC: QUIT")
    steps += said("S: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 kept\nS: 221 bye")
    session = session_of(events(steps))
    assert [m.body.raw for m in session.messages] == [b"Subject: x\r\n\r\ntext\r\n.\r\n"]
    assert [e.command.verb for e in session.commands()] == [b"MAIL", b"RCPT", b"DATA", b"QUIT"]  # type: ignore[union-attr]
    assert [e.reply.code for e in session.exchanges] == [250, 250, 354, 250, 221]  # type: ignore[union-attr]


def test_a_message_sent_although_refused_is_no_run_of_commands() -> None:
    steps = said(
        "S: 220 x\nC: DATA\nS: 503 no\nC: Subject: secret plans\nC:\nC: text\nC: .\nS: 500 ?\nC: QUIT\nS: 221 bye"
    )
    found = events(steps)
    [body] = [e for e in found if isinstance(e, Body)]
    assert body.refused
    assert body.end == "crlf"
    assert [e.raw for e in found if isinstance(e, Line) and e.sender == "client"] == [b"DATA\r\n", b"QUIT\r\n"]


SMUGGLING = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n\r.\r\n", b"\r\n\x00.\r\n"]


@pytest.mark.parametrize("mark", SMUGGLING)
def test_no_mark_smuggles_a_message(mark: bytes) -> None:
    text = (
        b"Subject: good\r\n\r\nx"
        + mark
        + b"MAIL FROM:<evil@x>\r\nRCPT TO:<v@x>\r\nDATA\r\nSubject: evil\r\n\r\ny\r\n.\r\n"
    )
    steps = said("S: 220 x\nC: MAIL FROM:<good@x>\nS: 250 ok\nC: RCPT TO:<v@x>\nS: 250 ok\nC: DATA\nS: 354 go")
    steps += [("client", text), ("server", b"250 kept\r\n")]
    for bytewise in (False, True):
        session = session_of(events(steps, bytewise=bytewise))
        assert [e.sender for e in session.envelopes] == ["good@x"]
        assert session.messages[0].body.raw == text


def test_a_text_that_looks_ended_ends_when_it_is_answered() -> None:
    steps = said(
        "S: 220 x\nC: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<c@d>\nS: 250 ok\nC: DATA\nS: 354 go\nC~ x\\n.\\n"
    )
    answered = session_of(events([*steps, ("server", b"250 kept\r\n")]))
    assert answered.messages[0].body.end == "bare-lf"
    given_up = session_of(events(steps))
    assert given_up.messages == ()
    assert given_up.envelopes[0].message is not None
    assert given_up.envelopes[0].message.body.end == "bare-lf"


def test_a_text_taken_as_complete_ends_at_once() -> None:
    dialogue = Dialogue()
    steps = said(
        "S: 220 x\nC: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<c@d>\nS: 250 ok\nC: DATA\nS: 354 go\nC~ x\\n.\\n"
    )
    for side, data in steps:
        dialogue.receive(side, data, 0.0)
    [body] = dialogue.text_ended(5.0)
    assert isinstance(body, Body)
    assert body.end == "bare-lf"
    [line] = dialogue.receive("client", b"RSET\r\n", 5.1)
    assert line == Line(5.1, "client", b"RSET\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a" + b" " * 60_000 + b"b>",
        b"\xff\xfa" * 30_000,
        b"MAIL FROM:" + b"<" * 60_000,
        b"EHLO " + b"." * 60_000,
    ],
)
def test_long_lines_are_read_as_quickly_as_short_ones(line: bytes) -> None:
    session = session_of(events([("server", b"220 x\r\n"), ("client", line + b"\r\n"), ("server", b"250 ok\r\n")]))
    diagnose(session)  # what is quadratic in its length would take minutes here
    assert len(session.exchanges) == 1


@pytest.mark.parametrize(
    "field", [b"From: " + b"(" * 4000, b"a" * 65_000, b"From: " + b"<" * 65_000, b"From:" + b" " * 65_000]
)
def test_hostile_header_fields_are_read(field: bytes) -> None:
    text = b"From: a@b.de\r\n" + field + b"\r\n\r\n"
    assert message.addresses(message.fields(text, "from"))[0] == "a@b.de"
    assert len(message.trimmed(text)) <= len(text) + 10


def test_chunks_are_one_message() -> None:
    steps = said("S: 220 x\nC: MAIL FROM:<a@b>\nC: RCPT TO:<c@d>\nC: BDAT 5\nC~ helloBDAT 4 LAST\\r\\n\\n.\\nx")
    steps += said("S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 kept")
    session = session_of(events(steps))
    assert session.messages[0].body.raw == b"hello\n.\nx"
    assert session.messages[0].body.size == 9


def test_a_proxy_header_is_one_line_and_not_answered() -> None:
    header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)
    steps = [("client", header + b"EHLO a\r\n"), *said("S: 220 x\nS: 250 x")]
    found = events(steps)  # type: ignore[arg-type]
    assert events(steps, bytewise=True) == found  # type: ignore[arg-type]
    assert found[0] == Line(0.0, "client", header)
    assert session_of(found).greetings[0].name == "a"


def test_what_is_sent_behind_starttls_is_never_answered() -> None:
    dialogue = Dialogue()
    out = dialogue.receive("server", b"220 x\r\n", 0.0)
    out += dialogue.receive("client", b"STARTTLS\r\nMAIL FROM:<evil@x>\r\n", 0.1)
    out += dialogue.receive("server", b"220 go\r\n", 0.2)
    out += dialogue.thrown_away(dialogue.behind_starttls(), 0.2)
    dialogue.secured()
    out += dialogue.receive("client", b"EHLO a\r\n", 0.3)
    out += dialogue.receive("server", b"250 x\r\n", 0.4)
    session = session_of([e for e in out if not isinstance(e, BodyPart)])
    assert session.greetings[0].reply is not None
    assert session.greetings[0].tls
    assert session.envelopes[0].reply is None


_PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"AUTH LOGIN\r\n",
                b"DATA\r\n",
                b"MAIL FROM:<a@b>\r\n",
                b"STARTTLS\r\n",
                b"BDAT 3\r\n",
                b".\r\n",
                b"\r\n.\r\n",
            ]
        ),
        st.binary(max_size=12),
    ),
    max_size=12,
)
_REPLIES = st.sampled_from(
    [b"250 ok\r\n", b"334 \r\n", b"354 go\r\n", b"235 ok\r\n", b"535 no\r\n", b"500 ?\r\n", b"220 go\r\n"]
)


@settings(max_examples=400)
@given(st.lists(st.one_of(_PIECES.map(lambda p: ("client", b"".join(p))), _REPLIES.map(lambda r: ("server", r)))))
def test_any_octets_whole_or_in_pieces(steps: list[tuple[str, bytes]]) -> None:
    talk = [("server", b"220 x\r\n"), *steps]
    whole = events(talk)  # type: ignore[arg-type]
    assert events(talk, bytewise=True) == whole  # type: ignore[arg-type]
    session_of(whole)
    for event in whole:
        assert codec.from_object(json.loads(json.dumps(codec.to_object(event)))) == event


def test_the_user_is_kept_and_shown() -> None:
    [first, second] = [e for e in events(said(DIALOGUES["login with initial response"])) if isinstance(e, Credentials)]
    assert first.user == USER
    assert first.raw == f"auth login {U}\r\n".encode()
    assert second.raw == b"********\r\n"
