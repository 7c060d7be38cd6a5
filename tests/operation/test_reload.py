"""The configuration read anew while the relay runs: who comes later meets it, who is here does not."""

from __future__ import annotations

import signal
import smtplib
import subprocess
from pathlib import Path

from relayprobe.store.folder import holder
from tests.clients.listening import COMMAND, Listening, environment, relayprobe, until
from tests.operation.working import OtherSide, Relaying, free_port

HERE = '[relay]\ndevices = ["127.0.0.1"]\nretry = ["1s"]\n'
BOTH = HERE.replace('"127.0.0.1"', '"127.0.0.1", "127.0.0.2"')


def test_devices_rules_and_routes(tmp_path: Path) -> None:
    with OtherSide() as one, OtherSide() as two, Relaying(tmp_path / "relay", HERE + one.route("one")) as relay:
        assert relay.send(source="127.0.0.2")[0] == 550
        with relay.device() as here:
            here.mail("scanner@contoso.test")
            strict = BOTH + 'deny_recipients = ["*@contoso.test"]\n'
            relay.reload(strict + two.route("two"))
            assert relay.send("bert@example.test", source="127.0.0.2")[0] == 250
            assert two.arrived()[0][1] == ["bert@example.test"]
            assert relay.send("anna@contoso.test")[0] == 550
            # The dialogue that was under way goes on by its rules, and what it leaves takes a route that is there.
            assert here.rcpt("anna@contoso.test")[0] == 250
            assert here.data(b"Subject: late\r\n\r\nx\r\n")[0] == 250
        assert two.arrived(2)[1][1] == ["anna@contoso.test"]
        assert one.mails == []


def test_a_configuration_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    with OtherSide() as other, Relaying(tmp_path / "relay", HERE + other.route()) as relay:
        for wrong, says in (
            (BOTH + "when = 'now'\n", "relay.when in "),
            (BOTH, "`relay` needs a way out"),
            ("[listen]\non = ['x']\n" + BOTH + other.route(), None),  # the command line says where
            ('data = "elsewhere"\n' + BOTH + "[[rout]]\n", "unknown key rout in "),
            ("[", "is not valid TOML"),
        ):
            before = len(relay.log())
            relay.reload(wrong)
            [error] = [line for line in relay.log()[before:] if line["level"] == "error"] or [None]
            assert (error is None) == (says is None)
            if error is not None:
                assert error["event"] == "the configuration was not taken, and nothing changes"
                assert says in error["error"]
                assert str(relay.config) in error["error"]
                relay.reload(HERE + other.route())
        assert relay.send()[0] == 250


def test_what_takes_a_new_start_is_said(tmp_path: Path) -> None:
    with OtherSide() as other, Relaying(tmp_path / "relay", HERE + other.route()) as relay:
        relay.reload('[listen]\nname = "new.test"\n' + HERE + f'metrics = "127.0.0.1:{free_port()}"\n' + other.route())
        assert relay.logged("takes effect when")["keys"] == ["listen.name", "relay.metrics"]
        with relay.device() as device:
            assert device.docmd("NOOP")[0] == 250


def test_ports_are_opened_and_closed(tmp_path: Path) -> None:
    """Those that the file names, without --listen."""
    first, second = free_port(), free_port()
    config, err = tmp_path / "relayprobe.toml", tmp_path / "stderr"

    def settings(port: int) -> str:
        return f'data = "{tmp_path}/data"\n[listen]\non = ["127.0.0.1:{port}"]\n' + HERE + other.route()

    def answers(port: int) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
                return device.noop()[0] == 250
        except OSError:
            return False

    with OtherSide() as other, err.open("wb") as log:
        config.touch(0o600)
        config.write_text(settings(first))
        process = subprocess.Popen(
            [*COMMAND, "relay", "--config", str(config)], stdout=subprocess.DEVNULL, stderr=log, env=environment()
        )
        try:
            until(lambda: answers(first))
            with smtplib.SMTP("127.0.0.1", first, timeout=20) as here:
                config.write_text(settings(second))
                assert relayprobe("reload", "--config", config).returncode == 0
                until(lambda: answers(second))
                assert not answers(first)
                assert here.noop()[0] == 250
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert "Traceback" not in err.read_text()


def test_a_changed_password_sets_a_stopped_route_going(tmp_path: Path) -> None:
    """And neither `health` nor `queue list` say any longer that it is stopped, nor of a route that is gone."""
    upstream = Listening(tmp_path / "office", "--imitate", "submission")
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("wrong-password\n")
    office = (
        '[[route]]\nname = "office"\nmode = "submission"\nhost = "127.0.0.1"\ntls_name = "relayprobe.local"\n'
        f'port = {upstream.port}\nca_file = "{upstream.data / "ca.pem"}"\nuser = "scanner@contoso.com"\n'
        f'password_file = "{secret}"\n'
    )
    try:
        with Relaying(tmp_path / "relay", HERE + office) as relay:
            assert relay.send("anna@contoso.com", sender="scanner@contoso.com")[0] == 250
            relay.logged("route cannot", state="stopped")
            assert "535" in relay.until_mail("waiting")["why"]
            done = relay.run("health")
            assert (done.returncode, b"route office is stopped" in done.stdout) == (1, True)
            assert b"Route office is stopped: 535 5.7" in relay.run("queue list").stdout
            secret.write_text("Marker-Of-Passw0rd!\n")
            relay.reload()
            relay.until_mail("delivered")
            relay.logged("route works again")
            assert relay.run("health").returncode == 0
            # A route that is stopped, and then is no longer there
            secret.write_text("wrong-password\n")
            relay.reload(HERE + office.replace('"office"', '"second"'))
            relay.send("anna@contoso.com", sender="scanner@contoso.com")
            until(lambda: relay.run("health").returncode == 1)
            with OtherSide() as other:
                relay.reload(HERE + other.route())
                other.arrived()
                until(lambda: relay.run("health").returncode == 0)
    finally:
        upstream.stop()


def test_who_does_not_read_anew_is_left_alone(tmp_path: Path) -> None:
    """`listen` uses data folders too, and the signal would end it."""
    listening = Listening(tmp_path / "listen")
    try:
        done = listening.run("reload")
        assert (done.returncode, b"reads no configuration anew" in done.stderr) == (2, True)
        with smtplib.SMTP("127.0.0.1", listening.port, timeout=20) as device:
            assert device.noop()[0] == 250
    finally:
        listening.stop()


def test_nobody_is_at_work(tmp_path: Path) -> None:
    done = relayprobe("reload", "--data", tmp_path)
    assert (done.returncode, b"no relayprobe is at work on " in done.stderr) == (2, True)


def test_what_is_under_way_ends_when_it_is_stopped(tmp_path: Path) -> None:
    """SIGTERM: the text that is on its way arrives, and is not sent a second time at the next start."""
    with OtherSide(**{".": "slow"}) as other:
        relay = Relaying(tmp_path / "relay", HERE + other.route())
        assert relay.send()[0] == 250
        assert other.stalled.wait(20)
        relay.process.send_signal(signal.SIGTERM)
        other.release()
        relay.stop()
        assert relay.mail()["state"] == "delivered"
        assert len(other.mails) == 1


def test_it_is_asked_for_before_the_relay_is_ready(tmp_path: Path) -> None:
    """From when on the data folder says which process is at work, the signal does not end it."""
    data, config, err = tmp_path / "data", tmp_path / "relayprobe.toml", tmp_path / "stderr"
    config.touch(0o600)
    with OtherSide() as other, err.open("wb") as log:
        config.write_text(HERE + other.route())
        command = [*COMMAND, "relay", "--listen", "127.0.0.1:0", "--data", str(data), "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment())
        try:
            until(lambda: holder(data))
            process.send_signal(signal.SIGHUP)
            until(lambda: "the configuration was read anew" in err.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_what_was_sent_today_is_counted_on(tmp_path: Path) -> None:
    """For a route that stays as it is, while another changes; and for one that changes itself."""
    with OtherSide() as one, OtherSide() as two:
        limited = one.route("one", 'recipients = ["anna@contoso.test"]\nrecipients_per_day = 1\n')
        with Relaying(tmp_path / "relay", HERE + limited + two.route("two")) as relay:
            assert relay.send()[0] == 250
            relay.until_mail("delivered")
            relay.reload(HERE + limited + two.route("two", "connections = 2"))
            assert relay.send()[0] == 250
            relay.reload(HERE + limited.replace("per_day = 1", "per_day = 1\nconnections = 2") + two.route("two"))
            assert relay.send()[0] == 250
            assert relay.send("bert@contoso.test")[0] == 250
            two.arrived()  # by when the others would have gone, too
            assert len(one.mails) == 1
