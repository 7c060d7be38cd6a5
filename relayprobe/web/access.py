"""Who may see the page: everything is asked for here, before any page or answer is made.

A web site that is open in the administrator's browser can send requests to this server, and can have its own name lead
to this address (DNS rebinding). So the Host must be an address or a name that was named, no other origin may ask for
anything but the pages a person can click to, and nothing is answered without the token of this start or the password.
A browser is given a cookie for the token, so that the token stays in no history, and whatever it changes carries a
second secret that other sites cannot read.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relayprobe.relay.logins import Logins
from relayprobe.tongue import preferred, said
from relayprobe.web.answers import Sign, problem, sign_in_page

SESSIONS = 100
LASTING = 12 * 3600.0
"""Browsers that are signed in at once, and for how many seconds without a look at the page."""

BODY = 64 * 1024
"""Octets of a request's body."""

BODY_PATIENCE = 10.0
"""Seconds in which it must have come."""

QUERY = 4 * 1024

FREE = ("/livez", "/readyz")
"""What is answered without a token: monitoring asks for it, and it tells nothing of anybody."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
    "trusted-types relayprobe"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send `Origin: null` with our own forms, too
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


@dataclass
class Access:
    """Who may come. `hosts`: names besides addresses and localhost; `path`: the sub-path that all is under."""

    token: str | None = field(repr=False)
    password: str | None = field(default=None, repr=False)  # its argon2 hash
    hosts: tuple[str, ...] = ()
    port: int = 0
    tls: bool = False
    path: str = ""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._logins = Logins({"": self.password}) if self.password else None
        self._sessions: OrderedDict[str, float] = OrderedDict()  # ids of browsers, with when they were last here
        self._key = secrets.token_bytes(32)

    @property
    def cookie(self) -> str:
        """The name of the cookie: browsers keep one jar for all ports of a host."""
        return f"relayprobe-{self.port}"

    def knows_host(self, host: str) -> bool:
        """Whether a Host header is of this server. An address cannot be led elsewhere; a name can."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in (known.lower() for known in self.hosts):
            return True
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True

    def has_token(self, given: str) -> bool:
        """Whether this is the token; takes as long for one that is nearly right."""
        return self.token is not None and hmac.compare_digest(self.token.encode(), given.encode("utf-8", "replace"))

    async def has_password(self, host: str, given: str) -> str:
        """`good`, `wrong`, or `later` for a host that has guessed too often."""
        return await self._logins.check(host, "", given) if self._logins is not None else "wrong"

    @property
    def asks_for_password(self) -> bool:
        """Whether there is a password to sign in with."""
        return self._logins is not None

    def begin(self) -> str:
        """A new signed-in browser."""
        id = secrets.token_urlsafe(32)
        self._sessions[id] = self.clock()
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return id

    def end(self, id: str) -> None:
        """It signs out."""
        self._sessions.pop(id, None)

    def knows(self, id: str) -> bool:
        """Whether a browser is signed in."""
        seen, now = self._sessions.get(id), self.clock()
        if seen is None:
            return False
        if now - seen > LASTING:
            self.end(id)
            return False
        self._sessions[id] = now
        self._sessions.move_to_end(id)
        return True

    def csrf(self, id: str) -> str:
        """What a browser's forms carry, so that they are known for ours."""
        return hmac.digest(self._key, id.encode(), "sha256").hex()


class Guard:
    """ASGI middleware: lets pass who may, and puts the headers that browsers heed on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # no web sockets: uvicorn is told so, too
        prefix = self._access.path
        path = scope["path"]
        if prefix and (path == prefix or path.startswith(prefix + "/")):  # some proxies keep it, some take it off
            scope["path"] = path[len(prefix) :] or "/"
        headers = Headers(scope=scope)
        request = Request(scope)
        chosen = request.query_params.get("lang") or request.cookies.get("relayprobe-lang")
        request.state.tongue = preferred(chosen, headers.get("accept-language"))
        request.state.base = prefix
        request.state.csrf = ""
        request.state.signed_in = False

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if name not in told:
                        told[name] = value
            await send(message)

        answer = self._refusal(request)
        if answer is None:
            answer, receive = await self._admitted(request, receive)
        if answer is not None:
            await answer(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        """What is wrong with the request, whoever sends it."""
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return problem(
                request,
                421,
                said(
                    "the page is not called so: open it by the address that was printed, or put the name into `hosts` "
                    "in [web]"
                ),
            )
        if request.method not in ("GET", "HEAD", "POST"):
            return problem(request, 405, said("only GET, HEAD and POST are answered"), Allow="GET, HEAD, POST")
        if "transfer-encoding" in headers and "content-length" in headers:  # a proxy may have seen another end of it
            return problem(request, 400, said("the request says twice how long it is"), Connection="close")
        if len(request.url.query) > QUERY:
            return problem(request, 414, said("the query is too long: leave some of it out"))
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return problem(request, 403, said("another web site asks for this, and may not"))
        site = headers.get("sec-fetch-site", "same-origin")
        clicked = (
            request.method == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
            and not request.url.path.startswith("/api/")
        )
        if site not in ("same-origin", "none") and not clicked:
            return problem(request, 403, said("another web site asks for this, and may not"))
        return None

    async def _admitted(self, request: Request, receive: Receive) -> tuple[Response | None, Receive]:
        """An answer to who may not come, and to who comes in; None for whoever may go on."""
        access, path = self._access, request.scope["path"]
        if path in FREE or path.startswith("/static/"):
            return None, receive
        body = b""
        if request.method == "POST":
            try:
                async with asyncio.timeout(BODY_PATIENCE):
                    read = await _body(receive)
            except TimeoutError:
                return problem(request, 408, said("the request took too long"), Connection="close"), receive
            if read is None:
                return problem(request, 413, said("the request is too large"), Connection="close"), receive
            body, receive = read, _again(read)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=50)) if _is_form(request) else {}
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.has_token(bearer.strip()):
            return None, receive
        given = request.query_params.get("token")
        if given is not None and access.has_token(given):
            if path.startswith("/api/") or path == "/metrics" or request.method == "POST":
                return None, receive
            return self._welcome(request, _without_token(request)), receive
        sessions = _cookies(request, access.cookie)
        session = next((id for id in sessions if access.knows(id)), None)
        if session is not None:
            request.state.csrf = access.csrf(session)
            request.state.signed_in = True
            if request.method == "POST":
                carried = request.headers.get("x-csrf") or form.get("csrf", "")
                if not hmac.compare_digest(carried.encode(), request.state.csrf.encode()):
                    return problem(
                        request, 403, said("the form is too old: load the page again, and try once more")
                    ), receive
            if path == "/sign-out" and request.method == "POST":
                access.end(session)
                return self._asked(request, 200, "out"), receive
            return None, receive
        if path == "/sign-in" and request.method == "POST" and access.asks_for_password:
            host = request.client.host if request.client else ""
            match await access.has_password(host, form.get("password", "")):
                case "good":
                    return self._welcome(request, f"{access.path}/"), receive
                case "later":
                    return self._asked(request, 429, "later"), receive
                case _:
                    return self._asked(request, 401, "wrong"), receive
        return self._asked(request, 401, "wrong" if given is not None else "in"), receive

    def _asked(self, request: Request, status: int, sign: Sign) -> Response:
        """Somebody must sign in first."""
        path = request.scope["path"]
        if path.startswith("/api/") or path == "/metrics":
            return problem(
                request,
                status,
                said("give the token that was printed at the start, as `Authorization: Bearer` or `?token=`"),
                **{"WWW-Authenticate": "Bearer"},
            )
        return sign_in_page(request, status, sign, self._access.asks_for_password, self._access.token is not None)

    def _welcome(self, request: Request, to: str) -> Response:
        answer = RedirectResponse(to, 303)
        access = self._access
        answer.set_cookie(
            access.cookie, access.begin(), path=access.path or "/", httponly=True, samesite="strict", secure=access.tls
        )
        return answer


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


def _without_token(request: Request) -> str:
    rest = [(key, value) for key, value in parse_qsl(request.url.query, keep_blank_values=True) if key != "token"]
    path = request.scope["path"]
    if path.startswith("//") or "\\" in path:  # a browser would take it for another host
        path = "/"
    return f"{request.state.base}{path}{f'?{urlencode(rest)}' if rest else ''}"


def _cookies(request: Request, name: str) -> list[str]:
    found = []
    for header in request.headers.getlist("cookie")[:5]:
        for part in header[:QUERY].split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    return found[:5]


async def _body(receive: Receive) -> bytes | None:
    """The body; None where it is larger than it may be."""
    octets = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(octets)
        octets += message.get("body", b"")
        if len(octets) > BODY:
            return None
        if not message.get("more_body"):
            return bytes(octets)


def _again(body: bytes) -> Receive:
    """The body once more, for whoever reads it next; then nothing until the client has gone."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
