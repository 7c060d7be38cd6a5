"""`relayprobe rules`: the catalogue of what is looked for, and a page on each."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail, option
from relayprobe.cli.terminal import Terminal

_REPLY = re.compile(r"\s*[2-5](?:\d\d\b|\.\d+\.\d+)")


@click.command("rules")
@common
@option("--code", help="Explain the error code of a device or program instead, such as 16#5108.")
@click.argument("rule", required=False)
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    code: str | None,
    rule: str | None,
) -> None:
    """List what is looked for; with the id of a RULE, explain it."""
    from relayprobe.report.manual import manual_object, page, table
    from relayprobe.rules import RULES

    if code is not None:
        if rule is not None:
            fail("RULE and --code exclude each other: leave one out")
        _explain(code, as_json, no_color)
        return
    rule = rule.lower() if rule is not None else None
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


def _explain(written: str, as_json: bool, no_color: bool) -> None:
    from relayprobe.office365.recognise import recognise
    from relayprobe.report.explained import code_object, code_page
    from relayprobe.rules.codes import KNOWN_FROM, look_up, nearest

    codes = look_up(written)
    if not codes:
        if recognise(written).matches or _REPLY.match(written):
            fail(f"{written[:64]!r} looks like a reply of a mail server: `relayprobe explain` tells what it means")
        near = nearest(written)
        hint = f"the nearest is {near}" if near else "none is like it"
        fail(f"no code {written[:64]!r} is known: {hint}; known are those of {'; '.join(KNOWN_FROM)}")
    if as_json:
        for code in codes:
            sys.stdout.write(json.dumps(code_object(code, written)) + "\n")
        return
    terminal = Terminal(no_color)
    for n, code in enumerate(codes):
        if n:
            terminal.line(("", ""))
        terminal.lines(code_page(code, written))
