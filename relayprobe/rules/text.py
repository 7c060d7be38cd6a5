"""The text of the mail: its header, its lines, and its end.

Messages are tens of megabytes long, so no rule looks through one: what is asked here was counted while it arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.envelope import login_of, same_mailbox
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.wire.session import Session


@rule(
    "The From header names another mailbox than the one that logs in",
    blocks=("submission",),
    answer={"submission": replies.SEND_AS_DENIED},
    fix={
        "submission": "Switch off that the user who signs in at the panel becomes the sender: on Ricoh set SP5-860-022 "
        'on, so that the device\'s own address stands in From and the user in Reply-To; on others look for "From", '
        '"Sender" and "use the login user\'s address". Or give the login the Send As permission for the other '
        "mailboxes, or use a connector.",
        "any": "Nothing is needed in this mode, as long as the address is in one of your own domains.",
    },
    repair="the relay puts its own account's address into From, and the device's into Reply-To",
    devices="Ricoh with SP5-860-022 off, and other printers at which users sign in; Open Journal Systems; rss2email; "
    "FusionAuth",
    doubt="who has the Send As permission for whom cannot be seen from here",
    sources=(
        "pkp/pkp-lib#7412",
        "rss2email/rss2email#147",
        "FusionAuth/fusionauth-issues#220",
        "gophish/gophish#2900",
        "Ricoh MP C307 service manual p. 394 (SP5-860-022)",
        sources.PRINTERS,
    ),
)
def header_from_not_auth_user(session: Session) -> Iterator[Evidence]:
    """Office 365 compares the login with the address that the reader will see, in the From header, and not with MAIL
    FROM alone. The refusal comes after the whole message, so the device reports that sending failed, and not why."""
    for envelope in session.envelopes:
        login = login_of(session, envelope)
        if envelope.message is None or login is None or not login.user:
            continue
        named = [address for address in envelope.message.addresses("From") if "@" in address]
        if named and all(same_mailbox(login.user, address) is False for address in named):
            says = f"the login is {quoted(login.user)}, and From says {quoted(', '.join(named))}"
            yield Evidence(envelope.message.event, says)


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
        count = "one line ends" if lines.bare_lf == 1 else f"{lines.bare_lf:,} lines end"
        where = "" if lines.first_bare_lf is None else f", the first after {lines.first_bare_lf:,} octets"
        yield Evidence(message.event, f"{count} in LF without CR{where}")


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
            says = "the message ends in a dot without CR LF on both sides, and then nothing came"
            yield Evidence(envelope.message.event, says)
