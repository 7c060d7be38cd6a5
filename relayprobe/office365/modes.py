"""The three ways in which a device may send through Office 365."""

from __future__ import annotations

from typing import Literal, get_args

Mode = Literal["submission", "direct-send", "connector"]

MODES: tuple[Mode, ...] = get_args(Mode)
