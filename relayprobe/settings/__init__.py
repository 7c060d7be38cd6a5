"""Settings: what the command line gives, else the environment, else the TOML file, else the defaults here.

Everything is checked whole when it is loaded. What is wrong is said in one sentence: the key, the file, what would be
right, and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from relayprobe.settings.kinds import (
    Address,
    Cidr,
    Count,
    Domains,
    Duration,
    HostName,
    Mailboxes,
    Mechanism,
    ModeName,
    Pause,
    PortNumber,
    Section,
    Size,
    SmtpAuth,
)
from relayprobe.settings.relay import RelaySettings, RewriteSettings, RouteSettings
from relayprobe.settings.web import WebSettings


class SettingsError(Exception):
    """Something in the settings is wrong; the text is one sentence that names the way out."""


class SiteSettings(Section):
    """What is known of the place the devices send from."""

    domains: Domains = ()
    public_ip: Address | None = None
    connector: bool = False
    mx: HostName | None = None
    static_ip: bool | None = None
    basic_auth: bool = True
    oauth: bool | None = None
    hve: bool | None = None
    acs: bool | None = None
    reject_direct_send: bool | None = None
    blocked_ports: tuple[PortNumber, ...] = ()


class ImitateSettings(Section):
    """What is so in the organization that is imitated."""

    send_as: dict[str, Mailboxes] = Field(default_factory=dict)
    recipients: Mailboxes = ()
    connector: bool = True
    reject_direct_send: bool = False
    smtp_auth: SmtpAuth = "on"
    messages_per_minute: Count = 30
    connections: Count = 3
    recipients_per_message: Count = 500
    delay: Pause = 0.0


class ListenSettings(Section):
    """How devices are listened to."""

    on: tuple[str, ...] = ("0.0.0.0:2525",)
    allow: tuple[Cidr, ...] = ()
    name: HostName = "relayprobe.local"
    mode: ModeName | None = None
    imitate: ModeName | None = None
    pop3: tuple[str, ...] = ()
    mechanisms: tuple[Mechanism, ...] = ("LOGIN", "PLAIN", "XOAUTH2")
    cert: Path | None = None
    key: Path | None = None


class LimitSettings(Section):
    """What one device, and all together, may take."""

    connections: Count = 1000
    connections_per_peer: Count = 50
    command_timeout: Duration = 300.0
    data_timeout: Duration = 300.0
    session_timeout: Duration = 1800.0
    message_size: Size = 150 * 2**20
    recipients: Count = 1000
    messages_per_session: Count = 1000


class RetentionSettings(Section):
    """How long what was captured is kept."""

    session_age: Duration = 30 * 86400.0
    body_age: Duration = 7 * 86400.0
    sessions: Count = 10_000
    size: Size = 5 * 2**30


class LogSettings(Section):
    """Where the log goes."""

    file: Path | None = None
    form: Literal["console", "json"] = "console"


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    data: Path = Path("relayprobe-data")
    site: SiteSettings = SiteSettings()
    accounts: dict[str, SecretStr] = Field(default_factory=dict)
    listen: ListenSettings = ListenSettings()
    imitate: ImitateSettings = ImitateSettings()
    relay: RelaySettings = RelaySettings()
    route: tuple[RouteSettings, ...] = ()
    rewrite: tuple[RewriteSettings, ...] = ()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()

    @model_validator(mode="after")
    def _routes_fit(self) -> Self:
        names = [route.name for route in self.route]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two routes are called {name}: give each [[route]] a name of its own")
        for route in self.route:
            rest = [name for name in names if name != route.name]
            for key, others in (("fallback", (route.fallback,)), ("over", route.over)):
                for other in others:
                    if other is not None and (other not in names or other == route.name):
                        raise ValueError(f"route {route.name}: {key} names {other!r}, which {_nearest(other, rest)}")
        wanted = self.relay.notify.route
        if wanted is not None and wanted not in names:
            raise ValueError(f"relay.notify.route names {wanted!r}, which {_nearest(wanted, names)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the command line and its environment twins gave, over what the file says; both come as arguments."""
        return (init_settings,)

    @property
    def passwords(self) -> dict[str, str]:
        """The accounts, user names in lower case."""
        return {user.lower(): password.get_secret_value() for user, password in self.accounts.items()}


def load(file: Path | None = None, given: dict[str, Any] | None = None) -> Settings:
    """The settings of a file, with what was given on the command line over it. Raises SettingsError."""
    try:
        return Settings(**_over(read(file) if file else {}, given or {}))
    except ValidationError as error:
        raise SettingsError(_sentence(error, file)) from None


def read(file: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises SettingsError."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no configuration file {file}: check the path given with --config") from None
    except OSError as error:
        raise SettingsError(f"the configuration file {file} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None


def shown(settings: Settings) -> dict[str, Any]:
    """All settings as they may be shown: of a secret only that there is one."""
    thing: dict[str, Any] = json.loads(settings.model_dump_json())
    return thing


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"is no other route: did you mean {near[0]}?" if near else "is no other route of this file"


def _sentence(error: ValidationError, file: Path | None) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    *tables, key = first["loc"] or ("",)
    path = _path(first["loc"])
    where = f" in {file}" if file else ""
    if first["type"] == "extra_forbidden":
        known = _keys(tables)
        near = [_path((*tables, name)) for name in difflib.get_close_matches(str(key), known, n=1)]
        near += [f"{table}.{key}" for table in Settings.model_fields if key in _keys([table])]
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {path}{where}: {hint}"
    says = _PLAINLY.get(first["type"]) or first["msg"].removeprefix("Value error, ").replace(
        "Input should be", "it should be"
    )
    return f"{path}{where}: {says}" if path else f"{says}{f' ({file})' if file else ''}"


_PLAINLY = {
    "missing": "this key is needed",
    "too_short": "write at least one",
    "string_too_short": "write something",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": "write a text, in quotes",
    "tuple_type": "write a list, such as [...]",
    "dict_type": "write a table",
    "model_type": "write a table",
    "path_type": "write a path, in quotes",
}
"""What pydantic says in terms of Python, for whom the file is."""


def _path(location: tuple[int | str, ...]) -> str:
    """`route[2].tls`, counted from one as people do."""
    path = ""
    for part in location:
        path += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _keys(tables: Sequence[int | str]) -> list[str]:
    model: Any = Settings
    for table in tables:
        if not isinstance(table, int):
            field = model.model_fields.get(table) if hasattr(model, "model_fields") else None
            model = _table_in(field.annotation) if field else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _table_in(kind: Any) -> Any:
    """The table that a field holds, alone, in a list, or not always."""
    if hasattr(kind, "model_fields"):
        return kind
    return next((found for part in get_args(kind) if (found := _table_in(part)) is not None), None)
