"""The API: the same objects as `--json`, in pages; what it says of itself is what it does."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relayprobe.store import Archive, Mail, Recipient, Row, Spool, Store, Text
from relayprobe.store.checks import keep as keep_check
from relayprobe.store.mail import EVERY
from relayprobe.store.queue import Wanted
from relayprobe.web.api import OPERATIONS
from relayprobe.wire.events import LineFacts
from tests.cli.kept import NO_LOGIN, Held, keep, run
from tests.web.fits import misfits
from tests.web.serving import Serving

SESSIONS = "/api/v1/sessions"
ONE = f"{SESSIONS}/aa00000001"
IDS = ["cc00000004", "bb00000003", "aa00000002", "aa00000001"]  # newest first
TEXT = b"Subject: scan\r\n\r\nhello\r\n.\r\n"


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["sessions"]]


# The list


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, IDS),
        ({"limit": "2"}, IDS[:2]),
        ({"peer": "192.168.1.20"}, ["bb00000003", "aa00000001"]),
        ({"peer": "192.168.1.0/24"}, IDS[1:]),
        ({"peer": "fd00::5"}, IDS[:1]),
        ({"user": "SCANNER@"}, ["aa00000002"]),
        ({"sender": "scanner@contoso"}, ["cc00000004", "aa00000001"]),
        ({"recipient": "anna"}, ["cc00000004", "aa00000001"]),
        ({"recipient": "nobody"}, []),
        ({"finding": "no-auth"}, ["cc00000004", "aa00000001"]),
        ({"since": "1700000060"}, IDS[:3]),
        ({"until": "1700000060"}, IDS[3:]),
        ({"since": "2023-11-14T22:14:20Z", "until": "2023-11-14T22:15:20+00:00"}, ["aa00000002"]),
        ({"q": "anna@contoso.com", "peer": "fd00::/8"}, IDS[:1]),
        ({"q": "", "peer": "", "finding": ""}, IDS),
    ],
)
def test_sessions_are_found(server: Serving, query: dict[str, str], found: list[str]) -> None:
    assert ids(server.ask(SESSIONS, params=query)) == found


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"limit": "0"}, "from 1 to 500"),
        ({"limit": "501"}, "from 1 to 500"),
        ({"limit": "-1"}, "from 1 to 500"),
        ({"limit": "1e2"}, "from 1 to 500"),
        ({"limit": "٣"}, "from 1 to 500"),
        ({"finding": "no-such-rule"}, "/rules"),
        ({"since": "yesterday"}, "2026-11-26"),
        ({"until": "9" * 30}, "2026-11-26"),
        ({"peer": "192.168.1.0/99"}, "192.168.1.0/24"),
        ({"cursor": "x"}, "next"),
        ({"cursor": "1-a' OR 1"}, "next"),
        ({"q": "x" * 201}, "too long"),
        ({"senders": "x"}, "known are"),
    ],
)
def test_what_cannot_be_answered_names_the_way_out(server: Serving, query: dict[str, str], says: str) -> None:
    answer = server.ask(SESSIONS, params=query)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_follow_each_other(server: Serving, limit: int) -> None:
    seen, cursor = [], None
    while True:
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        answer = server.ask(SESSIONS, params=query)
        seen += ids(answer)
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert seen == IDS


def test_rows_are_those_of_sessions_json(server: Serving) -> None:
    printed = run("sessions", "--data", server.folder, "--json").stdout
    assert server.ask(SESSIONS).json()["sessions"] == [json.loads(line) for line in printed.splitlines()]


# One session


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("query", [{}, {"mode": "connector"}])
def test_a_session_is_that_of_show_json(server: Serving, id: str, query: dict[str, str]) -> None:
    more = ["--mode", query["mode"]] if query else []
    exported = run("export", "--data", server.folder, id, "--as", "json", *more).stdout_bytes
    answer = server.ask(f"{SESSIONS}/{id}", params=query)
    assert answer.content == exported
    shown = json.loads(run("show", "--data", server.folder, id, "--json", *more).stdout)
    assert {key: answer.json()[key] for key in shown} == shown
    assert server.ask(f"{SESSIONS}/{id}/findings", params=query).json() == {
        key: shown[key] for key in ("findings", "verdicts", "advice")
    }


@pytest.mark.parametrize(
    ("path", "form"),
    [("transcript", "text"), ("message.eml", "eml"), ("report.html", "html"), ("packets.pcapng", "pcapng")],
)
def test_files_are_those_of_export(server: Serving, path: str, form: str) -> None:
    exported = run("export", "--data", server.folder, "aa00000001", "--as", form).stdout_bytes
    assert server.ask(f"{ONE}/{path}").content == exported
    if form != "eml":
        masked = server.ask(f"{ONE}/{path}", params={"anonymous": "1"}).content
        assert masked == run("export", "--data", server.folder, "aa00000001", "--as", form, "--anonymous").stdout_bytes
        assert b"contoso" not in masked


def test_a_bundle_is_diagnosed_again(server: Serving, tmp_path: Path) -> None:
    file = tmp_path / "session.zip"
    file.write_bytes(server.ask(f"{ONE}/bundle").content)
    again = json.loads(run("diagnose", "--json", file).stdout)
    assert again["session"]["id"] == "aa00000001"
    with zipfile.ZipFile(io.BytesIO(server.ask(f"{ONE}/bundle", params={"messages": "1"}).content)) as bundle:
        assert "message-1.eml" in bundle.namelist()
        assert "settings.json" in bundle.namelist()


def test_a_transcript_is_had_as_events(server: Serving) -> None:
    answer = server.ask(f"{ONE}/transcript", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == server.ask(ONE).json()["session"]["events"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{SESSIONS}/zz", 404),
        (f"{SESSIONS}/zz/bundle", 404),
        (f"{SESSIONS}/zz/findings", 404),
        (f"{SESSIONS}/.hidden", 404),
        (f"{SESSIONS}/last", 200),
        (f"{SESSIONS}/cc", 200),
        (f"{SESSIONS}/aa0", 404),
        (f"{ONE}?mode=carrier-pigeon", 400),
        (f"{ONE}?anonymous=yes", 400),
        (f"{ONE}/message.eml?n=2", 404),
        (f"{ONE}/message.eml?n=0", 400),
        (f"{ONE}/message.eml?n=-1", 400),
        (f"{ONE}/message.eml?n=%D9%A3", 400),
        (f"{ONE}/message.eml?anonymous=1", 400),
        (f"{ONE}/bundle?anonymous=1&messages=1", 400),
        (f"{SESSIONS}/bb00000003/message.eml", 404),
        (f"{ONE}/nothing", 404),
        (f"{ONE}/", 404),
        ("/api/v1", 404),
        ("/api/v2/sessions", 404),
    ],
)
def test_what_is_not_there(server: Serving, path: str, status: int) -> None:
    answer = server.ask(path)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["status"] == status
        assert answer.json()["detail"]


def test_a_large_message_is_sent_whole(tmp_path: Path) -> None:
    lines = "\n".join(f"C: {n:06} {'x' * 60}" for n in range(5000))
    keep(tmp_path / "data", [Held("aa01", NO_LOGIN.replace("C: ..a line with a dot", lines))])
    with Serving(tmp_path / "data") as server:
        mail = server.ask(f"{SESSIONS}/aa01/message.eml").content
    assert mail == run("export", "--data", tmp_path / "data", "aa01", "--as", "eml").stdout_bytes
    assert len(mail) > 5000 * 68
    assert mail.count(b"\r\n") == 5000 + 7


def test_a_password_is_in_no_answer(server: Serving) -> None:
    for path in ("", "/transcript", "/findings", "/report.html", "/packets.pcapng", "/bundle"):
        answer = server.ask(f"{SESSIONS}/aa00000002{path}").content
        if path == "/bundle":
            with zipfile.ZipFile(io.BytesIO(answer)) as bundle:
                answer = b"".join(bundle.read(name) for name in bundle.namelist())
        assert b"Scan-2024!" not in answer
        assert b"U2Nhbi0yMDI0IQ" not in answer


# The queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Serving]:
    store = Store.open(tmp_path / "data")
    text = Text(0, len(TEXT), hashlib.blake2b(TEXT, digest_size=16).digest(), "crlf", LineFacts())
    for number, session in enumerate(("aa", "bb", "cc")):
        row = Row(session, 1_700_000_000.0 + number, 1_700_000_001.0 + number, "192.168.1.9:1", "0.0.0.0:2525")
        store.begin(row)
        store.body(session, 0, TEXT)
        store.take(
            Mail(
                f"{session}-1",
                session,
                (text,),
                row.started,
                "192.168.1.9",
                None,
                "scanner@contoso.com",
                (Recipient("anna@contoso.com"),),
                "office",
            )
        )
        store.finish(row)
    store.flushed().result(10)
    store.close()
    with Serving(tmp_path / "data") as server:
        yield server


def states(server: Serving) -> dict[str, str]:
    spool = Spool.open(server.folder)
    try:
        return {mail.id: mail.state for mail in spool.mails(Wanted(EVERY))}
    finally:
        spool.close()


def test_the_queue_and_what_is_done_to_it(queue: Serving) -> None:
    told = queue.ask("/api/v1/queue").json()
    printed = run("queue", "list", "--data", queue.folder, "--json").stdout
    assert told["mails"] == [json.loads(line) for line in printed.splitlines()]
    assert told["counts"] == {"waiting": 3}
    assert len(queue.ask("/api/v1/queue?limit=2").json()["mails"]) == 2
    for id, action, status, after in (
        ("aa-1", "hold", 200, "held"),
        ("aa-1", "hold", 409, "held"),
        ("bb-1", "release", 409, "waiting"),
        ("bb-1", "drop", 200, "dropped"),
        ("aa-1", "release", 200, "waiting"),
        ("bb-1", "retry", 200, "waiting"),
        ("cc-1", "explode", 404, "waiting"),
        ("cc", "drop", 404, None),  # the beginning of an id is not enough to drop what it may be
        ("last", "drop", 404, None),
        ("zz-1", "drop", 404, None),
        ("%00", "drop", 404, None),
    ):
        answer = queue.ask(f"/api/v1/queue/{id}/{action}", "POST")
        assert answer.status_code == status, (id, action, answer.text)
        if after is not None:
            assert states(queue)[id] == after
            assert queue.ask(f"/api/v1/queue/{id}").json()["state"] == after
        if status == 200:
            assert answer.json()["state"] == after
    assert states(queue) == {"aa-1": "waiting", "bb-1": "waiting", "cc-1": "waiting"}


def test_a_route_that_is_none(queue: Serving) -> None:
    assert queue.ask("/api/v1/routes").json() == {"routes": []}
    assert queue.ask("/api/v1/routes/office/retry", "POST").status_code == 404


def test_checks_are_listed(queue: Serving) -> None:
    assert queue.ask("/api/v1/checks").json() == {"checks": []}
    id = keep_check(queue.folder, 1_700_000_000.0, "contoso.com", ["203.0.113.7"], {"checks": [], "verdicts": []})
    told = queue.ask("/api/v1/checks").json()
    assert told == {
        "checks": [{"id": id, "at": 1_700_000_000.0, "domain": "contoso.com", "checks": [], "verdicts": []}]
    }


# What it says of itself


def test_the_description_is_of_what_there_is(server: Serving) -> None:
    told = server.ask("/api/v1/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    there = {(path, method) for path, methods in told["paths"].items() for method in methods}
    assert there == {(one.path, one.method.lower()) for one, _ in OPERATIONS}
    named = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(set(named)) == len(named)
    text = json.dumps(told)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert reference in told["components"]["schemas"]
    for name in told["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, f"{name} is used nowhere"
    for path, methods in told["paths"].items():
        for one in methods.values():
            in_path = [p["name"] for p in one["parameters"] if p["in"] == "path"]
            assert in_path == re.findall(r"\{(\w+)\}", path)
            assert all(p["required"] for p in one["parameters"] if p["in"] == "path")


def answers(server: Serving, queue: Serving) -> Iterator[tuple[str, str, httpx.Response]]:
    """An answer of each operation, with its path and its method."""
    filled = {"{id}": "aa00000001", "{name}": "office", "{action}": "hold"}
    for one, _ in OPERATIONS:
        if one.path == "/api/v1/events":
            continue  # it has no end
        there, names = (queue, filled | {"{id}": "aa-1"}) if "/queue" in one.path else (server, filled)
        path = one.path
        for name, value in names.items():
            path = path.replace(name, value)
        yield one.path, one.method, there.ask(path, one.method)


def test_answers_fit_the_description(server: Serving, queue: Serving) -> None:
    told = server.ask("/api/v1/openapi.json").json()
    schemas = told["components"]["schemas"]
    seen = 0
    for path, method, answer in answers(server, queue):
        responses = told["paths"][path][method.lower()]["responses"]
        described = responses.get(str(answer.status_code), responses["default"])
        kind = answer.headers["content-type"]
        assert kind in described["content"], (path, kind)
        if "schema" in described["content"][kind]:
            assert list(misfits(answer.json(), described["content"][kind]["schema"], schemas)) == [], path
            seen += 1
    assert seen >= 12


def test_every_parameter_is_taken(server: Serving) -> None:
    told = server.ask("/api/v1/openapi.json").json()
    values = {"mode": "connector", "limit": "1", "n": "1", "finding": "no-auth", "since": "1", "until": "2"}
    for path, methods in told["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", ()):
            name = parameter["name"]
            if parameter["in"] == "query" and name not in ("cursor", "session"):
                answer = server.ask(path.replace("{id}", "aa00000001"), params={name: values.get(name, "1")})
                assert answer.status_code == 200, (path, name, answer.text)


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, True),
        ({}, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, False),
        ({"b": 1}, {"type": "object", "additionalProperties": False}, False),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, False),
        (True, {"type": "integer"}, False),
        (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}, False),
        ("x", {"type": "string", "enum": ["y"]}, False),
        ({"a": {"b": "x"}}, {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/B"}}}, False),
    ],
)
def test_what_fits_is_told_from_what_does_not(value: Any, schema: dict[str, Any], fits: bool) -> None:
    known = {"B": {"type": "object", "properties": {"b": {"type": "integer"}}}}
    assert (list(misfits(value, schema, known)) == []) is fits


# Monitoring


def test_readiness_names_what_is_amiss(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.web.state.free", lambda folder: 0)
    answer = server.ask("/readyz", token=None)
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "why": ["there is too little room on the disk"]})
    assert server.ask("/livez", token=None).status_code == 200


def test_a_fault_is_said_without_its_inside(
    server: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("Marker-Of-The-Inside")

    monkeypatch.setattr(Archive, "page", broken)
    answer = server.ask(SESSIONS)
    assert answer.status_code == 500
    assert "Marker-Of-The-Inside" not in answer.text
    assert answer.json()["detail"]
