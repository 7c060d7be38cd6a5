"""`relayprobe listen` that cannot start: exit code 2, and one sentence that names what is wrong and the way out."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from relayprobe.store import Store
from tests.cli.kept import refusal, run
from tests.clients.listening import COMMAND, environment, relayprobe
from tests.conftest import need


def refused(*arguments: str | Path, before: tuple[str, ...] = (), **more: str) -> str:
    """The sentence."""
    command = [*before, *COMMAND, "listen", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    return line.removeprefix("Error: ")


NEAR = "127.0.0.1:0"


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("dta = 'x'", "unknown key dta in {}: did you mean data?"),
        ("[limit]", "unknown key limit in {}: did you mean limits?"),
        ("[site]\ndomain = ['x']", "unknown key site.domain in {}: did you mean site.domains?"),
        ("[limits]\nconnection = 5", "unknown key limits.connection in {}: did you mean limits.connections?"),
        ("[imitate]\ndomains = ['contoso.com']", "unknown key imitate.domains in {}: did you mean site.domains?"),
        (
            "[site]\ndomains = ['@contoso.com']",
            "site.domains in {}: '@contoso.com' is no domain: write what stands behind",
        ),
        ("[site]\nblocked_ports = [70000]", "site.blocked_ports[1] in {}: it should be less than or equal to 65535"),
        ("[site]\nmx = 'http://x'", "site.mx in {}: write a host name"),
        ("[imitate]\nrecipients = ['anna']", "imitate.recipients in {}: 'anna' is no address: write one such as anna@"),
        ("[log]\nxyz = 5", "unknown key log.xyz in {}: known here: file, form"),
        ("[limits]\nconnections = 'many'", "limits.connections in {}: "),
        ("[limits]\nconnections = 0", "limits.connections in {}: "),
        (
            "[limits]\ncommand_timeout = 'soon'",
            "limits.command_timeout in {}: write a time such as 90, 30s, 5m, 2h or 7d",
        ),
        (
            "[limits]\nmessage_size = '5MB'",
            "limits.message_size in {}: write a size such as 500000, 64KiB, 150MiB or 5GiB",
        ),
        ("[listen]\nallow = ['10.0.0.0/99']", "listen.allow[1] in {}: '10.0.0.0/99' is no network: write one such as "),
        ("[listen]\nmode = 'relay'", "listen.mode in {}: it should be 'submission', 'direct-send' or 'connector'"),
        ("[listen]\non = ['2525']", "'2525' is no place to listen on: write HOST:PORT such as 0.0.0.0:2525, or "),
        ("[listen]\nname = 'büro.local'", "listen.name in {}: "),
        ("[listen]\nname = ''", "listen.name in {}: "),
        ("[accounts]\nscanner = 5", "accounts.scanner in {}: "),
        ("site = 5", "site in {}: "),
        ("[site", "{} is not valid TOML: "),
        ("x = '\xff'", "{} is not valid TOML: "),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, toml: str, says: str) -> None:
    file = tmp_path / "relayprobe.toml"
    file.write_text(toml, encoding="latin-1" if "\xff" in toml else "utf-8")
    listen = [] if "on =" in toml else ["--listen", NEAR]
    assert refused("--config", file, "--data", tmp_path / "data", *listen).startswith(says.format(file))


def test_no_settings_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert (
        refused("--config", missing) == f"there is no configuration file {missing}: check the path given with --config"
    )
    assert refused(RELAYPROBE_CONFIG=str(missing)).startswith(f"there is no configuration file {missing}: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "2525"], "'2525' is no place to listen on: write HOST:PORT such as 0.0.0.0:2525, or tls://"),
        (["--listen", "smtp://127.0.0.1:0"], "'smtp://127.0.0.1:0' is no place to listen on: "),
        (["--listen", "127.0.0.1:65536"], "'127.0.0.1:65536' is no place to listen on: "),
        (["--listen", "192.0.2.1:2525"], "this machine has no address 192.0.2.1: choose one that it has, or 0.0.0.0 "),
        (["--listen", NEAR, "--allow", "here"], "listen.allow[1]: 'here' is no network: write one such as "),
        (["--listen", NEAR, "--cert", "cert.pem"], "--cert and --key go together: give both, or neither"),
        (["--listen", NEAR, "--log-file", "/no/folder/log"], "cannot write the log file /no/folder/log (No such file "),
    ],
)
def test_options_that_are_wrong(tmp_path: Path, options: list[str], says: str) -> None:
    assert refused("--data", tmp_path / "data", *options).startswith(says)


def test_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        says = refused("--data", tmp_path / "data", "--listen", NEAR, "--listen", place)
    assert says == f"{place} is in use by another program: stop it, or choose another port with --listen"


def test_a_port_that_only_root_may_have(tmp_path: Path) -> None:
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not first.exists() or int(first.read_text()) <= 1:
        pytest.skip("any user of this machine may listen on any port")
    before = (need("setpriv"), "--bounding-set", "-net_bind_service") if os.geteuid() == 0 else ()
    says = refused("--data", tmp_path / "data", "--listen", "127.0.0.1:1", before=before)
    assert says.startswith("no right to listen on 127.0.0.1:1: ports below 1024 need ")


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    def with_pair(certificate: Path, key: Path) -> str:
        return refused("--data", tmp_path / "data", "--listen", NEAR, "--cert", certificate, "--key", key)

    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
        command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
        pair = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run([*command, *pair], capture_output=True, check=True)
    missing, text = tmp_path / "missing.pem", tmp_path / "text.pem"
    text.write_text("no certificate")
    text.chmod(0o600)
    assert with_pair(missing, missing) == (
        f"the certificate {missing} cannot be read: check that it exists and its permissions"
    )
    assert with_pair(ours / "cert.pem", missing).startswith(f"the key {missing} cannot be read: ")
    assert with_pair(text, text).endswith(": both must be PEM, and belong together")
    assert with_pair(ours / "cert.pem", other / "key.pem").endswith(": both must be PEM, and belong together")
    (ours / "key.pem").chmod(0o644)
    says = with_pair(ours / "cert.pem", ours / "key.pem")
    assert says == f"the key {ours / 'key.pem'} can be read by others: run `chmod 600 {ours / 'key.pem'}`"


def test_a_certificate_of_its_own_that_is_damaged(tmp_path: Path) -> None:
    """It is made anew, or the sentence says which file to remove."""
    for name in ("ca.pem", "ca-key.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("cut sh")
        (tmp_path / name).chmod(0o600)
    assert str(tmp_path) in refused("--data", tmp_path, "--listen", NEAR)


def test_a_data_folder_of_a_newer_version(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "relayprobe.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    says = (
        f"a newer relayprobe wrote the database in {tmp_path} (version 99, this one knows 3): upgrade relayprobe, or "
    )
    assert refused("--data", tmp_path, "--listen", NEAR).startswith(says)
    for arguments in (["sessions"], ["show", "last"], ["diagnose"], ["export", "last"]):
        assert refusal(run(*arguments, "--data", tmp_path)).startswith(says)


def test_passwords_that_others_can_read_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "relayprobe.toml"
    file.write_text("[accounts]\nscanner = 'x'\n")
    for mode, warned in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        done = relayprobe("listen", "--config", file, "--data", tmp_path / "data", "--listen", "192.0.2.1:25")
        assert (b"others on this machine can read the passwords" in done.stderr) is warned
