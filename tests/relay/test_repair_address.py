"""Addresses of the envelope as devices write them, and what is made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.repair.address import repaired_address, repaired_sender


@pytest.mark.parametrize(
    "address",
    ["scan@contoso.com", "o'brien@x.de", '"a b"@x.de', "user@[192.0.2.1]", "user@[IPv6:2001:db8::1]", "a_b@my_host"],
)
def test_a_good_address_stays(address: str) -> None:
    assert repaired_address(address, "contoso.com") == (address, None)
    assert repaired_address(f"<{address}>", "contoso.com") == (address, None)


@pytest.mark.parametrize(
    ("came", "goes", "says"),
    [
        ("  scan@contoso.com ", "scan@contoso.com", "blanks around"),
        ("< scan@contoso.com >", "scan@contoso.com", None),
        ("<scan@contoso.com", "scan@contoso.com", "brackets"),
        ("scan@contoso.com>", "scan@contoso.com", "brackets"),
        ("<<scan@contoso.com>>", "scan@contoso.com", "brackets"),
        ("Scanner <scan@contoso.com>", "scan@contoso.com", "name beside"),
        ('"Scanner, 2" <scan@contoso.com>', "scan@contoso.com", "name beside"),
        ("'scan@contoso.com'", "scan@contoso.com", "quotes"),
        ('<"scan@contoso.com">', "scan@contoso.com", "quotes"),
        ("scan@contoso.com.", "scan@contoso.com", "dot"),
        ("scan@contoso.com;", "scan@contoso.com", "semicolon"),
        ("scan@contoso.com, ", "scan@contoso.com", "comma"),
        ("scan @ contoso.com", "scan@contoso.com", "blanks beside"),
        ("mailto:scan@contoso.com", "scan@contoso.com", "in front"),
        ("@a.de,@b.de:scan@contoso.com", "scan@contoso.com", "route"),
        ("a..b@docomo.jp", '"a..b"@docomo.jp', "quotes"),
        ("anna@müller.de", "anna@xn--mller-kva.de", "DNS"),
        ("root", "root@contoso.com", "domain contoso.com"),
        ("<root>", "root@contoso.com", "domain contoso.com"),
    ],
)
def test_what_stands_around_an_address_is_taken_away(came: str, goes: str, says: str | None) -> None:
    address, done = repaired_address(came, "contoso.com")
    assert address == goes
    assert (done is None) == (says is None)
    assert says is None or says in (done or "")


@pytest.mark.parametrize(
    "came",
    [
        "", "<>", " ", "@", "@contoso.com", "scan@", "a@b@c.de", "first last@contoso.com", "a,b@x.de", "a@x.de, b@x.de",
        "a@x..de", "a@-x.de", "a@x.de\r\nRCPT TO:<b@x.de>", "a\0@x.de", "a\x1b[2J@x.de", "a\u202e@x.de", "a\x85@x.de",
        "a" * 65 + "@x.de", "a@" + "x." * 130 + "de", "a" * 5000, "a@[1.2.3.4", "(a)@x.de", "a@x.de> SIZE=1 <",
    ],
)  # fmt: skip
def test_what_is_no_address_for_certain_is_none(came: str) -> None:
    if came == "a@x.de> SIZE=1 <":
        assert repaired_address(came, "contoso.com") == (None, None)
    assert repaired_address(came, "contoso.com")[0] is None


def test_without_a_domain_to_add_a_name_is_no_address() -> None:
    assert repaired_address("root", None) == (None, None)


TEXTS = st.text(st.sampled_from("ab.@<>\"' ,;:[]1\r\n\0\t\\ä(|"), max_size=30) | st.text(max_size=20)


@given(TEXTS)
def test_what_comes_out_is_legal_and_stays_as_it_is(text: str) -> None:
    address, _ = repaired_address(text, "contoso.com")
    if address is not None:
        assert address.isprintable()
        assert not set(address.rpartition("@")[2]) & set("<> \t,;\"'")
        assert "@" in address
        assert address.startswith('"') or not set(address) & set('<> "(),;:\\') or "[IPv6:" in address
        assert repaired_address(address, None) == (address, None)


def test_an_empty_sender_becomes_the_mailbox() -> None:
    for empty in ("", "<>", " < > "):
        sender, repairs = repaired_sender(empty, "relay@contoso.com", None)
        assert (sender, [repair.id for repair in repairs]) == ("relay@contoso.com", ["empty-sender"])
        assert repaired_sender(empty, None, "contoso.com") == ("", ())
        assert repaired_sender(empty, "relay@contoso.com", None, frozenset(["empty-sender"])) == ("", ())


def test_a_sender_becomes_the_mailbox_or_is_put_right() -> None:
    sender, repairs = repaired_sender("scan", "relay@contoso.com", "contoso.com")
    assert (sender, [repair.id for repair in repairs]) == ("relay@contoso.com", ["sender-rewritten"])
    assert "scan@contoso.com" in repairs[0].says
    assert repaired_sender("RELAY@contoso.com", "relay@contoso.com", None) == ("relay@contoso.com", ())
    sender, repairs = repaired_sender("Scan <scan@x.de>", None, None)
    assert (sender, [repair.id for repair in repairs]) == ("scan@x.de", ["address"])
    assert repaired_sender("scan@x.de", None, None) == ("scan@x.de", ())
    assert repaired_sender("a b@x.de", None, None) == (None, ())
    assert repaired_sender("Scan <scan@x.de>", None, None, frozenset(["address"])) == (None, ())
