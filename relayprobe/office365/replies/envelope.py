"""Sender, size and recipients: MAIL FROM and RCPT TO."""

from __future__ import annotations

from relayprobe.office365 import sources
from relayprobe.office365.replies.answer import AT_MX, HVE, ON_SUBMISSION, Answer

_IPV4 = "Use IPv4 towards the MX endpoint."
_DELIST = "Have the site's public address taken off the list at check.spamhaus.org."

# MAIL FROM

HVE_SENDER = Answer(
    None,
    "5.7.62",
    "",
    "mail",
    "The address of MAIL FROM is not that of the High Volume Email account.",
    sources.HVE_TESTS,
    "2026-08",
    modes=ON_SUBMISSION,
    fix="Enter the account's own address as the sender, or let a relay write it.",
    only_at=HVE,
)
NOT_HVE_ACCOUNT = Answer(
    None,
    "5.2.240",
    "",
    "mail",
    "The login is not a High Volume Email account.",
    sources.HVE_TESTS,
    "2026-08",
    modes=ON_SUBMISSION,
    fix="Log in with the High Volume Email account, or use smtp.office365.com for this mailbox.",
    retry="hold",
    only_at=HVE,
)
MESSAGE_TOO_LARGE = Answer(
    552,
    "5.3.4",
    "Message size exceeds fixed maximum message size",
    "mail",
    "The size that MAIL FROM announces (SIZE=), or the mail itself, is above the limit of the server. Base64 makes a "
    "scan larger by a third.",
    "Microsoft's documentation of Exchange",
    "",
    doubt="the words are from documentation of Exchange; no dialogue with Office 365 shows them",
    fix="Scan with a lower resolution, in black and white, or fewer pages to a mail.",
    also=("end-of-data",),
    wordings=("Message size exceeds fixed maximum",),
)
INVALID_SENDER_ADDRESS = Answer(
    501,
    "5.1.7",
    "Invalid address",
    "mail",
    "What MAIL FROM has is no address in its form: a display name with it, angle brackets missing, blanks, letters "
    "outside ASCII. Microsoft warns of just these faults in printers.",
    f"gophish/gophish#3341; {sources.CONCURRENT}",
    "2024-01-24",
    fix="Put the address alone into the sender field, and the name into the field for the sender's name. A relay can "
    "mend the form.",
    retry="configuration",
)
IPV6_NO_PTR = Answer(
    None,
    "5.7.25",
    "",
    "mail",
    "The mail came over IPv6, from an address without a PTR record.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix=f"{_IPV4} Else give the IPv6 address a name in reverse DNS.",
    retry="configuration",
    also=("rcpt", "end-of-data"),
)
IPV6_UNSIGNED = Answer(
    None,
    "4.7.26",
    "",
    "mail",
    "The mail came over IPv6 and passes neither SPF nor DKIM.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix=f"{_IPV4} Else put the IPv6 address into the domain's SPF record.",
    retry="configuration",
    also=("rcpt", "end-of-data"),
)
IPV6_TOO_MANY = Answer(
    None,
    "5.7.508",
    "",
    "mail",
    "Too many mails came over IPv6 from this network.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix=_IPV4,
    retry="stop-hours",
    also=("rcpt", "end-of-data"),
)
IPV6_REFUSED = Answer(
    None,
    "5.7.510",
    "",
    "mail",
    "The recipient's domain takes no mail over IPv6.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix=_IPV4,
    retry="configuration",
    also=("rcpt", "end-of-data"),
)

# RCPT TO

INVALID_RECIPIENT_ADDRESS = Answer(
    501,
    "5.1.3",
    "Invalid address",
    "rcpt",
    "What RCPT TO has is no address in its form: two addresses in one, angle brackets missing, blanks, letters outside "
    "ASCII.",
    f"{sources.FIELD_MANUAL}; {sources.CONCURRENT}",
    "2025-02-10",
    fix="One address to a field or a line of the address book, without a name and in ASCII. A relay can mend the form.",
)
UTF8_ADDRESS = Answer(
    550,
    "5.6.7",
    "",
    "rcpt",
    "An address has letters outside ASCII, and the mail was not announced as such (SMTPUTF8).",
    "seydx/homebridge-camera-ui#355 for the address; for the code none",
    "",
    doubt="no public source shows that Office 365 gives this code here",
    fix="ASCII alone in addresses, and in the device names that become addresses.",
    also=("mail", "later"),
)
RELAY_DENIED = Answer(
    550,
    "5.7.64",
    "TenantAttribution; Relay Access Denied",
    "rcpt",
    "The recipient is not in a domain of this organization, and no connector knows the sending address: there is none, "
    "the public address has changed, or the certificate has, or its chain is not sent whole.",
    f"MicrosoftDocs/OfficeDocs-Exchange#2651; {sources.RELAY_DENIED}",
    "2024-01-24",
    modes=AT_MX,
    fix="Direct Send reaches recipients inside alone: use a connector or client submission for others. Connector: "
    "compare its address with the site's public address of today, or its name with the certificate, and send the "
    "whole chain.",
    retry="configuration",
    wordings=("TenantAttribution",),
)
RELAY_DENIED_SENDER = Answer(
    550,
    "5.7.64",
    "Relay Access Denied ATTR36",
    "rcpt",
    "A connector knows the sending address, but neither the sender's domain nor that of the certificate is an accepted "
    "domain of the organization.",
    sources.CERTIFICATE_RELAY,
    "2024-01-24",
    modes=("connector",),
    fix="Enter a sender in an accepted domain; the address of MAIL FROM counts, not From.",
    retry="configuration",
    wordings=("ATTR36",),
)
WRONG_REGION = Answer(
    451,
    "4.4.62",
    "Mail sent to the wrong Office 365 region. ATTR35",
    "rcpt",
    "The server that the device has is not the MX host of the domain: another name, an address in numbers, a name that "
    "is no longer in use; or it relays without a connector. The code is a temporary one, the fault is not.",
    sources.WRONG_REGION,
    "2022-03-31",
    modes=AT_MX,
    fix="Enter the MX host as DNS has it for the domain, by its name; for recipients outside make a connector.",
    retry="configuration",
    wordings=("wrong Office 365 region", "ATTR35"),
)
NO_MAIL_SUBSCRIPTION = Answer(
    550,
    "4.4.4",
    "Mail received as unauthenticated, incoming to a recipient domain configured in a hosted tenant which has no "
    "mail-enabled subscriptions. ATTR5",
    "rcpt",
    "The organization of the recipient's domain has no licence that has mail in it.",
    "Microsoft on in-region routing errors (a public copy)",
    "",
    modes=AT_MX,
    fix="Give the organization a licence with mail, or correct the recipient's domain.",
    retry="configuration",
    wordings=("no mail-enabled subscriptions",),
)
RECIPIENT_REJECTED = Answer(
    550,
    "5.4.1",
    "Recipient address rejected: Access denied.",
    "rcpt",
    "The recipient does not exist in this domain. The text ends in AS(201806281). A new address may take up to 24 "
    "hours to be known.",
    f"{sources.RECIPIENT_REJECTED}; zone-eu/zone-mta#214",
    "2026-10-02",
    doubt="it has been seen for recipients outside, too, where there was no right to relay",
    modes=AT_MX,
    fix="Correct the recipient's address. For recipients outside use a connector or client submission.",
    wordings=("Recipient address rejected: Access denied", "AS(201806281)"),
)
ALL_RECIPIENTS_REJECTED = Answer(
    550,
    "5.4.1",
    "All recipient addresses rejected : Access denied",
    "rcpt",
    "None of the recipients exists in this domain.",
    sources.FIELD_MANUAL,
    "2025-02-10",
    modes=AT_MX,
    fix="Correct the recipients' addresses.",
    also=("end-of-data",),
    wordings=("All recipient addresses rejected",),
)
DOMAIN_NOT_ACCEPTED = Answer(
    None,
    "5.4.1",
    "Relay Access Denied",
    "rcpt",
    "The recipient's domain is not one that this server takes mail for.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix="Check the MX record of the recipient's domain, and that the domain is set up in the organization.",
    retry="configuration",
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
    modes=("direct-send",),
    fix="Make a connector for the site's public address or certificate, or use client submission.",
    retry="configuration",
    also=("end-of-data",),
    wordings=("Direct Send not allowed",),
)
PARTNER_CONNECTOR = Answer(
    None,
    "5.7.51",
    "TenantInboundAttribution; Rejecting",
    "rcpt",
    "A connector of the organization takes mail of this sender only from certain addresses or with a certain "
    "certificate, and the device's are not among them.",
    "public notes on tests of the MX endpoint",
    "",
    doubt="from secondary sources; no log shows at which stage it comes",
    modes=AT_MX,
    fix="Add the site's public address to that connector (RestrictDomainsToIPAddresses or "
    "RestrictDomainsToCertificate).",
    retry="configuration",
    also=("end-of-data",),
)
BAD_CONNECTOR = Answer(
    550,
    "5.7.711",
    "Access denied, bad inbound connector. AS(2204)",
    "rcpt",
    "Microsoft has blocked the connector.",
    sources.DELIVERY_CODES,
    "2026",
    doubt="from a secondary source",
    modes=("connector",),
    fix="Write to Microsoft's support.",
    retry="configuration",
    wordings=("bad inbound connector", "AS(2204)"),
)
BANNED_ADDRESS = Answer(
    550,
    "5.7.606",
    "Access denied, banned sending IP",
    "rcpt",
    "The site's public address is on Microsoft's own block list.",
    f"{sources.REPLY_CODES}; {sources.FIELD_MANUAL}",
    "2025-02-10",
    modes=AT_MX,
    fix="Have the address taken off the list at https://sender.office.com/.",
    retry="configuration",
    until="5.7.649",
    wordings=("banned sending IP", "AS16012609"),
)
BANNED_SENDER_ADDRESS = Answer(
    None,
    "5.7.511",
    "",
    "rcpt",
    "The site's public address is banned by Microsoft.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix="Write to delist@microsoft.com.",
    retry="configuration",
)
ADDRESS_LISTED = Answer(
    550,
    "5.7.1",
    "Service unavailable, Client host",
    "rcpt",
    "The site's public address is on a block list of Spamhaus. The text ends in (AS16012611).",
    sources.FIELD_MANUAL,
    "2025-02-10",
    modes=AT_MX,
    fix=_DELIST,
    retry="configuration",
    wordings=("blocked using Spamhaus", "AS16012611"),
)
SENDER_DOMAIN_LISTED = Answer(
    550,
    "5.7.1",
    "Service unavailable, MailFrom domain is listed in Spamhaus.",
    "rcpt",
    "The domain of the sender is on a block list of Spamhaus. The text ends in (S8002).",
    sources.FIELD_MANUAL,
    "2025-02-10",
    modes=AT_MX,
    fix="Have the domain taken off the list at check.spamhaus.org.",
    retry="configuration",
    wordings=("MailFrom domain is listed", "(S8002)"),
)
CUSTOMER_ALLOW_LIST = Answer(
    None,
    "5.7.1",
    "Unable To Relay: Blocked by Customer Allow list",
    "rcpt",
    "The site's public address is on the connector and on the organization's list of allowed addresses, and on a block "
    "list besides.",
    sources.CUSTOMER_ALLOW_LIST,
    "2024-01-24",
    modes=AT_MX,
    fix="Take the address off the list of allowed ones: the reply then names the block list.",
    retry="configuration",
    wordings=("Blocked by Customer Allow",),
)
CUSTOMER_BLOCK_LIST = Answer(
    None,
    "5.7.507",
    "",
    "rcpt",
    "The recipient's organization blocks the sending address by its own list.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix="Ask the recipient's administrator to take the address off that list.",
)
CUSTOMER_BLOCK_LIST_SENDER = Answer(
    None,
    "5.7.513",
    "using Customer Block list (AS16012607)",
    "rcpt",
    "The recipient's organization blocks the sending address by its own list.",
    sources.REPLY_CODES,
    "2024-03-08",
    modes=AT_MX,
    fix="Ask the recipient's administrator to take the address off that list.",
    wordings=("using Customer Block list", "AS16012607"),
)
RECIPIENT_BANNED = Answer(
    None,
    "5.7.504",
    "",
    "rcpt",
    "The recipient's address is bad or banned.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Correct the recipient's address.",
    also=("later",),
)
RECIPIENT_BANNED_TOO = Answer(
    None,
    "5.7.505",
    "",
    "rcpt",
    "The recipient's address is bad or banned.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Correct the recipient's address.",
    also=("later",),
)
RECIPIENT_UNKNOWN = Answer(
    None,
    "5.1.1",
    "",
    "rcpt",
    "The recipient's address is a bad one.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Correct the recipient's address.",
    also=("later",),
)
RECIPIENT_NOT_FOUND = Answer(
    None,
    "5.1.10",
    "",
    "rcpt",
    "The recipient's address is a bad one.",
    sources.REPLY_CODES,
    "2024-03-08",
    fix="Correct the recipient's address.",
    also=("later",),
)
TOO_MANY_RECIPIENTS = Answer(
    452,
    "4.5.3",
    "Too many recipients",
    "rcpt",
    "At the MX endpoint: more than 200 recipients of one domain in a mail. At client submission: more than the mailbox "
    "may write to in one mail, 500 unless it is set otherwise. Those before are taken, the rest are not.",
    f"{sources.REPLY_CODES}; emersion/go-smtp#195",
    "2024-03-08",
    doubt="that client submission answers so at the mailbox's limit is inferred",
    fix="Send to fewer people at once, or to a group. What is left can be sent again.",
    retry="retry",
)
SERVER_BUSY = Answer(
    451,
    "4.7.500",
    "Server busy. Please try again later",
    "rcpt",
    "The service slows the site's public address down, for it is new or has sent more than it used to.",
    f"{sources.REPLY_CODES}; {sources.FIELD_MANUAL}; {sources.THROTTLED}",
    "2025-02-10",
    modes=AT_MX,
    fix="Send more slowly, and again later; a connector for the address helps.",
    retry="retry",
    until="4.7.699",
    also=("mail", "end-of-data"),
    wordings=("AS77712344", "Server busy. Please try again later from"),
)
ACCESS_DENIED_FOR_NOW = Answer(
    451,
    "4.7.550",
    "Access denied, please try again later",
    "rcpt",
    "The service puts off mail of an address that is new to it or looks changed.",
    f"{sources.REPLY_CODES}; {sources.FIELD_MANUAL}; {sources.THROTTLED}",
    "2025-02-10",
    modes=AT_MX,
    fix="Send again later; a connector for the address helps.",
    retry="retry",
    also=("mail", "end-of-data"),
)
THROTTLED_TOO = Answer(
    451,
    "4.7.850",
    "",
    "rcpt",
    "The service slows the site's public address down.",
    f"{sources.REPLY_CODES}; {sources.THROTTLED}",
    "2024-03-08",
    modes=AT_MX,
    fix="Send more slowly, and again later; a connector for the address helps.",
    retry="retry",
    until="4.7.899",
    also=("mail", "end-of-data"),
)
CONSUMER_THROTTLED = Answer(
    None,
    "4.7.650",
    "",
    "rcpt",
    "Microsoft's consumer mail (outlook.com, hotmail.com) slows the site's public address down.",
    f"{sources.REPLY_CODES}; {sources.THROTTLED}",
    "2024-03-08",
    modes=AT_MX,
    fix="Send more slowly, and again later.",
    retry="retry",
    until="4.7.651",
    also=("mail", "end-of-data"),
)


def _authenticated_only(enhanced: str) -> Answer:
    return Answer(
        None,
        enhanced,
        "",
        "rcpt",
        "The recipient, or a group among the recipients, takes mail only from senders who have logged in.",
        sources.REPLY_CODES,
        "2024-03-08",
        modes=("direct-send",),
        fix="Use client submission or a connector; or let the group or mailbox take mail from people outside.",
        also=("later",),
    )


AUTHENTICATED_ONLY_133 = _authenticated_only("5.7.133")
AUTHENTICATED_ONLY_134 = _authenticated_only("5.7.134")
AUTHENTICATED_ONLY_135 = _authenticated_only("5.7.135")
AUTHENTICATED_ONLY_136 = _authenticated_only("5.7.136")
AUTHENTICATED_ONLY_12 = _authenticated_only("5.7.12")
AUTHENTICATED_ONLY_124 = _authenticated_only("5.7.124")
