"""The login: whether one is made, when, by which mechanism, and with what.

Passwords are not known here, only what may be said of them (`Secret`). A login that was refused counts as much as one
that was accepted, for it, too, shows what the device means to do.
"""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import MODES, Mode
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.wire.events import Credentials, Likeness
from relayprobe.wire.session import AuthAttempt, Session, sender_side

AT_MX: tuple[Mode, ...] = ("direct-send", "connector")

_STARTTLS = (
    'Choose STARTTLS in the menu for outgoing mail (other names: "Start TLS", "SMTPS (StartTLS)", "TLS"), port 587.'
)
_NO_LOGIN = (
    'Switch "SMTP Authentication" off and empty the fields for user name and password: the MX endpoint knows no login, '
    "and goes by domain and address instead."
)
_NOT_NEEDED = "No login is needed in this mode: switch it off."
_RELAY_LOGS_IN = "the relay logs in at Office 365 by itself, with the account or the OAuth sign-in that it was given"


@rule(
    "Mail is sent without a login",
    blocks=("submission",),
    answer={"submission": replies.NOT_AUTHENTICATED},
    fix={
        "submission": 'Switch "SMTP Authentication" on ("Email Send Authentication: SMTP AUTH", "Authentication '
        "Method: SMTP AUTH\"), and fill in the mailbox's full address and its password. On Ricoh, Konica Minolta and "
        "Lexmark the switch and the fields are separate settings; Lexmark wants both Device-Initiated and "
        "User-Initiated E-mail set to "
        'Use Device SMTP Credentials. "POP before SMTP" is no login for Office 365. A device without such a setting: '
        "use Direct Send or a connector, or let it send through a relay.",
        "any": "Nothing is needed in this mode: the MX endpoint asks for no login.",
    },
    repair=_RELAY_LOGS_IN,
    devices="HP with embedded digital sending; Lexmark with its defaults; APC AP7900, which has no fields for a login; "
    "recorders for cameras",
    sources=(
        "dimuskin/ax-zabbix-html-template#2",
        "spupuz/VibeNVR#24",
        "simonrob/email-oauth2-proxy#66",
        "HP Digital Sending Software 4 reference p. 5",
        "Lexmark MS617 guide p. 135",
        "APC AP7900 guide p. 85",
        sources.PRINTERS,
    ),
)
def no_auth(session: Session) -> Iterator[Evidence]:
    """Client submission is for those who log in to a mailbox: without a login MAIL FROM is refused. What is meant for
    the MX endpoint of the own domain (Direct Send, a connector) needs none, and must then be sent there."""
    if session.envelopes and all(attempt.cancelled for attempt in session.auths):
        yield Evidence(session.envelopes[0].event, "MAIL FROM was sent, and no login before it")


@rule(
    "The login comes before TLS",
    blocks=("submission",),
    answer={"submission": replies.UNRECOGNIZED_AUTH},
    fix={"submission": _STARTTLS + " If a password went by in clear text, change it.", "any": _NO_LOGIN},
    repair="the relay takes the login in clear text on the local network, and does TLS first towards Office 365",
    devices="Siemens S7-1200 before firmware 4.4; ESPMailer; programs with JavaMail where starttls is off",
    sources=(
        "pmengal/MailSystem.NET#39",
        "ArduinoHannover/ESPMailer#2",
        "davidmoten/subethasmtp#21",
        "motioneye-project/motioneye#2692",
        "ansible/awx#6947",
    ),
)
def auth_before_starttls(session: Session) -> Iterator[Evidence]:
    """Office 365 offers AUTH inside TLS only, and refuses it in clear text. Many devices show that as "authentication
    not supported by the server". And a password in clear text can be read by anybody on the way."""
    for attempt in session.auths:
        if not attempt.tls:
            exposed = "; the password could be read" if attempt.secret and not attempt.secret.empty else ""
            yield Evidence(attempt.event, f"AUTH {attempt.mechanism} was sent in clear text{exposed}")


@rule(
    "The device logs in with AUTH PLAIN, which Office 365 does not offer",
    blocks=("submission",),
    answer={"submission": replies.UNRECOGNIZED_AUTH},
    fix={
        "submission": 'Choose LOGIN (or OAuth, XOAUTH2) as the authentication method, or "Auto" where that is the only '
        "other choice. A device that can do PLAIN only has to send through a relay, or without a login to the MX "
        "endpoint.",
        "any": _NOT_NEEDED,
    },
    repair="the relay takes PLAIN, and logs in at Office 365 with OAuth or LOGIN",
    devices="Mattermost of 2016; maddy as a client",
    sources=("mattermost/mattermost#954", "foxcpp/maddy#683", sources.OAUTH),
)
def auth_plain_only(session: Session) -> Iterator[Evidence]:
    """Office 365 offers LOGIN and XOAUTH2, and no other mechanism. A device that insists on PLAIN is refused before it
    can say who it is. One that takes PLAIN where it is offered, as most programs do, may well take LOGIN where it is
    not."""
    plain = [attempt for attempt in session.auths if attempt.mechanism == "PLAIN"]
    if not plain or len(plain) < len(session.auths):
        return
    attempt = plain[-1]
    mechanisms = attempt.greeted.mechanisms if attempt.greeted else ()
    if mechanisms and not attempt.offered:
        yield Evidence(attempt.event, f"AUTH PLAIN was sent, though only {' and '.join(mechanisms)} were offered")
    elif attempt.reply and attempt.reply.code == 504:
        yield Evidence(attempt.event, "AUTH PLAIN was refused, and nothing else was tried")
    elif attempt.offered:
        says = "the device chose PLAIN where LOGIN was offered, too: at Office 365 it has to be able to do LOGIN"
        yield Evidence(attempt.event, says, at_most="note")


@rule(
    "The device logs in where no login is offered",
    blocks=AT_MX,
    risks=("submission",),
    answer={"direct-send": replies.UNRECOGNIZED_AUTH, "connector": replies.UNRECOGNIZED_AUTH},
    fix={
        "submission": "See to it that the device says EHLO and does STARTTLS first, and that its method is LOGIN or "
        "OAuth: inside TLS Office 365 offers AUTH LOGIN XOAUTH2.",
        "any": _NO_LOGIN,
    },
    repair="the relay takes a login or none from the device, and gives Office 365 what the way of sending asks for",
    devices="IP cameras; printers that were moved from a mailbox to Direct Send with the old login left in; "
    "Mailspring; Rallly",
    sources=(
        "splitbrain/dokuwiki-plugin-smtp#67",
        "kost/smtp2mqtt#1",
        "nodemailer/nodemailer#1081",
        "lukevella/rallly#46",
        "antespi/docker-imap-devel#6",
    ),
)
def auth_not_advertised(session: Session) -> Iterator[Evidence]:
    """A server lists the logins that it takes in its answer to EHLO. The MX endpoint, where Direct Send and connectors
    are, lists none and refuses AUTH; client submission lists LOGIN and XOAUTH2 once TLS is up."""
    for attempt in session.auths:
        says = f"AUTH {attempt.mechanism} was sent, {_why_not_offered(attempt)}"
        # In client submission a login that was on offer is none of a fault, and PLAIN has a rule of its own.
        fine = attempt.offered or (attempt.mechanism == "PLAIN" and attempt.greeted and attempt.greeted.mechanisms)
        yield Evidence(attempt.event, says, modes=AT_MX if fine else MODES)


def _why_not_offered(attempt: AuthAttempt) -> str:
    if attempt.offered:
        return "and the MX endpoint offers no login"
    if attempt.greeted is None:
        return "and no greeting before it"
    if attempt.greeted.verb == "HELO":
        return "after HELO, to which no server can answer with an offer"
    mechanisms = attempt.greeted.mechanisms
    return f"and only {' and '.join(mechanisms)} were offered" if mechanisms else "and no login was offered"


@rule(
    "The login is made with an empty user name or password",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Fill in the mailbox's full address as the user name, and its password, and save; some devices "
        "empty the password when another setting of the page is changed, so look again.",
        "any": _NOT_NEEDED,
    },
    repair=_RELAY_LOGS_IN,
    devices="ntopng; Rallly; raspi-cam-srv",
    sources=("ntop/ntopng#5342", "lukevella/rallly#46", "signag/raspi-cam-srv#42"),
)
def auth_blank_credentials(session: Session) -> Iterator[Evidence]:
    """Authentication is switched on at the device, and what to log in with was not filled in. No mailbox has an empty
    name or password."""
    for attempt in session.auths:
        if attempt.mechanism not in ("LOGIN", "PLAIN", "XOAUTH2"):
            continue
        blank = [
            what
            for what, is_blank in (
                ("user name", attempt.user == ""),
                ("password", attempt.secret is not None and attempt.secret.empty),
            )
            if is_blank
        ]
        if blank:
            are = "is" if len(blank) == 1 else "are"
            yield Evidence(attempt.events[-1], f"the {' and '.join(blank)} {are} empty")


@rule(
    "A line end is inside the user name or the password",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Type user name and password in by hand instead of pasting them. In scripts, make the base64 "
        "with `printf %s`, not with `echo`, which adds a line end.",
        "any": _NOT_NEEDED,
    },
    repair=_RELAY_LOGS_IN,
    devices="shell scripts; forms into which text was pasted",
    sources=("YoRyan/mailrise#101",),
)
def auth_newline_inside_base64(session: Session) -> Iterator[Evidence]:
    """User name and password are compared as they come, octet by octet, and a line end at the end is one octet too
    many. It is not seen: within base64 it is nothing but another letter or two."""
    for attempt in session.auths:
        if attempt.user and attempt.user.endswith(("\r", "\n")):
            yield Evidence(attempt.events[-1], "the user name ends in a line end")
        if attempt.secret and attempt.secret.line_end:
            yield Evidence(attempt.events[-1], "the password ends in a line end")


@rule(
    "The login is broken into several lines",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Use a password of at most 40 characters, better 20, or update the program. Where the device "
        "cannot be helped, let it send through a relay with a short password of its own.",
        "any": _NOT_NEEDED,
    },
    repair=f"{_RELAY_LOGS_IN}: towards the relay a short password is enough",
    devices="mailsend; EventMachine; ghettoVCB on ESXi; mailio",
    sources=(
        "muquit/mailsend#22",
        "eventmachine/eventmachine#364",
        "lamw/ghettoVCB#252",
        "karastojko/mailio#216",
        "sendgrid/docs#6385",
    ),
)
def auth_base64_wrapped(session: Session) -> Iterator[Evidence]:
    """A login is one line, however long. Where a device breaks it after 60, 64 or 76 letters, as is right inside a
    message, the first piece is taken for the whole and refused, and the rest for a command that nobody knows (500
    5.3.3)."""
    for attempt in session.auths:
        if not attempt.valid_base64:
            continue
        for event in range(attempt.events[-1] + 1, len(session.events)):
            said = session.events[event]
            if isinstance(said, Credentials) and said.stage == "stray" and said.valid_base64:
                yield Evidence(event, "base64 came as a command, right behind the login: the rest of it, it seems")
            elif sender_side(said) == "client":
                break


@rule(
    "The password is cut off",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Give the mailbox a password of at most 20 letters and digits, and type it in again. The field "
        "of the device may be shorter than what was typed, and few devices say so (Epson takes 20 characters, Xerox "
        "WorkCentre 6015 and Dell 2335dn take 31).",
        "any": _NOT_NEEDED,
    },
    repair=f"{_RELAY_LOGS_IN}: towards the relay a short password is enough",
    devices="Epson PX-M382F, EM-C800, WF-C21000 (20 characters); Xerox WorkCentre 6015 and Dell 2335dn (31); mailio",
    sources=(
        "Epson PX-M382F, EM-C800 and WF-C21000 guides: Authenticated Password, 0 to 20 characters",
        "Xerox WorkCentre 6015 e-mail help",
        "Dell 2335dn guide p. 35",
        "karastojko/mailio#216",
        "postalserver/postal#1245",
    ),
)
def auth_password_truncated(session: Session) -> Iterator[Evidence]:
    """The first part of a password is a wrong password. The device drops what does not fit into its field without a
    word, and then reports that authentication failed, though all was typed in rightly."""
    for attempt in session.auths:
        secret = attempt.secret
        if secret is None:
            continue
        if secret.likeness == "prefix":
            yield Evidence(attempt.events[-1], "the password is the beginning of the expected one, and then it stops")
        elif secret.field_width and secret.likeness is None and attempt.accepted is False:
            says = "the refused password is just as long as a field at which devices are known to cut"
            yield Evidence(attempt.events[-1], says, at_most="note")


_CHARSETS: dict[str, tuple[str, Severity]] = {
    "latin-1": ("the password has characters beyond ASCII, and they are not in UTF-8", "warning"),
    "utf-8": ("the password has characters beyond ASCII; they are in UTF-8", "note"),
}


@rule(
    "The password has characters that not everybody writes alike",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Give the mailbox a password of ASCII letters, digits and `- _ . !` only, and type it in again.",
        "any": _NOT_NEEDED,
    },
    repair=f"{_RELAY_LOGS_IN}: towards the relay a plain password is enough",
    devices="old multifunction printers; PHPMailer; Roundcube; MailKit; K-9",
    doubt="in which encoding Office 365 expects such a password is not documented; UTF-8 is likely, and one report has "
    "it the other way round",
    sources=(
        "PHPMailer/PHPMailer#3039",
        "roundcube/roundcubemail#7023",
        "jstedfast/MailKit#620",
        "jstedfast/MailKit#1647",
        "thunderbird/thunderbird-android#1673",
    ),
)
def auth_password_charset(session: Session) -> Iterator[Evidence]:
    """Umlauts, the euro and the section sign are other octets in UTF-8 than in the older character sets that devices
    use. Octets are what is compared, so a password that is typed in rightly is refused as a wrong one."""
    for attempt in session.auths:
        secret = attempt.secret
        if secret is None:
            continue
        if secret.likeness == "encoding":
            yield Evidence(attempt.events[-1], "the password is the expected one, written in another character set")
        elif secret.charset != "ascii":
            says, at_most = _CHARSETS[secret.charset]
            yield Evidence(attempt.events[-1], says, at_most=at_most)


@rule(
    "The user name or the password is not the expected one",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Type user name and password in again, with an eye on capital letters and on blanks at the ends. "
        "If in doubt, sign in with both at a computer first.",
        "any": _NOT_NEEDED,
    },
    repair=_RELAY_LOGS_IN,
    sources=(sources.PRINTERS,),
)
def auth_wrong_password(session: Session) -> Iterator[Evidence]:
    """The login was refused here, because it is not one of those that relayprobe was told to expect. Office 365 refuses
    a wrong one too, and after some tries it locks the mailbox."""
    for attempt in session.auths:
        secret = attempt.secret
        if attempt.accepted is not False or not attempt.user or secret is None or secret.empty:
            continue
        if secret.likeness in ("blank", "case", "different"):
            says = f"the password of {quoted(attempt.user)} is not the expected one: {DIFFERENCES[secret.likeness]}"
            yield Evidence(attempt.events[-1], says)
        elif session.site.accounts and attempt.user.lower() not in session.site.accounts:
            yield Evidence(attempt.events[-1], f"no account {quoted(attempt.user)} is expected")


@rule(
    "The user name is not a full address",
    blocks=("submission",),
    answer={"submission": replies.CREDENTIALS_INCORRECT},
    fix={
        "submission": 'Enter the mailbox\'s full address, as in scanner@contoso.com, as the user name ("Login Name", '
        '"Authenticated Account", "Device Userid"), and leave a separate field for a domain ("NTLM Domain") empty.',
        "any": _NOT_NEEDED,
    },
    repair=_RELAY_LOGS_IN,
    devices="devices that were moved from an Exchange server of one's own; Lexmark and Konica Minolta have a separate "
    "field for the domain; Ricoh's form for scanning to the cloud wants no @",
    doubt="no transcript of such a login was found; the reply is that to any wrong user name",
    sources=(
        "Lexmark MS617 guide p. 135 (NTLM Domain)",
        "Ricoh Scan-to-Office365 user guide 1.20.2 p. 105",
        "motioneye-project/motioneyeos#2192",
        sources.PRINTERS,
    ),
)
def auth_user_not_upn(session: Session) -> Iterator[Evidence]:
    """Office 365 finds a mailbox by its full address, the user principal name. A bare name, or the DOMAIN\\user of an
    Exchange server of one's own, is nobody's."""
    for attempt in session.auths:
        user = attempt.user
        # A name with bars is one of Azure Communication Services: resource|application|tenant.
        if not user or "@" in user or "|" in user or attempt.mechanism == "NTLM":
            continue
        expected = user.lower() in session.site.accounts
        says = f"the user name is {quoted(user)}" + (", as relayprobe was told to expect" if expected else "")
        yield Evidence(attempt.events[-1], says, at_most="note" if expected else "error")


DIFFERENCES: dict[Likeness, str] = {
    "prefix": "it is cut off",
    "line-end": "a line end is behind it",
    "encoding": "it is written in another character set",
    "blank": "blanks around it differ",
    "case": "capital and small letters differ",
    "different": "it is another one altogether",
}
"""How a password differs from the expected one, in words."""
