"""Logging, set up once: one canonical line a session, for people on a console or as JSON, to stderr or to a file.

What strangers send is made harmless here, for every value of every line. A file may be moved by logrotate at any time.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Literal

import structlog

from relayprobe.report.visible import visible


class LogError(Exception):
    """The log file cannot be written; the text names the way out."""


def set_up(form: Literal["console", "json"] = "console", file: Path | None = None, level: int = logging.INFO) -> None:
    """Send the log where it belongs. Raises LogError."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
        except OSError as error:
            raise LogError(
                f"cannot write the log file {file} ({error.strerror}): name another with --log-file"
            ) from None
    handler.setFormatter(logging.Formatter("%(message)s"))
    if file is None:
        handler = _beside(handler)
    root = logging.getLogger("relayprobe")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level)
    # aiosmtpd logs whole lines, and so what a device sends after a refused login: its password.
    silenced = logging.getLogger("mail.log")
    silenced.handlers[:] = [logging.NullHandler()]
    silenced.propagate = False
    silenced.disabled = True
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty(), sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            structlog.processors.format_exc_info,
            harmless,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class _Waiting(logging.handlers.QueueHandler):
    """Lets a line wait for a reader who has stopped reading; a line too many is dropped, and no device stopped."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def _beside(handler: logging.Handler) -> logging.Handler:
    """The handler, working in a thread of its own, which has two seconds at the end of the process."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(10_000)
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()

    def stop() -> None:
        deadline = time.monotonic() + 2.0
        while not waiting.empty() and time.monotonic() < deadline:
            time.sleep(0.01)
        handler.flush()

    atexit.register(stop)
    return _Waiting(waiting)


def harmless(logger: object, name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: no value can move the cursor, forge a line or turn the direction of text."""
    for key, value in entry.items():
        if isinstance(value, str | bytes):
            entry[key] = visible(value) if key != "exception" else "\n".join(visible(v) for v in str(value).split("\n"))
        elif isinstance(value, list | tuple):
            entry[key] = [visible(v) if isinstance(v, str | bytes) else v for v in value]
    return entry
