"""HTTP connections that may not wait for ever: uvicorn bounds what is between two requests, and not what is before one.

A client that connects and says nothing, or a header a minute, would hold a connection and a file handle, and those are
needed for devices.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_PATIENCE = 10.0
"""Seconds in which a request must have come, but for its body."""

CONNECTIONS = 200
"""At once. One more is hung up on."""


class PatientProtocol(H11Protocol):
    """A connection."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody has connected."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._head_due = self.loop.call_later(HEAD_PATIENCE, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Octets have come: perhaps the beginning of the next request."""
        if self._head_due is None and self.conn.their_state is h11.IDLE:
            self._head_due = self.loop.call_later(HEAD_PATIENCE, self._too_slow)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._unset_head_due()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._unset_head_due()
        super().connection_lost(exc)

    def _unset_head_due(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _too_slow(self) -> None:
        self._head_due = None
        self.transport.abort()
