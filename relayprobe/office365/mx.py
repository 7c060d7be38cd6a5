"""Whose a domain's MX host is, by its name: Office 365's, of one cloud or another, or somebody else's.

An accepted domain of an organization points at Office 365 with a name of one of these endings. Another name is no
fault: a gateway may stand in front. But Direct Send and the connector want Office 365 itself.
"""

from __future__ import annotations

from typing import Literal

from relayprobe.office365 import sources

Kind = Literal["classic", "dnssec", "government", "china", "other"]

ENDINGS: dict[str, Kind] = {
    ".mail.protection.outlook.com": "classic",
    ".mx.microsoft": "dnssec",
    ".protection.office365.us": "government",  # GCC High and DoD
    ".protection.apps.mil": "government",  # DoD
    ".mail.protection.partner.outlook.cn": "china",
}
"""The endings and the cloud that has them; `dnssec` is the form that new domains get."""

SOURCE = (
    f"{sources.SETUP}; {sources.MX_NAMES}; Microsoft, microsoft-365-docs: endpoints of GCC High (2023-03-01) and DoD "
    "(2020-07-28)"
)
DOUBTS: dict[Kind, str] = {"china": "the ending of the cloud in China is recalled, not found in a source"}


def kind_of(host: str) -> Kind:
    """Whose the name is."""
    name = host.rstrip(".").lower()
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending) and name != ending), "other")
