"""`relayprobe config`: what is wrong in the tables of the relay is one sentence with key, file and way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.cli.kept import refusal, run

OUT = '[[route]]\nname = "out"\nmode = "smart-host"\nhost = "mail.contoso.com"\n'
OFFICE = '[[route]]\nname = "office"\nmode = "submission"\nuser = "scan@contoso.com"\npassword = "hidden-1"\n'
OAUTH = '[[route]]\nname = "o"\nmode = "submission"\nuser = "scan@contoso.com"\n[route.oauth]\ntenant = "contoso.com"\n'
RELAY = '[relay]\ndevices = ["10.0.0.5"]\n'


def wrong(file: Path, toml: str) -> str:
    file.touch(0o600)
    file.write_text(toml)
    return refusal(run("config", "check", "--config", file))


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        # keys
        ("[relay]\ndevice = []", "unknown key relay.device in {}: did you mean relay.devices?"),
        ("[relay.login]", "unknown key relay.login in {}: did you mean relay.logins?"),
        ("[relay.notify]\ncomand = []", "unknown key relay.notify.comand in {}: did you mean relay.notify.command?"),
        (OUT + "prot = 25", "unknown key route[1].prot in {}: did you mean route[1].port?"),
        (OAUTH + "client = 'x'", "route[1].oauth.client_id in {}: this key is needed"),
        (OAUTH + "client_id = 'x'\nsecret_fil = 'x'", "unknown key route[1].oauth.secret_fil in {}: did you mean "),
        ("[[rewrite]]\nsend = 'x'", "unknown key rewrite[1].send in {}: did you mean rewrite[1].sender?"),
        # [relay]
        (OUT, "{}: `relay` needs a list of devices"),
        (RELAY, "{}: `relay` needs a way out: add a [[route]]"),
        (OUT + "[relay]\ndevices = ['10.0.0.0/99']", "{}: devices: '10.0.0.0/99' is no address, network or login"),
        (OUT + "[relay]\ndevices = ['10.0.0.5/24']", "{}: devices: 10.0.0.5/24 may mean two things: write 10.0.0.0/24"),
        (OUT + "[relay]\ndevices = ['0.0.0.0/0']", "{}: devices: 0.0.0.0/0 lets strangers on the internet send"),
        (OUT + "[relay]\ndevices = ['scanner']", "{}: relay.devices: scanner is a login without a password"),
        (OUT + RELAY + "lenient = ['10.0.0.0/99']", "{}: relay.lenient: devices: '10.0.0.0/99' is no address"),
        (OUT + RELAY + "recipients = ['@x']", "{}: recipients: '@x' is no address that could match"),
        (OUT + RELAY + "when = 'now'", "relay.when in {}: it should be 'spooled' or 'at-once'"),
        (OUT + RELAY + "retry = []", "relay.retry in {}: "),
        (OUT + RELAY + "retry = ['soon']", "relay.retry[1] in {}: write a time such as 90, 30s, 5m, 2h or 7d"),
        (OUT + RELAY + "lifetime = 0", "relay.lifetime in {}: "),
        (OUT + RELAY + "bounce = 'all'", "relay.bounce in {}: it should be 'sender', 'admin' or 'none'"),
        (OUT + RELAY + "repairs_off = ['x']", "{}: relay.repairs_off: there is no repair x: known are "),
        (OUT + RELAY + "metrics = '9109'", "relay.metrics in {}: write HOST:PORT such as 127.0.0.1:9109"),
        (OUT + RELAY + "sender_domain = '@x.y'", "relay.sender_domain in {}: '@x.y' is no domain"),
        (
            OUT + RELAY + "[relay.logins]\na = 'secret-3'",
            "{}: the login a has no argon2 hash: make one with `relayprobe",
        ),
        (
            OUT + RELAY + "token_key = 'k'\ntoken_key_env = 'E'",
            "{}: relay.token_key must come from one place: a file, env",
        ),
        # [relay.notify]
        (OUT + RELAY + "[relay.notify]\nmail = ['anna']", "relay.notify.mail in {}: 'anna' is no address: write one"),
        (
            OUT + RELAY + "[relay.notify]\ncommand = ['']",
            "relay.notify in {}: command names no program: write its path",
        ),
        (OUT + RELAY + "[relay.notify]\nwebhook = 'x-9'", "relay.notify in {}: webhook is no address: it begins with"),
        (
            OUT + RELAY + "[relay.notify]\nwebhook = 'https://x.y'\nwebhook_secret_file = 'none'",
            "{}: relay.notify.webhook_secret_file: the file ",
        ),
        (
            OUT + RELAY + "[relay.notify]\nroute = 'ouT'",
            "relay.notify.route names 'ouT', which is no other route: did ",
        ),
        # [[route]]
        ("[[route]]\nname = 'x'", "route[1].mode in {}: this key is needed"),
        ("[[route]]\nname = '../x'\nmode = 'auto'", "route[1].name in {}: "),
        (OUT + "tls = 'ssl'", "route[1].tls in {}: it should be 'starttls', 'implicit' or 'none'"),
        (OUT + "port = 0", "route[1].port in {}: "),
        (OUT + OUT, "two routes are called out: give each [[route]] a name of its own"),
        (OUT + "fallback = 'oht'", "route out: fallback names 'oht', which is no other route of this file"),
        (OUT + "fallback = 'out'", "route out: fallback names 'out', which is no other route"),
        (OUT + "devices = ['10.0.0.0/99']\n" + RELAY, "{}: route out: devices: '10.0.0.0/99' is no address"),
        (OUT + "devices = ['scaner']\n" + RELAY, "{}: route out: devices: there is no login scaner in [relay.logins]"),
        (OUT + "senders = ['@contoso.com']", "route[1].senders in {}: '@contoso.com' matches no address: write one"),
        (OUT + "recipients = ['']", "route[1].recipients in {}: '' matches no address"),
        (OUT + "mailbox = 'anna'", "route[1].mailbox in {}: 'anna' is no address"),
        (OUT + "resolver = 'dns'\n" + RELAY, "{}: 'dns' is no resolver: write its IP address and port"),
        (OUT + "ca_file = 'none.pem'\n" + RELAY, "{}: the certificates "),
        (OUT + "client_certificate = 'x'", "route[1] in {}: client_certificate and client_key go together"),
        (OUT + "password = 'p'", "route[1] in {}: a login needs `user`, the address of the mailbox"),
        (OUT + "user = 'u'\npassword = 'p'\ntls = 'none'", 'route[1] in {}: tls = "none" would show the password'),
        (OFFICE + "password_file = 'p'", "route[1] in {}: password and password_file exclude each other: give one"),
        (
            OFFICE + "[route.oauth]\nclient_id = 'x'\nsecret = 's'",
            "route[1] in {}: a password and [route.oauth] exclude",
        ),
        (OFFICE.replace("password", "password_file") + RELAY, "{}: route office: password: the file "),
        (OAUTH + "client_id = 'x'", "route[1].oauth in {}: client credentials need a secret (secret_file"),
        (
            OAUTH + "client_id = 'x'\nflow = 'device-code'\n" + RELAY,
            "{}: route o: a sign-in by device code is kept encrypted, so it needs a key",
        ),
        (OAUTH + "client_id = 'x'\nsecret = 's'\nauthority = 'x'\n" + RELAY, "{}: route o: oauth: 'x' is no authority"),
        (OAUTH + "client_id = 'x'\nsecret = 's'\nca_file = 'none'\n" + RELAY, "{}: the certificates "),
        (OAUTH + "client_id = 'x'\ncertificate = 'none'\n" + RELAY, "{}: the certificate: the file "),
        # [[rewrite]]
        (OUT + RELAY + "[[rewrite]]\nsender = 'anna'", "rewrite[1].sender in {}: 'anna' is no address"),
        (
            OUT + RELAY + "[[rewrite]]\ndevices = ['10.0.0.0/99']",
            "{}: rewrite[1]: devices: '10.0.0.0/99' is no address",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, toml: str, says: str) -> None:
    file = tmp_path / "relayprobe.toml"
    said = wrong(file, toml)
    assert said.startswith(says.format(file))
    assert str(file) in said
    if "password_file" not in toml:
        assert not any(secret in said for secret in ("hidden-1", "secret-3", "x-9"))


def test_a_secret_file_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o644)
    toml = OFFICE.replace('password = "hidden-1"', 'password_file = "secret"') + RELAY
    file = tmp_path / "relayprobe.toml"
    assert wrong(file, toml) == (
        f"{file}: route office: password: the file {secret} can be read by others: run `chmod 600 {secret}`"
    )
    secret.chmod(0o600)
    assert run("config", "check", "--config", file).exit_code == 0
    secret.write_text("\n")
    assert wrong(file, toml) == f"{file}: route office: password is empty (file {secret}): put the secret there"
    secret.unlink()
    secret.mkdir()
    assert "no file" in wrong(file, toml)


def test_passwords_in_a_configuration_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "relayprobe.toml"
    file.write_text(OFFICE + RELAY)
    for mode, warned in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        done = run("config", "check", "--config", file)
        assert (done.exit_code, "others on this machine can read" in done.output) == (0, warned)


def test_what_is_in_force_is_shown_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "relayprobe.toml"
    key = Fernet.generate_key().decode()
    hashed = run("password").output  # nothing on stdin
    assert "empty password" in hashed
    file.write_text(
        f'[accounts]\n"a@b.c" = "hidden-2"\n[relay]\ndevices = ["10.0.0.5"]\ntoken_key = "{key}"\n'
        '[relay.logins]\nscanner = "hidden-3"\n[relay.notify]\nwebhook = "https://contoso.com/hidden-4"\n'
        + OFFICE
        + OAUTH
        + 'client_id = "c"\nsecret = "hidden-5"\nkey = "hidden-6"\n'
    )
    done = run("config", "show", "--config", file)
    shown = json.loads(done.output)
    assert done.exit_code == 0
    assert "hidden" not in done.output
    assert key not in done.output
    assert shown["route"][1]["oauth"]["client_id"] == "c"
    assert shown["relay"]["lifetime"] == 432000.0
    assert set(shown["relay"]["notify"]["webhook"]) == {"*"}
