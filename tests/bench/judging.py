"""How fast sessions are judged: one of a hundred lines, in memory; and ten thousand that are stored, as `diagnose --all
--update` does it. Nothing here passes or fails."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from relayprobe.advice.findings import diagnose
from relayprobe.rules import RULES
from relayprobe.store import Retention, Row, Store
from relayprobe.wire.codec import to_json
from relayprobe.wire.events import Closed, Connected, Event
from relayprobe.wire.session import Site, session_of
from tests.transcript import events, said

STORED = 10_000
DEVICES = 40
SITE = Site(domains=("contoso.com",))

GREETING = """
S: 220 relayprobe.local ESMTP relayprobe ready
C: EHLO mfp01.contoso.com
S: 250-relayprobe.local Hello [192.168.1.20]
S: 250-SIZE 157286400
S: 250-PIPELINING
S: 250-STARTTLS
S: 250-8BITMIME
S: 250 AUTH LOGIN PLAIN XOAUTH2
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: c2Nhbm5lckBjb250b3NvLmNvbQ==
S: 334 UGFzc3dvcmQ6
C: U2Nhbi0yMDI0IQ==
S: 235 2.7.0 Authentication successful
"""
MAIL = """
C: MAIL FROM:<scanner@contoso.com>
S: 250 2.1.0 Sender OK
C: RCPT TO:<anna@contoso.com>
S: 250 2.1.5 Recipient OK
C: DATA
S: 354 Start mail input; end with <CRLF>.<CRLF>
C: From: Scanner <scanner@contoso.com>
C: To: anna@contoso.com
C: Subject: Scan
C: Date: Mon, 15 Jan 2024 10:00:00 +0000
C: Message-ID: <1@mfp01.contoso.com>
C:
C: scan
C: .
S: 250 2.0.0 OK
"""
END = "C: QUIT\nS: 221 2.0.0 Bye\n"


def dialogue(mails: int) -> list[Event]:
    """A session with so many mails."""
    found = events(said(GREETING + mails * MAIL + END))
    return [Connected(0.0, "192.168.1.20:49152", "0.0.0.0:2525"), *found, Closed(1.0, "client", "fin")]


def main() -> None:
    in_memory()
    stored()


def in_memory() -> None:
    """A session of a hundred lines and more, from its events to its findings."""
    lines = dialogue(11)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(100):
            diagnose(session_of(lines, site=SITE))
        times.append((time.perf_counter() - began) * 10)  # ms for one
    best, middle = min(times), statistics.median(times)
    rules = len(RULES)
    print(
        f"\nA session of {len(lines)} lines, {rules} rules: {middle:.2f} ms (best {best:.2f}), "
        f"{middle * 10 / rules:.2f} ms per ten rules"
    )


def stored() -> None:
    """Ten thousand sessions of a few devices, half a minute apart."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        command = [sys.executable, "-m", "relayprobe", "diagnose", "--data", folder, "--all", "--update"]
        for what in ("first, written", "again, unchanged"):
            began = time.perf_counter()
            done = subprocess.run([*command], stdout=subprocess.PIPE, text=True, check=False)
            wall = time.perf_counter() - began
            print(f"{STORED:,} stored sessions ({what}): {wall:.1f} s, {STORED / wall:,.0f} a second")
            print(f"  {done.stdout.splitlines()[0]}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  peak memory {peak:.0f} MB")


def fill(folder: Path) -> None:
    texts = [to_json(event) for event in dialogue(1)]
    context = json.dumps({"mode": None, "imitate": None, "site": asdict(SITE)})
    store = Store.open(folder, Retention(None, None, None, None))
    try:
        for n in range(STORED):
            started = 1_700_000_000.0 + 30 * n / DEVICES
            row = Row(f"s{n:06}", started, started + 1, f"192.168.1.{n % DEVICES}:49152", "0.0.0.0:2525", context)
            store.begin(row)
            store.append(row.id, texts)
            store.finish(row)
            if n % 500 == 0:
                store.flushed().result()
    finally:
        store.close()


if __name__ == "__main__":
    main()
