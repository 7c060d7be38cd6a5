"""`diagnose` of what was captured elsewhere, of all that is stored, and of two sessions beside each other."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from relayprobe.cli import main
from relayprobe.store import Archive, Retention, Store
from tests.cli.kept import NO_LOGIN, PROBE, Held, keep, refusal, run
from tests.clients.listening import COMMAND, environment
from tests.wire.test_pasted import FORMS
from tests.wire.test_pcap import PLAIN, STARTED, Talk, pcap

WHOLE = pcap(Talk().open().say(PLAIN).close().packets)


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def file(folder: Path, content: bytes | str, name: str = "given") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Files


@pytest.mark.parametrize("name", ["capture.pcap", "session.json", "text", "with blank.txt"])
def test_the_content_tells_the_form_and_not_the_name(tmp_path: Path, folder: Path, name: str) -> None:
    exported = run("export", "--data", folder, "aa00000001", "--as", "json").stdout
    for content, source in (
        (WHOLE, "pcap"),
        (FORMS["swaks"], "text"),
        (exported, "live"),
        (run("export", "--data", folder, "aa00000001").stdout, "export"),
    ):
        path = file(tmp_path, content, name)
        [found] = objects(run("diagnose", path, "--json").stdout)
        assert found["session"]["source"] == source
        assert bool(found["unseen"]) == (source in ("text", "export"))
        assert found["session"]["id"] == (
            "aa00000001" if source == "live" else f"{name}#1" if source == "pcap" else name
        )


def test_stdin(folder: Path) -> None:
    for content in (WHOLE, FORMS["curl"].encode()):
        result = CliRunner().invoke(main, ["diagnose", "-", "--json"], input=io.BytesIO(content))
        assert result.exit_code == 1
        assert len(objects(result.stdout)) == 1


def test_json_that_diagnose_printed_may_have_many_sessions(folder: Path, tmp_path: Path) -> None:
    printed = run("diagnose", "--data", folder, "--all", "--json").stdout
    assert run("diagnose", file(tmp_path, printed), "--json").stdout == printed


def test_no_password_of_a_text_is_shown(tmp_path: Path) -> None:
    for text in FORMS.values():
        for more in ([], ["--json"]):
            result = run("diagnose", file(tmp_path, text), *more)
            assert "scanner@contoso.com" in result.output
            assert "U2Nhbi0yMDI0" not in result.output
            assert "Scan-2024" not in result.output


def test_the_sessions_of_a_capture_are_seen_together(tmp_path: Path) -> None:
    """TLS fails, and the device comes back in clear text: the second session alone does not show that."""
    failed = (
        Talk(server=("192.0.2.7", 587))
        .open()
        .say("S: 220 a\nC: EHLO mfp01.contoso.com\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 b")
    )
    failed.send("client", b"\x16\x03\x01\0\x05\x01\0\0\x01\0").send("client", flags=4)
    again = Talk(("192.168.1.21", 50000), ("192.0.2.7", 587), at=STARTED + 5).open().say(PLAIN).close()
    for packets, expected in ((failed.packets + again.packets, True), (again.packets, False)):
        found = objects(run("diagnose", file(tmp_path, pcap(packets)), "--json").stdout)
        assert ("silent-tls-downgrade" in {f["rule"] for f in found[-1]["findings"]}) == expected


def test_what_a_capture_cannot_show_is_said(tmp_path: Path) -> None:
    result = run("diagnose", file(tmp_path, WHOLE[:-40]))
    assert "The capture is damaged or cut off" in result.stderr
    assert "Mail or a login is sent without TLS" in result.stdout


def test_another_port(tmp_path: Path) -> None:
    talk = Talk(server=("192.0.2.7", 26)).open().send("server", b"250 in the middle of it\r\n").close()
    path = file(tmp_path, pcap(talk.packets))
    assert refusal(run("diagnose", path)).startswith(f"{path} has no SMTP connection in it: name its port with --port")
    assert len(objects(run("diagnose", path, "--port", "2600", "--port", "26", "--json").stdout)) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xd4\xc3\xb2\xa1", "has no SMTP connection in it"),
        (pcap([]), "has no SMTP connection in it"),
        (b"\x1f\x8b\x08\x00", "is compressed: unpack it first, with gunzip"),
        (b"", "no dialogue is found in it"),
        (bytes(range(256)) * 10, "no dialogue is found in it"),
        (b"a" * (16 * 2**20 + 1), "is longer than 16 MiB: cut out the session that matters"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, content: bytes, says: str) -> None:
    path = file(tmp_path, content)
    assert f"{path} {says}" in refusal(run("diagnose", path)).replace(" is not an exported session:", "")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    assert refusal(run("diagnose", tmp_path / "none.pcap")).startswith(f"there is no file {tmp_path}/none.pcap: ")
    assert refusal(run("diagnose", f"{tmp_path}/")).startswith(f"{tmp_path}/ is a folder: ")


# All that are stored


def held(count: int) -> list[Held]:
    """Sessions, every other one with errors."""
    return [
        Held(f"s{n:05}", PROBE if n % 2 else NO_LOGIN, "192.168.1.20:40000", 1_700_000_000.0 + 60 * n)
        for n in range(count)
    ]


def test_all_end_with_a_summary(folder: Path) -> None:
    result = run("diagnose", "--data", folder, "--all")
    assert result.stdout.splitlines()[-1] == "4 sessions, 2 with errors; what was found before still stands."


def forget(folder: Path) -> None:
    """The list of sessions as an older version, which knew other rules, has left it."""
    store = Store.open(folder, Retention(None, None, None, None))
    with Archive.open(folder) as archive:
        for row in archive.sessions():
            store.finish(replace(row, findings=("old",), worst="note"))
    store.close()


def test_update_writes_what_is_found_into_the_list(tmp_path: Path) -> None:
    keep(tmp_path, held(10))
    before = run("sessions", "--data", tmp_path, "--json").stdout
    forget(tmp_path)
    assert run("sessions", "--data", tmp_path, "--json").stdout != before
    told = run("diagnose", "--data", tmp_path, "--all").stdout.splitlines()
    assert (
        "10 sessions, 5 with errors; in 10 it is not what the list of sessions says (--update writes it there)." in told
    )
    assert "  gone: old in 10" in told
    assert "  new: no-auth in 5" in told
    updated = run("diagnose", "--data", tmp_path, "--all", "--update")
    assert updated.exit_code == 1
    assert updated.stdout.splitlines()[0].endswith("; the list says it now.")
    assert run("sessions", "--data", tmp_path, "--json").stdout == before
    again = run("diagnose", "--data", tmp_path, "--all", "--update").stdout
    assert again == "10 sessions, 5 with errors; what was found before still stands.\n"


def test_update_removes_nothing_that_is_old(tmp_path: Path) -> None:
    """They are older than sessions are kept, if `listen` ran."""
    keep(tmp_path, held(5))
    forget(tmp_path)
    for _ in range(2):
        assert run("diagnose", "--data", tmp_path, "--all", "--update").stdout.startswith("5 sessions")


def test_update_needs_the_folder_for_itself(tmp_path: Path) -> None:
    keep(tmp_path, held(1))
    store = Store.open(tmp_path)
    try:
        says = refusal(run("diagnose", "--data", tmp_path, "--all", "--update"))
    finally:
        store.close()
    assert says.startswith("another relayprobe (process ")
    assert "stop it" in says


def test_a_bar_tells_how_far_it_is_on_a_terminal(tmp_path: Path) -> None:
    keep(tmp_path, held(30))
    command = [*COMMAND, "diagnose", "--data", str(tmp_path), "--all", "--update"]
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=terminal, env=environment(), timeout=60, check=False
        )
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "Diagnosing" in shown
    assert "30/30" in shown
    assert done.stdout.startswith(b"30 sessions, 15 with errors")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--update"], "--update goes with --all"),
        (["--all", "last"], "--all takes no sessions"),
        (["--all", "--compare"], "--all takes no sessions"),
        (["--compare", "aa"], "--compare takes two sessions"),
        (["--compare", "aa", "bb", "cc"], "--compare takes two sessions"),
    ],
)
def test_options_that_do_not_go_together(folder: Path, arguments: list[str], says: str) -> None:
    assert refusal(run("diagnose", "--data", folder, *arguments)).startswith(says)


# Two sessions


def compared(*arguments: str | Path) -> dict[str, Any]:
    result = run("diagnose", "--compare", "--json", *arguments)
    assert result.exit_code in (0, 1)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_changed(folder: Path) -> None:
    found = compared("--data", folder, "aa00000001", "aa00000002")
    facts = {fact["name"]: (fact["before"], fact["after"]) for fact in found["facts"] if fact["changed"]}
    assert facts["greeting"] == ("EHLO mfp01.contoso.com", "EHLO mfp02.contoso.com")
    assert facts["login"] == (None, "LOGIN as scanner@contoso.com, accepted")
    assert facts["sender"] == ("scanner@contoso.com", None)
    assert [f["rule"] for f in found["findings"]["gone"]] == ["no-auth"]
    assert "auth-before-starttls" in [f["rule"] for f in found["findings"]["new"]]
    assert [f["rule"] for f in found["findings"]["stayed"]] == ["no-tls"]
    submission = next(verdict for verdict in found["verdicts"] if verdict["mode"] == "submission")
    assert "no-auth" in submission["before"]["blockers"]
    assert "no-auth" not in submission["after"]["blockers"]


def test_the_second_session_decides_the_exit_code(folder: Path) -> None:
    assert run("diagnose", "--data", folder, "--compare", "aa00000001", "bb00000003").exit_code == 0
    assert run("diagnose", "--data", folder, "--compare", "bb00000003", "aa00000001").exit_code == 1


def test_a_file_and_a_stored_session(folder: Path, tmp_path: Path) -> None:
    path = file(tmp_path, FORMS["swaks"], "swaks.txt")
    found = compared("--data", folder, "aa00000002", path)
    assert next(fact for fact in found["facts"] if fact["name"] == "TLS")["after"] == (
        "TLSv1.2 with ECDHE-RSA-AES256-GCM-SHA384"
    )
    text = run("diagnose", "--data", folder, "--compare", "aa00000002", path).stdout
    assert "From session aa00000002 to session swaks.txt" in text
    assert "Not seen in the second: The dialogue was read from a text" in text
    assert "none -> TLSv1.2 with ECDHE-RSA-AES256-GCM-SHA384" in text


def test_a_session_beside_itself(folder: Path) -> None:
    found = compared("--data", folder, "aa00000001", "aa00000001")
    assert [fact["name"] for fact in found["facts"] if fact["changed"]] == []
    assert (found["findings"]["gone"], found["findings"]["new"]) == ([], [])
    assert "as before" in run("diagnose", "--data", folder, "--compare", "aa00000001", "aa00000001").stdout


def test_a_file_with_many_sessions_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    again = Talk(("192.168.1.21", 50000), at=STARTED + 5).open().say(PLAIN).close()
    path = file(tmp_path, pcap(Talk().open().say(PLAIN).close().packets + again.packets))
    assert refusal(run("diagnose", "--compare", path, path)).startswith(f"{path} has more than one session")


def test_a_refusal_in_a_text_is_quoted_explained_and_an_error(tmp_path: Path) -> None:
    file = tmp_path / "swaks.txt"
    file.write_text(
        "S: 220 x\nC: EHLO mfp01.contoso.com\nS: 250 x\nC: MAIL FROM:<a@contoso.com>\n"
        "S: 550 5.7.64 TenantAttribution; Relay Access Denied \x1b[31m\nC: QUIT\nS: 221 x\n"
    )
    told = run("diagnose", file)
    assert told.exit_code == 1
    assert "The server refused MAIL FROM: 550 5.7.64 TenantAttribution; Relay Access Denied" in told.stdout
    assert "\x1b" not in told.stdout
    assert "connector" in told.stdout
    [refused] = json.loads(run("diagnose", file, "--json").stdout)["refused"]
    assert refused["to"] == "MAIL FROM"
    assert refused["explained"]["answers"][0]["enhanced"] == "5.7.64"
