"""Whom a mail may go to: patterns, and the address tricks by which relays have been made to write to strangers."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayprobe.relay.permitted import Permitted, permitted, plain_address

ANYBODY = Permitted()
OURS = permitted(["*@contoso.com", "boss@example.org"], ["ceo@contoso.com", "*@secret.contoso.com"])

DOMAIN, SERVER, IP = "victim.example", "contoso.com", "192.0.2.1"
NMAP = [
    f"relaytest@{DOMAIN}",
    f"relaytest%{DOMAIN}@[{IP}]",
    f"relaytest%{DOMAIN}@{SERVER}",
    f'"relaytest@{DOMAIN}"',
    f'"relaytest%{DOMAIN}"',
    f"relaytest@{DOMAIN}@[{IP}]",
    f'"relaytest@{DOMAIN}"@[{IP}]',
    f"relaytest@{DOMAIN}@{SERVER}",
    f"@[{IP}]:relaytest@{DOMAIN}",
    f"@{SERVER}:relaytest@{DOMAIN}",
    f"{DOMAIN}!relaytest",
    f"{DOMAIN}!relaytest@[{IP}]",
    f"{DOMAIN}!relaytest@{SERVER}",
]
"""What nmap's smtp-open-relay asks a relay to write to in its 16 tests (the first of them with four senders)."""

TRICKS = [
    *NMAP[1:],
    f'"relaytest@{DOMAIN}"@{SERVER}',
    f'"relaytest%{DOMAIN}"@{SERVER}',
    f'"{DOMAIN}!relaytest"@{SERVER}',
    f'"relaytest\\@{DOMAIN}"@{SERVER}',
    f'"relaytest"%{DOMAIN}@{SERVER}',
    f'relaytest"@{DOMAIN}"@{SERVER}',
    f"@{SERVER},@{DOMAIN}:relaytest@{DOMAIN}",
    f"relaytest@{DOMAIN},anna@{SERVER}",
    f"relaytest@{DOMAIN};anna@{SERVER}",
    f"anna@{SERVER}:relaytest@{DOMAIN}",
    f"relaytest@{DOMAIN} anna@{SERVER}",
    f"<relaytest@{DOMAIN}>anna@{SERVER}",
    f"anna@{SERVER}>",
    f"anna@{SERVER}.",
    f"anna@.{SERVER}",
    f"anna@{SERVER}..",
    "anna@con..toso.com",
    f"anna@-{SERVER}",
    "anna@",
    "@",
    "@contoso.com",
    "anna",
    "",
    "root@localhost",
    "anna@contoso",
    f"anna@[{IP}]",
    f"anna@{IP}",
    "anna@[IPv6:::1]",
    "anna@#3221225985",
    f" anna@{SERVER}",
    f"anna@{SERVER} ",
    f"anna @{SERVER}",
    f"anna@{SERVER}\0",
    f"anna\0@{SERVER}",
    f"anna@{SERVER}\r\nRCPT TO:<relaytest@{DOMAIN}>",
    f"anna@{SERVER}\n",
    f"\tanna@{SERVER}",
    f"änna@{SERVER}",
    "anna@conto\u017fo.com",  # folds to contoso.com
    f"anna\uff20{DOMAIN}@{SERVER}",
    f"anna@{DOMAIN}\uff0e{SERVER}",
    f"|cat@{SERVER}",
    f"/etc/passwd@{SERVER}",
    f"-oQ@{SERVER}",
    f'"-oQ"@{SERVER}',
    f".anna@{SERVER}",
    f"anna.@{SERVER}",
    f"an..na@{SERVER}",
    f'""@{SERVER}',
    f'" anna"@{SERVER}',
    f"anna(relaytest@{DOMAIN})@{SERVER}",
    f"anna@{SERVER}(comment)",
    "a" * 65 + f"@{SERVER}",
    "anna@" + "a" * 64 + ".com",
    "anna@" + "a." * 125 + "com",
]


@pytest.mark.parametrize("address", TRICKS)
def test_a_trick_is_refused_whatever_the_patterns_say(address: str) -> None:
    assert not ANYBODY.may_receive(address)
    assert not OURS.may_receive(address)
    assert not permitted(["*"]).may_receive(address)
    assert not permitted(senders=["*"]).may_send(address) or not address


@pytest.mark.parametrize("address", NMAP)
def test_none_of_nmaps_recipients_gets_past_a_list(address: str) -> None:
    assert not OURS.may_receive(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("anna@contoso.com", True),
        ("Anna.Smith+scans@CONTOSO.com", True),
        ("o'neil_1=x/y@contoso.com", True),
        ('"anna smith"@contoso.com', True),
        ("boss@example.org", True),
        ("Boss@Example.ORG", True),
        ("boss2@example.org", False),
        ("big.boss@example.org", False),
        ("anna@eu.contoso.com", False),
        ("anna@evilcontoso.com", False),
        ("anna@contoso.com.evil.org", False),
        ("ceo@contoso.com", False),
        ("CEO@contoso.com", False),
        ('"ceo"@contoso.com', False),
        ("x@secret.contoso.com", False),
    ],
)
def test_recipients_are_compared_with_the_patterns(address: str, allowed: bool) -> None:
    assert OURS.may_receive(address) is allowed


def test_without_a_list_anybody_plain_may_be_written_to_but_who_is_denied() -> None:
    assert ANYBODY.may_receive("anna@anywhere.example")
    deny = permitted(deny_recipients=["*@*.example", "*-all@contoso.com"])
    assert not deny.may_receive("anna@anywhere.example")
    assert not deny.may_receive("everybody-all@contoso.com")
    assert deny.may_receive("all@contoso.com")
    assert deny.may_receive("anna@example.com")


@pytest.mark.parametrize(
    ("pattern", "local", "fits"),
    [
        ("scan*", "scan", True),
        ("scan*", "scanner", True),
        ("scan*", "ascan", False),
        ("*scan", "ascan", True),
        ("s*n*r", "scanner", True),
        ("s*n*r", "snr", True),
        ("s*n*r", "sr", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("a**b", "axb", True),
        ("*a*b*", "xbxa", False),
        ("a*bc*c", "abc", False),
        ("a*b*b*c", "abc", False),
        ("*.*", "a.b", True),
        ("*.*", "ab", False),
        ("a?c", "abc", False),  # only * is a wildcard
        ("a?c", "a?c", True),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, local: str, fits: bool) -> None:
    assert permitted([f"{pattern}@contoso.com"]).may_receive(f"{local}@contoso.com") is fits


def test_a_long_row_of_stars_is_quick() -> None:
    assert not permitted(["a*" * 30 + "b@contoso.com"]).may_receive("a" * 64 + "@contoso.com")


def test_a_pattern_for_subdomains_is_for_them_alone() -> None:
    below = permitted(["*@*.contoso.com"])
    assert below.may_receive("anna@eu.contoso.com")
    assert not below.may_receive("anna@contoso.com")
    assert not below.may_receive("anna@evilcontoso.com")


@pytest.mark.parametrize(
    "text", ["", "contoso.com", "@contoso.com", "*@", "*@*contoso.com", "*@contoso.*", "*@contoso.com*", "a@b@c.com",
             "*%x@contoso.com", "*@müller.example", "*@[192.0.2.1]", "<anna@contoso.com>", "*@con toso.com"]
)  # fmt: skip
def test_a_pattern_that_could_match_nothing_or_too_much_is_refused_in_a_sentence(text: str) -> None:
    for key in ("recipients", "deny_recipients", "senders"):
        with pytest.raises(ValueError, match=rf"^{key}: .*write one such as"):
            permitted(**{key: [text]})


def test_senders() -> None:
    assert ANYBODY.may_send("scanner")
    assert ANYBODY.may_send("")
    listed = permitted(senders=["*@contoso.com"])
    assert listed.may_send("scanner@contoso.com")
    assert not listed.may_send("scanner@fabrikam.com")
    assert not listed.may_send("scanner")
    assert not listed.may_send("")
    assert permitted(senders=["<>", "*@contoso.com"]).may_send("")
    assert not permitted(senders=["<>", "*@contoso.com"]).may_send("scanner@fabrikam.com")
    with pytest.raises(ValueError, match="lets no device send"):
        permitted(senders=["<>"])


@given(st.text(alphabet='ab@%!:,;<>"\\.[]()| -\0\r\n\u00e4contoso', max_size=40))
@example('"a@b"@contoso.com')
def test_what_is_let_through_has_one_at_and_a_domain_that_matched(text: str) -> None:
    for address in (text, f"{text}@contoso.com", f"a@contoso.com{text}"):
        if OURS.may_receive(address):
            assert address.count("@") == 1
            assert not set(address) & set("%!:,;<>\\[]()|\0\r\n")
            assert address.isascii()
            assert plain_address(address) == (address.rpartition("@")[0].strip('"').lower(), "contoso.com")


def test_what_is_denied_is_denied_with_a_tag_too() -> None:
    rules = permitted(deny_recipients=["boss@example.org"])
    assert not rules.may_receive("boss+x@example.org")
    assert rules.may_receive("boss.x@example.org")
    assert permitted(recipients=["*@example.org"]).may_receive("boss+x@example.org")
