"""Tokens from a real token host on loopback: issued, renewed, refused, and nowhere to be seen."""

from __future__ import annotations

import asyncio
import base64
import datetime
import logging
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from relayprobe.capture.tls import own_certificate
from relayprobe.office365.clouds import CLOUD_NAMES, CLOUDS
from relayprobe.office365.sign_in import CODES, ERRORS
from relayprobe.relay.oauth import (
    Application,
    Grant,
    Tokens,
    certificate_expires,
    expiry_warning,
    sign_in,
)
from relayprobe.relay.secrets import Origin, SecretError
from relayprobe.relay.token_cache import IN_MEMORY, Cache
from relayprobe.relay.token_host import SignInFailed, cleaned, refused
from tests.relay.token_server import TokenServer, Trouble

SECRET = "the~client.secret-value"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("token-host")
    own_certificate(folder, "token.test")
    return folder


@pytest.fixture
def host(authority: Path) -> Iterator[TokenServer]:
    with TokenServer(authority) as server:
        server.secrets["app"] = SECRET
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def with_secret(host: TokenServer, secret: str = SECRET) -> Application:
    origin = Origin(literal=SecretStr(secret))
    return Application("contoso.test", "app", secret=origin, authority=host.authority, ca_file=host.ca_file)


def for_a_person(host: TokenServer, user: str = "anna@contoso.test") -> Application:
    return Application("contoso.test", "app-device", user=user, authority=host.authority, ca_file=host.ca_file)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(Fernet.generate_key() + b"\n")
    path.chmod(0o600)
    return path


async def failure(tokens: Tokens, force: bool = False) -> SignInFailed:
    with pytest.raises(SignInFailed) as caught:
        await tokens.token(force)
    return caught.value


async def no_sleep(seconds: float) -> None:
    """The test's clock is in no hurry."""


# Tokens


async def test_a_token_is_issued_and_kept_until_five_minutes_before_its_end(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    first = await tokens.token()
    assert first == host.issued[0]
    clock.now += 3600 - 300 - 1
    assert await tokens.token() == first
    clock.now += 1
    assert await tokens.token() == host.issued[1] != first
    assert [form["scope"] for form in host.asked] == ["https://outlook.office365.com/.default"] * 2
    assert {form["grant_type"] for form in host.asked} == {"client_credentials"}


async def test_a_short_lived_token_is_not_asked_for_at_each_turn(host: TokenServer, clock: Clock) -> None:
    host.lifetime = 60
    tokens = Tokens(with_secret(host), clock=clock)
    await tokens.token()
    clock.now += 29
    await tokens.token()
    assert len(host.issued) == 1
    clock.now += 1
    await tokens.token()
    assert len(host.issued) == 2


async def test_a_token_that_was_refused_is_renewed_once_for_all(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    await tokens.token()
    assert await tokens.token(force=True) == host.issued[1]
    assert await tokens.token(force=True) == host.issued[1]
    assert await tokens.token() == host.issued[1]
    assert len(host.asked) == 2
    clock.now += 60
    assert await tokens.token(force=True) == host.issued[2]


async def test_twenty_callers_share_one_request(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {host.issued[0]}
    assert set(await asyncio.gather(*(tokens.token(force=True) for _ in range(20)))) == {host.issued[1]}
    assert len(host.asked) == 2


async def test_twenty_callers_share_one_failure(host: TokenServer, clock: Clock) -> None:
    host.refuse("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", 401)
    tokens = Tokens(with_secret(host), clock=clock)
    outcomes = await asyncio.gather(*(tokens.token() for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {SignInFailed}
    assert len({id(outcome) for outcome in outcomes}) == 20
    assert len(host.asked) == 1


async def test_a_caller_that_gives_up_does_not_spoil_it_for_the_others(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    impatient, patient = asyncio.create_task(tokens.token()), asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == host.issued[0]
    assert impatient.cancelled()
    assert len(host.asked) == 1


async def test_a_rotated_secret_is_taken_without_a_restart(host: TokenServer, clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("wrong\n")
    file.chmod(0o600)
    application = replace(with_secret(host), secret=Origin(file=file))
    tokens = Tokens(application, clock=clock)
    assert (await failure(tokens)).code == "AADSTS7000215"
    file.write_text(f"{SECRET}\n")
    assert await tokens.token() == host.issued[0]


async def test_a_certificate_signs_the_request(host: TokenServer, clock: Clock, tmp_path: Path) -> None:
    pair = certificate(tmp_path / "app", "app")
    host.certificates["app"] = x509.load_pem_x509_certificate(pair.read_bytes())
    application = replace(with_secret(host), secret=None, certificate=pair)
    assert await Tokens(application, clock=clock).token() == host.issued[0]
    assert "client_secret" not in host.asked[0]
    host.certificates["app"] = x509.load_pem_x509_certificate(certificate(tmp_path / "other", "other").read_bytes())
    assert (await failure(Tokens(application, clock=clock))).code == "AADSTS700027"


def certificate(folder: Path, name: str, key_first: bool = True) -> Path:
    """A PEM file with a key and its certificate."""
    folder.mkdir()
    made, key = own_certificate(folder, name)
    parts = [key.read_bytes(), made.read_bytes()]
    pair = folder / "pair.pem"
    pair.touch(0o600)
    pair.write_bytes(b"".join(parts if key_first else reversed(parts)))
    return pair


# Failures


@pytest.mark.parametrize(
    ("error", "description", "status", "code", "fix"),
    [
        ("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401, "AADSTS7000215", "copy the Value"),
        ("invalid_client", "AADSTS7000222: The secret keys are expired.", 401, "AADSTS7000222", "secret_expires"),
        ("invalid_grant", "AADSTS65001: has not consented", 400, "AADSTS65001", "consent"),
        ("unauthorized_client", "AADSTS700016: was not found", 400, "AADSTS700016", "client id"),
        ("invalid_scope", "no", 400, "invalid_scope", "cloud"),
        ("something_new", "nobody knows", 403, "something_new", "nobody knows"),
    ],
)
async def test_what_is_refused_stops(
    host: TokenServer, clock: Clock, error: str, description: str, status: int, code: str, fix: str
) -> None:
    host.refuse(error, description, status)
    failed = await failure(Tokens(with_secret(host), clock=clock))
    assert (failed.kind, failed.code, failed.retry_after) == ("stop", code, None)
    assert fix in failed.says
    assert description in failed.says


@pytest.mark.parametrize(
    ("trouble", "code", "wait"),
    [
        (Trouble("refuse", 429, "throttled", retry_after="120"), "http-429", 120.0),
        (Trouble("refuse", 429, "throttled", retry_after="999999"), "http-429", 3600.0),
        (Trouble("refuse", 429, "throttled", retry_after="Thu, 26 Nov 2026 10:00:00 GMT"), "http-429", None),
        (Trouble("refuse", 500, "server_error"), "http-500", None),
        (Trouble("refuse", 503, "invalid_client", retry_after="7"), "http-503", 7.0),
        (Trouble("refuse", 400, "temporarily_unavailable", "AADSTS90033: later"), "AADSTS90033", None),
        (Trouble("drop"), "network", None),
        (Trouble("raw", 200, text="<html>Welcome to the hotel</html>"), "not-oauth", None),
        (Trouble("raw", 200, text='{"access_token": "cut off in the'), "not-oauth", None),
        (Trouble("raw", 200, text="[]"), "not-oauth", None),
        (Trouble("raw", 200, text="[" * 100_000), "not-oauth", None),
        (Trouble("raw", 200, text="{}"), "not-oauth", None),
        (Trouble("raw", 200, text='{"access_token": 5}'), "not-oauth", None),
        (Trouble("raw", 200, text='{"access_token": "a\\r\\nb", "expires_in": 5}'), "not-oauth", None),
        (Trouble("raw", 200, text='{"access_token": "a", "expires_in": "soon"}'), "not-oauth", None),
        (Trouble("raw", 200, text='{"access_token": "a", "expires_in": 5' + " " * 1_100_000 + "}"), "not-oauth", None),
        (Trouble("raw", 302, text="{"), "not-oauth", None),
    ],
)
async def test_trouble_passes(
    host: TokenServer, clock: Clock, trouble: Trouble, code: str, wait: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    host.trouble = trouble
    tokens = Tokens(with_secret(host), clock=clock)
    failed = await failure(tokens)
    assert (failed.kind, failed.code, failed.retry_after) == ("later", code, wait)
    assert not caplog.records
    asked = len(host.asked)
    host.trouble = None
    clock.now += (15 if wait is None else wait) - 1
    assert (await failure(tokens)).code == code
    assert len(host.asked) == asked  # it is left alone until then
    clock.now += 1
    assert await tokens.token() == host.issued[0]


async def test_while_the_host_is_in_trouble_the_old_token_serves_to_its_end(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    first = await tokens.token()
    host.refuse("server_error", status=500)
    clock.now += 3600 - 100
    assert await tokens.token() == first
    assert await tokens.token() == first
    assert len(host.asked) == 2
    assert (await failure(tokens, force=True)).code == "http-500"
    clock.now += 100
    assert (await failure(tokens)).code == "http-500"


async def test_a_refusal_is_not_hidden_by_the_old_token(host: TokenServer, clock: Clock) -> None:
    tokens = Tokens(with_secret(host), clock=clock)
    await tokens.token()
    host.refuse("invalid_client", "AADSTS7000222: expired", 401)
    clock.now += 3500
    assert (await failure(tokens)).kind == "stop"
    host.trouble = None
    assert await tokens.token() == host.issued[1]


async def test_a_host_that_stalls_is_given_up(host: TokenServer, clock: Clock) -> None:
    host.trouble = Trouble("stall")
    tokens = Tokens(with_secret(host), clock=clock, timeout=0.5)
    failed = await failure(tokens)
    assert (failed.kind, failed.code) == ("later", "timeout")
    host.release()
    host.trouble = None
    clock.now += 15
    assert await Tokens(with_secret(host), clock=clock).token() == host.issued[0]


async def test_a_host_that_is_not_there(host: TokenServer, clock: Clock) -> None:
    application = replace(with_secret(host), authority="https://127.0.0.1:1/tenant")
    failed = await failure(Tokens(application, clock=clock))
    assert (failed.kind, failed.code) == ("later", "network")
    assert "127.0.0.1:1" in failed.says
    assert "refused" in failed.says


async def test_a_host_whose_certificate_nobody_vouches_for(host: TokenServer, clock: Clock) -> None:
    failed = await failure(Tokens(replace(with_secret(host), ca_file=None), clock=clock))
    assert (failed.kind, failed.code) == ("later", "certificate")
    assert "ca_file" in failed.says
    assert not host.asked


async def test_a_root_that_cannot_be_read(host: TokenServer, clock: Clock, tmp_path: Path) -> None:
    failed = await failure(Tokens(replace(with_secret(host), ca_file=tmp_path / "none.pem"), clock=clock))
    assert (failed.kind, failed.code) == ("stop", "ca-file")


async def test_a_host_that_does_not_speak_tls(host: TokenServer, clock: Clock) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is something else\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        application = replace(with_secret(host), authority=f"https://127.0.0.1:{port}/tenant")
        failed = await failure(Tokens(application, clock=clock))
    assert (failed.kind, failed.code) == ("later", "network")


async def test_the_secret_is_not_carried_elsewhere(host: TokenServer, clock: Clock, authority: Path) -> None:
    with TokenServer(authority) as elsewhere:
        host.trouble = Trouble("redirect", text=f"{elsewhere.authority}/token")
        failed = await failure(Tokens(with_secret(host), clock=clock))
        assert failed.kind == "later"
        assert not elsewhere.asked


async def test_a_tenant_that_is_not_there(host: TokenServer, clock: Clock) -> None:
    application = replace(with_secret(host), authority=f"https://127.0.0.1:{host.port}/fabrikam.test")
    failed = await failure(Tokens(application, clock=clock))
    assert failed.kind == "stop"
    assert "no such tenant" in failed.says


async def test_a_discovery_that_names_nothing(host: TokenServer, clock: Clock) -> None:
    host.discovery_trouble = Trouble("raw", 200, text='{"issuer": "x"}')
    assert (await failure(Tokens(with_secret(host), clock=clock))).code == "not-oauth"


async def test_a_secret_that_cannot_be_read_stops(host: TokenServer, clock: Clock, tmp_path: Path) -> None:
    application = replace(with_secret(host), secret=Origin(file=tmp_path / "none"))
    failed = await failure(Tokens(application, clock=clock))
    assert (failed.kind, failed.code) == ("stop", "secret")
    assert str(tmp_path / "none") in failed.says


async def test_the_secret_is_nowhere(host: TokenServer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    application = with_secret(host)
    tokens = Tokens(application, clock=clock)
    token = await tokens.token()
    said = [repr(application), repr(tokens), repr(vars(tokens)), repr(Grant(token, 1.0))]
    for trouble in (
        Trouble("refuse", 400, "invalid_client", f"AADSTS7000215: `{SECRET}` and {'x' * 50} are \x1b[31mwrong\r\n"),
        Trouble("raw", 200, text=f'{{"access_token": "{token}", "expires_in": "{SECRET}"}}'),
        Trouble("raw", 200, text=f'{{"access_token": "{token}'),
        Trouble("refuse", 500, SECRET, SECRET),
        Trouble("drop"),
    ):
        host.trouble = trouble
        failed = await failure(Tokens(application, clock=clock))
        said += [repr(failed), *traceback.format_exception(failed)]
        assert failed.says.isprintable()
    everything = "\n".join([*said, caplog.text])
    for hidden in (SECRET, token, "x" * 50, base64.b64encode(SECRET.encode()).decode()):
        assert hidden not in everything


def test_a_servers_words_are_made_harmless() -> None:
    assert cleaned("a\r\n b\x1b[1m\u202e") == "a b\\x1b[1m\\u202e"
    assert cleaned("x" * 39) == "x" * 39
    assert cleaned("x" * 40) == "***"
    assert cleaned("it was s3cret", "s3cret") == "it was ***"
    assert len(cleaned("word " * 1000)) == 400
    assert refused({}).kind == "stop"


# A person's sign-in


async def test_a_person_signs_in_and_another_process_goes_on(
    host: TokenServer, clock: Clock, tmp_path: Path, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file, origin = tmp_path / "sign-in", Origin(file=key)
    relay = Tokens(for_a_person(host), Cache(file, origin), clock=clock)
    assert (await failure(relay)).code == "no-sign-in"
    assert not relay.changed()

    host.pending = 2
    shown: list[str] = []
    done = await sign_in(for_a_person(host), shown.append, Cache(file, origin), sleep=no_sleep)
    assert done.account == "anna@contoso.test"
    assert done.says == "Signed in as anna@contoso.test."
    assert shown == ["To sign in, open https://login.test/device in any browser and enter the code QWER-1234"]
    assert host.asked[0]["grant_type"].endswith("device_code")

    assert relay.changed()
    assert await relay.token() == host.issued[1]
    assert not relay.changed()
    assert set(host.asked[-1]["scope"].split()) == {
        "https://outlook.office.com/SMTP.Send",
        "offline_access",
        "openid",
        "profile",
    }
    # The refresh token that came with it was written back.
    assert await Tokens(for_a_person(host), Cache(file, origin), clock=clock).token() == host.issued[2]
    assert host.asked[-1]["refresh_token"] == host.refresh_tokens[1]

    assert file.stat().st_mode & 0o777 == 0o600
    sealed = file.read_bytes()
    for hidden in (*host.issued, *host.refresh_tokens, "anna", "device-code-for"):
        assert hidden.encode() not in sealed
        assert hidden == "anna" or hidden not in caplog.text


async def test_a_refresh_token_that_was_revoked_stops_until_somebody_signs_in(
    host: TokenServer, clock: Clock, tmp_path: Path, key: Path
) -> None:
    cache = Cache(tmp_path / "sign-in", Origin(file=key))
    await sign_in(for_a_person(host), lambda _: None, cache, sleep=no_sleep)
    relay = Tokens(for_a_person(host), Cache(tmp_path / "sign-in", Origin(file=key)), clock=clock)
    await relay.token()
    host.revoke()
    failed = await failure(relay, force=True)
    assert (failed.kind, failed.code) == ("stop", "AADSTS50173")
    assert "relayprobe login" in failed.says
    assert not relay.changed()
    await sign_in(for_a_person(host), lambda _: None, cache, sleep=no_sleep)
    assert relay.changed()
    assert await relay.token() == host.issued[-1]


async def test_a_new_sign_in_is_used_at_once(host: TokenServer, clock: Clock, tmp_path: Path, key: Path) -> None:
    login = Cache(tmp_path / "sign-in", Origin(file=key))
    await sign_in(for_a_person(host), lambda _: None, login, sleep=no_sleep)
    relay = Tokens(for_a_person(host), Cache(tmp_path / "sign-in", Origin(file=key)), clock=clock)
    first = await relay.token()
    await sign_in(for_a_person(host), lambda _: None, login, sleep=no_sleep)
    renewed = host.refresh_tokens[-1]
    assert await relay.token() != first
    assert host.asked[-1]["refresh_token"] == renewed


async def test_a_newer_sign_in_is_not_written_over(host: TokenServer, tmp_path: Path, key: Path) -> None:
    file = tmp_path / "sign-in"
    relay, login = Cache(file, Origin(file=key)), Cache(file, Origin(file=key))
    await sign_in(for_a_person(host), lambda _: None, login, sleep=no_sleep)
    old = relay.load()
    await sign_in(for_a_person(host), lambda _: None, login, sleep=no_sleep)
    before = file.read_bytes()
    relay.store(old)
    assert file.read_bytes() == before
    assert relay.changed()


async def test_a_sign_in_without_a_key_lives_in_memory(host: TokenServer, clock: Clock) -> None:
    cache = Cache()
    done = await sign_in(for_a_person(host, "scanner@contoso.test"), lambda _: None, cache, sleep=no_sleep)
    assert done.says.endswith(IN_MEMORY)
    assert "Mail is sent as scanner@contoso.test" in done.says
    tokens = Tokens(for_a_person(host), cache, clock=clock)
    assert await tokens.token() == host.issued[1]
    assert not tokens.changed()
    host.revoke()
    host.refresh_tokens.append("the rotated one")
    assert (await failure(tokens, force=True)).kind == "stop"


async def test_another_key_does_not_open_it(host: TokenServer, clock: Clock, tmp_path: Path, key: Path) -> None:
    file = tmp_path / "sign-in"
    await sign_in(for_a_person(host), lambda _: None, Cache(file, Origin(file=key)), sleep=no_sleep)
    other = Origin(literal=SecretStr(base64.b64encode(b"\xff" * 32).decode()))
    assert "/" in base64.b64encode(b"\xff" * 32).decode()  # as openssl prints it
    relay = Tokens(for_a_person(host), Cache(file, other), clock=clock)
    failed = await failure(relay)
    assert (failed.kind, failed.code) == ("stop", "secret")
    assert "cannot be decrypted" in failed.says
    assert not relay.changed()


async def test_a_key_that_is_none_is_said_before_anybody_signs_in(host: TokenServer, tmp_path: Path) -> None:
    shown: list[str] = []
    cache = Cache(tmp_path / "sign-in", Origin(literal=SecretStr("hunter2"), key="cache_key"))
    with pytest.raises(SignInFailed, match="cache_key is no key: make one with `openssl rand -base64 32`") as caught:
        await sign_in(for_a_person(host), shown.append, cache, sleep=no_sleep)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert not shown


async def test_a_sign_in_that_cannot_be_kept(host: TokenServer, tmp_path: Path, key: Path) -> None:
    cache = Cache(tmp_path / "nowhere" / "sign-in", Origin(file=key))
    with pytest.raises(SignInFailed, match="cannot be kept"):
        await sign_in(for_a_person(host), lambda _: None, cache, sleep=no_sleep)


async def test_a_folder_that_takes_nothing_more_does_not_cost_the_token(
    host: TokenServer, clock: Clock, tmp_path: Path, key: Path
) -> None:
    cache = Cache(tmp_path / "sign-in", Origin(file=key))
    await sign_in(for_a_person(host), lambda _: None, cache, sleep=no_sleep)
    (tmp_path / f".sign-in.{os.getpid()}.new").mkdir()  # in the way of the new file, of root too
    assert await Tokens(for_a_person(host), cache, clock=clock).token() == host.issued[1]


@pytest.mark.parametrize("stage", ["code", "token"])
async def test_a_device_code_that_is_blocked_is_explained(host: TokenServer, stage: str) -> None:
    blocked = Trouble("refuse", 400, "invalid_grant", "AADSTS53003: Access has been blocked.")
    host.device_trouble, host.trouble = (blocked, None) if stage == "code" else (None, blocked)
    with pytest.raises(SignInFailed, match="block sign-in by device code") as caught:
        await sign_in(for_a_person(host), lambda _: None, Cache(), sleep=no_sleep)
    assert (caught.value.kind, caught.value.code) == ("stop", "AADSTS53003")


async def test_a_sign_in_waits_out_trouble_on_the_way(host: TokenServer) -> None:
    troubles = iter([Trouble("drop"), Trouble("refuse", 503, "server_error"), None])
    host.trouble = Trouble("refuse", 429, "throttled", retry_after="1")

    async def meanwhile(seconds: float) -> None:
        assert seconds == 1
        host.trouble = next(troubles)

    done = await sign_in(for_a_person(host), lambda _: None, Cache(), sleep=meanwhile)
    assert done.account == "anna@contoso.test"
    assert len(host.asked) == 4


@pytest.mark.parametrize("trouble", [None, Trouble("drop")])
async def test_a_code_that_nobody_enters_ends(host: TokenServer, trouble: Trouble | None) -> None:
    host.code_lifetime, host.pending, host.trouble = 0, 1000, trouble
    with pytest.raises(SignInFailed) as caught:
        await sign_in(for_a_person(host), lambda _: None, Cache(), sleep=no_sleep)
    assert caught.value.code == ("expired_token" if trouble is None else "network")
    assert len(host.asked) == 1


async def test_an_application_with_a_secret_needs_nobody(host: TokenServer) -> None:
    with pytest.raises(SignInFailed, match="nobody has to sign in"):
        await sign_in(with_secret(host), lambda _: None, Cache())


def test_a_cache_needs_both_a_file_and_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both"):
        Cache(tmp_path / "sign-in")


# Applications, clouds, dates


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tenant": "a/b"}, "is no tenant"),
        ({"tenant": "common"}, "is for people"),
        ({"certificate": Path("c.pem")}, "leave one away"),
        ({"authority": "http://login.test/t"}, "is no authority"),
        ({"authority": "https://login.test"}, "is no authority"),
    ],
)
def test_an_application_that_cannot_be_meant(given: dict[str, Any], says: str) -> None:
    whole: dict[str, Any] = {"tenant": "contoso.test", "client_id": "app", "secret": Origin(env="S")}
    with pytest.raises(ValueError, match=says):
        Application(**(whole | given))


@pytest.mark.parametrize("cloud", CLOUD_NAMES)
def test_a_cloud_decides_whom_to_ask_for_what(cloud: Any) -> None:
    found = CLOUDS[cloud]
    alone = Application("contoso.test", "app", cloud, secret=Origin(env="S"))
    assert alone.asked_at == f"https://{found.authority}/contoso.test"
    assert alone.scopes == [found.application]
    assert found.application.endswith("/.default")
    assert Application("contoso.test", "app", cloud).scopes == [found.delegated]
    assert found.delegated.endswith("/SMTP.Send")
    assert (found.doubt is None) == (cloud == "worldwide")
    assert all(end.startswith(".") for end in found.mx)


def test_every_refusal_says_what_it_means() -> None:
    for known in [*CODES.values(), *ERRORS.values()]:
        assert known.means
        assert known.source
        assert (known.fix == "") == (known.kind == "later")


def test_a_secret_that_ends_soon_is_said() -> None:
    def warned(days: int) -> str:
        return expiry_warning(datetime.date(2027, 1, 1), datetime.date(2027, 1, 1) + datetime.timedelta(days)) or ""

    assert warned(31) == ""
    assert "expires on 2027-01-31, in 30 days: make a new one" in warned(30)
    assert "in 1 day:" in warned(1)
    assert "today" in warned(0)
    assert "expired on 2026-12-31" in warned(-1)


@pytest.mark.parametrize("key_first", [True, False])
def test_a_certificate_says_itself_when_it_ends(tmp_path: Path, key_first: bool) -> None:
    pair = certificate(tmp_path / "app", "app", key_first)
    ends = certificate_expires(pair)
    assert ends == x509.load_pem_x509_certificate(pair.read_bytes()).not_valid_after_utc.date()


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    pair = certificate(tmp_path / "app", "app")
    made = (pair.parent / "cert.pem").read_bytes()
    cases = {
        "must be PEM": b"nothing",
        "must have an RSA key": pem(ec.generate_private_key(ec.SECP256R1())) + made,
        "does not belong": pem(rsa.generate_private_key(65537, 2048)) + made,
    }
    for says, content in cases.items():
        pair.write_bytes(content)
        with pytest.raises(SecretError, match=says):
            certificate_expires(pair)
    pair.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        certificate_expires(pair)


def pem(key: Any) -> bytes:
    found: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return found
