"""The languages: which there are, which one somebody wants, and how a text is said in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from relayprobe.tongue.said import Said, counted, lowered, said

LANGUAGES = {"en": "English", "it": "Italiano"}
"""By code, each as it calls itself."""

_MARKS = {"it": str.maketrans(",.", ".,")}
"""How a number is written where it is not as in English: `1.234,5`."""


@dataclass(frozen=True, slots=True)
class Tongue:
    """One language. Called with a text of ours, it says the same in that language; what it does not know, and what is
    not ours, stays as it is."""

    code: str
    catalogue: NullTranslations

    def __call__(self, text: str, /, **values: object) -> str:
        """`tongue("the sender is {sender}", sender=...)`, or a sentence that was said before."""
        if values:
            text = said(text, **values)
        if self.code == "en" or not text:  # gettext has its own head under the empty text
            return str(text)
        if not isinstance(text, Said):
            return self.catalogue.gettext(text)
        if text.many is None:
            template = self.catalogue.gettext(text.template)
        else:
            template = self.catalogue.ngettext(text.template, text.many, _number(text.values["n"]))
        if text.inside:
            return lowered(template)
        if not text.values:
            return template
        return template.format_map({name: self._value(value) for name, value in text.values.items()})

    def counted(self, one: str, many: str, n: int, /, **values: object) -> str:
        """`tongue.counted("{n} session", "{n} sessions", 3)`."""
        return self(counted(one, many, n, **values))

    def _value(self, value: object) -> object:
        if isinstance(value, Said):
            return self(value)
        return _Number(value, _MARKS[self.code]) if isinstance(value, int | float) and self.code in _MARKS else value


@dataclass(frozen=True, slots=True)
class _Number:
    """A number that is written with the marks of a language, whatever a template asks for."""

    value: float
    marks: dict[int, int]

    def __format__(self, form: str) -> str:
        return format(self.value, form).translate(self.marks)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


ENGLISH = Tongue("en", NullTranslations())


@cache
def tongue_of(code: str) -> Tongue:
    """The language of a code in `LANGUAGES`. KeyError for another."""
    if code == "en":
        return ENGLISH
    LANGUAGES[code]
    with (files("relayprobe.tongue") / "catalogues" / f"{code}.mo").open("rb") as file:
        return Tongue(code, GNUTranslations(file))


def preferred(*wanted: str | None) -> Tongue:
    """The first language that is wanted and known, else English.

    Each may be a code (`it`), a locale (`it_IT.UTF-8`, POSIX), a list of such as in LANGUAGE (`it:en`), or the value
    of Accept-Language (RFC 9110, section 12.5.4), where the weights say the order. `C` and `POSIX` are English.
    """
    for text in wanted:
        for code in _codes(text or ""):
            if code in LANGUAGES:
                return tongue_of(code)
    return ENGLISH


_MOST = 200
"""Characters of a header that are looked at."""


def _codes(text: str) -> list[str]:
    ranked = []
    for part in re.split(r"[,:]", text[:_MOST]):
        name, _, weight = part.strip().partition(";q=")
        try:
            q = float(weight) if weight else 1.0
        except ValueError:
            q = 0.0
        code = re.split(r"[-_.@;]", name, maxsplit=1)[0].strip().lower()
        if code and q > 0:
            ranked.append((q, "en" if code in ("c", "posix") else code))
    return [code for _, code in sorted(ranked, key=lambda one: -one[0])]
