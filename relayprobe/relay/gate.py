"""The device's side of the relay: who may send, to whom, on which route; and what a device is answered.

Closed by default: a device that is not named, by address, network or login, is refused at MAIL, in words, and its
dialogue is recorded like any other. A mail is taken for each route that its recipients call for. It is handed to the
store with the session it came in, and 250 is said when both are on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from relayprobe.capture.answers import Accept, Login, Talk
from relayprobe.relay.bounce import loop
from relayprobe.relay.devices import Devices
from relayprobe.relay.logins import Logins
from relayprobe.relay.permitted import Permitted
from relayprobe.relay.repair.address import repaired_address
from relayprobe.relay.routes import Candidate, Route, first_match, is_among
from relayprobe.store import Mail, Recipient, StoreError, Text
from relayprobe.wire.command import Path

OFFERED = ("LOGIN", "PLAIN")
ANYBODY = Permitted()
NOT_LISTED = "may not send through this relay: it is not in its list of devices"
LOGIN_WANTED = "530 5.7.0 Authentication required"
LOGIN_WRONG = "535 5.7.8 Authentication credentials invalid"
NOT_LET_IN = (NOT_LISTED, LOGIN_WANTED, LOGIN_WRONG)
"""What a device that may not send has been answered."""

NOT_KEPT = "451 4.3.1 Insufficient disk space, try again later"
LEARNING = "451 4.7.1 relayprobe is learning which devices send, and sends nothing on: try again later"


@dataclass(frozen=True)
class Rules:
    """Who may send what through the relay."""

    devices: Devices
    routes: tuple[Route, ...]
    logins: Logins | None = None
    permitted: Permitted = ANYBODY
    lenient: tuple[str, ...] = ()
    sender_domain: str | None = None
    at_once: bool = False
    queue: int = 100_000
    learning: bool = False


@dataclass
class Desk:
    """What the answers to all devices have in common. `taken` is told of mail that is on the disk, and gives the reply
    where the device waits for that of the other side."""

    name: str
    rules: Rules
    message_size: int
    recipients: int
    keep: Callable[[Mail], Future[None]]  # done when it is on the disk
    taken: Callable[[Sequence[Mail]], Awaitable[str | None]]
    refused: Callable[[str, str | None, str, str], None]  # host, login, why, session
    seen: Callable[[str, str | None, str], None]  # host, login, sender
    queued: Callable[[], int]
    now: Callable[[], float]

    def answers_for(self, host: str, session: str) -> Gate:
        """Who answers one device."""
        return Gate(self, host, session)


class Gate(Accept):
    """Answers one device for the relay."""

    def __init__(self, desk: Desk, host: str, session: str) -> None:
        super().__init__(desk.name, accounts={}, message_size=desk.message_size, mechanisms=OFFERED)
        self._desk = desk
        self._rules = desk.rules  # those of the moment it came: a reload changes nothing for a dialogue under way
        self._host = host
        self._session = session
        self._proved: str | None = None
        self._mails = 0
        self._sender = ""
        self._recipients: dict[str, list[str]] = {}  # by route
        self._changed: list[str] = []
        self._taken: list[Mail] = []
        self._kept: list[Future[None]] = []
        self.patient = is_among(self._rules.lenient, host, None)
        self._trusted = self._rules.devices.allows_address(host)

    def ehlo(self, host: str, tls: bool) -> list[str]:
        """As ever, but for what cannot be promised for the other side."""
        return [line for line in super().ehlo(host, tls) if line not in ("BINARYMIME", "DSN", "SMTPUTF8")]

    async def check(self, login: Login, talk: Talk) -> str:
        """A login is proved where it is known. A device that is named by its address may have any."""
        logins = self._rules.logins
        if logins is not None and login.password is not None:
            found = await logins.check(self._host, login.user, login.password.decode("utf-8", "replace"))
            if found == "good":
                self._proved = login.user
                return "235 2.7.0 Authentication successful"
            if found == "later" and not self._trusted and not self._rules.learning:
                return "454 4.7.0 Too many failed logins from your address, try again later"
        if self._trusted or self._rules.learning:
            return "235 2.7.0 Authentication successful"
        self._refused(login.user, "its login is wrong, or not known")
        return LOGIN_WRONG

    def _user(self, talk: Talk) -> str | None:
        """The login, where it was proved: a device that is let in by its address may have any."""
        return talk.user if talk.user is not None and talk.user == self._proved else None

    def mail(self, path: Path | None, talk: Talk) -> str:
        """Here is decided who may send."""
        plain = super().mail(path, talk)
        if path is None or plain[0] != "2":
            return plain
        rules, user = self._rules, self._user(talk)
        if rules.learning:
            self._desk.seen(self._host, talk.user, path.address)
            return plain  # it is put off when its text has come, and nothing is refused for good
        if not self._trusted and not (user is not None and rules.devices.allows_login(user)):
            self._refused(talk.user, "it is not in the list of devices")
            if rules.logins is not None and talk.user is None:
                return LOGIN_WANTED
            return f"550 5.7.1 [{self._host}] {NOT_LISTED}"
        self._desk.seen(self._host, talk.user, path.address)
        if self._desk.queued() >= rules.queue:
            return "452 4.3.1 The queue is full, try again later"
        sender, changed = "", None
        if path.address:
            repaired, changed = repaired_address(
                path.text if len(path.addresses) == 1 else path.address, rules.sender_domain
            )
            if repaired is None:
                return "553 5.1.7 The sender is no address"
            sender = repaired
        if not rules.permitted.may_send(sender):
            return "550 5.7.1 This relay does not take mail from that sender"
        self._sender, self._recipients = sender, {}
        self._changed = [f"sender: {changed}"] if changed else []
        return plain

    def _refused(self, user: str | None, why: str) -> None:
        self._desk.refused(self._host, user, why, self._session)

    def rcpt(self, path: Path | None, talk: Talk) -> str:
        """Each address of the command, on the route that is meant for it."""
        plain = super().rcpt(path, talk)
        if path is None or plain[0] != "2" or self._rules.learning:
            return plain
        chosen = []
        for each in path.addresses:
            text = path.text if len(path.addresses) == 1 else each
            address, changed = repaired_address(text, self._rules.sender_domain)
            if address is None:
                return "550 5.1.3 The recipient is no address that mail can be sent to"
            if not address.isascii():
                return "553 5.6.7 The recipient has letters beyond ASCII, which this relay does not pass on"
            asked = Candidate(self._host, self._user(talk), self._sender, address)
            route = first_match(self._rules.routes, asked) if self._rules.permitted.may_receive(address) else None
            if route is None:
                return "550 5.7.1 This relay does not send to that recipient"
            chosen.append((route.name, address, changed))
        if sum(map(len, self._recipients.values())) + len(chosen) > self._desk.recipients:
            return "452 4.5.3 Too many recipients"
        for name, address, changed in chosen:
            there = self._recipients.setdefault(name, [])
            if address not in there:
                there.append(address)
            if changed:
                self._changed.append(f"recipient: {changed}")
        return plain

    def refusal(self, head: bytes, talk: Talk) -> str | None:
        """Mail that goes in a circle; and all of it while the relay only learns."""
        return loop(head, self.name) or (LEARNING if self._rules.learning else None)

    def keep(self, session: str, texts: Sequence[Text], talk: Talk) -> None:
        """A mail for each route."""
        self._taken = []
        now = self._desk.now()
        for route, recipients in self._recipients.items():
            self._mails += 1
            self._taken.append(
                Mail(
                    id=f"{session}-{self._mails}",
                    session=session,
                    texts=tuple(texts),
                    arrived=now,
                    host=self._host,
                    user=self._user(talk),
                    sender=self._sender,
                    recipients=tuple(map(Recipient, recipients)),
                    route=route,
                    at_once=self._rules.at_once,
                    changed=tuple(self._changed),
                )
            )
        self._kept = [self._desk.keep(mail) for mail in self._taken]

    async def answer(self, session: str, head: bytes, size: int, talk: Talk) -> str:
        """What is on the disk is taken; where the device waits for Office 365, what that says."""
        try:
            for kept in self._kept:
                await asyncio.wrap_future(kept)
        except StoreError:  # it was to go to the disk with others, and did not get there
            return NOT_KEPT
        taken, self._taken = self._taken, []
        reply = await self._desk.taken(taken)
        return reply or f"250 2.0.0 OK, queued by relayprobe as {' '.join(mail.id for mail in taken)}"
