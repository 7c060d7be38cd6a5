"""The text of the mail as octets: its lines, its size, and its end.

Messages are tens of megabytes long, so no rule looks through one: what is asked here was counted while it arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.tongue import counted, said
from relayprobe.wire.events import Body, Credentials, Line
from relayprobe.wire.session import Session

LARGEST = 157_286_400
"""Octets that Office 365 announces in SIZE: 150 MiB."""

BY_DEFAULT = 35 * 2**20
"""Octets that a mailbox may send, unless it is set otherwise."""


@rule(
    "Lines of the message end in a bare line feed",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.BARE_LINE_FEEDS),
    fix={
        "any": "Update the device or program: every line must end in CR LF. Scripts: pipe the message through "
        "unix2dos, or let sendmail's kin send it. No menu has a setting for this; let the device send through a relay "
        "where it cannot be updated.",
    },
    repair="the relay ends every line in CR LF",
    devices="SmtpClient for Qt; mailsend; PacketFence; Vernissage; shell scripts; PHP's mail() on Windows",
    sources=(
        "PHPMailer/PHPMailer#3067",
        "inverse-inc/packetfence#5380",
        "bluetiger9/SmtpClient-for-Qt#185",
        "muquit/mailsend#52",
        "VernissageApp/VernissageServer#28",
        "gen-smtp/gen_smtp#253",
        "RFC 5321 2.3.8",
        sources.BARE_LINE_FEEDS,
        sources.REPLY_CODES,
    ),
)
def bare_lf(session: Session) -> Iterator[Evidence]:
    """Office 365 takes such a mail, and then cannot pass it on to a server that takes mail line by line only: it comes
    back as undeliverable. The device has shown success by then. Other servers refuse it at once, for bare line feeds
    are used to smuggle mail."""
    for envelope in session.envelopes:
        message = envelope.message
        if message is None or not message.body.lines.bare_lf:
            continue
        lines, size = message.body.lines, message.body.size
        if lines.bare_lf == 1 and lines.first_bare_lf == size - 1:
            continue  # the end mark alone, which is another rule's
        says = counted("one line ends in LF without CR", "{n:,} lines end in LF without CR", lines.bare_lf)
        if lines.first_bare_lf is not None:
            says = said("{ends}, the first after {after:,} octets", ends=says, after=lines.first_bare_lf)
        yield Evidence(message.event, says)


@rule(
    "The message is ended by a dot between bare line feeds, so it never ends",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.TIMED_OUT),
    fix={
        "any": "Update the device or program: a message ends in CR LF, a dot, and CR LF. Scripts: send "
        "`\\r\\n.\\r\\n`. No menu has a setting for this; let the device send through a relay where it cannot be "
        "updated.",
    },
    repair="the relay recognizes such an end by the silence after it, and sends the right one on",
    devices="CUPS's mailto notifier (1.3); ghettoVCB on ESXi; scripts with netcat",
    sources=("apple/cups#3011", "lamw/ghettoVCB#71", "RFC 5321 4.1.1.4"),
)
def end_of_data_lf_only(session: Session) -> Iterator[Evidence]:
    """For Office 365 a message ends in CR LF, a dot, and CR LF, and in nothing else. Until that comes it waits for
    more, and the device waits for an answer, until one of them gives up: after the whole scan has gone over."""
    for envelope in session.envelopes:
        if envelope.message and envelope.message.body.end == "bare-lf":
            says = said("the message ends in a dot without CR LF on both sides, and then nothing came")
            yield Evidence(envelope.message.event, says)


@rule(
    "The message has carriage returns without line feeds",
    fix={"any": "Update the device or program: every line must end in CR LF. No menu has a setting for this."},
    repair="the relay makes CR LF of them",
    devices="msmtp when it is fed by scripts; domoticz; ntopng; attachments of mailsend",
    doubt="no transcript with Office 365 was found: it is expected to take them",
    sources=("marlam/msmtp#145", "ntop/ntopng#9526", "muquit/mailsend#52", "RFC 5321 2.3.8"),
)
def bare_cr(session: Session) -> Iterator[Evidence]:
    """Some servers refuse such a mail (552, 554), so recipients elsewhere may not get what your own people do."""
    for envelope in session.envelopes:
        message = envelope.message
        if message is not None and message.body.lines.bare_cr:
            count = message.body.lines.bare_cr
            yield Evidence(message.event, said("{count:,} CR without LF stand in the message", count=count))


@rule(
    "The message is begun and never finished",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.TIMED_OUT),
    fix={
        "any": "Send the same again with a small scan. If that arrives, raise the device's time-out, and look at "
        "cables and Wi-Fi; if it does not, update the device. Do not trust its report: it may show success.",
    },
    devices="Toshiba and Kyocera multifunction printers at Postal",
    doubt="why those devices stop was not found out",
    sources=("postalserver/postal#2732", "RFC 5321 4.5.3.2"),
)
def data_never_finished(session: Session) -> Iterator[Evidence]:
    """Office 365 waits for the end of the message, then hangs up, and nothing is delivered."""
    closed = session.closed
    if closed is None or (closed.by == "server" and closed.how in ("limit", "shutdown")):
        return
    for envelope in session.envelopes:
        message = envelope.message
        if message is None or message.body.end != "cut" or message.body.refused:
            continue
        quiet = closed.at - message.body.until
        says = said(
            "{size:,} octets of the message came, and {quiet:.1f} s later it was over",
            size=message.body.size,
            quiet=quiet,
        )
        yield Evidence(message.event, says)


@rule(
    "A line that begins with a dot is sent with one dot",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.UNRECOGNIZED_COMMAND),
    fix={
        "any": "Update the device or program. Where it can send its text in base64 or as HTML, that avoids the fault.",
    },
    devices="Perl's sendEmail; smtp-client for Node; Ruby's mail; Sympa; eMail",
    sources=(
        "xpepermint/smtp-client#9",
        "mogaal/sendemail#9",
        "mikel/mail#669",
        "deanproxy/eMail#16",
        "dart-mailer/mailer#48",
        "RFC 5321 4.5.2",
    ),
)
def no_dot_stuffing(session: Session) -> Iterator[Evidence]:
    """A dot alone on a line ends the message, so one that belongs to the text has to be doubled. Where it is not, the
    message is cut there, and the rest is taken for commands; and from other lines the first dot goes missing."""
    for envelope in session.envelopes:
        message = envelope.message
        if message is None:
            continue
        if message.body.end == "crlf" and (rest := _rest_of_text(session, message.event)):
            says = said("{count} lines that are no commands came behind the end of the message", count=len(rest))
            yield Evidence(rest[0], says)
        elif message.body.lines.unstuffed_dots:
            count = message.body.lines.unstuffed_dots
            says = said("{count:,} lines begin with a single dot, which is lost", count=count)
            yield Evidence(message.event, says, at_most="warning")


def _rest_of_text(session: Session, message: int) -> list[int]:
    """The events behind a message that look like its rest: unknown commands, up to the first known one."""
    rest = []
    for exchange in session.exchanges:
        if exchange.event <= message or isinstance(exchange.said, Body):
            continue
        stray = isinstance(exchange.said, Credentials) and exchange.said.stage == "stray"
        unknown = isinstance(exchange.said, Line) and exchange.command is not None and not exchange.command.known
        if not stray and not unknown:
            break
        if exchange.said.raw.strip():
            rest.append(exchange.event)
    return rest


@rule(
    "A line of the message is longer than 998 octets",
    fix={
        "any": "Let the program send its text in quoted-printable or base64, or wrap the lines. No menu of a device "
        "has a setting for this.",
    },
    repair="the relay wraps the text, where that breaks neither MIME nor a signature",
    devices="report generators; HTML on a single line; SmtpClient for Qt; form mailers",
    doubt="no transcript with Office 365 was found: it is expected to take them",
    sources=(
        "diladele/websafety#2319",
        "hmailserver/hmailserver#146",
        "kohler/hotcrp#198",
        "zou-yu/worker-mailer#23",
        "bluetiger9/SmtpClient-for-Qt#177",
        "RFC 5322 2.1.1",
    ),
)
def line_too_long(session: Session) -> Iterator[Evidence]:
    """Some servers refuse or cut such lines, so recipients elsewhere may not get what your own people do."""
    for envelope in session.envelopes:
        message = envelope.message
        if message is not None and message.body.lines.overlong:
            count = message.body.lines.overlong
            yield Evidence(message.event, said("{count:,} lines are longer than 998 octets", count=count))


@rule(
    "The message is larger than Office 365 takes",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.MESSAGE_TOO_LARGE),
    fix={
        "submission": "Scan at a lower resolution or in black and white, choose a compact PDF, or let the device "
        'split the scan ("Maximum Total Data Size", "Split e-mails"). An administrator can raise the mailbox\'s '
        "limit (MaxSendSize) up to 150 MB.",
        "any": "Scan at a lower resolution or in black and white, choose a compact PDF, or let the device split the "
        "scan.",
    },
    devices="multifunction printers at 600 dpi in colour, some of which then show an authentication error or a full "
    "memory; pm2-health; FreeScout",
    doubt="the limit of 35 MB by default is Microsoft's of some years ago, and the words of the refusal were seen in "
    "Exchange's documentation only",
    sources=(
        "postalserver/postal#2289",
        "pankleks/pm2-health#52",
        "freescout-help-desk/freescout#4976",
        "muquit/mailsend#164",
        "MicrosoftDocs/OfficeDocs-O365ServiceDescriptions#264",
        "RFC 1870 6",
    ),
)
def message_too_large(session: Session) -> Iterator[Evidence]:
    """Office 365 announces 150 MiB, and a mailbox takes 35 MB unless it is set otherwise. In a mail the scan is a third
    larger than on the device's screen, for base64 writes three octets as four."""
    for envelope in session.envelopes:
        told = envelope.path.parameter("SIZE") or ""
        announced = int(told[:18]) if told.isdecimal() else 0
        size = max(announced, envelope.message.body.size if envelope.message else 0)
        if size > BY_DEFAULT:
            event = envelope.message.event if envelope.message and announced < size else envelope.event
            at_most: Severity = "error" if size > LARGEST else "warning"
            yield Evidence(event, said("the message has {size:,} octets", size=size), at_most=at_most)


@rule(
    "DATA has something behind it",
    blocks=MODES,
    fix={"any": "Update the program: BODY=8BITMIME belongs to MAIL FROM, and DATA stands alone."},
    repair="the relay passes over it",
    devices="HubSpot's NioSmtpClient (mended since)",
    doubt="Office 365's answer was not seen; 500 or 501 is expected",
    sources=("HubSpot/NioSmtpClient#56", "RFC 5321 4.1.1.4"),
)
def data_with_parameters(session: Session) -> Iterator[Evidence]:
    """DATA takes no parameters, and a server that reads strictly does not know such a command."""
    for exchange in session.commands(b"DATA"):
        if exchange.command and exchange.command.argument:
            says = said("{text} stands behind DATA", text=quoted(exchange.command.argument.decode("latin-1")))
            yield Evidence(exchange.event, says)
