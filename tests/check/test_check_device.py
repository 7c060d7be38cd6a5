"""A device at this site, earlier runs, and what this machine itself allows."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relayprobe.capture.listener import Port
from relayprobe.check import local
from relayprobe.check.checked import Checked
from relayprobe.check.ports import judged_public
from relayprobe.check.talk import Heard, Target
from relayprobe.relay.outcome import Reply
from relayprobe.report.checks import html, lines
from relayprobe.store.checks import runs
from relayprobe.tongue import tongue_of
from tests.check.name_server import name_server
from tests.check.places import MX, SUBMISSION, ZONE, Office365, looked, office_365, refusing
from tests.cli.kept import NO_LOGIN, Held, keep
from tests.clients.listening import SETTINGS, relayprobe


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office365]:
    with office_365(tmp_path_factory.mktemp("office"), SETTINGS) as there:
        yield there


def check(office: Office365, data: Path, *more: str | Path, submission: int | None = None, as_json: bool = True) -> Any:
    with name_server(ZONE) as server:
        ran = relayprobe(
            *("check", "contoso.com", "--data", data, "--patience", "2", "--ca-file", office.ca),
            *("--resolver", f"127.0.0.1:{server.address[1]}"),
            *("--submission-host", f"{SUBMISSION}:{submission or office.submission.port}"),
            *("--mx-host", f"{MX}:{office.mx.port}", *more, *(["--json"] if as_json else [])),
        )
    assert ran.stderr == b""
    return json.loads(ran.stdout) if as_json else ran.stdout.decode()


# A device at this site

# it neither logs in nor does TLS, and writes to its own domain
DEVICE = Held("aa00000001", NO_LOGIN)


def test_the_device_and_the_site_together(office: Office365, tmp_path: Path) -> None:
    keep(tmp_path, [DEVICE])
    device = check(office, tmp_path, "--session", "last")["device"]
    ways = {one["mode"]: one for one in device["ways"]}
    assert device["session"] == DEVICE.id
    assert (ways["submission"]["site"], ways["submission"]["device"], ways["submission"]["works"]) == (
        True,
        False,
        False,
    )
    assert ways["direct-send"]["works"] is True
    assert "at this site, works by direct send" in device["says"]
    assert any("direct-send" in one or "RejectDirectSend" in one or "Direct Send" in one for one in device["todo"])


def test_a_site_that_closes_the_devices_way(office: Office365, tmp_path: Path) -> None:
    """Port 25 is closed: what the device could do is no longer of use, and the advice goes by that."""
    keep(tmp_path, [DEVICE])
    with_all = check(office, tmp_path, "--session", "aa")["device"]
    closed = f"{MX}:{refusing()}"
    thing = check(office, tmp_path, "--session", "aa", "--mx-host", closed)
    device = thing["device"]
    assert with_all["way"] == "direct-send"
    assert device["way"] != "direct-send"
    assert "works in no way as it is" in device["says"]
    direct = next(one for one in device["ways"] if one["mode"] == "direct-send")
    assert direct["blockers"][0] == "port:mx:ipv4"
    text = check(office, tmp_path, "--session", "aa", "--mx-host", closed, as_json=False)
    assert "What to do, in order" in text
    assert "or, with the device as it is, so that direct send" in " ".join(text.split())
    assert "works in no way as it is" in " ".join(text.split())


def test_a_session_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    keep(tmp_path, [DEVICE])
    ran = relayprobe("check", "contoso.com", "--data", tmp_path, "--session", "zz")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert "zz" in ran.stderr.decode()


# Earlier runs


def test_runs_are_kept_and_their_addresses_remembered(office: Office365, tmp_path: Path) -> None:
    first = check(office, tmp_path)
    assert first["history"] == []
    second = check(office, tmp_path)
    assert [one["addresses"] for one in second["history"]] == [["127.0.0.1"]]
    public = next(one for one in second["checks"] if one["id"] == "public-address")
    assert public["says"] == "the site is seen from 127.0.0.1, as in earlier runs"
    kept = runs(tmp_path, "contoso.com")
    assert [one.id for one in kept] == [second["id"], first["id"]]
    assert kept[0].record["checks"] == second["checks"]
    assert next(iter(lines(kept[0].record)))[1].startswith("contoso.com, looked at for")
    page = html({**kept[0].record, "domain": "<script>x</script>"})
    assert "<script>" not in page
    assert "port:submission:ipv4</code>" in page
    assert "accetta connessioni in IPv4" in html(kept[0].record, tongue_of("it"))


def heard(place: str, *addresses: str) -> list[Heard]:
    found = []
    for number, address in enumerate(addresses):
        one = Heard(Target(place, f"host{number}", 25), "ipv4", reached="connected")
        one.hello = Reply(250, f"SY5P282CA0097.outlook.office365.com Hello [{address}]\nSIZE 1")
        found.append(one)
    return found


@pytest.mark.parametrize(
    ("addresses", "told", "earlier", "status", "says"),
    [
        (["52.1.2.3"], None, (), "ok", "the site is seen from 52.1.2.3"),
        (["52.1.2.3", "52.1.2.4"], None, (), "warning", "several addresses to the outside: 52.1.2.3 and 52.1.2.4"),
        (["52.1.2.3", "2001:db8::1"], None, (), "ok", "seen from 52.1.2.3 and 2001:db8::1"),
        (["52.1.2.3"], "52.9.9.9", (), "warning", "public_ip in the settings is 52.9.9.9"),
        (["52.1.2.3"], None, ((0.0, ("52.7.7.7",)),), "warning", "in earlier runs it was 52.7.7.7"),
        (["999.1.2.3"], None, (), "unknown", "no server has told"),
        ([], None, (), "unknown", "no server has told"),
    ],
)
def test_the_public_address(
    addresses: list[str], told: str | None, earlier: tuple[tuple[float, tuple[str, ...]], ...], status: str, says: str
) -> None:
    checked = judged_public(heard("submission", *addresses), told, earlier)
    assert checked.status == status
    assert says in checked.says


# This machine


def test_a_port_that_is_in_use(office: Office365) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        checked = local.port(Port("127.0.0.1", number))
    assert (checked.id, checked.status) == (f"local:port:{number}", "warning")
    assert "is in use" in checked.says
    assert local.port(Port("127.0.0.1", number)).status == "ok"
    assert "no address of this machine" in local.port(Port("192.0.2.1", number)).says


def test_which_old_tls_can_be_served() -> None:
    checked = local.old_tls()
    assert {"TLS 1.2", "TLS 1.3"} <= set(checked.observed["served"])
    assert checked.status == ("ok" if "TLS 1.0" in checked.observed["served"] else "warning")


@pytest.mark.parametrize(("off", "status"), [(0, "ok"), (100, "ok"), (3600, "warning")])
def test_the_clock(off: int, status: str) -> None:
    one = heard("mx", "52.1.2.3")[0]
    one.banner = Reply(
        220, "X.outlook.office365.com Microsoft ESMTP MAIL Service ready at Sun, 23 Nov 2025 11:12:20 +0000 [08]"
    )
    there = datetime(2025, 11, 23, 11, 12, 20, tzinfo=UTC)
    assert local.clock([one], there + timedelta(seconds=off)).status == status
    one.banner = Reply(220, "mail.example ESMTP ready at noon")
    assert local.clock([one], there).status == "unknown"


async def test_what_the_machine_allows_is_part_of_a_run(office: Office365, tmp_path: Path) -> None:
    thing = check(office, tmp_path)
    known = {one["id"]: one for one in thing["checks"]}
    assert {"local:port:2525", "local:tls", "local:firewall", "local:clock"} <= known.keys()
    assert known["local:clock"]["status"] == "ok"
    assert (await looked(office.asked())).check("local:clock").status == "ok"


async def test_a_look_that_takes_too_long_is_unknown_and_the_rest_is_there(office: Office365) -> None:
    async def endless(*_: object) -> tuple[Checked, ...]:
        await asyncio.Event().wait()
        return ()

    found = await looked(office.asked(extras={"sign-in:office": endless}, deadline=4.0))
    assert found.seconds <= 4.0
    assert found.check("sign-in:office").status == "unknown"
    assert "time of this run was over" in found.check("sign-in:office").says
    assert found.check("tls:submission:ipv4").status == "ok"
