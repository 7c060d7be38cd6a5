"""The terminal: styled lines with colour where there is one, plain text otherwise."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from relayprobe.tongue import ENGLISH, Tongue

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
    """Prints styled lines. When nobody reads them any more (`| head`), it falls silent: capturing goes on."""

    def __init__(self, no_color: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII alone
        self._console: Console | None = None
        self._silent = False
        if self._stream.isatty() and not no_color and not os.environ.get("NO_COLOR"):
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def line(self, styled: Styled, prefix: str = "") -> None:
        """Print one line."""
        if self._silent:
            return
        try:
            self._print(styled, prefix)
        except OSError:
            self.fall_silent()

    def lines(self, lines: Iterable[Styled], prefix: str = "") -> None:
        """Print several."""
        for line in lines:
            self.line(line, prefix)
        self.flush()

    def flush(self) -> None:
        """Have them read now."""
        try:
            self._stream.flush()
        except OSError:
            self.fall_silent()

    def fall_silent(self) -> None:
        """Print no more, and let Python find nothing to complain of at its end."""
        self._silent = True
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def _print(self, styled: Styled, prefix: str) -> None:
        style, text = styled
        if self._console is None:
            self._stream.write(f"{prefix}{text}\n")
        else:
            from rich.text import Text

            self._console.print(Text.assemble((prefix, "dim"), (text, STYLES.get(style, ""))))


class Beside:
    """Prints in a thread of its own: a reader who has stopped reading (Ctrl-S, a pager) stops no device."""

    WAITING = 10_000
    """Lines that may wait for the reader; what comes beyond is dropped, and said so."""

    def __init__(self, terminal: Terminal, tongue: Tongue = ENGLISH) -> None:
        self._terminal = terminal
        self._tongue = tongue
        self._lines: queue.Queue[tuple[Styled, str] | None] = queue.Queue(self.WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def line(self, styled: Styled, prefix: str = "") -> None:
        """Print one line, when the reader can take it."""
        try:
            self._lines.put_nowait((styled, prefix))
        except queue.Full:
            self._dropped += 1

    def lines(self, lines: Iterable[Styled], prefix: str = "") -> None:
        """Print several."""
        for line in lines:
            self.line(line, prefix)

    def close(self, seconds: float = 2.0) -> None:
        """Print what waits, for so long at the most."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=seconds)
        self._thread.join(seconds)

    def _left_out(self, n: int) -> str:
        return self._tongue("({n} lines were not shown; the sessions have them all)", n=n)

    def _run(self) -> None:
        while (waiting := self._lines.get()) is not None:
            self._terminal.line(*waiting)
            if self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                if dropped:
                    self._terminal.line(("warning", self._left_out(dropped)))
                self._terminal.flush()
        self._terminal.flush()
