"""The envelope: who the device says it sends as, and to whom."""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.wire.session import AuthAttempt, Envelope, Recipient, Session, domain_of

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
            says = f"the login is {quoted(login.user)}, and MAIL FROM says {quoted(envelope.sender)}"
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
            yield Evidence(envelope.event, "MAIL FROM names no sender")


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
            yield Evidence(envelope.event, f"the sender is {quoted(sender)}: {factory}")
        elif accepted is False and not domain_of(sender).endswith(".onmicrosoft.com"):
            login = login_of(session, envelope)
            says = (
                f"the sender is {quoted(sender)}, and {domain_of(sender)} is none of the accepted domains of this site"
            )
            own = bool(
                login and login.user and login.user.lower() == sender.lower()
            )  # then it is the list that is short
            yield Evidence(envelope.event, says, at_most="note" if own else "error")


@rule(
    "The mail goes to somebody outside",
    blocks=("direct-send",),
    answer={"direct-send": replies.RELAY_DENIED},
    fix={
        "direct-send": "Use client submission (smtp.office365.com, port 587, STARTTLS, with a login), or a connector "
        "that knows your public address. Direct Send reaches your own domains only.",
        "connector": "See to it that the connector is there and on, and knows the public address that you send from: "
        "it is what makes the difference to Direct Send.",
        "submission": "Nothing is needed in this mode: a login may write to anyone.",
    },
    repair="the relay sends by client submission or through a connector",
    devices="all that are set up for Direct Send",
    sources=(
        "MicrosoftDocs/OfficeDocs-Exchange#2651",
        sources.RELAY_DENIED,
        sources.SETUP,
    ),
)
def external_recipient_direct_send(session: Session) -> Iterator[Evidence]:
    """By Direct Send mail comes in as from anybody on the internet, and so it is taken for the organization's own
    people and nobody else. For others the MX endpoint wants a connector that knows who is sending."""
    for recipient, address, domain in outsiders(session):
        if session.site.domains:
            yield Evidence(recipient.event, f"{quoted(address)} is in none of the accepted domains")
        else:
            says = f"{quoted(address)} is not in {domain}, which is taken to be your only domain, for none was told"
            yield Evidence(recipient.event, says, at_most="warning", modes=("direct-send",))


def login_of(session: Session, envelope: Envelope) -> AuthAttempt | None:
    """The login under which a mail was sent, or was meant to be sent where it was refused."""
    return envelope.auth or session.login


def same_mailbox(user: str, address: str) -> bool | None:
    """Whether a login and an address are the same mailbox's; None where that cannot be told.

    A login without a domain can be compared by nothing but its name, one at onmicrosoft.com is often that of a
    mailbox with a better address, and one with bars is an application's (Azure Communication Services)."""
    if user == address:
        return True
    user, address = user.strip().casefold(), address.strip().casefold()
    if user == address:
        return True
    if "@" not in user:
        return None
    name, _, domain = user.rpartition("@")
    if domain.endswith(".onmicrosoft.com") and name == address.rpartition("@")[0]:
        return None
    return False


_OF_NOBODY = (".local", ".localdomain", ".lan", ".internal", ".home", ".home.arpa", ".localhost")
"""Endings of names that are good within a network only (RFC 6762, RFC 8375, and custom)."""

_OF_BOOKS = (".example", ".test", ".invalid")
_BOOK_DOMAINS = frozenset(("example.com", "example.net", "example.org"))
"""Names for manuals and tests (RFC 2606)."""


def factory_setting(address: str) -> str | None:
    """What makes an address one that nobody has chosen, in words; None where nothing does."""
    domain = domain_of(address)
    if not domain:
        return "it has no domain"
    if domain == "email.com" and address[:3].lower() == "npi":
        return "an HP device's setting from the factory"
    if domain.startswith("["):
        return "an address of the network stands in place of a domain"
    if "." not in domain:
        return f"{domain} is the name of a computer, and not a domain"
    if domain in _BOOK_DOMAINS or domain.endswith(_OF_BOOKS):
        return f"{domain} is a name for examples"
    if domain.endswith(_OF_NOBODY):
        return f"{domain} is known within your network only"
    return None


def home_domain(session: Session) -> str:
    """The site's own domain: as told, else that of the login or of a sender, where it may be one; else empty."""
    if session.site.domains:
        return session.site.domains[0]
    login = session.login.user if session.login else None
    named = [address for address in (login, *(e.sender for e in session.envelopes)) if address and "@" in address]
    own = [domain_of(address) for address in named if not factory_setting(address)]
    return next((domain for domain in own if not domain.endswith(".onmicrosoft.com")), own[0] if own else "")


def outsiders(session: Session) -> Iterator[tuple[Recipient, str, str]]:
    """The recipients who are not the organization's own: each with its address, and the domain it was compared with."""
    if not session.envelopes:
        return
    home = home_domain(session)
    inside = session.site.domains or (home,)
    if not home:
        return
    for envelope in session.envelopes:
        for recipient in envelope.recipients:
            for address in recipient.path.addresses:
                if "@" in address and domain_of(address) not in inside:
                    yield recipient, address, home
