"""What the login is made with: user name and password, as far as a password may be known.

Passwords are not known here, only what may be said of them (`Secret`).
"""

from __future__ import annotations

from collections.abc import Iterator

from relayprobe.office365 import replies, sources
from relayprobe.rules.auth import NOT_NEEDED, RELAY_LOGS_IN
from relayprobe.rules.rule import Evidence, Severity, quoted, rule
from relayprobe.tongue import Said, said
from relayprobe.wire.events import Credentials, Likeness
from relayprobe.wire.session import Session, sender_side


@rule(
    "The login is made with an empty user name or password",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Fill in the mailbox's full address as the user name, and its password, and save; some devices "
        "empty the password when another setting of the page is changed, so look again.",
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
    devices="ntopng; Rallly; raspi-cam-srv",
    sources=("ntop/ntopng#5342", "lukevella/rallly#46", "signag/raspi-cam-srv#42"),
)
def auth_blank_credentials(session: Session) -> Iterator[Evidence]:
    """Authentication is switched on at the device, and what to log in with was not filled in. No mailbox has an empty
    name or password."""
    for attempt in session.auths:
        if attempt.mechanism not in ("LOGIN", "PLAIN", "XOAUTH2"):
            continue
        match attempt.user == "", attempt.secret is not None and attempt.secret.empty:
            case True, True:
                yield Evidence(attempt.events[-1], said("the user name and password are empty"))
            case True, False:
                yield Evidence(attempt.events[-1], said("the user name is empty"))
            case False, True:
                yield Evidence(attempt.events[-1], said("the password is empty"))


@rule(
    "A line end is inside the user name or the password",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Type user name and password in by hand instead of pasting them. In scripts, make the base64 "
        "with `printf %s`, not with `echo`, which adds a line end.",
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
    devices="shell scripts; forms into which text was pasted",
    sources=("YoRyan/mailrise#101",),
)
def auth_newline_inside_base64(session: Session) -> Iterator[Evidence]:
    """User name and password are compared as they come, octet by octet, and a line end at the end is one octet too
    many. It is not seen: within base64 it is nothing but another letter or two."""
    for attempt in session.auths:
        if attempt.user and attempt.user.endswith(("\r", "\n")):
            yield Evidence(attempt.events[-1], said("the user name ends in a line end"))
        if attempt.secret and attempt.secret.line_end:
            yield Evidence(attempt.events[-1], said("the password ends in a line end"))


@rule(
    "The login is broken into several lines",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Use a password of at most 40 characters, better 20, or update the program. Where the device "
        "cannot be helped, let it send through a relay with a short password of its own.",
        "any": NOT_NEEDED,
    },
    repair=f"{RELAY_LOGS_IN}: towards the relay a short password is enough",
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
            sent = session.events[event]
            if isinstance(sent, Credentials) and sent.stage == "stray" and sent.valid_base64:
                says = said("base64 came as a command, right behind the login: the rest of it, it seems")
                yield Evidence(event, says)
            elif sender_side(sent) == "client":
                break


@rule(
    "The password is cut off",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Give the mailbox a password of at most 20 letters and digits, and type it in again. The field "
        "of the device may be shorter than what was typed, and few devices say so (Epson takes 20 characters, Xerox "
        "WorkCentre 6015 and Dell 2335dn take 31).",
        "any": NOT_NEEDED,
    },
    repair=f"{RELAY_LOGS_IN}: towards the relay a short password is enough",
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
            says = said("the password is the beginning of the expected one, and then it stops")
            yield Evidence(attempt.events[-1], says)
        elif secret.field_width and secret.likeness is None and attempt.accepted is False:
            says = said("the refused password is just as long as a field at which devices are known to cut")
            yield Evidence(attempt.events[-1], says, at_most="note")


_CHARSETS: dict[str, tuple[Said, Severity]] = {
    "latin-1": (said("the password has characters beyond ASCII, and they are not in UTF-8"), "warning"),
    "utf-8": (said("the password has characters beyond ASCII; they are in UTF-8"), "note"),
}


@rule(
    "The password has characters that not everybody writes alike",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Give the mailbox a password of ASCII letters, digits and `- _ . !` only, and type it in again.",
        "any": NOT_NEEDED,
    },
    repair=f"{RELAY_LOGS_IN}: towards the relay a plain password is enough",
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
            says = said("the password is the expected one, written in another character set")
            yield Evidence(attempt.events[-1], says)
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
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
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
            says = said(
                "the password of {user} is not the expected one: {difference}",
                user=quoted(attempt.user),
                difference=DIFFERENCES[secret.likeness],
            )
            yield Evidence(attempt.events[-1], says)
        elif session.site.accounts and attempt.user.lower() not in session.site.accounts:
            yield Evidence(attempt.events[-1], said("no account {user} is expected", user=quoted(attempt.user)))


@rule(
    "The user name is not a full address",
    blocks=("submission",),
    answer={"submission": replies.CREDENTIALS_INCORRECT},
    fix={
        "submission": 'Enter the mailbox\'s full address, as in scanner@contoso.com, as the user name ("Login Name", '
        '"Authenticated Account", "Device Userid"), and leave a separate field for a domain ("NTLM Domain") empty.',
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
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
        says = said("the user name is {user}", user=quoted(user))
        if expected:
            says = said("{wrong}, as relayprobe was told to expect", wrong=says)
        yield Evidence(attempt.events[-1], says, at_most="note" if expected else "error")


@rule(
    "The answer to the question for a login is not base64",
    blocks=("submission",),
    answer={"submission": replies.AUTH_UNSUCCESSFUL},
    fix={
        "submission": "Update the program, or correct the script: user name and password are sent in base64, each on a "
        "line of its own, as `printf %s 'text' | base64 -w0` makes them.",
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
    devices="Arduino sketches; tests with telnet; programs with a login of their own making",
    doubt="Office 365's own words for it were not seen; Gmail says 501 5.5.2",
    sources=("espressif/arduino-esp32#3813", "RFC 4954 4"),
)
def auth_bad_base64(session: Session) -> Iterator[Evidence]:
    """In AUTH user name and password cross the wire in base64. What is none cannot be read, and the login is refused.
    Some devices go on and send the password as a command."""
    for attempt in session.auths:
        if not attempt.valid_base64 and not attempt.cancelled:
            says = said("an answer in AUTH {mechanism} is not base64", mechanism=attempt.mechanism)
            yield Evidence(attempt.events[-1], says)


DIFFERENCES: dict[Likeness, Said] = {
    "prefix": said("it is cut off"),
    "line-end": said("a line end is behind it"),
    "encoding": said("it is written in another character set"),
    "blank": said("blanks around it differ"),
    "case": said("capital and small letters differ"),
    "different": said("it is another one altogether"),
}
"""How a password differs from the expected one, in words."""
