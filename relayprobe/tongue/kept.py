"""Sentences in what is stored as JSON, with how they were put together: so they are said in any language later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relayprobe.tongue.said import Said, made

MARK = "said"
"""The key by which a kept sentence is known; it holds the sentence in English."""


def kept(thing: Any) -> Any:
    """A thing as JSON can hold it, with its sentences taken apart."""
    match thing:
        case Said():
            return {
                MARK: str(thing),
                "template": thing.template,
                "many": thing.many,
                "values": {name: _value(value) for name, value in thing.values.items()},
                "inside": thing.inside,
            }
        case Mapping():
            return {key: kept(value) for key, value in thing.items()}
        case list() | tuple():
            return [kept(value) for value in thing]
    return thing


def _value(value: object) -> Any:
    return kept(value) if isinstance(value, Said | bool | int | float) or value is None else str(value)


def found_again(thing: Any) -> Any:
    """What `kept` made, as it was. A sentence that does not fit its own text any more is that text."""
    match thing:
        case {"said": str(text), "template": str(template), "many": str() | None as many, "values": dict(values)}:
            return _sentence(text, template, many, found_again(values), thing.get("inside") is True)
        case dict():
            return {key: found_again(value) for key, value in thing.items()}
        case list():
            return [found_again(value) for value in thing]
    return thing


def _sentence(text: str, template: str, many: str | None, values: dict[str, Any], inside: bool) -> str:
    chosen = many if many is not None and values.get("n") != 1 else template
    try:
        fits = inside or (chosen.format_map(values) if values else chosen) == text
    except (LookupError, ValueError, AttributeError):
        fits = False
    return made(text, template, many, values, inside) if fits else text
