"""The API described in OpenAPI 3.1: its operations, and the form of what they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayprobe import __version__
from relayprobe.web.actions import ACTIONS
from relayprobe.web.asked import LIMIT, MOST

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does. `query`: its parameters, with what they mean; `schema`: the form of its JSON, one of
    SCHEMAS; `gives`: media types, the first where none is asked for; `free`: whoever asks is answered."""

    path: str
    summary: str
    query: Mapping[str, str]
    schema: str | None = None
    gives: tuple[str, ...] = (JSON,)
    method: str = "GET"
    status: int = 200
    free: bool = False


def described(operations: Sequence[Operation], path: str = "") -> dict[str, Any]:
    """The description. `path`: the sub-path that all is under."""
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "relayprobe",
            "version": __version__,
            "description": "Captured SMTP sessions, what is wrong with them, and the queue of the relay.",
        },
        "servers": [{"url": path or "/"}],
        "security": [{"bearer": []}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "schemas": SCHEMAS,
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS.get(name, _TEXT)}
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    in_query = [
        {"name": name, "in": "query", "schema": _PARAMETERS.get(name, _TEXT), "description": meaning}
        for name, meaning in one.query.items()
    ]
    schema = {"schema": _of(one.schema)} if one.schema else {}
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{one.method} {one.path}").strip("_").lower(),
        "summary": one.summary,
        "parameters": in_path + in_query,
        "responses": {
            str(one.status): {"description": one.summary, "content": dict.fromkeys(one.gives, schema)},
            "default": {
                "description": "What went wrong (RFC 9457).",
                "content": {"application/problem+json": {"schema": _of("Problem")}},
            },
        },
    }
    if one.path == "/readyz":
        described["responses"]["503"] = described["responses"]["200"]
    return described | ({"security": []} if one.free else {})


# The form of what is answered


def _of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _thing(more: bool = False, **properties: Any) -> dict[str, Any]:
    """An object with all of these. `more`: and perhaps others, where a later version may have them deep inside."""
    closed = {} if more else {"additionalProperties": False}
    return {"type": "object", "properties": properties, "required": list(properties), **closed}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS = _list(_TEXT)
_WHOLE: dict[str, Any] = {"type": "integer"}
_NUMBER: dict[str, Any] = {"type": "number"}
_YES: dict[str, Any] = {"type": "boolean"}
_ANY: dict[str, Any] = {"type": "object"}
_MODE = _one_of("submission", "direct-send", "connector")
_FLAG = _one_of("0", "1")

_PARAMETERS: dict[str, dict[str, Any]] = {
    "action": _one_of(*ACTIONS),
    "anonymous": _FLAG,
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
    "messages": _FLAG,
    "mode": _MODE,
    "n": {"type": "integer", "minimum": 1, "default": 1},
}

_MAIL: dict[str, Any] = {
    "id": _TEXT,
    "session": _maybe(_TEXT),
    "sender": _TEXT,
    "recipients": _TEXTS,
    "state": _TEXT,
    "attempts": _WHOLE,
    "next": _NUMBER,
    "last_reply": _maybe(_TEXT),
    "route": _TEXT,
    "why": _maybe(_TEXT),
    "arrived": _NUMBER,
    "host": _TEXT,
    "size": _WHOLE,
}
_FINDING = _thing(
    rule=_TEXT,
    severity=_one_of("error", "warning", "note"),
    blocks=_TEXTS,
    title=_TEXT,
    evidence=_list(_thing(event=_WHOLE, says=_TEXT)),
    answer=_maybe(_TEXT),
    stage=_maybe(_TEXT),
    doubt=_maybe(_TEXT),
    fix=_maybe(_TEXT),
)
_VERDICT = _thing(more=True, mode=_TEXT, works=_YES, blockers=_TEXTS, risks=_TEXTS, repairs=_TEXTS)
_ADVICE = _thing(more=True, mode=_TEXT, because=_TEXT, settings=_ANY)

SCHEMAS: dict[str, Any] = {
    "Session": _thing(
        id=_TEXT,
        started=_NUMBER,
        ended=_maybe(_NUMBER),
        peer=_TEXT,
        listener=_TEXT,
        findings=_TEXTS,
        worst=_maybe(_one_of("error", "warning", "note")),
        messages=_WHOLE,
        users=_TEXTS,
        senders=_TEXTS,
        octets=_WHOLE,
        recipients=_TEXTS,
        codes=_TEXTS,
        tls=_maybe(_TEXT),
        login=_maybe(_TEXT),
        device=_maybe(_TEXT),
        verdict=_maybe(_one_of("yes", "risks", "no", "unseen")),
    ),
    "Sessions": _thing(sessions=_list(_of("Session")), next=_maybe(_TEXT)),
    "Event": _thing(more=True, at=_NUMBER, kind=_TEXT),
    "Finding": _FINDING,
    "Verdict": _VERDICT,
    "Advice": _ADVICE,
    "Report": _thing(
        more=True,
        format=_TEXT,
        session=_thing(
            more=True,
            id=_TEXT,
            peer=_TEXT,
            listener=_TEXT,
            started=_NUMBER,
            mode=_maybe(_TEXT),
            events=_list(_of("Event")),
        ),
        findings=_list(_of("Finding")),
        verdicts=_list(_of("Verdict")),
        advice=_of("Advice"),
        sent_on=_list(_of("WholeMail")),
    ),
    "Findings": _thing(findings=_list(_of("Finding")), verdicts=_list(_of("Verdict")), advice=_of("Advice")),
    "Mail": _thing(**_MAIL),
    "WholeMail": _thing(
        more=True, **_MAIL, user=_maybe(_TEXT), kind=_TEXT, changed=_list({}), outcomes=_list(_ANY), tries=_list(_ANY)
    ),
    "Mails": _thing(mails=_list(_of("Mail")), counts={"type": "object", "additionalProperties": _WHOLE}),
    "Routes": _thing(
        routes=_list(
            _thing(
                name=_TEXT,
                mode=_TEXT,
                host=_maybe(_TEXT),
                port=_maybe(_WHOLE),
                user=_maybe(_TEXT),
                state=_one_of("ok", "waiting", "stopped"),
                why=_maybe(_TEXT),
                since=_maybe(_NUMBER),
                until=_maybe(_NUMBER),
                failures=_WHOLE,
                waiting=_WHOLE,
                oldest=_maybe(_NUMBER),
            )
        )
    ),
    "Asked": _thing(name=_TEXT, asked=_YES),
    "Rules": _thing(rules=_list(_thing(more=True, rule=_TEXT, theme=_TEXT, title=_TEXT, why=_TEXT, severity=_ANY))),
    "Checks": _thing(checks=_list(_thing(more=True, id=_TEXT, at=_NUMBER, domain=_TEXT))),
    "Alive": _thing(ok=_YES),
    "Ready": _thing(ok=_YES, why=_TEXTS),
    "Problem": _thing(type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT),
}
