"""Talking HTTPS to the token host for msal: with deadlines, bounded replies, and no redirects.

msal asks for an object with `get` and `post`, and here it is. Whatever is no OAuth answer (no connection, a
certificate that is not trusted, throttling, trouble of the server, something that is not JSON) is raised as
SignInFailed before msal sees it: msal would log a reply that it cannot read, and a reply may have a token in it.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import requests.adapters
import urllib3.exceptions

from relayprobe.office365.sign_in import Kind, named, refusal
from relayprobe.report.visible import visible

LARGEST = 1024 * 1024
LONGEST_WAIT = 3600.0
_LONG = re.compile(r"[A-Za-z0-9_~.+/=-]{40,}")  # tokens and secrets are long, Microsoft's trace ids shorter


class SignInFailed(Exception):
    """No token. `later`: trouble that passes, after `retry_after` seconds if the host said so; `stop`: refused.

    The text says what happened and what to do. `code` is short: AADSTS7000215, invalid_grant, timeout.
    """

    def __init__(self, kind: Kind, says: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(says)
        self.kind = kind
        self.says = says
        self.code = code
        self.retry_after = retry_after

    def again(self) -> SignInFailed:
        """The same for another caller, so that no two share a traceback."""
        return SignInFailed(self.kind, self.says, self.code, self.retry_after)


def refused(answer: Mapping[str, Any], secret: str = "", more: str = "") -> SignInFailed:
    """An OAuth error answer in words. `secret`: what was sent, in case it is in the server's words; `more`: advice."""
    error, description = str(answer.get("error", "")), str(answer.get("error_description", ""))
    known = refusal(error, description)
    code = named(error, description)
    words = cleaned(description or error, secret)
    advice = " ".join(part for part in (known.fix, more if known.kind == "stop" else "") if part)
    says = f"no token, for {known.means}: the token host says `{words}`"
    return SignInFailed(known.kind, f"{says}. {advice}" if advice else says, visible(code)[:60])


def cleaned(words: str, secret: str = "") -> str:
    """A server's words on one line, with nothing in them that acts, and nothing that may be a secret."""
    if secret:
        words = words.replace(secret, "***")
    return visible(" ".join(_LONG.sub("***", words).split()))[:400]


@dataclass(frozen=True, slots=True)
class Answer:
    """What msal wants to know of a reply."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Nothing to raise: what is wrong with a status was said before."""


class TokenHost:
    """The HTTP client that msal is given. Certificates are checked against the system's roots and `ca_file`."""

    def __init__(self, ca_file: Path | None, timeout: float, secret: str = "") -> None:
        self._timeout = timeout
        self._secret = secret
        self._session = requests.Session()
        self._session.mount("https://", _Verified(_trusting(ca_file)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> Answer:
        """Discovery. A tenant that is not there is refused here."""
        answer = self._ask("GET", url, params=params, headers=headers)
        if answer.status_code >= 400:
            raise refused(json.loads(answer.text), self._secret)
        return answer

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any) -> Answer:
        """A request for a token or a device code; an error that OAuth knows is left to msal."""
        return self._ask("POST", url, params=params, data=data, headers=headers)

    def _ask(self, method: str, url: str, **request: Any) -> Answer:
        deadline = time.monotonic() + self._timeout
        try:
            with self._session.request(
                method, url, timeout=self._timeout, allow_redirects=False, stream=True, **request
            ) as reply:
                text = _body(reply, deadline)
                status, headers = reply.status_code, {name.lower(): value for name, value in reply.headers.items()}
        # From None, for these name the request, and the request has the secret.
        except (requests.exceptions.Timeout, TimeoutError):
            raise timed_out(url) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(url, error) from None
        if status == 429 or status >= 500:
            says = f"no token, for {_host(url)} answers HTTP {status}: it will be asked again"
            raise SignInFailed("later", says, f"http-{status}", _retry_after(headers.get("retry-after")))
        if not _is_object(text):
            says = f"no token, for {_host(url)} does not answer as a token host (HTTP {status}): is there a proxy?"
            raise SignInFailed("later", says, "not-oauth")
        return Answer(status, text, headers)


def timed_out(url: str) -> SignInFailed:
    """The token host kept us waiting."""
    return SignInFailed(
        "later", f"no token, for {_host(url)} did not answer in time: it will be asked again", "timeout"
    )


class _Verified(requests.adapters.HTTPAdapter):
    """Certificates are checked by a context of our own, through a proxy too."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        super().init_poolmanager(*sizes, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            says = f"no token, for ca_file {ca_file} cannot be used ({error.strerror}): name a PEM file of certificates"
            raise SignInFailed("stop", says, "ca-file") from None
    return context


def _body(reply: Any, deadline: float) -> str:
    text = b""
    while piece := reply.raw.read1(65536, decode_content=True):
        text += piece
        if len(text) > LARGEST:
            return ""
        if time.monotonic() > deadline:
            raise TimeoutError
    return text.decode("utf-8", "replace")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _retry_after(value: str | None) -> float | None:
    """Seconds. A date, which the header may be as well, counts as nothing said."""
    return min(float(value), LONGEST_WAIT) if value and re.fullmatch(r"\d{1,9}", value) else None


def _host(url: str) -> str:
    return visible(url.partition("://")[2].partition("/")[0])


def _unreachable(url: str, error: BaseException) -> SignInFailed:
    """The innermost reason in words, for requests wraps what urllib3 wrapped."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 10:
        chain.append(inner)
    for found in reversed(chain):
        if isinstance(found, ssl.SSLCertVerificationError):
            says = (
                f"no token, for the certificate of {_host(url)} is not trusted ({visible(found.verify_message)}): if a "
                "proxy looks into TLS here, name its root certificate in ca_file"
            )
            return SignInFailed("later", says, "certificate")
    reasons = [visible(found.strerror) for found in reversed(chain) if isinstance(found, OSError) and found.strerror]
    reason = reasons[0] if reasons else type(chain[-1]).__name__
    says = f"no token, for {_host(url)} cannot be reached ({reason}): check the network, DNS and any proxy"
    return SignInFailed("later", says, "network")
