"""A sentence is a text in English, and can be said again in another language."""

from __future__ import annotations

import json
from gettext import NullTranslations

import pytest

from relayprobe.tongue import ENGLISH, Said, Tongue, counted, preferred, said


class Shouting(NullTranslations):
    """A language in which every template is in capitals, and its places are not."""

    def gettext(self, message: str) -> str:
        return message.upper().replace("{SENDER}", "{sender}").replace("{N}", "{n}").replace("{WHO}", "{who}")

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
