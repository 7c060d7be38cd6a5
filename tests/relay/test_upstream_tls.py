"""TLS and the login: nothing goes to a stranger, nothing secret in clear, and no secret is ever in the record."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest

from relayprobe.capture.tls import CertificateError
from relayprobe.relay.outcome import Delivered, Fault, Reply, Trouble
from relayprobe.relay.place import NoSecretError, Offers, Place, SignIn, Timeouts
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.relay.record import Record
from relayprobe.relay.sign_in import signed_in
from relayprobe.relay.tls import client_context
from relayprobe.relay.upstream import Upstream
from relayprobe.wire.codec import to_json
from relayprobe.wire.events import Closed, Connected, Credentials, TlsFailed, TlsUp
from tests.relay.scripted import EHLO, Do, Made, Scripted
from tests.relay.test_upstream import QUICK, SHORT, letter

USER = "scanner@contoso.com"
PASSWORD = "Scan-2024!?"
TOKEN = "eyJ0eXAiOiJKV1Qi." + "tok3n" * 300

By = Literal["password", "oauth"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made.at(tmp_path_factory.mktemp("certificates"))


def place(server: Scripted, made: Made, tls: str = "starttls", ca: Path | None = None, **more: object) -> Place:
    context = client_context(ca or made.ca) if tls != "none" else None
    settings: dict[str, object] = {"name": "mail.example", "context": context, **more}
    return Place(host="127.0.0.1", port=server.port, tls=tls, helo="relay", **settings)  # type: ignore[arg-type]


def login(by: By = "password", secret: str | None = None) -> SignIn:
    async def asked() -> str:
        return secret if secret is not None else PASSWORD if by == "password" else TOKEN

    return SignIn(USER, by, asked)


def clean(record: Record) -> None:
    """No secret is in the record, in clear or as base64 at any offset."""
    kept = "\n".join(map(to_json, record.transcript)) + repr(record.transcript)
    for secret in (PASSWORD, TOKEN, TOKEN[:30]):
        assert secret not in kept
        for shift in range(3):
            hidden = b64encode(b"x" * shift + secret.encode()).decode()[4 if shift else 0 : -4]
            assert hidden not in kept


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_tls_then_the_login_then_the_mail(made: Made, tls: str) -> None:
    record = Record()
    async with Scripted(tls=made.server(), implicit=tls == "implicit").running() as server:
        upstream = await Upstream.connect(place(server, made, tls), login(), QUICK, record)
        assert isinstance(upstream, Upstream), upstream
        came = await upstream.send(letter())
        await upstream.quit()
    assert isinstance(came.outcomes[0], Delivered)
    assert upstream.offers.mechanisms == ("LOGIN", "XOAUTH2")
    before = ["EHLO", "STARTTLS"] if tls == "starttls" else []
    assert server.commands[: len(before) + 2] == [*before, "EHLO", "AUTH"]
    assert server.said[len(before) + 2 : len(before) + 4] == [
        b64encode(USER.encode()),
        b64encode(PASSWORD.encode()),
    ]
    clean(record)
    kinds = [type(event) for event in record.transcript]
    assert kinds[0] is Connected
    assert kinds[-1] is Closed
    assert kinds.count(TlsUp) == 1
    [up] = [event for event in record.transcript if isinstance(event, TlsUp)]
    assert up.version in ("TLSv1.2", "TLSv1.3")
    assert up.cipher
    said = [event for event in record.transcript if isinstance(event, Credentials)]
    assert [(event.stage, event.mechanism, event.tls) for event in said] == [
        ("initial", "LOGIN", True),
        ("user", "LOGIN", True),
        ("password", "LOGIN", True),
    ]
    assert said[1].user == USER


# A stranger


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (("mail.example", 30, True), "it has issued itself"),
        (("other.example", 30, False), "it is made out to another name"),
        (("mail.example", -1, False), "it has expired"),
    ],
)
async def test_a_certificate_that_proves_nothing(
    made: Made, tls: str, certificate: tuple[str, int, bool], words: str
) -> None:
    name, days, own = certificate
    record = Record()
    context = made.server(made.issue(name, days=days, own=own))
    async with Scripted(tls=context, implicit=tls == "implicit").running() as server:
        fault = await Upstream.connect(place(server, made, tls), login(), QUICK, record)
    assert isinstance(fault, Fault)
    assert fault.stage == "tls"
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause == "certificate"
    assert words in fault.said.words
    assert "mail.example" in fault.said.words
    assert "AUTH" not in server.commands
    kinds = [type(event) for event in record.transcript]
    assert kinds[0] is Connected
    assert kinds[-2:] == [TlsFailed, Closed]


async def test_an_unknown_authority(made: Made, tmp_path: Path) -> None:
    other = Made.at(tmp_path)
    async with Scripted(tls=other.server()).running() as server:
        fault = await Upstream.connect(place(server, made), login(), QUICK, Record())
    assert isinstance(fault, Fault)
    assert "does not know has issued it" in fault.words


async def test_a_certificate_of_its_own_that_is_pinned(made: Made) -> None:
    own = made.issue("mail.example", own=True)
    async with Scripted(tls=made.server(own)).running() as server:
        upstream = await Upstream.connect(place(server, made, ca=own), login(), QUICK, Record())
        assert isinstance(upstream, Upstream), upstream
        await upstream.quit()


async def test_the_name_is_the_hosts_where_none_is_given(made: Made) -> None:
    async with Scripted(tls=made.server()).running() as server:
        upstream = await Upstream.connect(place(server, made, name=""), None, QUICK, Record())
        assert isinstance(upstream, Upstream), upstream  # 127.0.0.1 is in it
        await upstream.quit()


async def test_our_own_certificate_is_shown_where_it_is_asked_for(made: Made) -> None:
    context = client_context(made.ca, made.issue("contoso.com"))
    async with Scripted(tls=made.server(asks=True)).running() as server:
        upstream = await Upstream.connect(place(server, made, context=context), None, QUICK, Record())
        assert isinstance(upstream, Upstream), upstream
        assert isinstance((await upstream.send(letter())).outcomes[0], Delivered)
        await upstream.quit()
    assert server.certificates == [True]


async def test_a_server_that_asks_for_a_certificate_and_gets_none(made: Made) -> None:
    async with Scripted(tls=made.server(asks=True)).running() as server:
        fault = await Upstream.connect(place(server, made), None, QUICK, Record())
    assert isinstance(fault, Fault)
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause in ("lost", "handshake")  # in TLS 1.3 the server says so behind the handshake


# TLS that is not there


async def test_starttls_that_is_not_offered_sends_nothing(made: Made) -> None:
    async with Scripted().running() as server:
        fault = await Upstream.connect(place(server, made), login(), QUICK, Record())
    assert isinstance(fault, Fault)
    assert fault.stage == "tls"
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause == "no-starttls"
    assert server.commands == ["EHLO", "QUIT"]


@pytest.mark.parametrize("reply", [b"454 4.7.0 no TLS\r\n", b"502 5.5.1 what\r\n", b"421 4.3.2 bye\r\n"])
async def test_starttls_that_is_refused_sends_nothing(made: Made, reply: bytes) -> None:
    async with Scripted(tls=made.server(), on={"STARTTLS": reply}).running() as server:
        fault = await Upstream.connect(place(server, made), login(), QUICK, Record())
    assert isinstance(fault, Fault)
    assert (fault.stage, fault.said) == ("tls", Reply(int(reply[:3]), reply[4:-2].decode()))
    assert server.commands in (["EHLO", "STARTTLS", "QUIT"], ["EHLO", "STARTTLS"])


@pytest.mark.parametrize("behind", [b"250 ok\r\n", b"250-STAR", b"\x16\x03", b"\r\n" * 500])
async def test_clear_text_behind_the_reply_to_starttls_is_a_fault(made: Made, behind: bytes) -> None:
    record = Record()
    async with Scripted(tls=made.server(), behind_starttls=behind).running() as server:
        fault = await Upstream.connect(place(server, made), login(), QUICK, record)
    assert isinstance(fault, Fault)
    assert fault.stage == "tls"
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause == "garbled"
    assert "AUTH" not in server.commands
    assert TlsUp not in [type(event) for event in record.transcript]


@pytest.mark.parametrize("how", [Do.CLOSE, Do.RESET, Do.STALL, Do.SPEW])
async def test_the_reply_to_starttls_may_not_come(made: Made, how: Do) -> None:
    async with Scripted(tls=made.server(), on={"STARTTLS": how}).running() as server:
        fault = await Upstream.connect(place(server, made), login(), SHORT, Record())
    assert isinstance(fault, Fault)
    assert fault.stage == "tls"


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_server_that_speaks_no_tls_after_all(made: Made, tls: str) -> None:
    on = {"BANNER": b"220 hi\r\n220 hi\r\n" * 50} if tls == "implicit" else {}
    offers = (*EHLO, "STARTTLS")
    async with Scripted(on=on, offers=offers).running() as server:
        fault = await Upstream.connect(place(server, made, tls), login(), SHORT, Record())
    assert isinstance(fault, Fault)
    assert fault.stage == "tls"
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause in ("handshake", "timeout")


async def test_what_was_offered_in_clear_counts_for_nothing_inside_tls(made: Made) -> None:
    on = {
        "EHLO": [b"250-hi\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 AUTH LOGIN\r\n", b"250-hi\r\n250 AUTH XOAUTH2\r\n"]
    }
    async with Scripted(tls=made.server(), on=on).running() as server:
        fault = await Upstream.connect(place(server, made), login(), QUICK, Record())
    assert isinstance(fault, Fault)
    assert fault.words == "a login by LOGIN or PLAIN is needed; the server offers XOAUTH2"


async def test_no_login_without_tls_and_not_even_a_connection() -> None:
    async with Scripted(mechanisms="LOGIN PLAIN").running() as server:
        fault = await Upstream.connect(Place("127.0.0.1", server.port, "none", None, "relay"), login(), QUICK, Record())
    assert isinstance(fault, Fault)
    assert fault.stage == "auth"
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause == "clear-text"
    assert server.connections == 0


async def test_the_login_itself_looks_for_tls_too() -> None:
    protocol = UpstreamProtocol(asyncio.get_running_loop(), Record())
    fault = await signed_in(protocol, Offers(mechanisms=("LOGIN",)), login(), QUICK)
    assert isinstance(fault, Fault)
    assert isinstance(fault.said, Trouble)
    assert fault.said.cause == "clear-text"


def test_a_place_with_tls_needs_a_context() -> None:
    with pytest.raises(ValueError, match="context"):
        Place("mail.example", 587, "starttls", None, "relay")


# The login

LOGINS = pytest.mark.parametrize(
    ("by", "mechanisms"), [("password", "LOGIN PLAIN XOAUTH2"), ("password", "PLAIN"), ("oauth", "LOGIN XOAUTH2")]
)


@LOGINS
async def test_each_mechanism(made: Made, by: By, mechanisms: str) -> None:
    record = Record()
    async with Scripted(tls=made.server(), mechanisms=mechanisms).running() as server:
        upstream = await Upstream.connect(place(server, made), login(by), QUICK, record)
        assert isinstance(upstream, Upstream), upstream
        await upstream.send(letter())
        await upstream.quit()
    wanted = {
        "LOGIN PLAIN XOAUTH2": [b"AUTH LOGIN", b64encode(USER.encode()), b64encode(PASSWORD.encode())],
        "PLAIN": [b"AUTH PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode())],
        "LOGIN XOAUTH2": [b"AUTH XOAUTH2", b64encode(f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01".encode())],
    }[mechanisms]
    at = server.said.index(wanted[0])
    assert server.said[at : at + len(wanted)] == wanted
    clean(record)


@LOGINS
@pytest.mark.parametrize(
    "reply",
    [
        b"535 5.7.3 Authentication unsuccessful [SY5P282CA0097]\r\n",
        b"550 5.7.30 Basic authentication is not supported for Client Submission.\r\n",
        b"454 4.7.0 Temporary authentication failure\r\n",
        b"421 4.7.66 TLS 1.0 and 1.1 are not supported.\r\n",
    ],
)
async def test_a_refused_login(made: Made, by: By, mechanisms: str, reply: bytes) -> None:
    record = Record()
    async with Scripted(tls=made.server(), mechanisms=mechanisms, on={"LOGIN": reply}).running() as server:
        fault = await Upstream.connect(place(server, made), login(by), QUICK, record)
    assert fault == Fault("auth", Reply(int(reply[:3]), reply[4:-2].decode()))
    assert "MAIL" not in server.commands
    clean(record)


@LOGINS
@pytest.mark.parametrize("stage", ["AUTH", "LOGIN1", "LOGIN2", "LOGIN"])
@pytest.mark.parametrize(
    "step", [Do.CLOSE, Do.STALL, Do.SPEW, b"250 ok\r\n", b"235 in\r\n235 in\r\n", b"504 5.7.4 no\r\n", b"what\r\n"]
)
async def test_a_login_that_goes_wrong(made: Made, by: By, mechanisms: str, stage: str, step: bytes | Do) -> None:
    record = Record()
    async with Scripted(tls=made.server(), mechanisms=mechanisms, on={stage: step}).running() as server:
        upstream = await Upstream.connect(place(server, made), login(by), SHORT, record)
        # Some answers are not asked for by some mechanisms.
        comes_up = stage in {"LOGIN PLAIN XOAUTH2": "AUTH LOGIN1 LOGIN2", "PLAIN": "AUTH"}.get(
            mechanisms, "AUTH LOGIN1"
        )
        if isinstance(upstream, Upstream):
            assert not (comes_up or stage == "LOGIN") or (isinstance(step, bytes) and step.startswith(b"235"))
            await upstream.quit()
        else:
            assert upstream.stage == "auth"
    clean(record)


@LOGINS
@pytest.mark.parametrize("stage", ["LOGIN", "MAIL"])
async def test_a_server_that_says_the_secret_back(made: Made, by: By, mechanisms: str, stage: str) -> None:
    secret = PASSWORD if by == "password" else TOKEN
    payloads = (
        f"\0{USER}\0{PASSWORD}" if by == "password" else f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01",
        secret,
    )
    echoes = [secret, *(b64encode(payload.encode()).decode() for payload in payloads)]
    if mechanisms.startswith("LOGIN PLAIN"):
        del echoes[1]  # this one was never sent
    reply = "".join(f"501-5.5.4 what is {echo}\r\n" for echo in echoes) + "501 5.5.4 end\r\n"
    record = Record()
    on = {stage: reply.encode()}
    async with Scripted(tls=made.server(), mechanisms=mechanisms, on=on).running() as server:  # type: ignore[arg-type]
        upstream = await Upstream.connect(place(server, made), login(by), QUICK, record)
        came: object = upstream
        if isinstance(upstream, Upstream):
            came = await upstream.send(letter())
            await upstream.quit()
    clean(record)
    assert secret not in repr(came)
    assert b64encode(secret.encode()).decode()[:20] not in repr(came)


@LOGINS
@pytest.mark.parametrize("line", ["{} is wrong\r\n", "5{}\r\n", "535-no\r\n{}\r\n"])
async def test_a_server_that_says_the_secret_where_its_code_should_be(
    made: Made, by: By, mechanisms: str, line: str
) -> None:
    secret = PASSWORD if by == "password" else TOKEN
    record = Record()
    on = {"LOGIN": line.format(secret).encode()}
    async with Scripted(tls=made.server(), mechanisms=mechanisms, on=on).running() as server:  # type: ignore[arg-type]
        came = await Upstream.connect(place(server, made), login(by), QUICK, record)
    clean(record)
    assert secret[:4] not in repr(came)
    assert secret[:4] not in repr(record.transcript[-3:])


async def test_a_secret_that_looks_like_a_reply_is_hushed_too(made: Made) -> None:
    record = Record()
    on = {"LOGIN": b"535 sesame is wrong\r\n"}
    async with Scripted(tls=made.server(), mechanisms="LOGIN", on=on).running() as server:
        came = await Upstream.connect(place(server, made), login(secret="535 sesame"), QUICK, record)
    assert isinstance(came, Fault)
    assert "sesame" not in repr(came) + repr(record.transcript)


async def test_the_challenge_of_xoauth2_is_answered_and_kept(made: Made) -> None:
    says = {"status": "400", "schemes": "Bearer", "scope": "https://mail.example/"}
    challenge = b"334 " + b64encode(json.dumps(says).encode()) + b"\r\n"
    on = {"LOGIN1": challenge, "LOGIN": b"535 5.7.3 Authentication unsuccessful\r\n"}
    record = Record()
    async with Scripted(tls=made.server(), on=on).running() as server:
        fault = await Upstream.connect(place(server, made), login("oauth"), QUICK, record)
    assert isinstance(fault, Fault)
    assert fault.said == Reply(535, "5.7.3 Authentication unsuccessful")
    assert json.loads(fault.detail) == says
    assert '"status": "400"' in fault.words
    assert server.said[-2:] == [b"", b"QUIT"]
    clean(record)


@pytest.mark.parametrize(("lasting", "cause"), [(True, "no-secret"), (False, "no-secret-yet")])
async def test_where_there_is_no_secret_nothing_is_tried(made: Made, lasting: bool, cause: str) -> None:
    async def none() -> str:
        raise NoSecretError("AADSTS7000222: the client secret has expired", lasting=lasting)

    async with Scripted(tls=made.server()).running() as server:
        fault = await Upstream.connect(place(server, made), SignIn(USER, "oauth", none), QUICK, Record())
    trouble = Trouble(cause, "AADSTS7000222: the client secret has expired")  # type: ignore[arg-type]
    assert fault == Fault("auth", trouble)
    assert "AUTH" not in server.commands


async def test_a_failure_of_ours_while_the_secret_is_asked_for_closes_the_connection(made: Made) -> None:
    async def broken() -> str:
        raise KeyError("a bug")

    record = Record()
    async with Scripted(tls=made.server()).running() as server:
        with pytest.raises(KeyError):
            await Upstream.connect(place(server, made), SignIn(USER, "oauth", broken), QUICK, record)
    assert isinstance(record.transcript[-1], Closed)


async def test_the_secret_is_asked_for_at_each_connection(made: Made) -> None:
    asked: list[Callable[[], Awaitable[str]]] = []

    async def secret() -> str:
        asked.append(secret)
        return PASSWORD

    async with Scripted(tls=made.server()).running() as server:
        for _ in range(2):
            upstream = await Upstream.connect(place(server, made), SignIn(USER, "password", secret), QUICK, Record())
            assert isinstance(upstream, Upstream)
            await upstream.quit()
    assert len(asked) == 2


def test_a_login_shows_no_secret() -> None:
    assert repr(login()) == "SignIn(user='scanner@contoso.com', by='password')"


# Contexts


def test_what_is_wrong_with_the_files_is_told(tmp_path: Path, made: Made) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    opened = tmp_path / "open.pem"
    opened.write_bytes(made.issue("contoso.com").read_bytes())
    opened.chmod(0o644)
    for arguments, words in [
        ((tmp_path / "none.pem",), r"none\.pem cannot be read: check that the file exists"),
        ((empty,), r"empty\.pem cannot be used: `ca_file` must hold"),
        ((made.ca, tmp_path / "none.pem"), r"the certificate .*none\.pem cannot be read"),
        ((made.ca, None, empty), r"the key .*empty\.pem has no certificate"),
        ((made.ca, opened), r"can be read by others: run `chmod 600"),
        ((made.ca, made.ca), r"chmod 600|cannot be used"),
    ]:
        with pytest.raises(CertificateError, match=words):
            client_context(*arguments)


def test_a_context_takes_nothing_below_tls_12(made: Made) -> None:
    context = client_context(made.ca)
    assert context.minimum_version.name == "TLSv1_2"
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_the_patience_is_that_of_the_standard() -> None:
    patience = Timeouts()
    assert (patience.banner, patience.command, patience.data, patience.block, patience.end_of_data) == (
        300,
        300,
        120,
        180,
        600,
    )  # RFC 5321 4.5.3.2
