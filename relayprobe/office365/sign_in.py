"""What the token host answers when it gives no token, whether waiting helps, and what to do.

The error's name is OAuth's (RFC 6749 section 5.2, RFC 8628 section 3.5) and says whose turn it is; the AADSTS number
in the text is Microsoft's, and says more where we know it. A name that is not in the table stops the route: to repeat
what was refused mends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relayprobe.office365 import sources

Kind = Literal["later", "stop"]

_AADSTS = re.compile(r"AADSTS\d{4,8}")
_RFC = "RFC 6749 (2012-10), RFC 8628 (2019-08)"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`means`: what is wrong; `fix`: what to do, empty where the server's own words must do."""

    kind: Kind
    means: str
    fix: str
    source: str


CODES: Mapping[str, Refusal] = {
    "AADSTS7000215": Refusal(
        "stop",
        "the client secret is not the application's",
        "Often the secret's ID was copied in place of its value: make a new secret (Entra admin center > App "
        "registrations > Certificates & secrets), copy the Value, and put it where the settings say.",
        sources.OAUTH_CHECKLIST,
    ),
    "AADSTS7000222": Refusal(
        "stop",
        "the client secret has expired",
        "Make a new secret (Entra admin center > App registrations > Certificates & secrets), copy the Value, put it "
        "where the settings say, and its date into secret_expires.",
        sources.OAUTH_CHECKLIST,
    ),
}

ERRORS: Mapping[str, Refusal] = {
    "invalid_client": Refusal(
        "stop",
        "the application was not let in",
        "Check the client id, and the secret or certificate that is registered for it.",
        _RFC,
    ),
    "invalid_grant": Refusal(
        "stop",
        "the sign-in is not valid, or not valid any more",
        "Run `relayprobe login` again; where it goes on, check the application's permissions and their consent.",
        _RFC,
    ),
    "unauthorized_client": Refusal(
        "stop",
        "the application is not known in this tenant, or may not sign in this way",
        "Check the tenant and the client id; for `relayprobe login` the application must allow public client flows.",
        _RFC,
    ),
    "invalid_scope": Refusal(
        "stop", "the scope that was asked for does not exist here", "Check that `cloud` is the tenant's own.", _RFC
    ),
    "access_denied": Refusal("stop", "the sign-in was declined", "Run `relayprobe login` again.", _RFC),
    "expired_token": Refusal("stop", "the code was not entered in time", "Run `relayprobe login` again.", _RFC),
    "authorization_declined": Refusal("stop", "the sign-in was declined", "Run `relayprobe login` again.", _RFC),
    "server_error": Refusal("later", "the token host has trouble of its own", "", _RFC),
    "temporarily_unavailable": Refusal("later", "the token host has trouble of its own", "", _RFC),
}

OTHER = Refusal("stop", "the token host refused", "", _RFC)

MAY_BE_BLOCKED = (
    "Many organizations block sign-in by device code (Microsoft recommends it, and has rolled out such a policy since "
    "February 2025): if yours does, use a client secret or certificate instead."
)
MAY_BE_BLOCKED_SOURCE = (
    "Microsoft Learn: Block authentication flows with Conditional Access policy; pages on the managed policy of "
    "February 2025"
)


def named(error: str, description: str) -> str:
    """What to call a refusal in short: Microsoft's number, else OAuth's name."""
    found = _AADSTS.search(description)
    return found[0] if found else error


def refusal(error: str, description: str) -> Refusal:
    """What a refusal means."""
    known = ERRORS.get(error, OTHER)
    return CODES.get(named(error, description), known) if known.kind == "stop" else known
