"""What came of an attempt to send: for the connection, and for each recipient.

What the other side said is a `Reply`; what kept it from saying anything is a `Trouble`, with its cause as one word and
the story in words for people. An outcome keeps either, and the stage at which it was met. Only a loss behind the final
dot is `Unknown`: the server may have taken the mail. What to do about it all is another question, and
`relay/judgement.py` answers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Stage = Literal["connect", "banner", "ehlo", "tls", "auth", "rset", "mail", "rcpt", "data", "text", "end-of-data"]
"""What relayprobe was about. `text`: the mail is on its way; `end-of-data`: the final dot is out."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the server, fit to be shown: nothing in it can act on a terminal. `text` has a line for each of its
    lines, without the code."""

    code: int
    text: str = ""

    @property
    def enhanced(self) -> str:
        """Its enhanced code (RFC 3463), empty where it has none."""
        found = _ENHANCED.match(self.text)
        return found[0] if found else ""

    @property
    def line(self) -> str:
        """The reply on one line, each code once: `550 5.7.1 Service unavailable, ask your provider`."""
        first, *more = self.text.split("\n")
        more = [text.removeprefix(self.enhanced).lstrip() for text in more]
        return " ".join((str(self.code), *filter(None, (first, *more))))

    def __str__(self) -> str:
        return self.line


Cause = Literal[
    "no-name",  # the host's name cannot be looked up
    "nobody-listens",  # the machine is there, and refuses the connection
    "unreachable",  # no connection came about
    "timeout",
    "lost",  # the connection was closed or cut
    "garbled",  # what came is no reply, or none that is due
    "handshake",
    "certificate",
    "no-starttls",
    "no-mechanism",  # none of the logins that we can make is offered
    "clear-text",  # the login would go out without TLS
    "no-secret",  # there is no password or token, and there will be none until somebody acts
    "no-secret-yet",
    "unsuitable",  # this mail cannot go to this server
    "own-text",  # the text that we have is not fit to be sent: a fault of ours
]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, where it is no reply."""

    cause: Cause
    words: str

    def __str__(self) -> str:
        return self.words


Said = Reply | Trouble


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server has taken the mail for this recipient."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Deferred:
    """It has not, and may yet: a 4xx, or a trouble before the final dot."""

    said: Said
    stage: Stage


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not: a 5xx, or a mail that we do not send to this server. Whether the mail is to blame, `judged` says."""

    said: Said
    stage: Stage


@dataclass(frozen=True, slots=True)
class Unknown:
    """The final dot is out, and no reply to it has come: it may be delivered, or not."""

    said: Trouble


Outcome = Delivered | Deferred | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no connection to send over, or none any more.

    `scope`: `route` where the way is at fault, `mail` where the connection was broken off on account of this mail.
    `detail`: what the server said besides, as the challenge of a refused XOAUTH2.
    """

    stage: Stage
    said: Said
    scope: Literal["route", "mail"] = "route"
    detail: str = ""

    @property
    def words(self) -> str:
        """The fault for people, on one line."""
        return f"{self.said} ({self.detail})" if self.detail else str(self.said)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one letter.

    `outcomes`: one for each recipient, in the letter's order. `stage`: how far it went. `fault`: why the connection
    cannot be used again, where it cannot. `stale`: a kept connection turned out to be closed before the server heard of
    this letter; it is as if it had not been tried.
    """

    outcomes: tuple[Outcome, ...]
    stage: Stage
    fault: Fault | None = None
    stale: bool = False


def outcome_of(said: Said, stage: Stage) -> Outcome:
    """The outcome for a recipient who met this at this stage."""
    if isinstance(said, Trouble):
        if stage == "end-of-data":
            return Unknown(said)
        return Refused(said, stage) if said.cause == "unsuitable" else Deferred(said, stage)
    match said.code // 100:
        case 2 if stage == "end-of-data":
            return Delivered(said)
        case 5 if stage != "rset":  # that is about an earlier letter
            return Refused(said, stage)
        case _:
            return Deferred(said, stage)
