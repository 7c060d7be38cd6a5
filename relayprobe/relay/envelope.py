"""The commands of an envelope, and what a letter needs that the server must offer.

What cannot go is refused here, in words, before anything of it is sent: an address with an octet that would end the
command and begin another, a mail above the server's limit, 8-bit text or an address with an umlaut for a server that
knows neither.
"""

from __future__ import annotations

import re

from relayprobe.relay.outcome import Trouble
from relayprobe.relay.place import Letter, Offers
from relayprobe.report.visible import visible

ADDRESS_LIMIT = 1000
"""Octets of an address that are sent: three times what the standard allows (RFC 5321 4.5.3.1.3)."""

_PLAIN = r"[^\s<>\"\x00-\x20\x7f-\x9f\ud800-\udfff]+"
_QUOTED = r"\"(?:[^\"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|\\[ -~])*\""
_ADDRESS = re.compile(rf"(?:{_QUOTED}@)?{_PLAIN}")


def unsuitable(letter: Letter, offers: Offers) -> Trouble | None:
    """Why the letter cannot go to this server at all."""
    if letter.sender and (trouble := unsuitable_address(letter.sender, offers)):
        return trouble
    limit = offers.size
    if limit is not None and letter.size is not None and letter.size > limit:
        return _cannot(f"the mail has {letter.size} octets, and the server takes {limit} at most")
    if letter.smtputf8 and "SMTPUTF8" not in offers:
        return _cannot("the mail has header fields that are not ASCII, and the server does not offer SMTPUTF8")
    if letter.eight_bit and "8BITMIME" not in offers:
        return _cannot("the mail has 8-bit text, and the server does not offer 8BITMIME")
    return None


def unsuitable_address(address: str, offers: Offers) -> Trouble | None:
    """Why an address cannot be sent to this server."""
    if not _ADDRESS.fullmatch(address) or len(address.encode(errors="replace")) > ADDRESS_LIMIT:
        return _cannot(f"not an address: {visible(address[:200])}")
    if not address.isascii() and "SMTPUTF8" not in offers:
        return _cannot(f"the address {visible(address)} is not ASCII, and the server does not offer SMTPUTF8")
    return None


def mail_command(letter: Letter, offers: Offers) -> bytes:
    """MAIL with the parameters that the letter needs and the server knows."""
    utf8 = letter.smtputf8 or not letter.sender.isascii() or not all(map(str.isascii, letter.recipients))
    parameters = {
        "SIZE": f"SIZE={letter.size}" if letter.size is not None else "",
        "8BITMIME": "BODY=8BITMIME" if letter.eight_bit or utf8 else "",
        "SMTPUTF8": "SMTPUTF8" if utf8 else "",
    }
    said = [text for name, text in parameters.items() if text and name in offers]
    return " ".join((f"MAIL FROM:<{letter.sender}>", *said)).encode()


def rcpt_command(recipient: str) -> bytes:
    """RCPT."""
    return f"RCPT TO:<{recipient}>".encode()


def _cannot(words: str) -> Trouble:
    return Trouble("unsuitable", words)
