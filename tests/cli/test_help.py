"""Every command explains itself, every option has its twin in the environment, and both are shown."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relayprobe.cli import VERBS, main
from tests.cli.kept import run


def command(*words: str) -> click.Command:
    found: click.Command | None = main
    for word in words:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def calls() -> list[tuple[str, ...]]:
    """Every command, those within `queue` and `config` too."""
    found: list[tuple[str, ...]] = []
    for verb in VERBS:
        group = command(verb)
        found += [(verb, name) for name in group.commands] if isinstance(group, click.Group) else [(verb,)]
    return found


def options(*words: str) -> list[click.Option]:
    return [parameter for parameter in command(*words).params if isinstance(parameter, click.Option)]


def test_the_verbs_are_listed() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    assert [verb for verb, says in VERBS.items() if f"  {verb} " not in shown or says not in shown] == []


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_help_shows_every_option_and_its_twin(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    names = {
        option.opts[-1] if option.opts[-1].startswith("--") else option.opts[0]: option for option in options(*words)
    }
    assert {"--config", "--data", "--json", "--no-color", "--verbose"} <= set(names)
    for name, option in names.items():
        assert option.envvar == "RELAYPROBE_" + name.removeprefix("--").replace("-", "_").upper()
        assert option.help in shown
        assert str(option.envvar) in shown


def test_the_environment_is_used(folder: Path) -> None:
    shown = run("show", "last", RELAYPROBE_DATA=str(folder), RELAYPROBE_JSON="1", RELAYPROBE_MODE="connector")
    assert json.loads(shown.stdout)["session"]["mode"] == "connector"
    listed = run("sessions", "--limit", "2", RELAYPROBE_DATA=str(folder), RELAYPROBE_JSON="1", RELAYPROBE_LIMIT="1")
    assert len(listed.stdout.splitlines()) == 2  # the command line goes before
    assert json.loads(run("show", "last", "--data", folder, RELAYPROBE_JSON="1").stdout)
