"""TLS: whether the device does it, at the right moment, and in a way that Office 365 still takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relayprobe.office365 import replies, sources
from relayprobe.office365 import tls as taken
from relayprobe.office365.modes import MODES
from relayprobe.rules.rule import Evidence, rule
from relayprobe.tongue import Said, said
from relayprobe.wire.events import Credentials
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.session import Session
from relayprobe.wire.tls_names import version_name
from relayprobe.wire.visit import Visit

SSLV3 = 0x0300

CERTIFICATE_ALERTS = frozenset((42, 43, 44, 45, 46, 48, 51))
"""TLS alerts by which a device says that it does not take a certificate. 51, decrypt_error, is among them: OpenSSL
sends it for a signature in the chain that does not verify."""

_CERTIFICATE_REASONS = frozenset(("certificate-verify-failed", "certificate-problem"))
"""The same in the words of swaks and curl, in a text that was pasted."""

NO_WORD = frozenset(("closed", "reset", "encrypted-alert"))
"""How a handshake ends that the device breaks off without an alert, or with one that is hidden in a capture."""

_MENU_STARTTLS = (
    'In the menu for outgoing mail choose STARTTLS (other names: "Start TLS", "SMTPS (StartTLS)", "TLS"; on APC '
    '"Always", which is STARTTLS there)'
)
_MENU_OFF = (
    'set the encryption to none ("None", "Never", "Do not use"): the MX endpoint takes mail without TLS, but not with '
    "a TLS this old"
)
_RELAY_TAKES_ANY = (
    "the relay takes clear text and old TLS on the local network, and speaks TLS 1.2 or newer to Office 365"
)


@rule(
    "TLS is begun at once, where the server first speaks and STARTTLS is expected",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.UNRECOGNIZED_COMMAND),
    fix={
        "submission": f"{_MENU_STARTTLS}, not SSL/TLS, SMTPS or SMTP over SSL, and set the port to 587. Where the menu "
        "has no STARTTLS, let the device send through a relay.",
        "any": f"{_MENU_STARTTLS}, or none, not SSL/TLS, SMTPS or SMTP over SSL, and set the port to 25.",
    },
    repair="the relay takes TLS from the first octet, and speaks STARTTLS to Office 365",
    devices="HP MFP 477dw; Bluecherry NVR; programs with SSL=true on port 587. Konica Minolta's port for SSL is 465 by "
    "default; on Epson, SSL/TLS in the list means this kind",
    doubt="Office 365 sends its greeting in clear text, and most devices hang up at that; the reply 500 is what it "
    "gives to octets that are no command",
    sources=(
        "postalserver/postal#2005",
        "postalserver/postal#2404",
        "elastic/kibana#73836",
        "bluecherrydvr/bluecherry-apps#366",
        "mattermost/mattermost#954",
        sources.SETUP,
    ),
)
def implicit_tls_on_starttls_port(session: Session) -> Iterator[Evidence]:
    """On 587 and 25, and it has no other port, Office 365 greets first, in clear text, and TLS begins with STARTTLS. A
    device that opens with TLS waits for TLS in return, is sent a greeting, and reports something like "SSL error"."""
    if session.pinned_to_tls:
        return
    for event, hello in session.hellos:
        if hello.moment == "on-connect":
            yield Evidence(event, said("the device opened the connection with a TLS hello, before any greeting"))
        elif hello.moment == "late":
            yield Evidence(event, said("the device sent a TLS hello after the greeting, without asking for STARTTLS"))


@rule(
    "Mail or a login is sent without TLS",
    blocks=("submission",),
    answer={"submission": replies.STARTTLS_REQUIRED},
    fix={
        "submission": f"{_MENU_STARTTLS}, port 587. A device that has no such setting cannot do client submission by "
        "itself: use Direct Send (recipients in your own domain) or a connector, on port 25, or let it send through "
        "a relay.",
        "any": "Nothing is needed in this mode: the MX endpoint takes mail without TLS. STARTTLS is better where the "
        "device has it.",
    },
    repair="the relay takes clear text on the local network, and does TLS towards Office 365",
    devices="Siemens S7-1200 before firmware 4.4; Fuji Xerox DocuCentre-IV and ApeosPort-IV and older (no TLS at all); "
    "Nagios, HertzBeat, Zabbix templates and old Delphi programs as set up at first",
    sources=(
        "apache/hertzbeat#2365",
        "NagiosEnterprises/nagioscore#946",
        "IndySockets/Indy#406",
        "glowroot/glowroot#226 (the older answer, 530 5.7.57)",
        "Fuji Xerox DocuCentre-IV C2260 manual p. 581; ApeosPort-IV 3070 manual p. 642",
        sources.SETUP,
    ),
)
def no_tls(session: Session) -> Iterator[Evidence]:
    """Client submission takes neither a login nor a sender before TLS is up. The answer begins with 4, as if the fault
    would pass, so some devices try again for hours and show no more than a general error."""
    if session.tls:
        return
    if session.auths:
        yield Evidence(session.auths[0].event, said("AUTH was sent in clear text, and TLS was never up"))
    if session.envelopes:
        says = said("MAIL FROM was sent in clear text, and TLS was never up")
        yield Evidence(session.envelopes[0].event, says)


@rule(
    "The newest TLS that the device offers is 1.0 or 1.1",
    blocks=MODES,
    answer={"submission": replies.TLS_TOO_OLD},
    fix={
        "submission": "Look for a firmware update, or for a setting of TLS versions (TLS 1.2 on); in programs for "
        "Windows, the newer .NET with SystemDefaultTlsVersions. Without either, the device cannot do client submission "
        "by itself: let it send through a relay.",
        "any": f"Look for a firmware update, or {_MENU_OFF}.",
    },
    repair=_RELAY_TAKES_ANY,
    devices="old multifunction printers; SQL Server Database Mail and Send-MailMessage on old .NET; Perl sendEmail; "
    "Java 7 and early 8; Xiaomi Dafang cameras",
    sources=(
        "zehm/sendEmail#1",
        "ONLYOFFICE/Docker-CommunityServer#11",
        "MicrosoftDocs/OfficeDocs-Exchange#2943",
        "EliasKotlyar/Xiaomi-Dafang-Hacks#230",
        *taken.SOURCES,
    ),
)
def tls10_11_only(session: Session) -> Iterator[Evidence]:
    """Office 365 takes TLS from 1.2 on: at the MX endpoint since January 2021, for client submission since 2022."""
    for event, sent in session.hellos:
        if sent.hello and SSLV3 < sent.hello.best_version < taken.OLDEST_VERSION:
            yield Evidence(event, _newest(sent.hello))


@rule(
    "The device can do no TLS at all, only SSL 3.0 or older",
    blocks=MODES,
    fix={
        "submission": "No setting will help; look for a firmware update. Without one, let the device send through "
        "a relay, with the encryption set to none.",
        "any": f"Look for a firmware update, or {_MENU_OFF}.",
    },
    repair="the relay takes clear text on the local network: set the device's encryption to none",
    devices="HP LaserJet 200 colorMFP M276n, and other printers of about 2008 to 2013",
    doubt="no transcript with Office 365 was found: elsewhere such a device gets a TLS alert, and the connection is "
    "closed",
    sources=(
        "docker-mailserver/docker-mailserver#1145",
        "docker-mailserver/docker-mailserver#620",
        "docker-mailserver/docker-mailserver#1031",
        *taken.SOURCES,
    ),
)
def sslv3_only(session: Session) -> Iterator[Evidence]:
    """Office 365 takes TLS from 1.2 on. SSL 3.0 was dropped everywhere long ago, for it can be broken."""
    for event, sent in session.hellos:
        if sent.hello and sent.hello.best_version <= SSLV3:
            yield Evidence(event, _newest(sent.hello))


@rule(
    "The device offers none of the cipher suites that Office 365 takes",
    blocks=MODES,
    fix={
        "submission": "Look for a firmware update, or for a list of ciphers in the security settings: one with ECDHE "
        "and AES has to be on (best AES-GCM). Without either, let the device send through a relay.",
        "any": f"Look for a firmware update or a list of ciphers in the security settings, or {_MENU_OFF}.",
    },
    repair=_RELAY_TAKES_ANY,
    devices="programs on old Mono; firmware of about 2010 to 2014",
    doubt=taken.DOUBT,
    sources=(
        "ONLYOFFICE/Docker-CommunityServer#11",
        "docker-mailserver/docker-mailserver#1784",
        *taken.SOURCES,
    ),
)
def legacy_ciphers_only(session: Session) -> Iterator[Evidence]:
    """A handshake needs a cipher suite that both sides know. Office 365 has dropped RC4, DES and 3DES, and of the
    suites without ECDHE keeps only those with AES-GCM, so a device that knows only older ones is turned away with an
    alert, whatever version of TLS it offers."""
    for event, sent in session.hellos:
        if sent.hello and sent.hello.suites and taken.TAKEN.isdisjoint(sent.hello.suites):
            names = [name for name in sent.hello.suite_names if not name.endswith("_SCSV")]
            suites: str = ", ".join(names[:3])
            if len(names) > 3:
                suites = said("{suites} and {more} more", suites=suites, more=len(names) - 3)
            says = said("the TLS hello offers {suites}, and Office 365 takes none of them", suites=suites)
            yield Evidence(event, says)


@rule(
    "The device does not trust the certificate, and breaks TLS off",
    blocks=MODES,
    fix={
        "any": "For the test, import `ca.pem` from relayprobe's data folder as a root certificate into the device, or "
        'switch its check off ("Verify Certificate", "Certificate verification level", "Require CA Root Certificate"). '
        "For Office 365 the device has to know the root of Microsoft's certificate: update its root certificates, and "
        "set its clock, for a wrong date makes every certificate look expired.",
    },
    repair="the relay shows the device a certificate of its own authority, which is imported once, and checks Office "
    "365's with the roots of its computer",
    devices="APC, with Require CA Root Certificate on; Konica Minolta bizhub, by its certificate verification level; "
    "any device with an old store of roots, and programs on old Java",
    doubt="the device refused relayprobe's own certificate, which it cannot know before it is imported: that it checks "
    "certificates is certain, but not that it would refuse Office 365's",
    sources=(
        "F43nd1r/Acrarium#628",
        "simonrob/email-oauth2-proxy#142",
        "DefGuard/defguard#3128",
        "APC AP44xx manual p. 109 (Require CA Root Certificate)",
        "Konica Minolta bizhub C4000i guide (certificate verification level)",
    ),
)
def cert_rejected_by_client(session: Session) -> Iterator[Evidence]:
    """Without a certificate that the device trusts there is no TLS, and so no mail. What it was shown here is
    relayprobe's own certificate: it is shown another one by Office 365, and may well know that one's root."""
    ours = session.source in ("live", "export")
    certificate = said("relayprobe's certificate") if ours else said("the server's certificate")
    for event, failed in session.tls_failures:
        if failed.by != "client":
            continue
        if failed.alert in CERTIFICATE_ALERTS or failed.reason in _CERTIFICATE_REASONS:
            says = said("the device refused {certificate}: {reason}", certificate=certificate, reason=failed.reason)
            if failed.alert is not None:
                says = said("{refused} (alert {alert})", refused=says, alert=failed.alert)
            yield Evidence(event, says)
        elif failed.reason in NO_WORD and _could_go_on(session):
            hidden = failed.reason == "encrypted-alert"
            says = said(
                "the device broke the handshake off when it had {certificate} ({reason}, {alert})",
                certificate=certificate,
                reason=failed.reason,
                alert=said("an alert that cannot be read here") if hidden else said("no alert"),
            )
            yield Evidence(event, says, at_most="warning")


def _newest(hello: ClientHello) -> Said:
    return said("the newest version in the TLS hello is {version}", version=version_name(hello.best_version))


def _could_go_on(session: Session) -> bool:
    """Whether nothing in the hello was in the way of TLS: then it was what came back that the device did not like."""
    hello = session.hellos[-1][1].hello if session.hellos else None
    return bool(hello and hello.best_version >= taken.OLDEST_VERSION and not taken.TAKEN.isdisjoint(hello.suites))


@rule(
    "STARTTLS is asked for inside TLS",
    blocks=MODES,
    fix={
        "submission": "Two settings contradict each other: switch SSL/TLS (SMTPS, SMTP over SSL) off, keep STARTTLS "
        "on, and set the port to 587.",
        "any": "Two settings contradict each other: switch SSL/TLS (SMTPS, SMTP over SSL) off, keep STARTTLS on or "
        "choose none, and set the port to 25.",
    },
    repair="the relay offers STARTTLS in clear text only, and speaks STARTTLS to Office 365",
    devices="ESP32 and ESP8266 sketches with setSTARTTLS(true) and port 465; any device with both switches on",
    doubt="Office 365 has no port with TLS from the first octet, so its answer was not seen; elsewhere it is 454, 502 "
    "or 503",
    sources=("mobizt/ESP-Mail-Client#8", "RFC 3207 4", sources.SETUP),
)
def starttls_inside_tls(session: Session) -> Iterator[Evidence]:
    """TLS is begun once: at once, or with STARTTLS, and Office 365 knows the second way only. A device that asks for it
    inside TLS is refused, and most give up then."""
    for exchange in session.commands(b"STARTTLS"):
        if exchange.said.tls:
            yield Evidence(exchange.event, said("STARTTLS came when TLS was up already"))


@rule(
    "After STARTTLS the device does not greet again",
    blocks=MODES,
    answer=dict.fromkeys(MODES, replies.SEND_HELLO_FIRST),
    fix={
        "any": "Update the device or program. No menu has a setting for this; let the device send through a relay "
        "where it cannot be updated.",
    },
    repair="the relay takes the commands without a second greeting, and greets Office 365 as it should be",
    devices="some programs in Go, and embedded libraries that keep the first list of extensions",
    sources=("xhit/go-simple-mail#94 (Exchange Server 2016)", "RFC 3207 4.2"),
)
def no_ehlo_after_starttls(session: Session) -> Iterator[Evidence]:
    """When TLS is up, all that was said before it is forgotten, the greeting too. Office 365 wants another EHLO, and
    refuses what comes without it."""
    for event, _ in session.tls:
        before = [hello.moment for at, hello in session.hellos if at < event]
        if before and before[-1] != "after-starttls":
            continue
        for exchange in session.exchanges:
            if exchange.event < event:
                continue
            verb = b"AUTH" if isinstance(exchange.said, Credentials) else exchange.command and exchange.command.verb
            if verb in (b"EHLO", b"HELO"):
                break
            if verb in (b"AUTH", b"MAIL", b"RCPT", b"DATA"):
                says = said("{command} came inside TLS, and no EHLO before it", command=verb.decode())
                yield Evidence(exchange.event, says)
                break


@rule(
    "The TLS hello names no server",
    fix={"any": "Nothing has to be done. A device that is given an address in place of a name never names one."},
    repair="the relay names the server in its own hello",
    devices="expected of devices from before 2012; not documented",
    doubt="no report of a device that fails at Office 365 for this was found",
    sources=("RFC 6066 3",),
)
def no_sni(session: Session) -> Iterator[Evidence]:
    """Office 365 does not need the name: it shows the right certificate anyway. Servers that share an address with
    others show a wrong one, and a device that checks refuses it."""
    for event, sent in session.hellos:
        if sent.hello and sent.hello.sni is None:
            yield Evidence(event, said("there is no server name in the TLS hello"))


@rule(
    "When TLS fails, the device goes on in clear text",
    blocks=("submission",),
    answer={"submission": replies.STARTTLS_REQUIRED},
    fix={
        "any": 'Make TLS compulsory: "Always" or "STARTTLS", not "If Supported", "If available" or "Auto"; then set '
        "right what makes it fail, as the other findings say. Where a password went by, change it.",
    },
    repair="the relay keeps clear text within the local network, and speaks only TLS to Office 365",
    devices="EnerSys Alpha FXM HP UPS (documented); APC with Use SSL/TLS set to If Supported (documented)",
    sources=(
        "EnerSys Alpha FXM HP manual p. 58",
        "APC AP44xx manual p. 109 (If Supported)",
    ),
)
def silent_tls_downgrade(session: Session, visits: Sequence[Visit]) -> Iterator[Evidence]:
    """Client submission refuses what comes in clear text, so nothing is won by it; but anybody on the way can make the
    handshake fail, and then read what the device sends, its password too."""
    earlier = [visit for visit in visits if visit.started < session.started and not visit.pop3]
    same = earlier and session.greetings and earlier[-1].name in ("", session.greetings[0].name.lower())
    before = bool(same and earlier[-1].tls_failed and not session.hellos)
    if not session.tls_failures and not before:
        return
    after, when = -1, said("after TLS had failed on the connection before")
    if session.tls_failures:
        after, failed = session.tls_failures[0]
        when = said("after TLS had failed")
        if failed.reason == "continued-in-clear":
            when = said("after STARTTLS, and no TLS was begun")
    for attempt in session.auths:
        if not attempt.tls and attempt.event > after:
            says = said("AUTH was sent in clear text {when}", when=when)
            if attempt.secret and not attempt.secret.empty:
                says = said("{exposed}; the password could be read", exposed=says)
            yield Evidence(attempt.event, says)
    for envelope in session.envelopes:
        if not envelope.tls and envelope.event > after:
            yield Evidence(envelope.event, said("MAIL FROM was sent in clear text {when}", when=when))
