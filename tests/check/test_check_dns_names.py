"""What DNS says of a domain and of an address, asked of a real name server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.check import block_lists, dmarc, spf
from relayprobe.check.address import sort_of
from relayprobe.check.checked import Checked
from relayprobe.check.names import address_checks, domain_checks
from relayprobe.check.resolver import Resolver
from tests.check.name_server import Zone, name_server

HERE = "52.1.2.3"
ZEN = {"2.0.0.127.zen.spamhaus.org": [("A", "127.0.0.2")]}
INCLUDED = {"spf.protection.outlook.com": [("TXT", "v=spf1 ip4:40.92.0.0/15 -all")]}


async def of_domain(zone: Zone) -> dict[str, Checked]:
    with name_server(zone) as server:
        return {one.id: one for one in await domain_checks(Resolver([server.address], timeout=1), "contoso.com")}


async def of_address(zone: Zone, address: str = HERE, **lists: tuple[str, ...]) -> dict[str, Checked]:
    with name_server(zone) as server:
        resolver = Resolver([server.address], timeout=1)
        return {one.id: one for one in await address_checks(resolver, "contoso.com", address, **lists)}


@pytest.mark.parametrize(
    ("records", "status", "says"),
    [
        (["v=spf1 include:spf.protection.outlook.com ~all", "other"], "ok", "has one SPF record"),
        ([], "failed", "has no SPF record"),
        (["v=spf1 -all", "v=spf1 ~all"], "failed", "has 2 SPF records"),
        (["v=spf1 ip4:52.1.2.3 -all"], "warning", "does not itself include Office 365"),
        (["v=spf1 include:spf.protection.outlook.com +all"], "warning", "lets everybody send"),
        (["v=spf10 -all"], "failed", "has no SPF record"),
    ],
)
async def test_the_record(records: list[str], status: str, says: str) -> None:
    checked = (await of_domain({"contoso.com": [("TXT", one) for one in records]}))["spf-record"]
    assert checked.status == status
    assert says in checked.says


@pytest.mark.parametrize(
    ("record", "policy", "status", "blocks"),
    [
        ("v=spf1 ip4:52.1.2.3 -all", "reject", "ok", ()),
        ("v=spf1 include:spf.protection.outlook.com ~all", None, "warning", ()),
        ("v=spf1 include:spf.protection.outlook.com -all", None, "failed", ()),
        ("v=spf1 include:spf.protection.outlook.com ~all", "reject", "failed", ("direct-send",)),
        ("v=spf1 nonsense -all", None, "failed", ()),
        ("v=spf1 include:broken.example -all", None, "unknown", ()),
    ],
)
async def test_spf_of_the_address(record: str, policy: str | None, status: str, blocks: tuple[str, ...]) -> None:
    zone = {"contoso.com": [("TXT", record)], "broken.example": "servfail", **INCLUDED, **ZEN}
    if policy:
        zone["_dmarc.contoso.com"] = [("TXT", f"v=DMARC1; p={policy}")]
    checked = (await of_address(zone))["spf"]
    assert (checked.status, checked.blocks) == (status, blocks)


async def test_what_to_publish_is_said_exactly() -> None:
    zone = {"contoso.com": [("TXT", "v=spf1 include:spf.protection.outlook.com -all")], **INCLUDED, **ZEN}
    fix = (await of_address(zone))["spf"].fix
    assert "v=spf1 ip4:52.1.2.3 include:spf.protection.outlook.com -all" in fix


async def test_dmarc_of_a_parent_and_dkim() -> None:
    zone = {
        "_dmarc.contoso.com": [("TXT", "v=DMARC1; p=none; sp=reject")],
        "selector1._domainkey.contoso.com": [("CNAME", "k.onmicrosoft.example")],
        "k.onmicrosoft.example": [("TXT", "v=DKIM1; k=rsa; p=MIGf")],
    }
    with name_server(zone) as server:
        assert (await dmarc.look(Resolver([server.address]), "mail.contoso.com")).policy == "reject"
    found = await of_domain(zone)
    assert found["dkim"].status == "ok"
    assert "says none" in found["dmarc"].says
    assert (await of_domain({}))["dkim"].status == "warning"


@pytest.mark.parametrize(
    ("zone", "status", "says"),
    [
        (ZEN, "ok", "is not on zen"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": [("A", "127.0.0.11")]}, "failed", "PBL, by Spamhaus"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": [("A", "127.255.255.254")]}, "unknown", "public resolver"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": [("A", "127.255.255.255")]}, "unknown", "too many questions"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": [("A", "52.9.9.9")]}, "unknown", "no longer one"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": [("A", "127.0.0.1")]}, "unknown", "was not checked"),
        ({**ZEN, "3.2.1.52.zen.spamhaus.org": "servfail"}, "unknown", "SERVFAIL"),
        ({}, "unknown", "test entry is missing"),
        ({**ZEN, "1.0.0.127.zen.spamhaus.org": [("A", "127.0.0.2")]}, "unknown", "lists what it must not"),
    ],
)
async def test_block_list(zone: Zone, status: str, says: str) -> None:
    checked = (await of_address(zone))["block-list:zen"]
    assert checked.status == status
    assert says in checked.says


async def test_a_public_resolver_asks_no_list_and_a_key_is_not_shown() -> None:
    seen = await block_lists.look(Resolver([("8.8.8.8", 53)]), HERE, "zen.spamhaus.org")
    assert "public" in block_lists.judged(seen).says
    found = await of_address({}, lists=("secretkey.zen.dq.spamhaus.net", "dnsbl.sorbs.net"))
    assert "secretkey" not in repr(found)
    assert "closed" in found["block-list:dnsbl"].says


@pytest.mark.parametrize(
    ("zone", "ptr", "kind"),
    [
        ({"3.2.1.52.in-addr.arpa": [("PTR", "mail.contoso.com")], "mail.contoso.com": [("A", HERE)]}, "ok", "ok"),
        ({"3.2.1.52.in-addr.arpa": [("PTR", "mail.contoso.com")]}, "warning", "ok"),
        ({"3.2.1.52.in-addr.arpa": [("PTR", "p3.dsl.example")], "p3.dsl.example": [("A", HERE)]}, "ok", "warning"),
        ({}, "warning", "ok"),
        ({"3.2.1.52.in-addr.arpa": "silent"}, "unknown", "ok"),
    ],
)
async def test_the_name_of_the_address(zone: Zone, ptr: str, kind: str) -> None:
    found = await of_address(zone, lists=())
    assert (found["ptr"].status, found["address-kind"].status) == (ptr, kind)


async def test_carrier_and_private_addresses() -> None:
    assert (await of_address({}, "100.64.3.4"))["address-kind"].blocks == ("connector",)
    assert (await of_address({}, "10.1.2.3"))["address-kind"].status == "unknown"


@given(st.binary(max_size=200))
def test_any_record_is_read(text: bytes) -> None:
    assert all(one.lower().startswith("v=spf1") for one in spf.spf_records((text,)))
    assert dmarc.tags_of(text).get("v", "DMARC1") == "DMARC1"
    assert sort_of(text.decode("latin-1")) in ("public", "carrier", "private", "none")


def test_an_ipv6_address_is_asked_for_by_half_bytes() -> None:
    assert block_lists.query("2001:db8::1", "zen.spamhaus.org").startswith("1.0.0.0.")


async def test_a_fault_of_the_library_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise IndexError

    monkeypatch.setattr("spf.query.check", fails)
    with name_server({}) as server:
        found = await spf.evaluate(Resolver([server.address]), HERE, "postmaster@contoso.com", "contoso.com")
    assert found.result == "temperror"
