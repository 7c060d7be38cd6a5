"""An imitation of Exchange Online: it answers as client submission or the MX endpoint does, refusals included.

So a device can be brought right without a tenant. What the tenant would know (who may send as whom, which recipients
exist, whether the login is allowed at all) is told in `Tenant`. All words come from office365/; where a stage or a text
is not known from a transcript, that is said beside it. Nothing is ever sent on.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from relayprobe.capture.answers import Accept, Login, Talk, listed
from relayprobe.office365 import dialogue, replies
from relayprobe.office365.modes import Mode
from relayprobe.office365.replies import Answer
from relayprobe.rules.greeting import fault_of_name
from relayprobe.wire import message
from relayprobe.wire.command import Path
from relayprobe.wire.session import domain_of

SmtpAuth = Literal[
    "on", "off-tenant", "off-mailbox", "basic-off", "basic-retired", "security-defaults", "conditional-access"
]

REFUSED_LOGINS: Mapping[SmtpAuth, Answer] = {
    "off-tenant": replies.SMTP_AUTH_DISABLED_TENANT,
    "off-mailbox": replies.SMTP_AUTH_DISABLED_MAILBOX,
    "basic-off": replies.BASIC_AUTH_DISABLED,
    "basic-retired": replies.BASIC_AUTH_RETIRED,
    "security-defaults": replies.SECURITY_DEFAULTS,
    "conditional-access": replies.CONDITIONAL_ACCESS,
}
"""What a right login is answered where it is not allowed. The two for Basic authentication spare OAuth."""

OLD_TLS = frozenset(("SSLv3", "TLSv1", "TLSv1.1"))
MOST_OF_A_DOMAIN = 200
"""Recipients of one domain in a message, at the MX endpoint."""

MINUTE = 60.0
MAILBOXES = 1000
"""Mailboxes whose messages are counted: where no accounts are told, any name is one."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """What is so in the organization that is imitated.

    `send_as`: login in lower case -> other addresses that it may send as. `recipients`: those that exist, in lower
    case; empty: all do. `connector`: it matches the device. `delay`: seconds that a refused login and an unknown
    command wait; Office 365 takes about five.
    """

    domains: tuple[str, ...] = ()
    send_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recipients: frozenset[str] = frozenset()
    connector: bool = True
    reject_direct_send: bool = False
    smtp_auth: SmtpAuth = "on"
    messages_per_minute: int = 30
    connections: int = 3
    recipients_per_message: int = 500
    delay: float = 0.0


def now_utc() -> datetime:
    """The time of the wall clock."""
    return datetime.now(UTC)


class Imitation(Accept):
    """Exchange Online, for devices in one mode."""

    patient = False  # only CRLF.CRLF ends a message there
    waits = False  # it greets at once, and knows no TLS on connect
    lenient = False

    def __init__(
        self,
        name: str,
        mode: Mode,
        tenant: Tenant,
        *,
        accounts: Mapping[str, str],
        message_size: int,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        mx = mode != "submission"
        super().__init__(
            name,
            accounts=accounts,
            message_size=min(message_size, dialogue.SIZE),
            mechanisms=() if mx else dialogue.MECHANISMS,
        )
        self.delay = tenant.delay
        self._mode = mode
        self._mx = mx
        self._tenant = tenant
        self._clock = clock
        self._open: Counter[str] = Counter()  # connections by mailbox
        self._sent: dict[str, deque[float]] = {}  # when the latest messages of a mailbox are answered

    # The words

    def _signed(self, answer: Answer, more: str = "") -> str:
        return f"{answer.line}{more} {dialogue.signature(self._mx, self._clock(), _identifier())}"

    def banner(self) -> str:
        """Exchange Online's first line."""
        return dialogue.banner(self._mx, self._clock(), _identifier())

    def farewell(self, talk: Talk) -> str | None:
        """Client submission lets an old handshake through, and then says why it hangs up.

        At which command it does is not known for sure: devices have read it after the handshake.
        """
        if talk.tls in OLD_TLS and not self._mx:
            return self._signed(replies.TLS_TOO_OLD)
        return None

    def unknown(self, talk: Talk) -> str:
        """Always the word unknown: what came may be a password."""
        return self._signed(replies.UNRECOGNIZED_COMMAND, " 'unknown'")

    # Greeting and TLS

    def greet(self, verb: str, name: str, talk: Talk) -> str:
        """A name that no host can have is refused."""
        if not name or fault_of_name(name):
            return self._signed(replies.INVALID_DOMAIN_NAME)
        first = dialogue.greeting(self._mx, talk.host)
        if verb == "HELO":
            return f"250 {first}"
        offer = [line.replace("{tls}", self._offered(talk)) for line in dialogue.OFFER]
        return listed([first, f"SIZE {dialogue.SIZE}", *(line for line in offer if line)])

    def _offered(self, talk: Talk) -> str:
        if talk.tls is None:
            return "STARTTLS"
        return f"AUTH {' '.join(self.mechanisms)}" if self.mechanisms else ""

    def start_tls(self, talk: Talk) -> str:
        """In clear text only. What is said to it inside TLS is not known."""
        return dialogue.BAD_SEQUENCE if talk.tls is not None else dialogue.STARTTLS_READY

    # The login

    def auth(self, mechanism: str, known: bool, talk: Talk) -> str | None:
        """LOGIN and XOAUTH2, inside TLS, at client submission, and nothing else."""
        if talk.tls is not None and not talk.greeted:
            return self._signed(replies.SEND_HELLO_FIRST)
        if talk.tls is None or mechanism not in self.mechanisms:
            return self._signed(replies.UNRECOGNIZED_AUTH)
        return None

    def login(self, login: Login, talk: Talk) -> str:
        """A right one is taken where the organization lets it."""
        if not login.user or not login.password or not self._good(login):
            return self._signed(replies.AUTH_UNSUCCESSFUL)
        refused = REFUSED_LOGINS.get(self._tenant.smtp_auth)
        spared = login.mechanism == "XOAUTH2" and self._tenant.smtp_auth in ("basic-off", "basic-retired")
        if refused is not None and not spared:
            return self._signed(refused)
        if talk.user is not None:
            self._open[talk.user.lower()] -= 1
        self._open[login.user.lower()] += 1
        return dialogue.AUTH_SUCCESSFUL

    def left(self, talk: Talk) -> None:
        """One connection of the mailbox less."""
        if talk.user is not None:
            self._open[talk.user.lower()] -= 1
            self._open += Counter()  # drops what is zero

    # The envelope

    def mail(self, path: Path | None, talk: Talk) -> str:
        """In the order in which it is refused: no greeting, no TLS, no login, a bad address, too large."""
        if not talk.greeted:
            return self._signed(replies.SEND_HELLO_FIRST)
        if not self._mx and talk.tls is None:
            return self._signed(replies.STARTTLS_REQUIRED)
        if not self._mx and talk.user is None:
            reason = f". Error: {talk.refused}" if talk.refused else ""
            return f"{replies.NOT_AUTHENTICATED.line}{reason}" if reason else self._signed(replies.NOT_AUTHENTICATED)
        if path is None or not _well_formed(path):
            return self._signed(replies.INVALID_SENDER_ADDRESS)
        if self._too_large(path):
            return replies.MESSAGE_TOO_LARGE.line
        return dialogue.SENDER_OK

    def rcpt(self, path: Path | None, talk: Talk) -> str:
        """Client submission takes anybody; the MX endpoint its own, and others through a connector."""
        if talk.sender is None:
            return dialogue.BAD_SEQUENCE
        if path is None or not _well_formed(path) or not _has_place(path.address):
            return self._signed(replies.INVALID_RECIPIENT_ADDRESS)
        if len(talk.recipients) >= self._tenant.recipients_per_message:
            return replies.TOO_MANY_RECIPIENTS.line
        return (self._refused_at_mx(path.address, talk) if self._mx else None) or dialogue.RECIPIENT_OK

    def _refused_at_mx(self, recipient: str, talk: Talk) -> str | None:
        tenant, sender, domain = self._tenant, talk.sender or "", domain_of(recipient)
        own_sender = domain_of(sender) in tenant.domains if tenant.domains else True
        inside = domain in tenant.domains if tenant.domains else domain == domain_of(sender)
        by_connector = self._mode == "connector" and tenant.connector
        if tenant.reject_direct_send and own_sender and sender and not by_connector:
            return self._signed(replies.DIRECT_SEND_REJECTED)  # whether it comes here or later is not known
        if not inside:
            if not by_connector:
                return self._signed(replies.RELAY_DENIED)
            return None if own_sender and sender else self._signed(replies.RELAY_DENIED_SENDER)
        if tenant.recipients and recipient.lower() not in tenant.recipients:
            return self._signed(replies.RECIPIENT_REJECTED, "" if "AS(" in replies.RECIPIENT_REJECTED.line else _AS)
        if sum(domain_of(one) == domain for one in talk.recipients) >= MOST_OF_A_DOMAIN:
            return replies.TOO_MANY_RECIPIENTS.line
        return None

    # The message

    def data(self, argument: bytes, talk: Talk) -> str:
        """DATA stands alone, behind MAIL and RCPT."""
        if argument:
            return dialogue.BAD_ARGUMENTS
        return dialogue.START_MAIL if talk.recipients else dialogue.BAD_SEQUENCE

    def refusal(self, head: bytes, talk: Talk) -> str | None:
        """A sender that is not the login's is refused now, when all has been sent; so is a fourth connection."""
        if self._mx or talk.user is None:
            return None
        user = talk.user.lower()
        if self._open[user] > self._tenant.connections:
            return f"{replies.CONCURRENT_CONNECTIONS.line} {dialogue.hostname(self._mx)}"
        if not talk.sender:
            return self._signed(replies.NOT_PERMITTED_AS_SENDER)
        allowed = {user, *(address.lower() for address in self._tenant.send_as.get(user, ()))}
        for address in (talk.sender, *message.addresses(message.fields(head, "From"))):
            if address and address.lower() not in allowed:
                denied = f"; {user} not allowed to send as {_shown(address)}; {_STOREDRV}"
                return f"{replies.SEND_AS_DENIED.line}{denied} {dialogue.hostname(self._mx)}"
        return None

    def hold(self, talk: Talk) -> float:
        """Beyond so many messages a minute Office 365 delays. Here each reply beyond them waits for its share of the
        minute, so that a device that sends one by one comes down to that rate."""
        if self._mx or talk.user is None:
            return 0.0
        now, most = self._clock().timestamp(), self._tenant.messages_per_minute
        sent = self._sent.setdefault(talk.user.lower(), deque(maxlen=most))
        if len(self._sent) > MAILBOXES:
            self._sent.pop(next(iter(self._sent)))
        wait = MINUTE / most if len(sent) == most and now - sent[0] < MINUTE else 0.0
        sent.append(now + wait)
        return wait

    def taken(self, session: str, head: bytes, size: int) -> str:
        """The reply to a message that is on the disk."""
        found = message.fields(head, "Message-ID")
        identifier = _identifier()
        message_id = found[0] if found and _MESSAGE_ID.fullmatch(found[0]) else f"<{identifier}@relayprobe.local>"
        return dialogue.queued(self._mx, message_id, size, identifier)


_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_AS = " AS(201806281)"
_STOREDRV = "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"
"""What follows in a SendAsDenied, for kilobytes: only its beginning says anything."""


def _identifier() -> str:
    return f"08DE{secrets.token_hex(6).upper()}"


def _well_formed(path: Path) -> bool:
    """An address, in brackets, alone, and in ASCII unless it is said otherwise."""
    text, address = path.text, path.address
    if text == "<>":
        return True
    plain = text == f"<{address}>" and "," not in address and ";" not in address and " " not in address
    return plain and "@" in address and (address.isascii() or path.parameter("SMTPUTF8") is not None)


def _has_place(address: str) -> bool:
    """Whether a recipient is at a domain, and not in quotes."""
    domain = domain_of(address)
    return bool(domain) and not domain.startswith("[") and domain[-1:].isalpha() and address[:1] not in ("'", '"')


def _shown(address: str) -> str:
    """An address as a reply may repeat it."""
    return address if address.isascii() and address.isprintable() and len(address) < 255 else "that address"
