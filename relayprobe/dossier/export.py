"""One session in every form in which it is handed over: text, JSON, a page, mail, packets, and all of it in one file.

Passwords are in none of them. Names and addresses are made up where that is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relayprobe.dossier.judging import Judgement, judge, judge_stored, load
from relayprobe.dossier.objects import sent_on
from relayprobe.store import StoreError
from relayprobe.tongue import ENGLISH, Said, Tongue, said
from relayprobe.wire.events import Body

if TYPE_CHECKING:
    from relayprobe.report.anonymous import Anonymous
    from relayprobe.settings import Settings
    from relayprobe.store import Archive, Row
    from relayprobe.wire.session import Session, Site


FORMS = ("text", "json", "html", "eml", "pcapng", "bundle")
FILES = ("version.txt", "report.html", "transcript.txt", "session.json", "hello.bin", "settings.json")
"""What is in a bundle, besides messages."""


@dataclass(frozen=True)
class Export:
    """One session, as it is to be shown. `folder`: the data folder that it is in. `mode`: what the device is meant to
    use, where it is not as kept. `chosen`: the settings, where they are told: they say what the site is like.
    `tongue`: the language of what people read, and `tongue_of_json` that of the sentences in JSON."""

    stored: Archive
    row: Row
    folder: Path
    mode: str | None = None
    anonymous: bool = False
    chosen: Settings | None = None
    tongue: Tongue = ENGLISH
    tongue_of_json: Tongue = ENGLISH

    def pieces(self, form: str, message: int = 1, with_messages: bool = False) -> Iterator[bytes]:
        """The export in a form of FORMS, or as `brief`: JSON with 64 KiB of each message at most. Raises StoreError."""
        match form:
            case "text":
                yield self._text()
            case "json":
                yield self._json(self._whole)
            case "brief":
                yield self._json(self._shown.session)
            case "html":
                yield self._html()
            case "eml":
                yield from self._mail(message)
            case "pcapng":
                yield from self._packets()
            case "bundle":
                from relayprobe.dossier.bundle import packed

                yield from packed(self._files(with_messages))

    # The forms

    def _text(self) -> bytes:
        from relayprobe.report.text import conclusion, dialogue, heading

        found = self._shown
        told = conclusion(found.session, found.findings, found.verdicts, found.advice, self.tongue)
        # The dialogue is English in all languages: `diagnose` reads it again.
        lines = (heading(found.session), *dialogue(found.session, found.findings), *told)
        return "".join(f"{text}\n" for _, text in lines).encode()

    def _json(self, session: Session, **more: Any) -> bytes:
        from relayprobe.report.objects import report_object

        found = self._shown
        thing = report_object(session, found.findings, found.verdicts, found.advice, self.tongue_of_json)
        return json.dumps(thing | {"sent_on": self._sent_on} | more, indent=1).encode() + b"\n"

    def _html(self) -> bytes:
        from relayprobe.report.html import report_html

        found = self._shown
        remarks = list(self._remarks())
        told = report_html(
            found.session, found.findings, found.verdicts, found.advice, self._sent_on, remarks, self.tongue
        )
        return told.encode()

    def _packets(self) -> Iterator[bytes]:
        from relayprobe.report.pcapng import pcapng

        if self.anonymous:
            yield from pcapng(self._whole, self._shown.findings)
        else:
            row, stored = self.row, self.stored
            yield from pcapng(self._shown.session, self._shown.findings, lambda n: stored.body_stream(row.id, n))

    def _mail(self, number: int) -> Iterator[bytes]:
        """A message, in pieces: it may be larger than memory."""
        from relayprobe.report.mail import eml_pieces

        texts = [event for event in self._judged.session.events if isinstance(event, Body)]
        bodies = [e.message.body for e in self._judged.session.envelopes if e.message]
        id = self.row.id
        if number > len(bodies):
            have = f"it has {len(bodies)}" if bodies else "no message was sent in it"
            raise StoreError(f"session {id} has no message {number}: {have}")
        body = bodies[number - 1]
        if body.purged:
            raise StoreError(
                f"the message of session {id} is older than messages are kept: see body_age in [retention]"
            )
        [n] = [at for at, text in enumerate(texts) if text is body]
        yield from eml_pieces(self.stored.body_stream(id, n), body.end)

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
        if self.chosen is not None:
            yield "settings.json", json.dumps(self._settings, indent=1).encode() + b"\n"
        if with_messages:
            texts = [e.message.body for e in self._whole.envelopes if e.message]
            for number, body in enumerate(texts, 1):
                if not body.purged:
                    yield f"message-{number}.eml", eml(body.raw, body.end)

    # What they are made of

    @cached_property
    def _site(self) -> Site | None:
        if self.chosen is None:
            return None
        from relayprobe.settings.site import site_of

        return site_of(self.chosen)

    @cached_property
    def _judged(self) -> Judgement:
        return judge_stored(self.stored, self.row, mode=self.mode, site=self._site)

    @cached_property
    def _names(self) -> Anonymous:
        from relayprobe.report.anonymous import Anonymous

        return Anonymous(self._judged.session, self._others())

    @cached_property
    def _shown(self) -> Judgement:
        """The session and what is said of it, with made-up names where these are wanted."""
        found = self._judged
        if not self.anonymous:
            return found
        return judge(self._names.session(found.session), [self._names.visit(visit) for visit in found.visits])

    @cached_property
    def _whole(self) -> Session:
        """The session with all of its messages."""
        whole = load(self.stored, self.row, site=self._site, whole=True)
        whole = replace(whole, mode=self.mode or whole.mode)
        return self._names.session(whole) if self.anonymous else whole

    @cached_property
    def _forwarded(self) -> list[dict[str, Any]]:
        return sent_on(self.folder, self.row.id)

    @cached_property
    def _sent_on(self) -> list[dict[str, Any]]:
        return [self._names.thing(mail) for mail in self._forwarded] if self.anonymous else self._forwarded

    @cached_property
    def _settings(self) -> Any:
        shown = self._settings_shown
        return self._names.settings(shown) if self.anonymous else shown

    @cached_property
    def _settings_shown(self) -> dict[str, Any]:
        from relayprobe.settings import shown

        return shown(self.chosen) if self.chosen is not None else {}

    def _others(self) -> Iterator[str]:
        """Names that the session itself may not have: those on the way out, and in the settings."""
        for mail in self._forwarded:
            yield from filter(None, (mail["sender"], *mail["recipients"], mail["user"], mail["host"]))
        chosen = self._settings_shown
        yield from chosen.get("accounts", ())
        yield from chosen.get("relay", {}).get("logins", ())
        yield from filter(None, (route.get("user") for route in chosen.get("route", ())))

    def _remarks(self) -> Iterator[Said]:
        """What is to be known of the page itself."""
        if self.anonymous:
            from relayprobe.report.anonymous import lost

            yield said("Names and addresses are made up, the same one for the same, and subjects and texts are masked.")
            if gone := lost(self._judged.findings, self._shown.findings):
                yield said(
                    "Found before the names were made up, and not shown, for it hangs on a name: {rules}.",
                    rules=", ".join(gone),
                )
        if self.stored.unfinished_bodies(self.row.id):
            yield said("A message was arriving when the session broke off; it is not in the report.")
