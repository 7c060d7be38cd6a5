"""Whether the mail servers of Office 365 can be reached from here, and whether it is they that answer.

A mode is blocked where none of its ways is open: client submission has two ports, each over IPv4 and IPv6; the MX
endpoint one port. What is wrong with one way while another is open is a warning. A firewall or a proxy that takes part
in the dialogue is told by what it does to it: a greeting written over, keywords written over or taken out, a
certificate of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relayprobe.check.checked import Checked
from relayprobe.check.talk import Heard, observed
from relayprobe.office365 import mx, sources
from relayprobe.office365.modes import AT_MX, Mode
from relayprobe.office365.recognise import recognise
from relayprobe.office365.replies import Answer
from relayprobe.relay.outcome import Reply
from relayprobe.relay.place import Offers
from relayprobe.relay.tls import UNVERIFIED, WRONG_NAME
from relayprobe.tongue import all_of, said

MODES_OF: Mapping[str, tuple[Mode, ...]] = {
    "submission": ("submission",),
    "submission-25": ("submission",),
    "mx": AT_MX,
}
"""The modes that a place serves."""

OURS = re.compile(
    r"\S{1,255}\.(outlook\.office365|mail\.protection\.outlook)\.com Microsoft ESMTP MAIL Service ready", re.IGNORECASE
)
"""office365.md section 6; office365.replies.normal has the forms."""

ALIKE = re.compile(r"\S{1,255} Microsoft ESMTP MAIL Service ready", re.IGNORECASE)
"""A server of Microsoft's make: an Exchange server in the house, or an endpoint whose greeting has not been seen."""

STARRED = re.compile(r"[*\s0-9]{4,}")
CROSSED_OUT = re.compile(r"X{4,}[A-Z]?|\*{4,}", re.IGNORECASE)
"""Cisco writes over the greeting with stars, and over keywords with X."""

SOURCE = f"{sources.SETUP}; nodemailer/nodemailer#1081; cisco.com 118550"
INSPECTION = said(
    "switch the inspection of SMTP off in the firewall or proxy for this connection (Cisco calls it `inspect esmtp`), "
    "or have it let the connection through untouched"
)
WITHOUT_TLS_INSPECTION = said(
    "take this host out of the TLS inspection of the firewall, proxy or virus scanner; until then let no device send a "
    "password there"
)
FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def judged(heard: Sequence[Heard]) -> tuple[Checked, ...]:
    """The checks of all ports. `port:...`, and where a connection came about `greeting:`, `starttls:` and `tls:`, each
    with the place and the family: `tls:submission:ipv4`."""
    open_modes = {mode for one in heard if usable(one) or in_front(one) for mode in MODES_OF[one.target.place]}
    return tuple(_weighed(checked, one, open_modes) for one in heard for checked in _seen(one))


def usable(heard: Heard) -> bool:
    """Whether a device could send this way."""
    if in_front(heard):
        return False
    if heard.tls and heard.tls.up:
        return heard.hello_again is not None
    if heard.target.place != "mx" or heard.hello is None or heard.hello.code != 250 or heard.banner is None:
        return False
    return bool(OURS.match(heard.banner.text) or STARRED.fullmatch(heard.banner.text))


def in_front(heard: Heard) -> bool:
    """Whether another server than Office 365's stands at the MX endpoint, so that nothing of that was reached."""
    if heard.target.place != "mx" or heard.banner is None:
        return False
    if OURS.match(heard.banner.text) or STARRED.fullmatch(heard.banner.text):
        return False
    return mx.kind_of(heard.target.host) == "other"


def _weighed(checked: Checked, heard: Heard, open_modes: set[Mode]) -> Checked:
    """A failure blocks the modes that have no other way, and is a warning for those that have."""
    modes = MODES_OF[heard.target.place]
    if checked.status not in ("failed", "warning"):
        return checked
    if checked.status == "failed" and open_modes.isdisjoint(modes):
        return replace(checked, blocks=modes)
    if checked.id.startswith("port:") and heard.target.place == "submission-25":
        return replace(checked, status="warning", fix=said("nothing, where devices use port 587"))
    return replace(checked, status="warning", risks=modes)


def _seen(heard: Heard) -> Iterator[Checked]:
    yield _port(heard)
    if not heard.connected:
        return
    yield _greeting(heard)
    if heard.hello is None:
        if heard.banner and heard.banner.code == 220:
            yield _made("starttls", heard, "failed", _no_answer(heard, "EHLO"), INSPECTION)
        return
    yield _starttls(heard)
    if heard.tls is not None:
        yield _tls(heard)


def _made(aspect: str, heard: Heard, status: Any, says: str, fix: str = "", **more: Any) -> Checked:
    target = heard.target
    return Checked(
        id=f"{aspect}:{target.place}:{heard.family}",
        status=status,
        says=says,
        fix=fix,
        observed={**observed(heard), **more} if aspect == "port" else more,
        seconds=heard.seconds.get(_STEP[aspect], 0.0),
        source=SOURCE,
    )


_STEP = {"port": "connect", "greeting": "banner", "starttls": "ehlo", "tls": "tls"}


def _where(heard: Heard) -> str:
    return f"{heard.target.host}:{heard.target.port}"


# The connection


def _port(heard: Heard) -> Checked:
    where, family = _where(heard), FAMILIES[heard.family]
    match heard.reached:
        case "connected":
            says = said(
                "{where} takes connections over {family} ({address}, {seconds} s)",
                where=where,
                family=family,
                address=heard.address,
                seconds=f"{heard.seconds.get('connect', 0.0):.2f}",
            )
            return _made("port", heard, "ok", says)
        case "refused":
            says = said(
                "{where} refuses connections over {family} ({address}): no server is there, or a firewall answers in "
                "its place",
                where=where,
                family=family,
                address=heard.address,
            )
            return _made("port", heard, "failed", says, _open(heard), found="refused")
        case "timeout":
            says = said(
                "no answer from {where} over {family} ({address}): something on the way drops the connection, or the "
                "line is down",
                where=where,
                family=family,
                address=heard.address,
            )
            return _made("port", heard, "failed", says, _open(heard), found="timeout")
        case "unreachable" if heard.no_route:
            says = said("{where} was not tried over {family}: this machine has no {family}", where=where, family=family)
            return _made("port", heard, "unknown", says, found="no-route")
        case "unreachable":
            says = said(
                "{where} cannot be reached over {family} ({address}): {why}",
                where=where,
                family=family,
                address=heard.address,
                why=heard.why,
            )
            return _made("port", heard, "failed", says, _open(heard), found="unreachable")
        case "no-address":
            says = said("{host} has no {family} address", host=heard.target.host, family=family)
            return _made("port", heard, "unknown", says, found="no-address")
        case "no-such-name":
            says = said("the resolver here says that there is no {host}", host=heard.target.host)
            fix = said("check how the name is spelt, and whether the resolver filters; ask another one with --resolver")
            return _made("port", heard, "failed", says, fix, found="no-such-name")
    says = said(
        "{where} was not tried over {family}: the name could not be looked up: {why}",
        where=where,
        family=family,
        why=heard.why,
    )
    return _made("port", heard, "unknown", says, found="no-name")


def _open(heard: Heard) -> str:
    if heard.target.place != "submission":
        return said(
            "have port 25 to {host} opened in the firewall; most providers close it, so ask them too. Client "
            "submission on port 587 does without it",
            host=heard.target.host,
        )
    return said("have port {port} to {host} opened in the firewall", port=heard.target.port, host=heard.target.host)


def _no_answer(heard: Heard, to: str) -> str:
    if heard.silent:
        return said("{where} does not answer {command} in time", where=_where(heard), command=to)
    return said("{where} ends the dialogue at {command}: {why}", where=_where(heard), command=to, why=heard.trouble)


# The greeting


def _greeting(heard: Heard) -> Checked:
    where, banner = _where(heard), heard.banner
    if banner is None:
        if heard.silent:
            says = said(
                "{where} takes the connection and then says nothing: a proxy may answer for a server that it does not "
                "reach",
                where=where,
            )
            return _made("greeting", heard, "failed", says, INSPECTION, found="silent")
        says = said("{where} does not greet as a mail server does: {why}", where=where, why=heard.trouble)
        return _made("greeting", heard, "failed", says, INSPECTION, found="no-greeting")
    if banner.code != 220:
        return _refused(heard, banner)
    if OURS.match(banner.text):
        says = said("{where} greets as Office 365: {banner}", where=where, banner=banner.line)
        return _made("greeting", heard, "ok", says)
    if STARRED.fullmatch(banner.text):
        says = said(
            "the greeting of {where} is written over with stars: a firewall changes SMTP on its way", where=where
        )
        return _made("greeting", heard, "failed", says, INSPECTION, found="greeting-starred")
    if heard.target.place == "mx" and mx.kind_of(heard.target.host) == "other":
        says = said("{where} is no host of Office 365, and greets with {banner}", where=where, banner=banner.line)
        fix = said(
            "a gateway may stand in front of Office 365; name the organization's own MX endpoint (Microsoft 365 admin "
            "centre, Settings > Domains) with --mx-host to look at that"
        )
        return _made("greeting", heard, "warning", says, fix, found="gateway")
    if ALIKE.match(banner.text):
        says = said(
            "{where} greets as a server of Microsoft's make, by its name neither client submission nor the MX "
            "endpoint: {banner}",
            where=where,
            banner=banner.line,
        )
        fix = said(
            "it may be an Exchange server in your own house, or an endpoint under another name, such as mx.microsoft: "
            "compare it with the host that the Microsoft 365 admin centre names (Settings > Domains)"
        )
        return _made("greeting", heard, "warning", says, fix, found="alike")
    says = said(
        "{where} does not greet as Office 365 does; another server answers: {banner}", where=where, banner=banner.line
    )
    return _made("greeting", heard, "failed", says, INSPECTION, found="foreign-greeting")


def _refused(heard: Heard, reply: Reply) -> Checked:
    answer = known(reply)
    says = said("{where} refuses at once: {reply}", where=_where(heard), reply=reply.line)
    if answer:
        says = said("{what}. {meaning}", what=says, meaning=said(answer.meaning))
    return _made("greeting", heard, "failed", says, said(answer.fix) if answer else "", found="refused-at-once")


def known(reply: Reply) -> Answer | None:
    """What a reply is of Office 365's, by its words, else by its number where that has one meaning."""
    matches = recognise(str(reply)).matches
    worded = [match.answer for match in matches if match.by == "words"]
    if worded:
        return worded[0]
    return matches[0].answer if len(matches) == 1 else None


# STARTTLS


def _starttls(heard: Heard) -> Checked:
    where, hello = _where(heard), heard.hello
    assert hello is not None
    if hello.code != 250:
        says = said("{where} refuses EHLO: {reply}", where=where, reply=hello.line)
        return _made("starttls", heard, "failed", says, INSPECTION, found="ehlo-refused")
    if "STARTTLS" in heard.offers:
        if heard.refused_tls is not None:
            says = said(
                "{where} offers STARTTLS and then refuses it: {reply}", where=where, reply=heard.refused_tls.line
            )
            return _made("starttls", heard, "failed", says, INSPECTION, found="starttls-refused")
        return _made("starttls", heard, "ok", said("{where} offers STARTTLS", where=where))
    crossed = [word for word in heard.offers.extensions if CROSSED_OUT.fullmatch(word)]
    status = "failed" if heard.target.place != "mx" else "warning"
    if crossed:
        says = said(
            "STARTTLS is missing from what {where} offers, and there is {words} instead: a firewall writes over what "
            "the server says",
            where=where,
            words=all_of(crossed),
        )
    else:
        says = said(
            "STARTTLS is missing from what {where} offers: something in between takes it out, for Office 365 always "
            "offers it",
            where=where,
        )
        if heard.target.place == "mx" and mx.kind_of(heard.target.host) == "other":
            says = said("{where} offers no STARTTLS", where=where)
    return _made("starttls", heard, status, says, INSPECTION, found="starttls-stripped", crossed_out=crossed)


# TLS


def _tls(heard: Heard) -> Checked:
    where, tls = _where(heard), heard.tls
    assert tls is not None
    certificate = tls.certificate
    issuer = certificate.issuer if certificate else said("somebody unknown")
    if tls.up:
        says = said(
            "TLS with {where}: {version}, {suite}; the certificate is made out to that name, and {issuer} issued it "
            "(until {until})",
            where=where,
            version=tls.version,
            suite=tls.suite,
            issuer=issuer,
            until=certificate.until if certificate else "?",
        )
        if heard.hello_again is None:
            return _made("tls", heard, "failed", _no_answer(heard, said("EHLO in TLS")), INSPECTION)
        if heard.target.place != "mx" and not {"LOGIN", "XOAUTH2"} & {*_mechanisms(heard)}:
            says = said("{where} offers no login inside TLS, which client submission does", where=where)
            return _made("tls", heard, "failed", says, INSPECTION, found="no-login-offered")
        return _made("tls", heard, "ok", says)
    if not tls.verify:
        says = said("TLS with {where} does not come about: {why}", where=where, why=tls.why)
        return _made("tls", heard, "failed", says, INSPECTION, found="handshake")
    if tls.why.endswith(WRONG_NAME):
        says = said(
            "{where} shows a certificate that is made out to another name ({names}), issued by {issuer}",
            where=where,
            names=", ".join(certificate.names or (certificate.subject,)) if certificate else "?",
            issuer=issuer,
        )
        return _made("tls", heard, "failed", says, WITHOUT_TLS_INSPECTION, found="certificate-name")
    if tls.why.endswith((UNVERIFIED[9], UNVERIFIED[10])):
        says = said("{why}; {issuer} issued it. Or the clock of this machine is wrong", why=tls.why, issuer=issuer)
        return _made(
            "tls", heard, "failed", says, said("set the clock of this machine right"), found="certificate-time"
        )
    says = said(
        "TLS with {where} is opened on the way: its certificate was issued by {issuer}, whom this machine does not "
        "trust",
        where=where,
        issuer=issuer,
    )
    return _made("tls", heard, "failed", says, WITHOUT_TLS_INSPECTION, found="tls-intercepted", issuer=issuer)


def _mechanisms(heard: Heard) -> Iterable[str]:

    return Offers.of(heard.hello_again).mechanisms if heard.hello_again else ()


# The public address


def judged_public(
    heard: Sequence[Heard], told: str | None, earlier: Sequence[tuple[float, tuple[str, ...]]] = ()
) -> Checked:
    """`public-address`: the one that the servers see. `told`: by the configuration; `earlier`: when which were seen,
    newest first."""
    seen = {_where(one): one.public_address for one in heard if one.public_address}
    addresses = tuple(dict.fromkeys(seen.values()))
    v4 = [address for address in addresses if ":" not in address]
    earlier4 = list(dict.fromkeys(a for _, found in earlier for a in found if ":" not in a))
    more: dict[str, Any] = {"seen": seen, "earlier": earlier4}
    name, source = "public-address", "an application's log of 2025-11-23: the reply to EHLO has the address in brackets"
    if not addresses:
        says = said("no server has told which address the site has to the outside")
        return Checked("public-address", "unknown", says, observed=more, source=source)
    shown = all_of(addresses)
    fixed = said("for a connector by address, ask the provider for a fixed one")
    if len(v4) > 1:
        says = said("the site has several addresses to the outside: {addresses}", addresses=shown)
        fix = said("put all of them into the SPF record and the connector, or have mail leave by one of them")
        return Checked(name, "warning", says, fix, (), AT_MX, more, 0, source)
    if told and v4 and told not in addresses and ":" not in told:
        says = said(
            "the site is seen from {address}, and public_ip in the settings is {told}", address=shown, told=told
        )
        fix = said("correct public_ip, the SPF record and the connector, if they have the old one")
        return Checked(name, "warning", says, fix, (), AT_MX, more, 0, source)
    if v4 and earlier4 and set(earlier4) - set(v4):
        before = all_of([address for address in earlier4 if address not in v4][:5])
        says = said("the site is seen from {address}; in earlier runs it was {before}", address=shown, before=before)
        return Checked(name, "warning", says, fixed, (), ("connector",), more, 0, source)
    if earlier4:
        says = said("the site is seen from {address}, as in earlier runs", address=shown)
    else:
        says = said("the site is seen from {address}", address=shown)
    return Checked(name, "ok", says, observed=more, source=source)
