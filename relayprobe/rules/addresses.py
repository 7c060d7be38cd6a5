"""Whose an address is: the login's, the site's, an outsider's, or nobody's. What several rules and the advice ask."""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.tongue import said
from relayprobe.wire.session import AuthAttempt, Envelope, Recipient, Session, domain_of


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
        return said("it has no domain")
    if domain == "email.com" and address[:3].lower() == "npi":
        return said("an HP device's setting from the factory")
    if domain.startswith("["):
        return said("an address of the network stands in place of a domain")
    if "." not in domain:
        return said("{domain} is the name of a computer, and not a domain", domain=domain)
    if domain in _BOOK_DOMAINS or domain.endswith(_OF_BOOKS):
        return said("{domain} is a name for examples", domain=domain)
    if domain.endswith(_OF_NOBODY):
        return said("{domain} is known within your network only", domain=domain)
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
