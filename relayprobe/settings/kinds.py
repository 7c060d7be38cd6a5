"""The kinds of values in the settings: times, sizes, names, networks, each with the words for what is not one."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_DOMAIN = re.compile(r"[^\s@/:.,]+(\.[^\s@/:.,]+)*")  # not only ASCII, for a domain may be internationalized
_PATTERN = re.compile(r"[^\s@<>]+(@[^\s@<>]+)?")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd]?)", value.strip())):
        return float(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("write a time such as 90, 30s, 5m, 2h or 7d")
    return value


def _size(value: Any) -> Any:
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+) ?([KMGT]iB|B|)", value.strip())):
        return int(found[1]) * _SIZES[found[2]]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("write a size such as 500000, 64KiB, 150MiB or 5GiB")
    return value


def _network(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(f"{value!r} is no network: write one such as 203.0.113.0/24") from None
    return value


def _count(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("write a number")
    return value


def _names(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError('write a list of names, such as ["contoso.com"]')
    return tuple(value)


def _domains(value: Any) -> Any:
    for name in (names := _names(value)):
        if not _DOMAIN.fullmatch(name):
            raise ValueError(f"{name!r} is no domain: write what stands behind the @, such as contoso.com")
    return names


def _mailboxes(value: Any) -> Any:
    for name in (names := _names(value)):
        local, _, domain = name.rpartition("@")
        if not local or not _DOMAIN.fullmatch(domain):
            raise ValueError(f"{name!r} is no address: write one such as anna@contoso.com")
    return names


def _address(value: Any) -> Any:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("write an address such as 203.0.113.7") from None


def _mailbox(value: Any) -> Any:
    return _mailboxes([value])[0] if isinstance(value, str) else value


def _domain(value: Any) -> Any:
    return _domains([value])[0] if isinstance(value, str) else value


def _patterns(value: Any) -> Any:
    for pattern in (patterns := _names([value] if isinstance(value, str) else value)):
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern!r} matches no address: write one such as *@contoso.com, or contoso.com")
    return patterns


def _place(value: Any) -> Any:
    host, _, number = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not host or not number.isdecimal() or not 0 < int(number) <= 65535:
        raise ValueError("write HOST:PORT such as 127.0.0.1:9109")
    return value


def _host_name(value: Any) -> Any:
    if not isinstance(value, str) or not _HOST_NAME.fullmatch(value):
        raise ValueError("write a host name: letters, digits, hyphens and dots, such as relayprobe.local")
    return value


Duration = Annotated[float, BeforeValidator(_duration), Field(gt=0)]
Pause = Annotated[float, BeforeValidator(_duration), Field(ge=0, le=60)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
HostName = Annotated[str, BeforeValidator(_host_name)]
Cidr = Annotated[Network, BeforeValidator(_network)]
Count = Annotated[int, BeforeValidator(_count), Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Domains = Annotated[tuple[str, ...], BeforeValidator(_domains)]
Mailboxes = Annotated[tuple[str, ...], BeforeValidator(_mailboxes)]
Mailbox = Annotated[str, BeforeValidator(_mailbox)]
Domain = Annotated[str, BeforeValidator(_domain)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns)]
Place = Annotated[str, BeforeValidator(_place)]
PortNumber = Annotated[int, BeforeValidator(_count), Field(gt=0, le=65535)]
Address = Annotated[str, BeforeValidator(_address)]
Mechanism = Literal["LOGIN", "PLAIN", "XOAUTH2", "CRAM-MD5", "NTLM"]
ModeName = Literal["submission", "direct-send", "connector"]
SmtpAuth = Literal[
    "on", "off-tenant", "off-mailbox", "basic-off", "basic-retired", "security-defaults", "conditional-access"
]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
