"""What the settings of the relay come to, checked as a whole before anything is opened: who may send, the routes, every
secret and certificate that is named."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from relayprobe.capture.tls import CertificateError
from relayprobe.relay.devices import devices_of
from relayprobe.relay.gate import Rules
from relayprobe.relay.logins import LoginError, Logins
from relayprobe.relay.mx import name_server
from relayprobe.relay.oauth import certificate_expires, expiry_warning
from relayprobe.relay.permitted import permitted
from relayprobe.relay.repair.terms import ALWAYS, REPAIRS
from relayprobe.relay.routes import Route, origin_of, path_in, routes_of
from relayprobe.relay.secrets import Origin, SecretError, read
from relayprobe.relay.text import Habit, habit_of
from relayprobe.relay.tls import client_context
from relayprobe.settings import Settings

NO_DEVICES = (
    "`relay` needs a list of devices, or it would send for anybody: name addresses, networks or logins in [relay], "
    'such as devices = ["192.168.1.0/24"]; `relayprobe relay --learn 1h` collects those that try'
)


class RelayError(Exception):
    """The settings do not make a relay; the text is one sentence that names the way out."""


@dataclass(frozen=True)
class Plan:
    """A relay, ready to be put together. `warnings`: sentences for whoever starts it."""

    rules: Rules
    habit: Habit
    token_key: Origin | None
    warnings: tuple[str, ...]


def plan_of(
    settings: Settings,
    config: Path | None,
    *,
    learning: bool = False,
    testing: bool = False,
    today: date | None = None,
) -> Plan:
    """The plan by the settings. `config` is the file they come from. `testing`: no device is let in. Raises
    RelayError."""
    base = config.parent if config else Path()
    relay = settings.relay
    if not relay.devices and not learning and not testing:
        raise RelayError(NO_DEVICES)
    if not settings.route and not learning:
        raise RelayError("`relay` needs a way out: add a [[route]] to the configuration (the README shows some)")
    if unknown := set(relay.repairs_off) - set(REPAIRS):
        raise RelayError(f"relay.repairs_off: there is no repair {min(unknown)}: known are {', '.join(REPAIRS)}")
    if fixed := set(relay.repairs_off) & ALWAYS:
        raise RelayError(
            f"relay.repairs_off: {min(fixed)} cannot be switched off: without it mail could be smuggled in"
        )
    try:
        token_key = origin_of(relay, "token_key", base, "relay.token_key")
        routes = routes_of(settings.route, base, token_key)
        logins = (
            Logins({user: kept.get_secret_value() for user, kept in relay.logins.items()}) if relay.logins else None
        )
        devices = devices_of(relay.devices, open_to_the_world=relay.open_to_the_world)
        if devices.logins - {user.lower() for user in relay.logins}:
            name = min(devices.logins - {user.lower() for user in relay.logins})
            raise RelayError(
                f"relay.devices: {name} is a login without a password: put it into [relay.logins], with what "
                "`relayprobe password` prints"
            )
        _check_devices(settings)
        if relay.notify.webhook_secret_file is not None:
            read(Origin(file=path_in(base, relay.notify.webhook_secret_file), key="relay.notify.webhook_secret_file"))
        rules = Rules(
            devices=devices,
            routes=routes,
            logins=logins,
            permitted=permitted(relay.recipients, relay.deny_recipients, relay.senders),
            lenient=relay.lenient,
            sender_domain=settings.relay.sender_domain or next(iter(settings.site.domains), None),
            at_once=relay.when == "at-once",
            queue=relay.queue,
            learning=learning,
        )
        warnings = [warning for route in routes for warning in _looked_at(route, today or datetime.now(UTC).date())]
    except (ValueError, LoginError, SecretError, CertificateError) as error:
        raise RelayError(str(error)) from None
    warnings += [
        f"route {route.name} leads to this machine, port {route.port}: where that is relayprobe's own port, mail goes "
        "in a circle and is refused"
        for route in routes
        if _is_here(route) and any(_port_of(text) == route.port for text in settings.listen.on)
    ]
    if config is not None and _holds_secrets(settings) and config.stat().st_mode & 0o077:
        warnings.append(f"others on this machine can read the passwords in {config}: run `chmod 600 {config}`")
    if relay.open_to_the_world:
        warnings.append("open_to_the_world is set: anybody who reaches this relay from the networks named may send")
    return Plan(rules, habit_of(settings), token_key, tuple(warnings))


def _check_devices(settings: Settings) -> None:
    """Whether the devices that are named beside [relay] can be met. Raises ValueError."""
    known = {user.lower() for user in settings.relay.logins}
    named = [("relay.lenient", settings.relay.lenient)]
    named += [(f"route {route.name}", route.devices) for route in settings.route]
    named += [(f"rewrite[{n}]", rule.devices) for n, rule in enumerate(settings.rewrite, 1)]
    for key, entries in named:
        try:
            found = devices_of(entries, open_to_the_world=True)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if unknown := found.logins - known:
            raise ValueError(
                f"{key}: devices: there is no login {min(unknown)} in [relay.logins]: it would never match"
            )


def _holds_secrets(settings: Settings) -> bool:
    """Whether a secret stands in the configuration itself."""
    routes = settings.route
    given = [settings.relay.token_key, settings.relay.notify.webhook, *(route.password for route in routes)]
    given += [secret for route in routes if route.oauth for secret in (route.oauth.secret, route.oauth.key)]
    return any(secret is not None for secret in given) or bool(settings.accounts)


def _looked_at(route: Route, today: date) -> list[str]:
    """What is to be said of a route's secrets and certificates, each of which is read once. Raises what that raises."""
    warnings = list(route.notes)
    client_context(route.ca_file, route.client_certificate, route.client_key)
    if route.resolver is not None:
        name_server(route.resolver)
    if route.password is not None:
        read(route.password)
    application = route.oauth
    if application is not None:
        if application.ca_file is not None:
            client_context(application.ca_file, None, None)
        if application.secret is not None:
            read(application.secret)
        if application.certificate is not None:
            warnings += filter(
                None, [expiry_warning(today, certificate_expires(application.certificate), "the certificate")]
            )
        if isinstance(route.secret_expires, date):
            warnings += filter(None, [expiry_warning(today, route.secret_expires)])
        if not application.alone and route.token_key is None:
            raise SecretError(
                f"route {route.name}: a sign-in by device code is kept encrypted, so it needs a key: name one, such as "
                'token_key_file = "token.key" in [relay]; `relayprobe login` makes it'
            )
    return [f"route {route.name}: {warning}" for warning in warnings]


def _is_here(route: Route) -> bool:
    if route.host is None:
        return False
    if route.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(route.host).is_loopback
    except ValueError:
        return False


def _port_of(text: str) -> int:
    number = text.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0
