"""Which device it is, and what its menu calls the things that are to be set.

A device is known by what it says of itself: the name in its EHLO, the headers of its mail, the sender it has from the
factory, the form of its TLS hello. All of these can be changed by hand, so how it was known is always told with it. The
labels are those of the vendors' own documents, for the models named there; other models of the brand may differ. Where
no document of a brand's menu was found, the brand is named, and it has no fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from relayprobe.office365.modes import Mode
from relayprobe.rules.rule import quoted
from relayprobe.tongue import Said, said
from relayprobe.wire.session import Session

SETTINGS = ("server", "port", "security", "authentication", "user", "password", "sender")
"""What is set in a menu, by our own names."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a menu. `choices`: what to choose there, where the source has it, by what it means.

    The meanings: `starttls`, `on-connect` and `none` for security, `login` and `none` for authentication.
    """

    label: str
    choices: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A brand's device, with the fields of its menu by our setting names. `models` and `menu` are of the source."""

    brand: str
    models: str = ""
    menu: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    other: tuple[str, ...] = ()
    source: str = ""
    doubt: str | None = None

    @property
    def name(self) -> Said:
        """What a report calls it: `Epson (as on EM-C800, WF-C21000, PX-M382F)`."""
        brand = said(self.brand)
        return said("{brand} (as on {models})", brand=brand, models=self.models) if self.models else brand


def _fields(**labels: str | Field) -> Mapping[str, Field]:
    return {name: label if isinstance(label, Field) else Field(label) for name, label in labels.items()}


DEVICES: tuple[Device, ...] = (
    Device(
        "Ricoh",
        "Pro C9110",
        "Web Image Monitor, E-mail",
        _fields(
            server="SMTP Server Name",
            port="SMTP Port No.",
            security="Use Secure Connection (SSL)",
            authentication="SMTP Authentication",
            user="SMTP Auth. User Name",
            sender=Field("Administrator Email Address", note="and SMTP Auth. Email Address: the same address"),
        ),
        ("Reception Protocol (POP, IMAP, SMTP) is for mail that comes in.",),
        "Ricoh: Pro C9110 manual, p.206",
    ),
    Device(
        "Ricoh",
        "MP C307",
        "User Tools > Machine Features > System Settings > File Transfer",
        _fields(
            authentication=Field("SMTP Authentication", note="with user name, password and e-mail address"),
            sender="Administrator's Email Address",
        ),
        (
            "Service mode SP5-860-022 puts the administrator's address into From, and that of the user who scans into "
            "Reply-To.",
        ),
        "Ricoh: MP C307 service manual, p.394",
    ),
    Device(
        "Ricoh CloudStream",
        "DM",
        "",
        _fields(
            server="SMTP Server Address",
            port="SMTP Port Number",
            security=Field(
                "SMTP/SMTPS",
                {"starttls": "SMTPS (StartTLS)", "on-connect": "SMTPS (SMTP over SSL)", "none": "No Security"},
                "SMTPS (SMTP over SSL) is the default",
            ),
            sender="Sender Email Address",
        ),
        ("It can do OAuth2.",),
        "manual.na.cloudstream.ricoh.com",
    ),
    Device(
        "Konica Minolta",
        "bizhub C4000i",
        "Network > E-mail > E-mail TX (SMTP)",
        _fields(
            server="SMTP server address",
            port=Field("port number", note="port number (SSL) is the one for TLS on connect, 465 by default"),
            security=Field(
                "SSL/TLS",
                {"starttls": "Start TLS", "on-connect": "SMTP over SSL", "none": "do not use"},
                "`do not use` is the default",
            ),
        ),
        ("How strictly the certificate is checked has a setting of its own.",),
        "Konica Minolta: bizhub C4000i guide, opkey_170",
        doubt="the labels were translated from the Japanese guide; the menu in another language may word them "
        "otherwise",
    ),
    Device(
        "Epson",
        "EM-C800, WF-C21000, PX-M382F",
        "Network > E-mail Server > Basic",
        _fields(
            server="SMTP Server Address",
            port="SMTP Server Port Number",
            security=Field("Secure Connection", {"starttls": "STARTTLS", "on-connect": "SSL/TLS", "none": "None"}),
            authentication=Field(
                "Authentication Method",
                {"login": "SMTP AUTH", "none": "Off"},
                "not POP before SMTP, which Office 365 does not have",
            ),
            user="Authenticated Account",
            password=Field("Authenticated Password", note="20 ASCII characters at most"),
            sender="Sender's Email Address",
        ),
        ("A POP3 server is needed for POP before SMTP only.",),
        "Epson: online guides of EM-C800, WF-C21000, PX-M382F",
    ),
    Device(
        "Xerox",
        "WorkCentre 6505",
        "CentreWare IS > Email Server",
        _fields(
            server="SMTP Server Address",
            port="SMTP Server Port Number",
            authentication=Field(
                "Email Send Authentication",
                {"login": "SMTP AUTH (Auto)", "none": "No Authentication"},
                "SMTP AUTH (Auto) is Plain, Login or CRAM-MD5",
            ),
            sender=Field("Return Email Address", note="63 characters at most"),
        ),
        ("Get SMTP Server Address looks for a server by itself.",),
        "office.xerox.com: WorkCentre 6505 help",
    ),
    Device(
        "Xerox",
        "WorkCentre 6015",
        "",
        _fields(
            server="SMTP Server Address (IP Address or DNS Name)",
            port="SMTP Server Port Number",
            authentication="Email Send Authentication",
            user=Field("Login Name", note="63 characters at most"),
            password=Field("Password", note="31 characters at most"),
            sender=Field("Return Email Address", note="63 characters at most"),
        ),
        ("SMTP Server Connection Status says whether it is connected.",),
        "office.xerox.com: WorkCentre 6015 help",
    ),
    Device(
        "Fuji Xerox",
        "DocuCentre-IV C2260, ApeosPort-IV 3070",
        "Tools > E-mail/Internet Fax Service Settings > E-mail Control",
        {},
        (
            "It can do no TLS: Direct Send, a connector, or a relay on the local network.",
            "Its port is 25. It can do PLAIN, LOGIN, and POP before SMTP.",
            "Maximum Total Data Size limits the mail.",
        ),
        "Fuji Xerox: DocuCentre-IV C2260 manual, p.581; ApeosPort-IV 3070 manual, p.642",
    ),
    Device(
        "Sharp",
        "BP-70C65, BP-B550WD",
        "System Settings > Network Settings > Service Settings > SMTP tab",
        _fields(
            server="Primary Server",
            port="Port Number",
            security="Enable SSL/TLS",
            authentication=Field("Authentication Method/Option", note="OAuth 2.0 is offered; then [Get Token]"),
            user="account name",
            sender=Field("Sender Address", note="the name goes into Sender Name"),
        ),
        ("A connection test that says `Token update failed` is about OAuth.", "Timeout has a field of its own."),
        "Sharp: user's manual, contents_08-03_004",
    ),
    Device(
        "Lexmark",
        "MS617",
        "Network/Ports > SMTP Setup",
        _fields(
            authentication=Field(
                "Device-Initiated E-mail and User-Initiated E-mail",
                {"login": "Use Device SMTP Credentials (in both lists)", "none": "None (in both lists)"},
                "None is the default; unless both are set there is no login",
            ),
            user="Device Userid",
            password="Device password",
        ),
        ("Leave Kerberos 5 Realm and NTLM Domain empty.",),
        "Lexmark: MS617 guide, p.135",
        doubt="the fields for server, port and encryption are on a page that was not seen",
    ),
    Device(
        "Dell",
        "2335dn",
        "",
        _fields(
            authentication=Field(
                "SMTP requires POP3 Before SMTP Authentication",
                note="leave it off: Office 365 has no POP before SMTP",
            ),
            user=Field("POP3 User Name", note="63 characters at most; for POP before SMTP"),
            password=Field("Password", note="31 characters at most"),
            sender="Primary From",
        ),
        ("Reply Address has a field of its own.", "SMTP Timeout takes 30 to 120 seconds: choose 120."),
        "Dell: 2335dn guide, p.35",
    ),
    Device(
        "HP Digital Sending Software",
        "version 4",
        "",
        _fields(server="SMTP gateway"),
        (
            "The port is 25, and fixed before version 4.3.",
            "In embedded mode the device sends without a login; with one from version 4.3 on, through the software.",
            "The device must be on the gateway's list of addresses that may send.",
        ),
        "HP: DSS 4 reference, p.5",
    ),
    Device(
        "APC",
        "AP44xx, Network Management Card",
        "Configuration > Notification > E-mail > Server",
        _fields(
            server=Field(
                "Server", note="Local: the address that is typed in; not Recipient, which sends once and loses it"
            ),
            security=Field(
                "Use SSL/TLS", {"starttls": "Always", "on-connect": "Implicitly", "none": "Never"}, "not If Supported"
            ),
        ),
        (
            "Port, login and sender are on the same page.",
            "Require CA Root Certificate needs a root certificate that was loaded onto it.",
            "To Address may be name@[address].",
        ),
        "APC: AP44xx manual, p.108 and 109",
    ),
    Device(
        "APC",
        "AP7900",
        "",
        _fields(server="SMTP Server", sender="From Address"),
        ("It has no fields for a login: client submission is out of its reach.",),
        "APC: AP7900 guide, p.85",
    ),
    Device(
        "ICT",
        "DIN PDU",
        "",
        _fields(
            server="SMTP Server",
            port=Field("SMTP Port", note="25 from the factory"),
            security=Field(
                "SMTP Server requires SSL",
                {"starttls": "not ticked", "on-connect": "ticked"},
                "not ticked it does STARTTLS at port 587",
            ),
            user=Field("SMTP User Name", note="empty: no login"),
            password=Field("SMTP Password", note="empty: no login"),
            sender="Sender E-mail Address",
        ),
        ("Recipient E-mail Addresses have commas between them.", "Minimum E-mail Interval keeps it from flooding."),
        "ICT: DIN series manual, p.19",
    ),
    Device(
        "EnerSys",
        "Alpha FXM HP",
        "",
        _fields(
            server="SMTP Server Address",
            port="Port",
            user="SMTP User Name",
        ),
        (
            "TLS has no field: it is tried first, and dropped in silence where it fails, so that the password may go "
            "out in clear text.",
            "Domain is the name after EHLO, which public servers want.",
        ),
        "EnerSys: Alpha FXM HP manual, p.58",
    ),
    Device(
        "Amcrest or Dahua",
        "IP4M-1026B",
        "Network > SMTP",
        _fields(
            server="SMTP server",
            port="port",
            security=Field(
                "Authentication",
                {"starttls": "TLS", "on-connect": "SSL"},
                "the list is of encryptions, despite its name",
            ),
            user="Username",
            password="Password",
            sender="Sender",
        ),
        ("At most 3 recipients.", "Keep Alive makes connections without a mail.", "Interval keeps it from flooding."),
        "Amcrest: IP4M-1026B manual, p.90",
    ),
    Device(
        "Trivision",
        "NC-250W",
        "",
        _fields(
            server="SMTP server name",
            port="SMTP server port",
            security="Secure SSL connection",
            authentication="Authentication",
            user="User name",
            password="Password",
            sender="Sender e-mail address",
        ),
        ("Alarm Interval and the rate of snapshots say how many mails it sends.",),
        "Trivision: NC-250W manual, p.45",
    ),
    Device(
        "Swann",
        "DVR4-5100",
        "",
        _fields(
            server="SMTP Server",
            port="SMTP Port",
            security="SSL",
            user=Field("Sender", note="it logs in as the sender"),
            password="Password",
            sender="Sender",
        ),
        ("Interval keeps it from flooding.",),
        "Swann: manual of the DVR4-5100, p.48",
    ),
    Device("HP"),
    Device("Synology"),
    Device("Fortinet FortiAnalyzer"),
    Device("Brother"),
    Device("Kyocera"),
    Device("Canon"),
    Device("Samsung"),
    Device("a program that runs on Mono"),
    Device("a Windows computer"),
    Device("Apple Mail"),
    Device("PHPMailer"),
    Device("nodemailer"),
    Device("swaks"),
)
"""All that are known. Those without a model have no source for their menu."""


@dataclass(frozen=True, slots=True)
class Sign:
    """By what a brand is known, what that is, in words, and where it was seen."""

    brand: str
    form: re.Pattern[str]
    what: str
    source: str


def _sign(brand: str, form: str, what: str, source: str) -> Sign:
    return Sign(brand, re.compile(form, re.IGNORECASE), what, source)


_NAME = "a host name that it has from the factory"

HOST_NAMES: tuple[Sign, ...] = (
    _sign("HP", r"NPI[0-9A-F]{6}", _NAME, "mailcow/mailcow-dockerized-docs#455; apple/cups#5357"),
    _sign("Xerox", r"XC-[0-9A-F]{6}", _NAME, "JustinIven/smtp-oauth-relay#57"),
    _sign("Ricoh", r"RNP[0-9A-F]{12}", _NAME, "a public guide to printing on a Ricoh MP C4503, RNP002673734B1D.local"),
    _sign("Brother", r"BR[NW]_?[0-9A-F]{6}(?:[0-9A-F]{6})?", _NAME, "Brother: manuals of the NC-2200w and HL-5370DW"),
    _sign("Kyocera", r"KM[0-9A-F]{6}", _NAME, "alexpevzner/sane-airscan, manual page: ECOSYS M2040dn, KM7B6A91.local"),
    _sign("Canon", r"Canon[0-9A-F]{6}", _NAME, "pastebin.com/kQP1tS2F: iR-ADV C3520, Canon1332E2.local"),
    _sign("Epson", r"EPSON[0-9A-F]{6}", _NAME, "NixOS/nixpkgs#5409: EPSON L355, EPSON83498A.local"),
    _sign("Lexmark", r"ET[0-9A-F]{12}", _NAME, "nmap.org, script lexmark-config: S300-S400, ET0020006E4A37"),
    _sign("Samsung", r"SEC[0-9A-F]{12}", _NAME, "a post on mDNS of 2016-08-24: Samsung CLP-310, SEC001599377D00.local"),
    _sign("Synology", r"Synology", "its own name", "emersion/hydroxide#173"),
    _sign("Fortinet FortiAnalyzer", r"FortiAnalyzer-?\w{0,8}", "its own name", "postalserver/postal#414"),
    _sign("Apple Mail", r"smtpclient\.apple", "what programs of Apple say", "postalserver/postal#3477"),
    _sign("a Windows computer", r"DESKTOP-[0-9A-Z]{7}", _NAME, "public logs of names after EHLO"),
)
"""Names after HELO and EHLO, and in a Message-ID. The last part of most is taken from the network address."""

MAILERS: tuple[Sign, ...] = (
    _sign("Canon", r"\bCanon MFP\b|\bCanon\b", "", "a public test mail of 2025-02-19: `X-Mailer: Canon MFP`"),
    *(
        _sign(brand, rf"\b{form}\b", "", "the header itself")
        for brand, form in (
            ("Ricoh", "Ricoh"),
            ("Konica Minolta", "Konica ?Minolta"),
            ("Epson", "Epson"),
            ("Xerox", "Xerox"),
            ("Kyocera", "Kyocera"),
            ("Lexmark", "Lexmark"),
            ("Brother", "Brother"),
            ("Sharp", "Sharp"),
            ("Synology", "Synology"),
        )
    ),
    _sign("PHPMailer", r"PHPMailer", "", "public mails: `X-Mailer: PHPMailer 6.1.7`"),
    _sign("nodemailer", r"nodemailer", "", "mozilla/fxa-auth-server#1881"),
    _sign("swaks", r"\bswaks\b", "", "public mails: `X-Mailer: swaks v20201014.0`"),
)
"""What X-Mailer and User-Agent name."""

MESSAGE_IDS: tuple[Sign, ...] = (_sign("Canon", r"\.CanonTxNo\.", "", "a public test mail of 2025-02-19"),)
SENDERS: tuple[Sign, ...] = (
    _sign(
        "HP",
        r"npi[0-9a-f]{6}@email\.com",
        "the sender that it has from the factory",
        "mailcow/mailcow-dockerized-docs#455",
    ),
)
HELLOS: tuple[tuple[str, str, str], ...] = (
    ("0301,0035-002f-000a-0005", "a program that runs on Mono", "ONLYOFFICE/Docker-CommunityServer#11"),
)
"""How the fingerprint of a TLS hello begins, whose it is, and where it was seen."""


def recognise_device(session: Session) -> tuple[Device, Said] | None:
    """Which device it is and how it is known, as the end of a sentence (`it says EHLO ...`); None where nothing tells.

    What it quotes is the device's own, and not fit for a terminal as it stands.
    """
    found = next(_recognised(session), None)
    return (device_of(found[0]), found[1]) if found else None


def device_of(brand: str) -> Device:
    """What is known of a brand: the first of its models that has fields."""
    return next(device for device in DEVICES if device.brand == brand)


def field_names(device: Device, mode: Mode = "submission") -> Mapping[str, str]:
    """Our setting names, and what the device calls them, with what to choose in this mode where that is known.

    `{"security": "Secure Connection: STARTTLS"}`. Settings for which no field is known are missing.
    """
    return {name: _labelled(device.fields[name], _MEANT[mode].get(name)) for name in SETTINGS if name in device.fields}


_MEANT: Mapping[Mode, Mapping[str, str]] = {
    "submission": {"security": "starttls", "authentication": "login"},
    # With or without TLS is the advice's to say: it depends on the device.
    "direct-send": {"authentication": "none"},
    "connector": {"authentication": "none"},
}


def _labelled(field: Field, meant: str | None) -> str:
    choice = field.choices.get(meant) if meant else None
    return f"{field.label}: {choice}" if choice else field.label


def _recognised(session: Session) -> Iterator[tuple[str, Said]]:
    messages = [envelope.message for envelope in session.envelopes if envelope.message]
    for message in messages[:1]:
        for name in ("X-Mailer", "User-Agent"):
            for value in message.fields(name):
                for sign in _signs(MAILERS, value[:_READ]):
                    yield sign.brand, said("its mail has {field}: {value}", field=name, value=quoted(value))
        for value in message.fields("Message-ID"):
            for sign in _signs(MESSAGE_IDS, value[:_READ]):
                yield sign.brand, said("its mail has {field}: {value}", field="Message-ID", value=quoted(value))
            host = value[:_READ].strip("<> ").rpartition("@")[2]
            if sign_of := _host(host):
                what = said(sign_of.what)
                yield sign_of.brand, said("its Message-ID ends in {host}, {what}", host=quoted(host), what=what)
    for greeting in session.greetings:
        if sign_of := _host(greeting.name):
            says = said(
                "it says {greeting} {name}, {what}",
                greeting=greeting.verb,
                name=quoted(greeting.name),
                what=said(sign_of.what),
            )
            yield sign_of.brand, says
    for envelope in session.envelopes:
        for sign in SENDERS:
            if sign.form.fullmatch(envelope.sender):
                what = said(sign.what)
                yield sign.brand, said("it sends as {sender}, {what}", sender=quoted(envelope.sender), what=what)
    for _, sent in session.hellos:
        for beginning, brand, _ in HELLOS:
            if sent.hello and _begins(sent.hello.fingerprint, beginning):
                says = said("its TLS hello begins with {beginning}, as that of such programs does", beginning=beginning)
                yield brand, says


def _begins(fingerprint: str, beginning: str) -> bool:
    return fingerprint.startswith(beginning) and fingerprint[len(beginning) : len(beginning) + 1] in "-,"


_READ = 1000
"""Characters of a header that are looked at."""


def _signs(signs: tuple[Sign, ...], text: str) -> Iterator[Sign]:
    return (sign for sign in signs if sign.form.search(text))


def _host(name: str) -> Sign | None:
    """The sign in a host name, with or without a domain behind it."""
    if len(name) > 255:
        return None
    whole = name.strip("[]. ")
    return next(
        (sign for sign in HOST_NAMES if sign.form.fullmatch(whole) or sign.form.fullmatch(whole.partition(".")[0])),
        None,
    )
