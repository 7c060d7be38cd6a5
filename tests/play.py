"""`python -m tests.play FOLDER [--imitate]`: plays a folder of device scripts against real listeners.

A script is NAME.txt in the form of tests/device.py; passages that several share stand in macros.txt. Beside its
replies, what must be found is compared (`@expect`, `@level warn|info`, `@expect-none error warn`), and in the end every
file that the listeners have written is searched for the passwords. One line for each script; exit code 1 where anything
is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayprobe.dossier.judging import judge_stored
from relayprobe.store import Archive, Row
from tests.clients.listening import Listening, until
from tests.device import Script, passages, play, read

ACCOUNT = ("scanner@contoso.com", "Scan-2024!")
LEVELS = {"warn": "warning", "info": "note"}


@dataclass
class Played:
    """What came of one script: what was answered wrongly, and the severities of each finding."""

    wrong: list[str] = field(default_factory=list)
    found: dict[str, set[str]] = field(default_factory=dict)


class Listeners:
    """One for client submission, with a port for TLS on connect, and one for the MX endpoint."""

    def __init__(self, folder: Path, accounts: dict[str, str], imitate: bool) -> None:
        self._folder = folder
        self._imitate = imitate
        self._settings = '[site]\ndomains = ["contoso.com"]\n[accounts]\n' + "".join(
            f'"{user}" = "{password}"\n' for user, password in accounts.items()
        )
        self._started: dict[str, Listening] = {}

    def at(self, endpoint: str) -> Listening:
        """The listener for an endpoint, started when it is first asked for."""
        kind = endpoint if endpoint in ("mx", "smtps") else "submission"
        if kind not in self._started:
            mode = "direct-send" if kind == "mx" else "submission"
            options = ["--imitate", mode] if self._imitate else ["--mode", mode]
            place = "tls://127.0.0.1:0" if kind == "smtps" else "127.0.0.1:0"
            self._started[kind] = Listening(self._folder / kind, *options, settings=self._settings, place=place)
        return self._started[kind]

    def stop(self) -> None:
        """Stop them all."""
        for listening in self._started.values():
            listening.stop()


def hold(script: Script, macros: dict[str, list[str]], listeners: Listeners, kind: str) -> Played:
    """Hold a dialogue, as often and as many times at once as it says, and see what was found."""
    played = Played()
    listening = listeners.at(script.about.get("endpoint", "any"))
    before = {row.id for row in rows(listening)}

    def one() -> None:
        try:
            play(script, macros, ("127.0.0.1", listening.port), kind)
        except Exception as error:
            played.wrong.append(f"{type(error).__name__}: {error}")

    for _ in range(int(script.about.get("repeat", "1"))):
        together = [threading.Thread(target=one) for _ in range(int(script.about.get("parallel", "1")))]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()

    def ended() -> list[Row]:
        new = [row for row in rows(listening) if row.id not in before]
        return new if new and all(row.ended is not None for row in new) else []

    with Archive.open(listening.data) as archive:
        for row in until(ended):
            for finding in judge_stored(archive, row).findings:
                played.found.setdefault(finding.rule.id, set()).add(finding.severity)
    return played


def rows(listening: Listening) -> list[Row]:
    with contextlib.suppress(Exception), Archive.open(listening.data) as archive:  # nothing may be there yet
        return list(archive.sessions())
    return []


def faults(script: Script, played: Played) -> list[str]:
    """What is not as the script wants it."""
    level = LEVELS.get(script.about.get("level", ""), "error")
    alone = len(script.expected) == 1
    found = [
        f"{rule} was not found" + (f" as {level}" if rule in played.found else "")
        for rule in script.expected
        if rule not in played.found or (alone and level not in played.found[rule])
    ]
    unwanted = {LEVELS.get(word, word) for word in script.about.get("expect-none", "").split()}
    found += [f"{rule} was found" for rule, levels in played.found.items() if levels & unwanted]
    return [*dict.fromkeys(played.wrong), *found]


def leaks(folder: Path, passwords: Sequence[str]) -> list[str]:
    """Files of the listeners in which a password stands, in clear text or in base64."""
    forms = [
        form for password in passwords for form in (password.encode(), b64encode(password.encode()).rstrip(b"=")[:-1])
    ]
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    return [str(path) for path in files if any(form in path.read_bytes() for form in forms)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play them all; 0 where all is as it should be."""
    options = argparse.ArgumentParser(prog="python -m tests.play")
    options.add_argument("folder", type=Path)
    options.add_argument("--imitate", action="store_true", help="against the imitation of Office 365")
    chosen = options.parse_args(arguments)
    paths = sorted(path for path in chosen.folder.glob("*.txt") if path.name != "macros.txt")
    shared = chosen.folder / "macros.txt"
    macros = passages(shared) if shared.exists() else {}
    scripts = [read(path) for path in paths]
    accounts = dict([ACCOUNT])
    for script in scripts:
        user, _, password = script.about.get("account", "").partition(" ")
        if user:
            accounts[user] = password
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        listeners = Listeners(Path(name), accounts, chosen.imitate)
        try:
            for script in scripts:
                said = faults(script, hold(script, macros, listeners, "sim" if chosen.imitate else "cap"))
                wrong += bool(said)
                print(f"{'WRONG' if said else 'ok':6}{script.name}{': ' if said else ''}{'; '.join(said)}", flush=True)
        finally:
            listeners.stop()
        leaked = leaks(Path(name), list(accounts.values()))
    for path in leaked:
        print(f"WRONG a password stands in {path}")
    print(f"{len(scripts)} scripts, {wrong} wrong, {len(leaked)} leaks")
    return 1 if wrong or leaked or not scripts else 0


if __name__ == "__main__":
    sys.exit(main())
