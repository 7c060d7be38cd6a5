"""What Exchange Online says when all is well, word for word, and how it signs a refusal: the data of an imitation.

From a transcript of smtp.office365.com of 2025-11-23 and one of the MX endpoint of 2023-06-28
(ietf-tools/datatracker#5888). What is recalled and was not found in a source says so.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

SIZE = 157_286_400
"""Octets announced in EHLO (150 MiB)."""

OFFER = ("PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "{tls}", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
"""The lines of the reply to EHLO behind SIZE. In the place of `{tls}`: STARTTLS in clear text, and AUTH inside TLS."""

MECHANISMS = ("LOGIN", "XOAUTH2")
STARTTLS_READY = "220 2.0.0 SMTP server ready"
AUTH_SUCCESSFUL = "235 2.7.0 Authentication successful"
SENDER_OK = "250 2.1.0 Sender OK"
RECIPIENT_OK = "250 2.1.5 Recipient OK"
START_MAIL = "354 Start mail input; end with <CRLF>.<CRLF>"

BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"
"""RCPT without MAIL and the like. Recalled, not found in a source."""

BAD_ARGUMENTS = "501 5.5.4 Invalid arguments"
"""A parameter behind DATA. Recalled, not found in a source."""

SUBMISSION_HOST, MX_HOST = "AM7P194CA0031", "AM7EUR03FT014"
"""Server names of the forms that are seen: a site, a role and a number."""


def banner(mx: bool, now: datetime, identifier: str) -> str:
    """The first line. Client submission has had the bracket since about 2023; the MX endpoint was seen without it."""
    ready = f"Microsoft ESMTP MAIL Service ready at {format_datetime(now)}"
    if mx:
        return f"220 {MX_HOST}.mail.protection.outlook.com {ready}"
    return f"220 {SUBMISSION_HOST}.outlook.office365.com {ready} [{identifier}]"


def greeting(mx: bool, address: str) -> str:
    """The first line of the reply to HELO and EHLO. The address is that from which the device is seen."""
    host = f"{MX_HOST}.mail.protection.outlook.com" if mx else f"{SUBMISSION_HOST}.outlook.office365.com"
    return f"{host} Hello [{address}]"


def signature(mx: bool, now: datetime, identifier: str) -> str:
    """What stands at the end of most refusals since about 2022: server, time, and an id."""
    host = f"{MX_HOST}.eop-EUR03.prod.protection.outlook.com" if mx else f"{SUBMISSION_HOST}.EURP194.PROD.OUTLOOK.COM"
    return f"[{host} {now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z {identifier}]"


def hostname(mx: bool) -> str:
    """What stands at the end of replies about mailbox and message."""
    host = f"{MX_HOST}.eop-EUR03.prod.protection.outlook.com" if mx else f"{SUBMISSION_HOST}.EURP194.PROD.OUTLOOK.COM"
    return f"[Hostname={host}]"


def queued(mx: bool, message_id: str, size: int, identifier: str) -> str:
    """The reply to a message that is taken.

    At the MX endpoint it has the form of Exchange servers (Microsoft, OfficeDocs-Exchange: Use Telnet to test SMTP
    communication on Exchange servers); that of client submission is recalled, not found in a source.
    """
    if mx:
        internal = f"[InternalId={int(identifier, 16) % 10**13}, {hostname(mx)[1:]}"
        return (
            f"250 2.6.0 {message_id} {internal} {size} bytes in 0.1, {size / 102.4:.3f} KB/sec Queued mail for delivery"
        )
    return f"250 2.0.0 OK {message_id} {hostname(mx)}"
