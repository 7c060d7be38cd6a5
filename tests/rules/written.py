"""Dialogues as files, for tests of rules: a person can read them, write them, and send them in.

# finds: bare-lf no-quit:note         what must be found, and how bad it is (an error, where nothing is said)
# not: no-tls                         what must not
# mode: direct-send                   the mode that is meant; also `domains`, `accounts`, `account: USER = PASSWORD`,
#                                     `connector: yes`, `listener: HOST:PORT`
C: text        the device sends a line; `C~ octets` as they stand, with \\r, \\n and \\xNN as escapes
S: text        it is answered
T: hello TLSv1.2 suites=c030,c02f [on-connect|late]     its TLS hello
T: up TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384               TLS is up
T: failed client unknown-ca 48                          or is not: by whom, why, the alert
X: fin         the device closes; `rst` resets, `quit` is the server's after QUIT, `timeout` the server's
W: seconds     nothing is said for so long
L: listener    where this connection goes, first of its steps
J: new         the next connection: what comes before are the device's earlier sessions
M: NAME        a passage of passages.txt
Also `# times: 31`, the dialogue is held so often, and `# every: 0.05`, the seconds between two connections (30).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from relayprobe.wire.dialogue import BodyPart, Dialogue
from relayprobe.wire.events import Closed, Connected, Event, TlsFailed, TlsHello, TlsUp
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.session import Session, Site, session_of
from relayprobe.wire.visit import Visit, visit_of, within

VERSIONS = {"SSLv2": 0x0002, "SSLv3": 0x0300, "TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
HERE = Path(__file__).parent / "dialogues"
PASSAGES = Path(__file__).parent / "passages.txt"
STEP = 0.01


@dataclass
class Written:
    """A dialogue as it is written."""

    name: str
    about: dict[str, str] = field(default_factory=dict)
    connections: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])

    @property
    def finds(self) -> dict[str, str]:
        """Rule -> severity."""
        return {rule: severity or "error" for rule, _, severity in map(_parted, self._words("finds"))}

    @property
    def not_found(self) -> list[str]:
        """Rules that must not fire."""
        return self._words("not")

    @property
    def accounts(self) -> dict[str, str]:
        """User -> password, as the listener was told."""
        user, _, password = self.about.get("account", "").partition(" = ")
        return {user: password} if user else {}

    @property
    def site(self) -> Site:
        """What was told about the place."""
        return Site(
            domains=tuple(self._words("domains")),
            accounts=(*self.accounts, *self._words("accounts")),
            connector=self.about.get("connector") == "yes",
            mx=self.about.get("mx"),
        )

    def sessions(self, *, bytewise: bool = False) -> list[Session]:
        """The sessions in order, the one that is judged last."""
        every = float(self.about.get("every", "30"))
        return [
            session_of(
                list(_events(steps, self.accounts, self.about.get("listener", "192.168.1.5:2525"), bytewise)),
                id=f"{self.name}-{n}",
                started=1_700_000_000.0 + every * n,
                mode=self.about.get("mode"),
                site=self.site,
            )
            for n, steps in enumerate(self.connections * int(self.about.get("times", "1")))
        ]

    def last(self, *, bytewise: bool = False) -> tuple[tuple[Visit, ...], Session]:
        """The session that is judged, and the device's visits beside it."""
        *others, session = self.sessions(bytewise=bytewise)
        return within([visit_of(other) for other in others], session), session

    def _words(self, key: str) -> list[str]:
        return self.about.get(key, "").split()


def _parted(word: str) -> tuple[str, str, str]:
    return word.partition(":")


def read(path: Path) -> Written:
    """A dialogue from its file."""
    written = Written(path.stem)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].strip().partition(":")
            written.about[key] = value.strip()
        elif line.startswith("J:"):
            written.connections.append([])
        elif line.startswith("M:"):
            written.connections[-1] += passages()[line[3:].strip()]
        elif line.strip():
            written.connections[-1].append((line[:2], line[3:]))
    return written


@cache
def passages() -> dict[str, list[tuple[str, str]]]:
    """The passages that dialogues share, by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in PASSAGES.read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            found[(name := line[1:].strip())] = []
        elif line.startswith("M:"):
            found[name] += found[line[3:].strip()]
        elif line.strip():
            found[name].append((line[:2], line[3:]))
    return found


def dialogues(pattern: str = "*.txt") -> list[Written]:
    """All that are there."""
    return [read(path) for path in sorted(HERE.glob(pattern))]


def _events(steps: list[tuple[str, str]], accounts: dict[str, str], listener: str, bytewise: bool) -> Iterator[Event]:
    dialogue = Dialogue(accounts)
    at = 0.0
    if steps and steps[0][0] == "L:":
        listener, steps = steps[0][1], steps[1:]
    yield Connected(at, "192.168.1.21:49152", listener)
    for kind, text in steps:
        at += STEP
        match kind, text.split():
            case (("C:" | "C~" | "S:"), _):
                data = text.encode() + b"\r\n"
                if kind == "C~":
                    data = text.encode().decode("unicode_escape").encode("latin-1")
                for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
                    said = dialogue.receive("server" if kind == "S:" else "client", piece, at)
                    yield from (event for event in said if not isinstance(event, BodyPart))
            case "T:", ["hello", version, suites, *moment]:
                number = VERSIONS[version]
                numbers = tuple(int(suite, 16) for suite in suites.removeprefix("suites=").split(","))
                sni = None if "no-sni" in moment else "relay.contoso.com"
                hello = ClientHello("tls", min(number, 0x0303), (number,), numbers, sni=sni)
                match moment:
                    case [("on-connect" | "late") as when, *_]:
                        yield TlsHello(at, b"\x16\x03\x01", hello, when)
                    case _:
                        yield TlsHello(at, b"\x16\x03\x01", hello, "after-starttls")
            case "T:", ["up", version, cipher]:
                dialogue.behind_starttls()
                dialogue.secured()
                yield TlsUp(at, version, cipher)
            case "T:", ["failed", ("client" | "server") as side, reason, *alert]:
                yield TlsFailed(at, side, reason, int(alert[0]) if alert else None)
            case "W:", [seconds]:
                at += float(seconds)
            case "X:", [("fin" | "rst" | "quit" | "timeout" | "failed") as how]:
                yield from (event for event in dialogue.close(at) if not isinstance(event, BodyPart))
                yield Closed(at, "client" if how in ("fin", "rst") else "server", how)
            case _:
                raise ValueError(f"not a step: {kind} {text}")
