"""What to do about a reply or a trouble, and how it is explained.

What is known of Office 365's replies is data (`office365/replies`), and the rule is built on it: a reply that is
recognised is judged as the data says. For all others its class and the stage decide. A reply before MAIL is never the
mail's fault, whatever its code, and a 4xx never gives a mail up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from relayprobe.office365 import replies
from relayprobe.office365.modes import Mode
from relayprobe.office365.recognise import CLASSES, SUBJECTS, Match, recognise
from relayprobe.office365.replies import Answer, Retry
from relayprobe.relay.outcome import Cause, Reply, Said, Stage, Trouble

Kind = Literal["retry", "never", "route-later", "route-stop", "configuration", "throttled", "hours"]
"""What to do.

`retry`: this mail later. `never`: this mail not again. `route-later`: the route waits, and its mail with it.
`route-stop`: the route stops, its mail is held, and somebody is told. `configuration`: waiting does not help, though
the code may be a temporary one; hold and tell. `throttled`: more slowly, and later. `hours`: not again for hours, for
each attempt makes it worse.
"""

Scope = Literal["mail", "route"]


@dataclass(frozen=True, slots=True)
class What:
    """What to do about it. `scope`: whether it holds for this mail (this recipient) or for all that goes this way.
    `answer`: the reply of Office 365 that it was recognised as."""

    kind: Kind
    scope: Scope
    meaning: str
    fix: str = ""
    answer: Answer | None = None

    @property
    def counts(self) -> bool:
        """Whether it counts towards giving the mail up."""
        return self.kind == "retry"


ROUTE_STAGES: frozenset[Stage] = frozenset(("connect", "banner", "ehlo", "tls", "auth", "rset"))
"""Nothing has been said about a mail yet."""

LOGIN_NEEDED = frozenset((530, 534, 535, 538))
"""Codes about the login alone (RFC 4954 6), at whatever stage."""

THE_SITE = frozenset(
    (
        replies.ADDRESS_LISTED,
        replies.BAD_CONNECTOR,
        replies.BAD_HELO,
        replies.BANNED_ADDRESS,
        replies.BANNED_SENDER_ADDRESS,
        replies.HELO_LISTED,
        replies.IPV6_NO_PTR,
        replies.STARTTLS_REQUIRED,
        replies.TLS_TOO_OLD,
    )
)
"""Faults of the configuration that every mail of this site meets, at whatever stage they are said."""

ONE_RECIPIENT = frozenset((replies.RECIPIENT_SWAMPED, replies.RECIPIENT_SWAMPED_TOO))
"""Penalties that are about the recipient, and no other."""

TOO_FAST = frozenset(
    (
        replies.CONCURRENT_CONNECTIONS,
        replies.THREAD_LIMIT,
        replies.SERVER_BUSY,
        replies.ACCESS_DENIED_FOR_NOW,
        replies.THROTTLED_TOO,
        replies.CONSUMER_THROTTLED,
        replies.FOREST_CONNECTIONS,
    )
)

KIND_OF: dict[Retry, Kind] = {
    "retry": "retry",
    "never": "never",
    "configuration": "configuration",
    "hold": "route-stop",
    "stop-hours": "hours",
}
SCOPE_OF: dict[Kind, Scope] = {
    "retry": "mail",
    "never": "mail",
    "configuration": "mail",
    "route-later": "route",
    "route-stop": "route",
    "throttled": "route",
    "hours": "route",
}

_TLS_FIX = (
    "See what stands between relayprobe and the server: a firewall that inspects mail often strips or breaks TLS."
)
_CLOCK = "relayprobe tries again by itself."
_SMART_HOST_UNREACHABLE = What(
    "route-later",
    "route",
    "No connection came about: nothing answers there, or a firewall does not let it through.",
    "Check `host` and `port` of the route, and the firewall in between.",
)
TROUBLES: dict[Cause, What] = {
    "no-name": What(
        "route-later",
        "route",
        "The name of the server could not be looked up.",
        "Check `host` of the route for a slip, and whether this machine can ask a name server (DNS).",
    ),
    "nobody-listens": What(
        "route-later",
        "route",
        "The machine is there, but nothing listens on that port.",
        "Check `host` and `port` of the route.",
    ),
    "unreachable": What("route-later", "route", replies.NO_CONNECTION.meaning, replies.NO_CONNECTION.fix),
    "timeout": What("route-later", "route", "The server did not answer in time.", _CLOCK),
    "lost": What("route-later", "route", "The connection was cut.", _CLOCK),
    "garbled": What(
        "route-later",
        "route",
        "What came is not what a mail server answers here, so it cannot be trusted with a mail.",
        "See what stands between relayprobe and the server, and whether host and port are right.",
    ),
    "handshake": What("route-later", "route", "TLS could not be agreed on; nothing is sent without it.", _TLS_FIX),
    "certificate": What(
        "configuration",
        "route",
        "The server could not prove who it is; nothing is sent to a stranger.",
        "If a firewall of your own puts its certificate there, exempt this host from inspection, or name the "
        "firewall's root in `ca_file`. Check also `host`, and the clock of this machine.",
    ),
    "no-starttls": What(
        "configuration", "route", "The server offers no TLS, and nothing is sent without it.", _TLS_FIX
    ),
    "no-mechanism": What(
        "configuration",
        "route",
        "The server takes no login of the kind that is set for this route.",
        "Check `host`, `port` and `tls` of the route, and whether it should use a password or OAuth. The MX endpoint "
        "takes no login at all.",
    ),
    "clear-text": What(
        "configuration",
        "route",
        "A password or token is never sent without TLS.",
        'Set `tls = "starttls"` for the route, or take the login out of it.',
    ),
    "no-secret": What(
        "route-stop", "route", "There is nothing to log in with.", "Give the route a new password, or sign in anew."
    ),
    "no-secret-yet": What("route-later", "route", "The token could not be fetched for now.", _CLOCK),
    "unsuitable": What("never", "mail", "This mail cannot be sent to this server as it is."),
    "own-text": What(
        "configuration",
        "mail",
        "The text that relayprobe kept is not fit to be sent, so it was broken off before its end.",
        "Look at the mail with `relayprobe queue show`, and report this.",
    ),
}

_ECHO = re.compile(r"<[^<>]*>|\"[^\"]*\"")


def judged(said: Said, stage: Stage, mode: Mode | None) -> What:
    """What to do about it. `mode`: the mode of the route, None for a smart host that is not Office 365's."""
    if isinstance(said, Trouble):
        if said.cause == "unreachable" and mode is None:
            return _SMART_HOST_UNREACHABLE
        return TROUBLES[said.cause]
    answer = _recognised(said, stage, mode) if mode else None
    kind = _kind_by_class(said, stage)
    if answer is None:
        return What(kind, SCOPE_OF[kind], _by_class(said))
    known = KIND_OF[answer.retry]
    if answer in TOO_FAST:
        kind = "throttled"
    elif known in ("retry", "never"):
        # The class decides what the data cannot: a 4xx may be accepted later, and before MAIL no mail is refused. But
        # a 5xx whose words are those of a passing fault is one.
        kind = known if known == "retry" and kind == "never" else kind
    else:
        kind = known
    meaning = f"{answer.meaning} Not certain: {answer.doubt}." if answer.doubt else answer.meaning
    return What(kind, _scope(kind, answer, stage), meaning, answer.fix, answer)


def _recognised(reply: Reply, stage: Stage, mode: Mode) -> Answer | None:
    """The one reply of Office 365 that this is, or None where it may be several that are not judged alike."""
    # Servers repeat addresses, and an address may have the words of a reply in it, put there to stop the route.
    lines = [_ECHO.sub("<>", text) for text in reply.text.split("\n")]
    wire = [f"{reply.code}-{text}" for text in lines[:-1]] + [f"{reply.code} {lines[-1]}"]
    matches = recognise("\n".join(wire)).matches
    worded = [match.answer for match in matches if match.by == "words"]
    if worded:
        return worded[0]
    numbered = [match.answer for match in matches if _may_be(match, mode)]
    here = [answer for answer in numbered if stage in (answer.stage, *answer.also)] or numbered
    return here[0] if here and len({answer.retry for answer in here}) == 1 else None


def _may_be(match: Match, mode: Mode) -> bool:
    return match.by == "number" and mode in match.answer.modes


def _kind_by_class(reply: Reply, stage: Stage) -> Kind:
    """What the code says where the words are not known."""
    if stage == "auth" and reply.code >= 500:
        return "route-stop"
    if stage in ROUTE_STAGES or reply.code == 421:
        return "route-later"
    if reply.code in LOGIN_NEEDED:
        return "route-stop"
    if reply.code == 432:
        return "throttled"
    return "never" if reply.code >= 500 else "retry"


def _by_class(reply: Reply) -> str:
    says = CLASSES.get(str(reply.code)[0], "")
    subject = SUBJECTS.get(reply.enhanced.split(".")[1]) if reply.enhanced else None
    words = f"{says}; about {subject}" if subject else says
    return f"{words[:1].upper()}{words[1:]}."


def _scope(kind: Kind, answer: Answer, stage: Stage) -> Scope:
    if kind == "configuration" and (stage in ROUTE_STAGES or answer in THE_SITE):
        return "route"
    return "mail" if answer in ONE_RECIPIENT else SCOPE_OF[kind]
