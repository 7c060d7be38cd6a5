"""Who is let in: devices by address, by login; what is learned; and where those that were refused are seen."""

from __future__ import annotations

import json
import re
import smtplib
import ssl
import time
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from relayprobe.relay.logins import FAILURES, hashed
from relayprobe.store import Mail, Recipient, Spool, Store
from tests.cli.kept import run
from tests.operation.working import OtherSide, Relaying, eventually

PASSWORD = "Marker-Of-Login!"
HASH = hashed(PASSWORD)
ACCOUNT = f"[relay.logins]\nscanner = '{HASH}'\n"
BY_LOGIN = f'[relay]\ndevices = ["scanner"]\n{ACCOUNT}'
BY_BOTH = f'[relay]\ndevices = ["127.0.0.1", "scanner"]\n{ACCOUNT}'


def login(device: smtplib.SMTP, user: str, password: str, mechanism: Literal["PLAIN", "LOGIN"] = "PLAIN") -> int:
    device.user, device.password = user, password  # type: ignore[attr-defined]
    how = {"PLAIN": device.auth_plain, "LOGIN": device.auth_login}[mechanism]
    try:
        return device.auth(mechanism, how)[0]
    except smtplib.SMTPAuthenticationError as refused:
        return refused.smtp_code


def into_tls(device: smtplib.SMTP) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert device.starttls(context=context)[0] == 220
    device.ehlo()


def test_devices_by_login(tmp_path: Path) -> None:
    with OtherSide() as other, Relaying(tmp_path / "relay", BY_LOGIN + other.route()) as relay:
        with relay.device() as device:
            offered = set(device.esmtp_features)
            assert {"auth", "starttls", "8bitmime", "size"} <= offered
            assert not {"smtputf8", "binarymime", "dsn"} & offered  # what cannot be promised for the other side
            assert device.mail("a@contoso.test") == (530, b"5.7.0 Authentication required")
            for user, password in (("scanner", "wrong"), ("nobody", PASSWORD), ("scanner", "")):
                assert login(device, user, password) == 535
            assert device.mail("a@contoso.test")[0] == 530
            assert login(device, "SCANNER", PASSWORD, "LOGIN") == 235
            device.sendmail("a@contoso.test", ["anna@contoso.test"], "Subject: x\r\n\r\nx\r\n")
        with relay.device() as device:
            assert login(device, "scanner", PASSWORD) == 235
            into_tls(device)  # RFC 3207 4.2: what was known before is forgotten
            assert device.mail("a@contoso.test")[0] == 530
            assert login(device, "scanner", PASSWORD) == 235
            device.sendmail("a@contoso.test", ["anna@contoso.test"], "Subject: x\r\n\r\nx\r\n")
        other.arrived(2)
        mail = relay.until_mail("delivered")
        assert mail["user"].lower() == "scanner"
        assert all(PASSWORD.encode() not in path.read_bytes() for path in relay.data.rglob("*") if path.is_file())
        # Who was refused is in the log, and among the sessions.
        refused = relay.logged("device refused", login="nobody")
        assert (refused["peer"], refused["why"]) == ("127.0.0.1", "its login is wrong, or not known")
        listed = run("sessions", "--data", relay.data, "--json", "--refused").output.splitlines()
        assert refused["session"] in [json.loads(line)["id"] for line in listed]


def test_guessing_ends(tmp_path: Path) -> None:
    """Who failed too often is not looked at any more; another address is. A device that is let in by its address need
    not know a password, and is not shut out by an old one that is still typed in."""
    with OtherSide() as other, Relaying(tmp_path / "relay", BY_BOTH + other.route()) as relay:
        for source, wrong, right in (("127.0.0.2", 535, 454), ("127.0.0.1", 235, 235), ("127.0.0.3", 535, 235)):
            many = FAILURES if source != "127.0.0.3" else 1
            for n in range(many + 1):
                with smtplib.SMTP("127.0.0.1", relay.port, timeout=20, source_address=(source, 0)) as device:
                    device.ehlo()
                    assert login(device, "scanner", PASSWORD if n == many else f"guess {n}") == (
                        right if n == many else wrong
                    )
        assert relay.send()[0] == 250
        other.arrived()


def test_a_login_that_was_not_proved_is_nobodys(tmp_path: Path) -> None:
    """A device that is let in by its address may log in with anything, and is not taken for whom it says to be."""
    with OtherSide() as other, Relaying(tmp_path / "relay", BY_BOTH + other.route()) as relay:
        for password, known_as in (("wrong", None), (PASSWORD, "scanner")):
            with relay.device() as device:
                assert login(device, "scanner", password) == 235
                device.sendmail("a@contoso.test", ["anna@contoso.test"], "Subject: x\r\n\r\nx\r\n")
            assert relay.until_mail("delivered")["user"] == known_as


def test_refused_by_address(tmp_path: Path) -> None:
    with (
        OtherSide() as other,
        Relaying(tmp_path / "relay", '[relay]\ndevices = ["127.0.0.1"]\n' + other.route()) as relay,
    ):
        assert relay.send()[0] == 250
        code, text = relay.send(source="127.0.0.9")
        assert (code, b"[127.0.0.9] may not send through this relay" in text) == (550, True)
        refused = relay.logged("device refused", peer="127.0.0.9")

        def seen() -> None:
            listed = run("sessions", "--data", relay.data, "--json", "--refused").output.splitlines()
            assert [json.loads(line)["id"] for line in listed] == [refused["session"]]

        eventually(seen)
        assert "127.0.0.9" in run("sessions", "--data", relay.data, "--refused").output


def waits(folder: Path) -> None:
    """A mail that waits in the queue, on a route that the settings do not have."""
    store = Store.open(folder, synchronous="FULL")
    store.take(Mail("aa-1", "aa", (), time.time(), "10.0.0.5", None, "a@b.test", (Recipient("c@d.test"),), "elsewhere"))
    store.flushed().result(20)
    store.close()


def stays(folder: Path) -> None:
    spool = Spool.open(folder)
    assert (spool.find("aa-1").state, spool.find("aa-1").attempts) == ("waiting", 0)
    spool.close()


@pytest.mark.parametrize("form", ["text", "json"])
def test_learning(tmp_path: Path, form: str) -> None:
    """Each device is told to come again, and what is printed at the end can be pasted. The queue is left alone."""
    waits(tmp_path / "relay" / "data")
    options = ["--learn", "5m", *(["--json"] if form == "json" else [])]
    with Relaying(tmp_path / "relay", '[listen]\nname = "relay.test"\n', *options) as relay:
        for source in ("127.0.0.1", "127.0.0.7"):
            with smtplib.SMTP("127.0.0.1", relay.port, timeout=20, source_address=(source, 0)) as device:
                device.ehlo()
                assert login(device, f'scan"\x1b-{source[-1]}', "hidden-password") == 235
                for reply in (device.mail("a@contoso.test"), device.rcpt("anna@contoso.test")):
                    assert reply[0] == 250
                code, text = device.data("Subject: x\r\n\r\nx\r\n")
                assert (code, b"learning" in text) == (451, True)
    # Stopped, which ends the learning before its time
    said = relay.out.read_text()
    stays(relay.data)
    assert "\x1b" not in said
    for text in (said, relay.err.read_text()):
        assert "hidden-password" not in text
    if form == "json":
        found = json.loads(said.splitlines()[-1])
        assert sorted(one["host"] for one in found["devices"]) == ["127.0.0.1", "127.0.0.7"]
        return
    assert "learns for 5 minutes" in said
    pasted = re.search(r"^devices = \[$.*?^\]$", said, re.MULTILINE | re.DOTALL)
    assert pasted is not None
    assert tomllib.loads(f"[relay]\n{pasted[0]}")["relay"]["devices"] == ["127.0.0.1", "127.0.0.7"]
    with OtherSide() as other, Relaying(tmp_path / "after", f"[relay]\n{pasted[0]}\n{other.route()}") as after:
        assert after.send(source="127.0.0.7")[0] == 250


def test_learning_ends_by_itself(tmp_path: Path) -> None:
    with Relaying(tmp_path / "relay", "", "--learn", "1s") as relay:
        assert relay.process.wait(60) == 0
    said = relay.out.read_text()
    assert "learns for 1 second which devices send" in said
    assert "No device tried to send." in said


def test_no_time_to_learn(tmp_path: Path) -> None:
    for text in ("soon", "0", "-5m"):
        done = run("relay", "--learn", text, "--data", tmp_path / "data")
        assert (done.exit_code, "is no time: write 30m or 1h" in done.output) == (2, True)
