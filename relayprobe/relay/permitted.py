"""Whom a mail may go to, and as whom it may be sent.

A recipient is written to only where the address is one plain local@domain: the forms that make a relay pass mail on to
a stranger (percent signs, bangs, source routes, a second @, an address of the network) are refused, whatever the
patterns say. What is left is compared with the patterns of the settings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = r"[A-Za-z0-9#$&'*+/=?^_`{}~-]+"  # RFC 5322 3.2.3, atext, but for % ! |
_LOCAL = rf"(?![-/]){_WORD}(?:\.{_WORD})*"  # one that begins with - or / is an option or a file for some programs
_QUOTED = rf"\"(?![-/]){_WORD}(?:[. ]{_WORD})*\""
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL}|{_QUOTED})@(?P<domain>(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL})")
_DOMAIN_PATTERN = re.compile(rf"\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_LOCAL_PATTERN = re.compile(r"[A-Za-z0-9#$&'*+/=?^_`{}~. -]+")
LONGEST, LONGEST_LOCAL = 254, 64  # RFC 5321 4.5.3.1, and RFC 3696 erratum 1690

NULL_SENDER = "<>"


@dataclass(frozen=True, slots=True)
class Pattern:
    """An address with `*` for any characters: in the local part anywhere, in the domain as a whole or before a dot."""

    local: tuple[str, ...]  # the pieces between the stars
    domain: str

    def matches(self, address: tuple[str, str]) -> bool:
        local, domain = address
        return self._is_domain(domain) and _fits(local, self.local)

    def _is_domain(self, domain: str) -> bool:
        if self.domain.startswith("*"):
            return domain.endswith(self.domain[1:])
        return domain == self.domain


@dataclass(frozen=True, slots=True)
class Permitted:
    """Who may be written to, and as whom. Where no recipients (or senders) are listed, any plain address will do; what
    is denied is denied all the same."""

    recipients: tuple[Pattern, ...] = ()
    deny_recipients: tuple[Pattern, ...] = ()
    senders: tuple[Pattern, ...] = ()
    null_sender: bool = True

    def may_receive(self, address: str) -> bool:
        """Whether a mail may go there."""
        plain = plain_address(address)
        if plain is None:
            return False
        untagged = plain[0].partition("+")[0], plain[1]  # boss+x@ is boss's mailbox, where tags are known
        if any(pattern.matches(plain) or pattern.matches(untagged) for pattern in self.deny_recipients):
            return False
        return not self.recipients or any(pattern.matches(plain) for pattern in self.recipients)

    def may_send(self, address: str) -> bool:
        """Whether this may be the sender. Where none are listed, it may be anything: repairs come later."""
        if not address:
            return self.null_sender
        if not self.senders:
            return True
        plain = plain_address(address)
        return plain is not None and any(pattern.matches(plain) for pattern in self.senders)


def permitted(
    recipients: Sequence[str] = (), deny_recipients: Sequence[str] = (), senders: Sequence[str] = ()
) -> Permitted:
    """Patterns as they stand in the settings; ValueError with a sentence where one is none. `<>` among the senders is
    the empty one, which a list of senders shuts out otherwise."""
    named = [text for text in senders if text.strip() != NULL_SENDER]
    if senders and not named:
        raise ValueError("senders: an empty sender alone lets no device send: name addresses such as *@contoso.com")
    return Permitted(
        tuple(_pattern("recipients", text) for text in recipients),
        tuple(_pattern("deny_recipients", text) for text in deny_recipients),
        tuple(_pattern("senders", text) for text in named),
        null_sender=len(named) < len(senders) or not senders,
    )


def plain_address(address: str) -> tuple[str, str] | None:
    """Local part and domain in lower case, quotes taken off; None for all that is not one plain address."""
    if len(address) > LONGEST:
        return None
    found = _ADDRESS.fullmatch(address)
    if found is None or len(found["local"]) > LONGEST_LOCAL:
        return None
    # "boss"@example.org is the mailbox boss@example.org, and BOSS too: no way round a denial.
    return found["local"].strip('"').lower(), found["domain"].lower()


def _pattern(key: str, text: str) -> Pattern:
    local, at, domain = ("*", "@", "*") if text.strip() == "*" else text.strip().rpartition("@")
    domain = domain.removesuffix(".")
    if not at or not _LOCAL_PATTERN.fullmatch(local) or not _DOMAIN_PATTERN.fullmatch(domain):
        raise ValueError(
            f"{key}: {text!r} is no address that could match: write one such as boss@contoso.com, *@contoso.com or "
            "*@*.contoso.com, in plain letters (a domain with others as xn--...)"
        )
    return Pattern(tuple(local.lower().split("*")), domain.lower())


def _fits(text: str, pieces: tuple[str, ...]) -> bool:
    """Whether the text has these pieces in order, the first at its beginning and the last at its end."""
    first, *between = pieces
    if not between:
        return text == first
    *between, last = between
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in between:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
