"""What an administrator is told of, in words: what happened, why, and what to do.

A notice says nothing that a stranger sent without making it harmless, and holds no secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from relayprobe.office365.recognise import recognise
from relayprobe.report.visible import visible

Kind = Literal["waiting", "held", "stopped", "working", "given-up", "expires", "disk-full", "damaged", "summary"]

SUBJECT, TEXT = 200, 8000
"""Characters of a notice that are sent."""
QUOTED = 300


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. `key`: what it is about, as a route; the same kind and key are the same news. `at`: since
    1970."""

    kind: Kind
    key: str
    subject: str
    text: str
    at: float

    def __post_init__(self) -> None:
        """Whoever shows it, in a terminal or a chat, nothing in it can act."""
        object.__setattr__(self, "subject", _line(self.subject, SUBJECT))
        lines = "\n".join(visible(line) for line in self.text[:TEXT].split("\n"))
        object.__setattr__(self, "text", lines if len(lines) <= TEXT else lines[:TEXT] + "...")

    def record(self) -> dict[str, Any]:
        """It as a JSON object."""
        when = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds")
        return {"kind": self.kind, "key": _line(self.key), "subject": self.subject, "text": self.text, "at": when}


def waiting(id: str, device: str, since: str, reply: str, *, at: float) -> Notice:
    """Mail has waited longer than is set. `since`: how long, in words (`4 hours`)."""
    text = (
        f"Mail {id} from the device {_line(device)} has been waiting for {since}. It is kept, and tried again.\n\n"
        f"{_because(reply)}\n\n`relayprobe queue show {id}` shows each attempt; `relayprobe queue retry "
        f"{id}` tries now."
    )
    return Notice("waiting", id, f"Mail from {_line(device)} has been waiting for {since}", text, at)


def held(id: str, device: str, why: str, *, at: float) -> Notice:
    """A person has to decide about a mail."""
    text = (
        f"Mail {id} from the device {_line(device)} is held: {_line(why, SUBJECT * 5)}.\n\nIt is kept, and not tried "
        f"before you say so. `relayprobe queue show {id}` shows it, `relayprobe queue release {id}` lets it go on, "
        f"`relayprobe queue drop {id}` gives it up."
    )
    return Notice("held", id, f"Mail from {_line(device)} is held", text, at)


def stopped(route: str, reply: str, *, waits: int, at: float) -> Notice:
    """A route takes no more mail."""
    text = (
        f"The route {route} has stopped. Its mail is kept: {_messages(waits)} so far. It goes out when the route works "
        f"again, and none is given up for this before its lifetime ends.\n\n{_because(reply)}\n\nWhen that is set "
        f"right, `relayprobe queue retry --route {route}` tries at once."
    )
    return Notice("stopped", route, f"The route {route} has stopped", text, at)


def working(route: str, *, waits: int, at: float) -> Notice:
    """A route that had stopped works."""
    text = (
        f"The route {route} works again. Waiting for it: {_messages(waits)}, which goes out now. Nothing is to be done."
    )
    return Notice("working", route, f"The route {route} works again", text, at)


def given_up(id: str, device: str, recipients: int, reply: str, *, told: str | None, at: float) -> Notice:
    """Mail is not tried any more. `told`: the address that got the report, None where nobody could."""
    whom = f"The report went to {_line(told)}." if told else "Its sender cannot be told."
    who = "one recipient" if recipients == 1 else f"{recipients} recipients"
    text = (
        f"Mail {id} from the device {_line(device)} could not be delivered to {who}, and is not tried any more. {whom}"
        f"\n\n{_because(reply)}\n\nIt is kept: `relayprobe queue show {id}` shows it, and `relayprobe queue retry "
        f"{id}` tries once more."
    )
    return Notice("given-up", id, f"Mail from {_line(device)} could not be delivered", text, at)


def expires(secret: str, route: str, days: int, *, at: float) -> Notice:
    """A client secret or a certificate ends soon. `secret`: what it is, not what it holds."""
    when = "has expired" if days < 0 else "expires today" if days == 0 else f"expires in {days} day{'s'[: days > 1]}"
    text = (
        f"{secret} of the route {route} {when}. When it has, Office 365 refuses the login, and mail waits.\n\nMake a "
        "new one in the Microsoft Entra admin centre (App registrations > Certificates & secrets), put it where the "
        "route's configuration says, and run `relayprobe reload`."
    )
    return Notice("expires", f"{route}: {secret}", f"{secret} of the route {route} {when}", text, at)


def disk_full(folder: str, free: int, *, at: float) -> Notice:
    """There is no room to take mail."""
    text = (
        f"There is too little room in {_line(folder)}: {free // 2**20} MiB are free. Devices are told to try again "
        "later (452), and many do not. Mail that was taken is safe.\n\nMake room on that disk: mail is taken again by "
        "itself."
    )
    return Notice("disk-full", folder, "There is no room for mail", text, at)


def damaged(folder: str, why: str, *, at: float) -> Notice:
    """The database was damaged, and another took its place."""
    text = (
        f"{_line(why, SUBJECT * 5)}.\n\nMail that was accepted and could not be read from it is not delivered: ask "
        "those who sent in the days before. Then look after the disk, and remove the file that was set aside: until "
        "then `relayprobe health` reports it."
    )
    return Notice("damaged", folder, "The database was damaged: accepted mail may be lost", text, at)


def summary(subjects: list[str], more: int, lost: int, *, at: float) -> Notice:
    """What there was no room for in an hour. `lost`: notices of which not even the subject is known."""
    lines = [f"- {subject}" for subject in subjects]
    lines += [f"- and {more} more"] if more else []
    lines += [f"- and {lost} that came too fast to be kept"] if lost else []
    total = len(subjects) + more + lost
    text = "\n".join(
        [
            "So much happened that these were not sent one by one:",
            "",
            *lines,
            "",
            "`relayprobe queue list` shows what waits.",
        ]
    )
    return Notice("summary", "", f"{total} more notice{'s'[: total != 1]}", text, at)


def _because(reply: str) -> str:
    """The last reply, what it means and what to do; as much as is known."""
    if not reply:
        return "No server has answered yet."
    found = recognise(reply)
    said = f"The last answer was: {_line(reply, QUOTED)}"
    if not found.matches:
        return said
    answer, by = found.matches[0].answer, found.matches[0].by
    doubts = [
        *(["it is known by its number alone, and may mean something else"] if by == "number" else []),
        *([answer.doubt] if answer.doubt else []),
    ]
    doubt = f"\nNot certain: {'; '.join(doubts)}." if doubts else ""
    return f"{said}\nIt means: {answer.meaning}\nTo do: {answer.fix}{doubt}"


def _messages(n: int) -> str:
    return "1 message" if n == 1 else f"{n} messages"


def _line(text: str, most: int = SUBJECT) -> str:
    flat = visible(" ".join(text[: 2 * most].split()))
    return flat if len(flat) <= most else flat[:most] + "..."
