"""A text that remembers how it was put together: a template in English, and what was put into it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})


class Said(str):
    """A sentence in English, with its template and the values in it. It compares, hashes and prints as its text does.

    `many`: the template for more than one, where the sentence counts `n` of something.
    """

    __slots__ = ("many", "template", "values")

    template: str
    many: str | None
    values: Mapping[str, object]


def said(template: str, /, **values: object) -> Said:
    """A sentence: `{name}` in the template is the value of that name, and what is in a value stays as it is."""
    return _said(template, None, template, values)


def counted(one: str, many: str, n: int, /, **values: object) -> Said:
    """A sentence about `{n}` of something: the first template for one, the second for none and for more."""
    return _said(one, many, one if n == 1 else many, {"n": n, **values})


def _said(template: str, many: str | None, chosen: str, values: Mapping[str, object]) -> Said:
    text = Said(chosen.format_map(values) if values else chosen)
    text.template, text.many, text.values = template, many, values or NOTHING
    return text
