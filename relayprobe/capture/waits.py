"""How long to wait for a ClientHello before the banner goes out, learnt per device.

A device that speaks TLS at once sends its hello within some milliseconds; one that speaks plain SMTP waits for the
banner. So a new device is given a moment, one that spoke plainly none from then on, and one whose hello came too late
twice the time it took.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

FIRST = 0.25
"""Seconds for a device that is not known; hellos on a LAN were seen after 0.1 to 31 ms."""

LONGEST = 3.0
PINNED_TO_TLS = 2.0
"""Seconds on a port for TLS, before a device is greeted in clear after all."""

FORGOTTEN_AFTER = 3
"""Plain dialogues in a row after which a device that once sent a hello is not waited for."""

DEVICES = 10000
"""Devices remembered."""


@dataclass(slots=True)
class _Habit:
    wait: float
    plain: int = 0


class Waits:
    """What is known of each device's habit."""

    def __init__(self) -> None:
        self._habits: OrderedDict[str, _Habit] = OrderedDict()

    def before_banner(self, host: str, pin: Literal["tls", "plain"] | None) -> float:
        """Seconds to wait for this device on a port with this pin."""
        if pin is not None:
            return PINNED_TO_TLS if pin == "tls" else 0.0
        habit = self._habits.get(host)
        return FIRST if habit is None else habit.wait

    def hello(self, host: str, after: float) -> None:
        """The device's hello came so many seconds after it connected."""
        self._remember(host, _Habit(min(max(2 * after, FIRST), LONGEST)))

    def silence(self, host: str) -> None:
        """The device waited for the banner, or spoke plainly before it."""
        habit = self._habits.get(host) or _Habit(0.0)
        habit.plain += 1
        if habit.plain >= FORGOTTEN_AFTER:
            habit.wait = 0.0
        self._remember(host, habit)

    def early(self, host: str) -> None:
        """The device spoke before it was greeted: to notice it again, the banner has to wait again."""
        self._remember(host, _Habit(FIRST))

    def _remember(self, host: str, habit: _Habit) -> None:
        self._habits[host] = habit
        self._habits.move_to_end(host)
        if len(self._habits) > DEVICES:
            self._habits.popitem(last=False)
