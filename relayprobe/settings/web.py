"""The table of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, SecretStr, model_validator

from relayprobe.settings.kinds import Names, Section


def _path(value: Any) -> Any:
    if not isinstance(value, str) or (value and (not value.startswith("/") or not value.isascii() or " " in value)):
        raise ValueError('write a path such as "/relayprobe", or "" for none')
    return value.rstrip("/")


def _place(value: Any) -> Any:
    host, _, number = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not host or not number.isdecimal() or int(number) > 65535:
        raise ValueError("write HOST:PORT such as 127.0.0.1:8025; port 0 is any that is free")
    return value


class WebSettings(Section):
    """The page and the API. `hosts`: names by which it is called, besides addresses and localhost."""

    on: Annotated[str, BeforeValidator(_place)] = "127.0.0.1:8025"
    token_file: Path | None = None
    password: SecretStr | None = None
    hosts: Names = ()
    cert: Path | None = None
    key: Path | None = None
    path: Annotated[str, BeforeValidator(_path)] = ""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together: give both, or neither")
        return self
