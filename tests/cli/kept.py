"""A data folder with sessions that were never held: dialogues as text, put through the recorder into a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from relayprobe.advice.findings import diagnose
from relayprobe.capture.listener import summary
from relayprobe.capture.recorder import Recorder
from relayprobe.cli import main
from relayprobe.store import Row, Store
from relayprobe.wire.events import Closed, Connected
from relayprobe.wire.session import Site, session_of
from tests.transcript import said

SITE = Site(domains=("contoso.com",))
LISTENER = "0.0.0.0:2525"

NO_LOGIN = """
S: 220 relayprobe.local
C: EHLO mfp01.contoso.com
S: 250 relayprobe.local
C: MAIL FROM:<scanner@contoso.com>
S: 250 OK
C: RCPT TO:<anna@contoso.com>
S: 250 OK
C: DATA
S: 354 go on
C: From: scanner@contoso.com
C: To: anna@contoso.com
C: Subject: Scan
C: Date: Mon, 15 Jan 2024 10:00:00 +0000
C: Message-ID: <1@mfp01.contoso.com>
C:
C: ..a line with a dot
C: ...
C: .
S: 250 OK
C: QUIT
S: 221 bye
"""
LOGIN_ALONE = """
S: 220 relayprobe.local
C: EHLO mfp02.contoso.com
S: 250-relayprobe.local
S: 250 AUTH LOGIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: c2Nhbm5lckBjb250b3NvLmNvbQ==
S: 334 UGFzc3dvcmQ6
C: U2Nhbi0yMDI0IQ==
S: 235 OK
C: QUIT
S: 221 bye
"""
PROBE = """
S: 220 relayprobe.local
C: QUIT
S: 221 bye
"""


@dataclass(frozen=True)
class Held:
    """A session to keep."""

    id: str
    dialogue: str
    peer: str = "192.168.1.20:40000"
    started: float = 1_700_000_000.0
    mode: str | None = None


def keep(folder: Path, sessions: Sequence[Held]) -> None:
    """Keep them in the data folder."""
    store = Store.open(folder)
    try:
        for held in sessions:
            _keep(store, held)
    finally:
        store.close()


def _keep(store: Store, held: Held) -> None:
    context = json.dumps({"mode": held.mode, "imitate": None, "site": asdict(SITE)})
    row = Row(held.id, held.started, None, held.peer, LISTENER, context)

    def finished(recorder: Recorder, row: Row) -> None:
        session = session_of(recorder.events, id=row.id, started=row.started, mode=held.mode, site=SITE)
        store.finish(summary(row, session, diagnose(session)))

    recorder = Recorder(
        row,
        store,
        accounts={},
        body_limit=2**20,
        onlookers=(),
        finished=finished,
        stored=lambda: asyncio.sleep(0),
        trouble=lambda error: None,
    )
    recorder.note(Connected(0.0, held.peer, LISTENER))
    for side, octets in said(held.dialogue):
        recorder.heard(side, octets)
    recorder.finish(Closed(recorder.now(), "server", "quit"))


def run(verb: str, *arguments: str | Path, **environment: str) -> Result:
    """Run a command in this process, where nothing is said of a language unless `environment` says it."""
    own: dict[str, str | None] = {"LC_ALL": None, "LC_MESSAGES": None, "LANG": "C.UTF-8", "RELAYPROBE_LANG": None}
    return CliRunner(env=own | environment).invoke(main, [verb, *map(str, arguments)])


def refusal(result: Result) -> str:
    """The one sentence with which a command ended, exit code 2."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")
