"""The terminal: styled lines with colour where there is one, plain text otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from relayprobe.report.text import Styled

STYLES = {
    "client": "cyan",
    "server": "green",
    "info": "dim",
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold blue",
    "good": "green",
    "heading": "bold",
    "seen": "",
    "fix": "bold",
    "": "",
}


class Terminal:
    """Prints styled lines."""

    def __init__(self, no_color: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console: Console | None = None
        if self._stream.isatty() and not no_color and not os.environ.get("NO_COLOR"):
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def line(self, styled: Styled, prefix: str = "") -> None:
        """Print one line."""
        style, text = styled
        if self._console is None:
            self._stream.write(f"{prefix}{text}\n")
        else:
            from rich.text import Text

            self._console.print(Text(prefix, "dim").append(text, STYLES.get(style, "")))

    def lines(self, lines: Iterable[Styled], prefix: str = "") -> None:
        """Print several."""
        for line in lines:
            self.line(line, prefix)
        self._stream.flush()
