"""`relayprobe rules`: the catalogue, and a page on each rule."""

from __future__ import annotations

import json

import pytest

from relayprobe.rules import RULES
from tests.cli.kept import refusal, run


def test_all_rules_are_listed() -> None:
    listed = run("rules").stdout
    assert [id for id in RULES if f"  {id} " not in listed] == []
    assert [json.loads(line)["rule"] for line in run("rules", "--json").stdout.splitlines()] == list(RULES)


@pytest.mark.parametrize("id", RULES)
def test_a_rule_is_explained(id: str) -> None:
    page = run("rules", id)
    assert page.exit_code == 0
    assert RULES[id].title in page.stdout
    assert json.loads(run("rules", id, "--json").stdout)["title"] == RULES[id].title


def test_a_rule_that_is_not_there() -> None:
    assert run("rules", "NO-TLS").stdout == run("rules", "no-tls").stdout
    assert refusal(run("rules", "notls")) == "there is no rule 'notls': did you mean no-tls?"
    assert refusal(run("rules", "xyz")) == "there is no rule 'xyz': `relayprobe rules` lists them all"
