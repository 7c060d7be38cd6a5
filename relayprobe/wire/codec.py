"""Events as JSON objects and back: the format of the store, of `--json` and of exports, in one place.

An object has `kind` (the record's name with dashes) and the record's fields. Octets stand as Latin-1 text, so that a
reader sees the dialogue and nothing is lost. A field that has its default is left out, and one that is unknown is
passed over in reading, so that an older file and a newer one can both be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from relayprobe.wire.events import (
    Body,
    Closed,
    Connected,
    Credentials,
    Encrypted,
    Event,
    Line,
    LineFacts,
    Missing,
    Secret,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.hello import ClientHello

KINDS: dict[str, type[Event]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(): kind
    for kind in (Connected, Line, Credentials, Body, TlsHello, TlsUp, TlsFailed, Encrypted, Missing, Closed)
}
_NAMES = {kind: name for name, kind in KINDS.items()}
_NESTED = {"secret": Secret, "lines": LineFacts, "hello": ClientHello}
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_ALWAYS = frozenset(("at", "sender", "raw", "tls"))


def _writer(field: Field[Any]) -> Callable[[Any], Any] | None:
    """How the value of a field becomes JSON, None where it is as it is."""
    kind = str(field.type)
    if kind == "bytes":
        return lambda octets: octets.decode("latin-1")
    if kind == "float":
        return lambda seconds: round(seconds, 6)
    if kind.startswith("tuple"):
        return list
    if field.name in _NESTED:
        return lambda record: None if record is None else _fields_of(record)
    return None


_FIELDS = {
    kind: [(f.name, MISSING if f.name in _ALWAYS else f.default, _writer(f)) for f in fields(kind)]
    for kind in (*KINDS.values(), *_NESTED.values())
}


def to_object(event: Event) -> dict[str, Any]:
    """An event as a JSON object."""
    return {"at": 0.0, "kind": _NAMES[type(event)]} | _fields_of(event)


def to_json(event: Event) -> str:
    """The same as JSON text. Lines are nearly all there is, so they are written out by hand."""
    if type(event) is Line and not event.omitted and not event.ignored:
        raw = encode_basestring_ascii(event.raw.decode("latin-1"))
        tls = "true" if event.tls else "false"
        return f'{{"at":{event.at:.6f},"kind":"line","sender":"{event.sender}","raw":{raw},"tls":{tls}}}'
    return _ENCODER.encode(to_object(event))


def from_object(thing: Mapping[str, Any]) -> Event:
    """The event that a JSON object stands for.

    Raises ValueError for a kind that this version does not know, or where a field is missing or of another type.
    """
    try:
        kind = KINDS[thing["kind"]]
        return kind(**_arguments(kind, thing))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not an event of this version: {error}") from None


def _fields_of(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, default, write in _FIELDS[type(record)]:
        value = getattr(record, name)
        if value is not default and value != default:
            found[name] = write(value) if write else value
    return found


def _arguments(kind: Any, thing: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: _read(f, thing[f.name]) for f in fields(kind) if f.name in thing}


def _read(field: Field[Any], value: Any) -> Any:
    """The value of a field, which may come from a stranger's file. Raises TypeError or ValueError."""
    wanted = str(field.type)
    if value is None and wanted.endswith("None"):
        return None
    if field.name in _NESTED:
        return _NESTED[field.name](**_arguments(_NESTED[field.name], value))
    if wanted == "bytes":
        return value.encode("latin-1")
    if wanted.startswith("tuple"):
        member = int if "int" in wanted else str
        if isinstance(value, list) and all(type(one) is member for one in value):
            return tuple(value)
    elif wanted.startswith("float"):
        if type(value) in (int, float) and isfinite(value):
            return float(value)
    elif type(value) is {"int": int, "bool": bool}.get(wanted.partition(" ")[0], str):
        return value  # the words of a Literal are text
    raise TypeError(f"{field.name} cannot be {value!r}"[:80])
