"""Who may send through the relay.

All is closed by default. A device is let in by its address, by its network, or by a login that was checked. A network
that reaches beyond the site lets strangers in, so it needs a loud option.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

OF_THE_SITE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 "
    "fc00::/7 fe80::/10 ::1/128".split()
)
"""Networks that nobody on the internet sends from (RFC 1918, 6598, 3927, 1122, 4193, 4291)."""

_MAPPED = IPv6Network("::ffff:0:0/96")

# What has one of these, or nothing but digits and dots, is meant to be an address or a network, and not a login.
_NOT_IN_A_LOGIN = re.compile(r"[\s/:*,;<>\"\x00-\x1f\x7f]|^[\d.]*$")


@dataclass(frozen=True, slots=True)
class Devices:
    """Who may send. False where nobody is named: then nobody may."""

    networks: tuple[Network, ...] = ()
    logins: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.networks or self.logins)

    def allows_address(self, host: str) -> bool:
        """Whether what comes from this address may send."""
        address = address_of(host)
        return address is not None and any(address in network for network in self.networks)

    def allows_login(self, user: str) -> bool:
        """Whether this login may send, from wherever it comes. It has to be one whose password was right."""
        return user.strip().lower() in self.logins


def devices_of(told: Iterable[str], *, open_to_the_world: bool = False) -> Devices:
    """Devices from addresses, networks and logins; ValueError with a sentence where one cannot be meant."""
    networks, logins = [], set()
    for entry in (text.strip() for text in told):
        if network := _network(entry):
            if not open_to_the_world and _reaches_out(network):
                raise ValueError(
                    f"devices: {entry} lets strangers on the internet send through this relay: name the networks of "
                    "your own site, such as 192.168.1.0/24, or single addresses; whoever does mean it sets "
                    "open_to_the_world = true"
                )
            networks.append(network)
        elif entry and not _NOT_IN_A_LOGIN.search(entry):
            logins.add(entry.lower())
        else:
            raise ValueError(
                f"devices: {entry!r} is no address, network or login: write one such as 10.0.0.5, 192.168.1.0/24 or "
                "printer-login"
            )
    return Devices(tuple(dict.fromkeys(networks)), frozenset(logins))


def _network(entry: str) -> Network | None:
    try:
        network = ip_network(entry)
    except ValueError:
        _refuse_bits_of_a_host(entry)
        return None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):  # a dual-stack socket shows IPv4 so
        mapped = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _refuse_bits_of_a_host(entry: str) -> None:
    """192.168.1.20/24 may mean the device or its network, and the one lets in 255 more than the other."""
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return
    address = entry.partition("/")[0]
    raise ValueError(f"devices: {entry} may mean two things: write {network} for the network, or {address} for one")


def _reaches_out(network: Network) -> bool:
    """A single public address is somebody; a network of them, or one that holds some, is anybody."""
    alone = network.prefixlen == network.max_prefixlen
    return network.network_address.is_unspecified or not (alone or is_of_the_site(network))


def is_of_the_site(network: Network) -> bool:
    """Whether nothing on the internet can send from it."""
    return any(
        network.version == own.version and network.subnet_of(own)  # type: ignore[arg-type]
        for own in OF_THE_SITE
    )


def address_of(host: str) -> Address | None:
    """The address, an IPv4-mapped one as the IPv4 address it is; None where it is none."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
