"""Mail programs as administrators script them: each sends a message, with or without TLS, with a login or none.

A program takes a `Sending`, returns when it is done, and raises if it fails. It returns what it has said, inside TLS
too, where it can tell. All of them greet as HOST and check no certificate.
"""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiosmtplib

from tests.clients.listening import PASSWORD, USER
from tests.conftest import need, need_node_module, need_perl_module

HERE = Path(__file__).parent
HOST = "mfp01.contoso.com"
RECIPIENT = "anna@contoso.com"
MESSAGE = b"""\
From: Scanner <scanner@contoso.com>
To: anna@contoso.com
Subject: Scan from the second floor
Date: Mon, 15 Jan 2024 10:00:00 +0000
Message-ID: <scan-1@mfp01.contoso.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

.one dot at the beginning
..two dots
.

the end
""".replace(b"\n", b"\r\n")

Tls = Literal["none", "starttls", "implicit"]


@dataclass(frozen=True)
class Sending:
    """What is sent, and how. `scratch` is a folder for a program's files."""

    port: int
    scratch: Path
    tls: Tls = "none"
    mechanism: str | None = None
    message: bytes = MESSAGE

    def file(self, octets: bytes) -> str:
        path = self.scratch / "message.eml"
        path.write_bytes(octets)
        return str(path)


Program = Callable[[Sending], bytes | None]


def run(command: list[str], stdin: bytes = b"") -> str:
    """Run it to its end, which must be a good one; what it says."""
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
    )
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said
    return said


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def swaks(s: Sending) -> bytes:
    tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[s.tls]
    login = ["--auth", s.mechanism, "--auth-user", USER, "--auth-password", PASSWORD] if s.mechanism else []
    text = s.file(s.message.removesuffix(b"\r\n"))  # it adds a line end
    envelope = ["--helo", HOST, "--from", USER, "--to", RECIPIENT, "--data", f"@{text}"]
    shown = run([need("swaks"), "--server", f"127.0.0.1:{s.port}", *envelope, *tls, *login])
    return b"".join(line.encode() + b"\r\n" for line in re.findall(r"^ [-~]> (.*?)\r?$", shown, re.MULTILINE))


def curl(s: Sending) -> None:
    url = f"{'smtps' if s.tls == 'implicit' else 'smtp'}://127.0.0.1:{s.port}/{HOST}"
    tls = ["--ssl-reqd"] if s.tls == "starttls" else []
    match s.mechanism:
        case None:
            login = []
        case "XOAUTH2":
            login = ["--user", f"{USER}:", "--oauth2-bearer", PASSWORD]
        case _:
            login = ["--user", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={s.mechanism}"]
    envelope = ["--mail-from", USER, "--mail-rcpt", RECIPIENT, "--upload-file", s.file(s.message)]
    run([need("curl"), "--disable", "--silent", "--show-error", "--insecure", url, *tls, *login, *envelope])


def msmtp(s: Sending) -> None:
    tls = {
        "none": ["--tls=off"],
        "starttls": ["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"],
        "implicit": ["--tls=on", "--tls-starttls=off", "--tls-certcheck=off"],
    }[s.tls]
    login = (
        [f"--auth={s.mechanism.lower()}", f"--user={USER}", f"--passwordeval=echo '{PASSWORD}'"] if s.mechanism else []
    )
    where = ["--host=127.0.0.1", f"--port={s.port}", f"--domain={HOST}", f"--from={USER}"]
    unix = s.message.replace(b"\r\n", b"\n")  # as sendmail's kin are given mail
    run([need("msmtp"), *where, *tls, *login, RECIPIENT], unix)


def nodemailer(s: Sending) -> None:
    told = {
        "transport": {
            "host": "127.0.0.1",
            "port": s.port,
            "name": HOST,
            "secure": s.tls == "implicit",
            "ignoreTLS": s.tls == "none",
            "requireTLS": s.tls == "starttls",
            "tls": {"rejectUnauthorized": False},
            "authMethod": s.mechanism,
            "auth": {"user": USER, "pass": PASSWORD} if s.mechanism else None,
        },
        "mail": {"envelope": {"from": USER, "to": [RECIPIENT]}, "raw": s.message.decode("latin-1")},
    }
    need_node_module("nodemailer")
    run([need("node"), str(HERE / "send.js")], json.dumps(told).encode())


def net_smtp(s: Sending) -> None:
    login = [s.mechanism, USER, PASSWORD] if s.mechanism else []
    run(
        [
            need_perl_module("Authen::SASL" if s.mechanism else "IO::Socket::SSL"),
            str(HERE / "send.pl"),
            str(s.port),
            s.tls,
            HOST,
            USER,
            RECIPIENT,
            *login,
        ],
        s.message,
    )


def python(s: Sending) -> None:
    """smtplib."""
    address = ("127.0.0.1", s.port, HOST)
    made = smtplib.SMTP_SSL(*address, context=context()) if s.tls == "implicit" else smtplib.SMTP(*address)
    with made as smtp:
        if s.tls == "starttls":
            smtp.starttls(context=context())
        smtp.ehlo()
        if s.mechanism:
            smtp.user, smtp.password = USER, PASSWORD
            smtp.auth(s.mechanism, getattr(smtp, "auth_" + s.mechanism.lower().replace("-", "_")))
        smtp.sendmail(USER, [RECIPIENT], s.message)


def python_asyncio(s: Sending) -> None:
    """aiosmtplib."""

    async def send() -> None:
        smtp = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=s.port,
            local_hostname=HOST,
            use_tls=s.tls == "implicit",
            start_tls=s.tls == "starttls",
            validate_certs=False,
        )
        async with smtp:
            await smtp.ehlo()
            if s.mechanism:
                login = getattr(smtp, "auth_" + s.mechanism.lower().replace("-", "_"))
                await login(USER, PASSWORD)
            await smtp.sendmail(USER, [RECIPIENT], s.message)

    asyncio.run(send())


def script(s: Sending) -> list[bytes]:
    """What is said by those that say what they are told."""
    lines = [f"EHLO {HOST}".encode()]
    if s.mechanism == "LOGIN":
        lines += [b"AUTH LOGIN", b64encode(USER.encode()), b64encode(PASSWORD.encode())]
    lines += [f"MAIL FROM:<{USER}>".encode(), f"RCPT TO:<{RECIPIENT}>".encode(), b"DATA"]
    lines += [b"." + line if line.startswith(b".") else line for line in s.message.split(b"\r\n")[:-1]]
    return [*lines, b".", b"QUIT"]


def openssl(s: Sending, *options: str) -> bytes:
    """All of it at once, without waiting for a reply."""
    starttls = ["-starttls", "smtp", "-name", HOST] if s.tls == "starttls" else []
    command = [need("openssl"), "s_client", "-quiet", "-crlf", "-connect", f"127.0.0.1:{s.port}", *starttls]
    run([*command, *options], b"".join(line + b"\n" for line in script(s)))
    before = [f"EHLO {HOST}".encode(), b"STARTTLS"] if starttls else []
    return b"".join(line + b"\r\n" for line in [*before, *script(s)])


def openssl_of_old(s: Sending) -> bytes:
    return openssl(s, "-tls1", "-cipher", "ALL:@SECLEVEL=0")


def typed(s: Sending) -> bytes:
    """Somebody at a terminal: character by character, and the Return key makes a bare line feed."""
    with socket.create_connection(("127.0.0.1", s.port), timeout=20) as device, device.makefile("rb") as replies:
        device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies.readline()
        in_text = False
        for line in script(s):
            for octet in line + b"\n":
                device.sendall(bytes([octet]))
                time.sleep(0.0005)
            in_text = in_text and line != b"."
            while not in_text and replies.readline()[3:4] == b"-":
                pass
            in_text = in_text or line == b"DATA"
    return b"".join(line + b"\n" for line in script(s))
