"""The logins of devices towards the relay: passwords kept as argon2 hashes, and a limit on guessing.

A hash costs time and memory on purpose, so two are worked out at once at most, beside the event loop, and a login that
was right is remembered as a keyed digest: a scanner that logs in for each page pays once. A host that failed too often
is told to come back later, without a look at what it sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Literal

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

Checked = Literal["good", "wrong", "later"]

FAILURES = 10
WINDOW = 900.0
HOSTS = 10_000
"""Hosts whose failures are remembered; one too many, and the host that failed longest ago is forgotten."""

AT_ONCE = 2
MOST_MEMORY = 256 * 1024  # KiB, for one verification
MOST_PASSES = 16

# OWASP's password storage advice: 19 MiB, two passes, one lane.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class LoginError(Exception):
    """A login in the settings cannot be used; the text names the user and the way out."""


def hashed(password: str) -> str:
    """The hash of a password, for the settings."""
    return _HASHER.hash(_octets(password))


class Logins:
    """Who may log in. User names are the same in upper and lower case."""

    def __init__(self, hashes: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        """Raises LoginError."""
        self._hashes = {user.lower(): _checked(user, kept) for user, kept in hashes.items()}
        self._clock = clock
        self._nobody = _like(next(iter(self._hashes.values()), None))
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"Logins({len(self._hashes)})"

    async def check(self, host: str, user: str, password: str) -> Checked:
        """Whether a login is right. An unknown user costs as much time as a wrong password."""
        user, where = user.lower(), _place(host)
        if self._guessed_enough(where):
            return "later"
        digest = hmac.digest(self._key, _octets(password), "sha256")
        known = self._known.get(user)
        if known is not None and hmac.compare_digest(known, digest):
            return "good"
        async with self._turn:
            if self._guessed_enough(where):  # while it waited for its turn
                return "later"
            right = await asyncio.to_thread(_verified, self._hashes.get(user, self._nobody), password)
        if right and user in self._hashes:
            self._known[user] = digest
            return "good"
        self._note_failure(where)
        return "wrong"

    def _guessed_enough(self, where: str) -> bool:
        failures = self._failed.get(where)
        if failures is None:
            return False
        since = self._clock() - WINDOW
        while failures and failures[0] <= since:
            failures.popleft()
        if not failures:
            del self._failed[where]
        return len(failures) >= FAILURES

    def _note_failure(self, where: str) -> None:
        self._failed.setdefault(where, deque(maxlen=FAILURES)).append(self._clock())
        self._failed.move_to_end(where)
        if len(self._failed) > HOSTS:
            self._failed.popitem(last=False)


def _verified(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, _octets(password))
    except (VerificationError, InvalidHashError):
        return False


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # what a device sent need not be UTF-8


def _checked(user: str, kept: str) -> str:
    parameters = None
    with contextlib.suppress(InvalidHashError, ValueError):  # not raised from it: here may stand the password itself
        parameters = argon2.extract_parameters(kept)
    if parameters is None:
        raise LoginError(f"the login {user} has no argon2 hash: make one with `relayprobe password`")
    if parameters.memory_cost > MOST_MEMORY or parameters.time_cost > MOST_PASSES:
        raise LoginError(f"the hash of the login {user} costs too much: make another with `relayprobe password`")
    return kept


def _like(kept: str | None) -> str:
    """The hash of a password that nobody has, as costly as those of the logins."""
    hasher = argon2.PasswordHasher.from_parameters(argon2.extract_parameters(kept)) if kept else _HASHER
    return hasher.hash(secrets.token_hex(32))


def _place(host: str) -> str:
    """What counts as one host: an address, but of IPv6 the network, for there one host has as many as it likes."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
