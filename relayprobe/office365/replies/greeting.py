"""Before the login: the connection, the greeting, TLS."""

from __future__ import annotations

from relayprobe.office365 import sources
from relayprobe.office365.replies.answer import AT_MX, ON_SUBMISSION, Answer

NO_CONNECTION = Answer(
    None,
    None,
    "Connection timed out",
    "banner",
    "No connection came about, so no server has answered: a firewall or the provider does not let it through. Port 25 "
    "is the one that most providers, and Azure, close. The port may also be wrong: smtp.office365.com has no 465.",
    f"{sources.SETUP}; elastic/kibana#73836",
    "",
    fix="Open the port in the firewall. For client submission use port 587, not 25 and not 465. Where port 25 stays "
    "closed, send through a host that may use it, or by client submission.",
    retry="configuration",
    wordings=(
        "Connection timed out",
        "Connection refused",
        "No route to host",
        "Network is unreachable",
        "timed out while connecting",
        "failed to connect to server",
        "ECONNREFUSED",
        "ETIMEDOUT",
    ),
)
FOREIGN_BANNER = Answer(
    220,
    None,
    "",
    "banner",
    "This is not how Office 365 greets: something in between has answered, or has written over the greeting, such as a "
    "firewall that inspects SMTP or a proxy that nobody has told you of.",
    "nodemailer/nodemailer#1081; cisco.com 118550",
    "",
    doubt="that it is a device in between follows from the form of the greeting only",
    fix="Switch the inspection of SMTP off in the firewall for this device (Cisco calls it `inspect esmtp`), or use "
    "port 587. Check also that the device is pointed at Office 365 at all.",
    retry="configuration",
)
SERVICE_NOT_AVAILABLE = Answer(
    421,
    "4.3.2",
    "Service not available",
    "banner",
    "A passing fault of the service.",
    sources.FIELD_MANUAL,
    "2025-02-10",
    fix="Nothing to change; send again later.",
    retry="retry",
    also=("ehlo", "mail", "rcpt", "data", "end-of-data"),
)
FOREST_CONNECTIONS = Answer(
    421,
    "4.3.2",
    "The maximum number of concurrent connections per resource forest has exceeded a limit, closing transmission "
    "channel.",
    "banner",
    "The service has too many connections at once. Behind it stands PRX8.",
    sources.FIELD_MANUAL,
    "2025-02-10",
    modes=AT_MX,
    fix="Send again later, over fewer connections at once.",
    retry="retry",
)
UNRECOGNIZED_COMMAND = Answer(
    500,
    "5.3.3",
    "Unrecognized command",
    "ehlo",
    "What came is no command of SMTP. It is answered after about five seconds. The usual cause is TLS where clear text "
    "is expected (TLS on connect at a port for STARTTLS); others are a header of the PROXY protocol, noise in front of "
    "the first command, and text that the device believes to be part of a message.",
    "simonrob/email-oauth2-proxy#232 and #234",
    "2024-03",
    fix="Choose STARTTLS, not SSL/TLS (TLS on connect), for ports 587 and 25; switch the PROXY protocol off in a load "
    "balancer.",
    retry="configuration",
    also=("auth", "mail", "data"),
)
INVALID_DOMAIN_NAME = Answer(
    501,
    "5.5.4",
    "Invalid domain name",
    "ehlo",
    "The name after HELO or EHLO is not one that a host can have. Seen with a dot at the end and with a port number.",
    "sabuhish/fastapi-mail#205; zammad/zammad#5635",
    "2025-05",
    fix="Give the device a proper host name: letters, digits, hyphens and dots, no dot at the end, no port.",
    retry="configuration",
)
SEND_HELLO_FIRST = Answer(
    503,
    "5.5.2",
    "Send hello first",
    "mail",
    "No EHLO came, or none after STARTTLS: what was said before TLS does not count any more.",
    "xhit/go-simple-mail#94",
    "2023",
    doubt="seen at Exchange Server 2016; no dialogue with Office 365 itself shows it",
    fix="A fault of the firmware or program: update it, or send through a relay that greets for it.",
    retry="configuration",
    also=("auth",),
)
BAD_HELO = Answer(
    None,
    "5.7.506",
    "Access Denied, Bad HELO",
    "ehlo",
    "The name after EHLO is Microsoft's own, or one like it.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix="Set the device's own host name in its network settings.",
    retry="configuration",
    also=("mail", "rcpt", "end-of-data"),
)
HELO_LISTED = Answer(
    550,
    "5.7.1",
    "Service unavailable, Helo domain is listed in Spamhaus.",
    "ehlo",
    "The domain of the name after EHLO is on a block list of Spamhaus. The text ends in (S8001).",
    sources.FIELD_MANUAL,
    "2025-02-10",
    modes=AT_MX,
    fix="Have the domain taken off the list at check.spamhaus.org, or set another host name in the device.",
    retry="configuration",
    also=("mail", "rcpt"),
    wordings=("Helo domain is listed", "(S8001)"),
)

# TLS

TLS_TOO_OLD = Answer(
    421,
    "4.7.66",
    "TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2. "
    "Visit https://aka.ms/smtp_auth_tls.",
    "tls",
    "The device can do no TLS newer than 1.1. The connection is closed. The code is a temporary one, the fault is not.",
    "zehm/sendEmail#1",
    "2022-06-06",
    doubt="devices have read this text, so the old handshake was let through and the refusal followed; whether Office "
    "365 by now cuts the handshake itself is not known",
    modes=ON_SUBMISSION,
    fix="Look for a firmware that can do TLS 1.2. Else send through a relay that takes the old TLS from the device, or "
    "at the MX endpoint with TLS switched off in the device (Direct Send or a connector).",
    retry="configuration",
    also=("auth", "mail"),
    wordings=("TLS 1.0 and 1.1 are not supported", "aka.ms/smtp_auth_tls"),
)
