"""`relayprobe rules`: the catalogue of what is looked for, and a page on each."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail
from relayprobe.cli.terminal import Terminal


@click.command("rules")
@common
@click.argument("rule", required=False)
def command(
    config: Path | None, data: Path | None, as_json: bool, no_color: bool, verbose: int, rule: str | None
) -> None:
    """List what is looked for; with the id of a RULE, explain it."""
    from relayprobe.report.manual import manual_object, page, table
    from relayprobe.rules import RULES

    if rule is not None and rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, n=1)
        hint = f"did you mean {near[0]}?" if near else "`relayprobe rules` lists them all"
        fail(f"there is no rule {rule!r}: {hint}")
    chosen = list(RULES.values()) if rule is None else [RULES[rule]]
    if as_json:
        for one in chosen:
            sys.stdout.write(json.dumps(manual_object(one)) + "\n")
        return
    Terminal(no_color).lines(table(chosen) if rule is None else page(chosen[0]))
