"""What to do about a reply: as the data says, and where it says nothing, by the class of the code and the stage."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.office365 import replies
from relayprobe.office365.modes import MODES, Mode
from relayprobe.office365.replies import ANSWERS, Answer
from relayprobe.relay.judgement import ROUTE_STAGES, TROUBLES, judged
from relayprobe.relay.outcome import Cause, Reply, Stage, Trouble

STAGES: tuple[Stage, ...] = get_args(Stage)


@pytest.mark.parametrize(
    ("reply", "stage", "kind", "scope"),
    [
        # the login, at whatever stage it is said
        ((535, "5.7.3 Authentication unsuccessful [SY5P282CA0097]"), "auth", "route-stop", "route"),
        ((550, "5.7.30 Basic authentication is not supported for Client Submission."), "auth", "route-stop", "route"),
        ((530, "5.7.57 Client not authenticated to send mail"), "mail", "route-stop", "route"),
        (
            (530, "5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 basic authentication is disabled"),
            "mail",
            "route-stop",
            "route",
        ),
        ((454, "4.7.0 Temporary authentication failure"), "auth", "route-later", "route"),
        # temporary codes of lasting faults
        ((451, "5.7.3 STARTTLS is required to send mail"), "mail", "configuration", "route"),
        ((421, "4.7.66 TLS 1.0 and 1.1 are not supported."), "tls", "configuration", "route"),
        ((451, "4.4.62 Mail sent to the wrong Office 365 region. ATTR35"), "rcpt", "configuration", "mail"),
        # too fast
        (
            (432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=X]"),
            "end-of-data",
            "throttled",
            "route",
        ),
        (
            (451, "4.7.500 Server busy. Please try again later from [1.2.3.4]. (AS77712344)"),
            "rcpt",
            "throttled",
            "route",
        ),
        ((451, "4.7.613 Server busy"), "mail", "throttled", "route"),
        ((421, "4.3.2 Service not available"), "mail", "route-later", "route"),
        # penalties
        ((550, "5.2.252 Sender throttled due to continuous send as denied errors."), "end-of-data", "hours", "route"),
        (
            (550, "5.2.255 Sender throttled due to continuous invalid recipients errors."),
            "end-of-data",
            "hours",
            "route",
        ),
        ((554, "5.2.122 The recipient has exceeded their limit"), "end-of-data", "hours", "mail"),
        # this mail, or this recipient
        ((554, "5.2.252 SendAsDenied; a@x.com not allowed to send as b@x.com"), "end-of-data", "never", "mail"),
        ((550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)"), "rcpt", "never", "mail"),
        ((550, "5.7.64 TenantAttribution; Relay Access Denied"), "rcpt", "configuration", "mail"),
        ((550, "5.7.606 Access denied, banned sending IP [1.2.3.4]."), "rcpt", "configuration", "route"),
        ((452, "4.5.3 Too many recipients"), "rcpt", "retry", "mail"),
        ((451, "4.7.0 Temporary server error. Please try again later. PRX2"), "end-of-data", "retry", "mail"),
        # words that are not known
        ((450, "4.2.0 greylisted, come back"), "rcpt", "retry", "mail"),
        ((552, "too big for us"), "end-of-data", "never", "mail"),
        ((554, "5.7.1 no"), "rcpt", "never", "mail"),
        ((554, "go away"), "banner", "route-later", "route"),
        ((550, "we do not like your name"), "ehlo", "route-later", "route"),
        ((502, "what"), "auth", "route-stop", "route"),
        ((421, "closing"), "end-of-data", "route-later", "route"),
        ((430, "4.4.7 message expired"), "end-of-data", "retry", "mail"),  # the data has it as a report, for good
    ],
)
def test_what_to_do(reply: tuple[int, str], stage: Stage, kind: str, scope: str) -> None:
    mode: Mode = "submission" if stage in ("auth", "tls", "end-of-data", "mail") else "direct-send"
    if "Server busy" in reply[1]:
        mode = "direct-send"
    what = judged(Reply(*reply), stage, mode)
    assert (what.kind, what.scope) == (kind, scope)
    assert what.meaning
    assert what.counts == (kind == "retry")


@pytest.mark.parametrize(
    ("reply", "stage", "kind"),
    [
        ((535, "5.7.8 Error: authentication failed: UGFzc3dvcmQ6"), "auth", "route-stop"),
        ((554, "5.7.1 <a@x.com>: Relay access denied"), "rcpt", "never"),
        ((530, "5.7.0 Must issue a STARTTLS command first"), "mail", "route-stop"),
        ((450, "4.2.0 <a@x.com>: Recipient address rejected: Greylisted"), "rcpt", "retry"),
        ((550, "5.2.252 Sender throttled due to continuous send as denied errors."), "end-of-data", "never"),
    ],
)
def test_a_smart_host_is_judged_by_its_codes_alone(reply: tuple[int, str], stage: Stage, kind: str) -> None:
    what = judged(Reply(*reply), stage, None)
    assert (what.kind, what.answer) == (kind, None)


def test_the_words_of_the_explanation_are_those_of_the_data() -> None:
    what = judged(
        Reply(535, "5.7.139 Authentication unsuccessful, the user credentials were incorrect."), "auth", "submission"
    )
    assert what.answer is not None
    assert (what.meaning, what.fix) == (what.answer.meaning, what.answer.fix)


def test_what_is_doubtful_says_so() -> None:
    what = judged(Reply(452, "4.5.3 Too many recipients"), "rcpt", "submission")
    assert what.answer is replies.TOO_MANY_RECIPIENTS
    assert "Not certain: that client submission answers so" in what.meaning


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.line[:40])
def test_every_reply_of_the_data_is_judged_as_it_says(answer: Answer) -> None:
    code = answer.code or int((answer.enhanced or "5")[0] + "50")
    stage: Stage = "end-of-data" if answer.stage == "later" else answer.stage
    text = " ".join(filter(None, (answer.enhanced, answer.text)))
    kind = judged(Reply(code, text), stage, answer.modes[0]).kind
    if code < 500:
        assert kind != "never"
    allowed = {
        "retry": {"retry", "throttled", "route-later"},
        "never": {"never"} if code >= 500 else {"retry"},
        "configuration": {"configuration"},
        "hold": {"route-stop"},
        "stop-hours": {"hours"},
    }
    assert kind in allowed[answer.retry]


@given(st.integers(200, 599), st.text(max_size=200), st.sampled_from(STAGES), st.sampled_from([*MODES, None]))
def test_any_reply_is_judged(code: int, text: str, stage: Stage, mode: Mode | None) -> None:
    what = judged(Reply(code, text), stage, mode)
    if code < 500:
        assert what.kind != "never"
    if stage in ROUTE_STAGES:
        assert what.kind not in ("never", "retry")
        assert what.scope == "route"


@pytest.mark.parametrize("cause", get_args(Cause))
def test_any_trouble_is_judged(cause: Cause) -> None:
    what = judged(Trouble(cause, "words"), "mail", "submission")
    assert what is TROUBLES[cause]
    assert what.meaning
    assert what.fix or cause == "unsuitable"


@pytest.mark.parametrize(
    "address",
    [
        '<"535 5.7.139 Authentication unsuccessful, basic authentication is disabled."@x.com>',
        '"550 5.2.252 Sender throttled due to continuous send as denied errors."@x.com',
    ],
)
def test_an_address_that_a_server_says_back_does_not_stop_the_route(address: str) -> None:
    what = judged(Reply(550, f"5.1.1 {address}: unknown here"), "rcpt", "submission")
    assert (what.kind, what.scope) == ("never", "mail")


def test_a_reply_on_one_line_has_its_codes_once() -> None:
    assert Reply(550, "5.7.1 a,\n5.7.1 b").line == "550 5.7.1 a, b"
    assert Reply(250, "").line == "250"
    assert Reply(250, "2.0.0").enhanced == "2.0.0"
    assert Reply(550, "5.7.1x no").enhanced == ""
