"""`relayprobe check` as it is run: a process of its own against servers on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayprobe.cli.check import _chosen
from relayprobe.settings import load
from relayprobe.tongue import tongue_of
from tests.check.name_server import NameServer, Zone, name_server
from tests.check.places import MX, SUBMISSION, ZONE, Office365, office_365, refusing
from tests.clients.listening import COMMAND, SETTINGS, environment, relayprobe


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office365]:
    with office_365(tmp_path_factory.mktemp("office"), SETTINGS) as there:
        yield there


def options(office: Office365, server: NameServer, **more: str) -> list[str]:
    given = {
        "resolver": f"127.0.0.1:{server.address[1]}",
        "submission-host": f"{SUBMISSION}:{office.submission.port}",
        "mx-host": f"{MX}:{office.mx.port}",
        "ca-file": str(office.ca),
        "deadline": "12",
        "patience": "2",
    }
    return [text for name, value in {**given, **more}.items() for text in (f"--{name}", value)]


def checked(office: Office365, folder: Path, *flags: str, zone: Zone = ZONE, **more: str) -> tuple[int, dict[str, Any]]:
    with name_server(zone) as server:
        ran = relayprobe("check", *options(office, server, **more), "--data", folder, "--json", *flags)
    assert ran.stderr == b""
    thing: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, thing


def test_the_object_that_is_promised(office: Office365, tmp_path: Path) -> None:
    code, thing = checked(office, tmp_path, "contoso.com")
    assert code == 0
    assert all({"id", "status", "says", "fix"} <= one.keys() for one in thing["checks"])
    assert {one["status"] for one in thing["checks"]} <= {"ok", "warning", "failed", "unknown"}
    assert [one["mode"] for one in thing["verdicts"]] == ["submission", "direct-send", "connector"]
    assert all({"works", "blockers"} <= one.keys() for one in thing["verdicts"])
    assert len({one["id"] for one in thing["checks"]}) == len(thing["checks"])


def test_a_chosen_mode_that_is_blocked_is_exit_1(office: Office365, tmp_path: Path) -> None:
    closed = f"{SUBMISSION}:{refusing()}"
    code, thing = checked(office, tmp_path, "contoso.com", **{"submission-host": closed})
    assert code == 1
    assert thing["verdicts"][0] == {**thing["verdicts"][0], "works": False, "blockers": ["port:submission:ipv4"]}
    assert checked(office, tmp_path, "contoso.com", "--mode", "connector", **{"submission-host": closed})[0] == 0
    config = tmp_path / "relayprobe.toml"
    config.write_text(
        '[site]\ndomains = ["contoso.com"]\n[[route]]\nname = "mx"\nmode = "connector"\ndomain = "contoso.com"'
    )
    assert checked(office, tmp_path, "--config", str(config), **{"submission-host": closed})[0] == 0


def test_in_words(office: Office365, tmp_path: Path) -> None:
    with name_server(ZONE) as server:
        ran = relayprobe("check", *options(office, server), "--data", tmp_path, "contoso.com")
    text = ran.stdout.decode()
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "Ports, TLS, and who answers" in text
    assert "client submission (port 587, with a login): works from here" in text
    assert max(map(len, text.splitlines())) <= 100


def test_sentences_are_said_in_a_language_and_names_are_not(office: Office365, tmp_path: Path) -> None:
    italian = tongue_of("it")
    _, english = checked(office, tmp_path, "contoso.com")
    _, asked = checked(office, tmp_path, "contoso.com", lang="it")
    assert [one["id"] for one in asked["checks"]] == [one["id"] for one in english["checks"]]
    assert [one["says"] for one in asked["checks"]] != [one["says"] for one in english["checks"]]
    with name_server(ZONE) as server:
        ran = relayprobe("check", *options(office, server), "--data", tmp_path, "contoso.com", LANG="it_IT.UTF-8")
    assert italian("Ports, TLS, and who answers") in ran.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the domain that mail is sent from"),
        (["anna@contoso.com"], "is an address: name its domain alone, contoso.com"),
        (["contoso"], "is no domain"),
        (["contoso.com", "--mx-host", "a:b"], "is no place: write HOST:PORT"),
        (["contoso.com", "--resolver", "dns.example"], "name it by its address"),
        (["contoso.com", "--ca-file", "/nowhere.pem"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], says: str) -> None:
    ran = relayprobe("check", *arguments)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert says in ran.stderr.decode()


@pytest.mark.parametrize(
    "hosts", [[], ["--resolver", "192.0.2.1:53", "--submission-host", "192.0.2.2", "--mx-host", "192.0.2.3"]]
)
def test_without_any_network_it_says_so_in_time(hosts: list[str], tmp_path: Path) -> None:
    assert shutil.which("unshare"), "util-linux has it"
    began = time.monotonic()
    command = [
        "unshare",
        "-rn",
        *COMMAND,
        "check",
        "contoso.com",
        "--deadline",
        "4",
        "--json",
        "--data",
        str(tmp_path),
        *hosts,
    ]
    ran = subprocess.run(command, capture_output=True, env=environment(), timeout=60, check=False)
    took = time.monotonic() - began
    assert (ran.returncode, ran.stderr) == (1, b"")
    thing = json.loads(ran.stdout)
    network, *others = thing["checks"]
    assert network["says"].startswith("there is no network: no name server and no mail server answered")
    assert thing["seconds"] <= 4.0
    assert took < 30
    assert {one["status"] for one in others if not one["id"].startswith("local:")} == {"unknown"}
    assert "firewall" not in "".join(one["says"] + one["fix"] for one in others if not one["id"].startswith("local:"))
    assert {one["works"] for one in thing["verdicts"]} == {None}
    assert "SERVFAIL" not in json.dumps(thing), "nobody answered anything"


@pytest.mark.parametrize(
    ("routes", "modes"),
    [
        ("", ("submission",)),
        ('[[route]]\nname = "mx"\nmode = "connector"\ndomain = "contoso.com"\n', ("connector",)),
        ('[[route]]\nname = "other"\nmode = "smart-host"\nhost = "mail.example"\n', ()),
    ],
    ids=["no route", "a connector", "a smart host alone"],
)
def test_what_has_to_work(tmp_path: Path, routes: str, modes: tuple[str, ...]) -> None:
    config = tmp_path / "relayprobe.toml"
    config.write_text(routes)
    assert _chosen((), load(config, {})) == modes
    assert _chosen(("direct-send",), load(config, {})) == ("direct-send",)
