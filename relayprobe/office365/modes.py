"""The three ways in which a device may send through Office 365."""

from __future__ import annotations

from typing import Literal, get_args

Mode = Literal["submission", "direct-send", "connector"]

MODES: tuple[Mode, ...] = get_args(Mode)

AT_MX: tuple[Mode, ...] = ("direct-send", "connector")
"""Those that go to the MX endpoint of the own domain, port 25, without a login."""
