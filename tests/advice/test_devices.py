"""Which device it is, by what it says of itself, and what its menu calls things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.advice.devices import (
    DEVICES,
    HELLOS,
    HOST_NAMES,
    MAILERS,
    SENDERS,
    SETTINGS,
    device_of,
    field_names,
    recognise_device,
)
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.message import trimmed
from relayprobe.wire.session import Session
from tests.rules.written import Written

MONO = "T: hello TLSv1 suites=0035,002f,000a,0005"


def session(*steps: str) -> Session:
    lines = [(line[:2], line[3:]) for line in ("S: 220 x", *steps)]
    [made] = Written("device", {}, [lines]).sessions()
    return made


def mail(*fields: str, sender: str = "scan@contoso.com") -> Session:
    return session(
        "C: EHLO x.contoso.com",
        "S: 250 x",
        f"C: MAIL FROM:<{sender}>",
        "S: 250 2.1.0 Sender OK",
        "C: RCPT TO:<anna@contoso.com>",
        "S: 250 2.1.5 Recipient OK",
        "C: DATA",
        "S: 354 Start",
        *(f"C: {field}" for field in fields),
        "C: ",
        "C: .",
        "S: 250 2.0.0 OK",
    )


def known(made: Session) -> tuple[str, str] | None:
    found = recognise_device(made)
    return (found[0].brand, found[1]) if found else None


@pytest.mark.parametrize(
    ("name", "brand"),
    [
        ("NPIF65E56", "HP"),
        ("npif65e56", "HP"),
        ("NPI2EEE6B.contoso.local", "HP"),
        ("XC-B8C463", "Xerox"),
        ("RNP002673734B1D", "Ricoh"),
        ("RNP5838795908AB.contoso.com", "Ricoh"),
        ("BRN008077310107", "Brother"),
        ("BRW844BF578E7AE", "Brother"),
        ("BRN_310107", "Brother"),
        ("KM7B6A91", "Kyocera"),
        ("Canon1332E2", "Canon"),
        ("EPSON83498A", "Epson"),
        ("ET0020006E4A37", "Lexmark"),
        ("SEC001599377D00", "Samsung"),
        ("Synology", "Synology"),
        ("FortiAnalyzer200D", "Fortinet FortiAnalyzer"),
        ("smtpclient.apple", "Apple Mail"),
        ("DESKTOP-VQRUBO5", "a Windows computer"),
    ],
)
def test_a_device_is_known_by_its_host_name(name: str, brand: str) -> None:
    found = known(session(f"C: EHLO {name}", "S: 250 x"))
    assert found is not None
    assert found[0] == brand
    assert found[1].startswith(f"it says EHLO `{name}`")


@pytest.mark.parametrize(
    "name",
    [
        "mfp03.contoso.com",
        "NPI",
        "NPIF65E5",
        "NPIF65E567",
        "XNPIF65E56",
        "KMS7B6A91",
        "[192.168.1.21]",
        "localhost",
        "",
    ],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert known(session(f"C: EHLO {name}", "S: 250 x")) is None
    assert known(session(f"C: HELO {name}", "S: 250 x")) is None


@pytest.mark.parametrize(
    ("field", "brand"),
    [
        ("X-Mailer: Canon MFP", "Canon"),
        ("User-Agent: RICOH scan to mail 1.0", "Ricoh"),
        ("X-Mailer: KONICA MINOLTA bizhub C4000i", "Konica Minolta"),
        ("X-Mailer: PHPMailer 6.1.7 (https://github.com/PHPMailer/PHPMailer)", "PHPMailer"),
        ("X-Mailer: swaks v20201014.0 jetmore.org/john/code/swaks/", "swaks"),
        ("X-Mailer: nodemailer (2.7.2)", "nodemailer"),
        ("Message-ID: <20250219121319.0001.CanonTxNo.0485@mfp.contoso.com.>", "Canon"),
        ("Message-ID: <1234@NPIF65E56>", "HP"),
    ],
)
def test_a_device_is_known_by_a_header(field: str, brand: str) -> None:
    found = known(mail(field))
    assert found is not None
    assert found[0] == brand


def test_a_device_is_known_by_its_sender() -> None:
    assert known(mail("Subject: x", sender="npif65e56@email.com")) == (
        "HP",
        "it sends as `npif65e56@email.com`, the sender that it has from the factory",
    )


@pytest.mark.parametrize(
    "field", ["X-Mailer: Sharpener", "X-Mailer: Scanon", "X-Mailer: Microsoft Outlook", "Subject: Canon"]
)
def test_other_headers_tell_nothing(field: str) -> None:
    assert known(mail(field)) is None


def test_a_program_is_known_by_its_tls() -> None:
    found = known(session("C: EHLO x.contoso.com", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 2.0.0 go", MONO))
    assert found is not None
    assert found[0] == "a program that runs on Mono"
    more = session("C: EHLO x.contoso.com", MONO + ",00ff")
    assert known(more) is not None
    for other in ("T: hello TLSv1.2 suites=0035,002f,000a,0005", "T: hello TLSv1 suites=0035,002f", MONO + "5"):
        assert known(session("C: EHLO x.contoso.com", other)) is None


def test_the_fingerprint_of_a_hello() -> None:
    hello = ClientHello("tls", 0x0303, (0x0304, 0x0303), (0x1301, 0xC02F), (0x001D,), (0x0403, 0x0804))
    assert hello.fingerprint == "0304-0303,1301-c02f,001d,0403-0804"
    assert ClientHello("tls", 0x0301, (0x0301,), ()).fingerprint == "0301,,,"


def test_a_header_goes_before_a_host_name() -> None:
    made = session(
        "C: EHLO NPIF65E56",
        "S: 250 x",
        "C: MAIL FROM:<a@b.c>",
        "S: 250 x",
        "C: DATA",
        "S: 354 x",
        "C: X-Mailer: swaks v1",
        "C: ",
        "C: .",
        "S: 250 x",
    )
    assert known(made) == ("swaks", "its mail has X-Mailer: `swaks v1`")


def test_what_tells_the_device_stays_when_a_mail_is_purged() -> None:
    kept = trimmed(b"X-Mailer: Canon MFP\r\nUser-Agent: x\r\nMessage-ID: <a@b>\r\nSubject: secret\r\n\r\ntext")
    assert kept == b"X-Mailer: Canon MFP\r\nUser-Agent: x\r\nMessage-ID: <a@b>\r\n\r\n"


# Menus


def test_the_fields_of_a_menu() -> None:
    epson = device_of("Epson")
    assert field_names(epson) == {
        "server": "SMTP Server Address",
        "port": "SMTP Server Port Number",
        "security": "Secure Connection: STARTTLS",
        "authentication": "Authentication Method: SMTP AUTH",
        "user": "Authenticated Account",
        "password": "Authenticated Password",
        "sender": "Sender's Email Address",
    }
    assert field_names(epson, "connector")["authentication"] == "Authentication Method: Off"
    assert field_names(epson, "connector")["security"] == "Secure Connection"
    assert epson.name == "Epson (as on EM-C800, WF-C21000, PX-M382F)"
    assert field_names(device_of("APC"))["security"] == "Use SSL/TLS: Always"
    assert "both lists" in field_names(device_of("Lexmark"))["authentication"]


def test_a_brand_whose_menu_is_not_known_has_no_fields() -> None:
    for brand in ("HP", "Synology", "Canon", "Kyocera", "Brother", "Samsung"):
        assert field_names(device_of(brand)) == {}
        assert device_of(brand).name == brand


def test_every_menu_has_a_source_and_fields_of_ours() -> None:
    for device in DEVICES:
        assert set(device.fields) <= set(SETTINGS), device.name
        assert bool(device.fields or device.other) == bool(device.source), device.name
        for field in device.fields.values():
            assert set(field.choices) <= {"starttls", "on-connect", "none", "login"}, device.name
            assert field.label.strip() == field.label
        for line in device.other:
            assert line.endswith(".")


def test_every_sign_has_a_source_and_a_device() -> None:
    for sign in (*HOST_NAMES, *MAILERS, *SENDERS):
        assert device_of(sign.brand)
        assert sign.source
    for _, brand, source in HELLOS:
        assert device_of(brand)
        assert source


@given(st.text(max_size=300), st.text(max_size=300))
def test_nothing_breaks_it(name: str, field: str) -> None:
    line, header = (text.replace("\r", "").replace("\n", "") for text in (name, field))
    recognise_device(session(f"C: EHLO {line}", "S: 250 x"))
    recognise_device(mail(f"X-Mailer: {header}", f"Message-ID: {header}"))
