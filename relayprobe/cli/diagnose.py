"""`relayprobe diagnose`: the rules again, over stored sessions and files, captured here or elsewhere. Exit code 1 for
errors."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayprobe.cli.options import archive, common, data_folder, fail, language, option
from relayprobe.cli.show import MODES
from relayprobe.cli.terminal import Terminal
from relayprobe.tongue import Said, counted, said

if TYPE_CHECKING:
    from relayprobe.dossier.judging import Judgement
    from relayprobe.store import Archive, Row, Store
    from relayprobe.wire.session import Site
    from relayprobe.wire.visit import Visit

AT_ONCE = 500
"""Sessions that are written in one go by --update."""


@click.command("diagnose")
@common
@option("--mode", type=MODES, help="What the device is meant to use.")
@option("--all", "every", is_flag=True, help="All stored sessions, the oldest first.")
@option("--update", is_flag=True, help="With --all: write what is found into the list of sessions.")
@option("--compare", is_flag=True, help="Say what changed from the first of two sessions to the second.")
@option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="In a pcap, a port for mail; repeatable.")
@click.argument("sessions", nargs=-1)
@click.pass_context
def command(
    ctx: click.Context,
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    mode: str | None,
    every: bool,
    update: bool,
    compare: bool,
    ports: tuple[int, ...],
    sessions: tuple[str, ...],
) -> None:
    """Diagnose again: SESSIONS are ids, beginnings of ids, `last`, or files (`-`: stdin).

    A file is what `export --as json` or `--as text` wrote, a dialogue that swaks, curl or another tool printed, or a
    capture of packets (pcap, pcapng).

    Exit code 0: no errors found; 1: errors found (with --compare: in the second session); 2: wrong usage.
    """
    if update and not every:
        fail(said("--update goes with --all: it writes what is found in all stored sessions into the list"))
    if every and (sessions or compare):
        fail(said("--all takes no sessions: name some, or say --all"))
    terminal = Terminal(no_color)
    if every:
        ctx.exit(_all(terminal, config, data, mode, update=update, as_json=as_json))
    if compare:
        ctx.exit(_compared(terminal, config, data, mode, sessions, ports, as_json=as_json))
    errors = False
    for judgement in _judgements(config, data, mode, sessions or ("last",), ports):
        errors = errors or has_errors(judgement)
        _print(terminal, judgement, as_json=as_json)
    ctx.exit(1 if errors else 0)


def has_errors(judgement: Judgement) -> bool:
    """Whether Office 365 refuses something in it, or another server did."""
    from relayprobe.advice.refused import refusals_of

    return bool(refusals_of(judgement.session)) or any(finding.severity == "error" for finding in judgement.findings)


def _print(terminal: Terminal, judgement: Judgement, *, as_json: bool) -> None:
    session, tongue = judgement.session, language(as_json)
    if as_json:
        from relayprobe.report.objects import report_object

        thing = report_object(session, judgement.findings, judgement.verdicts, judgement.advice, tongue)
        sys.stdout.write(json.dumps(thing) + "\n")
        return
    from relayprobe.advice.refused import refusals_of
    from relayprobe.report.explained import refusals_text
    from relayprobe.report.text import conclusion
    from relayprobe.report.visible import visible

    named = said("Session {id}", id=visible(session.id))
    if session.peer:
        named = said("Session {id} from {peer}", id=visible(session.id), peer=visible(session.peer))
    terminal.line(("heading", f"--- {tongue(named)} ---"))
    terminal.lines(refusals_text(refusals_of(session), tongue))
    terminal.lines(conclusion(session, judgement.findings, judgement.verdicts, judgement.advice, tongue))
    terminal.line(("", ""))


def _judgements(
    config: Path | None, data: Path | None, mode: str | None, sessions: Sequence[str], ports: Sequence[int]
) -> Iterator[Judgement]:
    from relayprobe.cli.files import STDIN, judgements_in
    from relayprobe.cli.site import site_given
    from relayprobe.dossier.judging import judge_stored
    from relayprobe.report.visible import visible

    site = site_given(config)
    with ExitStack() as open_until_done:
        stored: Archive | None = None
        for name in sessions:
            if name == STDIN or (Path(name).exists() and not Path(name).is_dir()):
                yield from judgements_in(name, mode=mode, site=site, ports=ports)
                continue
            if "." in name or "/" in name:  # no id has these
                if Path(name).is_dir():
                    wrong = said("{file} is a folder", file=visible(name))
                else:
                    wrong = said("there is no file {file}", file=visible(name))
                fail(said("{wrong}: name an export, a text, a capture of packets, or a session's id", wrong=wrong))
            if stored is None:
                stored = open_until_done.enter_context(archive(config, data))
            yield judge_stored(stored, stored.find(name), mode=mode, site=site)


# Two sessions


def _compared(
    terminal: Terminal,
    config: Path | None,
    data: Path | None,
    mode: str | None,
    sessions: Sequence[str],
    ports: Sequence[int],
    *,
    as_json: bool,
) -> int:
    from relayprobe.report.compare import Told, compare, comparison_object, comparison_text
    from relayprobe.report.visible import visible

    if len(sessions) != 2:
        fail(said("--compare takes two sessions, the earlier one first: ids or files"))
    told = []
    for name in sessions:
        first, *more = islice(_judgements(config, data, mode, (name,), ports), 2)
        if more:
            fail(
                said(
                    "{file} has more than one session: `diagnose --json` prints one a line, so write the one that "
                    "matters into a file of its own",
                    file=visible(name),
                )
            )
        told.append(first)
    before, after = told
    found = compare(
        Told(before.session, before.findings, before.verdicts), Told(after.session, after.findings, after.verdicts)
    )
    if as_json:
        sys.stdout.write(json.dumps(comparison_object(found, language(as_json))) + "\n")
    else:
        terminal.lines(comparison_text(found, language()))
    return 1 if has_errors(after) else 0


# All that are stored


def _all(
    terminal: Terminal, config: Path | None, data: Path | None, mode: str | None, *, update: bool, as_json: bool
) -> int:
    from relayprobe.cli.site import site_given

    tally = Tally()
    with archive(config, data) as stored, _writer(config, data, update=update) as store:
        for row, judgement in _each(stored, mode, site_given(config), quietly=update or not sys.stdout.isatty()):
            changes = tally.add(row, judgement)
            if store is not None and changes:
                _write(store, row, judgement)
                if tally.changed % AT_ONCE == 0:
                    store.flushed().result()
            if as_json or not update:
                _print(terminal, judgement, as_json=as_json)
        if store is not None:
            store.flushed().result()
    if not as_json:
        tongue, style = language(), "warning" if tally.with_errors else "good"
        first, *rules = map(tongue, tally.summary(updated=update))
        terminal.lines([(style, first), *((style, f"  {line}") for line in rules)])
    return 1 if tally.with_errors else 0


def _each(stored: Archive, mode: str | None, site: Site | None, *, quietly: bool) -> Iterator[tuple[Row, Judgement]]:
    """Every stored session, oldest first. A bar on stderr tells how far it is, where nothing else is told there."""
    from relayprobe.dossier.judging import judge_stored
    from relayprobe.wire.visit import LOOK_BACK

    known: dict[str, Visit] = {}
    rows = stored.sessions(oldest_first=True)
    with ExitStack() as until_done:
        if quietly and sys.stderr.isatty():
            bar = click.progressbar(
                rows,
                stored.count(),
                language()(said("Diagnosing")),
                file=sys.stderr,
                show_pos=True,
                update_min_steps=20,
            )
            rows = iter(until_done.enter_context(bar))
        for row in rows:
            yield row, judge_stored(stored, row, mode=mode, site=site, known=known)
            if len(known) > 2 * AT_ONCE:
                for id, visit in list(known.items()):
                    if visit.ended is not None and visit.ended < row.started - LOOK_BACK:
                        del known[id]


@contextmanager
def _writer(config: Path | None, data: Path | None, *, update: bool) -> Iterator[Store | None]:
    """The store, for writing, where something is to be written: it removes nothing that is old meanwhile."""
    if not update:
        yield None
        return
    from relayprobe.store import Retention, Store

    keep_all = Retention(session_age=None, body_age=None, sessions=None, size=None)
    store = Store.open(data_folder(config, data), keep_all)
    try:
        yield store
    finally:
        store.close()


def _write(store: Store, row: Row, judgement: Judgement) -> None:
    from relayprobe.dossier.summary import summary

    store.begin(replace(summary(row, judgement.session, judgement.findings), ended=row.ended))


class Tally:
    """What changed against what was found when the sessions were captured."""

    def __init__(self) -> None:
        self.sessions = self.with_errors = self.changed = 0
        self._new: Counter[str] = Counter()
        self._gone: Counter[str] = Counter()

    def add(self, row: Row, judgement: Judgement) -> bool:
        """Count a session; whether its findings, or the worst of them, are others now."""
        found = {finding.rule.id for finding in judgement.findings}
        worst = judgement.findings[0].severity if judgement.findings else None
        self.sessions += 1
        self.with_errors += worst == "error"
        if row.ended is None:
            return False  # it goes on
        new, gone = found - set(row.findings), set(row.findings) - found
        self._new.update(new)
        self._gone.update(gone)
        changed = bool(new or gone or worst != row.worst)
        self.changed += changed
        return changed

    def summary(self, *, updated: bool) -> Iterator[Said]:
        """How many, how many with errors, and what changed."""
        yield counted(
            "{n:,} session, {errors:,} with errors; {changes}",
            "{n:,} sessions, {errors:,} with errors; {changes}",
            self.sessions,
            errors=self.with_errors,
            changes=self._changes(updated=updated),
        )
        for rule, count in self._new.most_common():
            yield said("new: {rule} in {n:,}", rule=rule, n=count)
        for rule, count in self._gone.most_common():
            yield said("gone: {rule} in {n:,}", rule=rule, n=count)

    def _changes(self, *, updated: bool) -> Said:
        if not self.changed:
            return said("what was found before still stands.")
        if updated:
            return said("in {n:,} it is not what the list of sessions says; the list says it now.", n=self.changed)
        return said("in {n:,} it is not what the list of sessions says (--update writes it there).", n=self.changed)
