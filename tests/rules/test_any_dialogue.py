"""No rule raises, points outside the dialogue, or tells a password, whatever is said and in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayprobe.advice.findings import diagnose
from relayprobe.office365.modes import MODES
from relayprobe.wire.dialogue import BodyPart, Dialogue
from relayprobe.wire.events import Closed, Connected, Encrypted, Event, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.session import Session, Site, session_of
from relayprobe.wire.visit import visit_of, within

PASSWORD = b"Marker-Of-Passw0rd!"
LINES = [
    b"EHLO mfp01", b"HELO", b"ehlo fe80::1", b"HELO [10.0.0.1]", b"EHLO _", b"EHLO \xff\xfe", b"STARTTLS",
    b"starttls now", b"AUTH LOGIN", b"AUTH PLAIN AGEATWFya2VyLU9mLVBhc3N3MHJkIQ==", b"auth cram-md5", b"AUTH NTLM",
    b"AUTH", b"AUTH ?", b"c2Nhbm5lckBjb250b3NvLmNvbQ==", b"TWFya2VyLU9mLVBhc3N3MHJkIQ==", b"*", b"", b" ", b"QUIT",
    b"RSET", b"NOOP", b"DATA", b"DATA BODY=8BITMIME", b"BDAT 5 LAST", b"BDAT x", b"MAIL FROM:<>", b"MAIL FROM: a@b.c",
    b"MAIL FROM:<a@b.c> SIZE=99", b"MAIL FROM:<A <a@b.c>> AUTH=<>", b"MAIL", b"MAIL FROM:\xc3\xbc@\xff",
    b"RCPT TO:<a@b.c,d@e.f>", b"RCPT TO:root", b"RCPT TO:<'a@[::1]'>", b"RCPT TO:<>", b"USER scanner", b"APOP a b",
    b"\xef\xbb\xbfEHLO a", b"\xff\xfb\x1fEHLO a", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", b"From: x;y@z",
    b"Content-Type: multipart/mixed; boundary==", b"--=", b".", b"..", b"Date: 1 Jan 1970",
    b"Content-Transfer-Encoding: base64", b"\x00", b"x" * 1100,
]  # fmt: skip
REPLIES = [
    b"220 ready", b"220-a\r\n220 b", b"250 ok", b"250-x\r\n250-PIPELINING\r\n250 AUTH LOGIN",
    b"250-x\r\n250 STARTTLS", b"334 VXNlcm5hbWU6", b"334 ", b"235 ok", b"354 go on", b"432 4.3.2 later",
    b"452 4.5.3 many", b"500 5.3.3 what", b"504 5.7.4 no", b"535 5.7.3 no", b"552 5.3.4 big", b"421 4.4.2 bye",
    b"221 bye", b"+OK", b"25", b"",
]  # fmt: skip
HELLOS = [
    None,
    ClientHello("tls", 0x0301, (0x0301,), (0x35,)),
    ClientHello("sslv2", 2, (), ()),
    ClientHello("tls", 0, (), ()),
]
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r\r\n", b""])

said = st.tuples(st.just("client"), st.one_of(st.sampled_from(LINES), st.binary(max_size=40)), ENDS)
answered = st.tuples(st.just("server"), st.sampled_from(REPLIES), st.just(b"\r\n"))
happened = st.one_of(
    st.builds(
        TlsHello, st.floats(0, 9), st.just(b""), st.sampled_from(HELLOS), st.sampled_from(["on-connect", "late"])
    ),
    st.builds(TlsHello, st.floats(0, 9), st.just(b""), st.sampled_from(HELLOS), st.just("after-starttls")),
    st.builds(TlsUp, st.floats(0, 9), st.just("TLSv1.2"), st.just("x")),
    st.builds(TlsFailed, st.floats(0, 9), st.sampled_from(["client", "server"]), st.sampled_from(["closed", "x"])),
    st.builds(Encrypted, st.floats(0, 9), st.floats(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
closed = st.builds(
    Closed, st.floats(0, 999), st.sampled_from(["client", "server"]), st.sampled_from(["fin", "rst", "quit", "timeout"])
)
steps = st.lists(st.one_of(said, answered, happened), max_size=40)
sites = st.sampled_from([Site(), Site(domains=("b.c",), accounts=("a@b.c",)), Site(connector=True)])


def heard(script: list[object], end: Closed | None, listener: str) -> list[Event]:
    dialogue = Dialogue({"scanner@contoso.com": PASSWORD.decode()})
    events: list[Event] = [Connected(0.0, "[fe80::1]:4000", listener)]
    at = 0.0
    for step in script:
        at += 0.5
        match step:
            case (("client" | "server") as side, bytes() as text, bytes() as ending):
                events += [o for o in dialogue.receive(side, text + ending, at) if not isinstance(o, BodyPart)]
            case TlsUp():
                dialogue.behind_starttls()
                dialogue.secured()
                events.append(step)
            case TlsHello() | TlsFailed() | Encrypted():
                events.append(step)
    events += [o for o in dialogue.close(at) if not isinstance(o, BodyPart)]
    return events if end is None else [*events, end]


@given(steps, st.none() | closed, st.sampled_from(["0.0.0.0:25", "tls://0.0.0.0:465", "pop3://0.0.0.0:110"]), sites)
def test_any_dialogue(script: list[object], end: Closed | None, listener: str, site: Site) -> None:
    events = heard(script, end, listener)
    before = session_of(events, id="before", started=100.0, site=site)
    session: Session = session_of(events, id="own", started=130.0, site=site)
    visits = within([visit_of(before)], session)
    for mode in MODES:
        for finding in diagnose(session, visits, mode):
            for evidence in finding.evidence:
                assert 0 <= evidence.event < len(events)
                assert PASSWORD.decode() not in evidence.says
                assert len(evidence.says) < 500
