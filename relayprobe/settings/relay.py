"""The tables of the relay: who may send through it, on which routes, and how it behaves towards both sides."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relayprobe.settings.kinds import (
    Cidr,
    Count,
    Domain,
    Duration,
    HostName,
    Mailbox,
    Mailboxes,
    ModeName,
    Names,
    Patterns,
    Place,
    PortNumber,
    Section,
)

RouteMode = ModeName | Literal["smart-host", "auto"]
Variant = Literal["high-volume-email", "azure-communication-services"]
CloudName = Literal["worldwide", "gcc-high", "dod", "china"]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


OneOrMore = Annotated[Names, BeforeValidator(_one_or_more)]
Addresses = Annotated[Mailboxes, BeforeValidator(_one_or_more)]
Argv = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Durations = Annotated[tuple[Duration, ...], Field(min_length=1)]


class SecretFrom(Section):
    """A secret and the ways to give it, of which one is taken."""

    @classmethod
    def ways(cls, name: str) -> tuple[str, ...]:
        """The keys that give the secret `name`."""
        return name, f"{name}_file", f"{name}_env", f"{name}_credential", f"{name}_keyring"

    def given(self, name: str) -> list[str]:
        """Those of them that were given."""
        return [key for key in self.ways(name) if getattr(self, key) is not None]

    def _only_one(self, name: str) -> None:
        given = self.given(name)
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one of them")


class OAuthSettings(SecretFrom):
    """How a route signs in with OAuth."""

    tenant: str = "common"
    client_id: str
    flow: Literal["client-credentials", "device-code"] = "client-credentials"
    cloud: CloudName = "worldwide"
    secret: SecretStr | None = None
    secret_file: Path | None = None
    secret_env: str | None = None
    secret_credential: str | None = None
    secret_keyring: str | None = None
    secret_expires: date | None = None
    certificate: Path | None = None
    key: SecretStr | None = None
    key_file: Path | None = None
    key_env: str | None = None
    key_credential: str | None = None
    key_keyring: str | None = None
    authority: str | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._only_one("secret")
        self._only_one("key")
        if self.flow == "client-credentials" and not self.given("secret") and self.certificate is None:
            raise ValueError("client credentials need a secret (secret_file, secret_env, ...) or a certificate")
        return self


class RouteSettings(SecretFrom):
    """One way out."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    mode: RouteMode
    variant: Variant | None = None
    cloud: CloudName = "worldwide"
    # What it is for; nothing given: everything.
    devices: OneOrMore = ()
    senders: Patterns = ()
    recipients: Patterns = ()
    # Where it goes.
    host: HostName | None = None
    domain: Domain | None = None
    port: PortNumber | None = None
    tls: Literal["starttls", "implicit", "none"] | None = None
    tls_name: HostName | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    resolver: str | None = None
    # Who signs in.
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    password_env: str | None = None
    password_credential: str | None = None
    password_keyring: str | None = None
    oauth: OAuthSettings | None = None
    # What is put right.
    mailbox: Mailbox | None = None
    send_as: Patterns = ()
    # What is done when it fails, and how fast it goes.
    fallback: str | None = None
    over: OneOrMore = ()
    connections: Count | None = None
    messages_per_minute: Count | None = None
    recipients_per_day: Count | None = None
    recipients_per_message: Count | None = None
    message_size: Count | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._only_one("password")
        secret = bool(self.given("password"))
        if self.oauth is not None and secret:
            raise ValueError("a password and [route.oauth] exclude each other: give one of them")
        if (secret or self.oauth) and not self.user:
            raise ValueError("a login needs `user`, the address of the mailbox")
        if self.user and not secret and self.oauth is None:
            raise ValueError("`user` needs a password (password_file, password_env, ...) or [route.oauth]")
        if self.tls == "none" and (secret or self.oauth):
            raise ValueError('tls = "none" would show the password to the network: write "starttls" or "implicit"')
        if self.mode == "submission":
            if self.tls == "none":
                raise ValueError('client submission needs TLS: write tls = "starttls"')
            if not secret and self.oauth is None:
                raise ValueError("client submission needs a login: give `user` with password_file, or [route.oauth]")
        if self.mode in ("direct-send", "connector"):
            if secret or self.oauth:
                raise ValueError(f"the MX endpoint takes no login: {self.mode} goes without user and password")
            if self.host is None and self.domain is None:
                raise ValueError("give `domain`, whose MX host is looked up, or `host`")
        if self.mode == "smart-host" and self.host is None:
            raise ValueError("a smart host needs `host`")
        if self.variant and self.mode != "submission":
            raise ValueError(f'{self.variant} is a variant of client submission: write mode = "submission"')
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together: give both, or neither")
        return self


class RewriteSettings(Section):
    """A rule on the sender, before that of the route: for these devices and domains (none: all), this address."""

    devices: OneOrMore = ()
    domains: Patterns = ()
    sender: Mailbox | None = None  # None: the device's own stays


class NotifySettings(Section):
    """Who is told what needs a person."""

    mail: Addresses = ()
    route: str | None = None
    command: Argv = ()
    webhook: SecretStr | None = None  # whoever knows the address may write there
    webhook_secret_file: Path | None = None
    form: Literal["plain", "chat"] = "plain"
    waiting: Duration = 4 * 3600.0
    repeat: Duration = 4 * 3600.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.command and not self.command[0]:
            raise ValueError('command names no program: write its path first, such as ["/usr/local/bin/tell"]')
        if self.webhook is not None:
            address = urlsplit(self.webhook.get_secret_value())
            if address.scheme not in ("http", "https") or not address.hostname:
                raise ValueError("webhook is no address: it begins with https:// or http:// and names a host")
        if self.webhook_secret_file is not None and self.webhook is None:
            raise ValueError("webhook_secret_file goes with webhook: give that, too")
        return self


class RelaySettings(SecretFrom):
    """How mail is taken from devices and sent on."""

    devices: OneOrMore = ()
    lenient: OneOrMore = ()
    open_to_the_world: bool = False
    when: Literal["spooled", "at-once"] = "spooled"
    patience: Duration = 120.0
    retry: Durations = (60.0, 300.0, 900.0, 3600.0, 7200.0)
    lifetime: Duration = 5 * 86400.0
    recipients: OneOrMore = ()
    deny_recipients: OneOrMore = ()
    senders: OneOrMore = ()
    logins: dict[str, SecretStr] = Field(default_factory=dict)
    repairs_off: OneOrMore = ()
    sender_domain: Domain | None = None
    bounce: Literal["sender", "admin", "none"] = "admin"
    queue: Count = 100_000
    metrics: Place | None = None
    token_key: SecretStr | None = None
    token_key_file: Path | None = None
    token_key_env: str | None = None
    token_key_credential: str | None = None
    token_key_keyring: str | None = None
    allow: tuple[Cidr, ...] = ()
    notify: NotifySettings = NotifySettings()
