"""What Office 365 says where all is well, so that a line of it is not taken for a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayprobe.office365.replies.answer import Stage

_TRANSCRIPT = "an application's log of 2025-11-23"


@dataclass(frozen=True, slots=True)
class Normal:
    """One reply of an ordinary dialogue. `form` matches it from its code on; `line` is what it looks like."""

    line: str
    form: re.Pattern[str]
    stage: Stage
    meaning: str
    source: str
    seen: str
    doubt: str | None = None


def _normal(
    line: str,
    form: str,
    stage: Stage,
    meaning: str,
    source: str = _TRANSCRIPT,
    seen: str = "2025-11-23",
    doubt: str = "",
) -> Normal:
    return Normal(line, re.compile(form, re.IGNORECASE), stage, meaning, source, seen, doubt or None)


NORMAL = (
    _normal(
        "220 SERVER.outlook.office365.com Microsoft ESMTP MAIL Service ready at TIME",
        r"220 \S{1,255}\.outlook\.office365\.com Microsoft ESMTP MAIL Service ready",
        "banner",
        "Client submission greets: the device has reached smtp.office365.com.",
    ),
    _normal(
        "220 SERVER.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at TIME",
        r"220 \S{1,255}\.mail\.protection\.outlook\.com Microsoft ESMTP MAIL Service ready",
        "banner",
        "The MX endpoint greets: that of Direct Send and connectors. No login is taken here.",
        "ietf-tools/datatracker#5888",
        "2023-06-28",
    ),
    _normal(
        "220 SERVER Microsoft ESMTP MAIL Service ready at TIME",
        r"220 \S{1,255} Microsoft ESMTP MAIL Service ready",
        "banner",
        "A server of Microsoft's make greets; by its name it is neither client submission nor the MX endpoint.",
        "follows from the form of the two others",
        "",
        doubt="it may be an Exchange server in your own house, or an endpoint under another name, such as mx.microsoft",
    ),
    _normal(
        "250-SERVER Hello [ADDRESS]",
        r"250[- ]\S{1,255} Hello \[",
        "ehlo",
        "EHLO is taken, and what the server can do follows. In brackets stands the site's public address.",
    ),
    _normal(
        "220 2.0.0 SMTP server ready", r"220 2\.0\.0 SMTP server ready", "tls", "STARTTLS is taken: TLS comes next."
    ),
    _normal("334 VXNlcm5hbWU6", r"334 VXNlcm5hbWU6", "auth", "The server asks for the user name."),
    _normal("334 UGFzc3dvcmQ6", r"334 UGFzc3dvcmQ6", "auth", "The server asks for the password."),
    _normal(
        "235 2.7.0 Authentication successful",
        r"235 2\.7\.0 Authentication successful",
        "auth",
        "The login is right. Whether the sender may be used shows only after the message.",
    ),
    _normal("250 2.1.0 Sender OK", r"250 2\.1\.0 Sender OK", "mail", "The sender is taken, for now."),
    _normal("250 2.1.5 Recipient OK", r"250 2\.1\.5 Recipient OK", "rcpt", "The recipient is taken."),
    _normal("354 Start mail input; end with <CRLF>.<CRLF>", r"354 Start mail input", "data", "The message may come."),
    _normal(
        "250 2.6.0 ID [InternalId=..., Hostname=...] Queued mail for delivery",
        r"250 2\.6\.0 .{0,500}Queued mail for delivery",
        "end-of-data",
        "The message is taken. A report that it could not be delivered may still come to the sender.",
        "Microsoft, OfficeDocs-Exchange: Use Telnet to test SMTP communication on Exchange servers",
        "",
    ),
    _normal(
        "250 2.0.0 OK ID [Hostname=...]",
        r"250 2\.0\.0 OK\b",
        "end-of-data",
        "The message is taken. A report that it could not be delivered may still come to the sender.",
        "no public source was found",
        "",
        doubt="recalled, not found in a source",
    ),
    _normal(
        "221 2.0.0 Service closing transmission channel",
        r"221 2\.0\.0 Service closing transmission channel",
        "end-of-data",
        "QUIT is answered, and the connection closed.",
    ),
)
