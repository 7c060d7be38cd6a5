"""The decision table: which ways of sending are left to a device straight to Microsoft, and what a relay does instead.

A case is what the dialogue shows and what the administrator told; each row closes the ways that its condition rules
out, and says why. What no row closes stays open, in the order in which it is to be recommended. The rows and their
numbers are those of the collected facts on Office 365, as of 2026-11; limits and dates have their sources in
office365/endpoints.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from relayprobe.advice.case import Case
from relayprobe.office365 import sources
from relayprobe.office365.endpoints import ACS_LARGEST, ACS_RECIPIENTS
from relayprobe.office365.modes import Way
from relayprobe.tongue import Said, joined, said

A_MINUTE, AT_ONCE, A_MESSAGE = 30, 3, 500
"""Messages a minute, connections at once, and recipients of a message that a mailbox may have."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: when it applies, the ways that it closes, what it says of the device and of a relay in between.

    `settable`: a setting of the device may do away with the condition. `block`: what a verdict calls it where no rule
    says it, with `do`, what removes it, and `source`, where that is from.
    """

    number: int
    applies: Callable[[Case], bool]
    closes: frozenset[Way]
    says: str
    relay: str
    settable: Callable[[Case], bool] = lambda case: False
    block: str = ""
    do: str = ""
    source: str = ""


ON_587: frozenset[Way] = frozenset(
    ("submission", "submission-oauth", "high-volume-email", "azure-communication-services")
)
AT_25: frozenset[Way] = frozenset(("direct-send", "connector"))
STRAIGHT: frozenset[Way] = ON_587 | AT_25

_WITH_OAUTH = said("client submission with OAuth")
_BY_OAUTH = said("it sends by {way}", way=_WITH_OAUTH)


def _fits(case: Case) -> bool:
    """Rows 3 to 5: TLS 1.2, AUTH LOGIN, and one sender, the login itself."""
    return case.tls == "modern" and case.login == "LOGIN" and case.senders == "login"


def _always(case: Case) -> bool:
    return True


def _old(case: Case) -> bool:
    return case.tls in ("none", "old")


def _without(*ways: Way) -> frozenset[Way]:
    return STRAIGHT - frozenset(ways)


ROWS: tuple[Row, ...] = (
    Row(
        1,
        lambda case: case.accepted is False,
        STRAIGHT,
        "The sender is in none of your accepted domains, so Office 365 takes its mail in no way.",
        "it writes an accepted sender, and the device's into Reply-To; or it uses a connector with a certificate",
        settable=_always,
    ),
    Row(
        2,
        lambda case: case.tls == "modern" and case.login == "XOAUTH2",
        frozenset(("submission", "azure-communication-services")),
        "The device signs in with OAuth by itself: client submission with OAuth suits it, and stays.",
        "it passes it through",
    ),
    Row(
        3,
        lambda case: _fits(case) and case.basic_auth,
        frozenset(("submission-oauth",)),
        "The device does what client submission asks for. Its password login stops by default at the end of December "
        "2026.",
        said("it sends by {way}; the device keeps its password towards the relay only", way=_WITH_OAUTH),
    ),
    Row(
        4,
        lambda case: _fits(case) and not case.basic_auth and case.recipients != "outside",
        frozenset(("submission", "submission-oauth")),
        "Passwords are switched off for client submission. High Volume Email takes its own, for your own people.",
        said("it sends by {way}, or High Volume Email", way=_WITH_OAUTH),
    ),
    Row(
        5,
        lambda case: _fits(case) and not case.basic_auth and case.recipients == "outside",
        frozenset(("submission", "submission-oauth", "high-volume-email", "direct-send")),
        "Passwords are switched off for client submission, and mail goes outside: a connector with a fixed address, or "
        "Azure Communication Services.",
        _BY_OAUTH,
    ),
    Row(
        6,
        lambda case: case.login == "other",
        ON_587,
        "Port 587 takes neither PLAIN nor CRAM-MD5 nor NTLM; the MX endpoint takes mail without a login.",
        said("it takes the device's login, and sends by {way}", way=_WITH_OAUTH),
    ),
    Row(
        7,
        lambda case: _old(case) and case.recipients != "outside",
        ON_587,
        "Without TLS 1.2 only the MX endpoint is left, with TLS switched off in the device: Direct Send, if the "
        "organization does not refuse it, with the site's fixed address in SPF.",
        "it sends in any way that logs in",
        settable=lambda case: case.tls == "none",  # it may be no more than switched off
    ),
    Row(
        8,
        lambda case: _old(case) and case.recipients == "outside",
        ON_587 | {"direct-send"},
        "Without TLS 1.2, and with mail to others, only a connector by address is left, with TLS switched off.",
        _BY_OAUTH,
        settable=lambda case: case.tls == "none",  # it may be no more than switched off
    ),
    Row(
        9,
        lambda case: case.tls == "implicit",
        STRAIGHT,
        "The device begins with TLS at once, as for port 465, which Office 365 does not have.",
        "it listens with TLS at once",
        settable=_always,
    ),
    Row(
        10,
        lambda case: case.senders == "many" and case.recipients != "outside",
        ON_587,
        "Everybody sends as himself, and writes to your own people: Direct Send or a connector. High Volume Email has "
        "one fixed sender.",
        "it uses a connector; or client submission with Send As for each address, or with one sender and Reply-To",
    ),
    Row(
        11,
        lambda case: case.senders == "many" and case.recipients == "outside",
        ON_587 | {"direct-send"},
        "Everybody sends as himself, to others too: a connector, by address or by certificate.",
        "it uses a connector, or writes one sender and Reply-To",
    ),
    Row(
        12,
        lambda case: case.senders == "empty",
        _without("direct-send"),
        "The sender is empty: such a mail can only come in as from anybody on the internet, by Direct Send.",
        "it puts a sender in",
        settable=_always,
    ),
    Row(
        13,
        lambda case: case.static_ip is False,
        frozenset(("connector",)),
        "The site has no fixed address of its own: no connector can know it, and Direct Send is easily junked.",
        "it uses client submission, High Volume Email or Azure Communication Services",
        block="no-fixed-address",
        do="Get a fixed public address that nobody else has, or use a way with a login.",
        source=f"{sources.RELAY_RULES}; {sources.SHARED_ADDRESSES}",
    ),
    Row(
        14,
        lambda case: 25 in case.blocked_ports,
        AT_25,
        "Port 25 is closed at this site, so neither Direct Send nor a connector can be reached.",
        "it uses 587, too",
        block="port-25-closed",
        do="Open TCP port 25 outwards at the firewall, or ask the provider to; or use a way on port 587.",
        source=sources.SETUP,
    ),
    Row(
        15,
        lambda case: case.size > ACS_LARGEST,
        frozenset(("high-volume-email", "azure-communication-services")),
        "A message has more than 10 MB: neither High Volume Email nor Azure Communication Services takes it.",
        "it uses client submission, up to the mailbox's limit",
        block="over-10-mb",
        do="Scan at a lower resolution: a message may have 10 MB, attachments in base64 included.",
        source=f"{sources.HVE_REPLIES}; {sources.ACS}",
    ),
    Row(
        16,
        lambda case: case.in_a_minute > A_MINUTE or case.at_once > AT_ONCE,
        frozenset(("submission", "submission-oauth")),
        "More than 30 mails a minute, or three connections at once, are too much for a mailbox: High Volume Email for "
        "your own people, Azure Communication Services for others.",
        "it spreads the mails: 30 a minute, over few connections",
    ),
    Row(
        17,
        lambda case: case.most_recipients > A_MESSAGE,
        STRAIGHT,
        "A mail has more than 500 recipients. A mailbox takes 500, unless it is set to take up to 1,000.",
        "it splits it",
        settable=_always,  # a distribution group in their place
    ),
    Row(
        18,
        lambda case: bool(case.faults),
        frozenset(),
        "The device makes mistakes that Office 365 often refuses.",
        "it puts the faults right, and reports each",
        settable=_always,
    ),
    Row(
        19,
        lambda case: case.from_differs,
        ON_587,
        "The From header names another address than the login's: client submission refuses that, unless the login has "
        "the Send As permission for it.",
        "it writes the login's address, or uses a connector; DMARC looks at the header",
        settable=_always,
    ),
)
"""The rows, by their numbers."""

TERMS: tuple[Row, ...] = (
    Row(
        0,
        lambda case: case.recipients == "outside",
        frozenset(("direct-send",)),
        "Mail goes to others than your own people, whom Direct Send does not reach.",
        "",
    ),
    Row(
        0,
        lambda case: case.recipients == "outside",
        frozenset(("high-volume-email",)),
        "High Volume Email reaches your own people only.",
        "",
        block="external-recipient",
        do="Write to your own people only, or use another way: High Volume Email reaches nobody else, since 2025.",
        source=sources.HVE_INTERNAL,
    ),
    Row(
        0,
        lambda case: case.most_recipients > ACS_RECIPIENTS,
        frozenset(("high-volume-email", "azure-communication-services")),
        "A mail has more than 50 recipients: neither High Volume Email nor Azure Communication Services takes it.",
        "",
        settable=_always,
        block="over-50-recipients",
        do="Write to a distribution group: a message may have 50 recipients.",
        source=f"{sources.HVE_REPLIES}; {sources.ACS}",
    ),
    Row(
        0,
        lambda case: case.login != "XOAUTH2" and (case.login, case.senders) != ("none", "unknown"),
        frozenset(("submission-oauth",)),
        "",
        "",
        block="no-oauth",
        do="Choose OAuth 2.0 as the authentication method, where the menu has it; few devices do.",
        source=sources.OAUTH,
    ),
    Row(
        0,
        lambda case: case.login == "XOAUTH2",
        frozenset(("azure-communication-services",)),
        "",
        "",
        block="no-password",
        do="Set the authentication to user name and password: the password is an application's secret.",
        source=sources.ACS,
    ),
    Row(
        0,
        lambda case: not case.basic_auth and case.login != "XOAUTH2",
        frozenset(("submission",)),
        "Passwords are switched off for client submission.",
        "",
        block="passwords-switched-off",
        do="Sign in with OAuth, where the device can, or use another way. An administrator can switch passwords on "
        "again; the date of their end is not announced yet.",
        source=sources.BASIC_AUTH,
    ),
    Row(
        0,
        lambda case: case.oauth is False,
        frozenset(("submission-oauth",)),
        "Your organization has no OAuth for sending.",
        "",
        block="no-oauth-here",
        do="Have an administrator give an application the permission to send (SMTP.Send).",
        source=sources.OAUTH,
    ),
    Row(
        0,
        lambda case: case.reject_direct_send is True,
        frozenset(("direct-send",)),
        "Your organization refuses Direct Send.",
        "",
        block="direct-send-refused",
        do="Give the site a connector that goes by its address or by a certificate: the refusal does not concern it.",
        source=sources.DIRECT_SEND,
    ),
    Row(
        0,
        lambda case: 587 in case.blocked_ports,
        ON_587,
        "Port 587 is closed at this site.",
        "",
        block="port-587-closed",
        do="Open TCP port 587 outwards at the firewall, or use a way on port 25.",
        source=sources.SETUP,
    ),
    Row(
        0,
        lambda case: {25, 587} <= set(case.blocked_ports),
        frozenset(("relayprobe",)),
        "",
        "",
        block="no-port-open",
        do="Open TCP port 587 outwards at the firewall: a relay has to get out, too.",
        source=sources.SETUP,
    ),
    Row(
        0,
        lambda case: case.hve is False,
        frozenset(("high-volume-email",)),
        "There is no High Volume Email in your organization.",
        "",
        block="no-high-volume-email",
        do="Have an administrator make a High Volume Email account, with a billing policy.",
        source=sources.HVE,
    ),
    Row(
        0,
        lambda case: case.acs is False,
        frozenset(("azure-communication-services",)),
        "There is no Azure Communication Services in your organization.",
        "",
        block="no-azure-communication-services",
        do="Have an administrator set up Azure Communication Services, with a verified domain.",
        source=sources.ACS,
    ),
)
"""What holds beside the rows: the terms of each way, and what the site has not."""


BLOCKS: tuple[Row, ...] = tuple(row for row in (*ROWS, *TERMS) if row.block)
"""What a verdict names beside the rules."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left. `rows`: those that apply, in order; `straight`: the ways that stay open, the best first;
    `reachable`: those that can be had by settings of the device, too; `relay`: what a relay does about it, in the order
    of the rows, each once; `closing`: the rows and terms that no setting of the device does away with."""

    rows: tuple[Row, ...]
    straight: tuple[Way, ...]
    reachable: tuple[Way, ...]
    relay: tuple[str, ...] = ()
    closing: tuple[Row, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in sentences."""
        return tuple(row.says for row in self.rows if row.says)

    def why_not(self, ways: Collection[Way]) -> Said:
        """Why these ways are closed for good: the sentences of what closes one of them, each once."""
        reasons = dict.fromkeys(row.says for row in self.closing if row.says and not row.closes.isdisjoint(ways))
        return joined(map(said, reasons), " ")


def rows_for(case: Case) -> tuple[Row, ...]:
    """The rows that apply, in order."""
    return tuple(row for row in ROWS if row.applies(case))


def decide(case: Case) -> Outcome:
    """What all rows together leave."""
    rows = rows_for(case)
    terms = [row for row in TERMS if row.applies(case)]
    closing = tuple(row for row in (*rows, *terms) if not row.settable(case))
    return Outcome(rows, _open(case, [*rows, *terms]), _open(case, closing), _relay(case, rows), closing)


def blocks_of(case: Case) -> tuple[Row, ...]:
    """The blocks that apply and are no rules."""
    return tuple(row for row in BLOCKS if row.applies(case))


def _relay(case: Case, rows: Sequence[Row]) -> tuple[str, ...]:
    does = dict.fromkeys(row.relay for row in rows)
    if case.oauth is not False:
        return tuple(does)
    other = said("a connector or Azure Communication Services")
    if case.basic_auth:
        other = said("client submission with a password")
    return tuple(said(text.template, way=other) if isinstance(text, Said) else text for text in does)


def _open(case: Case, rows: Sequence[Row]) -> tuple[Way, ...]:
    closed = frozenset[Way]().union(*(row.closes for row in rows))
    return tuple(way for way in _order(case) if way not in closed)


def _order(case: Case) -> tuple[Way, ...]:
    """The best first: what logs in reaches everybody, and depends on no address; Direct Send needs no connector, and is
    the first to be junked; what costs extra comes last, unless it is there."""
    first: tuple[Way, ...] = ("submission-oauth", "submission")
    at_25: tuple[Way, ...] = ("connector", "direct-send") if case.connector else ("direct-send", "connector")
    extra: tuple[Way, ...] = ("high-volume-email", "azure-communication-services")
    asked: tuple[Way, ...] = extra[:1] if not case.basic_auth else ()  # row 4
    return tuple(dict.fromkeys((*first, *asked, *at_25, *extra)))
