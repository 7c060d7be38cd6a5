"""Made-up names: none of the right ones is left, in whatever form, and what is found is the same."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relayprobe.advice.findings import diagnose
from relayprobe.report.anonymous import Anonymous, lost
from relayprobe.report.masked import masked, masked_text, masked_words, without_text
from relayprobe.report.objects import session_from_object
from relayprobe.wire.codec import from_object, to_json
from relayprobe.wire.events import Body, Connected, Credentials, Event, Line, TlsHello
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.session import Session, Site, session_of
from tests.rules.written import Written, dialogues
from tests.transcript import events, said

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))

DIALOGUE = """
S: 220 mailgate.northwind.co.uk ESMTP
C: PROXY TCP4 10.20.30.40 10.20.30.41 1 2
C: EHLO KOPIERER7
S: 250-mailgate.northwind.co.uk Hello KOPIERER7 [10.20.30.40], pleased to meet you, Zwetschge
S: 250 AUTH LOGIN PLAIN CRAM-MD5
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: endldHNjaGdlQG5vcnRod2luZC5jby51aw==
S: 334 UGFzc3dvcmQ6
C: U2Nhbi0yMDI0IQ==
S: 235 OK zwetschge@northwind.co.uk
C: AUTH CRAM-MD5
S: 334 PDE4OTYuNjk3MTcwOTUyQG1haWxnYXRlLm5vcnRod2luZC5jby51az4=
C: *
S: 501 cancelled
C: MAIL FROM:<zwetschge@northwind.co.uk> SIZE=1000
S: 250 Sender zwetschge@northwind.co.uk OK
C: RCPT TO:<Quitte@Northwind.co.uk>
S: 250 OK
C: RCPT TO:<mirabelle@fruchthandel.de>
S: 550 5.4.1 Recipient address rejected: <mirabelle@fruchthandel.de> by northwind-co-uk.mail.protection.outlook.com
C: RCPT TO:<schlehe>
S: 250 OK
C: DATA
S: 354 go on
C: Received: from kopierer7.northwind.co.uk (kopierer7 [10.20.30.40]) by mailgate.northwind.co.uk
C:  for Quitte@northwind.co.uk
C: From: "Zwetschge, Paulinchen" <zwetschge@northwind.co.uk>
C: To: =?utf-8?B?UXVpdHRl?= <quitte@northwind.co.uk>
C: Subject: Vertrag mit Fruchthandel
C: Reply-To: mirabelle@fruchthandel.de
C: Message-ID: <1@kopierer7.northwind.co.uk>
C: Date: Mon, 15 Jan 2024 10:00:00 +0000
C: X-Owner: Zwetschge
C: MIME-Version: 1.0
C: Content-Type: multipart/mixed; boundary="Zwetschge_1"
C:
C: --Zwetschge_1
C: Content-Type: text/plain; charset=utf-8
C: Content-Transfer-Encoding: quoted-printable
C:
C: Lieber Herr Quitte, =C3=BCbrigens: Zwetsch=
C: ge
C: --Zwetschge_1
C: Content-Type: application/pdf; name="Vertrag.pdf"
C: Content-Disposition: attachment; filename="Vertrag.pdf"
C: Content-Transfer-Encoding: base64
C:
C: RnJ1Y2h0aGFuZGVs
C: --Zwetschge_1--
C: .
S: 250 OK
C: QUIT
S: 221 bye KOPIERER7
"""
NAMES = (
    "zwetschge quitte mirabelle schlehe northwind northwind-co-uk fruchthandel kopierer7 mailgate 10.20.30.40 "
    "10.20.30.41 vertrag paulinchen apfelbaum 198.51.100.77"
).split()


def session(text: str = DIALOGUE) -> Session:
    connected = Connected(0.0, "10.20.30.40:50001", "10.20.30.41:2525")
    site = Site(domains=("northwind.co.uk",), accounts=("apfelbaum@northwind.co.uk",), public_ip="198.51.100.77")
    return session_of([connected, *events(said(text))], id="aa00000001", started=1_700_000_000.0, site=site)


def forms(name: str) -> set[bytes]:
    """A name as it is, in base64 at each place, and in quoted-printable, in lower case."""
    found = {name.encode()}
    for spelled in {name, name.upper(), name.capitalize()}:
        for before in range(3):
            whole = b64encode(bytes(before) + spelled.encode() + bytes(3))  # what octets beside it have no part in
            found.add(whole[(0, 2, 3)[before] : (before + len(spelled)) * 8 // 6].lower())
        found.add("".join(f"={octet:02x}" for octet in spelled.encode()).encode())
    return {form for form in found if len(form) > 4}


def leaks(told: bytes, names: tuple[str, ...] | list[str] = tuple(NAMES)) -> list[bytes]:
    told = told.lower()
    return sorted(form for name in names for form in forms(name) if form in told)


def told(shown: Session) -> bytes:
    return "\n".join(map(to_json, shown.events)).encode() + repr(shown.site).encode()


def test_the_search_finds_what_it_should() -> None:
    assert leaks(told(session()))
    for name in NAMES:
        assert leaks(b"..." + name.upper().encode(), [name])
        assert leaks(b64encode(b"x" + name.encode() + b"yz"), [name])


def test_no_name_is_left() -> None:
    before = session()
    after = Anonymous(before).session(before)
    assert leaks(told(after)) == []


def test_what_is_found_is_the_same() -> None:
    before = session()
    after = Anonymous(before).session(before)
    assert {f.rule.id: f.severity for f in diagnose(after)} == {f.rule.id: f.severity for f in diagnose(before)}
    assert lost(diagnose(before), diagnose(after)) == ()


@pytest.mark.parametrize("written", dialogues(), ids=lambda written: written.name)
def test_what_is_found_in_a_dialogue_is_the_same(written: Written) -> None:
    visits, before = written.last()
    names = Anonymous(before)
    after = names.session(before)
    found = {finding.rule.id: finding.severity for finding in diagnose(before, visits)}
    assert {f.rule.id: f.severity for f in diagnose(after, [names.visit(visit) for visit in visits])} == found
    assert leaks(told(after), ["contoso"]) == []
    assert {f.rule.id: f.severity for f in diagnose(without_text(before), visits)} == found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_session_comes_out_the_same(path: Path) -> None:
    before = session_from_object(json.loads(path.read_text()))
    after = Anonymous(before).session(before)
    assert after == Anonymous(before).session(before)
    assert leaks(told(after), ["contoso", "seller1", "mfp01", "mfp02"]) == []
    assert [type(event) for event in after.events] == [type(event) for event in before.events]
    assert list(map(to_json, after.events)) == [to_json(from_object(json.loads(to_json(e)))) for e in after.events]


def test_the_same_name_has_the_same_substitute_wherever_it_stands() -> None:
    before = session()
    after = Anonymous(before).session(before)
    user = after.auths[0].user
    assert user is not None
    assert user == after.envelopes[0].sender
    assert (
        b64decode(next(e.raw for e in after.events if isinstance(e, Credentials) and e.stage == "user")).decode()
        == user
    )
    message = after.envelopes[0].message
    assert message is not None
    assert message.addresses("From") == [user]
    domain = user.partition("@")[2]
    assert after.site.domains == (domain,)
    quitte = after.envelopes[0].recipients[0].path.address
    assert message.addresses("To") == [quitte]
    assert quitte.endswith(f"@{domain}")
    assert not after.envelopes[0].recipients[1].path.address.endswith(domain)
    [host] = {e.name for e in after.greetings}
    replies = [e.raw.decode() for e in after.events if isinstance(e, Line) and e.sender == "server"]
    assert any(f"Hello {host} [10.99." in reply for reply in replies)
    assert any(f"{domain.replace('.', '-')}.mail.protection.outlook.com" in reply for reply in replies)
    assert after.peer.endswith(":50001")
    assert after.listener.endswith(":2525")


def test_the_text_keeps_its_form() -> None:
    before, after = session().envelopes[0].message, Anonymous(session()).session(session()).envelopes[0].message
    assert before is not None
    assert after is not None
    assert after.body.raw.count(b"\r\n") == before.body.raw.count(b"\r\n")
    assert after.fields("Date") == before.fields("Date")
    assert after.fields("Content-Type")[0].startswith('multipart/mixed; boundary="')
    boundary = after.fields("Content-Type")[0].partition('"')[2].rstrip('"').encode()
    assert after.body.raw.count(b"--" + boundary) == 3
    assert after.body.lines == before.body.lines


def test_names_that_are_nobodys_stay() -> None:
    names = Anonymous(session())
    for name in (
        "smtp.office365.com",
        "AM0PR01.eurprd01.prod.exchangelabs.com",
        "127.0.0.1",
        "relayprobe.local",
        "5.7.64",
    ):
        assert names.text(f"at {name}, 10:00:00") == f"at {name}, 10:00:00"
    assert names.text("550 5.7.64 TenantAttribution") == "550 5.7.64 TenantAttribution"


@pytest.mark.parametrize(
    "name", ["Büro 2", "a_b", "-x", "x.", "[10.20.30.40]", "[IPv6:fd00::7]", "10.20.30.40", "a.b.c:25"]
)
def test_a_greeting_keeps_what_a_rule_minds(name: str) -> None:
    before = session(f"S: 220 a\nC: EHLO {name}\nS: 250 a")
    after = Anonymous(before).session(before)
    assert {f.rule.id for f in diagnose(after)} == {f.rule.id for f in diagnose(before)}
    assert name not in told(after).decode()


def test_a_hello_that_names_a_server_loses_its_octets() -> None:
    hello = ClientHello("tls", 0x0303, (0x0303,), (0xC02F,), sni="mailgate.northwind.co.uk")
    sent = TlsHello(0.0, b"...mailgate.northwind.co.uk", hello, "after-starttls")
    changed = Anonymous(session()).event(sent)
    assert isinstance(changed, TlsHello)
    assert changed.raw == b""
    assert changed.hello is not None
    assert changed.hello.suites == hello.suites
    assert leaks(to_json(changed).encode()) == []
    known = replace(sent, hello=replace(hello, sni="smtp.office365.com"))
    assert Anonymous(session()).event(known) is known


def test_a_preamble_in_octets_loses_its_addresses() -> None:
    raw = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((10, 20, 30, 40, 10, 20, 30, 41, 0, 1, 0, 2))
    changed = Anonymous(session()).event(Line(0.0, "client", raw))
    assert isinstance(changed, Line)
    assert changed.raw == raw[:16] + bytes(12)


def test_settings() -> None:
    names = Anonymous(session(), ["holunder"])
    thing = {
        "accounts": {"apfelbaum@northwind.co.uk": "**********", "holunder": "**********"},
        "relay": {"devices": ["10.20.30.40", "10.20.30.0/24"], "retry": [60.0]},
        "route": [{"host": "smtp.office365.com", "password_file": "/home/holunder/secret", "port": 587}],
        "tenant": "8bf2f5b4-4d2f-4c3a-9f64-1b2c3d4e5f60",
    }
    made = names.settings(thing)
    assert leaks(json.dumps(made).encode(), [*NAMES, "holunder", "8bf2f5b4", "10.20.30.0"]) == []
    assert made["route"][0]["host"] == "smtp.office365.com"
    assert made["relay"]["retry"] == [60.0]
    assert re.fullmatch(r"10\.99\.0\.\d+/24", made["relay"]["devices"][1])


def test_mail_on_its_way() -> None:
    before = session()
    names = Anonymous(before, ["holunder"])
    made = names.thing(
        {
            "id": "abc",
            "recipients": ["quitte@northwind.co.uk"],
            "user": "holunder",
            "tries": [
                {
                    "dialogue": [json.loads(to_json(event)) for event in before.events],
                    "place": "mailgate.northwind.co.uk:25",
                }
            ],
        }
    )
    assert made["id"] == "abc"
    assert leaks(json.dumps(made).encode(), [*NAMES, "holunder"]) == []


def test_a_text_without_a_header_is_masked() -> None:
    assert masked_text(b"Dear Paul: hello\r\n.\r\n", lambda _, value: value) == b"xxxx xxxx: xxxxx\r\n.\r\n"
    assert masked_text(b"more of Paul\r\n", lambda _, value: value, header=False) == b"xxxx xx xxxx\r\n"


def test_a_second_chunk_is_text_all_of_it() -> None:
    dialogue = "S: 220 a\nC: EHLO a\nS: 250 CHUNKING\nC: MAIL FROM:<a@b.de>\nS: 250 a\nC: BDAT 18\n"
    dialogue += "C~ Subject: Paul\\r\\n\\r\\n!\nS: 250 a\nC: BDAT 10 LAST\nC~ From: Paul\nS: 250 a"
    for changed in (Anonymous(session(dialogue)).session(session(dialogue)), without_text(session(dialogue))):
        second = [event.raw for event in changed.events if isinstance(event, Body)][1]
        assert second == b"xxxx: xxxx"


@pytest.mark.parametrize(
    ("text", "made"),
    [("Hällo 12+/=", "xéxxx xxxx="), ("=C3=A4", "=78=78"), ("€😀\udcff", "€😀\udcff"), ("\x00\t", "\x00\t")],
)
def test_masked(text: str, made: str) -> None:
    assert masked(text) == made


def test_masked_words_stay_readable() -> None:
    assert masked_words("=?utf-8?B?UXVpdHRl?= =?utf-8?q?Qu=69tte?=") == "=?utf-8?B?eHh4?= =?utf-8?q?xxx?="


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=80)), max_size=20))
@example([("client", b"\r\n\r\n\0\r\nQUIT\n")])  # the beginning of a PROXY header, and no more of it
def test_nothing_is_too_odd(lines: list[tuple[str, bytes]]) -> None:
    found: list[Event] = [Connected(0.0, "10.20.30.40:1", "x")]
    found += [Line(0.0, "server" if side == "server" else "client", raw) for side, raw in lines]
    found += [replace(body, raw=lines[0][1]) for body in session().events if isinstance(body, Body) and lines]
    shown = session_of(found)
    names = Anonymous(shown)
    diagnose(names.session(shown))
    without_text(shown)
