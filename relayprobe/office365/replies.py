"""What Office 365 answers, word for word, and what it means by it.

One constant for one reply. `text` is what every such reply says; what changes from case to case and stands at the end
(the server's name, the time and an id in brackets; the addresses in a SendAsDenied) is left out, so a reply of Office
365 begins with `line`. `seen` is the latest date on which the source shows it. What is not certain says so in `doubt`,
and is shown to nobody without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relayprobe.office365 import sources

Stage = Literal["banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "end-of-data", "later"]
"""What the device has just said. `later`: the mail was accepted, and comes back as a report to the sender."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of Office 365."""

    code: int
    enhanced: str | None
    text: str
    stage: Stage
    meaning: str
    source: str
    seen: str
    doubt: str | None = None

    @property
    def line(self) -> str:
        """The reply as it stands in a dialogue: `451 5.7.3 STARTTLS is required to send mail`."""
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"


# Before and in the greeting

UNRECOGNIZED_COMMAND = Answer(
    500,
    "5.3.3",
    "Unrecognized command",
    "ehlo",
    "What came is no command of SMTP. It is answered after about five seconds.",
    "simonrob/email-oauth2-proxy#232 and #234",
    "2024-03",
)
INVALID_DOMAIN_NAME = Answer(
    501,
    "5.5.4",
    "Invalid domain name",
    "ehlo",
    "The name after HELO or EHLO is not one that a host can have.",
    "sabuhish/fastapi-mail#205; zammad/zammad#5635",
    "2025-05",
)

# TLS

TLS_TOO_OLD = Answer(
    421,
    "4.7.66",
    "TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2. "
    "Visit https://aka.ms/smtp_auth_tls.",
    "tls",
    "The device can do no TLS newer than 1.1. The connection is closed.",
    "zehm/sendEmail#1",
    "2022-06-06",
    doubt="devices have read this text, so the old handshake was let through and the refusal followed; whether Office "
    "365 by now cuts the handshake itself is not known",
)

# AUTH

UNRECOGNIZED_AUTH = Answer(
    504,
    "5.7.4",
    "Unrecognized authentication type",
    "auth",
    "A login in clear text, by a mechanism other than LOGIN and XOAUTH2, or where no login is taken at all: "
    "at the MX endpoint.",
    "mattermost/mattermost#954; splitbrain/dokuwiki-plugin-smtp#67",
    "2026-02",
)
AUTH_UNSUCCESSFUL = Answer(
    535,
    "5.7.3",
    "Authentication unsuccessful",
    "auth",
    "User name or password is wrong. It is answered after about five seconds.",
    sources.PRINTERS,
    "2024-01-24",
)
CREDENTIALS_INCORRECT = Answer(
    535,
    "5.7.139",
    "Authentication unsuccessful, the user credentials were incorrect.",
    "auth",
    "User name or password is wrong.",
    "freescout-help-desk/freescout#4930 and #5144",
    "2026-01-09",
)

# MAIL FROM

STARTTLS_REQUIRED = Answer(
    451,
    "5.7.3",
    "STARTTLS is required to send mail",
    "mail",
    "MAIL FROM came in clear text. The code is a temporary one, so a device may try again for hours, in vain.",
    "apache/hertzbeat#2365; NagiosEnterprises/nagioscore#946",
    "2024-07-24",
)
NOT_AUTHENTICATED = Answer(
    530,
    "5.7.57",
    "Client not authenticated to send mail",
    "mail",
    "No login was made, or it was refused. Where it was refused, the reason follows behind `Error:`.",
    f"{sources.PRINTERS}; MicrosoftDocs/OfficeDocs-Exchange#3124",
    "2026-07-01",
)

# RCPT TO

RELAY_DENIED = Answer(
    550,
    "5.7.64",
    "TenantAttribution; Relay Access Denied",
    "rcpt",
    "The recipient is not in a domain of this organization, and no connector knows the sending address.",
    f"MicrosoftDocs/OfficeDocs-Exchange#2651; {sources.RELAY_DENIED}",
    "2024-01-24",
)
RELAY_DENIED_SENDER = Answer(
    550,
    "5.7.64",
    "Relay Access Denied ATTR36",
    "rcpt",
    "A connector knows the sending address, but neither the sender's domain nor that of the certificate is an accepted "
    "domain of the organization.",
    "Microsoft, SupportArticles-docs: Configure a certificate-based connector to relay email messages through "
    "Office 365",
    "2024-01-24",
)
DIRECT_SEND_REJECTED = Answer(
    550,
    "5.7.68",
    "TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources",
    "rcpt",
    "The organization has switched Direct Send off (RejectDirectSend).",
    f"{sources.DIRECT_SEND}; Salesforce help article 005133045 (2026-03-05)",
    "2026-03-05",
    doubt="no public log shows whether it comes at RCPT TO or after the message",
)

# After the message

SEND_AS_DENIED = Answer(
    554,
    "5.2.252",
    "SendAsDenied",
    "end-of-data",
    "The login may not send as the address in From. Behind it stand both addresses, `A not allowed to send as B`. MAIL "
    "FROM and RCPT TO had been accepted. Older form: 554 5.2.0.",
    "pkp/pkp-lib#7412; gophish/gophish#2900 and an application's log of 2025-11-23",
    "2025-11-23",
)
NOT_PERMITTED_AS_SENDER = Answer(
    550,
    "5.7.60",
    "SMTP; Client does not have permissions to send as this sender",
    "end-of-data",
    "The login may not send as this sender.",
    f"PHPMailer/PHPMailer#1231; {sources.PRINTERS}",
    "2024-01-24",
    doubt="recent transcripts show 554 5.2.252 SendAsDenied in its place; whether 5.7.60 still occurs is not known",
)
DMARC_REJECTED = Answer(
    550,
    "5.7.509",
    "Access denied, sending domain",
    "end-of-data",
    "The domain in From has a DMARC policy of reject, and the mail passes neither its SPF nor its DKIM.",
    sources.REPLY_CODES,
    "2024-03-08",
    doubt="from Microsoft's list of codes; the words were not seen in a transcript",
)

# Time-outs, and what comes back as a report

TIMED_OUT = Answer(
    421,
    "4.4.1",
    "Connection timed out",
    "data",
    "Nothing that ends the message has come, and the connection is closed.",
    "haraka/Haraka#2321 (at the MX endpoint)",
    "2018-01-23",
    doubt="the words are from an idle connection of 2018; what is said in the middle of a message was not seen",
)
BARE_LINE_FEEDS = Answer(
    550,
    "5.6.11",
    "SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds, which cannot be sent via DATA and receiving "
    "system does not support BDAT",
    "later",
    "The mail was accepted, and could not be passed on: it has bare line feeds, and the recipient's server takes mail "
    "line by line only.",
    f"PHPMailer/PHPMailer#3067; inverse-inc/packetfence#5380; {sources.BARE_LINE_FEEDS}",
    "2024-06-25",
)

ANSWERS: tuple[Answer, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Answer))
"""All of them, in the order of a dialogue."""
