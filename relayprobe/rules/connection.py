"""The connection: the port, the path to it, and what passes before the first proper command."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES
from relayprobe.rules.addresses import outsiders
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.tongue import said
from relayprobe.wire import command
from relayprobe.wire.events import Body, Line
from relayprobe.wire.session import Reply, Session, is_preamble, sender_side

NO_PATIENCE = 60.0
"""Seconds: who hangs up within them while an answer is due has a short time-out. APC's is 20, mailsend's 5."""


@rule(
    "The device goes to port 465, which Office 365 does not have",
    blocks=MODES,
    fix={
        "submission": 'Set the port to 587, and the security to STARTTLS (other names: "Start TLS", "SMTPS '
        '(StartTLS)", "TLS"), not SSL/TLS, SMTPS or SMTP over SSL, which jump to 465. A device that knows only those '
        "has to send through a relay.",
        "any": "Set the port to 25, and the security to STARTTLS or none, not SSL/TLS, SMTPS or SMTP over SSL.",
    },
    repair="the relay listens on 465 with TLS from the first octet, and goes to Office 365 on 587 with STARTTLS",
    devices="Konica Minolta bizhub C4000i, whose port for SSL is 465 from the factory; ICT's power distribution units, "
    "with the box for SSL ticked; programs in Delphi with Indy's implicit TLS",
    sources=(
        "elastic/kibana#73836",
        "exilon/QuickLib#16",
        "Konica Minolta bizhub C4000i guide (Port Number (SSL), 465 by default)",
        "ICT DIN PDU manual p. 19",
        sources.SETUP,
    ),
)
def port_465_to_office365(session: Session) -> Iterator[Evidence]:
    """Nobody listens on port 465 at smtp.office365.com, nor at the MX endpoint. The device waits for a connection
    until it gives up, shows a time-out, and nothing of it reaches Office 365."""
    if session.pinned_to_tls:
        for event, hello in session.hellos:
            if hello.moment == "on-connect":
                yield Evidence(event, said("the device spoke TLS at once, on a port that is for that, as 465 is"))


@rule(
    "The device gives up before the answer is there",
    risks=MODES,
    fix={
        "any": 'Raise the time-out ("SMTP Timeout", "Server Timeout") to 60 seconds or more. Where there is no such '
        "setting, let the device send through a relay on the local network, which answers at once.",
    },
    repair="the relay answers at once, and waits for Office 365 in the device's place",
    devices="APC network management cards, UPS and power distribution units (20 seconds, documented); mailsend (5); "
    "Dell 2335dn (30 to 120, to be set)",
    sources=(
        "muquit/mailsend#152",
        "simonrob/email-oauth2-proxy#234",
        "PHPMailer/PHPMailer#1901",
        "APC AP9606 user guide p. 58 (20 s)",
        "Dell 2335dn guide p. 35",
    ),
)
def client_timeout_too_short(session: Session) -> Iterator[Evidence]:
    """Office 365 takes its time: a refused login and an unknown command are answered after about five seconds, and a
    large scan has to be taken in before it is confirmed. A device that hangs up meanwhile has sent nothing."""
    closed = session.closed
    if closed is None or closed.by != "client" or closed.how not in ("fin", "rst") or session.tls_failures:
        return
    if session.source == "text":  # its times are not told
        return
    index = session.events.index(closed)
    if session.banner is None and not session.hellos and not session.exchanges and 1.0 <= closed.at <= NO_PATIENCE:
        yield Evidence(index, said("the device hung up after {after:.1f} s, before it was greeted", after=closed.at))
    if not session.exchanges:
        return
    last = session.exchanges[-1]
    if last.reply is not None or (last.command and last.command.verb == b"QUIT") or session.encrypted:
        return
    sent = last.said
    what: str = said("the login")
    if isinstance(sent, Body):
        if sent.end in ("cut", "bare-lf"):  # it is the text that never ended
            return
        since, what = sent.until, said("the message")
    else:
        since = sent.at
        if last.command:
            what = quoted(last.command.verb.decode("latin-1"))
    if closed.at - since <= NO_PATIENCE:
        says = said(
            "the device hung up {after:.1f} s after {what}, before the answer", after=closed.at - since, what=what
        )
        yield Evidence(index, says)


@rule(
    "The device uses IPv6, or writes an IPv6 address where a name belongs",
    risks=MODES,
    fix={
        "submission": "Set the device's host name in its network settings, or switch IPv6 off there if the site has no "
        "working route for it.",
        "any": "Set the device's host name in its network settings, and switch IPv6 off there, or see to it that the "
        "IPv6 address that you send from has a PTR record, is in the domain's SPF record, and in the connector.",
    },
    repair="the relay takes IPv6 on the local network, greets with its own name, and prefers IPv4 towards Office 365",
    devices="RustDesk server; motionEyeOS; qBittorrent",
    doubt="how Office 365 takes a bare IPv6 address in the greeting was not seen; strict servers refuse it with 501",
    sources=(
        "qbittorrent/qBittorrent#1845",
        "motioneye-project/motioneyeos#2192",
        "rustdesk/rustdesk-server-pro#26",
        sources.REPLY_CODES,
    ),
)
def ipv6_path(session: Session) -> Iterator[Evidence]:
    """An IPv6 address in the greeting has to stand in brackets behind `IPv6:`. And at the MX endpoint mail that comes
    over IPv6 is held to more: the address needs a PTR record, and the mail has to pass SPF or DKIM."""
    for greeting in session.greetings:
        if is_ipv6(greeting.name):
            says = said(
                "the name in {greeting} is {name}, an IPv6 address", greeting=greeting.verb, name=quoted(greeting.name)
            )
            yield Evidence(greeting.event, says)
    if is_ipv6(session.host):
        says = said("the device came over IPv6, from {address}", address=session.host)
        yield Evidence(0, says, at_most="note")


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address."""
    if ":" not in text:
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


@rule(
    "A load balancer's PROXY header stands in front of the dialogue",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.UNRECOGNIZED_COMMAND),
    fix={
        "any": "Switch the PROXY protocol off for SMTP at the load balancer (`send-proxy` and `send-proxy-v2` in "
        "HAProxy). The device is not at fault.",
    },
    repair="the relay reads the header, and does not send it on",
    devices="printers behind HAProxy, Traefik or another load balancer",
    sources=("simonrob/email-oauth2-proxy#232", "simonrob/email-oauth2-proxy#234", "HAProxy, proxy-protocol.txt 2.1"),
)
def proxy_preamble(session: Session) -> Iterator[Evidence]:
    """Office 365 takes the header for a command that it does not know, and answers that after about five seconds. So
    the first mail fails, or every mail is slow."""
    for index, event in enumerate(session.events[:8]):
        if isinstance(event, Line) and event.sender == "client" and is_preamble(event.raw):
            version = "2" if event.raw.startswith(command.PROXY_V2) else "1"
            says = said(
                "a header of the PROXY protocol, version {version}, came before the first command", version=version
            )
            yield Evidence(index, says)


@rule(
    "The device seems to deliver straight to the recipient's mail server",
    risks=("direct-send",),
    answer={"direct-send": replies.RELAY_DENIED},
    fix={
        "submission": 'Enter one fixed mail server in the device (on APC "Server: Custom" or "Local", not '
        '"Recipient"): smtp.office365.com, port 587, with a login.',
        "any": 'Enter one fixed mail server in the device (on APC "Server: Local" or "Custom", not '
        '"Recipient"): the MX host of your own domain, or a relay.',
    },
    repair="the relay takes the mail for everybody, and tries again where a server is not there",
    devices="APC UPS, power distribution units and transfer switches, with Server set to Recipient (documented: each "
    "mail is sent once, and may be lost)",
    doubt="the dialogue shows only that a device without a login writes to somebody outside; that it has looked up "
    "that recipient's server is a guess",
    sources=("APC AP44xx manual p. 108", "APC AP9606 user guide p. 58", sources.SETUP),
)
def recipient_mx_delivery(session: Session) -> Iterator[Evidence]:
    """A device that looks up the server of each recipient sends as anybody on the internet does: once, without a login,
    and judged as spam is. Where that server is Office 365, it takes mail for its own people only."""
    if session.auths or session.site.connector or session.mode == "connector":
        return
    alone = {e.recipients[0].event for e in session.envelopes if len(e.recipients) == 1}
    for recipient, address, _ in outsiders(session):
        if recipient.event in alone:
            says = said(
                "there was no login, and {address} is outside: the only recipient of that mail",
                address=quoted(address),
            )
            yield Evidence(recipient.event, says)
            return


@rule(
    "The device talks before it is greeted",
    risks=MODES,
    fix={
        "any": "A script has to wait for each answer before it says the next line; netcat and `cat file | nc` do not: "
        "use swaks, msmtp or curl in their place.",
    },
    repair="the relay takes what comes early, and waits for Office 365 as it should be",
    devices="ghettoVCB and XSIBackup on ESXi, with netcat; Xymon; scripts with nc or telnet",
    doubt="how Office 365 takes it was not seen; Postfix and Exim answer 554 and hang up",
    sources=(
        "xymon-monitoring/xymon#455",
        "lamw/ghettoVCB#71",
        "33hops/xsibackup#12",
        "testssl/testssl.sh#218",
        "RFC 5321 4.3.1",
    ),
)
def talks_before_banner(session: Session) -> Iterator[Evidence]:
    """The server speaks first. Who does not wait for its greeting does not read the answers either, and servers take
    that for a spammer's program."""
    if session.banner is None or session.pop3:
        return
    for exchange in session.exchanges:
        if exchange.event > session.banner.event:
            break
        yield Evidence(exchange.event, said("a command came before the greeting"))


@rule(
    "Something stands in front of the first command",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.UNRECOGNIZED_COMMAND),
    fix={
        "any": "In PuTTY choose the connection type Raw, not Telnet. Save scripts and command files as UTF-8 without "
        "BOM.",
    },
    repair="the relay passes over what is in front",
    devices="PuTTY and telnet, in tests by hand; scripts that were saved with a BOM",
    sources=("muquit/mailsend#152", "simonrob/email-oauth2-proxy#251", "antespi/docker-imap-devel#6", "RFC 854"),
)
def telnet_noise_first(session: Session) -> Iterator[Evidence]:
    """Office 365 reads these octets as a part of the first command, and does not know it. The same command typed again
    works, which makes the fault hard to see."""
    first = next(
        ((i, e) for i, e in enumerate(session.events) if isinstance(e, Line) and sender_side(e) == "client"), None
    )
    if first is None:
        return
    index, event = first
    if event.raw.startswith(command.BOM):
        yield Evidence(index, said("a byte order mark (BOM) stands before the first command"))
    elif event.raw[:1] == b"\xff" and event.raw[1:2] >= b"\xf0":
        yield Evidence(index, said("telnet's negotiation stands before the first command"))


@rule(
    "The device takes the first line of a long greeting for all of it",
    fix={"any": "Nothing has to be done for Office 365, whose greeting is one line. An update may mend it."},
    repair="the relay greets in one line",
    devices="programs with Qxt, QtMail or Nim's smtp; Notifuse 19.6",
    sources=("Notifuse/notifuse#183", "nim-lang/smtp#24", "dbzhang800/QtMail#1", "RFC 5321 4.2.1"),
)
def cannot_parse_multiline_220(session: Session) -> Iterator[Evidence]:
    """Office 365 greets in one line, so nothing happens there. At servers that greet in several, the device is one
    answer behind from then on, and reports something like "EHLO rejected with code 220"."""
    if (early := said_within(session, session.banner)) is not None:
        yield Evidence(early, said("the device went on after the first line of the greeting, and more were to come"))


def said_within(session: Session, reply: Reply | None) -> int | None:
    """The event in which the device spoke between two lines of a reply; None where it waited for the last."""
    if reply is None or len(reply.lines) < 2:
        return None
    left = len(reply.lines)
    for index in range(reply.event, len(session.events)):
        side = sender_side(session.events[index])
        if side == "client":
            return index
        left -= side == "server"
        if not left:
            return None
    return None
