"""Whether a JSON value has the form that a JSON Schema says: the few keywords that the API's description uses, and no
others, so that one nobody looks at is not in it unnoticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KEYWORDS = set(
    "type properties required additionalProperties items anyOf enum $ref minimum maximum default description".split()
)
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def misfits(value: Any, schema: Mapping[str, Any], known: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """Where a value does not fit, and why."""
    assert set(schema) <= KEYWORDS, f"unknown keywords: {set(schema) - KEYWORDS}"
    if "$ref" in schema:
        yield from misfits(value, known[schema["$ref"].removeprefix("#/components/schemas/")], known, at)
        return
    if "anyOf" in schema:
        if all(any(True for _ in misfits(value, one, known, at)) for one in schema["anyOf"]):
            yield f"{at}: {value!r} is none of what it may be"
        return
    wanted = schema.get("type")
    if wanted is not None and (
        not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted in ("integer", "number"))
    ):
        yield f"{at}: {value!r} is no {wanted}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        known_here = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{at}: {name} is missing"
        for name, inner in value.items():
            more = schema.get("additionalProperties", {})
            if name in known_here:
                yield from misfits(inner, known_here[name], known, f"{at}.{name}")
            elif more is False:
                yield f"{at}: {name} is not in the description"
            else:
                yield from misfits(inner, more, known, f"{at}.{name}")
    if isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            yield from misfits(inner, schema["items"], known, f"{at}[{number}]")
