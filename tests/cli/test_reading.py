"""What the reading commands find, print and exit with, over the sessions that `conftest.py` keeps."""

from __future__ import annotations

import datetime
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from relayprobe.report.objects import FORMAT
from tests.cli.kept import NO_LOGIN, PROBE, Held, keep, refusal, run

NEWEST_FIRST = ["cc00000004", "bb00000003", "aa00000002", "aa00000001"]


def listed(folder: Path, *filters: str) -> list[str]:
    result = run("sessions", "--data", folder, "--json", *filters)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def printed(result: Any) -> Any:
    assert result.stderr == ""
    return json.loads(result.stdout)


# sessions


def test_sessions_are_listed_newest_first(folder: Path) -> None:
    assert listed(folder) == NEWEST_FIRST
    assert listed(folder, "--limit", "2") == NEWEST_FIRST[:2]
    shown = run("sessions", "--data", folder).stdout
    assert re.findall(r"^[a-c]{2}\d{8}", shown, re.MULTILINE) == NEWEST_FIRST
    assert "no-tls, no-auth" in shown


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--peer", "192.168.1.20"], ["bb00000003", "aa00000001"]),
        (["--peer", "192.168.1.20:40003"], ["bb00000003"]),
        (["--peer", "192.168.1.0/24"], ["bb00000003", "aa00000002", "aa00000001"]),
        (["--peer", "fd00::5"], ["cc00000004"]),
        (["--peer", "192.168.1.99"], []),
        (["--finding", "no-tls"], ["cc00000004", "aa00000002", "aa00000001"]),
        (["--finding", "auth-before-starttls"], ["aa00000002"]),
        (["--finding", "tls"], []),
        (["--user", "SCANNER@"], ["aa00000002"]),
        (["--sender", "scanner"], ["cc00000004", "aa00000001"]),
        (["--sender", "scanner", "--peer", "192.168.1.20"], ["aa00000001"]),
        (["--since", "2023-11-14T00:00"], NEWEST_FIRST),
        (["--since", "2d"], []),
        (["--recipient", "ANNA@"], ["cc00000004", "aa00000001"]),
        (["--code", "504"], ["aa00000002"]),
        (["--code", "504 5.7.4"], ["aa00000002"]),
        (["--code", "5.7"], []),
        (["--until", "2023-11-14T00:00"], []),
        (["--until", "2d"], NEWEST_FIRST),
        (["--user", "\udcff"], []),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else None,
)
def test_sessions_are_filtered(folder: Path, filters: list[str], ids: list[str]) -> None:
    assert listed(folder, *filters) == ids


def test_since_a_moment_of_local_time(folder: Path) -> None:
    third = datetime.datetime.fromtimestamp(Held("", "").started + 120).isoformat()
    assert listed(folder, "--since", third) == NEWEST_FIRST[:2]
    assert listed(folder, "--until", third) == NEWEST_FIRST[2:]


def test_since_a_while_ago(tmp_path: Path) -> None:
    keep(tmp_path, [Held("a1", PROBE, started=time.time() - 7000), Held("a2", PROBE, started=time.time() - 8000)])
    assert listed(tmp_path, "--since", "2h") == ["a1"]
    assert listed(tmp_path, "--since", "7500s") == ["a1"]
    assert listed(tmp_path, "--since", "150m") == ["a1", "a2"]


def test_a_session_as_json(folder: Path) -> None:
    assert printed(run("sessions", "--data", folder, "--json", "--user", "scanner")) == {
        "id": "aa00000002",
        "started": 1_700_000_060.0,
        "ended": pytest.approx(1_700_000_060.0, abs=10),
        "peer": "192.168.1.21:40002",
        "listener": "0.0.0.0:2525",
        "findings": ["no-tls", "auth-before-starttls", "auth-ok-then-quit", "probe-session-no-data"],
        "worst": "error",
        "messages": 0,
        "users": ["scanner@contoso.com"],
        "senders": [],
        "octets": 0,
        "recipients": [],
        "codes": ["451", "5.7.3", "504", "5.7.4"],
        "tls": "none",
        "login": "LOGIN accepted",
        "device": None,
        "verdict": "no",
    }


def test_sessions_without_a_match(folder: Path) -> None:
    assert "No session matches" in run("sessions", "--data", folder, "--peer", "10.0.0.1").stdout
    for option in ("--since", "--until"):
        assert f"{option} 'soon' is no time" in refusal(run("sessions", "--data", folder, option, "soon"))
    assert "not a network" in refusal(run("sessions", "--data", folder, "--peer", "192.168.1.0/99"))


# show


@pytest.mark.parametrize(
    ("name", "id"),
    [("last", "cc00000004"), ("bb", "bb00000003"), ("aa00000002", "aa00000002"), ("aa00000001", "aa00000001")],
)
def test_show_finds_a_session(folder: Path, name: str, id: str) -> None:
    assert run("show", "--data", folder, name).stdout.startswith(f"Session {id} from ")
    assert printed(run("show", "--data", folder, name, "--json"))["session"]["id"] == id


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("aa", "'aa' may be any of aa00000001, aa00000002: give more of it"),
        ("dd", "there is no session 'dd' in {}: `relayprobe sessions` lists them"),
        ("a b", "there is no session 'a b' in {}: `relayprobe sessions` lists them"),
        ("%", "there is no session '%' in {}: `relayprobe sessions` lists them"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "diagnose", "export"])
def test_a_session_that_cannot_be_told(folder: Path, verb: str, name: str, says: str) -> None:
    assert refusal(run(verb, "--data", folder, name)) == says.format(folder)


@pytest.mark.parametrize(
    "arguments", [["sessions"], ["show", "last"], ["diagnose"], ["diagnose", "--all"], ["export", "last"]]
)
def test_a_folder_with_nothing_in_it(tmp_path: Path, arguments: list[str]) -> None:
    says = refusal(run(*arguments, "--data", tmp_path))
    assert says.startswith(f"there is nothing captured in {tmp_path} yet: ")


def test_show_tells_dialogue_findings_verdicts_advice(folder: Path) -> None:
    shown = run("show", "--data", folder, "aa00000001").stdout
    for wanted in (
        "->  EHLO mfp01.contoso.com",
        "^^   error: no-tls",
        "ERROR  ",
        "  Seen: ",
        "  Do:   ",
        "Would it work, as the device is set up now?",
        "Use ",
        "    server:    ",
    ):
        assert wanted in shown
    assert "\x1b" not in shown


def test_show_as_json_holds_what_is_promised(folder: Path) -> None:
    report = printed(run("show", "--data", folder, "aa00000001", "--json"))
    assert report["format"] == FORMAT
    assert {"id", "peer", "listener", "started", "events"} <= set(report["session"])
    assert all({"at", "kind"} <= set(event) for event in report["session"]["events"])
    assert all({"sender", "raw"} <= set(e) for e in report["session"]["events"] if e["kind"] in ("line", "body"))
    [no_tls, no_auth, *_] = report["findings"]
    assert {"rule", "severity", "blocks", "title", "evidence", "answer", "fix"} <= set(no_tls)
    assert (no_tls["rule"], no_auth["rule"]) == ("no-tls", "no-auth")
    assert {"event", "says"} <= set(no_tls["evidence"][0])
    assert [verdict["mode"] for verdict in report["verdicts"]][:3] == ["submission", "direct-send", "connector"]
    assert all({"mode", "works", "blockers", "repairs"} <= set(verdict) for verdict in report["verdicts"])
    assert {"mode", "because", "settings"} <= set(report["advice"])


def test_the_mode_that_is_meant_decides_the_severity(folder: Path) -> None:
    def severity(*options: str) -> dict[str, str]:
        report = printed(run("show", "--data", folder, "--json", *options))
        return {finding["rule"]: finding["severity"] for finding in report["findings"]}

    assert severity("aa00000001")["no-auth"] == "error"
    assert severity("aa00000001", "--mode", "direct-send").get("no-auth", "note") == "note"
    assert severity("cc00000004").get("no-auth", "note") == "note"  # kept with the session
    assert severity("cc00000004", "--mode", "submission")["no-auth"] == "error"


# diagnose


def test_diagnose_exits_with_1_on_errors(folder: Path) -> None:
    assert run("diagnose", "--data", folder, "aa00000001").exit_code == 1
    assert run("diagnose", "--data", folder, "bb00000003").exit_code == 0
    assert run("diagnose", "--data", folder, "bb00000003", "aa00000001").exit_code == 1
    assert run("diagnose", "--data", folder, "aa00000001", "--mode", "connector").exit_code == 0
    assert run("diagnose", "--data", folder).stdout.startswith("--- Session cc00000004 ")


def test_diagnose_all(folder: Path) -> None:
    result = run("diagnose", "--data", folder, "--all", "--json")
    assert [json.loads(line)["session"]["id"] for line in result.stdout.splitlines()] == NEWEST_FIRST[::-1]
    assert result.exit_code == 1


def test_diagnose_of_an_exported_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    run("export", "--data", folder, "aa00000001", "--as", "json", "-o", file)
    of_file = run("diagnose", file, "--json")
    assert of_file.exit_code == 1
    shown = printed(run("show", "--data", folder, "aa00000001", "--json"))
    assert printed(of_file)["findings"] == shown["findings"]
    assert run("diagnose", file, "--mode", "connector").exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "7",
        "{}",
        '{"session": 5}',
        '{"events": {}}',
        '{"events": [5]}',
        '{"events": [{"kind": "line"}]}',
        '{"events": [{"kind": "no-such-kind", "at": 0}]}',
        '{"events": [{"kind": "line", "at": 0, "sender": "client", "raw": 5}]}',
        '{"events": [{"kind": "line", "at": 0, "sender": "client", "raw": "\\u2022"}]}',
        '{"events": [{"kind": "line", "at": "x", "sender": "client", "raw": "EHLO a\\r\\n"}]}',
        '{"events": [{"kind": "connected", "at": 0, "peer": 5, "listener": null}]}',
        '{"events": [{"kind": "tls-hello", "at": 0, "raw": "", "hello": {"form": 5}, "moment": "late"}]}',
        '{"events": [], "started": [5]}',
        '{"events": [], "started": "soon"}',
        '{"events": [], "site": "here"}',
        '{"events": [], "site": {"domains": 5}}',
    ],
)
def test_diagnose_of_a_file_that_is_no_session(tmp_path: Path, text: str) -> None:
    file = tmp_path / "session.json"
    file.write_text(text, encoding="utf-8")
    assert refusal(run("diagnose", file)).startswith(f"{file} is not an exported session: ")


# export


def test_export_as_text_is_what_show_says(folder: Path) -> None:
    assert run("export", "--data", folder, "aa").exit_code == 2
    for id in NEWEST_FIRST:
        assert run("export", "--data", folder, id).stdout == run("show", "--data", folder, id).stdout


def test_export_as_json_is_what_show_says(folder: Path) -> None:
    for id in NEWEST_FIRST:
        exported = printed(run("export", "--data", folder, id, "--as", "json"))
        assert exported == printed(run("show", "--data", folder, id, "--json"))


def test_export_as_mail_has_single_dots(folder: Path) -> None:
    mail = run("export", "--data", folder, "aa00000001", "--as", "eml").stdout_bytes
    assert mail.startswith(b"From: scanner@contoso.com\r\n")
    assert mail.endswith(b"\r\n\r\n.a line with a dot\r\n..\r\n")


def test_export_of_a_message_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    says = refusal(run("export", "--data", folder, "aa00000002", "--as", "eml"))
    assert says == "session aa00000002 has no message 1: no message was sent in it"
    says = refusal(run("export", "--data", folder, "aa00000001", "--as", "eml", "--message", "2"))
    assert says == "session aa00000001 has no message 2: it has 1"
    keep(tmp_path, [Held("a1", NO_LOGIN.replace("Scan", "One") + NO_LOGIN.replace("Scan", "Two"))])
    assert "Subject: Two" in run("export", "--data", tmp_path, "a1", "--as", "eml", "--message", "2").stdout


@pytest.mark.parametrize("form", ["text", "json", "eml"])
def test_an_exported_file_is_for_its_owner_alone(folder: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "session"
    mask = os.umask(0)
    try:
        assert run("export", "--data", folder, "aa00000001", "--as", form, "-o", file).output == ""
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == run("export", "--data", folder, "aa00000001", "--as", form).stdout_bytes


def test_export_to_a_file_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    says = refusal(run("export", "--data", folder, "last", "-o", tmp_path / "no" / "file"))
    assert says.startswith(f"cannot write {tmp_path / 'no' / 'file'} (No such file or directory): ")
