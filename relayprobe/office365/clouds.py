"""The clouds that Office 365 is run in. Which one a tenant is in decides who issues its tokens and who takes its mail.

GCC (without High) is served by the worldwide cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from relayprobe.office365 import sources

CloudName = Literal["worldwide", "gcc-high", "dod", "china"]

CLOUD_NAMES: tuple[CloudName, ...] = get_args(CloudName)

_ENDPOINT_LISTS = (
    "Microsoft, microsoft-365-docs: tables of endpoints (worldwide 2022-07-28, GCC High 2023-03-01, DoD 2020-07-28, "
    "21Vianet 2021-03-29)"
)
_TOKEN_HOSTS = "tarickb/sasl-xoauth2 (2026-04-14) and simonrob/email-oauth2-proxy (2026-04-21), sample configurations"


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud. `application`: the scope of a program that signs in for itself; `delegated`: of a person who does.

    `mx`: what the names of its MX hosts end in. `doubt`: what is not certain, None if nothing is.
    """

    authority: str
    application: str
    delegated: str
    submission: str
    mx: tuple[str, ...]
    source: str
    doubt: str | None = None


CLOUDS: Mapping[CloudName, Cloud] = {
    "worldwide": Cloud(
        authority="login.microsoftonline.com",
        application="https://outlook.office365.com/.default",
        delegated="https://outlook.office.com/SMTP.Send",
        submission="smtp.office365.com",
        mx=(".mail.protection.outlook.com", ".mx.microsoft"),
        source=f"{sources.OAUTH}; {sources.SETUP}; {sources.MX_NAMES}",
    ),
    "gcc-high": Cloud(
        authority="login.microsoftonline.us",
        application="https://outlook.office365.us/.default",
        delegated="https://outlook.office365.us/SMTP.Send",
        submission="outlook.office365.us",
        mx=(".protection.office365.us",),
        source=f"{_ENDPOINT_LISTS}; {_TOKEN_HOSTS}",
        doubt=(
            "Microsoft's list names outlook.office365.us for submission, and configurations in use name "
            "smtp.office365.us: where one does not answer, try the other. That permissions are named as in the "
            "worldwide cloud is inferred."
        ),
    ),
    "dod": Cloud(
        authority="login.microsoftonline.us",
        application="https://outlook.office365.us/.default",
        delegated="https://outlook.office365.us/SMTP.Send",
        submission="outlook-dod.office365.us",  # webmail.apps.mil as well
        mx=(".protection.office365.us", ".protection.apps.mil"),
        source=f"{_ENDPOINT_LISTS}; {_TOKEN_HOSTS}",
        doubt=(
            "the resource that tokens are asked for may be outlook-dod.office365.us instead. That permissions are "
            "named as in the worldwide cloud is inferred."
        ),
    ),
    "china": Cloud(
        authority="login.partner.microsoftonline.cn",
        application="https://partner.outlook.cn/.default",
        delegated="https://partner.outlook.cn/SMTP.Send",
        submission="smtp.partner.outlook.cn",
        mx=(".mail.protection.partner.outlook.cn",),
        source=f"{_ENDPOINT_LISTS}; {_TOKEN_HOSTS}",
        doubt=(
            "the names of the submission host and of the MX hosts are recalled, not found in a source. That "
            "permissions are named as in the worldwide cloud is inferred."
        ),
    ),
}
