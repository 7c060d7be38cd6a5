"""The relay's units beside those of `listen`: what they share is the same, and systemd finds no fault with them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"
RELAY, LISTEN = CONFIG / "relayprobe-relay.service", CONFIG / "relayprobe.service"
OF_THE_RELAY = {"ExecStart", "ExecReload", "SupplementaryGroups", "KillSignal", "TimeoutStopSec", "LoadCredential",
                "User", "DevicePolicy", "PrivateMounts"}  # fmt: skip


def lines(unit: Path, section: str) -> list[str]:
    """The settings of a section, without comments."""
    part = unit.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [line for line in part.splitlines() if line and not line.startswith("#")]


def unit(path: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read(path)
    return read


def test_the_relay_is_shut_in_as_listen_is() -> None:
    own = [line for line in lines(RELAY, "Service") if line.partition("=")[0] not in OF_THE_RELAY]
    of_listen = [line for line in lines(LISTEN, "Service") if line.partition("=")[0] not in OF_THE_RELAY]
    assert own == of_listen


def test_the_relay_has_the_ports_of_listen() -> None:
    assert lines(RELAY.with_suffix(".socket"), "Socket") == lines(LISTEN.with_suffix(".socket"), "Socket")


def test_the_units_fit_together() -> None:
    service, socket = unit(RELAY), unit(RELAY.with_suffix(".socket"))
    name = RELAY.with_suffix(".socket").name
    assert service["Unit"]["Requires"] == service["Install"]["Also"] == name
    for one, other in ((service["Unit"], LISTEN.name), (socket["Unit"], LISTEN.with_suffix(".socket").name)):
        assert one["Conflicts"] == other
        assert other in one["After"].split()  # so that the one has stopped before the other starts
    assert "--data %S/" + service["Service"]["StateDirectory"] in service["Service"]["ExecStart"]
    assert service["Service"]["User"] == LISTEN.stem  # the same, so that the data need not change hands
    assert "HUP $MAINPID" in service["Service"]["ExecReload"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for path in (RELAY, RELAY.with_suffix(".socket"), LISTEN, LISTEN.with_suffix(".socket")):
        # The program is not installed where tests run: another that is stands in for it.
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/relayprobe/bin/relayprobe ", "/bin/sh "))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / RELAY.name, tmp_path / f"{RELAY.stem}.socket"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "relayprobe" in line]
    assert said == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize(("ports", "most"), [("passed", 1.3), ("opened by itself", 1.7)])
def test_what_it_is_exposed_to(ports: str, most: float, tmp_path: Path) -> None:
    text = RELAY.read_text()
    if ports != "passed":
        text = text.replace("\nCapabilityBoundingSet=\n", "\n").replace("#AmbientCap", "AmbientCap")
        text = text.replace("#CapabilityBoundingSet=CAP", "CapabilityBoundingSet=CAP")
        assert text.count("\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n") == 1
    copy = tmp_path / RELAY.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", copy], capture_output=True, text=True, timeout=60, check=False
    )
    level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    if level is None:
        pytest.skip(f"systemd-analyze cannot judge a unit that is not loaded: {done.stderr.strip()}")
    assert float(level[1]) <= most


def test_the_container_file_names_what_is_there() -> None:
    root, text = CONFIG.parent, (CONFIG / "Containerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)", text, re.M):
        *sources, _ = line.split()
        assert [source for source in sources if not (root / source).exists()] == []
    assert re.search(r"^FROM python:3\.11-slim( AS \w+)?$", text, re.M)
    assert "--require-hashes -r requirements/build.txt" in text
    assert "--require-hashes --no-build-isolation -r requirements/run.txt" in text
    assert re.search(r"^USER (?!root|0\b)", text, re.M)
