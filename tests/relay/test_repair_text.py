"""The repairs of a text: what a device sent, what goes up, and what is said of it."""

from __future__ import annotations

import email
import quopri
import re
from base64 import b64encode
from email.message import Message
from email.policy import SMTP, compat32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.repair.difference import difference
from relayprobe.relay.repair.terms import REPAIRS, Mended, Terms
from relayprobe.relay.repair.text import repaired
from tests.relay.test_repair_lines import CUTS, TEXTS, source

TERMS = Terms(
    id="0192f3",
    name="relay.contoso.com",
    arrived=1_764_000_000.0,
    received="from scanner (192.168.1.9) by relay.contoso.com with ESMTP id 0192f3; Mon, 24 Nov 2025 16:00:00 +0000",
    sender="scanner@contoso.com",
)
CLEAN = (
    b"From: Scanner <scanner@contoso.com>\r\nTo: anna@contoso.com\r\nSubject: Scan\r\n"
    b"Date: Mon, 24 Nov 2025 15:59:58 +0000\r\nMessage-ID: <1@scanner>\r\n"
)
RECEIVED = re.compile(rb"\AReceived: .*\r\n(?:[ \t].*\r\n)*")


def terms(**changes: object) -> Terms:
    return Terms(**{name: getattr(TERMS, name) for name in Terms.__slots__} | changes)  # type: ignore[arg-type]


def stuffed(text: bytes) -> bytes:
    """A text as it crosses the wire."""
    ended = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    return re.sub(rb"(\A|\n)\.", rb"\1..", ended) + b".\r\n"


def sent(text: bytes, terms: Terms = TERMS) -> tuple[Mended, bytes]:
    """A text, dots doubled and the end mark put on, repaired; and what goes up without its trace field."""
    mended = repaired(source(stuffed(text)), terms)
    data = b"".join(mended.chunks())
    assert RECEIVED.match(data)
    return mended, RECEIVED.sub(b"", data)


def ids(mended: Mended) -> list[str]:
    return [repair.id for repair in mended.repairs]


def read(data: bytes) -> Message:
    return email.message_from_bytes(data, policy=compat32)


def values(data: bytes, name: str) -> list[str]:
    return [str(value) for value in email.message_from_bytes(data, policy=SMTP).get_all(name, [])]


def test_a_sound_mail_goes_up_as_it_came() -> None:
    text = CLEAN + b"\r\nHello\r\n.dot\r\n..two\r\n"
    mended = repaired(source(text, "bdat"), TERMS)
    assert mended.repairs == ()
    mended, data = sent(CLEAN + b"\r\nHello\r\n")
    assert (mended.repairs, mended.left, data) == ((), (), CLEAN + b"\r\nHello\r\n")
    assert (mended.eight_bit, mended.smtputf8) == (False, False)
    assert mended.size == len(b"".join(mended.chunks())) == mended.measured()


def test_a_device_that_doubles_no_dots_keeps_them() -> None:
    mended = repaired(source(CLEAN + b"\r\n.one\r\n..two\r\n.\r\n"), TERMS)
    assert b"".join(mended.chunks()).endswith(b"\r\n\r\n.one\r\n..two\r\n")
    assert ids(mended) == ["dots"]


def test_bare_line_ends_become_crlf_and_are_counted() -> None:
    mended, data = sent((CLEAN + b"\r\nHello\r\n").replace(b"\r\n", b"\n") + b"World\r\n")
    assert data == CLEAN + b"\r\nHello\r\nWorld\r\n"
    assert [(r.id, r.count) for r in mended.repairs] == [("line-ends", 7)]


def test_a_signed_mail_with_bare_line_ends_says_that_the_signature_may_break() -> None:
    signed = (
        CLEAN + b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\na\nb\r\n--s--\r\n"
    )
    mended, _ = sent(signed)
    assert "signature may not fit" in mended.repairs[0].says
    mended, _ = sent(CLEAN + b"DKIM-Signature: v=1; h=From:Subject; b=x\r\n\r\na\nb\r\n")
    assert "DKIM signature" in mended.repairs[0].says


def test_fields_that_are_missing_are_added_the_same_at_each_attempt() -> None:
    mended, data = sent(b"Subject: Scan\r\n\r\nHello\r\n")
    assert ids(mended) == ["from-missing", "date-missing", "message-id-missing"]
    assert values(data, "From") == ["scanner@contoso.com"]
    assert values(data, "Date") == ["Mon, 24 Nov 2025 16:00:00 -0000"]
    assert read(data)["Message-ID"] == "<0192f3@relay.contoso.com>"
    assert sent(b"Subject: Scan\r\n\r\nHello\r\n")[1] == data


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b"From:\r\n", "scanner@contoso.com"),
        (b"From: <>\r\n", "scanner@contoso.com"),
        (b"From: Scanner 2. floor\r\n", '"Scanner 2. floor" <scanner@contoso.com>'),
    ],
)
def test_a_from_without_an_address_is_given_one(came: bytes, goes: str) -> None:
    mended, data = sent(CLEAN.replace(b"From: Scanner <scanner@contoso.com>\r\n", came) + b"\r\nHello\r\n")
    assert ids(mended) == ["from-missing"]
    assert read(data)["From"] == goes


def test_an_old_or_unreadable_date_is_replaced_and_kept_beside() -> None:
    for old in (b"Thu, 01 Jan 1970 00:00:12 +0000", b"yesterday"):
        mended, data = sent(re.sub(rb"Date: .*?\r\n", b"Date: " + old + b"\r\n", CLEAN) + b"\r\nHello\r\n")
        assert ids(mended) == ["date-old"]
        assert read(data)["Date"].startswith("Mon, 24 Nov 2025")
        assert read(data)["X-Original-Date"] == old.decode()


REWRITE = terms(mailbox="relay@contoso.com", rewrite=True)


@pytest.mark.parametrize(
    ("came", "goes", "answers"),
    [
        ("Anna Berg <anna@contoso.com>", "Anna Berg <relay@contoso.com>", "Anna Berg <anna@contoso.com>"),
        ("anna@contoso.com", '"anna@contoso.com" <relay@contoso.com>', "anna@contoso.com"),
        ('"Berg, Anna" <anna@contoso.com>', '"Berg, Anna" <relay@contoso.com>', '"Berg, Anna" <anna@contoso.com>'),
        (
            "=?utf-8?q?J=C3=B6rg?= <j@contoso.com>",
            "=?utf-8?q?J=C3=B6rg?= <relay@contoso.com>",
            "=?utf-8?q?J=C3=B6rg?= <j@contoso.com>",
        ),
        ("Relay <RELAY@contoso.com>", None, None),
    ],
)
def test_from_becomes_the_mailbox_and_answers_go_to_the_old_address(came: str, goes: str, answers: str) -> None:
    mended, data = sent(CLEAN.replace(b"Scanner <scanner@contoso.com>", came.encode()) + b"\r\nHello\r\n", REWRITE)
    assert read(data)["From"] == (goes or came)
    assert read(data)["Reply-To"] == answers
    assert ids(mended) == (["from-rewritten"] if goes else [])


def test_a_reply_to_of_the_device_stays_and_a_foreign_sender_goes() -> None:
    mended, data = sent(CLEAN + b"Reply-To: help@contoso.com\r\nSender: x@contoso.com\r\n\r\nHello\r\n", REWRITE)
    assert read(data)["Reply-To"] == "help@contoso.com"
    assert read(data)["Sender"] is None
    assert "Sender" in mended.repairs[0].says


def test_several_addresses_in_from_get_a_sender() -> None:
    mended, data = sent(CLEAN.replace(b"Scanner <scanner@contoso.com>", b"a@contoso.com, b@contoso.com") + b"\r\nx\r\n")
    assert (ids(mended), read(data)["Sender"]) == (["sender-missing"], "a@contoso.com")


def test_bcc_is_taken_away_and_semicolons_become_commas() -> None:
    came = (
        CLEAN.replace(b"To: anna@contoso.com", b'To: "A; B" <a@x.de>; b@x.de;') + b"Bcc: boss@contoso.com\r\n\r\nx\r\n"
    )
    mended, data = sent(came)
    assert ids(mended) == ["list-semicolons", "bcc"]
    assert read(data)["To"] == '"A; B" <a@x.de>, b@x.de'
    assert b"boss" not in data
    _, data = sent(CLEAN.replace(b"To: anna@contoso.com", b"To: undisclosed-recipients:;") + b"\r\nx\r\n")
    assert read(data)["To"] == "undisclosed-recipients:;"


def test_fields_that_stand_twice_become_one() -> None:
    mended, data = sent(CLEAN + b"Subject: Other\r\nTo: berta@contoso.com\r\nFrom: b@contoso.com\r\n\r\nx\r\n")
    assert ids(mended) == ["duplicate-fields"]
    assert read(data).get_all("Subject") == ["Scan"]
    assert read(data).get_all("To") == ["anna@contoso.com, berta@contoso.com"]
    assert read(data).get_all("From") == ["Scanner <scanner@contoso.com>"]


@pytest.mark.parametrize(
    "came",
    [
        b"\r\n\r\n" + CLEAN + b"\r\nHello\r\n",
        b"From scanner Mon Nov 24 15:59:58 2025\r\n" + CLEAN + b"\r\nHello\r\n",
        b"\xef\xbb\xbf" + CLEAN + b"\r\nHello\r\n",
        CLEAN + b"Hello\r\n",
        CLEAN.replace(b"Subject:", b"Subject :") + b"\r\nHello\r\n",
    ],
)
def test_a_broken_header_is_mended(came: bytes) -> None:
    mended, data = sent(came)
    assert ids(mended)[0] == "header-broken"
    assert data == CLEAN + b"\r\nHello\r\n"


def test_lines_that_are_no_fields_are_kept() -> None:
    _, data = sent(CLEAN.replace(b"Subject: Scan\r\n", b"Subject: Scan\r\nof today\r\n") + b"\r\nHello\r\n")
    assert re.sub(r"\s+", " ", read(data)["Subject"]) == "Scan of today"
    _, data = sent(b"DATA\r\n" + CLEAN + b"\r\nHello\r\n")
    assert read(data)["X-Stray-Line"] == "DATA"
    assert read(data).get_payload() == "Hello\r\n"


@pytest.mark.parametrize("came", [b"Toner low\r\n", b"Temp: 20\r\nHumidity: 40\r\n", b"\r\nNote: Hello\r\n", b""])
def test_a_text_without_a_header_stays_text(came: bytes) -> None:
    _, data = sent(came)
    assert read(data).get_payload() == came.removeprefix(b"\r\n").decode()
    assert read(data)["From"] == "scanner@contoso.com"


def test_letters_in_the_header_are_encoded() -> None:
    came = (
        'From: Jörg Öl <j@contoso.com>\r\nTo: "Müller, Änne" <a@x.de>, b@x.de\r\nSubject: Grüße aus dem Büro, '
        + "lang " * 30
        + "ü\r\n"
    ).encode() + CLEAN.partition(b"Subject: Scan\r\n")[2]
    mended, data = sent(came + b"\r\nx\r\n")
    assert ids(mended) == ["header-encoded"]
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    assert values(data, "Subject") == ["Grüße aus dem Büro, " + "lang " * 30 + "ü"]
    assert values(data, "From") == ["Jörg Öl <j@contoso.com>"]
    assert values(data, "To") == ['"Müller, Änne" <a@x.de>, b@x.de']


def test_blanks_beside_words_that_were_encoded_before_are_kept() -> None:
    _, data = sent(CLEAN.replace(b"Scan", "=?utf-8?q?caf=C3=A9?= für =?utf-8?q?alle?= da".encode()) + b"\r\nx\r\n")
    assert values(data, "Subject") == ["café für alle da"]


def test_letters_of_windows_are_told_apart() -> None:
    _, data = sent(CLEAN.replace(b"Scan", "Grüße €".encode("cp1252")) + b"\r\nx\r\n")
    assert b"=?windows-1252?b?" in data
    assert values(data, "Subject") == ["Grüße €"]


def test_an_address_with_letters_stays_and_is_told() -> None:
    mended, _ = sent(CLEAN.replace(b"anna@contoso.com", "änne@müller.de".encode()) + b"\r\nx\r\n")
    assert mended.smtputf8
    assert "To" in mended.left[0]
    mended, data = sent(CLEAN.replace(b"anna@contoso.com", "anna@müller.de".encode()) + b"\r\nx\r\n")
    assert (read(data)["To"], mended.smtputf8, mended.left) == ("anna@xn--mller-kva.de", False, ())


PICTURE = bytes(range(256)) * 40


def mixed(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    body = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts)
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/" + kind + b'; boundary="cut"\r\n\r\n'
    return CLEAN + head + b"preamble\r\n" + body + b"--cut--\r\nepilogue\r\n"


ONE_LINE = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64encode(PICTURE)
LONG_HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>" + "ü = é \t".encode() * 400 + b" \r\n.\r\n</p> "


def test_parts_with_long_lines_are_written_anew_and_mean_the_same() -> None:
    came = mixed(b"Content-Type: text/plain\r\n\r\nHello", ONE_LINE, LONG_HTML)
    mended, data = sent(came)
    assert ids(mended) == ["long-lines"]
    assert mended.repairs[0].count == 2
    assert max(map(len, data.split(b"\r\n"))) <= 78
    old, new = read(came).get_payload(), read(data).get_payload()
    assert [part.get_payload(decode=True) for part in new] == [part.get_payload(decode=True) for part in old]
    assert new[1].get_payload(decode=True) == PICTURE
    assert new[2]["Content-Transfer-Encoding"] == "quoted-printable"
    assert b"preamble\r\n--cut\r\nContent-Type: text/plain\r\n\r\nHello\r\n--cut\r\n" in data
    assert data.endswith(b"\r\n--cut--\r\nepilogue\r\n")
    assert not mended.eight_bit


def test_parts_that_are_signed_are_left_and_that_is_said() -> None:
    mended, data = sent(mixed(LONG_HTML, b"Content-Type: application/pgp-signature\r\n\r\nx", kind=b"signed"))
    assert data.endswith(
        mixed(LONG_HTML, b"Content-Type: application/pgp-signature\r\n\r\nx").partition(b"preamble")[2]
    )
    assert "998 octets" in mended.left[0]
    assert "multipart/signed" in mended.left[0]
    assert mended.eight_bit
    assert ids(mended) == []


SEVEN = terms(eight_bit=False)


@pytest.mark.parametrize(
    ("kind", "text", "charset"),
    [
        (b"", "Grüße\r\n.\r\nEnde \r\n".encode(), "utf-8"),
        (b"", "Grüße\r\n".encode("cp1252"), "windows-1252"),
        (b"Content-Type: text/plain; charset=iso-8859-15\r\n", "Grüße\r\n".encode("latin-1"), "iso-8859-15"),
        (b"Content-Type: text/plain; charset=us-ascii; format=flowed\r\n", "Grüße\r\n".encode(), "utf-8"),
    ],
)
def test_letters_in_the_text_are_declared_or_encoded(kind: bytes, text: bytes, charset: str) -> None:
    mended, data = sent(CLEAN + kind + b"\r\n" + text)
    assert read(data)["Content-Transfer-Encoding"] == "8bit"
    assert mended.eight_bit
    assert data.endswith(b"\r\n\r\n" + text)
    assert "text-declared" in ids(mended)
    mended, data = sent(CLEAN + kind + b"\r\n" + text, SEVEN)
    message = read(data)
    assert message["Content-Transfer-Encoding"] == "quoted-printable"
    assert message.get_content_charset() == charset
    assert message["MIME-Version"] == "1.0"
    assert message.get_payload(decode=True) == text
    assert data.isascii()
    assert not mended.eight_bit
    assert "eight-bit" in ids(mended)


def test_octets_of_other_kinds_become_base64() -> None:
    blob = PICTURE.replace(b"\r", b"").replace(b"\n", b"")
    came = mixed(b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + blob)
    mended, data = sent(came, SEVEN)
    assert read(data).get_payload()[0].get_payload(decode=True) == blob
    assert data.isascii()
    assert b"\0" not in data
    assert ids(mended) == ["nul", "eight-bit", "long-lines"]


def test_a_file_name_with_letters_is_encoded() -> None:
    part = 'Content-Type: application/pdf; name="Übersicht 1.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\neA=='
    mended, data = sent(mixed(part.encode()))
    assert ids(mended) == ["header-encoded"]
    assert read(data).get_payload()[0].get_filename() == "Übersicht 1.pdf"


def test_nul_octets_are_taken_away() -> None:
    mended, data = sent(CLEAN + b"\r\nHe\0l\0lo\r\n")
    assert data == CLEAN + b"\r\nHello\r\n"
    assert [(r.id, r.count) for r in mended.repairs] == [("nul", 2)]


def test_an_encoding_of_the_whole_is_taken_away_from_a_multipart() -> None:
    came = mixed(b"\r\nHello").replace(b"MIME-Version", b"Content-Transfer-Encoding: base64\r\nMIME-Version")
    mended, data = sent(came)
    assert (ids(mended), data) == (["multipart-encoding"], mixed(b"\r\nHello"))


def test_long_header_lines_are_folded() -> None:
    to = b", ".join(b"user%d@contoso.com" % n for n in range(200))
    mended, data = sent(CLEAN.replace(b"anna@contoso.com", to) + b"\r\nx\r\n")
    assert ids(mended) == ["long-lines"]
    assert re.sub(r"\s+", " ", read(data)["To"]) == to.decode()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    mended, _ = sent(CLEAN.replace(b"Scan", b"x" * 1200) + b"\r\nx\r\n")
    assert "without a blank" in mended.left[0]


def test_what_is_switched_off_is_not_done() -> None:
    came = b"To: a@x.de; b@x.de\r\nBcc: c@x.de\r\nSubject: \xe4\r\nSubject: b\r\n\r\n" + b"y" * 1200 + b"\0\xe4\r\n"
    off = frozenset(REPAIRS) - {"line-ends"}
    mended, data = sent(came, terms(off=off, eight_bit=False))
    assert (ids(mended), data) == ([], came)
    on, _ = sent(came)
    for id in ids(on):
        rest, _ = sent(came, terms(off=frozenset([id])))
        assert id not in ids(rest)
    mended, data = sent(b"a\nb\r\n", terms(off=frozenset(REPAIRS)))
    assert ids(mended) == ["line-ends"]


def test_a_header_without_an_end_goes_up_as_it_is() -> None:
    came = b"X-A: " + b"y" * 500 + b"\r\n"
    mended, data = sent(came * 600 + b"\r\nx\r\n")
    assert data == came * 600 + b"\r\nx\r\n"
    assert "256 KiB" in mended.left[0]


def nested(depth: int, inner: bytes) -> bytes:
    for n in range(depth):
        inner = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) + inner + b"\r\n--b%d--" % n
    return CLEAN + inner + b"\r\n"


def test_bombs_pass_and_it_is_said() -> None:
    long = b"\r\n" + b"z" * 1200
    mended, data = sent(nested(90, long))
    assert ids(mended) == ["long-lines"]
    for bomb, says in (
        (nested(150, long), "nested"),
        (mixed(*[b"\r\nx"] * 1100, long), "more than 1,000 parts"),
        (CLEAN + b"Content-Type: message/rfc822\r\n\r\n" * 200 + long + b"\r\n", "nested"),
    ):
        mended, data = sent(bomb)
        assert data == bomb
        assert says in mended.left[0]


def test_cuts_within_blanks_dots_and_boundaries_change_nothing() -> None:
    text = CLEAN + b"\r\n" + "ä  b.\r\nc \t \r\n.\r\n..".encode() + b"  x" * 50 + b"\r\n"
    inside = mixed(b"Content-Type: text/plain\r\n\r\n" + b"w " * 600, b"\r\nx").replace(
        b"cut", b"cut" + b"-" * 60 + b"7"
    )
    for came in (text, inside):
        raw = stuffed(came)
        whole = repaired(source(raw), SEVEN)
        single = repaired(source(raw, cuts=list(range(len(raw)))), SEVEN)
        assert b"".join(single.chunks()) == b"".join(whole.chunks())
        assert single.repairs == whole.repairs != ()


def test_what_stands_behind_the_last_part_is_left() -> None:
    came = mixed(b"\r\nHello").replace(b"epilogue", b"Content-Type: text/plain\r\n\r\n" + b"e" * 1200)
    mended, data = sent(came)
    assert (data, ids(mended)) == (came, [])
    assert "no part of its own" in mended.left[0]


FRAGMENTS = [
    b"\r\n", b"\n", b".", b"a", b" ", b"=", b"\xc3\xa4", b"\xe4", b"\0", b"x" * 1000, b"--cut\r\n", b"--cut--\r\n",
    b"\r\n--cut\r\n", b"Content-Type: text/plain\r\n\r\n", b"Content-Type: image/png\r\n\r\n", b"Subject: ",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"=C3=\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type: multipart/mixed; boundary=in\r\n\r\n", b"--in\r\n",
    b"--in--\r\n", b'Content-Disposition: attachment; filename="\xc3\xa4"\r\n',
]  # fmt: skip
BODIES = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)


@given(BODIES, st.booleans(), st.booleans(), CUTS)
def test_the_pieces_it_comes_in_change_nothing(text: bytes, parts: bool, eight_bit: bool, cuts: list[int]) -> None:
    raw = stuffed(mixed(text) if parts else CLEAN + text)
    given_terms = terms(eight_bit=eight_bit)
    whole, pieces = repaired(source(raw), given_terms), repaired(source(raw, cuts=cuts), given_terms)
    single = repaired(source(raw, cuts=list(range(len(raw)))), given_terms)
    data = b"".join(whole.chunks())
    assert data == b"".join(pieces.chunks()) == b"".join(single.chunks()) == b"".join(whole.chunks())
    assert whole.repairs == pieces.repairs == single.repairs
    assert whole.left == pieces.left == single.left
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert data.endswith(b"\r\n")
    if not whole.left:
        assert max(map(len, data.split(b"\r\n"))) <= 998
        assert b"\0" not in data
        assert eight_bit or data.isascii()
    assert whole.eight_bit or data.isascii()
    again = repaired(source(RECEIVED.sub(b"", data), "bdat"), given_terms)
    if not whole.left and b"\0" not in raw:  # without its NUL a line may be a boundary
        assert again.repairs == ()  # what was put right is right


LINES = st.lists(
    st.sampled_from([b"Hello", b"", b".", b"= ", "ä€".encode(), b"\xe4", b" \t", b"x=3D", b"y" * 1100, b"a b " * 300]),
    max_size=12,
).map(b"\r\n".join)
KINDS = st.sampled_from(
    [b"text/plain; charset=utf-8", b"text/html; charset=iso-8859-1", b"image/png", b"application/json"]
)
PIECES = st.lists(
    st.tuples(KINDS, st.sampled_from(["", "7bit", "8bit", "base64", "quoted-printable"]), LINES), min_size=1, max_size=4
)


def piece(kind: bytes, encoding: str, text: bytes) -> bytes:
    if encoding == "base64":
        text = b64encode(text)
    if encoding == "quoted-printable":
        text = quopri.encodestring(text).replace(b"=\n", b"").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    head = b"Content-Type: " + kind + b"\r\n"
    return head + (b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n" if encoding else b"") + b"\r\n" + text


@given(PIECES, st.booleans(), CUTS)
def test_each_part_means_what_it_meant(
    pieces: list[tuple[bytes, str, bytes]], eight_bit: bool, cuts: list[int]
) -> None:
    came = mixed(*[piece(*one) for one in pieces])
    mended = repaired(source(stuffed(came), cuts=cuts), terms(eight_bit=eight_bit))
    data = b"".join(mended.chunks())
    meant = [text for _, _, text in pieces]
    assert [part.get_payload(decode=True) for part in read(data).get_payload()] == meant
    assert mended.left == ()
    assert eight_bit or data.isascii()


@given(TEXTS)
def test_anything_at_all_goes_up(text: bytes) -> None:
    mended = repaired(source(stuffed(text)), REWRITE)
    data = b"".join(mended.chunks())
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert all(line.isprintable() for line in difference(source(stuffed(text)), mended))


def test_the_difference_shows_what_was_changed() -> None:
    came = mixed(b"\r\nHello\nWorld", LONG_HTML).replace(b"Scan\r\n", b"Sc\x1ban\r\nBcc: x@x.de\r\n")
    raw = source(stuffed(came))
    lines = list(difference(raw, repaired(raw, TERMS)))
    assert all(line.isprintable() for line in lines)
    assert " Subject: Sc\\x1ban" in lines
    assert "-Bcc: x@x.de" in lines
    assert "-Hello\\n" in lines
    assert "+Content-Transfer-Encoding: quoted-printable" in lines
    assert any(line.startswith("-<p>") and "octets)" in line for line in lines)
    assert any(line.startswith("+<p>") for line in lines)


def test_the_difference_is_bounded() -> None:
    raw = source(stuffed(CLEAN + b"X: y\r\n" * 5000 + b"\r\n" + b"a\n" * 5000 + (b"z" * 3000 + b"\r\n") * 50))
    lines = list(difference(raw, repaired(raw, TERMS)))
    assert len(lines) < 2000
    assert sum(map(len, lines)) < 100_000
