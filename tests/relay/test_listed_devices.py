"""Who may send: devices by address, network and login, and what is refused when the settings are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.devices import OF_THE_SITE, Devices, address_of, devices_of

TOLD = ["192.168.1.0/24", "10.0.0.5", "fd00::/8", "printer-login"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("192.168.1.0", True),
        ("192.168.1.255", True),
        ("192.168.2.1", False),
        ("10.0.0.5", True),
        ("10.0.0.50", False),
        ("10.0.0.4", False),
        ("fd12:3456::1", True),
        ("[fd12:3456::1]", True),
        ("fe80::1%eth0", False),
        ("::ffff:192.168.1.20", True),  # a dual-stack socket shows IPv4 so
        ("::ffff:c0a8:0114", True),
        ("::ffff:192.168.2.20", False),
        ("::192.168.1.20", False),
        ("64:ff9b::c0a8:114", False),
        ("2001:db8::1", False),
        ("8.8.8.8", False),
        ("printer-login", False),
        ("192.168.1.1.evil.example", False),
        ("192.168.1", False),
        ("192.168.1.01", False),
        ("3232235777", False),
        ("", False),
    ],
)
def test_an_address_is_let_in_where_it_or_its_network_is_named(host: str, allowed: bool) -> None:
    assert devices_of(TOLD).allows_address(host) is allowed


@pytest.mark.parametrize(
    ("user", "allowed"),
    [("printer-login", True), ("Printer-Login", True), ("printer", False), ("10.0.0.5", False), ("", False)],
)
def test_a_login_is_let_in_where_it_is_named(user: str, allowed: bool) -> None:
    devices = devices_of(TOLD)
    assert devices.allows_login(user) is allowed


def test_where_nobody_is_named_nobody_may() -> None:
    for nobody in (Devices(), devices_of([])):
        assert not nobody
        assert not nobody.allows_address("127.0.0.1")
        assert not nobody.allows_login("")
    assert devices_of(["10.0.0.5"])
    assert devices_of(["scanner@contoso.com"])
    assert not devices_of(["10.0.0.5"]).allows_login("")


def test_a_mapped_network_is_the_ipv4_network_it_is() -> None:
    assert devices_of(["::ffff:192.168.1.0/120", "::ffff:10.0.0.5"]) == devices_of(["192.168.1.0/24", "10.0.0.5"])


@pytest.mark.parametrize(
    "network",
    "0.0.0.0/0 ::/0 0.0.0.0/1 128.0.0.0/1 0.0.0.0/8 11.0.0.0/8 10.0.0.0/7 192.0.0.0/8 192.168.0.0/15 172.0.0.0/8 "
    "8.8.8.0/24 8.8.8.8/31 2000::/3 2001:db8::/32 fc00::/6 ::ffff:0:0/96 ::fffe:0:0/95 ::/8 0.0.0.0 ::".split(),
)
def test_a_network_that_lets_strangers_in_takes_the_loud_option(network: str) -> None:
    with pytest.raises(ValueError, match="open_to_the_world = true") as refused:
        devices_of(["10.0.0.5", network])
    assert network in str(refused.value)
    assert devices_of([network], open_to_the_world=True)


@pytest.mark.parametrize("network", [*map(str, OF_THE_SITE), "8.8.8.8", "2001:db8::25", "10.1.0.0/16", "fd00:1::/64"])
def test_a_network_of_the_site_and_a_single_address_take_none(network: str) -> None:
    assert devices_of([network]).allows_address(network.partition("/")[0])


@pytest.mark.parametrize("entry", ["192.168.1.20/24", "fd00::1/64"])
def test_a_network_with_the_bits_of_a_host_is_asked_about(entry: str) -> None:
    with pytest.raises(ValueError, match="may mean two things"):
        devices_of([entry])


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "192.168.1.0/33",
        "192.168.1",
        "192.168.1.*",
        "10.0.0.256",
        "fd00::/129",
        "a b",
        "a,b",
        "*",
        "a\0b",
        "<a>",
    ],
)
def test_what_is_no_device_is_refused_in_a_sentence(entry: str) -> None:
    with pytest.raises(ValueError, match="is no address, network or login: write one such as"):
        devices_of([entry])


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_without_the_option_no_public_address_gets_in_through_a_network(number: int, length: int) -> None:
    network = f"{_dotted(number >> (32 - length) << (32 - length))}/{length}"
    try:
        devices = devices_of([network])
    except ValueError:
        return
    assert length == 32 or any(address_of(_dotted(number)) in own for own in OF_THE_SITE)
    assert devices.allows_address(_dotted(number))


@given(st.text(max_size=40))
def test_any_text_is_a_device_or_a_sentence_and_never_lets_a_stranger_in(text: str) -> None:
    try:
        devices = devices_of([text])
    except ValueError as refused:
        said = str(refused)
    else:
        assert devices
        assert not devices.allows_address("203.0.113.77")
        return
    assert said.startswith("devices: ")


def _dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
