"""What is said of one reply of Office 365."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relayprobe.office365.modes import MODES, Mode
from relayprobe.tongue import Said, said

Stage = Literal["banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "end-of-data", "later"]
"""What the device has just said. `later`: the mail was accepted, and comes back as a report to the sender."""

Retry = Literal["retry", "never", "configuration", "hold", "stop-hours"]
"""Whether sending the same again helps.

`retry`: yes, after a while. `never`: no, the mail itself is refused. `configuration`: no, although the code may be a
temporary one, for the device or the organization is set up so. `hold`: no, but the mail is not to blame; it can go out
once the login works. `stop-hours`: each attempt makes it worse, so wait for hours.
"""

ON_SUBMISSION: tuple[Mode, ...] = ("submission",)
AT_MX: tuple[Mode, ...] = ("direct-send", "connector")
HVE = "High Volume Email"


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of Office 365.

    `code` is None where the source has the enhanced code alone; `until` is the last of a range of enhanced codes that
    begins with `enhanced`. `also`: the other stages at which it is met. `wordings`: other words for the same, or words
    from its middle that say it alone. `only_at`: the one service of a mode that gives it, where not all do. `seen` is
    the latest date on which the source shows it, empty where the source has no date. `text` is empty where the source
    has no words.
    """

    code: int | None
    enhanced: str | None
    text: str
    stage: Stage
    meaning: str
    source: str
    seen: str
    doubt: str | None = None
    modes: tuple[Mode, ...] = MODES
    fix: str = ""
    retry: Retry = "never"
    also: tuple[Stage, ...] = ()
    wordings: tuple[str, ...] = ()
    until: str | None = None
    only_at: str | None = None

    @property
    def line(self) -> str:
        """The reply as it stands in a dialogue, as far as it is known: `503 5.5.2 Send hello first`."""
        codes = self.enhanced and (f"{self.enhanced} to {self.until}" if self.until else self.enhanced)
        return " ".join(str(part) for part in (self.code, codes, self.text) if part)

    @property
    def dated(self) -> Said:
        """When it was last seen, as a report says it."""
        return said("seen {date}", date=self.seen) if self.seen else said("from a source without a date")

    @property
    def later(self) -> bool:
        """Whether it may come as a report after the mail was accepted."""
        return "later" in (self.stage, *self.also)
