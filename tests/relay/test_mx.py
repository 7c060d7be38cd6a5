"""MX hosts, asked of a real name server on loopback: what it answers, what it does not, and what is remembered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayprobe.relay.mx import Found, Kind, Lookup, NotFound, kind_of, name_server

OFFICE = "contoso-com.mail.protection.outlook.com"


@dataclass
class NameServer:
    """Answers from `records`: lines of a zone file by name and type. A rcode, None (silence) or octets do, too."""

    records: dict[tuple[str, str], list[str] | dns.rcode.Rcode | bytes | None]
    recursive: bool = True
    truncates: bool = False
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    over_tcp: int = 0

    def answer(self, wire: bytes, udp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        if udp:
            self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if udp and self.truncates:
            reply.flags |= dns.flags.TC
            return reply.to_wire()
        for _ in range(20):
            held = self.records.get((name, kind), self.records.get((name, "CNAME")))
            match held:
                case dns.rcode.Rcode():
                    reply.set_rcode(held)
                case bytes():
                    return wire[:2] + held
                case None if (name, kind) in self.records:
                    return None
                case None if not any(name == known for known, _ in self.records):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                case list():
                    which = kind if (name, kind) in self.records else "CNAME"
                    ttl, *data = held
                    rrset = dns.rrset.from_text_list(f"{name}.", int(ttl), "IN", which, data)
                    reply.answer.append(rrset)
                    if which == "CNAME" and self.recursive:
                        name = data[0].rstrip(".")
                        continue
            break
        return reply.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := self._server.answer(data, udp=True)) is not None:
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def serving(server: NameServer) -> AsyncIterator[NameServer]:
    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            server.over_tcp += 1
            if answer := server.answer(await reader.readexactly(length), udp=False):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    tcp = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    server.port = tcp.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def contoso(ttl: str = "300") -> NameServer:
    return NameServer(
        {
            ("contoso.com", "MX"): [ttl, f"0 {OFFICE}."],
            (OFFICE, "A"): [ttl, "52.101.1.1", "52.101.1.2"],
            (OFFICE, "AAAA"): [ttl, "2a01:111::1"],
        }
    )


async def ask(server: NameServer, domain: str = "contoso.com", timeout: float = 10.0) -> Found | NotFound:
    async with serving(server):
        return await Lookup(("127.0.0.1", server.port), timeout=timeout).mx(domain)


async def test_the_host_of_a_domain_with_its_addresses_ipv4_first() -> None:
    found = await ask(contoso())
    assert isinstance(found, Found)
    (host,) = found.hosts
    assert (host.name, host.preference, host.kind) == (OFFICE, 0, "classic")
    assert set(host.addresses[:2]) == {"52.101.1.1", "52.101.1.2"}
    assert host.addresses[2] == "2a01:111::1"
    assert found.warnings == ()
    assert not found.stale


async def test_hosts_stand_in_the_order_of_preference() -> None:
    server = contoso()
    server.records["contoso.com", "MX"] = ["300", "20 b.gateway.test.", f"10 {OFFICE}.", "30 gone.gateway.test."]
    server.records["b.gateway.test", "A"] = ["300", "192.0.2.7"]
    found = await ask(server)
    assert isinstance(found, Found)
    assert [(host.name, host.kind) for host in found.hosts] == [(OFFICE, "classic"), ("b.gateway.test", "other")]


async def test_a_gateway_in_front_is_a_warning() -> None:
    server = contoso()
    server.records["contoso.com", "MX"] = ["300", "10 b.gateway.test."]
    server.records["b.gateway.test", "A"] = ["300", "192.0.2.7"]
    found = await ask(server)
    assert isinstance(found, Found)
    assert "b.gateway.test, the MX host of contoso.com, has no name of Office 365" in found.warnings[0]


async def test_an_ending_that_is_not_certain_says_so() -> None:
    server = contoso()
    host = "contoso-cn.mail.protection.partner.outlook.cn"
    server.records["contoso.com", "MX"] = ["300", f"10 {host}."]
    server.records[host, "A"] = ["300", "192.0.2.7"]
    found = await ask(server)
    assert isinstance(found, Found)
    assert "recalled, not found in a source" in found.warnings[0]


@pytest.mark.parametrize("recursive", [True, False])
async def test_cnames_are_followed_whether_the_server_does_or_not(recursive: bool) -> None:
    server = contoso()
    server.recursive = recursive
    server.records["alias.test", "CNAME"] = ["300", "another.test."]
    server.records["another.test", "CNAME"] = ["300", "contoso.com."]
    found = await ask(server, "alias.test")
    assert isinstance(found, Found)
    assert (found.domain, found.hosts[0].name) == ("alias.test", OFFICE)


@pytest.mark.parametrize("recursive", [True, False])
async def test_cnames_in_a_circle_end(recursive: bool) -> None:
    server = NameServer({("a.test", "CNAME"): ["60", "b.test."], ("b.test", "CNAME"): ["60", "a.test."]}, recursive)
    found = await ask(server, "a.test")
    assert isinstance(found, NotFound)
    assert found.kind == "later"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({("contoso.com", "MX"): dns.rcode.NXDOMAIN}, "the domain contoso.com does not exist in DNS"),
        ({("contoso.com", "MX"): ["300", "0 ."]}, "contoso.com says that it takes no mail"),
        ({("contoso.com", "MX"): ["300", "0 nowhere.test."]}, "nowhere.test, the MX host of contoso.com, has no addr"),
    ],
)
async def test_what_no_waiting_mends(change: dict[tuple[str, str], list[str]], says: str) -> None:
    server = contoso()
    server.records |= change  # type: ignore[arg-type]
    found = await ask(server)
    assert isinstance(found, NotFound)
    assert found.kind == "configuration"
    assert says in found.says


async def test_a_domain_without_mx_is_not_sent_to_its_own_address() -> None:
    found = await ask(NameServer({("contoso.com", "A"): ["300", "192.0.2.1"]}))
    assert found == NotFound(
        "contoso.com",
        "configuration",
        "contoso.com has no MX record, so DNS does not say where its mail goes: add the one that the Microsoft 365 "
        "admin centre names (Settings > Domains), or set the route's host",
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {("contoso.com", "MX"): dns.rcode.SERVFAIL},
            "the MX record of contoso.com cannot be looked up: the resolver answers that it cannot (SERVFAIL",
        ),
        ({("contoso.com", "MX"): dns.rcode.REFUSED}, "the resolver answers that it cannot"),
        ({("contoso.com", "MX"): None}, "no answer within 1 seconds"),
        ({("contoso.com", "MX"): b"\x84\x00\xff"}, "cannot be looked up"),
        (
            {(OFFICE, "A"): None, (OFFICE, "AAAA"): ["300"]},
            f"the address of {OFFICE}, the MX host of contoso.com, cannot be looked up: no answer",
        ),
    ],
)
async def test_what_may_be_answered_later(change: dict[tuple[str, str], list[str]], says: str) -> None:
    server = contoso()
    server.records |= change  # type: ignore[arg-type]
    if server.records[OFFICE, "AAAA"] == ["300"]:
        del server.records[OFFICE, "AAAA"]
    found = await ask(server, timeout=1.0)
    assert isinstance(found, NotFound)
    assert found.kind == "later"
    assert says in found.says


async def test_nobody_answers_at_the_resolver() -> None:
    server = contoso()
    async with serving(server):
        port = server.port
    found = await Lookup(("127.0.0.1", port), timeout=1.0).mx("contoso.com")
    assert isinstance(found, NotFound)
    assert found.kind == "later"


async def test_one_kind_of_address_is_enough() -> None:
    server = contoso()
    server.records[OFFICE, "AAAA"] = None
    found = await ask(server, timeout=2.0)
    assert isinstance(found, Found)
    assert len(found.hosts[0].addresses) == 2


async def test_an_answer_that_is_too_long_comes_over_tcp() -> None:
    server = contoso()
    server.truncates = True
    found = await ask(server)
    assert isinstance(found, Found)
    assert server.over_tcp == 3


@pytest.mark.parametrize(
    "domain",
    ["", ".", "a..b", "x" * 64 + ".test", "[192.0.2.1]", "a b", "a\r\nb", "\ud800", "x." * 200, "a@b", "\0", "\u2024"],
)
async def test_what_is_no_domain_is_not_asked_for(domain: str) -> None:
    server = contoso()
    found = await ask(server, domain)
    assert isinstance(found, NotFound)
    assert found.kind == "configuration"
    assert found.says.isprintable()
    assert server.asked == []


async def test_an_international_domain_is_asked_for_as_dns_writes_it() -> None:
    server = contoso()
    await ask(server, "m\u00fcller.test")
    assert server.asked == [("xn--mller-kva.test", "MX")]


@pytest.mark.parametrize(("ttl", "lasts"), [("300", 300), ("1", 60), ("604800", 86400)])
async def test_an_answer_is_kept_as_long_as_it_says_within_bounds(ttl: str, lasts: int) -> None:
    clock = Clock()
    async with serving(contoso(ttl)) as server:
        lookup = Lookup(("127.0.0.1", server.port), clock=clock, timeout=10)
        await lookup.mx("contoso.com")
        clock.now += lasts - 0.1
        await lookup.mx("CONTOSO.com.")
        assert len(server.asked) == 3
        clock.now += 0.2
        await lookup.mx("contoso.com")
        assert len(server.asked) == 6


async def test_that_nothing_is_there_is_kept_for_a_minute() -> None:
    clock = Clock()
    async with serving(NameServer({})) as server:
        lookup = Lookup(("127.0.0.1", server.port), clock=clock, timeout=10)
        for wait, asked in ((0.0, 1), (59.0, 1), (2.0, 2)):
            clock.now += wait
            assert isinstance(await lookup.mx("nowhere.test"), NotFound)
            assert len(server.asked) == asked


async def test_an_old_answer_serves_for_a_day_while_no_other_can_be_had() -> None:
    clock = Clock()
    async with serving(contoso()) as server:
        lookup = Lookup(("127.0.0.1", server.port), clock=clock, timeout=10)
        fresh = await lookup.mx("contoso.com")
        assert isinstance(fresh, Found)
        server.records["contoso.com", "MX"] = dns.rcode.REFUSED
        clock.now += 301
        for _ in range(3):  # it serves again and again, and what it warns of does not pile up
            old = await lookup.mx("contoso.com")
            assert isinstance(old, Found)
            assert (old.stale, old.hosts) == (True, fresh.hosts)
            (warning,) = old.warnings
            assert "the answer from before is used" in warning
            clock.now += 21
        asked = len(server.asked)
        await lookup.mx("contoso.com")
        await lookup.mx("contoso.com")  # not asked again at once
        assert len(server.asked) == asked + 1
        clock.now += 86_400
        assert isinstance(await lookup.mx("contoso.com"), NotFound)
        server.records["contoso.com", "MX"] = ["300", f"0 {OFFICE}."]
        clock.now += 21
        again = await lookup.mx("contoso.com")
        assert isinstance(again, Found)
        assert not again.stale


async def test_an_old_answer_does_not_serve_where_the_domain_is_gone() -> None:
    clock = Clock()
    async with serving(contoso()) as server:
        lookup = Lookup(("127.0.0.1", server.port), clock=clock, timeout=10)
        await lookup.mx("contoso.com")
        server.records["contoso.com", "MX"] = dns.rcode.NXDOMAIN
        clock.now += 301
        assert isinstance(await lookup.mx("contoso.com"), NotFound)
        server.records["contoso.com", "MX"] = dns.rcode.REFUSED
        clock.now += 61
        assert isinstance(await lookup.mx("contoso.com"), NotFound)


async def test_a_hundred_at_once_ask_once_and_one_that_is_cancelled_stops_nobody() -> None:
    async with serving(contoso()) as server:
        lookup = Lookup(("127.0.0.1", server.port), timeout=10)
        tasks = [asyncio.create_task(lookup.mx("contoso.com")) for _ in range(100)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks[1:])
        assert all(isinstance(answer, Found) for answer in answers)
        assert len(server.asked) == 3


async def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayprobe.relay.mx.DOMAINS", 2)
    async with serving(NameServer({})) as server:
        lookup = Lookup(("127.0.0.1", server.port), timeout=10)
        for domain in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
            await lookup.mx(domain)
        assert [name for name, _ in server.asked] == ["a.test", "b.test", "c.test", "a.test"]


async def test_closing_ends_what_is_asked() -> None:
    async with serving(NameServer({("slow.test", "MX"): None})) as server:
        lookup = Lookup(("127.0.0.1", server.port), timeout=60)
        task = asyncio.create_task(lookup.mx("slow.test"))
        while not server.asked:
            await asyncio.sleep(0.01)
        await lookup.close()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        (OFFICE, "classic"),
        ("CONTOSO-com.Mail.Protection.Outlook.com.", "classic"),
        ("contoso-com.e-v1.mx.microsoft", "dnssec"),
        ("contoso-us.mail.protection.office365.us", "government"),
        ("contoso.protection.apps.mil", "government"),
        ("contoso-cn.mail.protection.partner.outlook.cn", "china"),
        ("mx1.contoso.com", "other"),
        ("evilmx.microsoft", "other"),
        ("contoso.mail.protection.outlook.com.evil.test", "other"),
        (".mail.protection.outlook.com", "other"),
        ("", "other"),
    ],
)
def test_whose_a_host_is(host: str, kind: Kind) -> None:
    assert kind_of(host) == kind


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_a_resolver_is_an_address_and_a_port(text: str, server: tuple[str, int]) -> None:
    assert name_server(text) == server


@pytest.mark.parametrize(
    "text", ["", "dns.test:53", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "1:2:3", "[::1]:x"]
)
def test_what_is_no_resolver(text: str) -> None:
    with pytest.raises(ValueError, match="is no resolver"):
        name_server(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_resolver_or_said_to_be_none(text: str) -> None:
    with contextlib.suppress(ValueError):
        host, port = name_server(text)
        assert host
        assert 0 < port < 65536


def _garbage() -> Iterator[bytes]:
    yield from (
        b"",
        b"\x84\x00",
        b"\x84\x00" + bytes(8),
        b"\x81\x80" + b"\xff" * 500,
        b"\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c",
    )


@pytest.mark.parametrize("garbage", list(_garbage()))
async def test_an_answer_that_makes_no_sense_is_a_failure(garbage: bytes) -> None:
    found = await ask(NameServer({("contoso.com", "MX"): garbage}), timeout=1.0)
    assert isinstance(found, NotFound)
    assert found.kind == "later"
