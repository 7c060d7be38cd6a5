"""`relayprobe rules`: the catalogue of what is looked for, and a page on each."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path

import click

from relayprobe.cli.options import common, fail, language, option
from relayprobe.cli.terminal import Terminal
from relayprobe.tongue import said

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
            fail(said("RULE and --code exclude each other: leave one out"))
        _explain(code, as_json, no_color)
        return
    rule = rule.lower() if rule is not None else None
    if rule is not None and rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, n=1)
        if near:
            fail(said("there is no rule {rule!r}: did you mean {near}?", rule=rule, near=near[0]))
        fail(said("there is no rule {rule!r}: `relayprobe rules` lists them all", rule=rule))
    chosen = list(RULES.values()) if rule is None else [RULES[rule]]
    if as_json:
        for one in chosen:
            sys.stdout.write(json.dumps(manual_object(one, language(as_json))) + "\n")
        return
    Terminal(no_color).lines(table(chosen, language()) if rule is None else page(chosen[0], language()))


def _explain(written: str, as_json: bool, no_color: bool) -> None:
    from relayprobe.office365.recognise import recognise
    from relayprobe.report.explained import code_object, code_page
    from relayprobe.rules.codes import KNOWN_FROM, look_up, nearest

    codes = look_up(written)
    if not codes:
        if recognise(written).matches or _REPLY.match(written):
            fail(
                said(
                    "{text!r} looks like a reply of a mail server: `relayprobe explain` tells what it means",
                    text=written[:64],
                )
            )
        near, known = nearest(written), "; ".join(KNOWN_FROM)
        if near:
            fail(
                said(
                    "no code {code!r} is known: the nearest is {near}; known are those of {known}",
                    code=written[:64],
                    near=near,
                    known=known,
                )
            )
        fail(
            said(
                "no code {code!r} is known: none is like it; known are those of {known}", code=written[:64], known=known
            )
        )
    if as_json:
        for code in codes:
            sys.stdout.write(json.dumps(code_object(code, written, language(as_json))) + "\n")
        return
    terminal = Terminal(no_color)
    for n, code in enumerate(codes):
        if n:
            terminal.line(("", ""))
        terminal.lines(code_page(code, written, language()))
