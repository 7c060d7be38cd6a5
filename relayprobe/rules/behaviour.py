"""How the device conducts itself: whether it says goodbye, and whether it came to send at all."""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.rules.rule import Evidence, rule
from relayprobe.wire.events import Body
from relayprobe.wire.session import Session


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
    how = "reset" if closed.how == "rst" else "closed"
    yield Evidence(session.events.index(closed), f"the device {how} the connection, and had not said QUIT")


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
    if session.tls_failures or session.encrypted or len(session.tls) < len(session.hellos):
        return
    if any(not attempt.accepted for attempt in session.auths):
        return
    for exchange in session.exchanges:
        said = exchange.command.verb if exchange.command else b""
        answered = exchange.reply is not None and exchange.reply.positive
        if not answered and said != b"QUIT":
            return
        if said == b"DATA":
            return  # a message was begun
    last = session.exchanges[-1].event if session.exchanges else session.events.index(closed)
    yield Evidence(last, f"the device {_got_to(session)}, and left without a message")


def _got_to(session: Session) -> str:
    if session.envelopes:
        count = sum(len(envelope.recipients) for envelope in session.envelopes)
        return "named a sender" + (f" and {count} recipient{'' if count == 1 else 's'}" if count else "")
    if session.auths:
        return "logged in"
    if session.greetings:
        return "greeted"
    return "said nothing that leads to one" if session.exchanges else "said nothing"
