"""What is remembered of a device's visits, and which of them belong beside a session."""

from __future__ import annotations

from relayprobe.wire.events import Closed, Connected
from relayprobe.wire.session import Session, session_of
from relayprobe.wire.visit import LOOK_BACK, MOST_VISITS, Visit, refusal_of, visit_of, within
from tests.transcript import events, said

LOGIN = """
S: 220 probe
C: EHLO mfp01
S: 250 AUTH LOGIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: U2Nhbm5lckBjb250b3NvLmNvbQ==
S: 334 UGFzc3dvcmQ6
C: d3Jvbmc=
S: 535 5.7.3 Authentication unsuccessful
"""


def session(text: str = "", *, started: float = 1000.0, lasts: float | None = 5.0) -> Session:
    end = [] if lasts is None else [Closed(lasts, "client", "fin")]
    spoken = events(said(text)) if text else []
    return session_of([Connected(0.0, "10.0.0.1:4000", "10.0.0.2:25"), *spoken, *end], id="own", started=started)


def visit(name: str, started: float, ended: float | None) -> Visit:
    return Visit(name, started, ended)


def test_a_visit_is_a_few_facts() -> None:
    made = visit_of(session(LOGIN))
    assert (made.started, made.ended) == (1000.0, 1005.0)
    assert (made.user, made.refusal, made.mails, made.tls_failed) == ("scanner@contoso.com", "535 auth", (), False)
    assert "wrong" not in repr(made)


def test_the_last_refusal_for_good_counts_and_stray_lines_do_not() -> None:
    assert refusal_of(session(LOGIN)) == "535 auth"
    assert refusal_of(session(LOGIN + "C: d3Jvbmc=\nS: 500 5.5.1 Unrecognized command\n")) == "535 auth"
    assert refusal_of(session("S: 220 probe\nC: MAIL FROM:<a@b.c>\nS: 451 4.3.0 later\n")) is None
    assert refusal_of(session("S: 220 probe\nC: MAIL FROM:<a@b.c>\nS: 550 5.7.60 no\n")) == "550 mail"


def test_a_visit_is_open_from_its_beginning_to_its_end() -> None:
    assert [visit("a", 10.0, 20.0).open_at(moment) for moment in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]
    assert visit("a", 10.0, None).open_at(1e9)


def test_visits_beside_a_session() -> None:
    own = session(started=1000.0, lasts=5.0)
    visits = [
        visit("too long ago", 1000.0 - LOOK_BACK - 9, 1000.0 - LOOK_BACK - 1),
        visit("before", 990.0, 995.0),
        visit("own", 1000.0, 1005.0),
        visit("begun meanwhile", 1004.0, None),
        visit("later", 1006.0, None),
        visit("still open", 980.0, None),
    ]
    assert [v.id for v in within(visits, own)] == ["still open", "before", "begun meanwhile"]


def test_so_many_visits_and_no_more() -> None:
    many = [visit(str(n), 900.0 + n / 10, 901.0 + n / 10) for n in range(500)]
    assert [v.id for v in within(many, session())] == [str(n) for n in range(500 - MOST_VISITS, 500)]
