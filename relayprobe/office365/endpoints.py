"""Where mail goes in each mode, and on what terms.

The MX host of a domain is looked up, never built: names under `mail.protection.outlook.com` follow the domain's, but
those under `mx.microsoft`, which new domains get, do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relayprobe.office365 import sources
from relayprobe.office365.modes import Mode, Way


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way in. `host` is None for the MX host of the sender's domain. Text is as a person would say it."""

    mode: Mode
    host: str | None
    port: int
    security: str
    login: str
    sender: str
    recipients: str
    limits: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that changes, or may differ from site to site: what, who says so, and as of when."""

    text: str
    source: str
    seen: str


ENDPOINTS: Mapping[Mode, Endpoint] = {
    "submission": Endpoint(
        mode="submission",
        host="smtp.office365.com",
        port=587,  # 25 as well; Microsoft's list of addresses for firewalls has 587 only
        security="STARTTLS, TLS 1.2 or newer",
        login="the mailbox's full address, with its password (AUTH LOGIN) or with OAuth (AUTH XOAUTH2)",
        sender="the login's own address, or one that it has the Send As permission for; the From header likewise",
        recipients="anyone",
        limits=(
            "30 messages a minute",
            "3 connections at once",
            "10,000 recipients a day",
            "500 recipients a message, unless the mailbox is set otherwise",
        ),
        source=f"{sources.SETUP}; {sources.PRINTERS}; {sources.SENDING_LIMITS}; {sources.CONCURRENT}",
    ),
    "direct-send": Endpoint(
        mode="direct-send",
        host=None,
        port=25,
        security="STARTTLS with TLS 1.2 or newer, or none",
        login="none: AUTH is refused",
        sender="any address in an accepted domain; it need not exist",
        recipients="the organization's own only",
        limits=("3,600 messages an hour to one recipient",),
        source=f"{sources.SETUP}; {sources.SENDING_LIMITS}",
    ),
    "connector": Endpoint(
        mode="connector",
        host=None,
        port=25,
        security="STARTTLS with TLS 1.2 or newer, or none; a connector that goes by certificate needs TLS",
        login="none: AUTH is refused; the connector goes by public address or certificate",
        sender="any address in an accepted domain",
        recipients="anyone",
        limits=("reasonable use, not stated in numbers",),
        source=f"{sources.SETUP}; {sources.RELAY_RULES}",
    ),
}

VARIANTS: Mapping[Way, Endpoint] = {
    "high-volume-email": Endpoint(
        mode="submission",
        host="smtp.hve.mx.microsoft",  # the older smtp-hve.office365.com still works, and is to be withdrawn
        port=587,
        security="STARTTLS, TLS 1.2 or newer",
        login="the HVE account's address, with its password (until September 2028, as promised) or with OAuth",
        sender="the HVE account itself, in MAIL FROM and in From",
        recipients="the organization's own only",
        limits=("50 recipients a message", "10 MB a message", "100 accounts"),
        source=f"{sources.HVE}; {sources.HVE_REPLIES}; {sources.HVE_INTERNAL}",
    ),
    "azure-communication-services": Endpoint(
        mode="submission",
        host="smtp.azurecomm.net",
        port=587,  # 25 as well
        security="STARTTLS, TLS 1.2 or newer",
        login="resource|application id|tenant id, with the application's secret as the password (AUTH LOGIN)",
        sender="an address that is set up on the verified domain",
        recipients="anyone",
        limits=("30 messages a minute and 100 an hour, more on request", "10 MB a message", "50 recipients a message"),
        source=sources.ACS,
    ),
}
"""Endpoints that take client submission on other terms."""

HVE_LARGEST = ACS_LARGEST = 10_000_000
HVE_RECIPIENTS = ACS_RECIPIENTS = 50

BASIC_AUTH_ENDS = Notice(
    "Microsoft switches Basic authentication (user name and password) for client submission off by default at the end "
    "of December 2026. An administrator can switch it on again; when it goes for good will be announced in the second "
    "half of 2027. OAuth stays.",
    sources.BASIC_AUTH,
    "2026-01-27",
)
DIRECT_SEND_MAY_BE_OFF = Notice(
    "An organization can refuse Direct Send (RejectDirectSend; the answer is then 550 5.7.68), and Microsoft has "
    "announced, without a date, that it will be refused by default. What is taken is filtered like any mail from the "
    "internet: put the site's public address into the domain's SPF record.",
    sources.DIRECT_SEND,
    "2026-03-17",
)
HVE_TERMS = Notice(
    "High Volume Email is for the organization's own people only, since 2025. An account without a billing policy "
    "does not send. Its password login is promised until September 2028.",
    f"{sources.HVE_INTERNAL}; {sources.HVE}",
    "2026-05-21",
)
ACS_TERMS = Notice(
    "Azure Communication Services needs an Azure resource with a verified domain. Unless more is asked for, it takes "
    "30 messages a minute, 100 an hour, and 50 recipients a message.",
    sources.ACS,
    "2025-11-30",
)
LEGACY_TLS = Notice(
    "There is an endpoint for old TLS, smtp-legacy.office365.com, with AllowLegacyTLSClients. Nothing should be built "
    "on it: the same for POP and IMAP was ended from July 2026.",
    "Exchange team blog: Deprecating Legacy TLS and Endpoints for POP and IMAP in Exchange Online (2026-04-27)",
    "2026-04-27",
)
CONNECTOR_TERMS = Notice(
    "The connector (in the Exchange admin centre: Mail flow > Connectors, from your organization's email server) goes "
    "by the site's public address, which must be a fixed one and nobody else's, or by a certificate; and the sender's "
    "domain or the certificate's must be an accepted domain. Put the public address into the domain's SPF record.",
    f"{sources.RELAY_RULES}; {sources.SHARED_ADDRESSES}",
    "2026-02-04",
)
MX_IS_LOOKED_UP = Notice(
    "The MX host is looked up, not guessed: new domains have names under mx.microsoft that do not follow from the "
    "domain's own.",
    sources.MX_NAMES,
    "2026-02-02",
)
