"""In which language the commands print: that of --lang, of RELAYPROBE_LANG, or of the locale; JSON is English, unless
the command line says otherwise."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from relayprobe.advice.table import ROWS, TERMS
from relayprobe.cli import main
from relayprobe.rules import RULES
from relayprobe.rules.codes import KNOWN_FROM
from relayprobe.tongue import tongue_of
from tests.cli.kept import LOGIN_ALONE, NO_LOGIN, PROBE, refusal, run
from tests.report.test_said import MARKED, unsaid

BLOCKS = [row.block for row in (*ROWS, *TERMS) if row.block]
ITALIAN = tongue_of("it")
TITLE = RULES["no-auth"].title
HERE = {"RELAYPROBE_LANG": "it"}
ASKED = [
    (["--lang", "it"], {}),
    ([], HERE),
    ([], {"LANG": "it_IT.UTF-8"}),
    ([], {"LC_ALL": "it_IT", "LANG": "en_US.UTF-8"}),
    ([], {"LC_MESSAGES": "it_CH.UTF-8", "LANG": "C"}),
    (["--lang", "it"], {"LC_ALL": "en_GB.UTF-8", "RELAYPROBE_LANG": "en"}),
]
NOT_ASKED = [
    ([], {}),
    ([], {"LANG": "de_DE.UTF-8"}),
    ([], {"LC_ALL": "C", "LANG": "it_IT.UTF-8"}),
    (["--lang", "en"], {"LANG": "it_IT.UTF-8"}),
    ([], {"RELAYPROBE_LANG": "en", "LANG": "it_IT.UTF-8"}),
]


def test_there_is_italian_to_be_told_from_english() -> None:
    assert ITALIAN(TITLE) != TITLE


@pytest.mark.parametrize(("options", "environment"), ASKED)
def test_a_session_is_shown_in_italian(folder: Path, options: list[str], environment: dict[str, str]) -> None:
    shown = run("show", "aa00000001", "--data", folder, *options, **environment).stdout
    assert ITALIAN(TITLE) in shown
    assert TITLE not in shown
    assert shown.count("\n") > 40


@pytest.mark.parametrize(("options", "environment"), NOT_ASKED)
def test_a_session_is_shown_in_english(folder: Path, options: list[str], environment: dict[str, str]) -> None:
    shown = run("show", "aa00000001", "--data", folder, *options, **environment)
    assert shown.stdout == run("show", "aa00000001", "--data", folder).stdout
    assert TITLE in shown.stdout


@pytest.mark.parametrize("environment", [HERE, {"LANG": "it_IT.UTF-8"}], ids=str)
@pytest.mark.parametrize(
    "command",
    [
        ["show", "aa00000001"],
        ["diagnose", "aa00000001"],
        ["diagnose", "--compare", "aa00000001", "aa00000002"],
        ["export", "aa00000001"],
        ["rules", "no-auth"],
        ["rules", "--code", "454"],
        ["explain", "550 5.7.64 TenantAttribution; Relay Access Denied"],
        ["sessions"],
        ["queue", "list"],
        ["health"],
    ],
    ids=" ".join,
)
def test_json_is_the_same_in_every_environment(folder: Path, command: list[str], environment: dict[str, str]) -> None:
    english, here = (_json(folder, command, **env) for env in ({}, environment))
    free = re.compile(r'"free": \d+')  # the room on the disk is another by now
    assert free.sub("", here.stdout) == free.sub("", english.stdout)
    assert here.exit_code == english.exit_code


@pytest.mark.parametrize("command", [["show", "aa00000001"], ["rules", "no-auth"]], ids=" ".join)
def test_json_is_italian_where_the_command_line_says_so(folder: Path, command: list[str]) -> None:
    told = _json(folder, [*command, "--lang", "it"]).stdout
    assert json.dumps(ITALIAN(TITLE)) in told
    assert json.dumps(TITLE) not in told
    assert json.loads(told).keys() == json.loads(_json(folder, command).stdout).keys()


def _json(folder: Path, command: list[str], **environment: str) -> Result:
    return run(*command, "--json", "--data", folder, **environment)


def test_what_is_wrong_is_said_in_italian(folder: Path) -> None:
    sentence = "--all takes no sessions: name some, or say --all"
    assert refusal(run("diagnose", "--all", "last", "--data", folder)) == sentence
    assert refusal(run("diagnose", "--all", "last", "--data", folder, "--lang", "it")) == ITALIAN(sentence)


def test_a_page_is_exported_in_italian_and_a_text_can_be_read_again(folder: Path, tmp_path: Path) -> None:
    page = run("export", "aa00000001", "--as", "html", "--data", folder, "--lang", "it").stdout
    assert '<html lang="it">' in page
    assert ITALIAN(TITLE) in page
    text = tmp_path / "session.txt"
    for lang in ("en", "it"):
        text.write_text(run("export", "aa00000001", "--data", folder, "--lang", lang).stdout, encoding="utf-8")
        found = json.loads(run("diagnose", str(text), "--json").stdout)
        assert "no-auth" in [finding["rule"] for finding in found["findings"]]
    assert ITALIAN(TITLE) in text.read_text(encoding="utf-8")


CONFIG = """
[site]
domains = ["contoso.com"]
[relay]
devices = ["192.168.1.0/24"]
[[route]]
name = "mx"
mode = "connector"
domain = "contoso.com"
"""


@pytest.mark.parametrize(
    "command",
    [
        ["sessions"],
        ["sessions", "--peer", "192.0.2.1"],
        ["show", "aa00000001"],
        ["diagnose", "--all"],
        ["diagnose", "--compare", "aa00000001", "aa00000002"],
        ["queue", "list"],
        ["health"],
        ["rules"],
        ["config", "check"],
        ["queue", "retry", "--route", "nowhere"],
        ["queue", "retry"],
        ["diagnose", "no/where"],
        ["diagnose", "--update"],
        ["explain"],
        ["rules", "no-tl"],
        ["rules", "--code", "qqqq"],
        ["reload"],
        ["export", "aa00000001", "--with-messages"],
        ["sessions", "--since", "nowhere"],
        ["listen", "--listen", "nowhere"],
        ["relay", "--learn", "nowhere"],
        ["login", "nowhere"],
    ],
    ids=" ".join,
)
def test_no_word_of_ours_stands_outside_the_catalogue(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("relayprobe.cli.options.preferred", lambda *_: MARKED)
    config = tmp_path / "relayprobe.toml"
    config.write_text(CONFIG)
    done = run(*command, "--config", config, "--data", folder)
    told = done.stdout + done.stderr.removeprefix("Error: ")
    assert len(told) > 10
    answers = [answer.line for id, rule in RULES.items() if id in told for answer in rule.answer.values()]
    kept = (NO_LOGIN, LOGIN_ALONE, PROBE, "aa bb cc fd", "smtp office com", str(config), str(folder), *command)
    places = CONFIG + "the MX of contoso.com"  # as the log has them, too
    vendors = KNOWN_FROM if "qqqq" in command else ()
    data = (*kept, places, *RULES, *BLOCKS, *vendors, *answers * (command[0] in ("show", "diagnose")))
    assert unsaid(told, " ".join(data)) == set()


def test_another_language_is_refused(folder: Path) -> None:
    done = run("sessions", "--data", folder, "--lang", "tlh")
    assert done.exit_code == 2
    assert "'en', 'it'" in done.stderr


def test_every_command_takes_the_option() -> None:
    context = main.make_context("relayprobe", ["--help"], resilient_parsing=True)
    for verb in main.list_commands(context):
        command = main.get_command(context, verb)
        for one in getattr(command, "commands", {verb: command}).values():
            assert "--lang" in [name for parameter in one.params for name in parameter.opts], verb
