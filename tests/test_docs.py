"""What the documents say is what the program does: tables, samples, units and examples are compared with the code.

Two parts of the README are made from the code; `python -m tests.test_docs` writes them anew.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relayprobe.cli import VERBS, main
from relayprobe.cli.export import FORMS
from relayprobe.dossier.export import FILES
from relayprobe.dossier.judging import judge
from relayprobe.relay.repair.terms import REPAIRS
from relayprobe.report.manual import document
from relayprobe.report.objects import session_from_object
from relayprobe.report.text import report
from relayprobe.rules import RULES
from relayprobe.settings import LimitSettings, RetentionSettings, Settings, load
from relayprobe.settings.relay import NotifySettings, OAuthSettings, RewriteSettings, RouteSettings, SecretFrom
from relayprobe.web.serve import TOKEN
from tests.check.scene import shown
from tests.clients.listening import Listening
from tests.conftest import need

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SAMPLE = ROOT / "config" / "relayprobe.toml"
README = ROOT / "README.md"
RELAY = ROOT / "docs" / "relay.md"
MANUAL = ROOT / "docs" / "rules.md"
DOCUMENTS = (README, EXAMPLES / "README.md")
UNITS = (ROOT / "config" / "relayprobe.socket", ROOT / "config" / "relayprobe.service")

FOUND = {
    "old-printer.json": "helo-only no-tls no-auth mail-from-default-domain",
    "tls10-scanner.json": "tls10-11-only legacy-ciphers-only",
    "scan-as-user.json": "mail-from-not-auth-user header-from-not-auth-user",
    "short-password.json": "auth-password-truncated",
    "report-program.json": "helo-invalid-name bare-lf end-of-data-lf-only",
    "good-device.json": "",
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Examples


def test_every_example_is_in_the_table_and_in_the_readme() -> None:
    assert {path.name for path in EXAMPLES.glob("*.json")} == set(FOUND)
    described = (EXAMPLES / "README.md").read_text()
    assert [
        path.name for path in EXAMPLES.iterdir() if path != EXAMPLES / "README.md" and path.name not in described
    ] == []


@pytest.mark.parametrize("name", FOUND)
def test_an_example_is_diagnosed(name: str) -> None:
    done = CliRunner().invoke(main, ["diagnose", "--json", str(EXAMPLES / name)])
    found = [finding for finding in json.loads(done.stdout)["findings"] if finding["severity"] != "note"]
    assert [finding["rule"] for finding in found] == FOUND[name].split()
    assert done.exit_code == (1 if found else 0)


@pytest.mark.parametrize(
    ("script", "program"), [("curl.sh", "curl"), ("swaks.sh", "swaks"), ("send.py", sys.executable)]
)
def test_a_script_sends_as_it_should(script: str, program: str, tmp_path: Path) -> None:
    need(program)
    command = [EXAMPLES / script] if script.endswith(".sh") else [program, EXAMPLES / script]
    listening = Listening(tmp_path, settings="")
    try:
        sent = subprocess.run(
            [*command, "127.0.0.1", str(listening.port)], capture_output=True, timeout=60, check=False
        )
        assert (sent.returncode, sent.stderr) == (0, b"")
        shown = listening.last()
    finally:
        listening.stop()
    assert [finding["rule"] for finding in shown["findings"] if finding["severity"] != "note"] == []
    submission = shown["verdicts"][0]
    assert (submission["mode"], submission["works"], submission["proven"]) == ("submission", True, True)


# The sample configuration


def test_the_sample_configuration_is_the_defaults() -> None:
    assert load(SAMPLE) == load()


SECRETS = ("password", "secret", "token_key", "key")


def test_the_sample_configuration_has_every_key() -> None:
    text = SAMPLE.read_text()
    nested = {"relay.notify": NotifySettings, "route": RouteSettings, "route.oauth": OAuthSettings}
    nested["rewrite"] = RewriteSettings
    tables = {name: field.annotation for name, field in Settings.model_fields.items()} | nested
    for name, table in tables.items():
        head = rf"\[\[{name}\]\]" if name in ("route", "rewrite") else rf"\[{re.escape(name)}\]"
        part = re.search(rf"^#?{head}\n(.*?)(?=^#?\[|\Z)", text, re.M | re.S)
        assert part or re.search(rf"^{name} = ", text, re.M), name
        for key in getattr(table, "model_fields", ()):
            # Of the ways to give a secret one is shown, and the others are named beside it.
            ways = SECRETS if hasattr(table, "ways") else ()
            secret = next((name for name in ways if key in SecretFrom.ways(name)), None)
            wanted = f"{secret}_file" if secret else "secret_file" if name + key == "route.oauthcertificate" else key
            inner = f"{name}.{key}" in nested or re.search(rf"^\[{name}\.{key}\]", text, re.M)
            assert inner or re.search(rf"^#?{wanted} = ", part[1], re.M), f"{name}.{key}"


def test_what_is_commented_out_in_the_sample_is_right_too(tmp_path: Path) -> None:
    whole = tmp_path / "relayprobe.toml"
    text = re.sub(r"^#(?! )", "", SAMPLE.read_text(), flags=re.M)
    text = re.sub(r"^(fallback|over) = .*$", "", text, flags=re.M)  # they name routes that are not here
    text = text.replace('password_file = "secret"\n', "")  # it excludes [route.oauth]
    whole.write_text(text)
    settings = load(whole)
    assert settings.accounts
    assert settings.site.mx
    assert settings.log.file
    assert settings.route[0].oauth
    assert settings.rewrite


# The README


def test_the_limits_in_the_readme_are_the_defaults() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", README.read_text(), re.M))
    given = {"limits": LimitSettings, "retention": RetentionSettings}
    assert set(told) == {key for table in given.values() for key in table.model_fields}
    tables = {name: {key: told[key] for key in table.model_fields} for name, table in given.items()}
    assert load(given=tables) == load()


def test_every_command_is_in_the_readme() -> None:
    assert [verb for verb in VERBS if f"`relayprobe {verb}" not in README.read_text()] == []


def test_every_form_of_an_export_is_in_the_readme() -> None:
    part = README.read_text().partition("## Hand it over\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.M) == list(FORMS)
    bundle = next(row for row in part.splitlines() if row.startswith("| `bundle`"))
    assert set(re.findall(r"`([\w-]+\.\w+)`", bundle)) == set(FILES)


def commands(path: Path) -> list[list[str]]:
    """The arguments of each call of relayprobe in a document or unit."""
    text = path.read_text().replace("\\\n", " ").replace('"$(command -v relayprobe)"', "relayprobe")
    return [
        shlex.split(call, comments=True)
        for call in re.findall(rf"\brelayprobe ((?:{'|'.join(VERBS)})\b[^`|\n]*)", text)
    ]


@pytest.mark.parametrize("path", [*DOCUMENTS, SAMPLE, UNITS[1]], ids=named)
def test_commands_in_documents_have_only_options_that_exist(path: Path) -> None:
    assert commands(path)
    for verb, *arguments in commands(path):
        with click.Context(main) as above:
            command = main.get_command(above, verb)
            assert command is not None
            command.make_context(verb, arguments, parent=above)  # raises click.UsageError


def twins() -> set[str]:
    """The environment variables of all options, that of the completion, and that of the page's token: an option would
    show it to whoever lists the processes."""
    found = {"_RELAYPROBE_COMPLETE", TOKEN}
    with click.Context(main) as above:
        for verb in VERBS:
            command = main.get_command(above, verb)
            assert command is not None
            found |= {str(option.envvar) for option in command.params if option.envvar}
    return found


@pytest.mark.parametrize("path", [*DOCUMENTS, SAMPLE, *UNITS], ids=named)
def test_environment_variables_in_documents_exist(path: Path) -> None:
    assert set(re.findall(r"\b_?RELAYPROBE_[A-Z_]+[A-Z0-9]", path.read_text())) <= twins()


def test_links_in_documents_lead_somewhere() -> None:
    for path in (*DOCUMENTS, MANUAL):
        text = path.read_text()
        anchors = {
            re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)", text, re.M)
        }
        for link in re.findall(r"\]\((?!https:)([^)]+)\)", text):
            file, _, anchor = link.partition("#")
            assert (path.parent / file).exists(), link
            assert not anchor or anchor in anchors, link


def test_the_units_fit_together() -> None:
    units = []
    for path in UNITS:
        unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read(path)
        units.append(unit)
    service = units[1]
    assert service["Unit"]["Requires"] == service["Install"]["Also"] == UNITS[0].name
    assert "--data %S/" + service["Service"]["StateDirectory"] in service["Service"]["ExecStart"]


# What is made from the code


def session() -> str:
    """A captured session, as `relayprobe show` shows it."""
    found = judge(session_from_object(json.loads((EXAMPLES / "short-password.json").read_text())))
    lines = report(found.session, found.findings, found.verdicts, found.advice)
    return "\n".join(["```text", "$ relayprobe show last", *(text for _, text in lines), "```"])


def rules() -> str:
    """The manual of the rules."""
    return "\n".join(document(RULES.values()))


def repairs() -> str:
    """What the relay puts right."""
    return "\n".join(["| Repair | |", "|---|---|", *(f"| `{name}` | {does} |" for name, does in REPAIRS.items())])


MADE = {README: {"session": session, "check": shown}, MANUAL: {"rules": rules}, RELAY: {"repairs": repairs}}


def made_anew(path: Path) -> str:
    text = path.read_text()
    for name, make in MADE[path].items():
        before, begin, rest = text.partition(f"<!-- made: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert begin, name
        assert end, name
        text = f"{before}{begin}{make()}\n{end}{after}"
    return text


@pytest.mark.parametrize("path", MADE, ids=named)
def test_what_is_made_from_the_code_is_as_the_code_is(path: Path) -> None:
    """Where this fails: `python -m tests.test_docs`, and read what has changed."""
    assert made_anew(path) == path.read_text()


def test_how_many_rules_there_are_is_told() -> None:
    assert f"{len(RULES)} rules" in README.read_text()


if __name__ == "__main__":
    for made in MADE:
        made.write_text(made_anew(made))
