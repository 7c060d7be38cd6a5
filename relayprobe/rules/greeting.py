"""The greeting: HELO and EHLO, and the name in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.wire.session import Session


@rule(
    "The device greets with HELO, and so cannot see STARTTLS or AUTH",
    blocks=("submission",),
    answer={"submission": replies.STARTTLS_REQUIRED},
    fix={
        "submission": 'Switch on "SMTP Authentication" and STARTTLS (on some devices "ESMTP"), which makes most '
        "devices say EHLO. If it still says HELO, it cannot do client submission by itself: use Direct Send or a "
        "connector on port 25, or let it send through a relay.",
        "any": "Nothing is needed in this mode: HELO is enough for mail without TLS and login.",
    },
    repair="the relay takes HELO, and a login after it, and greets Office 365 with EHLO",
    devices="HP MFP 477dw, Toshiba e-STUDIO190F, and printers seen behind email-oauth2-proxy; mailsend without -ehlo; "
    "ESPMailer",
    sources=(
        "simonrob/email-oauth2-proxy#232",
        "postalserver/postal#1245",
        "postalserver/postal#2005",
        "Toshiba e-STUDIO190F service manual p. 277",
        "RFC 5321 3.2",
    ),
)
def helo_only(session: Session) -> Iterator[Evidence]:
    """The extensions of SMTP, STARTTLS and AUTH among them, are listed in the answer to EHLO only. Office 365 takes
    HELO, and then refuses MAIL FROM, for neither TLS nor a login came before it."""
    greetings = session.greetings
    if not greetings or any(greeting.verb != "HELO" for greeting in greetings):
        return
    # Some devices ask for STARTTLS unseen; whether Office 365 lets them after HELO is not known.
    at_most: Severity = "warning" if session.tls else "error"
    yield Evidence(greetings[0].event, "the device said HELO, and never EHLO", at_most=at_most)


_HOST_NAME = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_PORT = re.compile(r":\d{1,5}\Z")
_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]*")


@rule(
    "The name in the greeting is not one that a host can have",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_DOMAIN_NAME),
    fix={
        "any": 'Correct the device\'s name in the network settings ("Host Name", "Device Name", "Domain Name"): '
        "letters, digits and hyphens, with a dot between name and domain; no dot at the end, no port number, no blank. "
        "mfp01.contoso.com is a good one.",
    },
    repair="the relay takes any name, and greets Office 365 with its own",
    devices="programs in Python that ask the system for its full name; Zammad behind a port; Nextcloud; programs with "
    "MailKit on WinRT",
    sources=(
        "sabuhish/fastapi-mail#205",
        "zammad/zammad#5635",
        "nextcloud/server#14941",
        "jstedfast/MailKit#351",
        sources.REPLY_CODES,
    ),
)
def helo_invalid_name(session: Session) -> Iterator[Evidence]:
    """Office 365 reads the name after HELO or EHLO as a host name, and refuses the greeting when it cannot be one. All
    that follows is then refused, too, for want of a greeting."""
    for greeting in session.greetings:
        name = greeting.name
        if name and (not _HOST_NAME.fullmatch(name) or "_" in name or len(name) > 255) and (fault := _fault_of(name)):
            yield Evidence(greeting.event, f"the name in {greeting.verb} is {quoted(name)}: {fault}")


def _fault_of(name: str) -> str | None:
    """What is wrong with a name, None where it will do."""
    if name.startswith("["):
        return None if _is_literal(name) else "no address stands in the brackets"
    if _is_address(name):
        return None  # an address without brackets: not right, but Office 365 has been seen to take it
    if _PORT.search(name):
        return "a port number is no part of a host name"
    if any(character.isspace() for character in name):
        return "it has a blank in it"
    if not _CHARACTERS.fullmatch(name):
        return "only letters, digits, hyphens and dots can be in it"
    if name.endswith("."):
        return "it ends in a dot"
    labels = name.split(".")
    if not all(labels):
        return "a part of it is empty"
    if any(label[0] == "-" or label[-1] == "-" for label in labels):
        return "a part of it begins or ends with a hyphen"
    if not all(label.strip("_") for label in labels):
        return "an underscore by itself is no name"
    if len(name) > 255:  # RFC 5321 4.5.3.1.2
        return "it is longer than 255 characters"
    return None


def _is_literal(name: str) -> bool:
    """RFC 5321 4.1.3. The tag IPv6: is often forgotten, and then it is still clear what is meant."""
    inside = name[1:].removesuffix("]")
    return name.endswith("]") and _is_address(inside[5:] if inside[:5].upper() == "IPV6:" else inside)


def _is_address(text: str) -> bool:
    for kind in (IPv4Address, IPv6Address):
        try:
            kind(text)
        except AddressValueError:
            continue
        return True
    return False
