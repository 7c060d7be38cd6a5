"""What the commands have in common: options, each with an environment twin, errors, and the way to the store."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from relayprobe.tongue import ENGLISH, LANGUAGES, Tongue, preferred, tongue_of

if TYPE_CHECKING:
    from relayprobe.settings import Settings
    from relayprobe.store import Archive

F = TypeVar("F", bound=Callable[..., Any])

DATA = "relayprobe-data"


LANG = "relayprobe.lang"
"""In the context of a command: the language that was asked for, and whether on the command line."""


class Wrong(click.ClickException):
    """Something the user can mend: one sentence, exit code 2. It is shown in the language of the command."""

    exit_code = 2

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self._tongue = language()

    def format_message(self) -> str:
        """The sentence, as it is shown."""
        return self._tongue(self.message)


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """A click option whose environment twin is RELAYPROBE_ and its long name."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    attributes.setdefault("envvar", "RELAYPROBE_" + long.lstrip("-").replace("-", "_").upper())
    attributes.setdefault("show_envvar", True)
    return click.option(*names, **attributes)


def language(as_json: bool = False) -> Tongue:
    """The language of what a command prints: by --lang and its environment twin, else by the locale.

    JSON is read by programs, which compare texts: it is English unless the command line itself says otherwise.
    """
    context = click.get_current_context(silent=True)
    code, on_command_line = context.meta.get(LANG, (None, False)) if context is not None else (None, False)
    if as_json and not on_command_line:
        return ENGLISH
    if code is not None:
        return tongue_of(code)
    return preferred(*(os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG")))


def _ask_for(context: click.Context, parameter: click.Parameter, code: str | None) -> None:
    if code is not None:
        source = context.get_parameter_source(str(parameter.name))
        context.meta[LANG] = (code, source is click.core.ParameterSource.COMMANDLINE)


def common(function: F) -> F:
    """The options that every command takes."""
    for decorate in reversed(
        (
            option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings, a TOML file."),
            option("--data", type=click.Path(path_type=Path, file_okay=False), help=f"Data folder (default {DATA})."),
            option("--json", "as_json", is_flag=True, help="Print JSON."),
            option("--no-color", is_flag=True, help="No colour; NO_COLOR is honoured too."),
            option(
                "--lang",
                type=click.Choice(list(LANGUAGES)),
                expose_value=False,
                is_eager=True,
                callback=_ask_for,
                help="Language (default: by LC_ALL, LC_MESSAGES, LANG). JSON is English unless it is given here.",
            ),
            option("-v", "--verbose", count=True, help="Say more in the log."),
        )
    ):
        function = decorate(function)

    @functools.wraps(function)
    def guarded(*arguments: Any, **given: Any) -> Any:
        from relayprobe.store import StoreError

        try:
            try:
                return function(*arguments, **given)
            finally:
                sys.stdout.flush()
        except StoreError as error:
            raise Wrong(_words(error)) from None
        except BrokenPipeError:
            # The reader, `head` for one, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return None

    return guarded  # type: ignore[return-value]


def settings(config: Path | None, given: dict[str, Any]) -> Settings:
    """The settings of a file under what was given. What is wrong ends the command."""
    from relayprobe.settings import SettingsError, load

    try:
        return load(config, given)
    except SettingsError as error:
        raise Wrong(_words(error)) from None


def data_folder(config: Path | None, data: Path | None) -> Path:
    """The data folder. The settings are read only where a file is named: a command that only reads starts at once."""
    if data is not None:
        return data
    return settings(config, {}).data if config is not None else Path(DATA)


def archive(config: Path | None, data: Path | None) -> Archive:
    """What was captured, for reading."""
    from relayprobe.store import Archive

    return Archive.open(data_folder(config, data))


def fail(sentence: str) -> NoReturn:
    """End the command with exit code 2."""
    raise Wrong(sentence)


def _words(error: Exception) -> str:
    """What an error says, which may know how it was put together."""
    return next((text for text in error.args if text == str(error)), str(error))
