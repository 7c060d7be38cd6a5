"""`export` as packets, page and bundle, with the right names and with made-up ones; and a bundle read again."""

from __future__ import annotations

import io
import json
import os
import pty
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from relayprobe import __version__
from relayprobe.cli import bundle as limits
from relayprobe.cli import main
from relayprobe.dossier.judging import judge
from relayprobe.report.objects import session_from_object
from relayprobe.wire.packets import looks_like_capture
from tests.cli.kept import LOGIN_ALONE, NO_LOGIN, Held, keep, refusal, run
from tests.clients.listening import COMMAND, environment
from tests.report.test_anonymous import DIALOGUE, NAMES, leaks

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
PEER = "10.20.30.40:50001"
FAILS = """
S: 220 mailgate.northwind.co.uk
C: HELO KOPIERER7
S: 250 OK
C: QUIT
S: 221 bye
"""
SETTINGS = """
[site]
domains = ["northwind.co.uk"]
[accounts]
"apfelbaum@northwind.co.uk" = "Marker-Of-Passw0rd!"
holunder = "Marker-Of-Passw0rd!"
"""
FILES = ["version.txt", "report.html", "transcript.txt", "session.json"]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session full of names, with another visit of the device before it."""
    made = tmp_path_factory.mktemp("named") / "data"
    start = Held("", "").started
    keep(
        made, [Held("aa01", FAILS, PEER, start), Held("bb02", DIALOGUE.replace("C: PROXY", "C: NOOP"), PEER, start + 5)]
    )
    return made


def exported(folder: Path, id: str, form: str, *more: str | Path) -> bytes:
    result = run("export", "--data", folder, id, "--as", form, *more)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name) for name in bundle.namelist()}


def found(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("diagnose", "--json", *arguments)
    return result.exit_code, json.loads(result.stdout)


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return all(before[part] == after[part] for part in ("findings", "verdicts", "advice", "unseen"))


# The forms


@pytest.mark.parametrize("form", ["html", "pcapng", "bundle"])
def test_a_form_is_the_same_each_time_and_for_its_owner_alone(folder: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "session"
    assert run("export", "--data", folder, "aa00000001", "--as", form, "-o", file).output == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == exported(folder, "aa00000001", form) == exported(folder, "aa00000001", form)


def test_a_page(folder: Path) -> None:
    page = exported(folder, "aa00000001", "html").decode()
    assert page.startswith("<!DOCTYPE html>\n")
    assert 'id="finding-no-tls"' in page
    assert "a line with a dot" not in page


def test_packets_are_diagnosed_as_the_session_is(folder: Path, tmp_path: Path) -> None:
    for id in ("aa00000001", "aa00000002", "bb00000003", "cc00000004"):
        file = tmp_path / "session.pcapng"
        file.write_bytes(exported(folder, id, "pcapng"))
        assert looks_like_capture(file.read_bytes()[:4])
        before = found("--data", folder, id, "--mode", "submission")
        after = found(file, "--mode", "submission")
        assert after[0] == before[0]
        assert {f["rule"] for f in after[1]["findings"]} == {f["rule"] for f in before[1]["findings"]}
        assert after[1]["session"]["listener"] == before[1]["session"]["listener"] == "0.0.0.0:2525"


def test_packets_have_a_large_message_whole(tmp_path: Path) -> None:
    lines = "\n".join(f"C: {n:06} {'x' * 60}" for n in range(3000))
    keep(tmp_path / "data", [Held("aa01", NO_LOGIN.replace("C: ..a line with a dot", lines))])
    file = tmp_path / "session.pcapng"
    file.write_bytes(exported(tmp_path / "data", "aa01", "pcapng"))
    _, again = found(file)
    [body] = [event for event in again["session"]["events"] if event["kind"] == "body"]
    assert body["size"] > 3000 * 67
    assert b"002999 " in file.read_bytes()


def test_a_bundle_holds_what_it_should(folder: Path) -> None:
    files = unpacked(exported(folder, "aa00000001", "bundle"))
    assert list(files) == FILES
    assert files["version.txt"] == f"relayprobe {__version__}\nrelayprobe-session-1\n".encode()
    assert files["report.html"] == exported(folder, "aa00000001", "html")
    assert files["transcript.txt"] == exported(folder, "aa00000001", "text")
    assert b"with a dot" not in b"".join(files.values())
    assert b"Subject: Scan" in json.loads(files["session.json"])["session"]["events"][-5]["raw"].encode()


def test_messages_are_in_a_bundle_where_they_are_wanted(tmp_path: Path) -> None:
    twice = NO_LOGIN.replace("Scan", "One") + NO_LOGIN.replace("Scan", "Two")
    keep(tmp_path, [Held("aa01", twice)])
    files = unpacked(exported(tmp_path, "aa01", "bundle", "--with-messages"))
    assert list(files) == [*FILES, "message-1.eml", "message-2.eml"]
    assert files["message-2.eml"] == exported(tmp_path, "aa01", "eml", "--message", "2")
    assert b"with a dot" in files["session.json"]


def test_settings_are_in_a_bundle_without_their_secrets(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "relayprobe.toml"
    config.write_text(SETTINGS)
    files = unpacked(exported(folder, "aa00000001", "bundle", "--config", config))
    assert list(json.loads(files["settings.json"])["accounts"]) == ["apfelbaum@northwind.co.uk", "holunder"]
    assert b"Marker" not in b"".join(files.values())


def test_the_hello_is_in_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(path for path in EXAMPLES if path.stem == "tls10-scanner")
    shown = session_from_object(json.loads(path.read_text()))
    keep(tmp_path, [Held("aa01", LOGIN_ALONE)])
    monkeypatch.setattr("relayprobe.dossier.export.judge_stored", lambda *_, **__: judge(shown))
    files = unpacked(exported(tmp_path, "aa01", "bundle"))
    assert files["hello.bin"] == shown.hellos[0][1].raw
    assert files["hello.bin"].startswith(b"\x16\x03\x01")


def test_no_password_is_in_any_form(folder: Path) -> None:
    for form in ("html", "pcapng", "bundle"):
        content = exported(folder, "aa00000002", form)
        for part in unpacked(content).values() if form == "bundle" else [content]:
            assert leaks(part, ["scan-2024!"]) == []
            assert b"c2Nhbm5lckBjb250b3NvLmNvbQ==" in part or b"AUTH" not in part


def test_what_goes_with_what(folder: Path, tmp_path: Path) -> None:
    for options, says in (
        (("--with-messages",), "--with-messages goes with --as bundle"),
        (("--anonymous", "--as", "eml"), "--anonymous makes no other message"),
        (("--anonymous", "--with-messages", "--as", "bundle"), "--anonymous makes no other message"),
    ):
        assert refusal(run("export", "--data", folder, "aa00000001", *options)).startswith(says)
    assert refusal(run("export", "--data", folder, "nothing", "--as", "html", "-o", tmp_path / "page"))
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("form", ["pcapng", "bundle"])
def test_octets_are_nothing_for_a_terminal(folder: Path, form: str) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "export", "--data", folder, "aa00000001", "--as", form],
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert (done.returncode, f"Error: {form} is nothing for a terminal" in done.stderr.decode()) == (2, True)


# Made-up names


@pytest.mark.parametrize("form", ["text", "json", "html", "pcapng", "bundle"])
def test_no_name_is_left_in_any_form(named: Path, tmp_path: Path, form: str) -> None:
    config = tmp_path / "relayprobe.toml"
    config.write_text(SETTINGS)
    content = exported(named, "bb02", form, "--anonymous", "--config", config)
    files = unpacked(content) if form == "bundle" else {form: content}
    for name, part in files.items():
        assert leaks(part, [*NAMES, "holunder"]) == [], name
        assert leaks(part.replace(b"\\u", b""), NAMES) == []
    assert leaks(exported(named, "bb02", form) if form != "bundle" else b"quitte")


def test_what_is_found_with_made_up_names_is_the_same(named: Path, tmp_path: Path) -> None:
    page = exported(named, "bb02", "html", "--anonymous").decode()
    _, before = found("--data", named, "bb02")
    assert all(f'id="finding-{finding["rule"]}"' in page for finding in before["findings"])
    assert "Names and addresses are made up" in page
    assert "hangs on a name" not in page
    file = tmp_path / "bundle"
    file.write_bytes(exported(named, "bb02", "bundle", "--anonymous"))
    _, after = found(file)
    assert [(f["rule"], f["severity"]) for f in after["findings"]] == [
        (f["rule"], f["severity"]) for f in before["findings"]
    ]


# A bundle, read again


@pytest.mark.parametrize("more", [(), ("--with-messages",)])
def test_a_bundle_is_diagnosed_as_the_session_is(
    folder: Path, named: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    for data, ids in ((folder, ["aa00000001", "aa00000002", "bb00000003", "cc00000004"]), (named, ["bb02"])):
        for id in ids:
            file = tmp_path / f"{id}.zip"
            file.write_bytes(exported(data, id, "bundle", *more))
            before, after = found("--data", data, id), found(file)
            assert before[0] == after[0]
            assert same(before[1], after[1])
            text = run("diagnose", "--data", data, id)
            assert run("diagnose", file).stdout == text.stdout


def test_a_bundle_on_stdin_and_beside_a_session(folder: Path, tmp_path: Path) -> None:
    content = exported(folder, "aa00000001", "bundle")
    result = CliRunner().invoke(main, ["diagnose", "-", "--json"], input=io.BytesIO(content))
    assert json.loads(result.stdout)["session"]["id"] == "aa00000001"
    file = tmp_path / "bundle"
    file.write_bytes(content)
    compared = run("diagnose", "--data", folder, "--compare", "--json", file, "aa00000001")
    assert json.loads(compared.stdout)["findings"]["new"] == []


def test_the_visits_beside_a_session_are_in_its_bundle(tmp_path: Path) -> None:
    start = Held("", "").started
    many = [Held(f"aa{n:02}", NO_LOGIN, PEER, start + n) for n in range(40)]
    keep(tmp_path / "data", many)
    _, before = found("--data", tmp_path / "data", "aa39")
    file = tmp_path / "bundle"
    file.write_bytes(exported(tmp_path / "data", "aa39", "bundle"))
    assert same(before, found(file)[1])
    alone = {**json.loads(unpacked(file.read_bytes())["session.json"]), "visits": []}
    file.write_bytes(zipped({"session.json": json.dumps(alone).encode()}))
    assert not same(before, found(file)[1])


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return made.getvalue()


def encrypted(content: bytes) -> bytes:
    """The same file with the mark of encryption."""
    at = content.find(b"PK\x01\x02")
    return content[:6] + b"\1" + content[7 : at + 8] + b"\1" + content[at + 9 :]


def lying(content: bytes) -> bytes:
    """The same file, which says that it unpacks to a hundred octets."""
    at = content.find(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", 100) + content[at + 4 :]


SESSION = json.dumps({"events": []}).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped({"a.txt": b""}), " is compressed, and no bundle of relayprobe: unpack it first, with unzip"),
        (zipped({"session.json": b"[]"}), " is not an exported session: "),
        (zipped({"session.json": SESSION + b"\n" + SESSION}), " is not a bundle: its session.json has more than one"),
        (zipped({"session.json": b'{"events": [], "visits": [5]}'}), " is not an exported session: its visits"),
        (zipped({"session.json": b'{"events": [], "visits": 5}'}), " is not an exported session: its visits"),
        (
            zipped({"session.json": bytes(limits.LONGEST_SESSION + 1)}),
            " unpacks to more than a session can have (64 MiB)",
        ),
        (lying(zipped({"session.json": bytes(limits.LONGEST_SESSION + 1)})), " is a damaged zip file ("),
        (zipped({f"{n}": b"" for n in range(limits.MOST_FILES + 1)}), " has more files in it than a bundle: "),
        (zipped({"session.json": SESSION})[:-30], " is a damaged zip file ("),
        (
            zipped({"session.json": SESSION}, zipfile.ZIP_STORED).replace(b"events", b"EVENTS"),
            " is a damaged zip file (Bad CRC",
        ),
        (encrypted(zipped({"session.json": SESSION})), " is a damaged zip file ("),
        (b"PK\x03\x04", " is a damaged zip file ("),
        (b"PK\x03\x04" + bytes(70_000) + b"PK\x05\x06" + b"\xff" * 18, " has more files in it than a bundle: "),
        (b"PK\x05\x06" + bytes(18), " is not an exported session: "),
    ],
)
def test_what_is_no_bundle(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "given"
    file.write_bytes(content)
    assert refusal(run("diagnose", file)).startswith(f"{file}{says}")


def test_a_zip_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LONGEST_BUNDLE", 100)
    file = tmp_path / "given"
    file.write_bytes(zipped({"session.json": SESSION * 100}, zipfile.ZIP_STORED))
    assert refusal(run("diagnose", file)).startswith(f"{file} is larger than a bundle can be: ")


def test_a_bundle_is_read_and_not_unpacked(folder: Path, tmp_path: Path) -> None:
    inner = unpacked(exported(folder, "aa00000001", "bundle"))["session.json"]
    file = tmp_path / "given"
    file.write_bytes(zipped({"../../outside": b"x", "/tmp/outside": b"x", "session.json": inner}))
    found(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given"]


def test_an_example_is_found_the_same_in_a_bundle(tmp_path: Path) -> None:
    from relayprobe.report.masked import without_text
    from relayprobe.report.objects import report_object

    for path in EXAMPLES:
        before = judge(session_from_object(json.loads(path.read_text())))
        thing = report_object(without_text(before.session), before.findings, before.verdicts, before.advice)
        file = tmp_path / "bundle"
        file.write_bytes(zipped({"session.json": json.dumps(thing | {"visits": []}).encode()}))
        after = found(file)[1]
        assert same(json.loads(json.dumps(thing)), after)
        assert replace(session_from_object(thing), site=before.session.site) == session_from_object(after)
