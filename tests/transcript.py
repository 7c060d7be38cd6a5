"""Dialogues as text, for tests: `C: ` and `S: ` lines become what both sides sent, and the events it comes to."""

from __future__ import annotations

from collections.abc import Mapping

from relayprobe.wire.dialogue import BodyPart, Dialogue
from relayprobe.wire.events import Event, Side

Said = list[tuple[Side, bytes]]


def said(text: str) -> Said:
    """`C: line` and `S: line` are lines with CRLF; `C~ octets` is taken with its escapes and nothing added."""
    found: Said = []
    for line in text.strip("\n").splitlines():
        mark, content = line.strip()[:2], line.strip()[3:]
        if mark == "C~":
            found.append(("client", content.encode().decode("unicode_escape").encode("latin-1")))
        elif mark in ("C:", "S:"):
            found.append(("client" if mark == "C:" else "server", content.encode() + b"\r\n"))
    return found


def events(steps: Said, accounts: Mapping[str, str] | None = None, *, bytewise: bool = False) -> list[Event]:
    """The events of a dialogue, fed in one piece a step, or octet by octet."""
    dialogue = Dialogue(accounts)
    found: list[Event] = []
    for side, data in steps:
        for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
            found += [o for o in dialogue.receive(side, piece, 0.0) if not isinstance(o, BodyPart)]
    return found + [o for o in dialogue.close(0.0) if not isinstance(o, BodyPart)]
