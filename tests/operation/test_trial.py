"""`relayprobe relay --test ADDRESS`: one message through each route, the dialogue, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.kept import refusal, run
from tests.clients.listening import PASSWORD, USER, Listening
from tests.operation.working import OtherSide, free_port

TO = "anna@contoso.com"


def office(upstream: Listening, more: str = "", password: str = PASSWORD) -> str:
    return (
        f'[[route]]\nname = "office"\nmode = "submission"\nhost = "127.0.0.1"\nport = {upstream.port}\n'
        f'user = "{USER}"\npassword = "{password}"\n{more}\n'
    )


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> object:
    listening = Listening(tmp_path_factory.mktemp("office"), "--imitate", "submission")
    yield listening
    listening.stop()


def written(folder: Path, settings: str) -> list[str]:
    file = folder / "relayprobe.toml"
    file.touch(0o600)
    file.write_text(settings)
    return ["--config", str(file), "--data", str(folder / "data")]


def test_each_route(tmp_path: Path, upstream: Listening) -> None:
    """In order, without a list of devices, for nobody is let in; nothing is written into the data folder."""
    trusted = f'ca_file = "{upstream.data / "ca.pem"}"\ntls_name = "relayprobe.local"'
    nowhere = f'[[route]]\nname = "nowhere"\nmode = "smart-host"\nhost = "127.0.0.1"\nport = {free_port()}\n'
    with OtherSide(RCPT="550 5.1.1 nobody") as refuses, OtherSide(MAIL="451 4.3.2 not now") as defers:
        settings = office(upstream, trusted) + nowhere + refuses.route("refuses") + defers.route("defers")
        options = written(tmp_path, settings)
        done = run("relay", "--test", TO, "--json", *options)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.exit_code == 1
        assert [(one["route"], one["result"]) for one in found] == [
            ("office", "delivered"),
            ("nowhere", "deferred"),
            ("refuses", "refused"),
            ("defers", "deferred"),
        ]
        assert "Connection refused" in found[1]["reply"]
        assert found[2]["reply"] == "550 5.1.1 nobody"
        lines = [event.get("raw", "") for event in found[0]["dialogue"]]
        assert lines.index("STARTTLS\r\n") < next(n for n, line in enumerate(lines) if line.startswith("MAIL FROM"))
        text = run("relay", "--test", TO, "--route", "office", *options)
        assert (text.exit_code, ": delivered\n" in text.stdout) == (0, True)
        assert run("relay", "--test", TO, "--route", "office", "--route", "nowhere", *options).exit_code == 1
        for output in (done.output, text.output):
            assert PASSWORD not in output
        assert refusal(run("relay", "--test", TO, "--route", "ofice", *options)).startswith("there is no route ofice: ")
    assert not (tmp_path / "data").exists()
    assert upstream.last()["session"]["events"]


@pytest.mark.parametrize(
    ("more", "password", "says"),
    [
        ("ca_file = '{ca}'\ntls_name = 'relayprobe.local'", "wrong", "535 5.7.3"),
        ("tls_name = 'relayprobe.local'", PASSWORD, "certificate"),
        ("ca_file = '{ca}'\ntls_name = 'mail.contoso.com'", PASSWORD, "mail.contoso.com"),
    ],
)
def test_what_fails_is_explained(tmp_path: Path, upstream: Listening, more: str, password: str, says: str) -> None:
    """A refused login, an unknown authority, another's certificate."""
    options = written(tmp_path, office(upstream, more.format(ca=upstream.data / "ca.pem"), password))
    done = run("relay", "--test", TO, *options)
    assert done.exit_code == 1
    assert says in done.stdout
    assert done.stdout.splitlines()[0].endswith(": not delivered")
    if "535" not in says:
        assert "AUTH" not in done.stdout.partition("STARTTLS")[2]
        assert PASSWORD not in done.stdout


@pytest.mark.parametrize("to", ["", "nobody", "a@b@c.test", "a@b.test>\r\nDATA", "a b@", "<>"])
def test_an_address_that_is_none(tmp_path: Path, to: str) -> None:
    with OtherSide() as other:
        said = refusal(run("relay", "--test", to, *written(tmp_path, other.route())))
        assert "is no address: write one such as anna@contoso.com" in said
        assert other.connections == 0


def test_nothing_to_test(tmp_path: Path) -> None:
    assert "`relay` needs a way out" in refusal(run("relay", "--test", TO, *written(tmp_path, "")))
    auto = '[[route]]\nname = "auto"\nmode = "auto"\n'
    assert "no route can be tested" in refusal(run("relay", "--test", TO, *written(tmp_path, auto)))
