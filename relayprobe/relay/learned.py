"""Who has tried to send: what the list of devices is made of, and whether they can be told apart by their addresses.

Learn mode notes every device that comes, and the relay those that it refuses: a bounded number of them, each with the
names that it gave. Where all of them come from one gateway, a list of addresses lets in all or none, and that is said.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

from relayprobe.relay.devices import address_of, is_of_the_site

MOST_DEVICES = 1000
MOST_NAMES = 8
"""Names of one kind that are kept of a device: more than that and it is none, but a gateway or a scanner of ports."""
LONGEST_NAME = 254


@dataclass(frozen=True, slots=True)
class Tried:
    """A device that was seen: by which names it greeted, logged in and sent. Times are Unix time."""

    host: str
    first: float
    last: float
    count: int = 1
    helos: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()


class Learned:
    """The devices that tried, a thousand at the most. Where there are more, those that tried least often go first, the
    oldest of them before the others: a flood of strangers does not push out a printer that tries again and again."""

    def __init__(self, most: int = MOST_DEVICES) -> None:
        self._most = most
        self._tried: dict[str, Tried] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._tried)

    def __iter__(self) -> Iterator[Tried]:
        """The latest first."""
        return iter(sorted(self._tried.values(), key=lambda tried: tried.last, reverse=True))

    def note(self, host: str, at: float, *, helo: str = "", login: str = "", sender: str = "") -> None:
        """A device came. What is not an address is nobody."""
        address = address_of(host)
        if address is None:
            return
        key = str(address)
        known = self._tried.get(key)
        if known is None and len(self._tried) >= self._most:
            del self._tried[min(self._tried.values(), key=lambda tried: (tried.count, tried.last)).host]
            self.forgotten += 1
        before = known or Tried(key, at, at, 0)
        self._tried[key] = replace(
            before,
            last=max(before.last, at),
            count=before.count + 1,
            helos=_with(before.helos, helo),
            logins=_with(before.logins, login),
            senders=_with(before.senders, sender),
        )

    def as_toml(self) -> str:
        """The setting to paste into [relay], a line for each device with what is known of it. A public address is only
        shown: whose it is, a person has to say."""
        lines = [_toml_line(tried) for tried in sorted(self._tried.values(), key=_by_address)]
        return "\n".join(["devices = [", *lines, "]"])


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    name = name[:LONGEST_NAME]
    return names if not name or name in names or len(names) >= MOST_NAMES else (*names, name)


def _by_address(tried: Tried) -> tuple[int, int]:
    address = ip_address(tried.host)
    return address.version, int(address)


def _toml_line(tried: Tried) -> str:
    public = not is_of_the_site(ip_network(tried.host))
    names = ", ".join(map(_in_a_comment, (*tried.helos[:2], *tried.logins[:2], *tried.senders[:2])))
    times = "once" if tried.count == 1 else f"{tried.count} times"
    said = f"{names}: {times}" if names else times
    return f'    {"# " if public else ""}"{tried.host}",  # {"a public address; is it yours? " if public else ""}{said}'


def _in_a_comment(name: str) -> str:
    """A device's own words, in which nothing ends the comment."""
    return re.sub(r"[^ -~]", "?", name[:60])


BRIDGES = {"172.17.0.1": "Docker's bridge", "10.88.0.1": "Podman's bridge"}
"""Where all comes from that a container's published port is given."""

_MANY = 4
"""Names from one address from which on it is taken for several devices."""

_ROUTES = Path("/proc/self/net/route")  # /proc/net is hidden from a service with ProcSubset=pid
_LONGEST_TABLE = 65536


def gateway_warning(seen: Iterable[Tried], gateways: Collection[str] = ()) -> str | None:
    """What to say where every device seems to come from one gateway: then a rule by address lets in all, or none.

    The network's own gateway may be a router that sends mail of its own, so there it takes two names, and at an address
    that is not known for it more; a container's bridge never sends.
    """
    devices = list(seen)
    if len({tried.host for tried in devices}) != 1:
        return None
    host = devices[0].host
    helos = {name for tried in devices for name in tried.helos}
    logins = {name for tried in devices for name in tried.logins}
    senders = {name for tried in devices for name in tried.senders}
    names = max(helos, logins, senders, key=len)
    bridge, known = BRIDGES.get(host), host in {str(address_of(gateway)) for gateway in gateways}
    # A program with many senders is one device all the same: at an address like any other they say nothing.
    if not bridge and len(names if known else max(helos, logins, key=len)) < (2 if known else _MANY):
        return None
    what = bridge or ("the gateway of this network" if known else "which goes by many names")
    shown = ", ".join(_in_a_comment(name) for name in sorted(names)[:3]) or "no names"
    return (
        f"Every mail so far comes from {host}, {what}, so the devices behind it ({shown}) cannot be told apart by "
        "their addresses: a rule that names it lets in all that it passes on. "
        + (
            "Run the container in the host's network"
            if bridge
            else "Put the relay into the devices' own network, or switch off address translation (NAT) between them"
        )
        + "; or give each device a login, and name the logins in devices."
    )


def default_gateways(table: Path = _ROUTES) -> frozenset[str]:
    """The default gateways of this machine, as Linux tells them; none where it does not."""
    try:
        with table.open(encoding="ascii", errors="replace") as file:
            lines = file.read(_LONGEST_TABLE).splitlines()[1:]
    except OSError:
        return frozenset()
    return frozenset(filter(None, map(_gateway_in, lines)))


def _gateway_in(line: str) -> str | None:
    """Interface, destination, gateway, flags, ...: addresses in hexadecimal, in the machine's own order of octets."""
    words = line.split()
    if len(words) < 4 or words[1] != "00000000" or words[2] == "00000000":
        return None
    try:
        octets = int(words[2], 16).to_bytes(4, sys.byteorder)
    except (ValueError, OverflowError):
        return None
    return str(IPv4Address(octets))
