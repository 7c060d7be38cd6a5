"""What can be done to a mail in the queue, by the page and by the API alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from relayprobe.store import Mail, by_hand

ACTIONS: dict[str, Callable[[Path, Mail, float], bool]] = {
    "retry": by_hand.retry,
    "hold": lambda folder, mail, now: by_hand.hold(folder, mail),
    "release": lambda folder, mail, now: by_hand.release(folder, mail),
    "drop": lambda folder, mail, now: by_hand.drop(folder, mail),
}


def act(folder: Path, mail: Mail, action: str, now: float) -> bool:
    """Do one of ACTIONS; False where the mail is not in a state for it. Raises StoreError."""
    return ACTIONS[action](folder, mail, now)
