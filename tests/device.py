"""Plays a device from a script: what it sends, how, and what it must be answered. Real sockets, loopback only.

A script is a text file. `C: text` sends a line, `C~ text` octets with escapes, `C** n X` a run of one character, `C*S
n text = codes` a command n times; `S: codes` wants a reply (`250`, `451 5.7.3|530`, `eof`, `tls-alert`, `tls-hello`,
`none seconds`), `S= text` its last line, `S1:` a reply of one line, `Sone:` one in a single segment; `T: starttls`,
`T: implicit` and `T: hello` shake hands, with options; `W: seconds`, `X: fin|rst`, `J: new`, `M: passage`. `cap| `
marks a step against the listener, `sim| ` one against an imitation of Office 365. `@` lines describe: `@expect` the
findings, `@level`, `@endpoint` and so on.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT = 10.0
VERSIONS = {"ssl3": 0x0300, "1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303}
SUITES = "c02f,c030,c013,c014,009c,009d,002f,0035,000a"


class Mismatch(AssertionError):
    """The device was answered otherwise than the script wants."""


@dataclass
class Script:
    """A dialogue as it is written."""

    name: str
    about: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        """The findings that must be there."""
        return self.about.get("expect", "").split()


def read(path: Path) -> Script:
    """A script from its file."""
    script = Script(path.stem)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            script.about[key] = value.strip()
        elif line.strip():
            script.steps.append(line)
    return script


def passages(path: Path) -> dict[str, list[str]]:
    """The passages that scripts share."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip():
            found[name].append(line)
    return found


def play(script: Script, macros: dict[str, list[str]], address: tuple[str, int], kind: str = "cap") -> None:
    """Hold the dialogue with a server. Raises Mismatch."""
    device = Device(address, kind, macros)
    try:
        device.connect()
        device.run(script.steps)
    finally:
        device.close()


class Device:
    """One device, and its connection."""

    def __init__(self, address: tuple[str, int], kind: str, macros: dict[str, list[str]]) -> None:
        self.address = address
        self.kind = kind
        self.macros = macros
        self.socket: socket.socket
        self.buffer = b""
        self.segments: list[bytes] = []
        self.closed = False

    def connect(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=TIMEOUT)
        self.buffer, self.closed = b"", False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def run(self, steps: list[str]) -> None:
        for step in steps:
            prefix, separator, rest = step.partition("| ")
            if separator and prefix in ("sim", "cap"):
                if prefix == self.kind:
                    self.step(rest)
            else:
                self.step(step)

    def step(self, step: str) -> None:
        try:
            self._step(step)
        except Mismatch as wrong:
            raise Mismatch(f"{step!r}: {wrong}") from None

    def _step(self, step: str) -> None:
        word, _, rest = step.partition(" ")
        match word:
            case "C:":
                self.send(rest.encode("latin-1") + b"\r\n")
            case "C~":
                self.send(unescaped(rest))
            case "C**":
                count, _, character = rest.partition(" ")
                self.send(character.encode("latin-1") * int(count) + b"\r\n")
            case "C*S":
                count, _, command = rest.partition(" ")
                text, _, codes = command.rpartition(" = ")
                for i in range(int(count)):
                    self.send(text.replace("{i}", str(i)).encode("latin-1") + b"\r\n")
                    self.expect(codes)
            case "S:":
                self.expect(rest)
            case "S=":
                lines = self.reply()
                if lines[-1] != rest:
                    raise Mismatch(f"got {lines[-1]!r}")
            case "S1:":
                if len(self.expect(rest)) != 1:
                    raise Mismatch("more than one line")
            case "Sone:":
                self.segments = []
                self.expect(rest)
                if len(self.segments) > 1:
                    raise Mismatch(f"{len(self.segments)} segments")
            case "T:":
                self.shake(rest.partition(" #")[0].split())
            case "W:":
                time.sleep(float(rest))
            case "X:":
                if rest.strip() == "rst":
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if isinstance(self.socket, ssl.SSLSocket):  # the octets below TLS, no farewell
                    raw = socket.socket(fileno=self.socket.detach())
                    raw.close()
                else:
                    self.socket.close()
            case "J:":
                self.close()
                self.connect()
            case "M:":
                self.run(self.macros[rest.strip()])
            case _:
                raise Mismatch("no such step")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, seconds: float = TIMEOUT) -> bool:
        """Take more into the buffer; False where nothing came in time."""
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        if not pending and not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            self.segments.append(data)
            self.buffer += data
        else:
            self.closed = True
        return True

    def reply(self) -> list[str]:
        """One whole reply, its lines without their ends; `[""]` at the end of the connection."""
        lines: list[str] = []
        while True:
            while b"\n" not in self.buffer:
                if self.buffer[:1] in (b"\x15", b"\x16") and len(self.buffer) >= 6:
                    kind, self.buffer = self.buffer[0], b""
                    return ["tls-alert" if kind == 0x15 else "tls-hello"]
                if self.closed:
                    return [*lines, ""]
                if not self.receive():
                    raise Mismatch(f"no reply, got {self.buffer!r} after {lines}")
            if self.buffer[:1] in (b"\x15", b"\x16"):
                kind, self.buffer = self.buffer[0], b""
                return ["tls-alert" if kind == 0x15 else "tls-hello"]
            line, _, self.buffer = self.buffer.partition(b"\n")
            lines.append(line.rstrip(b"\r").decode("latin-1"))
            if line[3:4] != b"-":
                return lines

    def expect(self, wanted: str) -> list[str]:
        alternatives = [alternative.strip() for alternative in wanted.split("|")]
        if alternatives[0].startswith("none"):
            if self.buffer or (self.receive(float(alternatives[0].split()[1])) and (self.buffer or self.closed)):
                raise Mismatch(f"got {self.buffer!r}")
            return []
        lines = self.reply()
        last = lines[-1]
        for alternative in alternatives:
            if alternative == "eof" and last == "":
                return lines
            code, _, enhanced = alternative.partition(" ")
            if last.startswith(code) and (not enhanced or re.match(rf"{code}[ -]{re.escape(enhanced)}(\s|$)", last)):
                return lines
        raise Mismatch(f"got {last!r}")

    def shake(self, words: list[str]) -> None:
        kind, options = words[0], dict(word.partition("=")[::2] for word in words[1:])
        if kind == "hello":
            self.send(hello(options))
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if options.get("verify") == "on" or options.get("trust") == "none":
            context.verify_mode = ssl.CERT_REQUIRED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if options.get("max"):
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = ssl.TLSVersion(VERSIONS[options["max"]])
        name = "smtp.office365.com" if options.get("sni") == "on" else None
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        except ssl.SSLCertVerificationError:
            if context.verify_mode is ssl.CERT_NONE:
                raise


def hello(options: dict[str, str]) -> bytes:
    """A ClientHello as old firmware writes it."""
    lowest, highest = VERSIONS[options.get("min", "1.0")], VERSIONS[options.get("max", "1.2")]
    suites = b"".join(bytes.fromhex(code) for code in options.get("ciphers", SUITES).split(","))
    extensions = b""
    if options.get("sni") == "on":
        name = b"smtp.office365.com"
        entry = b"\0" + struct.pack("!H", len(name)) + name
        block = struct.pack("!H", len(entry)) + entry
        extensions += struct.pack("!HH", 0, len(block)) + block
    body = struct.pack("!H", highest) + bytes(range(32)) + b"\0" + struct.pack("!H", len(suites)) + suites + b"\1\0"
    if extensions:
        body += struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return b"\x16" + struct.pack("!HH", min(lowest, 0x0301), len(message)) + message


def unescaped(text: str) -> bytes:
    """Octets from a text with \\r, \\n, \\t, \\\\ and \\xNN in it."""
    known = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
    out = b""
    for plain, escape in re.findall(r"([^\\]+)|\\(x[0-9a-fA-F]{2}|.)", text):
        if plain:
            out += plain.encode("latin-1")
        else:
            out += bytes([int(escape[1:], 16)]) if len(escape) == 3 else known[escape]
    return out
