"""Settings: what the command line gives, else the environment, else the TOML file, else the defaults here.

Everything is checked whole when it is loaded. What is wrong is said in one sentence: the key, the file, what would be
right, and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_DOMAIN = re.compile(r"[^\s@/:.,]+(\.[^\s@/:.,]+)*")  # not only ASCII, for a domain may be internationalized
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class SettingsError(Exception):
    """Something in the settings is wrong; the text is one sentence that names the way out."""


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
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

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


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _sentence(error: ValidationError, file: Path | None) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    *tables, key = [str(part) for part in first["loc"]] or [""]
    path = ".".join([*tables, key])
    where = f" in {file}" if file else ""
    if first["type"] == "extra_forbidden":
        known = _keys(tables)
        near = [".".join([*tables, name]) for name in difflib.get_close_matches(key, known, n=1)]
        near += [f"{table}.{key}" for table in Settings.model_fields if key in _keys([table])]
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {path}{where}: {hint}"
    return f"{path}{where}: {first['msg'].removeprefix('Value error, ')}"


def _keys(tables: list[str]) -> list[str]:
    model: Any = Settings
    for table in tables:
        field = model.model_fields.get(table) if hasattr(model, "model_fields") else None
        model = field.annotation if field else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []
