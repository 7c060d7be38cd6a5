"""The envelope: who the device says it sends as, and how it writes that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.addresses import factory_setting, login_of, same_mailbox
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.tongue import said
from relayprobe.wire.command import Path
from relayprobe.wire.session import Session, domain_of

_SENDER_FIELD = (
    '"Sender\'s Email Address", "Return Email Address", "Administrator Email Address", "SMTP Auth. Email Address", '
    '"Primary From", "Reply Address"'
)
_REWRITES = "the relay sends under its own account's address, and names the device's sender in Reply-To"


@rule(
    "The sender is another mailbox than the one that logs in",
    blocks=("submission",),
    answer={"submission": replies.SEND_AS_DENIED},
    fix={
        "submission": f"Enter the address of the login as the device's sender ({_SENDER_FIELD}), and switch off that "
        "the user at the panel becomes the sender (on Ricoh SP5-860-022 on). Or give the login the Send As permission "
        "for the other mailbox. Where everybody is to send as himself, use a connector.",
        "any": "Nothing is needed in this mode: any address in your own domains can be the sender.",
    },
    repair=_REWRITES,
    devices="Ricoh, and every printer at which the user who signs in becomes the sender; line-of-business programs "
    "that send as their user",
    doubt="who has the Send As permission for whom cannot be seen from here",
    sources=(
        "PHPMailer/PHPMailer#1231",
        "gophish/gophish#1600",
        "swiftmailer/swiftmailer#1030",
        "dani-garcia/vaultwarden#1008",
        "Ricoh MP C307 service manual p. 394 (SP5-860-022)",
        sources.PRINTERS,
    ),
)
def mail_from_not_auth_user(session: Session) -> Iterator[Evidence]:
    """A login may send as its own mailbox, and as those that it has the Send As permission for. MAIL FROM and RCPT TO
    are still taken, and the refusal comes after the message, so a device reports that sending failed, and not why."""
    for envelope in session.envelopes:
        login = login_of(session, envelope)
        if login and login.user and envelope.sender and same_mailbox(login.user, envelope.sender) is False:
            says = said(
                "the login is {user}, and MAIL FROM says {sender}",
                user=quoted(login.user),
                sender=quoted(envelope.sender),
            )
            yield Evidence(envelope.event, says)


@rule(
    "The sender is empty",
    blocks=("submission",),
    risks=("direct-send", "connector"),
    answer={"submission": replies.NOT_PERMITTED_AS_SENDER},
    fix={
        "submission": f"Fill in the device's own address, that of the login ({_SENDER_FIELD}).",
        "any": f"Fill in the device's own address, one in your own domain ({_SENDER_FIELD}).",
    },
    repair="the relay puts its own account's address in",
    doubt="no report of a device that does this was found; what Office 365 does with it is inferred from its rules on "
    "senders",
    sources=("RFC 5321 4.5.5", sources.PRINTERS, sources.RELAY_RULES),
)
def mail_from_empty(session: Session) -> Iterator[Evidence]:
    """An empty sender marks a mail that reports on another mail, and that nobody may answer. No mailbox has it, so a
    login cannot send as it; at the MX endpoint such a mail is easily junked, and no connector can place it by its
    sender."""
    for envelope in session.envelopes:
        if not envelope.sender:
            yield Evidence(envelope.event, said("MAIL FROM names no sender"))


@rule(
    "The sender is a factory setting, or in a domain that is not yours",
    blocks=("submission", "connector"),
    risks=("direct-send",),
    answer={
        "submission": replies.SEND_AS_DENIED,
        "direct-send": replies.DMARC_REJECTED,
        "connector": replies.RELAY_DENIED_SENDER,
    },
    fix={
        "submission": f"Enter the address of the login as the device's sender ({_SENDER_FIELD}).",
        "any": f"Enter an address in one of your own domains as the device's sender ({_SENDER_FIELD}).",
    },
    repair=_REWRITES,
    devices="HP, whose setting from the factory seems to be the device's name at email.com; cron, sSMTP and msmtp, "
    "with root at the name of the computer; appliances",
    sources=(
        "mailcow/mailcow-dockerized-docs#455",
        "microsoft/oxa-tools#440",
        "sunweaver/nextcloud-high-performance-backend-setup#61",
        "RFC 2606; RFC 6762",
        sources.RELAY_RULES,
    ),
)
def mail_from_default_domain(session: Session) -> Iterator[Evidence]:
    """Nobody at this site may send for that domain: client submission takes only addresses that the login may use, a
    connector only those in accepted domains, and what Direct Send takes looks forged, and is junked or lost."""
    for envelope in session.envelopes:
        sender = envelope.sender
        accepted = session.site.accepts(sender)
        if not sender or accepted:
            continue
        if factory := factory_setting(sender):
            says = said("the sender is {sender}: {setting}", sender=quoted(sender), setting=factory)
            yield Evidence(envelope.event, says)
        elif accepted is False and not domain_of(sender).endswith(".onmicrosoft.com"):
            login = login_of(session, envelope)
            says = said(
                "the sender is {sender}, and {domain} is none of the accepted domains of this site",
                sender=quoted(sender),
                domain=domain_of(sender),
            )
            own = bool(
                login and login.user and login.user.lower() == sender.lower()
            )  # then it is the list that is short
            yield Evidence(envelope.event, says, at_most="note" if own else "error")


@rule(
    "A space stands behind MAIL FROM: or RCPT TO:",
    fix={"any": "Nothing has to be done. No menu has a setting for this; an update of the device may mend it."},
    repair="the relay writes the command as it should be",
    devices="Toshiba e-STUDIO190F; SmtpClient for Qt; smtp-cli; Swift Mailer; people with telnet",
    doubt="no transcript with Office 365 was found: Exchange servers are known to take the space",
    sources=(
        "Toshiba e-STUDIO190F service manual p. 277",
        "bluetiger9/SmtpClient-for-Qt#41",
        "mludvig/smtp-cli#9",
        "zone-eu/zone-mta#116",
        "haraka/Haraka#2912",
        "RFC 5321 3.3",
    ),
)
def mail_from_space_after_colon(session: Session) -> Iterator[Evidence]:
    """The standard has no space there. Office 365 takes it; strict servers answer 501, and the device reports a syntax
    error."""
    for exchange in session.commands(b"MAIL", b"RCPT"):
        if exchange.command and _SPACED.match(exchange.command.argument):
            says = said("a space stands beside the colon in {command}", command=exchange.command.verb.decode())
            yield Evidence(exchange.event, says)


_SPACED = re.compile(rb"(?:FROM|TO)(?::[ \t]|[ \t]+:)", re.IGNORECASE)


@rule(
    "An address has no angle brackets around it",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_SENDER_ADDRESS),
    fix={
        "any": "Update the device or program; some write the brackets when they are typed into the address field, as "
        "in <scanner@contoso.com>. Where neither helps, let it send through a relay.",
    },
    repair="the relay puts the brackets around the address",
    devices="OpenIPC cameras; a tool that says HELO only; people with telnet",
    doubt="Microsoft names this fault of printers, and the reply is that to a bad address; other servers take it",
    sources=(
        "OpenIPC/firmware#238",
        "maildev/maildev#212",
        "cosullivan/SmtpServer#70",
        "zone-eu/zone-mta#116",
        "RFC 5321 4.1.1.2",
        sources.CONCURRENT,
    ),
)
def mail_from_no_brackets(session: Session) -> Iterator[Evidence]:
    """The address in MAIL FROM and RCPT TO stands in angle brackets. Without them Office 365 does not take it for
    one."""
    for event, name, path in _paths(session):
        if path.address and "<" not in path.text:
            says = said("{command} {address} has no angle brackets", command=name, address=quoted(path.text.strip()))
            yield Evidence(event, says)


@rule(
    "A display name stands where only an address belongs",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_SENDER_ADDRESS),
    fix={
        "any": "Type the address alone into the field for the sender's address, as in scanner@contoso.com, without "
        f"brackets or quotes ({_SENDER_FIELD}); the name goes into the field for the sender's name.",
    },
    repair="the relay takes the address out of it",
    devices="GoPhish; Himalaya; Symfony Mailer 4.3; PHP's mail(); any device into whose sender field a name was typed",
    sources=(
        "gophish/gophish#3341",
        "pimalaya/himalaya#727",
        "symfony/symfony#32003",
        "mdn/kuma#7121",
        "Postfix manual, smtpd_command_filter",
    ),
)
def mail_from_display_name(session: Session) -> Iterator[Evidence]:
    """MAIL FROM and RCPT TO take an address and nothing else. A name before it, or brackets within brackets, is a bad
    address for Office 365."""
    for event, name, path in _paths(session):
        before, bracket, inside = path.text.partition("<")
        nested = "<" in inside and "," not in inside and ";" not in inside
        word = path.address if bracket else ""
        if (bracket and before.strip(" '\"")) or nested or ("@" not in word and (" " in word or "=?" in word)):
            says = said("{command} is followed by {text}", command=name, text=quoted(path.text.strip()))
            yield Evidence(event, says)


@rule(
    "MAIL FROM or RCPT TO has parameters that were not asked for",
    fix={
        "any": "Nothing has to be done. Programs have a setting for delivery notices (DSN), which sends most of them."
    },
    repair="the relay sends on what Office 365 offers, and leaves the rest out",
    devices="KMail; E-MailRelay; relays that pass on what they were given; Cloudflare; Postfix",
    doubt="Office 365 takes the parameters of what it offers (SIZE, BODY, SMTPUTF8, DSN); what it says to others was "
    "not seen",
    sources=(
        "aio-libs/aiosmtpd#367",
        "ProtonMail/proton-bridge#46",
        "hmailserver/hmailserver#164",
        "emersion/go-smtp#95",
        "cosullivan/SmtpServer#164",
    ),
)
def mail_params_unsolicited(session: Session) -> Iterator[Evidence]:
    """Such parameters belong to extensions, and are for servers that list these. Some servers refuse the whole command
    for one that they do not know."""
    for event, name, path in _paths(session):
        offered = next((g.offers for g in reversed(session.greetings) if g.event < event), {})
        for parameter in path.parameters:
            key = parameter.partition("=")[0].upper()
            if _EXTENSION.get(key) not in offered:
                says = said("{command} has the parameter {parameter}", command=name, parameter=quoted(parameter))
                yield Evidence(event, says)


_EXTENSION = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8"}
"""Parameters that say something of the message, by the extension that allows them (RFC 1870, 6152, 6531)."""


@rule(
    "The size that is announced is not that of the message",
    fix={
        "any": "Nothing has to be done. If a large scan is refused before it is sent, the announced size is what "
        "counts: lower the resolution.",
    },
    repair="the relay announces the size of what it sends",
    devices="devices that announce the size of the scan before it is turned into base64, which makes it a third "
    "larger; proxies that change mail",
    sources=("gematik/api-kim#40", "RFC 1870 6.1"),
)
def size_param_wrong(session: Session) -> Iterator[Evidence]:
    """Office 365 looks at the announced size when it answers MAIL FROM, and at the real one after the message, and
    minds only where one is beyond its limit."""
    for envelope in session.envelopes:
        told = envelope.path.parameter("SIZE") or ""
        message = envelope.message
        if not told.isdecimal() or message is None or message.body.end == "cut" or message.body.refused:
            continue
        if message.body.purged and not message.body.size:
            continue  # it is not known
        announced, size = int(told[:18]), message.body.size
        if size > announced * 1.1 + ROUGHLY or announced > size * 2 + ROUGHLY:
            says = said("SIZE={announced:,} was announced, and {size:,} octets came", announced=announced, size=size)
            yield Evidence(envelope.event, says)


ROUGHLY = 1024
"""Octets by which an announced size may differ: it is an estimate (RFC 1870 6.1), without doubled dots and end mark."""


@rule(
    "An address has characters beyond ASCII",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.UTF8_ADDRESS),
    fix={
        "any": "Use unaccented letters in addresses, and in the device's or camera's name where that becomes a part of "
        "its address.",
    },
    devices="cameras whose name becomes the sender (homebridge-camera-ui); address books with umlauts",
    sources=("seydx/homebridge-camera-ui#355", "RFC 6531 3.4"),
)
def utf8_address(session: Session) -> Iterator[Evidence]:
    """Letters with accents are for mail that is marked SMTPUTF8. Unmarked, the address is a bad one."""
    for event, name, path in _paths(session):
        if any(not address.isascii() for address in path.addresses) and not _is_international(session, event):
            says = said("{command} has {address}, and no SMTPUTF8 was said", command=name, address=quoted(path.address))
            yield Evidence(event, says)


def _is_international(session: Session, event: int) -> bool:
    """Whether SMTPUTF8 is said in the MAIL that an event belongs to."""
    envelope = next((e for e in reversed(session.envelopes) if e.event <= event), None)
    return envelope is not None and envelope.path.parameter("SMTPUTF8") is not None


def _paths(session: Session) -> Iterator[tuple[int, str, Path]]:
    """The path of every MAIL and RCPT, with its event and what stands before it."""
    for envelope in session.envelopes:
        yield envelope.event, "MAIL FROM", envelope.path
        for recipient in envelope.recipients:
            yield recipient.event, "RCPT TO", recipient.path
