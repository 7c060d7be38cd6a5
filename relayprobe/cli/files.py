"""Sessions from files: an export, a bundle, a dialogue that another tool printed, a capture of packets. The form is
told by the content, not by the name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from relayprobe.cli.options import fail, language
from relayprobe.dossier.judging import Judgement, judge
from relayprobe.report.objects import NotASession, session_from_object, visits_from_object
from relayprobe.report.visible import visible
from relayprobe.tongue import joined, said
from relayprobe.wire import pasted
from relayprobe.wire.session import Session, Site, session_of
from relayprobe.wire.visit import LOOK_BACK, MOST_VISITS, Visit, visit_of, within

LONGEST_EXPORT = 512 * 1024 * 1024
"""Octets of an export that is read: three messages of the largest size."""

MOST_DEVICES = 10_000
"""Devices of a capture whose visits are remembered."""

STDIN = "-"
_ZIP = b"PK\x03\x04"
_PACKED = {b"\x1f\x8b": "gunzip", b"(\xb5": "unzstd", b"BZ": "bunzip2"}
_WAY_OUT = said("give it what `relayprobe export` wrote, the output of a mail tool such as swaks, or a pcap file")


class _Begun:
    """A file whose first octets have been read already."""

    def __init__(self, begin: bytes, file: BinaryIO) -> None:
        self._begin = begin
        self._file = file

    def read(self, size: int, /) -> bytes:
        taken, self._begin = self._begin[:size], self._begin[size:]
        while len(taken) < size and (more := self._file.read(size - len(taken))):
            taken += more
        return taken


def judgements_in(
    name: str, *, mode: str | None = None, site: Site | None = None, ports: Sequence[int] = ()
) -> Iterator[Judgement]:
    """Diagnose all sessions in a file (`-`: what comes on stdin). What is not usable ends the command."""
    from relayprobe.wire.packets import looks_like_capture

    shown = "stdin" if name == STDIN else visible(name)
    with _opened(name, shown) as file:
        begin = _Begun(b"", file).read(4)
        source = _Begun(begin, file)
        if looks_like_capture(begin):
            yield from _in_capture(source, shown, mode, site, ports)
            return
        if begin == _ZIP:
            visits, session = _in_bundle(source, shown)
            yield judge(replace(session, site=site or session.site), within(visits, session), mode)
            return
        if unpack := _PACKED.get(begin[:2]):
            fail(said("{file} is compressed: unpack it first, with {program}", file=shown, program=unpack))
        data = source.read(pasted.LONGEST + 1)
        if data.lstrip()[:1] == b"{":
            sessions = _in_export(data + source.read(LONGEST_EXPORT), shown)
        elif len(data) > pasted.LONGEST:
            fail(said("{file} is longer than 16 MiB: cut out the session that matters", file=shown))
        else:
            sessions = _in_text(data, shown)
    for session in sessions:
        yield judge(replace(session, site=site or session.site), (), mode)


@contextmanager
def _opened(name: str, shown: str) -> Iterator[BinaryIO]:
    try:
        if name == STDIN:
            yield sys.stdin.buffer
        else:
            with Path(name).open("rb") as file:
                yield file
    except OSError as error:
        fail(said("cannot read {file} ({why}): name a file that can be read", file=shown, why=error.strerror))


def _in_export(data: bytes, shown: str) -> list[Session]:
    """One exported session, or one a line, as `diagnose --json` prints them."""
    try:
        text = data.decode("utf-8")
        try:
            things = [json.loads(text)]
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            things = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [session_from_object(thing) for thing in things]
    except NotASession as error:
        fail(said("{file} is not an exported session: {why}", file=shown, why=error.why))
    except (ValueError, RecursionError) as error:
        fail(said("{file} is not an exported session: {why}; {way_out}", file=shown, why=str(error), way_out=_WAY_OUT))


def _in_bundle(source: _Begun, shown: str) -> tuple[tuple[Visit, ...], Session]:
    """The session of a bundle, and the device's other visits."""
    from relayprobe.cli.bundle import session_in

    data = session_in(source, shown)
    session, *more = _in_export(data, shown)
    if more:
        fail(said("{file} is not a bundle: its session.json has more than one session in it", file=shown))
    try:
        return visits_from_object(json.loads(data)), session
    except NotASession as error:
        fail(said("{file} is not an exported session: {why}", file=shown, why=error.why))


def _in_text(data: bytes, shown: str) -> list[Session]:
    found = pasted.read(pasted.decoded(data))
    if not found:
        fail(
            said(
                "{file} is not an exported session: no dialogue is found in it either; {way_out}",
                file=shown,
                way_out=_WAY_OUT,
            )
        )
    base = Path(shown).name
    return [
        session_of(each.events, id=base if len(found) == 1 else f"{base}#{n}", source=each.source)
        for n, each in enumerate(found, 1)
    ]


def _in_capture(
    file: _Begun, shown: str, mode: str | None, site: Site | None, ports: Sequence[int]
) -> Iterator[Judgement]:
    """The sessions of a capture, each with the device's others in view, in the order in which they ended."""
    from relayprobe.wire.pcap import Capture

    capture = Capture(file, ports)
    visits: dict[str, list[Visit]] = {}  # by device, the one heard of last at the end
    base, count = Path(shown).name, 0
    for count, found in enumerate(capture, 1):
        session = session_of(found.events, id=f"{base}#{count}", started=found.started, site=site, source="pcap")
        earlier = visits.pop(session.host, [])
        going_on = [Visit(peer, started, None) for peer, started in capture.going_on(session.host)]
        yield judge(session, within([*earlier, *going_on], session), mode)
        end = session.started + (session.closed.at if session.closed else 0.0)
        recent = [visit for visit in earlier if visit.ended is None or visit.ended >= end - 2 * LOOK_BACK]
        visits[session.host] = [*recent, visit_of(session)][-2 * MOST_VISITS :]
        if len(visits) > MOST_DEVICES:
            del visits[next(iter(visits))]
    if not count:
        none = said(
            "{file} has no SMTP connection in it: name its port with --port, or capture where the device sends",
            file=shown,
        )
        why = joined(capture.remarks, " ")
        fail(joined((none, why), ". ") if why else none)
    for remark in capture.remarks:
        click.echo(f"{shown}: {language()(remark)}", err=True)
