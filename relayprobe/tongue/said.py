"""A text that remembers how it was put together: a template in English, and what was put into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})


class Said(str):
    """A sentence in English, with its template and the values in it. It compares, hashes and prints as its text does.

    `many`: the template for more than one, where the sentence counts `n` of something. `inside`: a title that stands
    within a sentence, and so begins with a small letter.
    """

    __slots__ = ("inside", "many", "template", "values")

    template: str
    many: str | None
    values: Mapping[str, object]
    inside: bool

    def __reduce__(self) -> tuple[object, ...]:
        return made, (str(self), self.template, self.many, dict(self.values), self.inside)


def said(template: str, /, **values: object) -> Said:
    """A sentence: `{name}` in the template is the value of that name, and what is in a value stays as it is."""
    return made(template.format_map(values) if values else template, template, None, values)


def counted(one: str, many: str, n: int, /, **values: object) -> Said:
    """A sentence about `{n}` of something: the first template for one, the second for none and for more."""
    values = {"n": n, **values}
    return made((one if n == 1 else many).format_map(values), one, many, values)


def joined(parts: Iterable[str], between: str) -> Said:
    """Texts one after another, with a mark between that is the same in all languages: `; `, `, ` or a blank."""
    named = {f"part{at}": part for at, part in enumerate(parts)}
    return said(between.join(f"{{{name}}}" for name in named), **named)


def all_of(names: Sequence[str]) -> str:
    """Names with `and` between them; empty without any."""
    return reduce(lambda some, last: said("{some} and {last}", some=some, last=last), names) if names else ""


def inside(title: str) -> Said:
    """A title within a sentence: with a small letter, unless it begins with one such as TLS."""
    return made(lowered(title), title, None, NOTHING, True)


def lowered(title: str) -> str:
    """A title that begins with a small letter, unless the next one is a capital, too."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def made(text: str, template: str, many: str | None, values: Mapping[str, object], inside: bool = False) -> Said:
    """A sentence from its parts."""
    made = Said(text)
    made.template, made.many, made.values, made.inside = template, many, values or NOTHING, inside
    return made
