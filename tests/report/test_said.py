"""Everything that a report says to people can be said in another language: in one in which all that the catalogue knows
is marked, no word of ours stands outside the marks. What is put into a sentence must be marked by itself, or be data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from gettext import NullTranslations
from itertools import pairwise
from typing import Any

import pytest

from relayprobe.advice import interview
from relayprobe.advice.devices import recognise_device
from relayprobe.dossier.judging import Judgement, judge
from relayprobe.office365 import endpoints
from relayprobe.office365.recognise import recognise
from relayprobe.office365.replies import ANSWERS
from relayprobe.report import compare, explained, manual, queue, text
from relayprobe.report.html import report_html
from relayprobe.report.interview import progress_text
from relayprobe.report.objects import report_object, session_object
from relayprobe.report.text import Styled
from relayprobe.rules import RULES, codes
from relayprobe.tongue import Said, Tongue
from tests.report.test_html_report import EXAMPLES, MAIL, Page, judged
from tests.rules.written import Written, dialogues
from tests.translations import messages

MESSAGES = messages()


class Marked(NullTranslations):
    """A language in which what is known is marked, sentence by sentence, but for what is put into it."""

    def gettext(self, message: str) -> str:
        return _marked(message) if (message, "") in MESSAGES else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        chosen = msgid1 if n == 1 else msgid2
        return _marked(chosen) if (msgid1, msgid2) in MESSAGES else chosen


def _marked(message: str) -> str:
    inner = re.sub(r"(\{\w+(?:![rs])?(?::[^{}]*)?\})", r"⟧\1⟦", message).replace(". ", ".⟧ ⟦")
    return f"⟦{inner}⟧"


MARKED = Tongue("xx", Marked())
SOURCES = sorted(
    {
        " ".join(source.split())
        for source in (
            *(answer.source for answer in ANSWERS),
            *(notice.source for notice in vars(endpoints).values() if isinstance(notice, endpoints.Notice)),
        )
    },
    key=len,
    reverse=True,
)
ALWAYS = {"relayprobe", "tls", "utc"}


def words(told: str) -> set[str]:
    """The words of a text, in small letters."""
    return set(re.findall(r"[^\W\d_]{2,}", told.lower()))


def outside(told: str) -> str:
    """What no mark is around."""
    deep, found = 0, ""
    for character in told:
        deep += {"⟦": 1, "⟧": -1}.get(character, 0)
        assert deep >= 0, told
        if not deep:
            found += " " if character == "⟧" else character
    assert deep == 0, told
    return found


def unsaid(told: str, data: str) -> set[str]:
    """Words that are neither said nor data."""
    left = " ".join(outside(told).split())
    for source in SOURCES:
        left = left.replace(source, " ")
    return words(left) - words(data) - ALWAYS


def lines(told: Iterable[Styled]) -> str:
    """Lines that were broken to fit, as one."""
    return " ".join(line for _, line in told)


def data_of(found: Judgement) -> str:
    """All of a session that is nobody's sentence: what was sent, ids, names, and what Office 365 answers."""
    session, known = found.session, recognise_device(found.session)
    kept: list[Any] = [session_object(session), list(found.advice.fields.values())]
    kept += [known[0].name if known else "", found.advice.settings.get("server")]
    kept += [sent.hello.signature_names for _, sent in session.hellos if sent.hello]
    kept += [sent.hello.fingerprint for _, sent in session.hellos if sent.hello]
    kept += [finding.answer for finding in found.findings]
    kept += [verdict.blockers for verdict in found.verdicts]
    sent = b" ".join(raw for event in session.events if isinstance(raw := getattr(event, "raw", b""), bytes))
    return " ".join((json.dumps(kept), sent.decode("utf-8", "replace"), *RULES))


WRITTEN = dialogues()[::7]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.name)
def test_a_report_is_said_in_a_language(written: Written) -> None:
    visits, session = written.last()
    for source in ("live", "pcap", "text", "export"):
        found = judge(replace(session, source=source), visits)
        data = data_of(found)
        told = text.report(found.session, found.findings, found.verdicts, found.advice, MARKED)
        assert unsaid(lines(told), data) == set()
        page = report_html(found.session, found.findings, found.verdicts, found.advice, tongue=MARKED)
        assert unsaid(_shown(page), data) == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_said_in_a_language(path: Any) -> None:
    found = judged(path)
    page = report_html(found.session, found.findings, found.verdicts, found.advice, [MAIL], tongue=MARKED)
    assert '<html lang="xx">' in page
    assert unsaid(_shown(page), data_of(found) + json.dumps(MAIL)) == set()


def _shown(page: str) -> str:
    """The text of a page, and what shows where one points."""
    read = Page(re.sub(r"<style>.*?</style>", "", page, flags=re.S).replace("><", "> <"))
    return " ".join((read.text, *read.attributes("title")))


def test_what_became_of_mail_is_said_in_a_language() -> None:
    waiting = {**MAIL, "state": "waiting", "kind": "report", "sender": "", "next": 5.0, "last_reply": None, "why": None}
    none_yet = {**MAIL, "user": "bob", "tries": []}
    for mail in (MAIL, waiting, none_yet):
        for told in (queue.mail_lines(mail, MARKED), queue.forwarded_lines([mail], MARKED)):
            assert unsaid(lines(told), json.dumps(mail)) - {"device", "report"} == set()
    routes = {"office": {"state": "waiting", "why": "0", "until": 100.0}}
    for now in (0.0, 4.9, 5.0):
        told = queue.list_lines([waiting, {**MAIL, "why": None}], now, routes, MARKED)
        assert unsaid(lines(told), "m1 office scanner@contoso.com anna@contoso.com") == set()
    for result in (None, "deferred", "unknown", "mixed", "interrupted", "delivered"):
        attempt = {**MAIL["tries"][0], "result": result, "repairs": []}
        for number in (None, 1):
            told = queue.attempt_lines(number, attempt, MARKED)
            assert unsaid(lines(told), json.dumps({**attempt, "result": None})) == set()
        ended = queue.ended_line("m1", "office", "0", result, None, MARKED)
        assert unsaid(lines([ended]), "m1 office") == set()


def test_the_manual_is_said_in_a_language() -> None:
    assert unsaid(lines(manual.table(RULES.values(), MARKED)), " ".join(RULES)) == set()
    for rule in RULES.values():
        data = " ".join((rule.id, *rule.sources, *_quoted(rule.answer.values())))
        assert unsaid(lines(manual.page(rule, MARKED)), data) == set()
        heads = f"{data} {' '.join(RULES)}"
        assert unsaid(" ".join(manual.document([rule], MARKED)), heads) == set()


def _quoted(answers: Iterable[Any]) -> Iterator[str]:
    for answer in answers:
        yield from (answer.line, answer.source, answer.stage, answer.only_at or "")


def test_explanations_are_said_in_a_language() -> None:
    for answer in ANSWERS:
        found = recognise(answer.line)
        told = lines(explained.explanation(found, tongue=MARKED))
        data = " ".join((*RULES, *_quoted(match.answer for match in found.matches), *(n.line for n in found.normal)))
        assert unsaid(told, data) == set()
    for pasted in ("550 5.9.9 no", "hello", "x" * 70_000):
        assert unsaid(lines(explained.explanation(recognise(pasted), tongue=MARKED)), "") == set()
    for code in codes.CODES:
        answers = " ".join(answer.line for answer in ANSWERS)
        names = code.text.values if isinstance(code.text, Said) else {}
        data = " ".join((code.vendor, code.code, code.source, answers, *RULES, *map(str, names.values())))
        assert unsaid(lines(explained.code_page(code, tongue=MARKED)), data) == set()
    for one in codes.TEXTS:
        told = lines(explained.explanation(recognise(""), [one], tongue=MARKED))
        assert unsaid(told, " ".join((one.text, one.source, *RULES))) == set()


def test_comparisons_and_interviews_are_said_in_a_language() -> None:
    all_found = [judged(path) for path in EXAMPLES]
    told = [compare.Told(found.session, found.findings, found.verdicts) for found in all_found]
    for before, after in pairwise(told):
        found = compare.compare(before, after)
        data = "".join(map(data_of, all_found)) + " ".join(
            str(fact.before) for fact in found.facts if "suites" in fact.name
        )
        shown = lines(compare.comparison_text(found, MARKED))
        assert unsaid(shown, data) == set()
    for one in all_found:
        profile = interview.profile_of([(interview.FIRST, one.session)])
        for following in (interview.next_offer(profile), None):
            shown = lines(progress_text("192.0.2.1", profile, following, MARKED))
            assert unsaid(shown, data_of(one)) == set()


def test_objects_have_their_names_in_all_languages_and_their_sentences_in_one() -> None:
    for path in EXAMPLES:
        found = judged(path)
        english = report_object(found.session, found.findings, found.verdicts, found.advice)
        marked = report_object(found.session, found.findings, found.verdicts, found.advice, MARKED)
        assert _keys(english) == _keys(marked)
        assert english["session"] == marked["session"]
        assert all(finding["title"].startswith("⟦") for finding in marked["findings"])
        bare = re.sub("[⟦⟧]", "", json.dumps(marked, ensure_ascii=False))
        assert bare.lower() == json.dumps(english, ensure_ascii=False).lower()


def _keys(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _keys(value) for key, value in thing.items()}
    return [_keys(one) for one in thing] if isinstance(thing, list) else None
