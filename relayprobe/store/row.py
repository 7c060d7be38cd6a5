"""One line of the list of sessions: who, when, and what was found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a session may be called. It names files, so it has no dot, no slash, and is made by us, never by mail."""


@dataclass(frozen=True, slots=True)
class Row:
    """A session as `relayprobe sessions` lists it. Times are Unix time in seconds; `ended` is None while it goes on.

    `peer` is `host:port`, `[host]:port` for IPv6. `context` is JSON text: mode, imitate and site as they were at the
    time. `worst` is the worst severity among the findings, None without any. `octets` counts the messages' octets.

    `codes`: the codes of refusals, as given and as Office 365 would give them: `535`, `5.7.3`. `tls`: the version,
    `none` or `failed`. `login`: the mechanism of the last one, and how it went (`LOGIN refused`). `device`: as
    recognised. `verdict`: whether the way that was meant works (`yes`, `risks`, `no`, `unseen`). Each is empty where it
    is not known.
    """

    id: str
    started: float
    ended: float | None
    peer: str
    listener: str
    context: str = "{}"
    users: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    worst: str | None = None
    messages: int = 0
    octets: int = 0
    recipients: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    tls: str = ""
    login: str = ""
    device: str = ""
    verdict: str = ""


@lru_cache(1024)  # devices come again and again
def host_of(peer: str) -> str:
    """The host of `host:port`, `[host]:port` or a host alone, spelt one way: `[::FFFF:1.2.3.4]:25` is `1.2.3.4`."""
    host = peer.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower()
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)  # a device seen through a listener for both families is the same device
    return str(address)
