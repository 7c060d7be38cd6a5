"""After the message: the sender in it, its form and size, and the limits and penalties of the mailbox.

What stands here may also come later, as a report to the sender, where `also` says so.
"""

from __future__ import annotations

from relayprobe.office365 import sources
from relayprobe.office365.modes import Mode
from relayprobe.office365.replies.answer import AT_MX, HVE, ON_SUBMISSION, Answer

_NOT_DIRECT: tuple[Mode, ...] = ("submission", "connector")
_SEND_AS = (
    "Enter the login's own address as the sender, in the From header, too; or an administrator gives the login the "
    "Send As permission for that address; or use a connector."
)
_PENALTY = "The mailbox has sent the same fault over and over, and is shut out for hours. Support cannot lift it."

# The sender

SEND_AS_DENIED = Answer(
    554,
    "5.2.252",
    "SendAsDenied",
    "end-of-data",
    "The login may not send as the address in From. Behind it stand both addresses, `A not allowed to send as B`. MAIL "
    "FROM and RCPT TO had been accepted. Older form: 554 5.2.0.",
    "pkp/pkp-lib#7412; gophish/gophish#2900 and an application's log of 2025-11-23",
    "2025-11-23",
    modes=ON_SUBMISSION,
    fix=_SEND_AS,
    wordings=("SendAsDenied;", "SendAsDeniedException", "not allowed to send as"),
)
NOT_PERMITTED_AS_SENDER = Answer(
    550,
    "5.7.60",
    "SMTP; Client does not have permissions to send as this sender",
    "end-of-data",
    "The login may not send as this sender.",
    f"PHPMailer/PHPMailer#1231; {sources.PRINTERS}",
    "2024-01-24",
    doubt="recent transcripts show 554 5.2.252 SendAsDenied in its place; whether 5.7.60 still occurs is not known, "
    "nor whether it can come at MAIL FROM, as some tests of programs have it",
    modes=ON_SUBMISSION,
    fix=_SEND_AS,
    also=("mail",),
    wordings=("Client does not have permissions to send as this sender",),
)
HVE_FROM_HEADER = Answer(
    None,
    "5.6.241",
    "",
    "end-of-data",
    "The From header has another address than the High Volume Email account.",
    sources.HVE_TESTS,
    "2026-08",
    modes=ON_SUBMISSION,
    fix="Enter the account's own address as the sender, or let a relay write it.",
    only_at=HVE,
)
BAD_OUTBOUND_SENDER = Answer(
    None,
    "5.1.8",
    "Access denied, bad outbound sender",
    "end-of-data",
    "The account is restricted, for it has sent what looks like spam.",
    sources.BAD_SENDER,
    "2026-10-02",
    modes=ON_SUBMISSION,
    fix="An administrator takes it off the page of restricted entities, once it is clear who "
    "sent the spam; that acts within about an hour.",
    retry="hold",
    also=("later",),
)
SPAM_ABUSE = Answer(
    None,
    "5.7.501",
    "Access denied, spam abuse detected",
    "end-of-data",
    "The sender is banned for spam.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=_NOT_DIRECT,
    fix="Find out who sends the spam; then write to Microsoft's support.",
    retry="hold",
    also=("later",),
    wordings=("spam abuse detected",),
)
BANNED_SENDER = Answer(
    None,
    "5.7.502",
    "banned sender",
    "end-of-data",
    "The sender is banned.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=_NOT_DIRECT,
    fix="Write to Microsoft's support.",
    retry="hold",
    until="5.7.503",
    also=("later",),
)
BANNED_DOMAIN = Answer(
    None,
    "5.7.800",
    "",
    "end-of-data",
    "The sender's domain is banned.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=_NOT_DIRECT,
    fix="Write to Microsoft's support.",
    retry="hold",
    also=("later",),
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
    modes=AT_MX,
    fix="Put the site's public address into the SPF record of the domain in From, or have the mail signed (DKIM), or "
    "use client submission.",
    also=("later",),
    wordings=("does not pass DMARC verification and has a DMARC policy of reject",),
)
SPF_VIOLATION = Answer(
    None,
    "5.7.23",
    "",
    "later",
    "The recipient's server says that the SPF record of the sender's domain does not allow this.",
    "Microsoft, OfficeDocs-Exchange: Fix email delivery issues for error code 5.7.23",
    "",
    modes=("connector",),
    fix="Put include:spf.protection.outlook.com and the site's public address into the SPF record.",
)

# The limits of the mailbox

CONCURRENT_CONNECTIONS = Answer(
    432,
    "4.3.2",
    "Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
    "end-of-data",
    "More than three connections were sending from this mailbox at once.",
    f"sabuhish/fastapi-mail#75; {sources.CONCURRENT}",
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="One connection to a mailbox at a time, or a mailbox of its own for each group of devices. Send again after a "
    "while.",
    retry="retry",
    also=("data",),
    wordings=("Concurrent connections limit exceeded", "aka.ms/concurrent_sending"),
)
THREAD_LIMIT = Answer(
    432,
    "4.3.2",
    "STOREDRV.ClientSubmit; sender thread limit exceeded",
    "end-of-data",
    "More than three connections were sending from this mailbox at once.",
    f"timeoff-management/timeoff-management-application#308; {sources.CONCURRENT}",
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="One connection to a mailbox at a time, or a mailbox of its own for each group of devices. Send again after a "
    "while.",
    retry="retry",
    also=("data",),
    wordings=("sender thread limit exceeded",),
)
SUBMISSION_QUOTA = Answer(
    554,
    "5.2.0",
    "STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
    "end-of-data",
    "The mailbox has written to more than 10,000 recipients within 24 hours.",
    f"MicrosoftDocs/OfficeDocs-Support#1150; {sources.CONCURRENT}",
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="Wait; spread the mail over several mailboxes; for much mail to recipients inside use High Volume Email.",
    retry="stop-hours",
    wordings=("SubmissionQuotaExceededException", "MapiExceptionSubmissionQuotaExceeded"),
)
SUBMISSION_QUOTA_REPORT = Answer(
    None,
    "5.2.2",
    "Submission quota exceeded",
    "later",
    "The mailbox has written to more than 10,000 recipients within 24 hours.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=ON_SUBMISSION,
    fix="Wait; spread the mail over several mailboxes; for much mail to recipients inside use High Volume Email.",
    retry="stop-hours",
    also=("end-of-data",),
)
DAILY_LIMIT = Answer(
    None,
    "5.1.90",
    "",
    "later",
    "The mailbox has written to as many recipients as it may in a day.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=ON_SUBMISSION,
    fix="Wait; spread the mail over several mailboxes; for much mail to recipients inside use High Volume Email.",
    retry="stop-hours",
)
MAILBOX_FULL = Answer(
    554,
    "5.2.2",
    "mailbox full; STOREDRV.Submission.Exception:QuotaExceededException",
    "end-of-data",
    "The sender's own mailbox is full: a copy of all that it sends is kept in Sent Items.",
    sources.CONCURRENT,
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="Empty Sent Items, set a retention policy, or keep no copies: "
    "Set-Mailbox MAILBOX -MessageCopyForSMTPClientSubmissionEnabled $false.",
    retry="hold",
    wordings=("Exception:QuotaExceededException",),
)
MAILBOX_SIZE_EXCEEDED = Answer(
    None,
    "5.2.3",
    "MapiExceptionMaxSubmissionExceeded; Message size exceeds maximum size limit.",
    "end-of-data",
    "The mail is larger than the mailbox may send. Base64 makes a scan larger by a third.",
    "pankleks/pm2-health#52",
    "",
    doubt="seen with the words alone; whether the code is 5.2.3 or 5.2.0 is not certain",
    modes=ON_SUBMISSION,
    fix="Scan with a lower resolution or fewer pages to a mail; or an administrator raises MaxSendSize of the mailbox.",
    wordings=("MapiExceptionMaxSubmissionExceeded", "MessageSubmissionExceededException"),
)

# Penalties for a fault that is repeated


def _penalty(enhanced: str, fault: str, fix: str) -> Answer:
    return Answer(
        550,
        enhanced,
        f"Sender throttled due to continuous {fault} errors.",
        "end-of-data",
        _PENALTY,
        sources.PENALTIES,
        "2021-10",
        modes=ON_SUBMISSION,
        fix=f"{fix} Then send nothing from this mailbox for some hours.",
        retry="stop-hours",
        wordings=(f"due to continuous {fault}",),
    )


PENALTY_MAILBOX_FULL = _penalty("5.2.251", "mailbox full", "Make room in the mailbox.")
PENALTY_SEND_AS_DENIED = _penalty("5.2.252", "send as denied", "Enter the login's own address as the sender.")
PENALTY_INVALID_LICENSE = _penalty("5.2.253", "invalid license", "Give the mailbox a licence.")
PENALTY_TOO_MANY_RECIPIENTS = _penalty("5.2.254", "too many recipients", "Send to fewer recipients in a mail.")
PENALTY_INVALID_RECIPIENTS = _penalty("5.2.255", "invalid recipients", "Correct the recipients' addresses.")


def _swamped(enhanced: str, by: str) -> Answer:
    return Answer(
        554,
        enhanced,
        "",
        "end-of-data",
        f"One recipient has got more mail within an hour than it may get, {by}.",
        f"{sources.REPLY_CODES}; {sources.FIELD_MANUAL}",
        "2025-02-10",
        fix="Put what the device reports together into fewer mails; wait for an hour.",
        retry="stop-hours",
        also=("later",),
    )


RECIPIENT_SWAMPED = _swamped("5.2.121", "from this sender or from all of them together")
RECIPIENT_SWAMPED_TOO = _swamped("5.2.122", "from this sender or from all of them together")

# The limits of the organization


TENANT_LIMIT = Answer(
    550,
    "5.7.233",
    "Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients",
    "later",
    "The whole organization has written to as many recipients outside as it may in a day: 500 times its licences to "
    "the power of 0.7, plus 9,500.",
    f"{sources.SENDING_LIMITS}; {sources.DELIVERY_CODES}",
    "2026-05-26",
    modes=_NOT_DIRECT,
    fix="Wait until tomorrow, and find out what sends so much.",
    retry="stop-hours",
    also=("end-of-data",),
    wordings=("tenant exceeded its daily limit",),
)
TRIAL_TENANT_LIMIT = Answer(
    None,
    "5.7.232",
    "",
    "later",
    "An organization on trial has written to as many recipients outside as it may in a day: 5,000.",
    f"{sources.SENDING_LIMITS}; {sources.DELIVERY_CODES}",
    "2026-05-26",
    doubt="the code is from a secondary source",
    modes=_NOT_DIRECT,
    fix="Wait until tomorrow, or buy a licence.",
    retry="stop-hours",
    also=("end-of-data",),
)
ONMICROSOFT_LIMIT = Answer(
    550,
    "5.7.236",
    "",
    "later",
    "Addresses in an onmicrosoft.com domain may write to 100 recipients outside a day, all of the organization's "
    "together.",
    sources.ONMICROSOFT_LIMIT,
    "2025",
    modes=_NOT_DIRECT,
    fix="Send from an address in a domain of your own.",
    retry="stop-hours",
    also=("end-of-data",),
)
TENANT_THRESHOLD = Answer(
    None,
    "5.7.705",
    "Access denied, tenant has exceeded threshold",
    "later",
    "The organization is over a threshold of Microsoft's for mail that goes out.",
    sources.TENANT_BLOCKED,
    "2026-10-02",
    modes=_NOT_DIRECT,
    fix="Find out who sends the spam, secure those accounts, register the domains; then write to Microsoft's support.",
    retry="hold",
    also=("end-of-data",),
    wordings=("tenant has exceeded threshold",),
)
TRIAL_ADDRESS = Answer(
    None,
    "5.7.708",
    "Access denied, traffic not accepted from this IP",
    "later",
    "Met in organizations on trial.",
    sources.TENANT_BLOCKED,
    "2026-10-02",
    modes=_NOT_DIRECT,
    fix="Buy a licence, or write to Microsoft's support.",
    retry="hold",
    also=("end-of-data",),
    wordings=("traffic not accepted from this IP",),
)
UNREGISTERED_DOMAIN = Answer(
    None,
    "5.7.750",
    "Client blocked from sending from unregistered domain",
    "later",
    "The organization sends from a domain that is not registered with it.",
    sources.TENANT_BLOCKED,
    "2026-10-02",
    modes=_NOT_DIRECT,
    fix="Register the domain.",
    retry="hold",
    also=("end-of-data",),
    wordings=("sending from unregistered domain",),
)
TENANT_BLOCK_LIST = Answer(
    None,
    "5.7.703",
    "",
    "later",
    "The organization's own allow and block list stops the mail.",
    sources.TENANT_BLOCKED,
    "2026-10-02",
    modes=_NOT_DIRECT,
    fix="An administrator takes the entry off that list.",
    also=("end-of-data",),
)

# The form of the message

NOT_RFC5322 = Answer(
    None,
    "5.7.512",
    "Access denied, message must be RFC 5322 section 3.6.2 compliant",
    "end-of-data",
    "The message has no valid From header.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Fill in the sender's address in the device; a relay can add the header.",
    also=("later",),
    wordings=("RFC 5322 section 3.6.2",),
)
FROM_WITHOUT_SENDER = Answer(
    None,
    "5.1.20",
    "Multiple From addresses",
    "end-of-data",
    "The From header has several addresses, and there is no Sender header.",
    "a support page of Microsoft, of 2024 or later, by its title",
    "2024",
    doubt="known by the title of a page; the words are not certain",
    fix="One address in the field of the sender.",
    also=("later",),
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
    fix="A fault of the program: each line ends in CR LF. Update it, or send through a relay that mends line ends.",
    also=("end-of-data",),
    wordings=("BareLinefeedsAreIllegal", "message contains bare linefeeds"),
)
INVALID_CHARACTERS = Answer(
    None,
    "5.6.11",
    "Invalid characters",
    "later",
    "The message has bare line feeds.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="A fault of the program: each line ends in CR LF. Update it, or send through a relay that mends line ends.",
    also=("end-of-data",),
)
NOT_AUTHORIZED = Answer(
    None,
    "5.7.1",
    "Delivery not authorized",
    "later",
    "A mail flow rule of the recipient's organization, or a restriction of a group, stops the mail.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Ask the administrator of the recipient's organization for the rule or the group's list of senders.",
    also=("end-of-data", "rcpt"),
)

# Time-outs, the service itself, and what comes as a report only

TIMED_OUT = Answer(
    421,
    "4.4.1",
    "Connection timed out",
    "data",
    "Nothing that ends the message has come, and the connection is closed.",
    "haraka/Haraka#2321 (at the MX endpoint)",
    "2018-01-23",
    doubt="the words are from an idle connection of 2018; what is said in the middle of a message was not seen",
    fix="Look for what stops the device in the middle of its mail: a line that ends in LF alone, or a slow upload.",
    retry="retry",
    also=("ehlo", "mail"),
)
IDLE_TOO_LONG = Answer(
    None,
    "4.4.2",
    "",
    "ehlo",
    "Nothing has come for a while (client submission waits for 5 minutes), and the connection is closed.",
    "foxcpp/maddy#693; pocoproject/poco#4073",
    "",
    doubt="the 5 minutes were seen at Office 365; the code with it was seen at another server (451 4.4.2) or is "
    "expected",
    fix="Have the program close the connection after each mail.",
    retry="retry",
    also=("mail", "data"),
    wordings=("4.4.2 Timeout - closing connection",),
)


def _service(code: int, enhanced: str, text: str, wordings: tuple[str, ...] = ()) -> Answer:
    return Answer(
        code,
        enhanced,
        text,
        "end-of-data",
        "A passing fault of the service.",
        sources.FIELD_MANUAL,
        "2025-02-10",
        fix="Nothing to change; send again later, at growing intervals.",
        retry="retry",
        also=("mail", "rcpt"),
        wordings=wordings,
    )


TEMPORARY_ERROR = _service(451, "4.7.0", "Temporary server error. Please try again later. PRX")
TEMPORARY_ERROR_ATTR17 = _service(
    451, "4.3.2", "Temporary server error. Please try again later ATTR17", wordings=("ATTR17",)
)
NOT_REPLICATED = _service(451, "4.4.0", "Message failed to be replicated:")
INSUFFICIENT_RESOURCES = _service(452, "4.3.1", "Insufficient system resources")
QUEUE_QUOTA = _service(
    450, "4.7.3", "Organization queue quota exceeded.", wordings=("Organization queue quota exceeded",)
)
EXPIRED = Answer(
    None,
    "4.4.7",
    "",
    "later",
    "The recipient's server could not be reached for so long that the mail was given up.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Check the recipient's domain and its MX record; ask the recipient's administrator.",
)
EXPIRED_TOO = Answer(
    None,
    "5.4.300",
    "",
    "later",
    "The recipient's server could not be reached for so long that the mail was given up.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Check the recipient's domain and its MX record; ask the recipient's administrator.",
)
LOOP = Answer(
    None,
    "5.4.14",
    "",
    "later",
    "The mail went in a circle.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Check MX records, connectors and forwarding for a way back to where the mail came from.",
)
