"""Which route a mail takes, and what the settings of a route come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayprobe.relay.routes import Candidate, Route, by_mailbox, first_match, is_among, matches, routes_of
from relayprobe.settings import SettingsError, load


def routes(*tables: dict[str, Any]) -> tuple[Route, ...]:
    return routes_of(load(given={"route": list(tables)}).route, Path())


def route(**table: Any) -> Route:
    return routes({"name": "office", **table})[0]


LOGIN = {"user": "scanner@contoso.com", "password": "hunter2"}


def test_client_submission_has_what_office_365_demands() -> None:
    made = route(mode="submission", **LOGIN)
    assert (made.host, made.port, made.tls, made.mailbox) == ("smtp.office365.com", 587, "starttls", LOGIN["user"])
    assert (made.connections, made.per_minute, made.per_day, made.per_message) == (3, 30, 10_000, 500)
    assert made.way == "submission"
    assert "hunter2" not in repr(made)


def test_at_the_mx_endpoint_the_host_is_looked_up_and_the_sender_stays() -> None:
    for mode in ("direct-send", "connector"):
        made = route(mode=mode, domain="contoso.com")
        assert (made.host, made.domain, made.port, made.mailbox, made.way) == (None, "contoso.com", 25, None, mode)
        assert made.per_minute is None


@pytest.mark.parametrize(
    ("variant", "host", "per_message", "largest"),
    [
        ("high-volume-email", "smtp.hve.mx.microsoft", 50, 10_000_000),
        ("azure-communication-services", "smtp.azurecomm.net", 50, 10_000_000),
    ],
)
def test_variants(variant: str, host: str, per_message: int, largest: int) -> None:
    made = route(mode="submission", variant=variant, mailbox="a@contoso.com", **LOGIN)
    assert (made.host, made.per_message, made.largest, made.way) == (host, per_message, largest, variant)


def test_a_sovereign_cloud_is_one_setting_and_its_doubt_is_told() -> None:
    made = route(mode="submission", cloud="gcc-high", **LOGIN)
    assert made.host == "outlook.office365.us"
    assert "smtp.office365.us" in made.notes[0]
    application = {"tenant": "contoso.us", "client_id": "x", "secret": "y"}
    signed = route(mode="submission", cloud="gcc-high", user="a@contoso.us", oauth=application)
    assert signed.oauth is not None
    assert signed.oauth.cloud == "gcc-high"


def test_a_sender_is_rewritten_unless_the_mailbox_may_send_as_it() -> None:
    made = route(mode="submission", send_as=["*@contoso.com"], **LOGIN)
    assert made.rewrites("printer@local") == LOGIN["user"]
    assert made.rewrites("") == LOGIN["user"]
    assert made.rewrites("Reception@CONTOSO.com") is None
    assert made.rewrites("SCANNER@contoso.com") is None


def test_implicit_tls_goes_to_465() -> None:
    assert route(mode="smart-host", host="mail.example.org", tls="implicit").port == 465


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"mode": "submission"}, "client submission needs a login"),
        ({"mode": "submission", "tls": "none", **LOGIN}, "would show the password"),
        ({"mode": "submission", "user": "a@b.c"}, "needs a password"),
        ({"mode": "smart-host", "host": "x.test", "tls": "none", **LOGIN}, "would show the password"),
        ({"mode": "direct-send", "domain": "contoso.com", **LOGIN}, "takes no login"),
        ({"mode": "connector"}, "give `domain`"),
        ({"mode": "smart-host"}, "needs `host`"),
        ({"mode": "submission", "password_file": "x", **LOGIN}, "exclude each other"),
        ({"mode": "smart-host", "host": "x.test", "fallback": "ofice"}, "is no other route"),
        ({"mode": "smart-host", "host": "x.test", "variant": "high-volume-email"}, "variant of client submission"),
        ({"mode": "smart-host", "host": "x.test", "client_key": "k"}, "go together"),
    ],
)
def test_what_cannot_be_meant_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        route(**table)


def test_two_routes_of_one_name_are_refused() -> None:
    one = {"name": "a", "mode": "smart-host", "host": "x.test"}
    with pytest.raises(SettingsError, match="two routes are called a"):
        routes(one, one)


PLAIN = {"mode": "smart-host", "host": "x.test"}


def test_the_first_route_that_is_meant_for_it_is_taken() -> None:
    ways = routes(
        {"name": "scans", "devices": ["192.168.1.0/24"], "recipients": ["*@contoso.com"], **PLAIN},
        {"name": "program", "devices": ["erp"], **PLAIN},
        {"name": "boss", "senders": ["boss@contoso.com"], **PLAIN},
        {"name": "rest", **PLAIN},
    )

    def taken(host: str, user: str | None, sender: str, recipient: str) -> str | None:
        found = first_match(ways, Candidate(host, user, sender, recipient))
        return found.name if found else None

    assert taken("192.168.1.9", None, "", "anna@CONTOSO.com") == "scans"
    assert taken("::ffff:192.168.1.9", None, "", "anna@contoso.com") == "scans"
    assert taken("192.168.1.9", None, "", "anna@fabrikam.com") == "rest"
    assert taken("10.0.0.1", "ERP", "", "anna@contoso.com") == "program"
    assert taken("10.0.0.1", None, "Boss@contoso.com", "anna@contoso.com") == "boss"
    assert first_match(ways[:3], Candidate("10.0.0.1", None, "a@b.c", "d@e.f")) is None


@pytest.mark.parametrize(
    ("pattern", "address", "fits"),
    [
        ("*@contoso.com", "a@contoso.com", True),
        ("contoso.com", "a@contoso.com", True),
        ("contoso.com", "a@evil-contoso.com", False),
        ("*@contoso.com", "a@contoso.com.evil.test", False),
        ("scan*@contoso.com", "scanner@contoso.com", True),
        ("*", "anything", True),
        ("a.b@contoso.com", "axb@contoso.com", False),
    ],
)
def test_patterns(pattern: str, address: str, fits: bool) -> None:
    assert matches([pattern], address) is fits


def test_a_device_is_named_by_address_network_or_login() -> None:
    assert is_among(["10.0.0.0/8"], "10.1.2.3", None)
    assert is_among(["10.1.2.3"], "10.1.2.3", None)
    assert is_among(["fe80::/10"], "fe80::1%eth0", None)
    assert not is_among(["10.0.0.0/8"], "11.0.0.1", "10.0.0.1")
    assert is_among(["Printer"], "11.0.0.1", "printer")


def test_routes_of_one_mailbox_share_its_pace() -> None:
    one, two = routes(
        {"name": "a", "mode": "submission", **LOGIN},
        {"name": "b", "mode": "submission", **(LOGIN | {"user": "SCANNER@contoso.com"})},
    )
    assert by_mailbox(one) == by_mailbox(two)
    assert by_mailbox(route(**PLAIN)) != by_mailbox(one)
