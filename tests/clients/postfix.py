"""A real Postfix on loopback, from the distribution's package, with all that is its own in one folder, away from the
machine's. As a smart host with STARTTLS and AUTH, which keeps what it is sent, whoever it is for; or as a peer to
measure by, which queues each mail durably, as Postfix does, and then throws it away.

Postfix needs root: its processes drop it by themselves.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from relayprobe.capture.tls import own_certificate
from tests.clients.listening import PASSWORD, USER, until
from tests.conftest import absent, need

NAME = "smarthost.test"

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/postfix.log
maillog_file_prefixes = {folder}
myhostname = {name}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtputf8_enable = yes
biff = no
message_size_limit = 157286400
mailbox_size_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
"""

# One mailbox takes it all, whatever the domain. Programs under virtual(8) may not be root's.
KEEPING = """\
mynetworks =
smtpd_relay_restrictions = permit_sasl_authenticated, reject
default_transport = virtual
local_transport = virtual
virtual_mailbox_base = {folder}
virtual_mailbox_maps = static:arrived/
virtual_mailbox_limit = 0
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {folder}/tls/cert.pem
smtpd_tls_key_file = {folder}/tls/key.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_security_options = noanonymous
cyrus_sasl_config_path = {folder}/config/sasl
"""
DISCARDING = """\
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
default_transport = discard:
local_transport = discard:
"""

SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/config/sasl/passwords
mech_list: LOGIN PLAIN
"""

SERVICES = """\
127.0.0.1:{port} inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
"""None of them in a chroot, and none that delivers to another machine."""


class Postfix:
    """One that runs. `authority`: the file of the root that its certificate is to be checked with."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.authority = folder / "tls" / "ca.pem"

    def arrived(self) -> list[bytes]:
        """The mails that were delivered, each once for every recipient, as they lie in the mailbox: with the lines that
        Postfix puts in front (Return-Path, Delivered-To, Received), and LF as the line end."""
        return [path.read_bytes() for path in sorted((self.folder / "arrived" / "new").glob("*"))]

    @property
    def log(self) -> str:
        """What it noted."""
        path = self.folder / "log" / "postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def smart_host(accounts: Mapping[str, str] | None = None) -> Iterator[Postfix]:
    """Takes mail for anybody from those that log in (AUTH LOGIN or PLAIN, inside TLS only), and keeps it."""
    need("saslpasswd2")
    nobody = pwd.getpwnam("nobody")
    with _folder(None) as folder:
        sasl = folder / "config" / "sasl"  # Debian's Postfix looks there, whatever cyrus_sasl_config_path says
        for path in (folder / "tls", folder / "arrived", sasl):
            path.mkdir(parents=True)
        os.chown(folder / "arrived", nobody.pw_uid, nobody.pw_gid)
        own_certificate(folder / "tls", NAME)
        (sasl / "smtpd.conf").write_text(SASL.format(folder=folder))
        for user, password in (accounts or {USER: PASSWORD}).items():
            _add_account(sasl / "passwords", user, password)
        keeping = KEEPING.format(folder=folder, uid=nobody.pw_uid, gid=nobody.pw_gid)
        with _running(folder, keeping) as postfix:
            yield postfix


@contextlib.contextmanager
def discarding(where: Path | None = None) -> Iterator[Postfix]:
    """Takes mail for anybody from anybody on this machine, without a login, and throws it away after it was queued. Its
    queue is on the disk that `where` is on."""
    with _folder(where) as folder, _running(folder, DISCARDING) as postfix:
        yield postfix


@contextlib.contextmanager
def _folder(where: Path | None) -> Iterator[Path]:
    """A folder that Postfix's own user may pass through, as it may not through pytest's."""
    need("postfix")
    if os.geteuid() != 0:
        absent("postfix's right to start (root)")
    with tempfile.TemporaryDirectory(prefix="relayprobe-postfix-", dir=where) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def _running(folder: Path, more: str) -> Iterator[Postfix]:
    port = _free_port()
    for name in ("config", "queue", "data", "log"):
        (folder / name).mkdir(exist_ok=True)
    shutil.chown(folder / "data", "postfix")
    (folder / "config" / "main.cf").write_text(MAIN.format(folder=folder, name=NAME) + more)
    (folder / "config" / "master.cf").write_text(SERVICES.format(port=port))
    postfix = Postfix(folder, port)
    config = ["-c", str(folder / "config")]
    subprocess.run([need("postfix"), *config, "check"], check=True, stdin=subprocess.DEVNULL)  # it lays the queue out
    daemons = subprocess.check_output([need("postconf"), *config, "-h", "daemon_directory"], text=True).strip()
    # Not by `postfix start`, which lets go of it: as a child and the leader of its processes it is ended with them.
    with (folder / "log" / "start").open("wb") as said:
        process = subprocess.Popen(
            [f"{daemons}/master", *config, "-d"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        try:
            until(lambda: _answers(postfix, process))
        except AssertionError:
            raise AssertionError(f"Postfix does not answer: {postfix.log}") from None
        yield postfix
    finally:
        _stop(process)


def _answers(postfix: Postfix, process: subprocess.Popen[bytes]) -> bool:
    started = (postfix.folder / "log" / "start").read_text(errors="replace")
    assert process.poll() is None, f"Postfix did not start: {started}{postfix.log}"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", postfix.port), timeout=5) as device:
        greeted = device.recv(1000).startswith(b"220 ")
        device.sendall(b"QUIT\r\n")
        return greeted
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    with contextlib.suppress(ProcessLookupError):  # those that outlive the first of them
        os.killpg(process.pid, signal.SIGKILL)


def _add_account(file: Path, user: str, password: str) -> None:
    name, _, realm = user.rpartition("@")
    command = [need("saslpasswd2"), "-c", "-p", "-f", str(file), "-u", realm, name]
    subprocess.run(command, input=password.encode(), check=True, capture_output=True)
    shutil.chown(file, "postfix")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
