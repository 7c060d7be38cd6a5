"""An envelope without a message at the MX endpoint: MAIL, RCPT, RSET, QUIT. For an address outside it shows whether a
connector knows this site; for one inside, whether the organization takes Direct Send, as far as that shows so early.
It goes out once in a run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from relayprobe.check.checked import Checked
from relayprobe.check.ports import known
from relayprobe.check.resolver import Resolver
from relayprobe.check.talk import Heard, Target, families
from relayprobe.check.talk import look as talk
from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import AT_MX, Mode
from relayprobe.relay.outcome import Reply, Said
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.tongue import joined, said
from relayprobe.wire.codec import to_object

SOURCE = f"{sources.RELAY_RULES}; {sources.DIRECT_SEND}"
Where = Literal["inside", "outside"]


@dataclass(slots=True)
class Envelope:
    """What came of it. `mail`, `rcpt`: what was answered; None where it did not come so far."""

    sender: str
    recipient: str
    where: Where
    heard: Heard | None = None
    mail: Said | None = None
    rcpt: Said | None = None


async def look(
    envelope: Envelope, target: Target, context: ssl.SSLContext, resolver: Resolver, seconds: float
) -> Envelope:
    """Send it, over IPv4 if that gets there."""

    async def say(protocol: UpstreamProtocol, heard: Heard) -> None:
        sender, recipient = (f"<{one}>".encode("ascii") for one in (envelope.sender, envelope.recipient))
        # a refusal may be held back for five seconds
        patience = max(seconds, 10.0)
        envelope.mail = await protocol.ask(b"MAIL", b"FROM:" + sender, timeout=patience)
        if isinstance(envelope.mail, Reply) and envelope.mail.code == 250:
            envelope.rcpt = await protocol.ask(b"RCPT", b"TO:" + recipient, timeout=patience)
        if protocol.usable:
            await protocol.ask(b"RSET", timeout=patience)

    for family in families(target.host):
        envelope.heard = await talk(target, family, resolver, context, seconds, say)
        if envelope.heard.connected:
            break
    return envelope


def judged(envelope: Envelope) -> Checked:
    """`dry-run:inside` or `dry-run:outside`."""
    name, last = f"dry-run:{envelope.where}", envelope.rcpt or envelope.mail
    modes: tuple[Mode, ...] = ("connector",) if envelope.where == "outside" else ("direct-send",)
    observed: dict[str, Any] = {
        "sender": envelope.sender,
        "recipient": envelope.recipient,
        "mail": str(envelope.mail) if envelope.mail else None,
        "rcpt": str(envelope.rcpt) if envelope.rcpt else None,
        "dialogue": [to_object(event) for event in envelope.heard.events] if envelope.heard else [],
    }
    if not isinstance(last, Reply):
        why = str(last) if last else (envelope.heard.trouble or envelope.heard.why if envelope.heard else "")
        says = said("the envelope to {to} was not sent: the MX endpoint was not reached", to=envelope.recipient)
        if why:
            says = said("the envelope to {to} was not sent: {why}", to=envelope.recipient, why=why)
        return Checked(name, "unknown", says, observed=observed)
    if envelope.rcpt is last and last.code == 250:
        return Checked(name, "ok", _taken(envelope), observed=observed, source=SOURCE)
    says = said(
        "an envelope from {sender} to {to} is refused: {reply}",
        sender=envelope.sender,
        to=envelope.recipient,
        reply=last.line,
    )
    answer = known(last)
    if answer is None:
        status, blocks, risks = ("failed", modes, ()) if last.code >= 500 else ("warning", (), modes)
        return Checked(name, status, says, "", blocks, risks, observed, 0, SOURCE)  # type: ignore[arg-type]
    says = joined((joined((says, "."), ""), said(answer.meaning)), " ")
    observed["known"] = answer.line
    fix = said(answer.fix)
    if answer.retry == "retry" or last.code < 500:
        return Checked(name, "warning", says, fix, (), modes, observed, 0, answer.source)
    if answer in (replies.RECIPIENT_REJECTED, replies.ALL_RECIPIENTS_REJECTED):
        if envelope.where == "inside":  # that says nothing about the way
            return Checked(name, "unknown", says, fix, observed=observed, source=answer.source)
        return Checked(name, "failed", says, fix, modes, (), observed, 0, answer.source)
    of_the_site = envelope.mail is last or answer not in _OF_ONE_MODE
    return Checked(name, "failed", says, fix, AT_MX if of_the_site else modes, (), observed, 0, answer.source)


_OF_ONE_MODE = (replies.RELAY_DENIED, replies.RELAY_DENIED_SENDER, replies.DIRECT_SEND_REJECTED)


def _taken(envelope: Envelope) -> str:
    if envelope.where == "outside":
        return said(
            "a connector knows this site: an envelope from {sender} to {to}, which is outside, is taken",
            sender=envelope.sender,
            to=envelope.recipient,
        )
    return said(
        "an envelope from {sender} to {to}, which is inside, is taken; a refusal of Direct Send may still come after "
        "the message (550 5.7.68), so only a real one is final",
        sender=envelope.sender,
        to=envelope.recipient,
    )
