"""A session with made-up names: to be shown to people who need not know who sends mail to whom.

It is the session that is changed, and the report is made of what came of it, so no sentence can bring a name back. A
name has the same substitute wherever it stands, and one that is like it: a host stays in its domain, a private address
is private, what a rule minds in a name is in its substitute too. The subject and the text of a message are masked
letter by letter. Names that are nobody's stay as they are: Microsoft's, and those of books.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from relayprobe.advice.findings import Finding
from relayprobe.office365.replies import ANSWERS
from relayprobe.report.masked import changed, masked, masked_text, masked_words
from relayprobe.wire import command
from relayprobe.wire.codec import from_object, to_object
from relayprobe.wire.events import (
    MASK,
    Body,
    Connected,
    Credentials,
    Event,
    Line,
    TlsFailed,
    TlsHello,
)
from relayprobe.wire.secret import unbase64
from relayprobe.wire.session import Session
from relayprobe.wire.visit import Visit

ENDING = "anon"
"""The ending of made-up domains. There is no such one, and no rule takes it for a mistake."""

_KEPT = (
    "office365.com office.com office365.us outlook.com outlook.office.com outlook.de hotmail.com live.com msn.com "
    "microsoft.com microsoftonline.com microsoftonline.us exchangelabs.com windows.net azure.com azurecomm.net "
    "partner.outlook.cn relayprobe.local gmail.com googlemail.com yahoo.com icloud.com gmx.de gmx.net web.de "
    "email.com example.com example.net example.org localhost.localdomain"
).split()
_OF_TENANT = re.compile(
    r"(?P<tenant>[^.]+)\.(?P<rest>(?:[\w-]+\.)?(?:mail\.protection\.[\w.]+|mx\.microsoft|onmicrosoft\.(?:com|us)))",
    re.I,
)
_KEPT_ENDINGS = frozenset("local localdomain lan internal home arpa localhost example test invalid".split())
_SECOND_LEVEL = frozenset("co com net org gov edu ac or ne".split())
_FROM_THE_FACTORY = re.compile(
    r"(RNP|KM|Canon|EPSON|SEC|NPI|BRN|BRW|BRO|XRX|XC|ET|LXK|SHARP|OKI-?)([0-9A-F]{6,12})", re.I
)
_DOTLESS = frozenset(("localhost", "localhost6"))

_COMMON = frozenset(
    word
    for line in (
        *(answer.line for answer in ANSWERS),
        "relayprobe local ESMTP SMTP ready Hello SIZE PIPELINING DSN ENHANCEDSTATUSCODES STARTTLS AUTH LOGIN PLAIN "
        "XOAUTH2 CRAM-MD5 NTLM 8BITMIME BINARYMIME CHUNKING SMTPUTF8 HELP VRFY Sender Recipient OK Ready to start TLS "
        "Authentication successful Start mail input end with captured by in session not sent on Service closing "
        "transmission channel Username Password com net org de it fr uk at ch nl eu www smtp mail mx from envelope",
    )
    for word in re.findall(r"[A-Za-z0-9]+", line.lower())
)
"""Words of replies. Where one of them is a name too, it tells nothing there."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NO_GUID = "00000000-0000-0000-0000-000000000000"

_ADDRESS = r"(?P<local>[^\s<>()\[\]:;,\"'`\\@]+)@(?P<at>\[[^\]\s]*\]|[^\s<>()\[\]:;,\"'`\\@]+)"
_IP = (
    r"(?P<ip>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"
    r"|(?:(?<=IPv6:)|(?<![\w.:]))[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}(?![\w:]))"
)
_HOST = r"(?<![\w.-])(?P<host>(?:[^\W_][\w-]*\.)+[^\W\d_][\w-]*[^\W_])(?![\w-])"
_NAMES = re.compile("|".join((_ADDRESS, _IP, _HOST)))

# Header fields, and parameters of them, that name nobody.
_AS_THEY_ARE = frozenset("date mime-version content-transfer-encoding".split())
_OF_PROGRAMS = frozenset("x-mailer user-agent".split())
_OF_PARTS = frozenset("content-type content-disposition".split())
_PARAMETER = re.compile(r'(?i)(;\s*)(?!(?:charset|format|delsp|type|report-type)\b)([\w*-]+)(\s*=\s*)("[^"]*"|[^;\s]*)')
_OF_OTHERS = re.compile(rb"(?:GET|POST|HEAD|CONNECT|OPTIONS|USER|PASS|CAPA|HELLO)\b", re.IGNORECASE)


class Anonymous:
    """Makes names up. What it is given first gets the first numbers, so the same session comes out the same."""

    def __init__(self, session: Session, others: Iterable[str] = ()) -> None:
        """`others`: names beside those of the session, as of the accounts."""
        self._users: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._domains: dict[str, str] = {}
        self._ips: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._words: dict[str, Callable[[str], str]] = {}
        self._pattern: re.Pattern[str] | None = None
        for name in (*_named(session), *others):
            self._meet(name)
        alone = sorted((re.escape(word) for word in self._words), key=lambda word: (-len(word), word))
        if alone:
            self._pattern = re.compile(rf"(?<![^\W_])(?:{'|'.join(alone)})(?![^\W_])", re.IGNORECASE)

    # Texts

    def text(self, text: str) -> str:
        """A text with every name that is known, or looks like one, made up."""
        made, at = [], 0
        for found in _NAMES.finditer(text):
            made += [self._loose(text[at : found.start()]), self._made_up(found)]
            at = found.end()
        return "".join((*made, self._loose(text[at:])))

    def thing(self, thing: Any) -> Any:
        """The same in a JSON object, but for its keys. Events in it are changed as events."""
        if isinstance(thing, str):
            return self.text(thing)
        if isinstance(thing, Mapping):
            if "kind" in thing and "at" in thing:
                return to_object(self.event(from_object(thing)))
            return {key: value if key == "id" else self.thing(value) for key, value in thing.items()}
        if isinstance(thing, (list, tuple)):
            return [self.thing(one) for one in thing]
        return thing

    def settings(self, thing: Any) -> Any:
        """The same in settings, keys included, for accounts are keys. Paths and numbers of tenants are masked."""
        if isinstance(thing, str):
            if "/" in thing and _ip(thing.partition("/")[0]) is None:
                return masked(thing)
            return _GUID.sub(_NO_GUID, self.text(thing))
        if isinstance(thing, Mapping):
            return {self.text(key): self.settings(value) for key, value in thing.items()}
        if isinstance(thing, (list, tuple)):
            return [self.settings(one) for one in thing]
        return thing

    def octets(self, raw: bytes) -> bytes:
        """The same in octets."""
        return self.text(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    # Sessions

    def session(self, session: Session) -> Session:
        """A session in which no name is left."""
        site = session.site
        found = changed(session, lambda event, goes_on: self.event(event, within_text=goes_on))
        domains, accounts = tuple(map(self._domain, site.domains)), tuple(map(self.user, site.accounts))
        public_ip, mx = self._maybe(site.public_ip), self._maybe(site.mx)
        return replace(found, site=replace(site, domains=domains, accounts=accounts, public_ip=public_ip, mx=mx))

    def visit(self, visit: Visit) -> Visit:
        """A visit of the same device."""
        return replace(
            visit, name=self.greeting(visit.name), user=None if visit.user is None else self.user(visit.user)
        )

    def event(self, event: Event, *, within_text: bool = False) -> Event:
        """An event in which no name is left. `within_text`: a message that goes on, without its header."""
        match event:
            case Connected(peer=peer, listener=listener):
                return replace(event, peer=self.text(peer), listener=self.text(listener))
            case Line(sender="client", raw=raw):
                return replace(event, raw=self._command(raw))
            case Line(raw=raw):
                return replace(event, raw=self._reply(raw))
            case Credentials(raw=raw, user=user):
                shown = None if user is None else self.user(user)
                return replace(event, raw=self._tokens(raw), user=shown)
            case Body(raw=raw):
                return replace(event, raw=masked_text(raw, self.field, header=not within_text))
            case TlsHello(hello=hello) if hello is not None and hello.sni:
                name = self.text(hello.sni)
                return event if name == hello.sni else replace(event, raw=b"", hello=replace(hello, sni=name))
            case TlsFailed(reason=reason):
                return replace(event, reason=self.text(reason))
            case _:
                return event

    def user(self, user: str) -> str:
        """A user name, which may be an address, or have a domain of Windows in front."""
        if "@" in user:
            return self.text(user)
        domain, bar, name = user.rpartition("\\")
        end = name[len(name.rstrip("\r\n")) :]
        name = name.removesuffix(end)
        return (self._host(domain) if domain else "") + bar + (self._local(name) if name else "") + end

    def greeting(self, name: str) -> str:
        """What a device calls itself. Of what no host can be called, the signs stay: a rule minds them."""
        if _names_nobody(name) or _keeps(name):
            return name
        if whole := _NAMES.fullmatch(name.removeprefix("[").removesuffix("]")):
            return name.replace(whole[0], self._made_up(whole))
        if name.startswith("[") and _NAMES.search(name):
            return self.text(name)
        if re.fullmatch(r"[^\W_](?:[\w-]*[^\W_])?", name):
            return self._host(name)
        return re.sub(r"[^\W_]+", lambda run: run[0] if run[0].isdigit() else self._host(run[0]), name)

    def field(self, name: str, value: str) -> str:
        """A line of a header field: addresses and hosts are made up, what else is in it is masked."""
        if name in _AS_THEY_ARE:
            return value
        if name in _OF_PROGRAMS:
            return self.text(value)
        if name in _OF_PARTS:
            return _PARAMETER.sub(lambda found: f"{found[1]}{found[2]}{found[3]}{masked(found[4])}", value)
        made, at = [], 0
        for found in _NAMES.finditer(value):
            made += [masked_words(value[at : found.start()]), self._made_up(found)]
            at = found.end()
        return "".join((*made, masked_words(value[at:])))

    def _command(self, raw: bytes) -> bytes:
        said = command.parse(raw)
        if raw.startswith(command.PROXY_V2):
            return raw[:16] + bytes(max(0, len(raw) - 16))  # it may be cut short
        if raw.startswith(b"PROXY ") or _OF_OTHERS.match(raw):
            return self.octets(raw)
        if not said.known:
            return raw if raw.strip(b"\r\n") == MASK else masked(raw.decode("latin-1")).encode("latin-1", "replace")
        begin = raw.upper().find(said.verb)
        head = raw[: begin + len(said.verb)]
        rest = raw[len(head) :]
        if said.verb in (b"HELO", b"EHLO", b"LHLO"):
            name = command.decoded(said.argument)
            return raw.replace(said.argument, self.greeting(name).encode("utf-8", "surrogateescape")) if name else raw
        if said.verb in (b"MAIL", b"RCPT"):
            before, colon, path = rest.partition(b":")
            return head + before + colon + self._path(path) if colon else head + self._path(rest)
        return head + self.octets(rest)

    def _path(self, raw: bytes) -> bytes:
        """What stands behind MAIL FROM: or RCPT TO:. An address without a domain is a name alone."""
        text = raw.decode("utf-8", "surrogateescape")
        alone = re.fullmatch(r"(\s*<?)([^\s<>@]+)(>?(?:\s.*)?)", text, re.S)
        if alone and not _NAMES.search(text):
            return (alone[1] + self._local(alone[2]) + alone[3]).encode("utf-8", "surrogateescape")
        return self.octets(raw)

    def _reply(self, raw: bytes) -> bytes:
        if raw.startswith(b"334 "):
            return self._tokens(raw)
        head = raw[:4] if raw[:3].isdigit() else b""
        return head + self.octets(raw[len(head) :])

    def _tokens(self, raw: bytes) -> bytes:
        """A line of a login: a name in base64 is made up, too."""
        return re.sub(rb"[^\s]+", self._token, raw)

    def _token(self, found: re.Match[bytes]) -> bytes:
        token = found[0]
        inner = unbase64(token) if len(token) >= 4 and token != MASK else None
        if inner is None:
            return self.octets(token)
        try:
            said = inner.decode()
        except UnicodeDecodeError:
            return token
        made = self.user(said) if said.lower() in self._users else self.text(said)
        return token if made == said else b64encode(made.encode())

    def _maybe(self, name: str | None) -> str | None:
        return None if name is None else self.text(name)

    # Names

    def _meet(self, name: str) -> None:
        """Give a name its number, and note what of it may stand alone in a text."""
        if "@" in name:
            self.text(name)
            local, _, domain = name.rpartition("@")
            self._alone(local, self._local)
            name = domain
        elif "." not in name and ":" not in name:
            *windows, user = name.split("\\")
            self._alone(user, self._local)
            for domain in windows:
                self._alone(domain, self._host)
            return
        self.text(name)
        if _keeps(name) or _ip(name.strip("[]")) is not None:
            return
        hosts, domain = _parted(name.lower())
        for label in hosts:
            self._alone(label, self._host)
        self._alone(domain.partition(".")[0], lambda word: self._domain(domain).partition(".")[0])

    def _alone(self, word: str, make: Callable[[str], str]) -> None:
        key = word.lower()
        if len(key) > 1 and not key.isdigit() and key not in _COMMON and not _names_nobody(word):
            make(word)
            self._words.setdefault(key, make)

    def _loose(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._words[found[0].lower()](found[0]), text)

    def _made_up(self, found: re.Match[str]) -> str:
        if found["local"] is not None:
            at = found["at"]
            domain = self.text(at) if at.startswith("[") else self._domain(at)
            return f"{self._local(found['local'])}@{domain}"
        if found["ip"] is not None:
            return self._address(found["ip"])
        return self._domain(found["host"])

    def _local(self, name: str) -> str:
        """The part of an address in front of the @, or a user's name."""
        if name.lower() == "postmaster":  # every domain has one
            return name
        if name.lower().startswith("npi"):
            return self._numbered(self._users, name, "npi")
        return self._numbered(self._users, name, "user") if name.lower() not in self._hosts else self._host(name)

    def _host(self, name: str) -> str:
        if factory := _FROM_THE_FACTORY.fullmatch(name):
            number = self._hosts.setdefault(name.lower(), str(self._next("device")))
            return factory[1] + number.zfill(len(factory[2]))
        return self._numbered(self._hosts, name, "host")

    def _domain(self, name: str) -> str:
        """A host or domain. A domain's made-up name is its own, and a host's is in it."""
        dot = "." if name.endswith(".") else ""
        lower = name.lower().rstrip(".")
        if _keeps(lower):
            return name
        if tenant := _OF_TENANT.fullmatch(lower):
            # A tenant's host names its domain with dashes for dots.
            known = next((d for d in self._domains if d.replace(".", "-") == tenant["tenant"]), None)
            label = (
                self._domains[known].replace(".", "-")
                if known
                else self._numbered(self._hosts, tenant["tenant"], "tenant")
            )
            return f"{label}.{tenant['rest']}{dot}"
        if "." not in lower:
            return self._host(name)
        hosts, domain = _parted(lower)
        if domain not in self._domains:
            ending = domain.rpartition(".")[2]
            odd = _odd(domain.partition(".")[0])
            kept = ending if ending in _KEPT_ENDINGS else ENDING
            self._domains[domain] = f"domain{self._next('domain')}{odd}.{kept}"
        return ".".join((*map(self._host, hosts), self._domains[domain])) + dot

    def _address(self, text: str) -> str:
        address = _ip(text)
        if address is None or address.is_loopback or address.is_unspecified:
            return text
        if text not in self._ips:
            kind, form = _made_of(address)
            self._ips[text] = form(self._next(kind))
        return self._ips[text]

    def _numbered(self, known: dict[str, str], name: str, word: str) -> str:
        key = name.lower()
        if key not in known:
            known[key] = f"{word}{self._next(word)}{_odd(name)}"
        return known[key]

    def _next(self, kind: str) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]


def lost(before: Iterable[Finding], after: Iterable[Finding]) -> tuple[str, ...]:
    """The rules that hang on a name: they were seen before it was made up, and are not any more."""
    still = {finding.rule.id for finding in after}
    return tuple(finding.rule.id for finding in before if finding.rule.id not in still)


def _named(session: Session) -> Iterator[str]:
    """The names in a session, in the order in which they come: addresses, hosts, users."""
    for place in (session.peer, session.listener):
        yield place.rpartition("://")[2].rpartition(":")[0]
    yield from session.site.domains
    for greeting in session.greetings:
        if greeting.name and not _names_nobody(greeting.name):
            yield greeting.name
    for _, sent in session.hellos:
        if sent.hello and sent.hello.sni:
            yield sent.hello.sni
    for attempt in session.auths:
        if attempt.user and attempt.user.strip():
            yield attempt.user.strip()
    for envelope in session.envelopes:
        yield envelope.sender
        for recipient in envelope.recipients:
            yield from recipient.path.addresses
        if envelope.message:
            for name in ("From", "Sender", "Reply-To", "To", "Cc", "Return-Path"):
                yield from envelope.message.addresses(name)
    yield from session.site.accounts
    yield from (name for name in (session.site.mx, session.site.public_ip) if name)


def _names_nobody(name: str) -> bool:
    return name.lower() in _DOTLESS or name.lower() in ("", "relayprobe")


def _keeps(name: str) -> bool:
    """Whether a host or domain stays as it is."""
    name = name.lower().rstrip(".")
    if _OF_TENANT.fullmatch(name):
        return False
    return name in _DOTLESS or any(name == kept or name.endswith(f".{kept}") for kept in _KEPT)


def _parted(name: str) -> tuple[list[str], str]:
    """The labels of hosts in front, and the domain."""
    labels = name.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    cut = len(labels) - (3 if deep else 2)
    return labels[: max(0, cut)], ".".join(labels[max(0, cut) :])


def _odd(name: str) -> str:
    """What is unusual in a name: a rule may mind it."""
    odd = dict.fromkeys(
        c if c.isascii() else "\u00e9" for c in name if not (c.isascii() and c.isalnum()) and c not in ".-+"
    )
    return "".join(odd)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _made_of(address: IPv4Address | IPv6Address) -> tuple[str, Callable[[int], str]]:
    """The kind of an address, and what one with a number looks like."""
    if address.version == 4:
        if address.is_link_local:
            return "link", lambda n: f"169.254.99.{n}"
        if address.is_private:
            return "private", lambda n: f"10.99.{n // 256}.{n % 256}"
        return "public", lambda n: f"203.0.113.{n}" if n < 256 else f"198.18.{n // 256}.{n % 256}"
    if address.is_link_local:
        return "link6", lambda n: f"fe80::99:{n:x}"
    if address.is_private:
        return "private6", lambda n: f"fd00:99::{n:x}"
    return "public6", lambda n: f"2001:db8::{n:x}"
