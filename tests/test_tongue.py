"""A sentence is a text in English, and can be said again in another language."""

from __future__ import annotations

import json
import pickle
import re
from copy import deepcopy
from gettext import NullTranslations

import pytest

from relayprobe.tongue import (
    ENGLISH,
    Said,
    Tongue,
    all_of,
    counted,
    found_again,
    inside,
    joined,
    kept,
    preferred,
    said,
    tongue_of,
)


class Shouting(NullTranslations):
    """A language in which every template is in capitals, and its places are not."""

    def gettext(self, message: str) -> str:
        return re.sub(r"\{\w+\}", lambda place: place[0].lower(), message.upper())

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


LOUD = Tongue("xx", Shouting())


def test_a_sentence_is_a_text() -> None:
    sentence = said("the sender is {sender}", sender="{a}@b")
    assert isinstance(sentence, Said)
    assert sentence == "the sender is {a}@b"
    assert json.dumps(sentence) == '"the sender is {a}@b"'
    assert hash(sentence) == hash(str(sentence))


def test_only_what_is_ours_is_translated() -> None:
    assert LOUD(said("the sender is {sender}", sender="{a}@b")) == "THE SENDER IS {a}@b"
    assert ENGLISH(said("the sender is {sender}", sender="a")) == "the sender is a"
    assert LOUD("nothing in it {at all}") == "NOTHING IN IT {AT ALL}"
    assert LOUD("") == ""


def test_a_sentence_within_a_sentence() -> None:
    inner = said("the sender is {sender}", sender="a@b")
    assert LOUD("{who}: no", who=inner) == "THE SENDER IS a@b: NO"


def test_numbers() -> None:
    assert [counted("{n} mail", "{n} mails", n) for n in (0, 1, 2)] == ["0 mails", "1 mail", "2 mails"]
    assert LOUD.counted("{n} mail", "{n} mails", 1) == "1 MAIL"


def test_sentences_and_names_one_after_another() -> None:
    both = joined((said("no {who}", who="{a}"), "", "b"), "; ")
    assert (both, LOUD(both)) == ("no {a}; ; b", "NO {a}; ; b")
    assert (all_of([]), all_of(["a"]), all_of(["a", "b", "c"])) == ("", "a", "a and b and c")
    assert not joined((), " ")


def test_a_title_within_a_sentence() -> None:
    assert (inside("The sender is empty"), inside("TLS is old")) == ("the sender is empty", "TLS is old")
    assert LOUD(inside("The sender is empty")) == "THE SENDER IS EMPTY"


def test_a_sentence_is_copied_whole() -> None:
    for sentence in (counted("{n} mail", "{n} mails", 2), inside("The sender"), said("{who}", who=said("x"))):
        for copy in (deepcopy(sentence), pickle.loads(pickle.dumps(sentence))):
            assert (copy, LOUD(copy)) == (sentence, LOUD(sentence))


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (("it",), "it"),
        (("it_IT.UTF-8",), "it"),
        (("it-CH,it;q=0.9,en;q=0.8",), "it"),
        (("en;q=0.3, it;q=0.7",), "it"),
        (("fr,de;q=0.9,it;q=0.1",), "it"),
        (("C.UTF-8", "it"), "en"),
        ((None, "", "it"), "it"),
        (("it;q=0",), "en"),
        (("it;q=x",), "en"),
        (("xx",), "en"),
        ((), "en"),
        (("*" * 100_000,), "en"),
    ],
)
def test_the_language_that_is_wanted(wanted: tuple[str | None, ...], code: str) -> None:
    assert preferred(*wanted).code == code


def test_a_sentence_is_kept_as_json_and_found_again() -> None:
    inner = counted("{n} octet", "{n} octets", 3)
    thing = {"says": said("{host} sent {what}", host="a{b}", what=inner), "list": [inside("Mail is sent")], "n": 1.5}
    again = found_again(json.loads(json.dumps(kept(thing))))
    assert again == thing
    assert again["says"].template == "{host} sent {what}"
    assert again["says"].values["what"].many == "{n} octets"
    assert again["list"][0].inside


@pytest.mark.parametrize(
    "values", [{}, {"host": "b"}, {"other": 1}, {"host": {"said": 1}}], ids=["none", "another", "missing", "damaged"]
)
def test_a_damaged_sentence_is_its_text(values: dict[str, object]) -> None:
    damaged = {"said": "a sent it", "template": "{host} sent it", "many": None, "values": values, "inside": False}
    assert tongue_of("it")(found_again(damaged)) == "a sent it"
