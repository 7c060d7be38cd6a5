"""What is told when a message is given up: a delivery report (RFC 3464) for the sender, or for the administrator.

The report says in words what happened, what Office 365 answered, what that means and what to do, from the same data as
the diagnosis; then the same for programs; then the header of the mail. Everything quoted comes from strangers, so it
is made harmless and cut to a size. `may_bounce` says who must not be told, `loop` which mail goes in a circle: a report
is never answered by a report.

Pure: the octets depend on the arguments alone, so a report that is made again after a crash is the same one.
"""

from __future__ import annotations

import binascii
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime
from hashlib import sha256
from io import BytesIO
from typing import Literal

from relayprobe.office365.recognise import Recognised, recognise
from relayprobe.report.explained import RETRIES
from relayprobe.report.visible import visible
from relayprobe.rules.addresses import same_mailbox
from relayprobe.wire.message import fields, header

MOST_HOPS = 50
"""Received fields of a mail that is still taken; RFC 5321 6.3 wants at least 100, but a device's mail has none."""

OWN_HOPS = 2
"""Times that a mail has passed through this relay, at which it is taken to go in a circle."""

WIDTH = 76
REPLY, ADDRESS, LINE = 500, 320, 200
"""Characters that are quoted of a reply, of an address, and of anything else."""
LISTED, REPORTED = 20, 1000
"""Recipients that are named in the text, and in the part for programs."""
REPLIES = 5
"""Different replies that are explained."""

# Not email.policy.SMTP, which parses what it is given: the values here are made, and what is quoted stays as it is.
_POLICY = compat32.clone(linesep="\r\n")
_LONGEST = 900  # octets of a value that has no blank to fold it at (RFC 5322 2.1.1: a line has 998)
_CODES = re.compile(r"([245])\d\d(?:[ -]([245]\.\d{1,3}\.\d{1,3})\b)?")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_ADDRESS = re.compile(r"""[\w.!#$%&'*+/=?^`{|}~-]{1,250}@[\w.:\[\]-]{1,250}""", re.ASCII)
_BULK = ("bulk", "junk", "list")

Why = Literal["refused", "expired", "dropped"]
"""Why it is given up: refused for good, waited too long, or an administrator has dropped it."""

WHY: dict[Why, tuple[str, str]] = {
    "refused": ("It was refused for good", "5.0.0"),
    "expired": ("It could not be delivered for too long, and is not tried any more", "4.4.7"),
    "dropped": ("An administrator has taken it out of the queue", "5.0.0"),
}
"""In words, and as the status where the reply has none (RFC 3463: 4.4.7 is `delivery time expired`)."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The mail that is given up. `device`: what people know it by. `head`: the first octets of the text, to 64 KiB."""

    id: str
    sender: str
    device: str
    arrived: datetime
    head: bytes


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One recipient: the last reply, or in our words why there is none; and whose it was (`smtp.office365.com`)."""

    address: str
    said: str
    why: Why = "refused"
    server: str = ""
    tried: datetime | None = None


def may_bounce(sender: str | None, head: bytes, own: Collection[str]) -> bool:
    """Whether a report may go to the sender of this mail. `own`: the mailboxes that the relay sends from.

    No to nobody and to oneself, and no where a program answers or a list was written to (RFC 3834 2, RFC 5321 6.1).
    """
    address = (sender or "").strip().removeprefix("<").removesuffix(">").strip()
    if not _ADDRESS.fullmatch(address) or address.casefold().startswith("mailer-daemon@"):
        return False
    if any(same_mailbox(_without_plus(mailbox), _without_plus(address)) is not False for mailbox in own):
        return False
    return not (
        any(_first_word(value) != "no" for value in fields(head, "Auto-Submitted"))
        or any(_first_word(value) in _BULK for value in fields(head, "Precedence"))
        or any(_first_word(value) == "multipart/report" for value in fields(head, "Content-Type"))
        or any(value.strip() == "<>" for value in fields(head, "Return-Path"))
    )


def received_count(head: bytes) -> int:
    """Through how many servers the mail has come, by what it says."""
    return len(fields(head, "Received"))


def own_hops(head: bytes, name: str) -> int:
    """How often it has come through this relay, which signs with this name (`by NAME`)."""
    by = re.compile(rf"(?:^|\s)by\s+{re.escape(name)}(?=[\s;(]|$)", re.IGNORECASE)
    return sum(1 for value in fields(head, "Received") if by.search(value))


def came_back(head: bytes, name: str) -> bool:
    """Whether it is a report or a notice that this relay has sent itself, come back to it as if from a device."""
    automatic = any(_first_word(value) != "no" for value in fields(head, "Auto-Submitted"))
    return automatic and own_hops(head, name) > 0


def loop(head: bytes, name: str) -> str | None:
    """The refusal of a mail that goes in a circle; None for any other."""
    if own_hops(head, name) >= OWN_HOPS:
        return "554 5.4.6 This mail has been here before: what this relay delivers comes back to it. See its routes"
    if received_count(head) > MOST_HOPS:
        return f"554 5.4.6 This mail has come through over {MOST_HOPS} servers: it goes in a circle"
    return None


def report(mail: Returned, failed: Sequence[Undelivered], *, to: str, mailbox: str, name: str, now: datetime) -> bytes:
    """The report as a whole message, lines ended by CRLF. `mailbox` is the address that it comes from.

    The envelope's sender is to be empty, where the route takes that.
    """
    parts = [_plain(_words(mail, failed, to, name)), _status(mail, failed, name), _header(mail.head)]
    whole = Message(policy=_POLICY)
    whole["From"] = f'"relayprobe" <{_safe_address(mailbox)}>'
    whole["To"] = f"<{_safe_address(to)}>" if _ADDRESS.fullmatch(to) else "undisclosed-recipients:;"
    whole["Subject"] = _ascii(f"Not delivered: mail from {mail.device}", LINE)
    whole["Date"] = format_datetime(now)
    # Some recipients may be given up today and others in five days: each report has an id of its own.
    told = sha256(repr([(one.address, one.said) for one in failed]).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    whole["Message-ID"] = f"<report.{_token(mail.id)}.{told}@{_token(name)}>"
    whole["Auto-Submitted"] = "auto-replied"
    answered = next(iter(fields(mail.head, "Message-ID")), "")
    if _MESSAGE_ID.fullmatch(answered):
        whole["In-Reply-To"] = whole["References"] = answered
    whole["MIME-Version"] = "1.0"
    whole["Content-Type"] = 'multipart/report; report-type="delivery-status"'
    # A boundary that no part can hold, and that is the same when the report is made again.
    whole.set_boundary(f"=_{sha256(b''.join(map(_octets, parts))).hexdigest()[:40]}")
    whole.set_payload([*parts])
    return _octets(whole)


# The text for people


def _words(mail: Returned, failed: Sequence[Undelivered], to: str, name: str) -> str:
    lines = list(_beginning(mail, failed, to, name))
    for said, why, server, addresses in _by_reply(failed)[:REPLIES]:
        lines += ["", *_reply(said, why, server, addresses)]
    if (more := len(_by_reply(failed)) - REPLIES) > 0:
        lines += ["", f"There are {more} more replies: see the attached delivery status."]
    ending = (
        f"relayprobe at {visible(name[:LINE])} has kept what was said to the server: `relayprobe queue show "
        f"{_token(mail.id)}` shows it. The header of the mail is attached; its text is not."
    )
    return "\n".join([*lines, "", *textwrap.wrap(ending, WIDTH), ""])


def _beginning(mail: Returned, failed: Sequence[Undelivered], to: str, name: str) -> Iterator[str]:
    whom = "the recipients" if len(failed) > 1 else "the recipient"
    yield from textwrap.wrap(
        f"Mail that the device {visible(mail.device[:LINE])} sent could not be delivered to {whom} below, and is given "
        "up for them. It is not tried again: set right what is said here, and send it anew from the device.",
        WIDTH,
    )
    yield ""
    yield f"  Sent:    {format_datetime(mail.arrived)}"
    yield f"  Sender:  {_short(mail.sender, ADDRESS) or '(none)'}"
    if subject := _subject(mail.head):
        yield f"  Subject: {subject}"
    if not may_bounce(mail.sender, mail.head, ()) or mail.sender.casefold() != to.casefold():
        yield ""
        yield "You are told because the sender of the mail cannot be, or is not to be."


def _reply(said: str, why: Why, server: str, addresses: Sequence[str]) -> Iterator[str]:
    yield from (f"  {_short(address, ADDRESS)}" for address in addresses[:LISTED])
    if len(addresses) > LISTED:
        yield f"  and {len(addresses) - LISTED} more"
    yield ""
    yield from _wrapped(f"{WHY[why][0]}.")
    who = f"The server {_short(server, LINE)}" if server else "The server"
    quoted = _short(said, REPLY)
    if not quoted:
        return
    yield from _wrapped(f"{who} answered: {quoted}" if _CODES.match(said) else f"What was met last: {quoted}")
    if _CODES.match(said):
        yield from _meaning(recognise(said))


def _meaning(found: Recognised) -> Iterator[str]:
    """What is known of the reply, its doubts included."""
    for match in found.matches[:2]:
        answer = match.answer
        if match.by == "number":
            yield from _wrapped(
                "Known by its number alone, for its words are others or missing: it may mean something else."
            )
        yield from _wrapped(f"It means: {answer.meaning}")
        yield from _wrapped(f"To do: {answer.fix}")
        yield from _wrapped(RETRIES[answer.retry])
        if answer.doubt:
            yield from _wrapped(f"Not certain: {answer.doubt}.")
    for unknown in found.unknown[:1] if not found.matches else ():
        yield from _wrapped(f"No reply of Office 365 that is known here is like it. By its class: {unknown.meaning}.")


def _by_reply(failed: Sequence[Undelivered]) -> list[tuple[str, Why, str, list[str]]]:
    """The recipients of each different reply, in order."""
    groups: dict[tuple[str, Why, str], list[str]] = {}
    for one in failed:
        groups.setdefault((one.said, one.why, one.server), []).append(one.address)
    return [(*key, addresses) for key, addresses in groups.items()]


def _subject(head: bytes) -> str:
    raw = next(iter(fields(head, "Subject")), "")[: 2 * LINE]
    try:
        return _short(str(make_header(decode_header(raw))), LINE)
    except (HeaderParseError, LookupError, ValueError):  # of characters that no table knows, for one
        return _short(raw, LINE)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


# The parts


def _plain(text: str) -> Message:
    part = Message(policy=_POLICY)
    part["Content-Type"] = 'text/plain; charset="utf-8"'
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(_quoted_printable(text.encode("utf-8", "backslashreplace")))
    return part


def _status(mail: Returned, failed: Sequence[Undelivered], name: str) -> Message:
    """The part for programs (RFC 3464 2)."""
    whole = Message(policy=_POLICY)
    whole["Reporting-MTA"] = f"dns; {_ascii(name, LINE)}"
    whole["Arrival-Date"] = format_datetime(mail.arrived)
    blocks: list[Message | str] = [whole]
    for one in failed[:REPORTED]:
        block = Message(policy=_POLICY)
        block["Final-Recipient"] = _recipient(one.address)
        block["Action"] = "failed"
        codes = _CODES.match(one.said)
        block["Status"] = (codes and codes[2]) or WHY[one.why][1]
        if one.server:
            block["Remote-MTA"] = f"dns; {_ascii(one.server, LINE)}"
        if one.said:
            block["Diagnostic-Code"] = f"{'smtp' if codes else 'x-relayprobe'}; {_ascii(one.said, REPLY)}"
        if one.tried:
            block["Last-Attempt-Date"] = format_datetime(one.tried)
        blocks.append(block)
    part = Message(policy=_POLICY)
    part["Content-Type"] = "message/delivery-status"
    part.set_payload(blocks)
    return part


def _recipient(address: str) -> str:
    if address.isascii():
        return f"rfc822; {_ascii(address, ADDRESS)}"
    escaped = "".join(c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in address[:ADDRESS])
    return f"utf-8; {escaped[:_LONGEST]}"  # RFC 6533 3, the form that needs no more than ASCII


def _header(head: bytes) -> Message:
    """The header of the mail (RFC 6522 3), encoded where it is no text of a mail (8 bit, NUL, overlong lines)."""
    part = Message(policy=_POLICY)
    part["Content-Type"] = "text/rfc822-headers"
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(_quoted_printable(header(head) + b"\n"))
    return part


def _quoted_printable(text: bytes) -> str:
    lines = text.replace(b"\r\n", b"\n")
    return binascii.b2a_qp(lines, istext=True).replace(b"\r", b"=0D").decode("ascii")


def _octets(part: Message) -> bytes:
    out = BytesIO()
    BytesGenerator(out, mangle_from_=False, policy=_POLICY).flatten(part)
    return out.getvalue()


# What may stand where


def _short(text: str, most: int) -> str:
    """One line of it that does nothing."""
    flat = visible(" ".join(text[: 2 * most].split()))
    return flat if len(flat) <= most else flat[:most] + "..."


def _ascii(text: str, most: int) -> str:
    return _short(text, most).encode("ascii", "backslashreplace").decode("ascii")[:_LONGEST]


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", text[:LINE]).strip(".") or "-"


def _safe_address(address: str) -> str:
    return address if _ADDRESS.fullmatch(address) else "postmaster@invalid"


def _without_plus(address: str) -> str:
    """A server may give name+anything to the mailbox of name."""
    name, _, domain = address.rpartition("@")
    return f"{name.partition('+')[0] or name}@{domain}"


def _first_word(value: str) -> str:
    return re.split(r"[\s;(]", value.strip(), maxsplit=1)[0].lower()
