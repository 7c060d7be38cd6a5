"""The header of the mail, and how its parts are put together (MIME).

Only the first 64 KiB of a message are looked at, and of one whose text was purged only what is left of its header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate

from relayprobe.office365 import replies, sources
from relayprobe.office365.modes import AT_MX, MODES
from relayprobe.rules.addresses import login_of, same_mailbox
from relayprobe.rules.rule import Evidence, quoted, rule
from relayprobe.tongue import Said, said
from relayprobe.wire import message as header
from relayprobe.wire.session import Envelope, Message, Session


def _messages(session: Session) -> Iterator[tuple[Envelope, Message]]:
    """The messages whose header came, and is still there."""
    for envelope in session.envelopes:
        message = envelope.message
        if message is not None and message.body.raw and message.body.end != "cut" and not message.body.refused:
            yield envelope, message


@rule(
    "The From header names another mailbox than the one that logs in",
    blocks=("submission",),
    answer={"submission": replies.SEND_AS_DENIED},
    fix={
        "submission": "Switch off that the user who signs in at the panel becomes the sender: on Ricoh set SP5-860-022 "
        'on, so that the device\'s own address stands in From and the user in Reply-To; on others look for "From", '
        '"Sender" and "use the login user\'s address". Or give the login the Send As permission for the other '
        "mailboxes, or use a connector.",
        "any": "Nothing is needed in this mode, as long as the address is in one of your own domains.",
    },
    repair="the relay puts its own account's address into From, and the device's into Reply-To",
    devices="Ricoh with SP5-860-022 off, and other printers at which users sign in; Open Journal Systems; rss2email; "
    "FusionAuth",
    doubt="who has the Send As permission for whom cannot be seen from here",
    sources=(
        "pkp/pkp-lib#7412",
        "rss2email/rss2email#147",
        "FusionAuth/fusionauth-issues#220",
        "gophish/gophish#2900",
        "Ricoh MP C307 service manual p. 394 (SP5-860-022)",
        sources.PRINTERS,
    ),
)
def header_from_not_auth_user(session: Session) -> Iterator[Evidence]:
    """Office 365 compares the login with the address that the reader will see, in the From header, and not with MAIL
    FROM alone. The refusal comes after the whole message, so the device reports that sending failed, and not why."""
    for envelope in session.envelopes:
        login = login_of(session, envelope)
        if envelope.message is None or login is None or not login.user:
            continue
        named = [address for address in envelope.message.addresses("From") if "@" in address]
        if named and all(same_mailbox(login.user, address) is False for address in named):
            says = said(
                "the login is {user}, and From says {sender}",
                user=quoted(login.user),
                sender=quoted(", ".join(named)),
            )
            yield Evidence(envelope.message.event, says)


@rule(
    "The mail has no sender in its header",
    risks=MODES,
    answer=dict.fromkeys(MODES, replies.NOT_RFC5322),
    fix={"any": 'Fill in the device\'s sender ("Sender Name", "Sender\'s Email Address", "From Address").'},
    repair="the relay adds From, with the address of MAIL FROM",
    devices="win-acme 2.1.6; Mailtrain; AFFiNE; CyberPanel; devices that send a subject and nothing else",
    doubt="Microsoft wrote once that Office 365 puts the sender of the envelope in; its list of codes has a refusal",
    sources=(
        "MicrosoftDocs/microsoft-365-docs#13478",
        "Mailtrain-org/mailtrain#299",
        "win-acme/win-acme#1478",
        "toeverything/AFFiNE#13702",
        "RFC 5322 3.6.2",
        sources.REPLY_CODES,
    ),
)
def missing_from_header(session: Session) -> Iterator[Evidence]:
    """A mail has to say who it is from. Office 365 fills that in, or refuses it; Gmail and others refuse it."""
    for _, message in _messages(session):
        values = message.fields("From")
        if not values:
            yield Evidence(message.event, said("there is no From header"))
        elif not message.addresses("From"):
            yield Evidence(message.event, said("From has no address in it: {text}", text=quoted(", ".join(values))))


@rule(
    "The mail has no date, no Message-ID, or a date from before the device was made",
    risks=AT_MX,
    fix={
        "any": 'Set the clock: a time server ("NTP", "SNTP", "Time Server") and the time zone. A missing '
        "Message-ID cannot be set.",
    },
    repair="the relay adds Date and Message-ID",
    devices="embedded programs; devices without a battery for their clock",
    sources=("mailcow/mailcow-dockerized#3624", "beyondcode/helo-community#35", "RFC 5322 3.6"),
)
def missing_date_or_message_id(session: Session) -> Iterator[Evidence]:
    """Office 365 takes the mail. Filters of spam count it against it, and with a wrong date it stands at the bottom of
    the mailbox, where nobody looks."""
    for _, message in _messages(session):
        match [name for name in ("Date", "Message-ID") if not any(message.fields(name))]:
            case [name]:
                yield Evidence(message.event, said("there is no {field}", field=name))
            case ["Date", "Message-ID"]:
                yield Evidence(message.event, said("there is no Date and no Message-ID"))
        date = parsedate(next(iter(message.fields("Date")), "")[:200])
        if date and date[0] < OLDEST:
            yield Evidence(message.event, said("the date is of the year {year}", year=date[0]))


OLDEST = 2010
"""A year before which no clock is right any more: devices that have lost theirs begin in 1970 or 2000."""


@rule(
    "Semicolons stand between addresses in the header",
    risks=MODES,
    fix={"any": "Put commas between addresses, or one address into each field."},
    repair="the relay writes commas in their place",
    devices="denomailer; open-falcon; VirtoCommerce; ELMAH; forms on web sites; people who are used to Outlook",
    doubt="Office 365 lets it pass in most cases, as far as is known; no transcript was found",
    sources=(
        "EC-Nordbund/denomailer#89",
        "VirtoCommerce/vc-platform#605",
        "open-falcon/mail-provider#30",
        "jstedfast/MimeKit#233",
        "RFC 5322 3.4",
    ),
)
def header_list_semicolon(session: Session) -> Iterator[Evidence]:
    """Outlook takes semicolons, and the standard of mail does not. Servers refuse the header, or see one long address
    in it that nobody can answer to."""
    for _, message in _messages(session):
        for name in ("To", "Cc", "From", "Reply-To"):
            for value in message.fields(name):
                if ";" in (bare := _UNQUOTED.sub("", value[:4096])) and not _GROUP.search(bare) and "@" in bare:
                    yield Evidence(message.event, said("{field} reads {value}", field=name, value=quoted(value)))


_UNQUOTED = re.compile(r'"[^"]*"|\([^)]*\)|=\?[^?]*\?[^?]*\?[^?]*\?=')
_GROUP = re.compile(r"(?:^|,)[^,;:<>@]*:[^;]*;")  # RFC 5322 3.4: `undisclosed-recipients:;`


@rule(
    "Letters beyond ASCII are sent without saying how they are to be read",
    fix={
        "any": "Set the device's language or character set for mail to UTF-8, and avoid accents in subject and names."
    },
    repair="the relay encodes the header, and says of the text what it is",
    devices="SmtpClient for Qt as it is set at first; old scripts in PHP; devices with subjects in their own language",
    sources=("bluetiger9/SmtpClient-for-Qt#177", "RFC 6152; RFC 2047"),
)
def eight_bit_undeclared(session: Session) -> Iterator[Evidence]:
    """Office 365 takes the mail. How such letters come out at the reader is a matter of luck: often as question
    marks."""
    for envelope, message in _messages(session):
        body = envelope.path.parameter("BODY")
        if not message.body.lines.eight_bit or envelope.path.parameter("SMTPUTF8") is not None:
            continue
        if not header.header(message.body.raw).isascii():
            yield Evidence(message.event, said("there are octets beyond ASCII in the header"))
        elif body is None or body.upper() not in ("8BITMIME", "BINARYMIME"):
            says = said("there are octets beyond ASCII in the text, and MAIL FROM said nothing of it")
            yield Evidence(message.event, says)
        elif not message.body.purged and not _DECLARED.search(message.body.raw):
            yield Evidence(message.event, said("there are octets beyond ASCII in the text, and no part says so"))


_DECLARED = re.compile(rb"^content-transfer-encoding:[ \t]*(?:8bit|binary)", re.IGNORECASE | re.MULTILINE)


@rule(
    "The mail says of its whole that it is in base64, where only its parts can be",
    fix={"any": "Update the device. Outlook and Exchange read such a mail; some archives lose the attachment."},
    repair="the relay takes the wrong header field away",
    devices="an office printer whose subject is Attached Image",
    sources=("jonaswinkler/paperless-ng#404", "jonaswinkler/paperless-ng#379", "RFC 2045 6.4"),
)
def mime_cte_on_multipart(session: Session) -> Iterator[Evidence]:
    """Office 365 takes the mail. Programs that read strictly find no attachment in it."""
    for _, message in _messages(session):
        kind = next(iter(message.fields("Content-Type")), "").lower()
        encoding = next(iter(message.fields("Content-Transfer-Encoding")), "").strip().lower()
        if kind.startswith("multipart/") and encoding in ("base64", "quoted-printable"):
            kind = kind.partition(";")[0]
            says = said("Content-Transfer-Encoding is {encoding} on {kind}", encoding=encoding, kind=quoted(kind))
            yield Evidence(message.event, says)


@rule(
    "The parts of the mail are not divided as they should be",
    risks=MODES,
    fix={"any": "Update the device or program. Send a single PDF instead of several files, where the menu has that."},
    devices="mailers of web pages; programs for spam; devices with a mailer of their own making",
    doubt="whether Office 365 refuses such a mail depends on the fault; no transcript was found",
    sources=("MailScanner/v4#65", "zou-yu/worker-mailer#23", "RFC 2046 5.1.1"),
)
def mime_boundary_broken(session: Session) -> Iterator[Evidence]:
    """A mail with attachments names a boundary in its header, and that stands between its parts and at its end. Where
    it does not fit, the reader sees an empty mail, or gibberish."""
    for _, message in _messages(session):
        kind = next(iter(message.fields("Content-Type")), "")
        if (
            kind.lower().startswith("multipart/")
            and not message.body.purged
            and (fault := _boundary_fault(message, kind))
        ):
            yield Evidence(message.event, fault)


_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)
_SPECIAL = re.compile(r"[()<>@,:\\/\[\]?=]")  # RFC 2045 5.1: what has to stand in quotes


def _boundary_fault(message: Message, kind: str) -> Said | None:
    found = _BOUNDARY.search(kind)
    if not found:
        return said("Content-Type is multipart, and names no boundary")
    boundary = found[1] if found[1] is not None else found[2]
    if not boundary or len(boundary) > 70:
        return said("the boundary has {length} characters, and 1 to 70 are allowed", length=len(boundary))
    if found[1] is None and _SPECIAL.search(boundary):
        return said("the boundary {boundary} has to stand in quotes", boundary=quoted(boundary))
    mark = b"--" + boundary.encode("latin-1", "replace")
    body = message.body
    if mark not in body.raw:
        nowhere = said("the boundary {boundary} is nowhere in the text", boundary=quoted(boundary))
        return nowhere if body.size <= len(body.raw) else None
    if body.size <= len(body.raw) and mark + b"--" not in body.raw:
        return said("the boundary {boundary} never ends the mail", boundary=quoted(boundary))
    return None


@rule(
    "An attachment is not marked as one",
    fix={"any": "Nothing has to be done. An update of the program may mend it."},
    devices="software of clubs and associations; some scanners",
    sources=("jonaswinkler/paperless-ng#1088", "RFC 2183"),
)
def attachment_without_disposition(session: Session) -> Iterator[Evidence]:
    """Office 365 takes the mail, and Outlook shows the file by its name. Other programs may not show it."""
    for _, message in _messages(session):
        if message.body.purged:
            continue
        for part in _parts(message):
            found = _NAME.search(next(iter(header.fields(part, "Content-Type")), ""))
            if found and not header.fields(part, "Content-Disposition"):
                says = said("the part {name} has no Content-Disposition", name=quoted(found[1].strip()))
                yield Evidence(message.event, says)
                break


_NAME = re.compile(r';\s*name\s*=\s*"?([^";]{1,200})', re.IGNORECASE)
PARTS = 100
"""Parts of a mail whose headers are looked at."""


def _parts(message: Message) -> Iterator[bytes]:
    """The header blocks of a mail: its own, and those of the parts in its first 64 KiB."""
    raw = message.body.raw
    yield header.header(raw)
    found = _BOUNDARY.search(next(iter(message.fields("Content-Type")), ""))
    boundary = (found[1] or found[2] or "") if found else ""
    if boundary:
        for part in raw.split(b"--" + boundary.encode("latin-1", "replace"), PARTS)[1:]:
            yield header.header(part.lstrip(b"\r\n"))
