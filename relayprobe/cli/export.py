"""`relayprobe export`: a session to hand over, as text, JSON, mail, packets, a page, or all of it in one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from relayprobe.cli.options import archive, common, data_folder, fail, language, option, settings
from relayprobe.cli.show import MODES
from relayprobe.tongue import said

FORMS = ("text", "json", "html", "eml", "pcapng", "bundle")  # as in dossier.export, which is loaded when it is needed
BINARY = ("pcapng", "bundle")


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
    from relayprobe.dossier.export import Export

    form = "json" if as_json and form == "text" else form
    if with_messages and form != "bundle":
        fail(said("--with-messages goes with --as bundle: for one message alone there is --as eml"))
    if anonymous and (form == "eml" or with_messages):
        fail(said("--anonymous makes no other message: one has names all over, so leave it out, or export without it"))
    if form in BINARY and output is None and sys.stdout.isatty():
        fail(said("{form} is nothing for a terminal: name a file with --output", form=form))
    with archive(config, data) as stored:
        row = stored.find(session)
        chosen = settings(config, {}) if config is not None else None
        export = Export(
            stored,
            row,
            folder=data_folder(config, data),
            mode=mode,
            anonymous=anonymous,
            chosen=chosen,
            tongue=language(),
            tongue_of_json=language(as_json=True),
        )
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
        fail(said("cannot write {file} ({why}): name another file with --output", file=output, why=error.strerror))
