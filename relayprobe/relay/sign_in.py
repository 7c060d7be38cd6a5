"""The login at the other side, by the one mechanism that fits: LOGIN or PLAIN with a password, XOAUTH2 with a token.

Office 365 offers LOGIN and XOAUTH2. XOAUTH2 goes in two steps, for a token is longer than a command may be; a server
that answers it with a challenge gets the empty line that it waits for, and what the challenge says is kept.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode

from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from relayprobe.relay.outcome import Fault, Reply, Said, Trouble
from relayprobe.relay.place import NoSecretError, Offers, SignIn, Timeouts
from relayprobe.relay.protocol import UpstreamProtocol
from relayprobe.report.visible import visible
from relayprobe.wire.secret import unbase64

MECHANISMS = {"password": ("LOGIN", "PLAIN"), "oauth": ("XOAUTH2",)}
"""Those that we can make, the first that is offered goes."""

CHALLENGE_LIMIT = 500
"""Characters of a challenge that are kept."""


async def signed_in(protocol: UpstreamProtocol, offers: Offers, login: SignIn, timeouts: Timeouts) -> Fault | None:
    """Log in. None once it is done, the fault where it is not."""
    if not protocol.secure:
        return Fault("auth", Trouble("clear-text", "the login was not made, for the connection has no TLS"))
    mechanism = next((name for name in MECHANISMS[login.by] if name in offers.mechanisms), None)
    if mechanism is None:
        wanted = " or ".join(MECHANISMS[login.by])
        offered = ", ".join(offers.mechanisms) or "none"
        return Fault("auth", Trouble("no-mechanism", f"a login by {wanted} is needed; the server offers {offered}"))
    secret = await _secret(login, timeouts.command)
    if isinstance(secret, Trouble):
        return Fault("auth", secret)
    attempt = _Attempt(protocol, login.user, secret, timeouts.command)
    said = await {"LOGIN": attempt.login, "PLAIN": attempt.plain, "XOAUTH2": attempt.xoauth2}[mechanism]()
    if isinstance(said, Reply):
        if said.code == 235:
            return None
        if said.code < 400:
            said = Trouble("garbled", f"the server answered the login out of turn: {said.line}")
    return Fault("auth", said, detail=attempt.challenge)


async def _secret(login: SignIn, timeout: float) -> str | Trouble:
    try:
        async with asyncio.timeout(timeout) as waiting:
            return await login.secret()
    except NoSecretError as error:
        return Trouble("no-secret" if error.lasting else "no-secret-yet", str(error))
    except TimeoutError:
        if not waiting.expired():
            raise
        return Trouble("no-secret-yet", f"no password or token came within {timeout:g} seconds")


class _Attempt:
    """One login."""

    def __init__(self, protocol: UpstreamProtocol, user: str, secret: str, timeout: float) -> None:
        self.challenge = ""
        self._protocol = protocol
        self._user = user
        self._secret = secret
        self._timeout = timeout
        protocol.hush(secret.encode(), b64encode(secret.encode()))

    async def login(self) -> Said:
        user, password = auth_login_encode(self._user, self._secret)
        said = await self._ask(b"AUTH", b"LOGIN")
        for answer in (user, password):
            if not _goes_on(said):
                break
            said = await self._ask(answer)
        return said

    async def plain(self) -> Said:
        answer = auth_plain_encode(self._user, self._secret)
        self._protocol.hush(answer)
        return await self._ask(b"AUTH", b"PLAIN", answer)

    async def xoauth2(self) -> Said:
        answer = auth_xoauth2_encode(self._user, self._secret)
        self._protocol.hush(answer)
        said = await self._ask(b"AUTH", b"XOAUTH2")
        if _goes_on(said):
            said = await self._ask(answer)
        if isinstance(said, Reply) and said.code == 334:
            challenge = unbase64(said.text.strip().encode())
            self.challenge = visible(challenge if challenge is not None else said.text)[:CHALLENGE_LIMIT]
            self.challenge = self.challenge.replace(self._secret, "********")
            said = await self._ask(b"")
        return said

    async def _ask(self, *words: bytes) -> Said:
        return await self._protocol.ask(*words, timeout=self._timeout)


def _goes_on(said: Said) -> bool:
    return isinstance(said, Reply) and said.code == 334
