"""Italian says all that English says: the catalogue has every message of the code, whole; and every text for people
that comes of a dialogue can be said in another language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Message

from relayprobe.advice import interview
from relayprobe.advice.choice import advise
from relayprobe.advice.findings import diagnose
from relayprobe.advice.verdicts import verdicts
from relayprobe.office365.modes import MODES
from relayprobe.office365.recognise import Unknown
from relayprobe.office365.replies import ANSWERS
from relayprobe.rules import RULES
from relayprobe.tongue import Said, Tongue, tongue_of
from relayprobe.wire.session import Session, Site
from relayprobe.wire.visit import Visit
from tests import translations
from tests.rules.written import Written, dialogues

PO = translations.PO.read_text(encoding="utf-8")
MESSAGES = translations.messages()
CATALOGUE = [message for message in translations.catalogue(PO) if message.id]


# The catalogue


def test_the_catalogue_has_the_messages_of_the_code_and_no_others() -> None:
    catalogue = {(*_texts(message.id), "")[:2] for message in CATALOGUE}
    assert (MESSAGES.keys() - catalogue, catalogue - MESSAGES.keys()) == (set(), set()), "make translations"
    assert not translations.catalogue(PO).obsolete
    assert not [message.id for message in CATALOGUE if message.fuzzy]


def test_everything_has_a_translation() -> None:
    left = translations.untranslated(translations.catalogue(PO))
    assert left == [], f"{len(left)} messages are not translated"


def test_what_is_compiled_is_what_is_written() -> None:
    kept = GNUTranslations(BytesIO(translations.MO.read_bytes()))
    made = GNUTranslations(BytesIO(translations.compiled(PO)))
    assert _but_the_head(kept) == _but_the_head(made), "make translations"


def test_a_run_that_finds_nothing_new_changes_nothing() -> None:
    assert translations.updated(PO) == PO


@pytest.mark.parametrize("message", CATALOGUE, ids=lambda message: _texts(message.id)[0][:40])
def test_a_translation_has_the_form_of_its_message(message: Message) -> None:
    ids, strings = _texts(message.id), _texts(message.string)
    fields = set().union(*map(_fields, ids))
    for at, text in enumerate(strings):
        if not text:
            continue  # another test's
        of = ids[min(at, len(ids) - 1)]
        assert Counter(_fields(text)) == Counter(_fields(of)) or (len(ids) > 1 and set(_fields(text)) <= fields)
        assert not re.search(r"</?[a-z]+>|&[a-z]+;", text)
        assert text.count("`") % 2 == 0
        assert Counter(re.findall(r"`[^`]*`", text)) == Counter(re.findall(r"`[^`]*`", of))
        assert (text[:1].isspace(), text[-1:].isspace()) == (of[:1].isspace(), of[-1:].isspace())
        assert text.endswith((".", ":", "?")) == of.endswith((".", ":", "?"))
        assert "  " not in text


def _texts(strings: str | tuple[str, ...] | list[str]) -> list[str]:
    return [strings] if isinstance(strings, str) else list(strings)


def _fields(template: str) -> list[str]:
    if not _is_template(template):
        return []
    return [f"{name}:{form}" for _, name, form, _ in Formatter().parse(template) if name is not None]


def _is_template(text: str) -> bool:
    return bool(re.search(r"\{[a-z_0-9]+(?::[^}]*)?\}", text))


def _but_the_head(catalogue: GNUTranslations) -> dict[object, str]:
    return {id: text for id, text in vars(catalogue)["_catalog"].items() if id}


@pytest.mark.parametrize("call", ['said(f"the sender is {sender}")', 'tongue.counted("{n} mail", f"{n} mails", n)'])
def test_a_template_that_is_put_together_first_is_told_of(tmp_path: Path, call: str) -> None:
    (tmp_path / "module.py").write_text(call)
    with pytest.raises(ValueError, match=r"module\.py:1: a template is a literal"):
        list(translations.in_code(tmp_path / "module.py"))


def test_templates_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        'x = said("{a}: {b}", a=said("one") if y else said("two"), b=self._tongue("three" if y else "four"))\n'
        'tongue.counted("{n} mail", "{n} " "mails", 2)'
    )
    assert {*translations.in_code(tmp_path / "module.py")} == {
        *(("{a}: {b}", ""), ("one", ""), ("two", ""), ("three", ""), ("four", "")),
        ("{n} mail", "{n} mails"),
    }


def test_numbers_are_written_as_one_does() -> None:
    italian = Tongue("it", NullTranslations())
    assert italian("{n:,} and {x:.1f}, {word}", n=1234567, x=0.5, word="1,2") == "1.234.567 and 0,5, 1,2"


# What is said of a dialogue


class Marked(NullTranslations):
    """A language in which all that is known is marked, and nothing else is."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧" if (message, "") in MESSAGES else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        chosen = msgid1 if n == 1 else msgid2
        return f"⟦{chosen}⟧" if (msgid1, msgid2) in MESSAGES else chosen


MARKED = Tongue("xx", Marked())
SITES = (None, Site(domains=("fabrikam.com",), static_ip=False, basic_auth=False, oauth=False, blocked_ports=(25, 587)))


@pytest.mark.parametrize("written", dialogues(), ids=lambda written: written.name)
def test_nothing_for_people_escapes_translation(written: Written) -> None:
    visits, session = written.last()
    for site in SITES:
        if site is not None:
            session = replace(session, site=site)
        for text in _said_of(session, visits):
            assert _outside(MARKED(text)) == "", MARKED(text)


def _said_of(session: Session, visits: tuple[Visit, ...]) -> Iterator[str]:
    """All texts for people that rules and advice have for a session."""
    judged = verdicts(session, visits)
    for mode in MODES:
        findings = diagnose(session, visits, mode)
        for finding in findings:
            yield from (finding.rule.title, finding.fix, finding.doubt or "", *finding.rule.why.split("\n\n"))
            yield from (evidence.says for evidence in finding.evidence)
        advice = advise(session, findings, judged, visits)
        yield from (advice.because, advice.device or "", *advice.warnings, *advice.relay, *advice.questions)
        yield from advice.settings
        for value in advice.settings.values():
            yield value if isinstance(value, Said) or " " in value else ""  # else it is the site's own: a host, a port
    for verdict in judged:
        yield from (*verdict.repairs, *(removal.do for removal in verdict.remove))
    profile = interview.profile_of([(interview.FIRST, session)])
    yield from (ability.name for ability in interview.table(profile))
    yield from (ability.known for ability in interview.table(profile) if isinstance(ability.known, Said))
    if (offer := interview.next_offer(profile)) is not None:
        yield interview.words_of(offer)


def test_nothing_about_the_rules_and_replies_escapes() -> None:
    for rule in RULES.values():
        for text in (*rule.fix.values(), rule.repair, rule.devices, rule.doubt):
            assert _outside(MARKED(text or "")) == "", text
    for answer in ANSWERS:
        for text in (answer.meaning, answer.fix, answer.doubt, answer.dated):
            assert _outside(MARKED(text or "")) == "", text
    assert _outside(MARKED(Unknown(550, "5.7.1").meaning)) == ""


def _outside(text: str) -> str:
    """The letters that no mark is around."""
    deep, found = 0, ""
    for character in text:
        deep += {"⟦": 1, "⟧": -1}.get(character, 0)
        if deep == 0 and character.isalpha():
            found += character
    return found


def test_italian_is_italian() -> None:
    italian = tongue_of("it")
    assert italian("the message") == "il messaggio"
