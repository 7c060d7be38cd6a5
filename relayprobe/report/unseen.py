"""What a session cannot show because of how it was captured: said with the findings, for what was not seen was not
judged either. A session that a listener of ours captured shows everything, but for what an
interview kept from the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relayprobe.tongue import Said, all_of, said
from relayprobe.wire.events import Body, Missing, TlsHello
from relayprobe.wire.session import Session, Source

_OF_SOURCE: Mapping[Source, Said] = {
    "text": said(
        "The dialogue was read from a text: it tells no times and not the exact line ends, so nothing is said of "
        "either."
    ),
    "export": said(
        "The dialogue was read from a text export: it tells neither what the lines of the messages were nor in which "
        "way a password differed from the expected one. An export as JSON has both."
    ),
}


def unseen(session: Session) -> tuple[Said, ...]:
    """Sentences about what is not in the session, none where all of it is."""
    return tuple(_unseen(session))


def _unseen(session: Session) -> Iterator[Said]:
    if session.withheld:
        kept = {"tls": "STARTTLS", "login": "AUTH LOGIN"}
        yield said(
            "This was a test send of an interview, in which {what} was kept from the device on purpose: what it does "
            "where that is offered is in the other sends, and in the table at the end of the interview.",
            what=all_of([words for name, words in kept.items() if name in session.withheld]),
        )
    if session.source == "live":
        return
    if session.source in _OF_SOURCE:
        yield _OF_SOURCE[session.source]
    if session.encrypted:
        yield said(
            "{octets:,} octets of the device and {answered:,} in answer went in TLS "
            "and cannot be read here: the findings are about what went in clear, and a login, sender or message in TLS "
            "is not among it. To see them, let the device send to `relayprobe listen`.",
            octets=session.encrypted.client,
            answered=session.encrypted.server,
        )
    if any(isinstance(event, Missing) and not event.octets for event in session.events):
        yield said("The text does not begin with the server's greeting: what came before is not judged.")
    if missing := [event for event in session.events if isinstance(event, Missing) and event.octets]:
        octets = {side: sum(event.octets for event in missing if event.sender == side) for side in ("client", "server")}
        yield said(
            "{device:,} octets of the device and {server:,} of the server are missing in the "
            "capture: what is said of lines, logins and messages around them may be wrong.",
            device=octets["client"],
            server=octets["server"],
        )
    if any(isinstance(event, TlsHello) and event.hello and not event.raw for event in session.events):
        yield said("The text does not tell which cipher suites the device offers in TLS, so they are not judged.")
    elif session.source != "pcap" and session.tls and not session.hellos:
        yield said(
            "The text does not tell what the device offers in TLS, so its versions and cipher suites are not judged."
        )
    if any(isinstance(event, Body) and event.purged and not event.raw for event in session.events):
        yield said("The text of the message is not in it, so neither its header nor its lines are judged.")
    if session.closed is None:
        yield said("How the connection ended is not in it.")
