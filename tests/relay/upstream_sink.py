"""Where mail arrives in the tests of what must not be lost: `python -m tests.relay.upstream_sink LOG`.

A small server in a process of its own, which outlives the relay. Each text that it has taken is a line of JSON in LOG
before it is answered: the test's id for the message, the relay's id for it, and the digest of its body. So the copies
that a relay makes (one id of its own, twice) differ from those of a sender that sends again. A message whose id begins
with `poison` is never answered; one with `slow` not before it comes for the third time, and then late.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.clients.listening import ROOT, environment, until

ID = re.compile(rb"^X-Test-Id: *(\S+)", re.MULTILINE)
QUEUED_AS = re.compile(rb"^Received:[^;]*?\bid\s+(\S+?);", re.MULTILINE)
LATE = 1.0
OFFER = b"250-sink\r\n250-8BITMIME\r\n250-SIZE 200000000\r\n250 PIPELINING\r\n"


@dataclass(frozen=True)
class Arrived:
    """A text that arrived: the sender's id, the relay's, the digest of the body in hex; whether it was answered."""

    id: str
    queued_as: str
    digest: str
    answered: bool


class Receiving(asyncio.Protocol):
    """One connection."""

    def __init__(self, log: Path, times: Counter[bytes]) -> None:
        self._log = log
        self._times = times
        self._came = bytearray()
        self._looked = 0
        self._in_text = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._came += data
        while self._text() if self._in_text else self._command():
            pass

    def _command(self) -> bool:
        line, end, rest = self._came.partition(b"\n")
        if not end:
            return False
        self._came = rest
        verb = bytes(line[:4]).upper()
        self._in_text = verb == b"DATA"
        replies = {b"EHLO": OFFER, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
        self._transport.write(replies.get(verb, b"250 ok\r\n"))
        if verb == b"QUIT":
            self._transport.close()
        return True

    def _text(self) -> bool:
        end = self._came.find(b"\r\n.\r\n", max(0, self._looked - 4))
        if end < 0:
            self._looked = len(self._came)
            return False
        wire, self._came, self._looked = bytes(self._came[: end + 2]), self._came[end + 5 :], 0
        self._in_text = False
        head, _, body = wire.replace(b"\r\n..", b"\r\n.").partition(b"\r\n\r\n")
        id, queued_as = ID.search(head), QUEUED_AS.search(head)
        assert id is not None
        assert queued_as is not None
        self._times[id[1]] += 1
        slow = id[1].startswith(b"slow")
        answered = not id[1].startswith(b"poison") and (not slow or self._times[id[1]] >= 3)
        arrived = [id[1].decode(), queued_as[1].decode(), hashlib.sha256(body).hexdigest(), answered]
        with self._log.open("a") as log:
            log.write(json.dumps(arrived) + "\n")
        if answered:
            asyncio.get_running_loop().call_later(LATE if slow else 0.0, self._transport.write, b"250 taken\r\n")
        return True


async def receive(log: Path) -> None:
    """Receive until ended."""
    times: Counter[bytes] = Counter()
    server = await asyncio.get_running_loop().create_server(lambda: Receiving(log, times), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Sink:
    """The process, and what has arrived there."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "arrived"
        self._log.touch()
        command = [sys.executable, "-m", "tests.relay.upstream_sink", str(self._log)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment())
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def arrived(self) -> list[Arrived]:
        whole, _, _ = self._log.read_text().rpartition("\n")
        return [Arrived(*json.loads(line)) for line in whole.splitlines()]

    def ids(self) -> set[str]:
        return {one.id for one in self.arrived()}

    def second_copies(self) -> int:
        """Texts that the relay sent although the same one had been taken."""
        return sum(count - 1 for count in Counter(one.queued_as for one in self.arrived() if one.answered).values())

    def wait_for(self, ids: set[str], patience: float | None = None) -> None:
        """Until all of them have arrived."""
        until(lambda: ids <= self.ids(), *([patience] if patience else []))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(receive(Path(sys.argv[1])))
