"""The three ways in which a device may send through Office 365."""

from __future__ import annotations

from typing import Literal, get_args

Mode = Literal["submission", "direct-send", "connector"]

MODES: tuple[Mode, ...] = get_args(Mode)

AT_MX: tuple[Mode, ...] = ("direct-send", "connector")
"""Those that go to the MX endpoint of the own domain, port 25, without a login."""

Way = Literal[
    "submission",
    "direct-send",
    "connector",
    "submission-oauth",
    "high-volume-email",
    "azure-communication-services",
    "relayprobe",
]

WAYS: tuple[Way, ...] = get_args(Way)
"""The ways of sending that are judged: the modes, the variants of client submission, and through relayprobe's relay."""

MODE_OF: dict[Way, Mode] = {
    "submission": "submission",
    "direct-send": "direct-send",
    "connector": "connector",
    "submission-oauth": "submission",
    "high-volume-email": "submission",
    "azure-communication-services": "submission",
    "relayprobe": "submission",
}
"""The mode whose dialogue a way has."""
