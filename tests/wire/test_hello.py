"""ClientHellos: made by OpenSSL, made by hand as old devices make them, cut into pieces, and broken."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import shutil
import ssl
import subprocess
import warnings
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.wire import tls_names
from relayprobe.wire.hello import GREASE, LONGEST, ClientHello, HelloReader, looks_like_hello, parse_handshake

TLS = {
    0x0301: ssl.TLSVersion.TLSv1,
    0x0302: ssl.TLSVersion.TLSv1_1,
    0x0303: ssl.TLSVersion.TLSv1_2,
    0x0304: ssl.TLSVersion.TLSv1_3,
}


@functools.cache
def openssl_hello(lowest: int, highest: int, sni: str | None = None, alpn: tuple[str, ...] = ()) -> bytes:
    """The first octets that OpenSSL sends as a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = TLS[lowest], TLS[highest]
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=sni).do_handshake()
    return outgoing.read()


def numbers(*values: int, size: int = 2) -> bytes:
    return b"".join(value.to_bytes(size) for value in values)


def vector(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size) + data


def extension(kind: int, data: bytes) -> bytes:
    return numbers(kind) + vector(data)


def message(version: int, suites: Iterable[int], extensions: bytes | None = None) -> bytes:
    """A ClientHello, for SSLv3 and the first devices with TLS 1.0 without extensions."""
    body = numbers(version) + bytes(32) + vector(b"", 1) + vector(numbers(*suites)) + vector(b"\0", 1)
    return b"\x01" + vector(body + (b"" if extensions is None else vector(extensions)), 3)


def record(data: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + numbers(version) + vector(data)


def sslv2_hello(version: int, *suites: int) -> bytes:
    specs, challenge = numbers(*suites, size=3), bytes(16)
    body = b"\x01" + numbers(version, len(specs), 0, len(challenge)) + specs + challenge
    return numbers(0x8000 | len(body)) + body


def read(*pieces: bytes) -> HelloReader:
    reader = HelloReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def one_by_one(data: bytes) -> HelloReader:
    return read(*(bytes([octet]) for octet in data))


def found(reader: HelloReader) -> tuple[ClientHello | None, str | None, bytes, bool]:
    return reader.hello, reader.error, reader.raw, reader.done


def hello_in(data: bytes) -> ClientHello:
    """The hello, which must be the same fed whole and octet by octet, with all its octets kept."""
    whole = read(data)
    assert found(whole) == found(one_by_one(data))
    assert whole.error is None
    assert whole.raw == data
    assert whole.hello is not None
    return whole.hello


SSLV3 = record(message(0x0300, [0x0035, 0x002F, 0x000A, 0x0005, 0x0004]), version=0x0300)
SSLV2 = sslv2_hello(0x0301, 0x010080, 0x0700C0, 0x00002F, 0x0000FF)
MODERN = openssl_hello(0x0301, 0x0304, "printer.example", ("smtp", "x"))
SPLIT = record(message(0x0303, [0x002F])[:20]) + record(message(0x0303, [0x002F])[20:])


@pytest.mark.parametrize(("lowest", "highest"), [*itertools.combinations_with_replacement(TLS, 2)])
def test_versions_of_openssl(lowest: int, highest: int) -> None:
    hello = hello_in(openssl_hello(lowest, highest))
    assert hello.form == "tls"
    assert hello.version == min(highest, 0x0303)
    assert hello.best_version == highest
    # Without 1.3 there is no list, and only the highest is told (RFC 5246 7.4.1.2)
    assert hello.versions == (tuple(range(highest, lowest - 1, -1)) if highest == 0x0304 else (highest,))


def test_what_openssl_offers() -> None:
    hello = hello_in(MODERN)
    assert hello.sni == "printer.example"
    assert hello.alpn == ("smtp", "x")
    assert hello.version_names == ("TLS 1.3", "TLS 1.2", "TLS 1.1", "TLS 1.0")
    assert {"TLS_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"} <= set(hello.suite_names)
    assert {"x25519", "secp256r1"} <= set(hello.group_names)
    assert {"rsa_pkcs1_sha256", "rsa_pss_rsae_sha256"} <= set(hello.signature_names)
    assert "TLS_EMPTY_RENEGOTIATION_INFO_SCSV" in hello_in(openssl_hello(0x0301, 0x0301)).suite_names


def test_sslv3() -> None:
    hello = hello_in(SSLV3)
    assert hello == ClientHello("tls", 0x0300, (0x0300,), (0x0035, 0x002F, 0x000A, 0x0005, 0x0004))
    assert hello.version_names == ("SSLv3",)
    assert hello.suite_names == (
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_RC4_128_MD5",
    )


def test_sslv2_form() -> None:
    hello = hello_in(SSLV2)
    assert hello == ClientHello("sslv2", 0x0301, (0x0301,), (0x010080, 0x0700C0, 0x002F, 0x00FF))
    assert hello.suite_names[:2] == ("SSL_CK_RC4_128_WITH_MD5", "SSL_CK_DES_192_EDE3_CBC_WITH_MD5")
    assert hello.suite_names[2:] == ("TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV")
    assert hello_in(sslv2_hello(0x0002, 0x010080)).version_names == ("SSLv2",)


def test_grease_is_left_out() -> None:
    assert sorted(GREASE)[:2] == [0x0A0A, 0x1A1A]
    assert len(GREASE) == 16
    extensions = (
        extension(0x2A2A, b"")
        + extension(10, vector(numbers(0x3A3A, 29)))
        + extension(13, vector(numbers(0x4A4A, 0x0401)))
        + extension(16, vector(vector(b"\x5a\x5a", 1) + vector(b"smtp", 1)))
        + extension(43, vector(numbers(0x6A6A, 0x0304), 1))
    )
    hello = hello_in(record(message(0x0303, [0x0A0A, 0x1301, 0x5600], extensions)))
    assert hello == ClientHello("tls", 0x0303, (0x0304,), (0x1301, 0x5600), (29,), (0x0401,), None, ("smtp",))


def test_best_version_is_a_real_one() -> None:
    draft = message(0x0303, [0x1301], extension(43, vector(numbers(0x7F1C, 0x0303), 1)))
    assert hello_in(record(draft)).best_version == 0x0303
    assert hello_in(record(message(0x03FF, [0x002F]))).best_version == 0x03FF
    assert hello_in(record(message(0x03FF, [0x002F]))).version_names == ("0x03ff",)


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 40, 46])
def test_two_records(cut: int) -> None:
    whole = message(0x0303, [0x002F, 0x0035])
    assert hello_in(record(whole[:cut]) + record(whole[cut:])) == parse_handshake(whole)


@pytest.mark.parametrize("data", [MODERN, SSLV3, SSLV2, SPLIT])
def test_nothing_after_the_hello_is_kept(data: bytes) -> None:
    for reader in (read(data + b"\x16\x03EHLO"), one_by_one(data + b"\x16\x03EHLO"), read(data, b"EHLO")):
        assert reader.raw == data


@pytest.mark.parametrize("data", [MODERN, SSLV3, SSLV2, SPLIT])
def test_not_done_before_the_last_octet(data: bytes) -> None:
    reader = one_by_one(data[:-1])
    assert not reader.done
    reader.feed(data[-1:])
    assert reader.done


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"EHLO scanner\r\n", "not a ClientHello"),
        (b"\x16\x04", "not a ClientHello"),
        (record(b"\x02" + bytes(40)), "a handshake message of type 2, not a ClientHello"),
        (record(b"\x01")[:-1] + b"\x02", "a handshake message of type 2, not a ClientHello"),
        (record(b""), "an empty record"),
        (SPLIT[:25] + record(b"\x02\x28", kind=21), "a record of type 21 within the ClientHello"),
        (record(b"\x01\xff\xff\xff"), "longer than 64 KiB"),
        (record(b"\x01\x00\xff\x00" + bytes(0x7000)) + record(bytes(0x7000)) * 3, "longer than 64 KiB"),
        (record(b"\x01\x00\x00\x02\x03\x03"), "too short for a ClientHello"),
        (b"\x80\x03\x01\x03\x01", "too short for a ClientHello"),
    ],
)
def test_what_is_no_hello(data: bytes, error: str) -> None:
    reader = read(data)
    assert reader.error == error
    assert found(reader) == found(one_by_one(data))
    assert data.startswith(reader.raw)
    assert len(reader.raw) <= LONGEST


def test_a_broken_extension_loses_nothing_before_it() -> None:
    sni = extension(0, vector(b"\0" + vector(b"printer.example")))
    for broken in (b"\x00", b"\x00\x2b", extension(16, b"\xff\xffsm"), numbers(43, 900), extension(0, b"")):
        hello = hello_in(record(message(0x0303, [0x002F], sni + broken)))
        assert (hello.version, hello.suites, hello.sni) == (0x0303, (0x002F,), "printer.example")
    assert hello_in(record(message(0x0303, [0x002F], extension(0, b"")))).sni is None
    assert hello_in(record(message(0x0303, [0x002F], extension(43, b"")))).versions == (0x0303,)


@pytest.mark.parametrize("data", [MODERN, SSLV3, SPLIT])
def test_tls_looks_like_a_hello_from_the_first_octet(data: bytes) -> None:
    assert all(looks_like_hello(data[:size]) for size in range(1, len(data)))


@pytest.mark.parametrize("version", [0x0002, 0x0300, 0x0301, 0x0303])
def test_sslv2_looks_like_a_hello_from_the_fifth_octet(version: int) -> None:
    data = sslv2_hello(version, 0x010080)
    assert [looks_like_hello(data[:size]) for size in range(7)] == [False] * 5 + [True] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"EHLO scanner\r\n",
        b"\xff\xfb\x01\xff\xfb\x03",  # telnet: WILL ECHO, WILL SUPPRESS-GO-AHEAD
        b"\xff\xfb\x01\x03\x01",
        b"\xff\xfd\x18\xff\xfd\x20",
        b"\xef\xbb\xbfEHLO scanner\r\n",
        b"\xff\xfeE\0H\0",
        "ÄHLO drucker\r\n".encode("latin-1"),
        "ÄHLO drucker\r\n".encode(),
        "€HLO drucker\r\n".encode("cp1252"),
        b"\x80\x2e\x02\x03\x01",  # SSLv2, but not a ClientHello
        b"\x80\x2e\x01\x00\x03",
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
        b"\x16\x02",
        b"\x16\x03\x01\x00\x2a\x02",  # a ServerHello
        b"\0\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n",
    ],
)
def test_what_does_not_look_like_a_hello(data: bytes) -> None:
    assert not looks_like_hello(data)


@given(
    st.binary(max_size=80), st.sampled_from([b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x09\x01", b"\x80\x20\x01\x03"])
)
def test_what_does_not_look_like_one_is_none(rest: bytes, start: bytes) -> None:
    data = start + rest
    if len(data) >= 6 and not looks_like_hello(data):
        assert read(data).error is not None
    parse_handshake(data)


@given(
    st.sampled_from([MODERN, SSLV3, SSLV2, SPLIT]),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6),
    st.integers(0, 700),
    st.lists(st.integers(0, 700), max_size=5).map(sorted),
)
def test_broken_hellos(data: bytes, changes: list[tuple[int, int]], length: int, cuts: list[int]) -> None:
    broken = bytearray(data)
    for place, octet in changes:
        broken[place % len(data)] = octet
    wire = bytes(broken[:length])
    reader = read(wire)
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    assert found(reader) == found(one_by_one(wire)) == found(read(*pieces))
    assert wire.startswith(reader.raw)
    assert reader.done == ((reader.hello is None) != (reader.error is None))
    if hello := reader.hello:
        assert looks_like_hello(wire)
        names = hello.version_names, hello.suite_names, hello.group_names, hello.signature_names
        assert all(name for group in names for name in group)


def test_unknown_numbers_are_shown_as_such() -> None:
    assert tls_names.suite_name(0xC060) == "0xc060"
    assert tls_names.suite_name(0x090080) == "0x090080"
    assert tls_names.group_name(0x1234) == "0x1234"
    assert tls_names.signature_name(0x0999) == "0x0999"
    assert tls_names.version_name(0x7F1C) == "0x7f1c"
    assert tls_names.alert_name(48) == "unknown_ca"
    assert tls_names.alert_name(99) == "0x0063"


def test_suites_have_the_ciphers_that_openssl_uses_for_them() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    for cipher in context.get_ciphers():
        if name := tls_names.SUITES.get(cipher["id"] & 0xFFFF):
            theirs = cipher["symmetric"] or "null"  # "aes-256-gcm", "chacha20-poly1305", "des-ede3-cbc"
            assert theirs.replace("des-ede3", "3des-ede").replace("-", "_").upper() in name


def test_suites_have_the_names_that_openssl_gives_them() -> None:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl here")
    command = [openssl, "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    theirs = {int(high + low, 16): name for high, low, name in re.findall(r"0x(..),0x(..) - (TLS_\S+)", listed)}
    if not theirs:
        pytest.skip("this openssl does not know -stdname")
    assert {number: tls_names.SUITES.get(number, name) for number, name in theirs.items()} == theirs
    assert {name for number, name in theirs.items() if number not in tls_names.SUITES} == {
        name for name in theirs.values() if re.search("ARIA|SRP|PSK.*CAMELLIA", name)
    }
