"""The interview, as pure functions: it ends whatever a device does, and what no send has shown stays unknown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayprobe.advice.interview import (
    ALL,
    FIRST,
    MOST_SENDS,
    MOST_VISITS,
    NOT_KNOWN,
    Offer,
    Profile,
    next_offer,
    profile_of,
    table,
    words_of,
)
from relayprobe.wire.session import Session, session_of
from tests.rules.written import HERE, dialogues, read


def last(name: str) -> Session:
    return read(HERE / f"{name}.txt").last()[1]


SESSIONS = [written.last()[1] for written in dialogues()]


def known(*answers: tuple[Offer, Session]) -> dict[str, str]:
    return {ability.id: ability.known for ability in table(profile_of(answers))}


def test_at_first_everything_is_offered_and_nothing_is_known() -> None:
    assert next_offer(Profile()) == FIRST
    assert FIRST.mechanisms == ALL
    assert {ability.known for ability in table(Profile())} == {NOT_KNOWN}
    assert not any(ability.certain for ability in table(Profile()))


def test_one_send_shows_much() -> None:
    found = known((FIRST, last("control-clean-submission")))
    assert found["starttls"] == "yes"
    assert found["best-tls"] == "TLS 1.2"
    assert found["mechanisms"] == "LOGIN (there may be others)"
    assert found["sender"] == "scanner@contoso.com, in the one mail so far"
    assert found["without-starttls"] == found["without-login"] == found["after-failure"] == NOT_KNOWN


def test_who_only_greets_has_answered_nothing_and_twice_is_an_answer() -> None:
    first, probe = (FIRST, last("control-clean-submission")), last("probe-session-no-data-bare")
    greeting = last("helo-unqualified")
    asked = next_offer(profile_of([first]))
    assert asked == Offer(starttls=False)
    assert next_offer(profile_of([first, (asked, probe)])) == asked  # it came and went
    once = profile_of([first, (asked, greeting)])
    assert once.without_starttls is None
    assert next_offer(once) == asked
    twice = profile_of([first, (asked, greeting), (asked, greeting)])
    assert twice.without_starttls == "stops"
    assert next_offer(twice) != asked


def test_tls_that_fails_is_asked_for_again_to_see_what_comes_then() -> None:
    failed = profile_of([(FIRST, last("sslv3-only"))])
    assert failed.failed_last
    assert next_offer(failed) == FIRST
    stops = profile_of([(FIRST, last("sslv3-only")), (FIRST, last("sslv3-only"))])
    assert stops.after_failure == "stops"
    clear = profile_of([(FIRST, last("sslv3-only")), (FIRST, last("no-tls"))])
    assert clear.after_failure == clear.without_starttls == "sends"


def test_a_refused_certificate_is_told_from_old_tls() -> None:
    assert known((FIRST, last("cert-rejected-by-client")))["certificate"].startswith("checked")
    assert known((FIRST, last("sslv3-only")))["certificate"] == NOT_KNOWN


def test_what_comes_next_is_said_in_words() -> None:
    assert "does not offer STARTTLS" in words_of(Offer(starttls=False))
    assert "TLS 1.2 and nothing else" in words_of(Offer(tls="1.2"))
    assert "without one" in words_of(Offer(mechanisms=()))
    assert "only PLAIN" in words_of(Offer(mechanisms=("PLAIN",)))


@given(st.lists(st.sampled_from(SESSIONS), min_size=MOST_VISITS, max_size=MOST_VISITS))
def test_it_ends_whatever_comes(sessions: list[Session]) -> None:
    answers: list[tuple[Offer, Session]] = []
    for session in sessions:
        offer = next_offer(profile_of(answers))
        if offer is None:
            break
        answers.append((offer, session))
    profile = profile_of(answers)
    assert next_offer(profile) is None
    assert profile.sends <= MOST_SENDS
    assert all(ability.known for ability in table(profile))


def test_an_empty_session_is_no_answer() -> None:
    assert profile_of([(FIRST, session_of([]))]).sends == 0
    assert next_offer(profile_of([(FIRST, session_of([]))])) == FIRST
