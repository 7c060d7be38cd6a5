"""The error codes and texts of devices and programs: as people write them, and the rules they lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.rules import RULES
from relayprobe.rules.codes import CODES, KNOWN_FROM, TEXTS, codes_in, look_up, nearest, rules_meant, texts_in

OF_A_CHECK = ("starttls-stripped",)
"""What only a look from the outside can see."""

IDS = (*RULES, *OF_A_CHECK)


def found(written: str) -> list[tuple[str, str]]:
    return [(code.vendor.split()[0], code.code) for code in look_up(written)]


@pytest.mark.parametrize(
    ("written", "codes"),
    [
        ("16#5108", [("Schneider", "16#5108")]),
        ("16#510a", [("Schneider", "16#510A")]),
        ("5108", [("Schneider", "16#5108")]),
        ("0x800CCC0E", [("Windows", "0x800CCC0E")]),
        ("800ccc0e", [("Windows", "0x800CCC0E")]),
        (" 0x 800ccc0e ", [("Windows", "0x800CCC0E")]),
        ("0x8016", [("Beckhoff", "0x8016")]),
        ("E421", [("OKI", "E421")]),
        ("e 421", [("OKI", "E421")]),
        ("8530", [("Siemens", "82xx to 85xx")]),
        ("16#8451", [("Siemens", "82xx to 85xx")]),
        ("8401", [("Siemens", "8401")]),
        ("16#809A", [("Siemens", "16#809A")]),
        ("-1", [(".NET", "-1")]),
        ("504", [(".NET", "504"), ("AutoIt", "@error 50x")]),
        ("@error 3", [("AutoIt", "@error 3")]),
        ("error 53", [("AutoIt", "@error 5x")]),
        ("5000", [("AutoIt", "@error 5000")]),
        ("2", [("Siemens", "SMTP_RESP_ERROR_AUTH_SEQUENCE, number 2")]),
        ("SMTP_RESP_ERROR_AUTH_SEQUENCE", [("Siemens", "SMTP_RESP_ERROR_AUTH_SEQUENCE, number 2")]),
        ("8130", []),
        ("E499", []),
        ("#801", []),  # Canon's, of which no public table was found
        ("", []),
    ],
)
def test_a_code_is_found_as_people_write_it(written: str, codes: list[tuple[str, str]]) -> None:
    assert found(written) == codes


@pytest.mark.parametrize(
    ("written", "smtp"), [("8530", 530), ("16#8421", 421), ("8401", None), ("E552", 552), ("502", 502), ("-1", None)]
)
def test_the_code_of_smtp_within(written: str, smtp: int | None) -> None:
    assert look_up(written)[0].smtp(written) == smtp


def test_every_code_is_found_under_its_own_name() -> None:
    for code in CODES:
        if code.form is None:
            assert code in look_up(code.code), code.code
        assert code.source
        assert code.text
        assert not code.text.endswith(".")


def test_codes_and_texts_lead_to_rules() -> None:
    for name in {name for entry in (*CODES, *TEXTS) for name in entry.rules}:
        assert rules_meant([name], IDS), name
    assert rules_meant(["auth-*", "no-tls"], ["auth-plain-only", "no-tls", "auth-user-not-upn"]) == (
        "auth-plain-only",
        "auth-user-not-upn",
        "no-tls",
    )


def test_codes_within_a_text() -> None:
    said = "Error 0x800ccc0e: failed (16#5108), again 0x800CCC0E, at 0x7ffd and E421"
    assert [code.code for code in codes_in(said)] == ["0x800CCC0E", "16#5108"]
    assert codes_in("0x800A " * 100 + "16#5108") == look_up("0x800A")


def test_the_nearest_code() -> None:
    assert nearest("16#51O8") == "16#5108"
    assert nearest("nothing like it") is None
    assert len(KNOWN_FROM) == len(set(KNOWN_FROM)) == 9


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.text)
def test_a_text_is_found_however_it_is_wrapped(text: object) -> None:
    said = text.text  # type: ignore[attr-defined]
    assert text in texts_in(f"ERROR [main] {said.upper()} at line 7")
    assert text in texts_in(said[:9] + "\r\n   " + said[9:])
    assert text not in texts_in(said[:-2])


def test_there_is_nothing_of_which_no_source_was_found() -> None:
    told = " ".join(f"{code.vendor} {code.code}" for code in CODES)
    assert [
        brand for brand in ("Canon", "Kyocera", "Xerox", "Toshiba", "Sharp", "Brother", "Lexmark") if brand in told
    ] == []


@given(st.text())
def test_nothing_breaks_the_search(written: str) -> None:
    assert len(look_up(written)) <= 3
    nearest(written)
    texts_in(written)
