"""`relayprobe export`: a session to hand over, as text, JSON, mail, packets, a page, or all of it in one file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relayprobe.cli.options import archive, common, data_folder, fail, option
from relayprobe.cli.queued import sent_on
from relayprobe.cli.show import MODES

if TYPE_CHECKING:
    from relayprobe.cli.judging import Judgement
    from relayprobe.report.anonymous import Anonymous
    from relayprobe.store import Archive, Row
    from relayprobe.wire.session import Session, Site

FORMS = ("text", "json", "html", "eml", "pcapng", "bundle")
BINARY = ("pcapng", "bundle")
FILES = ("version.txt", "report.html", "transcript.txt", "session.json", "hello.bin", "settings.json")
"""What is in a bundle, besides messages."""


@click.command("export")
@common
@option("--as", "form", type=click.Choice(FORMS), default="text", show_default=True, help="Form.")
@option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: stdout).")
@option("--message", type=click.IntRange(min=1), default=1, show_default=True, help="Which message, for eml.")
@option("--mode", type=MODES, help="What the device is meant to use.")
@option("--anonymous", is_flag=True, help="Make up names and addresses, and mask the texts of messages.")
@option("--with-messages", is_flag=True, help="Put the messages into the bundle, too.")
@click.argument("session")
def command(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    no_color: bool,
    verbose: int,
    form: str,
    output: Path | None,
    message: int,
    mode: str | None,
    anonymous: bool,
    with_messages: bool,
    session: str,
) -> None:
    """Write one session: SESSION is an id, the beginning of one, or `last`. Passwords are in none of the forms.

    A bundle is a zip file with the session as html, text and JSON, the octets of the TLS hello, and with --config the
    settings without their secrets. `relayprobe diagnose` reads it, as it does text, json and pcapng.
    """
    form = "json" if as_json and form == "text" else form
    if with_messages and form != "bundle":
        fail("--with-messages goes with --as bundle: for one message alone there is --as eml")
    if anonymous and (form == "eml" or with_messages):
        fail("--anonymous makes no other message: one has names all over, so leave it out, or export without it")
    if form in BINARY and output is None and sys.stdout.isatty():
        fail(f"{form} is nothing for a terminal: name a file with --output")
    with archive(config, data) as stored:
        row = stored.find(session)
        export = _Export(config, data, stored, row, mode, anonymous)
        write(export.pieces(form, message, with_messages), output)


def write(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write to a file that is for its owner alone, or to stdout."""
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    pieces = iter(pieces)
    first = next(pieces, b"")  # what is wrong with the session is said before the file is touched
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.chmod(output, 0o600)  # where it was there before
            file.write(first)
            file.writelines(pieces)
    except OSError as error:
        fail(f"cannot write {output} ({error.strerror}): name another file with --output")


class _Export:
    """One session, as it is to be shown."""

    def __init__(
        self, config: Path | None, data: Path | None, stored: Archive, row: Row, mode: str | None, anonymous: bool
    ) -> None:
        self._config = config
        self._data = data
        self._stored = stored
        self._row = row
        self._mode = mode
        self._anonymous = anonymous

    def pieces(self, form: str, message: int, with_messages: bool) -> Iterator[bytes]:
        """The export in a form."""
        match form:
            case "text":
                yield self._text()
            case "json":
                yield self._json(self._whole)
            case "html":
                yield self._html()
            case "eml":
                yield self._mail(message)
            case "pcapng":
                yield from self._packets()
            case "bundle":
                from relayprobe.cli.bundle import packed

                yield from packed(self._files(with_messages))

    # The forms

    def _text(self) -> bytes:
        from relayprobe.report.text import report

        found = self._shown
        lines = report(found.session, found.findings, found.verdicts, found.advice)
        return "".join(f"{text}\n" for _, text in lines).encode()

    def _json(self, session: Session, **more: Any) -> bytes:
        from relayprobe.report.objects import report_object

        found = self._shown
        thing = report_object(session, found.findings, found.verdicts, found.advice)
        return json.dumps(thing | {"sent_on": self._sent_on} | more, indent=1).encode() + b"\n"

    def _html(self) -> bytes:
        from relayprobe.report.html import report_html

        found = self._shown
        remarks = list(self._remarks())
        told = report_html(found.session, found.findings, found.verdicts, found.advice, self._sent_on, remarks)
        return told.encode()

    def _packets(self) -> Iterator[bytes]:
        from relayprobe.report.pcapng import pcapng

        if self._anonymous:
            yield from pcapng(self._whole, self._shown.findings)
        else:
            row, stored = self._row, self._stored
            yield from pcapng(self._shown.session, self._shown.findings, lambda n: stored.body_stream(row.id, n))

    def _mail(self, number: int) -> bytes:
        from relayprobe.report.mail import eml

        messages = [e.message for e in self._whole.envelopes if e.message]
        id = self._row.id
        if number > len(messages):
            have = f"it has {len(messages)}" if messages else "no message was sent in it"
            fail(f"session {id} has no message {number}: {have}")
        body = messages[number - 1].body
        if body.purged:
            fail(f"the message of session {id} is older than messages are kept: see body_age in [retention]")
        return eml(body.raw, body.end)

    def _files(self, with_messages: bool) -> Iterator[tuple[str, bytes]]:
        """The files of a bundle."""
        from relayprobe import __version__
        from relayprobe.report.mail import eml
        from relayprobe.report.masked import without_text
        from relayprobe.report.objects import FORMAT, visit_object

        session = self._shown.session
        yield "version.txt", f"relayprobe {__version__}\n{FORMAT}\n".encode()
        yield "report.html", self._html()
        yield "transcript.txt", self._text()
        visits = [visit_object(visit) for visit in self._shown.visits]
        yield "session.json", self._json(session if with_messages else without_text(session), visits=visits)
        if hello := b"".join(sent.raw for _, sent in session.hellos):
            yield "hello.bin", hello
        if self._config is not None:
            yield "settings.json", json.dumps(self._settings, indent=1).encode() + b"\n"
        if with_messages:
            texts = [e.message.body for e in self._whole.envelopes if e.message]
            for number, body in enumerate(texts, 1):
                if not body.purged:
                    yield f"message-{number}.eml", eml(body.raw, body.end)

    # What they are made of

    @cached_property
    def _site(self) -> Site | None:
        from relayprobe.cli.site import site_given

        return site_given(self._config)

    @cached_property
    def _judged(self) -> Judgement:
        from relayprobe.cli.judging import judge_stored

        return judge_stored(self._stored, self._row, mode=self._mode, site=self._site)

    @cached_property
    def _names(self) -> Anonymous:
        from relayprobe.report.anonymous import Anonymous

        return Anonymous(self._judged.session, self._others())

    @cached_property
    def _shown(self) -> Judgement:
        """The session and what is said of it, with made-up names where these are wanted."""
        from relayprobe.cli.judging import judge

        found = self._judged
        if not self._anonymous:
            return found
        return judge(self._names.session(found.session), [self._names.visit(visit) for visit in found.visits])

    @cached_property
    def _whole(self) -> Session:
        """The session with all of its messages."""
        from relayprobe.cli.judging import load

        whole = load(self._stored, self._row, site=self._site, whole=True)
        whole = replace(whole, mode=self._mode or whole.mode)
        return self._names.session(whole) if self._anonymous else whole

    @cached_property
    def _forwarded(self) -> list[dict[str, Any]]:
        return sent_on(data_folder(self._config, self._data), self._row.id)

    @cached_property
    def _sent_on(self) -> list[dict[str, Any]]:
        return [self._names.thing(mail) for mail in self._forwarded] if self._anonymous else self._forwarded

    @cached_property
    def _settings(self) -> Any:
        shown = self._settings_shown
        return self._names.settings(shown) if self._anonymous else shown

    @cached_property
    def _settings_shown(self) -> dict[str, Any]:
        from relayprobe.cli.options import settings
        from relayprobe.settings import shown

        return shown(settings(self._config, {})) if self._config is not None else {}

    def _others(self) -> Iterator[str]:
        """Names that the session itself may not have: those on the way out, and in the settings."""
        for mail in self._forwarded:
            yield from filter(None, (mail["sender"], *mail["recipients"], mail["user"], mail["host"]))
        chosen = self._settings_shown
        yield from chosen.get("accounts", ())
        yield from chosen.get("relay", {}).get("logins", ())
        yield from filter(None, (route.get("user") for route in chosen.get("route", ())))

    def _remarks(self) -> Iterator[str]:
        """What is to be known of the page itself."""
        if self._anonymous:
            from relayprobe.report.anonymous import lost

            yield "Names and addresses are made up, the same one for the same, and subjects and texts are masked."
            if gone := lost(self._judged.findings, self._shown.findings):
                yield f"Found before the names were made up, and not shown, for it hangs on a name: {', '.join(gone)}."
        if self._stored.unfinished_bodies(self._row.id):
            yield "A message was arriving when the session broke off; it is not in the report."
