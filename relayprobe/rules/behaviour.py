"""How the device conducts itself: whether it waits its turn, says goodbye, and came to send at all."""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies
from relayprobe.office365.modes import MODES
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.tongue import Said, counted, said
from relayprobe.wire.events import Body, Credentials, Line
from relayprobe.wire.session import Exchange, Session


@rule(
    "Commands are sent without waiting for the answers, and that was not offered",
    blocks=MODES,
    fix={
        "any": "A script has to read each answer before it sends the next line: use swaks, msmtp or curl in place of "
        "netcat. A device or program needs an update.",
    },
    repair="the relay takes the commands as they come, and talks to Office 365 one by one",
    devices="nymea; XSIBackup and ghettoVCB on ESXi; Metasploit's mailer",
    doubt="Office 365 offers PIPELINING, which allows batches of MAIL and RCPT; how it takes others was not seen, and "
    "other servers answer 503 or 554",
    sources=(
        "33hops/xsibackup#12",
        "nymea/nymea-plugins#724",
        "lamw/ghettoVCB#338",
        "rapid7/metasploit-framework#4758",
        "RFC 2920 3.1",
    ),
)
def pipelining_not_offered(session: Session) -> Iterator[Evidence]:
    """The greeting, STARTTLS, AUTH, DATA and the end of a message have to be answered before the next command, for the
    answer decides what that may be. A device that does not wait sends its mail even where the sender was refused, and
    does not know why it failed."""
    banner = session.banner.event if session.banner else -1
    for before, exchange in zip(session.exchanges, session.exchanges[1:], strict=False):
        if not exchange.early or before.event < banner or _may_be_batched(session, before, exchange):
            continue
        what: str = said("the text of the message") if isinstance(exchange.said, Body) else said("a line")
        if exchange.command and exchange.command.known:
            what = quoted(exchange.command.verb.decode("latin-1"))
        yield Evidence(
            exchange.event, said("{what} came before {before} was answered", what=what, before=_named(before))
        )


_BATCHED = (b"MAIL", b"RCPT", b"RSET", b"NOOP", b"VRFY", b"EXPN")


def _may_be_batched(session: Session, before: Exchange, exchange: Exchange) -> bool:
    """RFC 2920 3.1: what may be sent while the answer to the command before is due; section 5 has QUIT so, behind a
    message."""
    greeting = next((g for g in reversed(session.greetings) if g.event < exchange.event), None)
    if greeting is None or "PIPELINING" not in greeting.offers:
        return False
    verb = before.command.verb if before.command else b""
    return verb in _BATCHED or isinstance(before.said, Body)


def _named(exchange: Exchange) -> str:
    match exchange.said:
        case Body():
            return said("the message")
        case Credentials():
            return "AUTH"
    known = exchange.command and exchange.command.known
    return exchange.command.verb.decode() if exchange.command and known else said("the line before")


@rule(
    "The connection is left open without a word, and used again later",
    risks=MODES,
    answer=dict.fromkeys(MODES, replies.TIMED_OUT),
    fix={
        "any": 'Switch "Keep Alive" or the reuse of connections off, so that each mail has a connection of its own. '
        "PowerShell's Send-MailMessage says its QUIT a minute late, which harms nothing.",
    },
    repair="the relay keeps the device's connection open, and has its own towards Office 365",
    devices="Send-MailMessage and other programs on .NET; maddy; Poco; deno-smtp; ESP-Mail-Client (every second mail "
    "fails)",
    sources=(
        "MicrosoftDocs/PowerShell-Docs#5461",
        "foxcpp/maddy#693",
        "pocoproject/poco#4073",
        "manyuanrong/deno-smtp#39",
        "mobizt/ESP-Mail-Client#295",
    ),
)
def idle_connection_reuse(session: Session) -> Iterator[Evidence]:
    """Office 365 closes a connection on which nothing was said for five minutes. A device that does not notice sends
    its next mail into it, and that is lost, or comes at the second try."""
    quiet_since = None
    for exchange in session.exchanges:
        if quiet_since is not None and (gap := exchange.said.at - quiet_since) >= LONG_QUIET:
            at_most: Severity = "warning" if gap >= CLOSED_AFTER else "note"
            says = said("nothing was said for {gap:.0f} s, and then {then}", gap=gap, then=_named(exchange))
            yield Evidence(exchange.event, says, at_most=at_most)
        if exchange.reply is not None:
            quiet_since = exchange.reply.at
    closed = session.closed
    if closed and closed.by == "server" and closed.how == "timeout" and session.messages:
        says = said("the connection was left open after the message, until relayprobe closed it")
        yield Evidence(session.events.index(closed), says)


LONG_QUIET, CLOSED_AFTER = 45.0, 300.0
"""Seconds without a word: from which it is worth a note, and after which Office 365 closes."""


@rule(
    "An empty line is sent as a command",
    risks=MODES,
    answer=dict.fromkeys(MODES, replies.UNRECOGNIZED_COMMAND),
    fix={"any": "Update the device or program: a line ends in one CR LF, and not in two."},
    repair="the relay answers such lines by itself, and does not send them on",
    devices="old programs named in the manual of Postfix; scripts that end their lines twice",
    sources=("Postfix manual, smtpd_command_filter", "RFC 5321 2.3.8"),
)
def empty_line_as_command(session: Session) -> Iterator[Evidence]:
    """Office 365 answers each empty line with an error, as an unknown command. The device takes that for the answer to
    what it says next, and is one behind from then on."""
    for exchange in session.exchanges:
        sent = exchange.said
        if isinstance(sent, Line) and not sent.ignored and not sent.raw.strip():
            yield Evidence(exchange.event, said("an empty line came where a command belongs"))


@rule(
    "Commands are written in small letters",
    fix={"any": "Nothing has to be done."},
    repair="the relay reads them as they are",
    devices=".NET (`AUTH login`); qBittorrent; Metasploit; people with telnet",
    sources=("rnwood/smtp4dev#3", "qbittorrent/qBittorrent#1845", "postalserver/postal#2009", "RFC 5321 2.4"),
)
def lowercase_verbs(session: Session) -> Iterator[Evidence]:
    """Small and capital letters are the same to every server. It is worth a note because it tells programs apart."""
    for exchange in session.exchanges:
        sent, command = exchange.said, None
        if isinstance(sent, Credentials) and sent.stage == "initial":
            word = sent.raw.partition(sent.mechanism.encode())[0] if sent.mechanism.encode() in sent.raw else sent.raw
            if sent.mechanism != "?" and _has_small(word.split(b" *")[0]):
                command = f"AUTH {sent.mechanism}"
        elif exchange.command and exchange.command.known and exchange.command.verb not in sent.raw:
            command = exchange.command.verb.decode()
        if command:
            yield Evidence(exchange.event, said("{command} is written in small letters", command=command))


def _has_small(word: bytes) -> bool:
    return word != word.upper()


@rule(
    "The connection is dropped without QUIT",
    fix={"any": "Nothing has to be done. An update of the device may mend it."},
    repair="the relay says QUIT to Office 365, whatever the device does",
    devices="cameras of Hikvision's and their kin; nodemailer's close(); many others",
    sources=(
        "seydx/homebridge-camera-ui#390",
        "Badgerati/Pode#206",
        "nodemailer/nodemailer#1716",
        "RFC 5321 4.1.1.10",
    ),
)
def no_quit(session: Session) -> Iterator[Evidence]:
    """Office 365 does not mind: a message that was answered with 250 is taken, whatever comes after. It is worth a note
    because other servers hold it against the sender, and because a device that hangs up early may have lost
    patience."""
    closed = session.closed
    if closed is None or closed.by != "client" or closed.how not in ("fin", "rst"):
        return
    if not session.exchanges or session.tls_failures or session.encrypted or any(session.commands(b"QUIT")):
        return
    last = session.exchanges[-1]
    if isinstance(last.said, Body) and last.reply is None:
        return  # it gave up on a message, and that is worse than a goodbye forgotten
    says = said("the device closed the connection, and had not said QUIT")
    if closed.how == "rst":
        says = said("the device reset the connection, and had not said QUIT")
    yield Evidence(session.events.index(closed), says)


@rule(
    "The device came without a message",
    fix={
        "any": "Nothing has to be done: connection tests, address checks before a scan, and monitoring look like this. "
        "If a mail was meant to be sent, look at the device's own log for what it did not like.",
    },
    devices="HP Digital Sender (asks for the gateway and one address before it scans); Amcrest and Dahua cameras (Keep "
    "Alive); Apple's programs; a second connection of Ricoh's; monitoring",
    sources=(
        "postalserver/postal#3477",
        "postalserver/postal#663",
        "HP Digital Sender Module administrator guide p. 31",
        "Amcrest IP4M-1026B manual p. 90 (Keep Alive)",
    ),
)
def probe_session_no_data(session: Session) -> Iterator[Evidence]:
    """Office 365 does not mind a visit without mail. Nothing was refused here, and nothing went wrong; what such a
    session says about the device's mail is only what it got to."""
    closed = session.closed
    if closed is None or (closed.by == "server" and closed.how != "quit") or any(e.message for e in session.envelopes):
        return
    if session.tls_failures or len(session.tls) < len(session.hellos) or session.encrypted:
        return
    if any(not attempt.accepted for attempt in session.auths):
        return
    for exchange in session.exchanges:
        verb = exchange.command.verb if exchange.command else b""
        answered = exchange.reply is not None and exchange.reply.positive
        if not answered and verb != b"QUIT":
            return
        if verb == b"DATA":
            return  # a message was begun
    last = session.exchanges[-1].event if session.exchanges else session.events.index(closed)
    yield Evidence(last, said("the device {got_to}, and left without a message", got_to=_got_to(session)))


def _got_to(session: Session) -> Said:
    if session.envelopes:
        count = sum(len(envelope.recipients) for envelope in session.envelopes)
        if not count:
            return said("named a sender")
        return counted("named a sender and {n} recipient", "named a sender and {n} recipients", count)
    if session.auths:
        return said("logged in")
    if session.greetings:
        return said("greeted")
    return said("said nothing that leads to one") if session.exchanges else said("said nothing")
