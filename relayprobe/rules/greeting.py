"""The greeting: HELO and EHLO, and the name in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import AT_MX, MODES
from relayprobe.rules.connection import is_ipv6, said_within
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.tongue import Said, said
from relayprobe.wire.session import Greeting, Session

_NAME_FIELDS = '"Host Name", "Device Name", "Domain Name" in the network settings'
_OWN_NAME = "the relay takes any name, and greets Office 365 with its own"


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
    yield Evidence(greetings[0].event, said("the device said HELO, and never EHLO"), at_most=at_most)


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
    repair=_OWN_NAME,
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
        if greeting.name and (fault := fault_of_name(greeting.name)):
            yield Evidence(greeting.event, said("{named}: {fault}", named=_named(greeting), fault=fault))


@rule(
    "The greeting has no name in it",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.INVALID_DOMAIN_NAME),
    fix={
        "any": f"Give the device a name ({_NAME_FIELDS}); a DHCP server can hand one out, too (options 12 and 15). A "
        "device whose name cannot be set has to send through a relay.",
    },
    repair=_OWN_NAME,
    devices="a UPS seen at OpenSMTPD; Danfoss VLT drives; old programs named in the manuals of Postfix and sendmail",
    doubt="the reply is that to a bad name; an empty one was seen refused elsewhere, not at Office 365",
    sources=(
        "OpenSMTPD/OpenSMTPD#1054",
        "hanswolff/simple.mailserver#5",
        "Postfix manual, smtpd_command_filter",
        "RFC 5321 4.1.1.1",
    ),
)
def helo_empty(session: Session) -> Iterator[Evidence]:
    """Behind HELO and EHLO the device has to say its name. Where there is none the greeting is refused, and with it all
    that follows."""
    for greeting in session.greetings:
        if not greeting.name:
            yield Evidence(greeting.event, said("{greeting} has no name behind it", greeting=greeting.verb))


@rule(
    "The name in the greeting has no domain",
    fix={"any": f"Nothing has to be done. For other servers, set a domain beside the name ({_NAME_FIELDS})."},
    repair=_OWN_NAME,
    devices="HP (NPI and six digits), Xerox (XC- and six digits), Synology, FortiAnalyzer 200D, Windows, and the "
    "relay of IIS",
    sources=(
        "mailcow/mailcow-dockerized-docs#455",
        "JustinIven/smtp-oauth-relay#57",
        "emersion/hydroxide#173",
        "Mailu/Mailu#115",
        "simonrob/email-oauth2-proxy#166",
    ),
)
def helo_unqualified(session: Session) -> Iterator[Evidence]:
    """Office 365 takes such a name. Other servers want one with a domain behind it, and refuse the mail (504 5.5.2)."""
    for greeting in session.greetings:
        name = greeting.name
        if name and "." not in name and "_" not in name and name.lower() not in _LOCAL and _HOST_NAME.fullmatch(name):
            yield Evidence(greeting.event, _named(greeting))


_LOCAL = frozenset(("localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6"))


@rule(
    "The device calls itself localhost",
    risks=AT_MX,
    fix={
        "submission": f"Nothing has to be done; better is a name of its own ({_NAME_FIELDS}).",
        "any": f"Give the device a name of its own, such as mfp01.contoso.com ({_NAME_FIELDS}).",
    },
    repair=_OWN_NAME,
    devices="IP cameras; programs in Go; Cyrus; nymea; Delta Chat; Overseerr",
    doubt="that it costs reputation at the MX endpoint is expected, not seen; client submission takes it, as far as "
    "was seen",
    sources=(
        "kost/smtp2mqtt#1",
        "cyrusimap/cyrus-imapd#4960",
        "sct/overseerr#1887",
        "nymea/nymea-plugins#724",
        "deltachat/deltachat-core#223",
    ),
)
def helo_localhost(session: Session) -> Iterator[Evidence]:
    """Every computer is localhost to itself, so it says nothing of who is there. With a login Office 365 does not care;
    without one such mail looks like a spammer's, and other servers refuse it."""
    for greeting in session.greetings:
        if greeting.name.lower() in _LOCAL:
            yield Evidence(greeting.event, _named(greeting))


@rule(
    "An address without brackets stands where a name belongs",
    risks=AT_MX,
    fix={
        "submission": f"Nothing has to be done; better is a name of the device's own ({_NAME_FIELDS}).",
        "any": f"Give the device a name, such as mfp01.contoso.com ({_NAME_FIELDS}).",
    },
    repair=_OWN_NAME,
    devices="a scanner seen behind email-oauth2-proxy; Cacti; worker-mailer",
    doubt="Office 365 was seen to take it in client submission; at the MX endpoint it was not tried",
    sources=(
        "simonrob/email-oauth2-proxy#68",
        "Cacti/cacti#1155",
        "zou-yu/worker-mailer#55",
        "RFC 5321 4.1.3",
    ),
)
def helo_bare_ip(session: Session) -> Iterator[Evidence]:
    """An address may stand in the greeting in brackets only, as in [192.168.1.21]. Client submission takes it without
    them; some servers drop such mail without a word."""
    for greeting in session.greetings:
        if _is_ipv4(greeting.name):
            yield Evidence(greeting.event, _named(greeting))


@rule(
    "There is an underscore in the name in the greeting",
    fix={"any": f"Take the underscore out of the device's name ({_NAME_FIELDS}): a hyphen may stand there."},
    repair=_OWN_NAME,
    devices="containers of Docker Compose; Windows computers and devices that were named so",
    doubt="no transcript with Office 365 was found: it is expected to take it; Exim refuses it with 501",
    sources=("ix-ai/smtp#6", "nextcloud/server#14941", "RFC 952; RFC 1123 2.1"),
)
def helo_underscore(session: Session) -> Iterator[Evidence]:
    """A host name is made of letters, digits, hyphens and dots. Servers that keep to that refuse the greeting."""
    for greeting in session.greetings:
        if "_" in greeting.name and _HOST_NAME.fullmatch(greeting.name) and not fault_of_name(greeting.name):
            yield Evidence(greeting.event, _named(greeting))


@rule(
    "The device greets again though it was answered",
    fix={"any": "Nothing has to be done. An update of the device or program may mend it."},
    repair="the relay takes any number of greetings",
    devices="IP cameras; qBittorrent; libraries for ESP8266 and ESP32; sendmail after TLS",
    sources=(
        "kost/smtp2mqtt#1",
        "qbittorrent/qBittorrent#1845",
        "haraka/Haraka#376",
        "OpenSMTPD/OpenSMTPD#455",
        "RFC 5321 4.1.4",
    ),
)
def ehlo_then_helo(session: Session) -> Iterator[Evidence]:
    """A second greeting is allowed, and Office 365 takes it. Strict servers answer 503, and the device gives up. After
    HELO it cannot see what is offered."""
    for first, second in zip(session.greetings, session.greetings[1:], strict=False):
        answered = first.reply is not None and first.reply.code == 250
        between = range(first.event, second.event)
        if not answered or first.tls != second.tls or any(e.event in between for e in session.envelopes):
            continue
        if not any(attempt.event in between for attempt in session.auths):
            says = said("{second} came after {first} had been answered with 250", second=second.verb, first=first.verb)
            yield Evidence(second.event, says)


@rule(
    "The device does not wait for the end of the answer to EHLO",
    risks=MODES,
    fix={
        "any": "Update the device or program, or let it greet with HELO where it can be set (then there is no TLS and "
        "no login, and only a connector or Direct Send is left).",
    },
    repair="the relay sends its answer in one piece, which such devices can read",
    devices="HAProxy's mailers; an application seen behind Mailrise",
    doubt="Office 365 sends its nine lines in one piece as a rule, and then such devices were seen to work",
    sources=("haproxy/haproxy#1552", "aio-libs/aiosmtpd#389", "RFC 5321 4.2.1"),
)
def cannot_parse_multiline_250(session: Session) -> Iterator[Evidence]:
    """The answer to EHLO has several lines. A device that goes on after the first takes the others for the answers to
    what it says next, and is one behind from then on."""
    for greeting in session.greetings:
        if (early := said_within(session, greeting.reply)) is not None:
            says = said("the device went on before the last line of the answer to {greeting}", greeting=greeting.verb)
            yield Evidence(early, says)


def _named(greeting: Greeting) -> Said:
    return said("the name in {greeting} is {name}", greeting=greeting.verb, name=quoted(greeting.name))


def fault_of_name(name: str) -> Said | None:
    """What is wrong with the name in a greeting, None where it will do: an address will, and an underscore within."""
    if _HOST_NAME.fullmatch(name) and "_" not in name and len(name) <= 255:  # nearly all are good
        return None
    if name.startswith("["):
        return None if _is_literal(name) else said("no address stands in the brackets")
    if _is_address(name):
        return None  # an address without brackets has a rule of its own
    if _PORT.search(name):
        return said("a port number is no part of a host name")
    if any(character.isspace() for character in name):
        return said("it has a blank in it")
    if not _CHARACTERS.fullmatch(name):
        return said("only letters, digits, hyphens and dots can be in it")
    if name.endswith("."):
        return said("it ends in a dot")
    labels = name.split(".")
    if not all(labels):
        return said("a part of it is empty")
    if any(label[0] == "-" or label[-1] == "-" for label in labels):
        return said("a part of it begins or ends with a hyphen")
    if not all(label.strip("_") for label in labels):
        return said("an underscore by itself is no name")
    if len(name) > 255:  # RFC 5321 4.5.3.1.2
        return said("it is longer than 255 characters")
    return None


def _is_literal(name: str) -> bool:
    """RFC 5321 4.1.3. The tag IPv6: is often forgotten, and then it is still clear what is meant."""
    inside = name[1:].removesuffix("]")
    return name.endswith("]") and _is_address(inside[5:] if inside[:5].upper() == "IPV6:" else inside)


def _is_address(text: str) -> bool:
    return _is_ipv4(text) or is_ipv6(text)


def _is_ipv4(text: str) -> bool:
    if not text[-1:].isdigit():
        return False
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
