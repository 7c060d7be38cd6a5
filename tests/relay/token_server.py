"""A token host for tests: real HTTPS on loopback, in a thread, speaking what msal speaks.

It issues tokens for client credentials (secret or signed assertion), device codes and refresh tokens, and does whatever
trouble it is told to. `with TokenServer(folder) as host:` and `host.authority`, `host.ca_file`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from relayprobe.capture.tls import own_certificate

TENANT = "contoso.test"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
Answer = tuple[int, dict[str, Any], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with /token. `refuse` answers `status` with the error; `raw` answers with that text."""

    kind: Literal["refuse", "stall", "drop", "raw", "redirect"]
    status: int = 400
    error: str = ""
    description: str = ""
    retry_after: str | None = None
    text: str = ""  # of `redirect`, the place to go to


class TokenServer:
    """The host. What it does can be changed between requests; `asked` holds the form of each request for a token."""

    def __init__(self, folder: Path, *, tenant: str = TENANT, port: int = 0) -> None:
        certificate, key = own_certificate(folder, "token.test")
        self.ca_file = folder / "ca.pem"
        self.tenant = tenant
        self.lifetime = 3600
        self.secrets: dict[str, str] = {}
        self.certificates: dict[str, x509.Certificate] = {}
        self.people = {"app-device": "anna@contoso.test"}  # client id: who signs in with it
        self.code_lifetime = 900
        self.pending = 0  # polls before the code is entered
        self.trouble: Trouble | None = None  # of /token
        self.device_trouble: Trouble | None = None  # of /devicecode
        self.discovery_trouble: Trouble | None = None
        self.asked: list[dict[str, str]] = []
        self.issued: list[str] = []
        self.refresh_tokens: list[str] = []
        self.revoked: set[str] = set()
        self.waiting = threading.Event()  # set while a request is stalled
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Request)
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.context.load_cert_chain(certificate, key)
        self._server.host = self
        self.port = self._server.server_address[1]
        self.base = f"https://127.0.0.1:{self.port}/{tenant}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def authority(self) -> str:
        return self.base

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the requests under way

    def refuse(self, error: str, description: str = "", status: int = 400, retry_after: str | None = None) -> None:
        """From now on, /token answers so."""
        self.trouble = Trouble("refuse", status, error, description, retry_after)

    def release(self) -> None:
        """Let stalled requests go."""
        self._released.set()

    def revoke(self) -> None:
        """No refresh token that was issued is taken any more."""
        with self._lock:
            self.revoked.update(self.refresh_tokens)

    def answer(self, method: str, path: str, form: dict[str, str]) -> Answer | Trouble:
        """What a request is answered."""
        match method, path.removeprefix(f"/{self.tenant}"):
            case "GET", "/v2.0/.well-known/openid-configuration":
                return self.discovery_trouble or (200, self._configuration(), {})
            case "POST", "/devicecode":
                return self.device_trouble or (200, self._device_code(form), {})
            case "POST", "/token":
                with self._lock:
                    self.asked.append(form)
                    return self.trouble or self._token(form)
        return 404, {"error": "invalid_tenant", "error_description": "no such tenant"}, {}

    def stall(self) -> None:
        self.waiting.set()
        self._released.wait(60)

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": f"{self.base}/v2.0",
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "device_authorization_endpoint": f"{self.base}/devicecode",
        }

    def _device_code(self, form: dict[str, str]) -> dict[str, Any]:
        return {
            "device_code": "device-code-for-" + form["client_id"],
            "user_code": "QWER-1234",
            "verification_uri": "https://login.test/device",
            "expires_in": self.code_lifetime,
            "interval": 1,
        }

    def _token(self, form: dict[str, str]) -> Answer:
        match form:
            case {"grant_type": "client_credentials", "client_id": client, "client_assertion": assertion}:
                return self._asserted(client, assertion)
            case {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}:
                if self.secrets.get(client) != secret:
                    return _refused("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
                return 200, self._issue(), {}
            case {"grant_type": grant, "client_id": client, "device_code": code} if grant == DEVICE:
                if self.pending > 0:
                    self.pending -= 1
                    return _refused("authorization_pending", "AADSTS70016: waiting")
                if code != "device-code-for-" + client:
                    return _refused("invalid_grant", "no such code")
                return 200, self._issue_to(client), {}
            case {"grant_type": "refresh_token", "client_id": client, "refresh_token": token}:
                if token not in self.refresh_tokens or token in self.revoked:
                    return _refused("invalid_grant", "AADSTS50173: The grant has been revoked.")
                return 200, self._issue_to(client), {}
        return _refused("invalid_request", "not understood")

    def _asserted(self, client: str, assertion: str) -> Answer:
        certificate = self.certificates.get(client)
        if certificate is None:
            return _refused("unauthorized_client", "AADSTS700016: no such application", 400)
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        if jwt.get_unverified_header(assertion).get("x5t#S256", "").rstrip("=") != thumbprint:
            return _refused("invalid_client", "AADSTS700027: the certificate is not registered", 401)
        try:
            jwt.decode(
                assertion,
                certificate.public_key(),  # type: ignore[arg-type]
                algorithms=["PS256"],
                audience=f"{self.base}/token",
                issuer=client,
            )
        except jwt.InvalidTokenError:
            return _refused("invalid_client", "AADSTS700027: the assertion is not signed by the certificate", 401)
        return 200, self._issue(), {}

    def _issue(self) -> dict[str, Any]:
        self.issued.append(f"access-token-{self.port}-{len(self.issued) + 1}")
        return {"token_type": "Bearer", "access_token": self.issued[-1], "expires_in": self.lifetime}

    def _issue_to(self, client: str) -> dict[str, Any]:
        self.refresh_tokens.append(f"refresh-token-{self.port}-{len(self.refresh_tokens) + 1}")
        return self._issue() | {
            "refresh_token": self.refresh_tokens[-1],
            "scope": "openid profile offline_access",
            "client_info": _encoded({"uid": "anna", "utid": self.tenant}),
            "id_token": ".".join(
                [_encoded({"alg": "none"}), _encoded({"sub": "anna", "preferred_username": self.people[client]}), ""]
            ),
        }


def _refused(error: str, description: str, status: int = 400) -> Answer:
    return status, {"error": error, "error_description": description}, {}


def _encoded(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    context: ssl.SSLContext
    host: TokenServer

    def finish_request(self, request: Any, client_address: Any) -> None:
        with (
            contextlib.suppress(OSError),  # it hung up, or would not trust us
            self.context.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer({name: values[0] for name, values in parse_qs(text).items()})

    def _answer(self, form: dict[str, str]) -> None:
        send: Callable[[int, str, dict[str, str]], None] = self._send
        match self.server.host.answer(self.command, self.path, form):
            case Trouble(kind="stall"):
                self.server.host.stall()
            case Trouble(kind="drop"):
                pass  # hangs up without a word
            case Trouble(kind="redirect", text=place):
                send(307, "{}", {"Location": place})
            case Trouble(kind="raw", status=status, text=text):
                send(status, text, {})
            case Trouble(status=status, error=error, description=description, retry_after=wait):
                body = json.dumps({"error": error, "error_description": description})
                send(status, body, {"Retry-After": wait} if wait else {})
            case status, body, headers:
                send(status, json.dumps(body), headers)

    def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
