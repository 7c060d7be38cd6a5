"""Routes: the ways out that are configured, and which of them a mail takes.

The first route whose conditions a recipient meets is taken; one without conditions takes everybody. What the settings
leave open comes from what Office 365 demands in the mode (office365.endpoints, office365.clouds).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from relayprobe.office365.clouds import CLOUDS
from relayprobe.office365.endpoints import (
    ACS_LARGEST,
    ACS_RECIPIENTS,
    ENDPOINTS,
    HVE_LARGEST,
    HVE_RECIPIENTS,
    VARIANTS,
)
from relayprobe.office365.modes import Way
from relayprobe.relay.oauth import Application
from relayprobe.relay.secrets import Origin
from relayprobe.settings.relay import OAuthSettings, RouteSettings, SecretFrom

Mode = Literal["submission", "direct-send", "connector", "smart-host", "auto"]

# office365.endpoints, client submission: of one mailbox
CONNECTIONS, PER_MINUTE, PER_DAY, PER_MESSAGE = 3, 30, 10_000, 500
_AT_MX_CONNECTIONS = 10
_AT_MX_RECIPIENTS = 100  # fewer than any server refuses (RFC 5321 4.5.3.1.8)
_HVE_PER_MINUTE = 2000  # it is made for volume, and names no figure


@dataclass(frozen=True, slots=True)
class Route:
    """One way out, everything filled in.

    `host` None: the MX host of `domain` is looked up. `mailbox`: the address that the sender is rewritten to, but for
    senders that match `send_as`. `per_minute` and `per_day` None: as fast as it goes. Sizes in octets.
    """

    name: str
    mode: Mode
    way: Way | Literal["smart-host"] = "smart-host"
    devices: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    host: str | None = None
    domain: str | None = None
    port: int = 25
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    tls_name: str | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    resolver: str | None = None
    user: str | None = None
    password: Origin | None = None
    oauth: Application | None = None
    token_key: Origin | None = None
    secret_expires: object = None  # a date, for a warning
    mailbox: str | None = None
    send_as: tuple[str, ...] = ()
    fallback: str | None = None
    over: tuple[str, ...] = ()
    connections: int = CONNECTIONS
    per_minute: int | None = None
    per_day: int | None = None
    per_message: int = PER_MESSAGE
    largest: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def place(self) -> str:
        """Where it goes, in words."""
        return f"{self.host or f'the MX of {self.domain}'}:{self.port}"

    def rewrites(self, sender: str) -> str | None:
        """The address that a sender is rewritten to; None where it may stay."""
        if self.mailbox is None or sender.lower() == self.mailbox.lower() or matches(self.send_as, sender):
            return None
        return self.mailbox


def routes_of(
    settings: Sequence[RouteSettings], base: Path, token_key: Origin | None = None, domain: str | None = None
) -> tuple[Route, ...]:
    """The routes by the settings. Paths count from `base`, the folder of the configuration, if there is such a file.
    `domain`: the first accepted domain. Raises ValueError with a sentence."""
    return tuple(_route(one, base, token_key) for one in settings)


def _route(given: RouteSettings, base: Path, token_key: Origin | None) -> Route:
    cloud = CLOUDS[given.cloud]
    at_mx = given.mode in ("direct-send", "connector")
    submission = given.mode == "submission"
    variant = VARIANTS[given.variant] if given.variant else None
    mailbox = given.mailbox
    if mailbox is None and submission and given.user and "@" in given.user:
        mailbox = given.user
    if given.variant == "azure-communication-services" and mailbox is None:
        raise ValueError(f"route {given.name}: give `mailbox`, the sender address that is set up on the domain")
    way: Way | Literal["smart-host"] = "smart-host"
    if given.variant:
        way = given.variant
    elif submission:
        way = "submission-oauth" if given.oauth else "submission"
    elif at_mx:
        way = "direct-send" if given.mode == "direct-send" else "connector"
    host = given.host or (variant.host if variant else cloud.submission if submission else None)
    limits = {
        "high-volume-email": (_HVE_PER_MINUTE, None, HVE_RECIPIENTS, HVE_LARGEST),
        "azure-communication-services": (PER_MINUTE, None, ACS_RECIPIENTS, ACS_LARGEST),
    }.get(given.variant or "", (PER_MINUTE, PER_DAY, PER_MESSAGE, None) if submission else (None, None, None, None))
    per_minute, per_day, per_message, largest = limits
    starttls_port = ENDPOINTS["submission"].port if submission else ENDPOINTS["direct-send"].port
    tls = given.tls or "starttls"
    return Route(
        name=given.name,
        mode=given.mode,
        way=way,
        devices=given.devices,
        senders=given.senders,
        recipients=given.recipients,
        host=host,
        domain=given.domain,
        port=given.port or (465 if tls == "implicit" else starttls_port),
        tls=tls,
        tls_name=given.tls_name,
        ca_file=path_in(base, given.ca_file),
        client_certificate=path_in(base, given.client_certificate),
        client_key=path_in(base, given.client_key),
        resolver=given.resolver,
        user=given.user,
        password=origin_of(given, "password", base, f"route {given.name}: password"),
        oauth=_application(given.oauth, given, base) if given.oauth else None,
        token_key=(given.oauth and origin_of(given.oauth, "key", base, f"route {given.name}: oauth.key")) or token_key,
        secret_expires=given.oauth.secret_expires if given.oauth else None,
        mailbox=mailbox,
        send_as=given.send_as,
        fallback=given.fallback,
        over=given.over,
        connections=given.connections or (CONNECTIONS if submission else _AT_MX_CONNECTIONS),
        per_minute=given.messages_per_minute or per_minute,
        per_day=given.recipients_per_day or per_day,
        per_message=given.recipients_per_message or per_message or _AT_MX_RECIPIENTS,
        largest=given.message_size or largest,
        notes=(cloud.doubt,) if cloud.doubt and (submission or at_mx) and given.host is None else (),
    )


def _application(given: OAuthSettings, route: RouteSettings, base: Path) -> Application:
    try:
        return Application(
            tenant=given.tenant,
            client_id=given.client_id,
            cloud=given.cloud if given.cloud != "worldwide" else route.cloud,
            secret=origin_of(given, "secret", base, f"route {route.name}: oauth.secret"),
            certificate=path_in(base, given.certificate),
            user=route.user or "",
            authority=given.authority,
            ca_file=path_in(base, given.ca_file),
        )
    except ValueError as error:
        raise ValueError(f"route {route.name}: oauth: {error}") from None


def origin_of(given: SecretFrom, name: str, base: Path, key: str) -> Origin | None:
    """Where a secret is to be had; None where none is named."""
    literal, file, env, credential, keyring = (getattr(given, way) for way in given.ways(name))
    if not given.given(name):
        return None
    return Origin(file=path_in(base, file), env=env, credential=credential, keyring=keyring, literal=literal, key=key)


def path_in(base: Path, path: Path | None) -> Path | None:
    """A path of the configuration: beside it, but for what is only there as seen from where we are."""
    if path is None or path.is_absolute():
        return path
    return path if path.exists() and not (base / path).exists() else base / path


# Which route


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is asked of the routes: one recipient of one mail. `user`: the login, where one was proved."""

    host: str
    user: str | None
    sender: str
    recipient: str


def first_match(routes: Iterable[Route], one: Candidate) -> Route | None:
    """The first route that is meant for it."""
    return next((route for route in routes if serves(route, one)), None)


def serves(route: Route, one: Candidate) -> bool:
    """Whether a route is meant for a recipient of a mail."""
    return (
        (not route.devices or is_among(route.devices, one.host, one.user))
        and (not route.senders or matches(route.senders, one.sender))
        and (not route.recipients or matches(route.recipients, one.recipient))
    )


def is_among(devices: Sequence[str], host: str, user: str | None) -> bool:
    """Whether a device is named by its address, its network, or its login."""
    return any(_in_network(entry, host) or (user is not None and entry.lower() == user.lower()) for entry in devices)


def matches(patterns: Sequence[str], address: str) -> bool:
    """Whether an address fits one of `*@contoso.com`, `contoso.com`, `scan*@contoso.com`, in whatever case."""
    return any(_pattern(pattern).fullmatch(address) is not None for pattern in patterns)


@lru_cache(1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    whole = pattern if "@" in pattern or pattern == "*" else f"*@{pattern}"
    return re.compile(".*".join(map(re.escape, whole.split("*"))), re.IGNORECASE | re.DOTALL)


@lru_cache(4096)
def _in_network(entry: str, host: str) -> bool:
    try:
        network, address = ip_network(entry, strict=False), ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped and not isinstance(network, IPv6Network):
        address = address.ipv4_mapped
    return address in network


def by_mailbox(route: Route) -> str:
    """What the pace of a route is counted by: the mailbox, which several routes may share; else the route itself."""
    return route.user.lower() if route.user else f"route {route.name}"
