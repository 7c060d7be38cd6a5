"""A forwarder on loopback, for one connection, that keeps every octet that goes by: what was really said."""

from __future__ import annotations

import contextlib
import socket
from threading import Thread


class Wire:
    """Between a mail program and a listener."""

    def __init__(self, port: int) -> None:
        self.client, self.server = bytearray(), bytearray()
        self._target = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._thread = Thread(target=self._carry)
        self._thread.start()

    def close(self) -> None:
        """Wait until both sides have hung up."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)  # where nobody came
        self._thread.join()
        self._door.close()

    def _carry(self) -> None:
        try:
            device, _ = self._door.accept()
        except OSError:
            return
        with device, socket.create_connection(("127.0.0.1", self._target)) as listener:
            # A listener that has closed has heard all it wants: a device that keeps its side open is not waited for.
            answers = Thread(target=_pass_on, args=(listener, device, self.server, socket.SHUT_RDWR))
            answers.start()
            _pass_on(device, listener, self.client, socket.SHUT_WR)
            answers.join()


def _pass_on(source: socket.socket, sink: socket.socket, kept: bytearray, at_the_end: int) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(at_the_end)
