"""The recipients: who they are, how they are written, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import AT_MX, MODES
from relayprobe.rules.addresses import outsiders
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.tongue import said
from relayprobe.wire.session import Session, domain_of

MOST, MOST_OF_A_DOMAIN = 500, 200
"""Recipients of one message: in client submission, unless the mailbox is set otherwise; of one domain at the MX."""


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
            says = said("{address} is in none of the accepted domains", address=quoted(address))
            yield Evidence(recipient.event, says)
        else:
            says = said(
                "{address} is not in {domain}, which is taken to be your only domain, for none was told",
                address=quoted(address),
                domain=domain,
            )
            yield Evidence(recipient.event, says, at_most="warning", modes=("direct-send",))


@rule(
    "Several recipients stand in one RCPT TO",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_RECIPIENT_ADDRESS),
    fix={
        "any": "Enter one address in each field or line of the device. Where there is one field only, enter a "
        "distribution group.",
    },
    repair="the relay makes a recipient of each address",
    devices="dma (DragonFly's mail agent); expected of devices with one field for several addresses (HP 3800 and ICT's "
    "power distribution units take commas or semicolons there)",
    doubt="the reply is that to a bad recipient; the words were not seen for a list",
    sources=("corecode/dma#73", "HP 3800 guide p. 40", "ICT DIN PDU manual p. 19", "RFC 5321 4.1.1.3"),
)
def rcpt_list_in_one_command(session: Session) -> Iterator[Evidence]:
    """RCPT TO takes one address. A list is a bad address for Office 365, and nobody on it gets the mail."""
    for envelope in session.envelopes:
        for recipient in envelope.recipients:
            if len(recipient.path.addresses) > 1:
                says = said(
                    "{count} addresses stand in one RCPT TO: {text}",
                    count=len(recipient.path.addresses),
                    text=quoted(recipient.path.text),
                )
                yield Evidence(recipient.event, says)


@rule(
    "A recipient has no domain",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_RECIPIENT_ADDRESS),
    fix={
        "any": "Enter the full address, as in anna@contoso.com. On Linux, /etc/aliases or the setting `aliases` of "
        "msmtp says who `root` is.",
    },
    repair="the relay adds its own domain, or the address that it was told",
    devices="cron with msmtp or sSMTP; appliances that write to root or admin",
    doubt="the reply is that to a bad recipient; the words were not seen for this",
    sources=(
        "sunweaver/nextcloud-high-performance-backend-setup#61",
        "microsoft/oxa-tools#440",
        "RFC 5321 2.3.5",
    ),
)
def rcpt_no_domain(session: Session) -> Iterator[Evidence]:
    """Office 365 cannot know whose `root` is meant."""
    for envelope in session.envelopes:
        for recipient in envelope.recipients:
            address = recipient.path.address
            if address and "@" not in address and address.lower() != "postmaster":  # RFC 5321 4.1.1.3
                yield Evidence(recipient.event, said("the recipient is {address}", address=quoted(address)))


@rule(
    "A recipient stands in quotes, or at an address of the network",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_RECIPIENT_ADDRESS),
    fix={
        "any": "Take the quotes off the address in the device's address book, and enter a domain, not an address of "
        "the network, behind the @.",
    },
    repair="the relay takes the quotes off",
    devices="address books that were exported from Outlook; APC, whose manual allows jsmith@[192.0.2.1]",
    doubt="the reply is that to a bad recipient; the words were not seen for this",
    sources=("Postfix manual, smtpd_command_filter", "APC AP44xx manual p. 108"),
)
def rcpt_quoted_or_ip(session: Session) -> Iterator[Evidence]:
    """The quotes become a part of the address, and no mailbox has such a one; and Office 365 takes mail for domains,
    not for an address of the network."""
    for envelope in session.envelopes:
        for recipient in envelope.recipients:
            for address in recipient.path.addresses:
                if address[:1] in ("'", '"') and address[-1:] == address[:1] and len(address) > 1:
                    says = said("the recipient is {address}, quotes included", address=quoted(address))
                    yield Evidence(recipient.event, says)
                elif _is_of_the_network(domain_of(address)):
                    says = said("the recipient is {address}, at an address of the network", address=quoted(address))
                    yield Evidence(recipient.event, says)


def _is_of_the_network(domain: str) -> bool:
    if domain.startswith("["):
        return True
    if not domain[-1:].isdigit():
        return False
    try:
        ip_address(domain)
    except ValueError:
        return False
    return True


@rule(
    "One mail has more recipients than Office 365 takes",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.TOO_MANY_RECIPIENTS),
    fix={
        "submission": "Write to a distribution group instead of single addresses, or have the mailbox's limit raised "
        "(up to 1000). A day has room for 10,000 recipients.",
        "any": "Write to a distribution group instead of single addresses.",
    },
    repair="the relay splits the recipients over several mails",
    devices="programs with JavaMail; forums; newsletters",
    sources=(
        "jakartaee/mail-api#20",
        "emersion/go-smtp#195",
        "MicrosoftDocs/OfficeDocs-Exchange#2729",
        sources.SENDING_LIMITS,
        sources.REPLY_CODES,
    ),
)
def too_many_recipients(session: Session) -> Iterator[Evidence]:
    """Client submission takes 500 recipients of one mail, unless the mailbox is set otherwise; the MX endpoint 200 of
    one domain. The others are put off, and many devices drop them: the mail is partly sent."""
    for envelope in session.envelopes:
        refused = next((r for r in envelope.recipients if r.reply and r.reply.code == 452), None)
        count = len(envelope.recipients)
        if count > MOST:
            says = said("one mail has {count} recipients", count=count)
            yield Evidence(envelope.recipients[MOST].event, says, modes=("submission",))
        elif refused is not None:
            says = said("a recipient was put off with {reply}", reply=quoted(refused.reply.text))  # type: ignore[union-attr]
            yield Evidence(refused.event, says)
        of_a_domain = Counter(domain_of(r.path.address) for r in envelope.recipients)
        domain, most = max(of_a_domain.items(), key=lambda one: one[1], default=("", 0))
        if most > MOST_OF_A_DOMAIN:
            says = said("one mail has {count} recipients in {domain}", count=most, domain=domain)
            yield Evidence(envelope.recipients[-1].event, says, modes=AT_MX)
