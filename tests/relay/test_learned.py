"""Who tried: the list that is made of it, and the warning where all come from one gateway."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.devices import devices_of
from relayprobe.relay.learned import MOST_NAMES, Learned, Tried, default_gateways, gateway_warning


def test_what_a_device_said_is_put_together() -> None:
    learned = Learned()
    learned.note("::ffff:192.168.1.7", 10.0, helo="mfp01", sender="scanner@contoso.com")
    learned.note("192.168.1.7", 20.0, helo="mfp01", login="scanner")
    learned.note("192.168.1.7", 15.0, helo="other")
    learned.note("nobody", 1.0)
    [tried] = learned
    assert tried == Tried("192.168.1.7", 10.0, 20.0, 3, ("mfp01", "other"), ("scanner",), ("scanner@contoso.com",))


def test_names_are_bounded() -> None:
    learned = Learned()
    for n in range(100):
        learned.note("10.0.0.1", n, helo=f"{n}-" + "x" * 5000)
    [tried] = learned
    assert len(tried.helos) == MOST_NAMES
    assert all(len(name) <= 254 for name in tried.helos)
    assert tried.count == 100


def test_a_flood_does_not_push_out_what_tries_again() -> None:
    learned = Learned(most=10)
    for at in range(3):
        learned.note("192.168.1.7", at)
    for n in range(1000):
        learned.note(f"10.0.{n // 250}.{n % 250}", 10.0 + n)
    assert len(learned) == 10
    assert learned.forgotten == 991
    hosts = [tried.host for tried in learned]
    assert hosts[0] == "10.0.3.249"  # the latest first
    assert hosts[-1] == "192.168.1.7"


def test_the_setting_can_be_pasted() -> None:
    learned = Learned()
    learned.note("192.168.1.10", 2.0, helo="mfp01", sender="scanner@contoso.com")
    learned.note("192.168.1.9", 1.0)
    learned.note("192.168.1.9", 1.0)
    learned.note("8.8.8.8", 3.0, helo="spammer")
    learned.note("fd00::1", 3.0)
    assert learned.as_toml().splitlines() == [
        "devices = [",
        '    # "8.8.8.8",  # a public address; is it yours? spammer: once',
        '    "192.168.1.9",  # 2 times',
        '    "192.168.1.10",  # mfp01, scanner@contoso.com: once',
        '    "fd00::1",  # once',
        "]",
    ]
    told = tomllib.loads(learned.as_toml())["devices"]
    assert told == ["192.168.1.9", "192.168.1.10", "fd00::1"]
    assert devices_of(told)
    assert Learned().as_toml() == "devices = [\n]"


@given(st.lists(st.text(max_size=80), max_size=6))
def test_nothing_a_device_says_gets_out_of_the_comment(names: list[str]) -> None:
    learned = Learned()
    for name in ['\n"0.0.0.0/0",', *names]:
        learned.note("10.0.0.1", 1.0, helo=name, login=name, sender=name)
    assert tomllib.loads(learned.as_toml()) == {"devices": ["10.0.0.1"]}
    assert learned.as_toml().isascii()


def tried(host: str, *helos: str, logins: tuple[str, ...] = (), senders: tuple[str, ...] = ()) -> Tried:
    return Tried(host, 0.0, 1.0, 5, helos, logins, senders)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([], None),
        ([tried("192.168.1.7", "mfp01")], None),
        ([tried("192.168.1.7", "mfp01", senders=("a@x", "b@x", "c@x", "d@x", "e@x"))], None),  # one program
        ([tried("172.17.0.1", "mfp01")], "Docker's bridge"),
        ([tried("10.88.0.1")], "Podman's bridge"),
        ([tried("172.17.0.1", "mfp01"), tried("192.168.1.7", "mfp02")], None),
        ([tried("192.168.1.1", "mfp01")], None),  # the router's own reports
        ([tried("192.168.1.1", "mfp01", "mfp02")], "the gateway of this network"),
        ([tried("192.168.1.1", "mfp01", senders=("a@x", "b@x"))], "the gateway of this network"),
        ([tried("192.168.1.1", logins=("a", "b"))], "the gateway of this network"),
        ([tried("192.168.1.7", "mfp01", "mfp02", "mfp03")], None),
        ([tried("192.168.1.7", "mfp01", "mfp02", "mfp03", "mfp04")], "which goes by many names"),
    ],
)
def test_a_gateway_is_warned_of(seen: list[Tried], says: str | None) -> None:
    warning = gateway_warning(seen, {"::ffff:192.168.1.1", "unreadable"})
    if says is None:
        assert warning is None
    else:
        assert warning is not None
        assert says in warning
        assert seen[0].host in warning
        assert "give each device a login" in warning


def test_a_warning_shows_no_control_characters() -> None:
    warning = gateway_warning([tried("172.17.0.1", "\x1b[31mred\n")])
    assert warning is not None
    assert warning.isprintable()


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
bad\t00000000\tXYZ
bad\t00000000\t1FFFFFFFFF\t0003
bad\t00000000\tXYZ\t0003
"""


def test_the_default_gateway_is_read(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        ROUTES.format(gateway=bytes([192, 168, 1, 1][:: {"little": -1, "big": 1}[sys.byteorder]]).hex().upper())
    )
    assert default_gateways(table) == {"192.168.1.1"}
    table.write_text("eth0\t0001A8C0\t00000000\n" * 100_000 + table.read_text())  # more than any machine has
    assert default_gateways(table) == frozenset()
    table.write_text("")
    assert default_gateways(table) == frozenset()
    table.write_bytes(b"\xff\n" * 1_000_000)
    assert default_gateways(table) == frozenset()
    assert default_gateways(tmp_path / "absent") == frozenset()
    assert isinstance(default_gateways(), frozenset)
