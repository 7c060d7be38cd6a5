"""Signing in to Office 365 without a password: tokens for XOAUTH2, through msal.

An application signs in for itself (client secret or certificate), or a person does once with a code on any browser
(`sign_in`), and the relay renews it from then on. msal blocks, so it works in a thread that nobody has to wait for, and
is made anew for each request: the secret is read anew, and msal's own memory of refusals is in nobody's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msal
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relayprobe.office365.clouds import CLOUDS, Cloud, CloudName
from relayprobe.office365.sign_in import MAY_BE_BLOCKED
from relayprobe.relay.secrets import Origin, SecretError, read, read_private
from relayprobe.relay.token_cache import IN_MEMORY, Cache
from relayprobe.relay.token_host import SignInFailed, TokenHost, refused, timed_out
from relayprobe.report.visible import visible

EARLY = 300.0
"""Seconds before its end at which a token is renewed."""

PAUSE = 15.0
"""Seconds that a token host in trouble is left alone, unless it names its own time."""

FORCED_APART = 60.0
"""Seconds within which one forced renewal serves all: the connections of a route are refused together."""

WARN_DAYS = 30

_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_AUTHORITY = re.compile(r"https://[^/\s?#@]+/[^/\s?#@]+")
_ANYBODY = ("common", "organizations", "consumers")

# At DEBUG it logs device codes and client assertions.
logging.getLogger("msal").setLevel(logging.WARNING)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Application:
    """What is registered in Entra. With a secret or a certificate it signs in for itself, else a person signs in.

    `user`: the mailbox. `certificate`: a PEM file with the key and the certificate. `authority`: where tokens come
    from, if not from the cloud's host. `ca_file`: a root certificate beside the system's. `scope`: if not the cloud's.
    """

    tenant: str
    client_id: str
    cloud: CloudName = "worldwide"
    secret: Origin | None = None
    certificate: Path | None = None
    user: str = ""
    authority: str | None = None
    ca_file: Path | None = None
    scope: str | None = None

    def __post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            raise ValueError(f"{self.tenant!r} is no tenant: write its id, or a domain of it such as contoso.com")
        if self.secret and self.certificate:
            raise ValueError("an application signs in with a secret or with a certificate: leave one away")
        if self.alone and self.tenant in _ANYBODY:
            raise ValueError(f"the tenant {self.tenant} is for people: write the tenant's id, or a domain of it")
        if self.authority is not None and not _AUTHORITY.fullmatch(self.authority):
            raise ValueError(f"{self.authority!r} is no authority: write one such as https://login.example/tenant")

    @property
    def alone(self) -> bool:
        """Whether it signs in for itself, without a person."""
        return self.secret is not None or self.certificate is not None

    @property
    def asked_at(self) -> str:
        """The URL of the authority."""
        return self.authority or f"https://{self._cloud.authority}/{self.tenant}"

    @property
    def scopes(self) -> list[str]:
        """What a token is asked for."""
        return [self.scope or (self._cloud.application if self.alone else self._cloud.delegated)]

    @property
    def _cloud(self) -> Cloud:
        return CLOUDS[self.cloud]


@dataclass(frozen=True, slots=True, repr=False)
class Grant:
    """A token, and the seconds it is good for. Never stored, never shown."""

    token: str
    lifetime: float

    def __repr__(self) -> str:
        return f"Grant({self.lifetime:.0f} s)"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who signed in, and what to tell the person."""

    account: str
    says: str


class Tokens:
    """The tokens of one application: kept in memory, renewed early, asked for by one caller for all."""

    def __init__(
        self,
        application: Application,
        cache: Cache | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout: float = 60.0,
        early: float = EARLY,
    ) -> None:
        self._application = application
        self._cache = cache or Cache()
        self._clock = clock
        self._timeout = timeout
        self._early = early
        self._grant: Grant | None = None
        self._renew_at = self._ends_at = 0.0
        self._forced_at: float | None = None
        self._trouble: SignInFailed | None = None
        self._ask_at = 0.0
        self._asking: asyncio.Task[Grant | SignInFailed] | None = None

    def changed(self) -> bool:
        """Whether somebody has signed in, in another process, since the sign-in was last used."""
        return not self._application.alone and self._cache.changed()

    async def token(self, force: bool = False) -> str:
        """A token that is good for a while. `force`: even if the one at hand should be, for it was refused.

        Raises SignInFailed.
        """
        if self.changed():
            self._grant = self._trouble = self._forced_at = None
        if self._asking is None:
            now = self._clock()
            if self._grant and not self._due(now, force):
                return self._grant.token
            if self._trouble and now < self._ask_at:
                return self._last_one(now, force, self._trouble)
            self._asking = asyncio.create_task(self._ask(force))
        match await asyncio.shield(self._asking):
            case Grant(token=token):
                return token
            case SignInFailed() as failure:
                return self._last_one(self._clock(), force, failure)

    def _due(self, now: float, force: bool) -> bool:
        if force:
            return self._forced_at is None or now - self._forced_at >= FORCED_APART
        return now >= self._renew_at

    def _last_one(self, now: float, force: bool, failure: SignInFailed) -> str:
        """While the host is in trouble, a token that has not ended is as good as a new one. A refusal leaves none."""
        if self._grant and not force and now < self._ends_at:
            return self._grant.token
        raise failure.again()

    async def _ask(self, force: bool) -> Grant | SignInFailed:
        """One request, whose outcome is a value: its callers may all be gone by then."""
        try:
            outcome: Grant | SignInFailed = await _asked(
                lambda: _acquired(self._application, self._cache, self._timeout), self._application, self._timeout
            )
        except SignInFailed as failure:
            outcome = failure.again()
        finally:
            self._asking = None
        now = self._clock()
        match outcome:
            case Grant(lifetime=lifetime):
                self._grant = outcome
                self._ends_at = now + lifetime
                self._renew_at = self._ends_at - min(self._early, lifetime / 2)
                self._trouble = None
                self._forced_at = now if force else None
            case SignInFailed(kind="later"):
                self._trouble = outcome
                self._ask_at = now + (PAUSE if outcome.retry_after is None else outcome.retry_after)
            case SignInFailed():
                self._grant = self._trouble = None
        return outcome


async def sign_in(
    application: Application,
    show: Callable[[str], None],
    cache: Cache,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    timeout: float = 60.0,
) -> SignedIn:
    """Let a person sign in: `show` tells where to enter which code, and the sign-in is kept in `cache`.

    Raises SignInFailed.
    """
    if application.alone:
        raise SignInFailed(
            "stop",
            "nobody has to sign in, for the application has a secret or certificate of its own: "
            "`relayprobe login` is for one without",
            "no-login",
        )
    await _asked(cache.check, application, timeout)  # before the person goes to the trouble
    fresh = msal.SerializableTokenCache()  # one sign-in takes the place of another
    with TokenHost(application.ca_file, timeout) as host:
        app = await _asked(lambda: _public(application, host, fresh), application, timeout)
        result = await _with_code(app, application, show, sleep, timeout)
    if not isinstance(result.get("access_token"), str):
        raise refused(result, more=MAY_BE_BLOCKED)
    await _asked(lambda: cache.store(fresh, over=True), application, timeout)
    accounts = app.get_accounts()
    account = visible(str(accounts[0].get("username") or "")) if accounts else ""
    return SignedIn(account, _greeting(application, account, cache))


async def _with_code(
    app: msal.PublicClientApplication,
    application: Application,
    show: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]],
    timeout: float,
) -> dict[str, Any]:
    """Show the code, and poll until it was entered, refused or has ended. Trouble on the way is waited out."""
    flow: dict[str, Any] = await _asked(lambda: app.initiate_device_flow(application.scopes), application, timeout)
    if "user_code" not in flow or "device_code" not in flow:
        raise refused(flow, more=MAY_BE_BLOCKED)
    place, code = visible(str(flow.get("verification_uri", "")))[:200], visible(str(flow["user_code"]))[:50]
    show(f"To sign in, open {place} in any browser and enter the code {code}")

    def poll() -> dict[str, Any]:
        found: dict[str, Any] = app.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)
        return found

    while True:
        try:
            result = await _asked(poll, application, timeout)
            if result.get("error") not in ("authorization_pending", "slow_down"):
                return result
        except SignInFailed as failure:
            if failure.kind == "stop" or time.time() >= flow["expires_at"]:
                raise
        if time.time() >= flow["expires_at"]:  # which msal made of `expires_in` by this clock
            return {"error": "expired_token"}
        await sleep(min(max(flow["interval"], 1), 60))


def _greeting(application: Application, account: str, cache: Cache) -> str:
    says = [f"Signed in as {account or 'somebody whose name was not told'}."]
    if application.user and account.lower() != application.user.lower():
        says.append(f"Mail is sent as {application.user}: this account must be a delegate of that mailbox.")
    if not cache.kept:
        says.append(IN_MEMORY)
    return " ".join(says)


def expiry_warning(now: datetime.date, expires: datetime.date, what: str = "the client secret") -> str | None:
    """What to say of a secret or certificate that ends within 30 days, or has ended."""
    days = (expires - now).days
    if days > WARN_DAYS:
        return None
    fix = (
        "make a new one in the Entra admin center (App registrations > Certificates & secrets) and put it in its place"
    )
    if days < 0:
        return f"{what} expired on {expires}: {fix}"
    return f"{what} expires on {expires}, {'today' if days == 0 else f'in {days} day' + 's' * (days > 1)}: {fix}"


def certificate_expires(path: Path) -> datetime.date:
    """The day on which an application's certificate ends. Raises SecretError."""
    return _key_pair(path)[1].not_valid_after_utc.date()


# In the thread


async def _asked(work: Callable[[], T], application: Application, timeout: float) -> T:
    """The result of blocking work, as it comes in time. Raises SignInFailed.

    In a thread that ends with the process: a token host that stalls must not keep the relay from stopping.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="token", daemon=True).start()
    try:
        async with asyncio.timeout(timeout):
            return await done
    except TimeoutError:
        raise timed_out(application.asked_at) from None
    except SecretError as error:
        raise SignInFailed("stop", f"no token, for {error}", "secret") from None
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, msal.exceptions.MsalError):
        # msal's ways of saying that an answer is not what it should be; its words may quote the answer.
        says = "no token, for the token host's answer is not understood: check `tenant` and `authority`"
        raise SignInFailed("later", says, "not-oauth") from None


def _acquired(application: Application, cache: Cache, timeout: float) -> Grant:
    credential, secret = _credential(application)
    with TokenHost(application.ca_file, timeout, secret) as host:
        if credential is None:
            return _renewed(application, cache, host)
        app = msal.ConfidentialClientApplication(
            application.client_id,
            client_credential=credential,
            authority=application.asked_at,
            http_client=host,
            instance_discovery=False,  # the host is ours or the table's: no other has to vouch for it
        )
        return _grant(app.acquire_token_for_client(application.scopes), secret)


def _renewed(application: Application, cache: Cache, host: TokenHost) -> Grant:
    kept = cache.load()
    app = _public(application, host, kept)
    accounts = app.get_accounts()
    result = (
        app.acquire_token_silent_with_error(application.scopes, accounts[0], force_refresh=True) if accounts else None
    )
    if result is None:
        raise SignInFailed("stop", "no token, for nobody has signed in: run `relayprobe login`", "no-sign-in")
    if kept.has_state_changed:
        with contextlib.suppress(SecretError):  # the token is good all the same, and so is the old refresh token
            cache.store(kept)
    return _grant(result)


def _public(
    application: Application, host: TokenHost, cache: msal.SerializableTokenCache
) -> msal.PublicClientApplication:
    return msal.PublicClientApplication(
        application.client_id,
        authority=application.asked_at,
        http_client=host,
        token_cache=cache,
        instance_discovery=False,
    )


def _grant(result: dict[str, Any], secret: str = "") -> Grant:
    if "error" in result:
        raise refused(result, secret)
    token = result["access_token"]
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise ValueError("no token")
    return Grant(token, max(0.0, float(result.get("expires_in", 0))))


def _credential(application: Application) -> tuple[str | dict[str, Any] | None, str]:
    """What msal signs in with, and the secret that must not be repeated in messages."""
    if application.secret is not None:
        secret = read(application.secret)
        return secret, secret
    if application.certificate is not None:
        key, certificate = _key_pair(application.certificate)
        public = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return {"private_key": key, "public_certificate": public}, ""  # msal takes its SHA-256 thumbprint
    return None, ""


def _key_pair(path: Path) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    found = read_private(path, "the certificate")
    try:
        key = serialization.load_pem_private_key(found, None)
        certificate = x509.load_pem_x509_certificate(found)
    except (ValueError, TypeError):
        key = certificate = None  # type: ignore[assignment]
    if certificate is None:
        raise SecretError(f"the certificate {path} must be PEM, with the certificate and its key without a passphrase")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecretError(f"the certificate {path} must have an RSA key: make one with `openssl req -x509 -newkey rsa`")
    if key.public_key() != certificate.public_key():
        raise SecretError(f"the key in {path} does not belong to the certificate in it: put the pair into one file")
    return key, certificate
