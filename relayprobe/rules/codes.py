"""What devices and programs show instead of the server's reply: their own error codes and texts, and the rules these
may come from.

Each vendor writes a code in its own way (`16#5108`, `0x800CCC0E`, `E421`), and people leave half of it out, so a code
is looked up without its prefix, blanks and case. A code may belong to two vendors. Rules are named by their ids, as
data: a name that ends in `*` stands for all that begin so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from relayprobe.tongue import said

LONGEST = 64
"""Characters of a code that are looked at; none is as long."""
MOST_CODES = 20
"""Codes in a text that are looked up."""


@dataclass(frozen=True, slots=True)
class Code:
    """An error code of one vendor. `form` matches it as it is looked up, where there are many of one kind.

    `carries`: where in the code the code of SMTP stands. `about`: what it comes from where no rule sees that.
    """

    vendor: str
    code: str
    text: str
    source: str
    rules: tuple[str, ...] = ()
    about: str | None = None
    form: re.Pattern[str] | None = None
    carries: re.Pattern[str] | None = None
    doubt: str | None = None

    def smtp(self, written: str) -> int | None:
        """The code of SMTP within it, as `written`: 530 in `8530`."""
        found = self.carries.fullmatch(_bare(written)) if self.carries else None
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Text:
    """What a program tells its user or its log, and what it comes from."""

    program: str
    text: str
    cause: str
    rules: tuple[str, ...]
    source: str


CONNECTION = "no connection: the server's name or port, a firewall, or a network fault"
CONFIGURATION = "the settings or the program of the device itself"
DNS = "the server's name cannot be resolved: its spelling, or the DNS settings of the device"

_BECKHOFF = "Beckhoff TwinCAT SMTP Server, TF6350"
_BECKHOFF_SOURCE = "infosys.beckhoff.com: error codes of tcsmssmtpsrv and TF6350"
_SCHNEIDER = "Schneider BMENOC0321"
_SCHNEIDER_SOURCE = "Schneider Electric: controller help D-SE-0021343"
_SIEMENS = "Siemens CP 1542SP-1, CP 1543SP-1"
_SIEMENS_SOURCE = "Siemens: manual of CP 1542SP-1 and 1543SP-1, January 2017, p.105"
_SIEMENS_300 = "Siemens S7-300, S7-400 CP"
_SIEMENS_300_SOURCE = "Siemens: manual of the S7-300 and S7-400 CP, September 2013, p.215"
_S7_1200 = "Siemens S7-1200, S7-1500"
_S7_1200_SOURCE = "industrialmonitordirect.com on TMAIL_C and T_MAIL_C"
_OKI = "OKI 5950, FAX 5780"
_OKI_SOURCE = "OKI: Feature Set Guide, p.99"
_WINDOWS = "Windows programs (Outlook Express, CDO)"
_WINDOWS_SOURCE = "a copy of the list at blog.csdn.net"
_NET = ".NET SmtpStatusCode"
_NET_SOURCE = "learn.microsoft.com: SmtpStatusCode"
_AUTOIT = "AutoIt _INetSmtpMail"
_AUTOIT_SOURCE = "AutoIt: documentation of _INetSmtpMail"


def _several(vendor: str, source: str, *rows: tuple[str, str, str, str | None]) -> tuple[Code, ...]:
    """Rows of code(s), text, rules, and what else it may come from."""
    return tuple(
        Code(vendor, code, text, source, tuple(rules.split()), about)
        for codes, text, rules, about in rows
        for code in codes.split()
    )


CODES: tuple[Code, ...] = (
    *_several(
        _BECKHOFF,
        _BECKHOFF_SOURCE,
        ("0x800A", "Not connected", "", CONNECTION),
        ("0x800B", "Sender expected", "", CONFIGURATION),
        ("0x800C", "Recipients expected", "", CONFIGURATION),
        ("0x800D", "Send FROM command failed", "no-tls no-auth mail-from-*", None),
        ("0x800E", "Send DATA failed", "header-from-not-auth-user message-too-large", None),
        ("0x800F", "Send mail header failed", "header-from-not-auth-user message-too-large", None),
        ("0x8010", "Send mail body failed", "header-from-not-auth-user message-too-large", None),
        ("0x8011", 'Send "end of mail indicator" failed', "mail-from-not-auth-user parallel-connections", None),
        ("0x8012", "Send RCPT command failed", "rcpt-* external-recipient-direct-send", None),
        ("0x8013", "Server response got no username request", "auth-login-prompt-sensitive", None),
        ("0x8014", "Server response got no password request", "auth-login-prompt-sensitive", None),
        ("0x8015 0x801E", "Unable to create socket (connection)", "port-465-to-office365", "a firewall"),
        ("0x801D", "Unable to connect: at times wrong port or wrong server", "port-465-to-office365", "a firewall"),
        ("0x8016", "Authentication type not supported by smtp server", "auth-before-starttls auth-plain-only", None),
        ("0x8017", "Wrong username or password", "auth-*", None),
        ("0x8019 0x8020", "Invalid hostname", "", DNS),
        ("0x801A", "Unable to send attachment", "", CONFIGURATION),
        ("0x801B", "File not found", "", CONFIGURATION),
        (
            "0x8021 0x8022",
            "Unexpected response from server, or error while receiving data",
            "cannot-parse-multiline-* implicit-tls-on-starttls-port",
            None,
        ),
        ("0x8023", "No supported authentication methods found", "auth-before-starttls starttls-stripped", None),
    ),
    *_several(
        _SCHNEIDER,
        _SCHNEIDER_SOURCE,
        ("16#5100", "Internal error", "", CONFIGURATION),
        ("16#5101", "Component not operational", "", CONFIGURATION),
        ("16#5102", "Header not configured", "", CONFIGURATION),
        ("16#5103", "Invalid header value", "", CONFIGURATION),
        ("16#5104", "Cannot connect to SMTP server", "", CONNECTION),
        ("16#5105", "Error while transmitting the body", "message-too-large", CONNECTION),
        ("16#5106", "Closing the connection returned an error", "no-quit", None),
        ("16#5107", "SMTP HELO request unsuccessful", "helo-invalid-name helo-empty", None),
        ("16#5108", "SMTP MAIL request unsuccessful; the server may require authentication", "no-auth no-tls", None),
        ("16#5109", "RCPT unsuccessful", "rcpt-*", None),
        ("16#510A", "No recipient accepted", "rcpt-*", None),
        ("16#510B", "DATA request unsuccessful", "mail-from-not-auth-user", None),
        ("16#510C", "Invalid length in the request", "", CONFIGURATION),
        ("16#510D", "Authentication unsuccessful", "auth-*", None),
        ("16#510E", "Reset while the connection was open", "", None),
    ),
    *_several(
        _SIEMENS,
        _SIEMENS_SOURCE,
        (
            "8401",
            "No channel available: a second e-mail connection cannot be set up at the same time",
            "",
            CONFIGURATION,
        ),
        (
            "8406",
            "Internal SSL error, or a problem with the structure of the certificate",
            "",
            "TLS or the certificate",
        ),
        ("8409", "Cannot write via the connection: the partner has reset or closed it", "", CONNECTION),
        ("8410", "Cannot read via the connection: the partner has reset or closed it", "", CONNECTION),
        ("8415", "Internal error in the cURL module", "", CONFIGURATION),
        ("8417", "Channel already in use", "", CONFIGURATION),
    ),
    Code(
        _SIEMENS,
        "82xx to 85xx",
        "Behind the 8 stands the code of SMTP",
        _SIEMENS_SOURCE,
        form=re.compile(r"8[2-5]\d\d"),
        carries=re.compile(r"8([2-5]\d\d)"),
        doubt="the manual says so of the 8 in front, and has no example; codes from 8400 on may stand for a fault of "
        "the connection instead: no TCP connection, login denied, SSL denied, DNS, or time exceeded",
    ),
    Code(
        _SIEMENS_300,
        "SMTP_RESP_ERROR_AUTH_SEQUENCE, number 2",
        "The authentication method that the mail server proposes is not supported by the CP (PLAIN, LOGIN, CRAM-MD5 "
        "and DIGEST-MD5 are)",
        _SIEMENS_300_SOURCE,
        ("auth-cram-md5-no-fallback",),
        form=re.compile(r"(SMTPRESPERRORAUTHSEQUENCE)?2|SMTPRESPERRORAUTHSEQUENCE"),
    ),
    Code(
        _SIEMENS_300,
        "SMTP_RESP_ERROR_AUTH_SEQUENCE, number 7",
        "Error generating the reply to the request of the mail server (DIGEST-MD5)",
        _SIEMENS_300_SOURCE,
        ("auth-cram-md5-no-fallback",),
        form=re.compile(r"(SMTPRESPERRORAUTHSEQUENCE)?7"),
    ),
    *_several(
        _S7_1200,
        _S7_1200_SOURCE,
        ("16#809A", "Structure at the CONNECT parameter not supported, or of wrong length", "", CONFIGURATION),
        (
            "8001 8002",
            "Transport error, seen after `530 5.7.0 Must issue a STARTTLS command first`: firmware below 4.4 has no "
            "TLS",
            "no-tls",
            None,
        ),
    ),
    *(
        Code(
            _OKI,
            f"E{code}",
            said("The server answered {code}", code=code),
            _OKI_SOURCE,
            carries=re.compile(r"E(\d\d\d)"),
        )
        for code in (421, 450, 451, 452, 500, 501, 502, 503, 504, 550, 551, 552, 553, 554)
    ),
    *_several(
        _WINDOWS,
        _WINDOWS_SOURCE,
        ("0x800CCC01", "Certificate content invalid", "cert-rejected-by-client", None),
        ("0x800CCC02", "Certificate date invalid", "cert-rejected-by-client", None),
        ("0x800CCC0D", "Cannot find host", "", DNS),
        ("0x800CCC0E", "Failed to connect", "", CONNECTION),
        ("0x800CCC0F", "Connection dropped", "", CONNECTION),
        ("0x800CCC10", "Unknown address on the server", "rcpt-*", None),
        ("0x800CCC11", "Unknown address list on the server", "rcpt-*", None),
        ("0x800CCC18", "Logon failed", "auth-*", None),
        ("0x800CCC19", "Timeout", "", CONNECTION),
        ("0x800CCC1A", "Could not connect using SSL", "implicit-tls-on-starttls-port tls10-11-only", None),
    ),
    Code(
        _WINDOWS,
        "0x800CCC69",
        "Refused with a code of the class of 550; seen with `550 Host names have more than one DNS label`",
        "msimerson/Mail-Toaster-6#202",
        ("helo-unqualified",),
    ),
    Code(
        _WINDOWS,
        "0x800CCC79",
        "`550 5.7.1 Relaying denied. Proper authentication required.`",
        "support.moonpoint.com",
        ("no-auth", "external-recipient-direct-send"),
    ),
    Code(_NET, "-1", "GeneralFailure: the host was not found", _NET_SOURCE, about=DNS),
    *(
        Code(
            _NET,
            str(code),
            said("{name}: the server answered {code}", name=name, code=code),
            _NET_SOURCE,
            carries=re.compile(r"(\d\d\d)"),
        )
        for code, name in (
            (454, "ClientNotPermitted"),
            (500, "CommandUnrecognized"),
            (502, "CommandNotImplemented"),
            (503, "BadCommandSequence"),
            (504, "CommandParameterNotImplemented"),
            (552, "ExceededStorageAllocation"),
        )
    ),
    Code(_AUTOIT, "@error 3", "Cannot resolve the server's name", _AUTOIT_SOURCE, about=DNS),
    Code(_AUTOIT, "@error 4", "Cannot create a socket", _AUTOIT_SOURCE, about=CONNECTION),
    Code(
        _AUTOIT,
        "@error 5x",
        "A command at the opening of the session failed; x counts the commands",
        _AUTOIT_SOURCE,
        form=re.compile(r"5\d"),
    ),
    Code(_AUTOIT, "@error 50x", "The body of the mail failed", _AUTOIT_SOURCE, form=re.compile(r"50\d")),
    Code(_AUTOIT, "@error 5000", "Closing the session failed", _AUTOIT_SOURCE),
)
"""All that are known. Whose table was not found in a public document is not here: Canon, Kyocera, Xerox and others."""

KNOWN_FROM = tuple(dict.fromkeys(code.vendor for code in CODES))
"""The vendors whose codes are known."""

TEXTS: tuple[Text, ...] = (
    Text(
        "Python's smtplib",
        "SMTP AUTH extension not supported by server",
        "Office 365 offers the login inside TLS only, and the program has not started TLS. At the MX endpoint there "
        "is no login at all.",
        ("no-tls", "auth-before-starttls"),
        "ansible/awx#6947; motioneye-project/motioneye#2692",
    ),
    Text(
        "MailKit or lettre",
        "No compatible authentication mechanism",
        "The program knows none of the mechanisms that are offered: TLS is off, or it can do PLAIN only.",
        ("auth-plain-only", "no-tls"),
        "jstedfast/MailKit#541; dani-garcia/vaultwarden#1008",
    ),
    Text(
        "JavaMail",
        "Could not convert socket to TLS",
        "The TLS handshake behind STARTTLS failed: the TLS is too old, the certificate was not trusted, or a device in "
        "between interferes.",
        ("tls10-11-only", "cert-rejected-by-client"),
        "F43nd1r/Acrarium#628",
    ),
    Text(
        "JavaMail",
        "Unrecognized SSL message, plaintext connection?",
        "TLS on connect at a port for STARTTLS.",
        ("implicit-tls-on-starttls-port",),
        "halo-dev/halo#892",
    ),
    Text(
        "Go",
        "first record does not look like a TLS handshake",
        "TLS on connect at a port for STARTTLS.",
        ("implicit-tls-on-starttls-port",),
        "mattermost/mattermost#954",
    ),
    Text(
        "OpenSSL",
        "SSL23_GET_SERVER_HELLO:unknown protocol",
        "TLS on connect at a port for STARTTLS.",
        ("implicit-tls-on-starttls-port",),
        "firebase/extensions#409; elastic/kibana#73836",
    ),
    Text(
        "OpenSSL",
        "wrong version number",
        "TLS on connect at a port for STARTTLS.",
        ("implicit-tls-on-starttls-port",),
        "firebase/extensions#409; elastic/kibana#73836",
    ),
    Text(
        ".NET",
        "The handshake failed due to an unexpected packet format",
        "TLS on connect at a port for STARTTLS.",
        ("implicit-tls-on-starttls-port",),
        "pmengal/MailSystem.NET#39",
    ),
    Text(
        ".NET",
        "The server response was: 5.7.57",
        "The program has not logged in, or has not started TLS.",
        ("no-auth", "no-tls"),
        "public reports of programs in .NET",
    ),
    Text(
        "msmtp",
        "the server does not support authentication",
        "The server offers no login: TLS is off, or it is an MX endpoint, where there is none.",
        ("no-tls", "auth-not-advertised"),
        "YoRyan/mailrise#38",
    ),
    Text(
        "Indy (Delphi)",
        "starttls is required to send mail",
        "The program has not started TLS: its UseTLS is not utUseExplicitTLS, or its OpenSSL is too old.",
        ("no-tls",),
        "IndySockets/Indy#406",
    ),
    Text(
        "SQL Server Database Mail",
        "Cannot send mails to mail server. (Failure sending mail.)",
        "TLS or the connection failed, before any reply of SMTP.",
        ("tls10-11-only",),
        "ederlelis.com.br",
    ),
    Text(
        "Ricoh MP C307",
        "Transmission has failed",
        "On this device: the addresses of MAIL FROM, From and the login differ.",
        ("mail-from-not-auth-user", "header-from-not-auth-user"),
        "Ricoh: service manual of the MP C307, p.394",
    ),
    Text(
        "a device whose log says dcs_nas (its brand is not named there; believed to be Ricoh's family)",
        "SMTPC: received error code.",
        "The number in square brackets is the code with which the server has answered.",
        (),
        "ECAConcordia/IT#21",
    ),
)


def look_up(written: str) -> tuple[Code, ...]:
    """The codes that somebody may mean by what is written; one with its own entry goes before a vendor's many."""
    bare = _bare(written)
    own = [code for code in CODES if code.form is None and _bare(code.code) == bare]
    vendors = {code.vendor for code in own}
    return (*own, *(code for code in CODES if code.form and code.form.fullmatch(bare) and code.vendor not in vendors))


def codes_in(text: str) -> tuple[Code, ...]:
    """The codes that stand in a text in a form that nothing else has: `0x800CCC0E`, `16#5108`."""
    written = dict.fromkeys(found[0] for found in islice(_UNMISTAKABLE.finditer(text), MOST_CODES))
    return tuple(dict.fromkeys(code for one in written for code in look_up(one)))


_UNMISTAKABLE = re.compile(r"\b(?:0x|16#)[0-9a-f]{4,8}\b", re.IGNORECASE)


def nearest(written: str) -> str | None:
    """The known code that looks most like it."""
    by_bare = {_bare(code.code): code.code for code in CODES if code.form is None}
    close = difflib.get_close_matches(_bare(written), by_bare, n=1)
    return by_bare[close[0]] if close else None


def texts_in(text: str) -> tuple[Text, ...]:
    """The texts of programs that are quoted in a text, wherever its lines were broken."""
    squeezed = "".join(text.split()).lower()
    return tuple(one for one in TEXTS if "".join(one.text.split()).lower() in squeezed)


def rules_meant(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The ids among those known that names stand for; `auth-*` stands for many."""
    ids = tuple(known)
    return tuple(dict.fromkeys(id for name in names for id in ids if fnmatchcase(id, name)))


_PREFIX = re.compile(r"(@?ERROR|CODE)*(16#|0X|#)?")


def _bare(written: str) -> str:
    """A code without what people leave out: prefix, blanks, case."""
    bare = re.sub(r"[\s_,:.']+", "", written[:LONGEST].upper())
    bare = bare.replace("NUMBER", "")
    return _PREFIX.sub("", bare, count=1)
