"""The login: whether one is made, when, and by which mechanism. What it is made with is another file's.

A login that was refused counts as much as one that was accepted, for it, too, shows what the device means to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import AT_MX, MODES
from relayprobe.rules.rule import Evidence, Severity, rule
from relayprobe.tongue import Said, all_of, said
from relayprobe.wire.events import Credentials
from relayprobe.wire.session import AuthAttempt, Session
from relayprobe.wire.visit import Visit

_STARTTLS = (
    'Choose STARTTLS in the menu for outgoing mail (other names: "Start TLS", "SMTPS (StartTLS)", "TLS"), port 587.'
)
_NO_LOGIN = (
    'Switch "SMTP Authentication" off and empty the fields for user name and password: the MX endpoint knows no login, '
    "and goes by domain and address instead."
)
NOT_NEEDED = "No login is needed in this mode: switch it off."
RELAY_LOGS_IN = "the relay logs in at Office 365 by itself, with the account or the OAuth sign-in that it was given"


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
    repair=RELAY_LOGS_IN,
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
        yield Evidence(session.envelopes[0].event, said("MAIL FROM was sent, and no login before it"))


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
            says = said("AUTH {mechanism} was sent in clear text", mechanism=attempt.mechanism)
            if attempt.secret and not attempt.secret.empty:
                says = said("{exposed}; the password could be read", exposed=says)
            yield Evidence(attempt.event, says)


@rule(
    "The device logs in with AUTH PLAIN, which Office 365 does not offer",
    blocks=("submission",),
    answer={"submission": replies.UNRECOGNIZED_AUTH},
    fix={
        "submission": 'Choose LOGIN (or OAuth, XOAUTH2) as the authentication method, or "Auto" where that is the only '
        "other choice. A device that can do PLAIN only has to send through a relay, or without a login to the MX "
        "endpoint.",
        "any": NOT_NEEDED,
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
        says = said("AUTH PLAIN was sent, though only {offered} were offered", offered=all_of(mechanisms))
        yield Evidence(attempt.event, says)
    elif attempt.reply and attempt.reply.code == 504:
        yield Evidence(attempt.event, said("AUTH PLAIN was refused, and nothing else was tried"))
    elif attempt.offered:
        says = said("the device chose PLAIN where LOGIN was offered, too: at Office 365 it has to be able to do LOGIN")
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
        says = said("AUTH {mechanism} was sent, {offer}", mechanism=attempt.mechanism, offer=_why_not_offered(attempt))
        # In client submission a login that was on offer is none of a fault, and PLAIN has a rule of its own.
        fine = attempt.offered or (attempt.mechanism == "PLAIN" and attempt.greeted and attempt.greeted.mechanisms)
        yield Evidence(attempt.event, says, modes=AT_MX if fine else MODES)


def _why_not_offered(attempt: AuthAttempt) -> Said:
    if attempt.offered:
        return said("and the MX endpoint offers no login")
    if attempt.greeted is None:
        return said("and no greeting before it")
    if attempt.greeted.verb == "HELO":
        return said("after HELO, to which no server can answer with an offer")
    mechanisms = attempt.greeted.mechanisms
    if mechanisms:
        return said("and only {offered} were offered", offered=all_of(mechanisms))
    return said("and no login was offered")


@rule(
    "The user name stands on the line of AUTH LOGIN",
    fix={"any": "Nothing has to be done."},
    repair="the relay takes it so",
    devices="Konica Minolta; Veeam Backup; every program with .NET's SmtpClient (Database Mail, Send-MailMessage); "
    "MailKit",
    sources=("mjl-/mox#387", "rnwood/smtp4dev#3", "jstedfast/MailKit#216", "cosullivan/SmtpServer#31"),
)
def auth_login_initial_response(session: Session) -> Iterator[Evidence]:
    """Office 365 takes it, and asks for the password at once. Some other servers do not know this form, and the device
    reports that authentication failed."""
    for attempt in session.auths:
        if attempt.mechanism == "LOGIN" and _has_initial(session, attempt):
            yield Evidence(attempt.event, said("AUTH LOGIN came with the user name behind it"))


@rule(
    "AUTH PLAIN comes in two steps",
    fix={"any": "Nothing has to be done for this; where PLAIN is the only method, see `auth-plain-only`."},
    repair="the relay takes both forms",
    devices="curl, and what is built on it (ntopng)",
    sources=("curl/curl#4080", "RFC 4954 4"),
)
def auth_plain_two_step(session: Session) -> Iterator[Evidence]:
    """This is as right as one step is. A server has to answer `334` and a blank, and not all do; Office 365 offers no
    PLAIN at all."""
    for attempt in session.auths:
        if attempt.mechanism == "PLAIN" and len(attempt.events) > 1 and not _has_initial(session, attempt):
            yield Evidence(attempt.event, said("AUTH PLAIN came alone, and the login on the next line"))


def _has_initial(session: Session, attempt: AuthAttempt) -> bool:
    said = session.events[attempt.event]
    return isinstance(said, Credentials) and len(said.raw.split()) > 2


@rule(
    "The device gives up when it is asked for the user name or the password",
    blocks=("submission",),
    fix={
        "submission": "Look for a firmware update, and for another authentication method in the menu. Xerox devices "
        'are known to leave at prompts other than "Username:" and "Password:", which are those of Office 365.',
        "any": NOT_NEEDED,
    },
    repair="the relay asks with the very words that Office 365 uses",
    devices="Xerox (names that begin with XC-)",
    doubt="that it is the wording of the prompt is inferred: such a device left at one that read `User Name`",
    sources=("JustinIven/smtp-oauth-relay#57", "wneessen/go-mail#312"),
)
def auth_login_prompt_sensitive(session: Session) -> Iterator[Evidence]:
    """Some devices compare the question with the one they know, and hang up when it reads otherwise. Office 365 asks
    `334 VXNlcm5hbWU6` and `334 UGFzc3dvcmQ6`."""
    for exchange, after in zip_longest(session.exchanges, session.exchanges[1:]):
        sent, reply = exchange.said, exchange.reply
        if not isinstance(sent, Credentials) or sent.mechanism != "LOGIN" or reply is None or reply.code != 334:
            continue
        quit_ = after is not None and after.command is not None and after.command.verb == b"QUIT"
        left = after is None and session.closed is not None and session.closed.by == "client"
        if not quit_ and not left:
            continue
        exact = reply.lines[-1] in _PROMPTS
        at_most: Severity = "note" if not exact else "error" if quit_ else "warning"
        how = said("said QUIT") if quit_ else said("hung up")
        asked = said("Office 365's own words") if exact else said("words other than Office 365's")
        says = said("the device {how} when it was asked, in {asked}", how=how, asked=asked)
        yield Evidence(exchange.event, says, at_most=at_most)


_PROMPTS = ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")


@rule(
    "The device insists on CRAM-MD5 or DIGEST-MD5, which Office 365 does not offer",
    blocks=("submission",),
    answer={"submission": replies.UNRECOGNIZED_AUTH},
    fix={
        "submission": "Choose LOGIN (or OAuth) as the authentication method, or set the encryption of the login "
        "(SMTP-AUTH) to off, as on Ricoh: TLS encrypts it in its place.",
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
    devices="Ricoh; FortiAnalyzer 200D; Xerox WorkCentre with SMTP AUTH (Auto); Siemens S7-300 CP",
    sources=(
        "postalserver/postal#663",
        "postalserver/postal#414",
        "postalserver/postal#2009",
        "Xerox WorkCentre 6505 e-mail help",
        "Siemens S7-300 CP manual p. 215",
        "Ricoh/Savin design guide p. 52",
    ),
)
def auth_cram_md5_no_fallback(session: Session) -> Iterator[Evidence]:
    """These mechanisms hide the password from the server, so nobody who keeps it hashed can offer them, and Office 365
    does not. Where they are not on offer, most devices take LOGIN; one that does not is refused."""
    if not session.auths or session.auths[-1].mechanism not in ("CRAM-MD5", "DIGEST-MD5"):
        return
    attempt = session.auths[-1]
    if attempt.offered:
        others = [m for m in attempt.greeted.mechanisms if m in ("LOGIN", "XOAUTH2")] if attempt.greeted else []
        choice = said("the device chose {mechanism} which was offered", mechanism=attempt.mechanism)
        if others:
            choice = said(
                "the device chose {mechanism} where {others} were offered, too",
                mechanism=attempt.mechanism,
                others=all_of(others),
            )
        at_most: Severity = "note" if others else "warning"
        yield Evidence(attempt.event, choice, at_most=at_most)
    else:
        says = said(
            "AUTH {mechanism} was sent without an offer, and nothing else was tried", mechanism=attempt.mechanism
        )
        yield Evidence(attempt.event, says)


_OF_WINDOWS = ("NTLM", "GSSAPI", "GSS-SPNEGO", "KERBEROS_V4")


@rule(
    "The device first tries a login of Windows networks: NTLM or Kerberos",
    blocks=("submission",),
    answer={"submission": replies.UNRECOGNIZED_AUTH},
    fix={
        "submission": 'Empty the fields for an NTLM domain and a Kerberos realm ("NTLM Domain", "Kerberos 5 Realm" on '
        "Lexmark), and choose LOGIN as the method.",
        "any": NOT_NEEDED,
    },
    repair=RELAY_LOGS_IN,
    devices="programs of Windows and .NET that were used with an Exchange server of one's own; MailKit; Lexmark with "
    "an NTLM domain or Kerberos realm filled in",
    sources=(
        "jstedfast/MailKit#1265",
        "jstedfast/MailKit#582",
        "nodemailer/nodemailer#145",
        "Lexmark MS617 guide p. 135",
    ),
)
def auth_ntlm_or_gssapi_first(session: Session) -> Iterator[Evidence]:
    """These are for an Exchange server in one's own network. Office 365 offers LOGIN and XOAUTH2, and refuses all else;
    a device that then takes LOGIN gets through."""
    if not session.auths or session.auths[0].mechanism not in _OF_WINDOWS:
        return
    first = session.auths[0]
    later = next((a.mechanism for a in session.auths if a.mechanism not in _OF_WINDOWS), None)
    if later:
        says = said("{mechanism} was tried first, and then {later}", mechanism=first.mechanism, later=later)
        yield Evidence(first.event, says, at_most="note")
    else:
        says = said("AUTH {mechanism} was tried, and nothing else", mechanism=first.mechanism)
        yield Evidence(first.event, says)


@rule(
    "The device says goodbye right after the login",
    fix={
        "any": 'Nothing has to be done if it was a test of the connection ("Connection Test"). If a mail was meant '
        "to be sent, look at the device's own log: some do not like the words of the answer.",
    },
    repair="the relay answers with the words of Office 365",
    devices="Ricoh, at a server with an unusual answer to the login; the test of the connection of many devices",
    doubt="that the words of the answer matter is the guess of the one report",
    sources=("postalserver/postal#663",),
)
def auth_ok_then_quit(session: Session) -> Iterator[Evidence]:
    """Office 365 does not mind. The login was taken, and no mail followed: that is how a test looks, or a device that
    was not content with the answer."""
    if session.envelopes or not session.auths or not session.auths[-1].accepted:
        return
    attempt = session.auths[-1]
    after = [exchange for exchange in session.exchanges if exchange.event > attempt.events[-1]]
    if after and after[0].command and after[0].command.verb == b"QUIT":
        yield Evidence(after[0].event, said("QUIT came right after the login had been accepted"))


@rule(
    "The device greets again after the login",
    fix={"any": "Nothing has to be done. An update of the device or program may mend it."},
    repair="the relay keeps the login over a greeting",
    devices="old MailKit; Frappe",
    sources=("jstedfast/MailKit#162", "frappe/frappe#38831"),
)
def ehlo_after_auth(session: Session) -> Iterator[Evidence]:
    """Office 365 keeps the login. Some servers forget it, and then refuse the mail for want of one."""
    for attempt in session.auths:
        if not attempt.accepted:
            continue
        for greeting in session.greetings:
            if greeting.event > attempt.events[-1] and greeting.tls == attempt.tls:
                yield Evidence(greeting.event, said("{greeting} came after the login", greeting=greeting.verb))
                break


@rule(
    "The device logs in by POP3 before it sends",
    blocks=("submission",),
    answer={"submission": replies.NOT_AUTHENTICATED},
    fix={
        "submission": 'Set the authentication to SMTP AUTH in place of "POP before SMTP" ("Authentication Method: SMTP '
        'AUTH", "Email Send Authentication: SMTP AUTH (Auto)", "SMTP requires POP3 Before SMTP Authentication: off"), '
        "and fill in the mailbox's full address and password.",
        "any": 'Switch "POP before SMTP" off: no login is needed in this mode.',
    },
    repair=RELAY_LOGS_IN,
    devices="Epson, Xerox, Fuji Xerox, Konica Minolta, Brother and Dell have the setting (documented)",
    doubt="no transcript of it was found",
    sources=(
        "Epson EM-C800 guide",
        "Xerox WorkCentre 6015 and 6505 e-mail help",
        "Fuji Xerox DocuCentre-IV C2260 manual p. 581",
        "Brother MFC-8860DN guide",
        "Dell 2335dn guide p. 35",
        sources.PRINTERS,
    ),
)
def pop_before_smtp(session: Session, visits: Sequence[Visit]) -> Iterator[Evidence]:
    """In old times a login to the mailbox opened the way for mail from the same address for some minutes. Office 365
    does not do that: it wants the login in SMTP itself, and refuses MAIL FROM without one."""
    if session.pop3:
        if (login := session.pop3_login) is not None:
            yield Evidence(login, said("the device logged in at the POP3 listener, where it sends nothing"))
        return
    asked = next(session.commands(b"USER", b"APOP"), None)
    if asked and asked.command:
        says = said("{command}, a command of POP3, was sent to the mail server", command=asked.command.verb.decode())
        yield Evidence(asked.event, says)
    came_before = any(visit.pop3_login and visit.started <= session.started for visit in visits)
    if came_before and session.envelopes and not session.auths:
        yield Evidence(session.envelopes[0].event, said("mail came without a login, after a login by POP3"))
