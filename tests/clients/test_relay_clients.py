"""Real mail programs send through a relay process, and what they meant arrives: at the imitation of Office 365 in each
of its modes and at a real Postfix, each mail on the route that is meant for it."""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import random
import re
import select
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from relayprobe.relay.logins import hashed
from relayprobe.store import Mail
from tests.clients.listening import PASSWORD, USER, until
from tests.clients.passing_on import Arrived, Imitation, Relaying, connected
from tests.clients.postfix import NAME, Postfix, smart_host
from tests.clients.programs import context
from tests.conftest import need
from tests.rules.written import dialogues

MX = "contoso-com.mail.protection.outlook.com"
LOGIN, SECRET = "printer", "Another-Passw0rd"
AT_MX, BY_CONNECTOR, LENIENT, BY_DIAGNOSIS = "127.0.0.3", "127.0.0.4", "127.0.0.6", "127.0.0.9"

SETTINGS = """
[site]
domains = ["contoso.com"]
connector = true
[relay]
devices = ["127.0.0.0/8", "{login}"]
lenient = ["{lenient}"]
retry = ["1s"]
[relay.logins]
"{login}" = "{hash}"
[[route]]
name = "smart"
mode = "smart-host"
devices = ["{login}"]
{postfix}
[[route]]
name = "mx"
mode = "direct-send"
devices = ["127.0.0.3"]
{mx}
[[route]]
name = "connector"
mode = "connector"
devices = ["127.0.0.4/32"]
{connector}
[[route]]
name = "auto"
mode = "auto"
over = ["office", "mx"]
devices = ["127.0.0.9"]
[[route]]
name = "by-sender"
mode = "smart-host"
senders = ["*@postfix.test"]
{postfix}
[[route]]
name = "by-recipient"
mode = "smart-host"
recipients = ["fabrikam.com"]
{postfix}
[[route]]
name = "office"
mode = "submission"
{office}
"""


def way(authority: Path, name: str, port: int, login: bool) -> str:
    """The keys of a route to a server on this machine."""
    lines = ['host = "127.0.0.1"', f"port = {port}", f'ca_file = "{authority}"', f'tls_name = "{name}"']
    if login:
        lines += [f'user = "{USER}"', f'password = "{PASSWORD}"', "messages_per_minute = 100000"]
    return "\n".join(lines)


@dataclass
class House:
    """A relay, and where its routes lead."""

    relay: Relaying
    postfix: Postfix
    imitations: dict[str, Imitation]

    def at(self, name: str, marker: bytes) -> Arrived:
        """The one mail with this in it that has come to an imitation."""
        found: list[Arrived] = until(lambda: [one for one in self.imitations[name].arrived() if marker in one.text])
        assert len(found) == 1
        return found[0]

    def at_postfix(self, marker: bytes, count: int = 1) -> list[bytes]:
        """The mails with this in them in Postfix's mailbox, once there are so many."""
        found: list[bytes] = until(lambda: (a := [m for m in self.postfix.arrived() if marker in m])[count - 1 :] and a)
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    names = {"submission": "smtp.office.test", "direct-send": MX, "connector": MX}
    with smart_host() as postfix:
        imitations = {mode: Imitation(folder / mode, mode, name) for mode, name in names.items()}
        ways = {
            mode: way(one.authority, names[mode], one.port, mode == "submission") for mode, one in imitations.items()
        }
        settings = SETTINGS.format(
            login=LOGIN,
            lenient=LENIENT,
            hash=hashed(SECRET),
            postfix=way(postfix.authority, NAME, postfix.port, True),
            mx=ways["direct-send"],
            connector=ways["connector"],
            office=ways["submission"],
        )
        relay = Relaying(folder / "relay", settings, place="plain://127.0.0.1:0")  # it greets at once
        yield House(relay, postfix, imitations)
        relay.stop()
        for one in imitations.values():
            one.stop()


PROGRAMS = ["swaks", "curl", "msmtp", "smtplib"]


def send(program: str, port: int, scratch: Path, source: str, sender: str, to: list[str], text: bytes) -> None:
    """Send a text with a real program, from an address of this machine."""
    file = scratch / "message.eml"
    match program:
        case "swaks":
            file.write_bytes(text.removesuffix(b"\r\n"))  # it adds a line end
            where = ["--server", f"127.0.0.1:{port}", "--local-interface", source, "--helo", "mfp01.contoso.com"]
            command = [need("swaks"), *where, "--from", sender, "--to", ",".join(to), "--data", f"@{file}"]
            run(command)
        case "curl":
            file.write_bytes(text)
            rcpt = [word for one in to for word in ("--mail-rcpt", one)]
            command = [need("curl"), "--disable", "-sS", "--interface", source, f"smtp://127.0.0.1:{port}/mfp01"]
            run([*command, "--mail-from", sender, *rcpt, "--upload-file", str(file)])
        case "msmtp":
            where = ["--host=127.0.0.1", f"--port={port}", f"--source-ip={source}", "--tls=off"]
            run([need("msmtp"), *where, f"--from={sender}", *to], text.replace(b"\r\n", b"\n"))
        case "smtplib":
            with smtplib.SMTP("127.0.0.1", port, "mfp01", timeout=20, source_address=(source, 0)) as smtp:
                smtp.sendmail(sender, to, text)


def run(command: list[str], stdin: bytes = b"") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def scan(marker: str, size: int) -> tuple[bytes, bytes]:
    """A mail with a scan of so many octets, with what programs get wrong in its text; and the scan."""
    octets = random.Random(marker).randbytes(size)
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"], mail["Subject"] = "Scanner <scanner@contoso.com>", "anna@contoso.com", f"Scan {marker}"
    mail["Date"], mail["Message-ID"] = "Mon, 23 Nov 2026 10:00:00 +0000", f"<{marker}@mfp01.contoso.com>"
    mail.set_content(".a dot\n..two\n.\n\nthe end\n", cte="7bit")
    mail.add_attachment(octets, maintype="application", subtype="pdf", filename="scan.pdf")
    return mail.as_bytes(), octets


def attachment(text: bytes) -> str:
    """The hash of the only attachment."""
    [part] = [one for one in email.message_from_bytes(text).walk() if one.get_filename()]
    return hashlib.sha256(bytes(part.get_payload(decode=True))).hexdigest()  # type: ignore[arg-type]


def without_trace(text: bytes) -> bytes:
    """A text as the relay sent it, but for its own Received."""
    return re.sub(rb"\AReceived:.*\r\n(?:[ \t].*\r\n)*", b"", text)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_scan_arrives_whole_on_the_route_of_its_device(program: str, house: House, tmp_path: Path) -> None:
    """Through client submission, the MX endpoint, the connector, and a smart host."""
    text, octets = scan(f"whole-{program}", 2_500_000)
    digest = hashlib.sha256(octets).hexdigest()
    port = house.relay.port
    routes = {"127.0.0.2": "submission", AT_MX: "direct-send", BY_CONNECTOR: "connector"}
    for source in routes:
        send(program, port, tmp_path, source, USER, ["anna@contoso.com", "bert@contoso.com"], text)
    for name in routes.values():
        arrived = house.at(name, f"whole-{program}@".encode())
        assert without_trace(arrived.text) == text
        assert attachment(arrived.text) == digest
        assert (arrived.sender, arrived.recipients) == (USER, ("anna@contoso.com", "bert@contoso.com"))
        assert arrived.tls
        assert arrived.login == (USER if name == "submission" else None)
    send(program, port, tmp_path, "127.0.0.1", "scan@postfix.test", ["anna@contoso.com"], text)
    [mail] = house.at_postfix(f"whole-{program}@".encode())
    assert attachment(mail) == digest
    head = mail.partition(b"\n\n")[0]
    assert b"with ESMTPSA" in head
    assert b"Delivered-To: anna@contoso.com" in head
    # The mailbox is the smart host's login, but a smart host takes any sender.
    assert b"Return-Path: <scan@postfix.test>" in head


def test_recipients_of_one_mail_part_by_their_domain_and_a_login_has_a_route_of_its_own(house: House) -> None:
    text, _ = scan("parted", 1000)
    with smtplib.SMTP("127.0.0.1", house.relay.port, "mfp01", timeout=20) as smtp:
        smtp.sendmail("scanner@contoso.com", ["anna@contoso.com", "eve@fabrikam.com", "bert@contoso.com"], text)
    arrived = house.at("submission", b"<parted@")
    assert arrived.recipients == ("anna@contoso.com", "bert@contoso.com")
    [mail] = house.at_postfix(b"parted@mfp01")
    assert b"Delivered-To: eve@fabrikam.com" in mail
    text, _ = scan("by-login", 1000)
    with smtplib.SMTP("127.0.0.1", house.relay.port, "mfp01", timeout=20, source_address=(AT_MX, 0)) as smtp:
        smtp.starttls(context=context())
        smtp.login(LOGIN, SECRET)
        smtp.sendmail("scanner@contoso.com", ["anna@contoso.com"], text)
    assert house.at_postfix(b"by-login@mfp01")
    # A login that is not right gives no route: its device may send by its address, and takes the route of that.
    text, _ = scan("wrong-login", 1000)
    with smtplib.SMTP("127.0.0.1", house.relay.port, "mfp01", timeout=20, source_address=(AT_MX, 0)) as smtp:
        smtp.login(LOGIN, "wrong")
        smtp.sendmail("scanner@contoso.com", ["anna@contoso.com"], text)
    assert house.at("direct-send", b"<wrong-login@")


def test_the_diagnosis_chooses(house: House) -> None:
    """Inside goes by what is advised; to outside Direct Send cannot, so the mailbox does."""
    for number, to in enumerate(["anna@contoso.com", "eve@elsewhere.example"]):
        text, _ = scan(f"auto-{number}", 1000)
        with smtplib.SMTP("127.0.0.1", house.relay.port, "mfp01", timeout=20, source_address=(BY_DIAGNOSIS, 0)) as smtp:
            smtp.sendmail("mfp@contoso.com", [to], text)
    mails = until(lambda: (m := [x for x in house.relay.mails() if x.host == BY_DIAGNOSIS])[1:]
                  and all(x.state == "delivered" for x in m) and m)  # fmt: skip
    assert {mail.route for mail in mails} <= {"office", "mx"}
    assert (
        next(mail.route for mail in mails if mail.waiting == () and "elsewhere" in mail.recipients[0].address)
        == "office"
    )


@dataclass(frozen=True)
class Odd:
    """A text or an envelope as devices send it."""

    name: str
    body: bytes
    mail: bytes = b"MAIL FROM:<scanner@contoso.com>"
    rcpt: tuple[bytes, ...] = (b"RCPT TO:<anna@contoso.com>",)
    says: bytes = b""  # stands in what arrives
    body_is: bytes | None = None

    def __str__(self) -> str:
        return self.name


HEAD = (
    b"From: a@contoso.com\r\nTo: anna@contoso.com\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a>\r\n\r\n"
)
ODD = [
    Odd("nothing-but-text", b"hello\r\nyou\r\n", body_is=b"hello\r\nyou\r\n"),
    Odd("empty", b"", body_is=b""),
    Odd("no-header", b"\r\nhello\r\n", body_is=b"hello\r\n"),
    Odd("bare-lf", HEAD.replace(b"\r\n", b"\n") + b"one\n\ntwo\n..dot\n", body_is=b"one\r\n\r\ntwo\r\n.dot\r\n\r\n"),
    Odd("bare-cr", HEAD + b"one\rtwo\r\n", body_is=b"one\r\ntwo\r\n"),
    Odd("cr-cr-lf", HEAD.replace(b"\r\n", b"\r\r\n") + b"one\r\r\n", body_is=b"one\r\n"),
    Odd("dots", HEAD + b"..one\r\n...two\r\n..\r\nend\r\n", body_is=b".one\r\n..two\r\n.\r\nend\r\n"),
    Odd("dots-not-doubled", HEAD + b".one\r\nend\r\n", body_is=b".one\r\nend\r\n"),
    Odd("eight-bit", HEAD + "Grüße\r\n".encode("latin-1"), says=b"charset"),
    Odd("nul", HEAD + b"a\0b\r\n", says=b"ab\r\n"),
    Odd("long-line", HEAD + b"x" * 5000 + b"\r\n", says=b"x" * 70),
    Odd("long-subject", b"Subject: " + b"word " * 1000 + b"\r\n\r\nhello\r\n", says=b"hello\r\n"),
    Odd("name-in-mail-from", b"hello\r\n", b'MAIL FROM:"Scanner <2>" <mfp@contoso.com>'),
    Odd("no-brackets", b"hello\r\n", b"MAIL FROM: mfp@contoso.com"),
    Odd("empty-sender", b"hello\r\n", b"MAIL FROM:<>"),
    Odd("sender-alone", b"hello\r\n", b"MAIL FROM:<scanner>"),
    Odd("list", b"hello\r\n", rcpt=(b"RCPT TO:<anna@contoso.com;bert@contoso.com, carl@contoso.com>",)),
    Odd("two-froms", b"From: a@contoso.com\r\nFrom: b@contoso.com\r\nSubject: x\r\n\r\nhello\r\n"),
    Odd("eight-bit-header", b"From: a@contoso.com\r\nSubject: \xdcbersicht\r\n\r\nhello\r\n"),
    Odd("from-without-address", b"From: Scanner\r\nSubject: x\r\n\r\nhello\r\n"),
]  # fmt: skip


@pytest.mark.parametrize("route", ["submission", "direct-send", "postfix"])
def test_what_devices_do_wrong_arrives_right(route: str, house: House) -> None:
    source = {"submission": "127.0.0.2", "direct-send": AT_MX, "postfix": "127.0.0.5"}[route]
    ids = {odd: _sent(odd, route, source, house.relay.port) for odd in ODD}
    for odd, id in ids.items():
        if route == "postfix":
            found = house.at_postfix(id, 3 if odd.name == "list" else 1)
            text = found[0][found[0].index(b"Received: from [127.0.0.5]") :].replace(b"\n", b"\r\n")
            to = len(found)
        else:
            arrived = house.at(route, id)
            sane(arrived.raw)
            text, to = arrived.text, len(arrived.recipients)
            assert arrived.sender == USER or route == "direct-send", odd
        assert to == (3 if odd.name == "list" else 1), odd
        if odd.body_is is not None:
            assert text.partition(b"\r\n\r\n")[2] == odd.body_is, odd
        assert odd.says in text, odd


def _sent(odd: Odd, route: str, source: str, port: int) -> bytes:
    """The id that the relay gave it."""
    rcpt = [line.replace(b"contoso.com", b"fabrikam.com") if route == "postfix" else line for line in odd.rcpt]
    said = dialogue(port, source, [odd.mail, *rcpt], odd.body)
    assert said.startswith(b"250 "), odd
    return said.split()[-1]


def sane(raw: bytes) -> None:
    """A text as RFC 5322 and 5321 have it, on the wire, with its end."""
    assert raw.endswith(b"\r\n.\r\n"), raw[-100:]
    assert raw.count(b"\r\n.\r\n") == 1
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 999  # with a dot more
    head = raw.partition(b"\r\n\r\n")[0]
    for name in (b"From", b"Date", b"Message-ID"):
        assert len(re.findall(rb"^%s:" % name, head, re.MULTILINE | re.IGNORECASE)) == 1, (name, head)
    assert len(re.findall(rb"^Subject:", head, re.MULTILINE | re.IGNORECASE)) <= 1
    assert all(re.match(rb"[!-9;-~]+:|[ \t]", line) for line in head.split(b"\r\n")), head
    parsed = email.message_from_bytes(raw[:-5], policy=email.policy.SMTP)
    assert parsed["From"].addresses, head
    assert parsed["From"].addresses[0].domain, head
    assert parsed["Date"].datetime is not None, head


def dialogue(port: int, source: str, envelope: list[bytes], body: bytes) -> bytes:
    """Hold a dialogue line by line; the last reply, or the first that refuses."""
    with connected(port, source) as device, device.makefile("rb") as replies:
        replies.readline()
        for line in [b"HELO mfp01", *envelope, b"DATA"]:
            device.sendall(line + b"\r\n")
            reply = replies.readline()
            if reply[:1] not in b"23":
                return reply
        device.sendall(body + (b".\r\n" if body.endswith(b"\r\n") or not body else b"\r\n.\r\n"))
        return replies.readline()


def test_what_bad_dialogues_send_arrives_sane_or_was_refused_with_a_reason(house: House) -> None:
    """Every dialogue of the rules, the client's side of it, in clear; each from an address of its own."""
    written = dialogues()
    sources = {one.name: f"127.0.1.{number + 1}" for number, one in enumerate(written)}
    with ThreadPoolExecutor(8) as devices:
        held = devices.map(
            lambda one: [played(steps, house.relay.port, sources[one.name]) for steps in one.connections], written
        )
        answers = {
            one.name: [reply for replies in said for reply in replies] for one, said in zip(written, held, strict=True)
        }
    ids = {
        name: [line.split()[-1] for line in lines if b"queued by relayprobe as" in line]
        for name, lines in answers.items()
    }
    taken = sum(map(len, ids.values()))
    assert taken > 130

    def settled() -> list[Mail]:
        mails = [mail for mail in house.relay.mails() if mail.host in sources.values()]
        return mails if all(mail.state not in ("waiting", "sending") for mail in mails) else []

    mails = {mail.id.encode(): mail for mail in until(settled)}
    answered = {id for those in ids.values() for id in those}
    assert answered <= set(mails)
    assert len(set(mails) - answered) <= 3  # of devices that hang up before they hear of it
    assert {mail.state for mail in mails.values()} == {"delivered"}
    here = {id for id, mail in mails.items() if mail.route == "office"}

    def complete() -> dict[bytes, list[Arrived]]:
        found: dict[bytes, list[Arrived]] = {}
        for one in house.imitations["submission"].arrived():
            if (id := re.search(rb"with ESMTP id\s+(\S+);", one.text)) and id[1] in here:
                found.setdefault(id[1], []).append(one)
        return found if len(found) == len(here) else {}

    arrived = until(complete)
    for name, those in ids.items():
        for id in those:
            if id not in here:
                assert house.at_postfix(id), name
                continue
            [mail] = arrived[id]
            sane(mail.raw)
            assert set(mail.recipients) == {one.address for one in mails[id].recipients}, name
            assert mail.sender.lower() == USER, name
    # What is refused is refused in words: a code, an enhanced code, and more.
    for name, lines in answers.items():
        for line in lines:
            assert line[:1] in b"23" or re.fullmatch(rb"[45]\d\d [45]\.\d\.\d+ .{8,}\r\n", line), (name, line)


def played(steps: list[tuple[str, str]], port: int, source: str) -> list[bytes]:
    """Play the client's side of a dialogue, without TLS; the last lines of the replies."""
    with connected(port, source) as device:
        device.settimeout(0.5)
        replies = [_reply(device)]
        in_text = False
        for kind, words in steps:
            if kind == "X:":
                break
            if kind not in ("C:", "C~") or words.upper() == "STARTTLS":
                continue
            data = words.encode() + b"\r\n"
            if kind == "C~":
                data = words.encode().decode("unicode_escape").encode("latin-1")
            try:
                device.sendall(data)
            except OSError:  # it was told goodbye
                break
            in_text = in_text and not (data == b".\r\n" or data.endswith(b"\r\n.\r\n"))
            while not in_text and (reply := _reply(device)):
                replies.append(reply)
                in_text = reply.startswith(b"354")
                if not select.select([device], [], [], 0)[0]:
                    break
        return replies


def _reply(device: socket.socket) -> bytes:
    """The last line of the next reply; empty where none comes."""
    line = b""
    with contextlib.suppress(OSError):
        while octet := device.recv(1):
            line += octet
            if octet == b"\n":
                if line[3:4] != b"-":
                    break
                line = b""
    return line


LOOK_ALIKES = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\r\n\0.\r\n",
    b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\n\r.\r\n", b"\r\n..\r\n", b"\r\n .\r\n", b"\r\n. \r\n", b"\n\n.\n\n",
    b"\r\r.\r\r", b"\r\n.\x0b\r\n", b"\r\n.\xe2\x80\xa8", b"\x85.\x85", b"\n..\n", b"\r\n.\n\r\n.\r",
]  # fmt: skip
"""What some server has taken for the end of a message."""
SMUGGLED = (
    b"MAIL FROM:<evil@contoso.com>\r\nRCPT TO:<victim@contoso.com>\r\nDATA\r\n"
    b"From: evil@contoso.com\r\n\r\nsmuggled\r\n"
)


def test_one_mail_is_never_two(house: House) -> None:
    """What looks like the end of a text is neither one here, whoever sends it, nor made one on the way to others."""
    ids = {}
    for number, end in enumerate(LOOK_ALIKES):
        for route, source in (("submission", "127.0.0.2"), ("postfix", "127.0.0.5")):
            domain = b"contoso.com" if route == "submission" else b"fabrikam.com"
            text = HEAD + b"before" + end + SMUGGLED + b".\r\n"
            envelope = b"MAIL FROM:<scanner@contoso.com>\r\nRCPT TO:<anna@%s>\r\nDATA\r\n" % domain
            with connected(house.relay.port, source) as device, device.makefile("rb") as replies:
                device.sendall(b"HELO mfp01\r\n" + envelope + text + b"QUIT\r\n")
                said = replies.readlines()
            assert [line[:3] for line in said] == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"], (end, said)
            ids[number, route] = said[5].split()[-1]
    for (number, route), id in ids.items():
        if route == "postfix":
            [mail] = house.at_postfix(id)
        else:
            arrived = house.at(route, id)
            sane(arrived.raw)
            assert arrived.recipients == ("anna@contoso.com",)
            mail = arrived.text
        assert b"smuggled" in mail or b"base64" in mail, LOOK_ALIKES[number]
    assert not [one for one in house.imitations["submission"].arrived() if "victim@contoso.com" in one.recipients]
    assert not [mail for mail in house.postfix.arrived() if b"Delivered-To: victim@" in mail]


def test_chunks_keep_their_octets_and_end_nothing(house: House) -> None:
    """BDAT: an end mark within is text, and a line end that two chunks share is one."""
    chunks = [HEAD + b"one\r", b"\n.\r\n" + SMUGGLED, b"two\n.\nthree", b""]
    with connected(house.relay.port) as device, device.makefile("rb") as replies:
        replies.readline()
        device.sendall(b"HELO mfp01\r\nMAIL FROM:<scanner@contoso.com>\r\nRCPT TO:<anna@contoso.com>\r\n")
        assert [replies.readline()[:3] for _ in range(3)] == [b"250"] * 3
        for chunk in chunks:
            device.sendall(b"BDAT %d%s\r\n" % (len(chunk), b"" if chunk else b" LAST") + chunk)
            said = replies.readline()
            assert said.startswith(b"250"), said
    arrived = house.at("submission", said.split()[-1])
    sane(arrived.raw)
    assert arrived.text.partition(b"\r\n\r\n")[2] == b"one\r\n.\r\n" + SMUGGLED + b"two\r\n.\r\nthree\r\n"


def test_a_device_that_is_named_for_it_may_end_its_text_with_bare_line_feeds(house: House) -> None:
    lenient, strict = connected(house.relay.port, LENIENT), connected(house.relay.port, "127.0.0.2")
    with lenient, strict, lenient.makefile("rb") as replies, strict.makefile("rb") as others:
        for device, lines in ((strict, others), (lenient, replies)):
            device.sendall(b"HELO mfp01\nMAIL FROM:<scanner@contoso.com>\nRCPT TO:<anna@contoso.com>\nDATA\n")
            assert [lines.readline()[:3] for _ in range(5)] == [b"220", b"250", b"250", b"250", b"354"]
            device.sendall(b"Subject: by hand\n\none\n.\n")
        taken = replies.readline()
        assert taken.startswith(b"250 ")
        assert not select.select([strict], [], [], 0)[0]  # as long as the other one had
        strict.sendall(b"two\r\n.\r\n")
        also = others.readline()
    sane(house.at("submission", taken.split()[-1]).raw)
    arrived = house.at("submission", also.split()[-1])
    sane(arrived.raw)
    assert arrived.text.endswith(b"\r\n\r\none\r\n.\r\ntwo\r\n")


def test_more_recipients_than_a_route_takes_at_once(house: House) -> None:
    everybody = [f"person{number}@contoso.com" for number in range(900)]
    with smtplib.SMTP("127.0.0.1", house.relay.port, "mfp01", timeout=20) as smtp:
        assert smtp.sendmail("scanner@contoso.com", everybody, HEAD + b"to all of you\r\n") == {}

    def sent() -> list[Arrived]:
        found = [one for one in house.imitations["submission"].arrived() if b"to all of you" in one.text]
        return found if sum(len(one.recipients) for one in found) >= 900 else []

    arrived = until(sent)
    assert sorted(to for one in arrived for to in one.recipients) == sorted(everybody)
    assert max(len(one.recipients) for one in arrived) <= 500
    assert len({one.text for one in arrived}) == 1


def test_large_scans_pass_through_a_small_memory(house: House, tmp_path: Path) -> None:
    """One of 30 MB, then several at once: whole, and the process grows by less than one of them."""
    relay = house.relay
    text, octets = scan("large", 22_000_000)
    assert len(text) > 30_000_000
    before = relay.peak
    send("smtplib", relay.port, tmp_path, "127.0.0.2", USER, ["anna@contoso.com"], text)
    assert attachment(house.at("submission", b"<large@").text) == hashlib.sha256(octets).hexdigest()
    assert relay.peak - before < 16 * 1024
    texts = {f"at-once-{number}": scan(f"at-once-{number}", 7_000_000) for number in range(6)}
    with ThreadPoolExecutor(6) as devices:
        for _ in devices.map(lambda one: send("smtplib", relay.port, tmp_path, AT_MX, USER, ["a@contoso.com"], one[0]),
                             texts.values()):  # fmt: skip
            pass
    for marker, (_, octets) in texts.items():
        arrived = house.at("direct-send", f"<{marker}@".encode())
        assert attachment(arrived.text) == hashlib.sha256(octets).hexdigest()
    assert relay.peak - before < 24 * 1024
