"""A session in words for a terminal: the dialogue line by line, the findings, the verdicts, the settings to type.

Everything comes as (style, text) pairs, one a line; a style is a word for the terminal to colour by, and without colour
the text says the same. The marks are those of swaks: `->` the device speaks, `<-` it is answered, `~>` and `<~` the
same inside TLS, `===` what is not a line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from relayprobe.advice.choice import Advice
from relayprobe.advice.findings import Finding
from relayprobe.advice.refused import refusals_of
from relayprobe.advice.verdicts import Verdict
from relayprobe.report.unseen import unseen
from relayprobe.report.visible import visible, visible_line
from relayprobe.tongue import ENGLISH, Said, Tongue, said
from relayprobe.wire.events import (
    Body,
    Closed,
    Connected,
    Credentials,
    Encrypted,
    Event,
    Line,
    Missing,
    TlsFailed,
    TlsHello,
    TlsUp,
)
from relayprobe.wire.session import Session

Styled = tuple[str, str]

WIDTH = 100
MARKS = {("client", False): "->", ("server", False): "<-", ("client", True): "~>", ("server", True): "<~"}
SEVERITIES = {"error": said("ERROR"), "warning": said("WARNING"), "note": said("NOTE")}
MODE_NAMES = {
    "submission": said("client submission (port 587, with a login)"),
    "direct-send": said("direct send (port 25, your own domain only)"),
    "connector": said("SMTP relay through a connector (port 25)"),
}
WAY_NAMES = MODE_NAMES | {
    "submission-oauth": said("client submission with OAuth"),
    "high-volume-email": said("High Volume Email (your own domain only)"),
    "azure-communication-services": said("Azure Communication Services"),
    "relayprobe": said("through a relay on your network"),
}
WAYS_TO_USE = {
    "submission": said("Use client submission (port 587, with a login)"),
    "direct-send": said("Use direct send (port 25, your own domain only)"),
    "connector": said("Use SMTP relay through a connector (port 25)"),
    "submission-oauth": said("Use client submission with OAuth"),
    "high-volume-email": said("Use High Volume Email (your own domain only)"),
    "azure-communication-services": said("Use Azure Communication Services"),
    "relayprobe": said("Send through a relay on your network"),
}
DEVICE, SERVER = said("the device"), said("the server")
RELAYPROBE = "relayprobe"

_ANSWERS = said("Office 365 answers:")
_ANSWERS_AT = {"later": said("Office 365 takes it, and the mail comes back with:")}

_CLOSED = {
    "fin": said("{who} closed the connection"),
    "rst": said("{who} reset the connection"),
    "quit": said("{who} closed the connection after QUIT"),
    "timeout": said("{who} closed the connection: it took too long"),
    "limit": said("{who} closed the connection: a limit was reached"),
    "shutdown": said("{who} closed the connection: relayprobe was stopped"),
    "failed": said("{who} closed the connection: TLS had failed"),
}
_ENDS = {
    "crlf": said("ended by CRLF.CRLF"),
    "bare-lf": said("ended by a dot between bare line feeds, and silence"),
    "bdat": said("in a chunk of stated size"),
    "cut": said("never ended"),
}
_MOMENTS = {"on-connect": said("at once, before any greeting"), "late": said("after the greeting had gone out")}


def server_of(session: Session) -> str:
    """Who answers in a session, within a sentence."""
    return RELAYPROBE if session.source in ("live", "export") else SERVER


def event_line(event: Event, server: str = RELAYPROBE, client: str = DEVICE, tongue: Tongue = ENGLISH) -> Styled:
    """One event as one line. `server`: who answered; `client`: who was answered."""
    mark, style, words = event_parts(event, server, client, tongue)
    return style, f"{event.at:11.6f} {mark}  {words}"


def event_words(event: Event, server: str = RELAYPROBE, client: str = DEVICE) -> str:
    """An event in words, without its time and mark."""
    return event_parts(event, server, client)[2]


def event_parts(
    event: Event, server: str = RELAYPROBE, client: str = DEVICE, tongue: Tongue = ENGLISH
) -> tuple[str, str, str]:
    """One event as its mark, its style and its words."""
    names = {"client": tongue(client), "server": tongue(server)}
    match event:
        case Line(sender=sender, raw=raw, tls=tls, omitted=omitted):
            more = f" {tongue('[{n:,} octets more]', n=omitted)}" if omitted else ""
            return MARKS[sender, tls], sender, visible_line(raw, tongue) + more
        case Credentials(raw=raw, tls=tls):
            about = secret_words(event, tongue)
            return MARKS["client", tls], "client", visible_line(raw, tongue) + (f"  [{about}]" if about else "")
        case Body():
            return MARKS["client", event.tls], "client", f"[{tongue(_message(event))}]"
        case Connected(peer=peer, listener=listener):
            words = tongue("{peer} connected to {listener}", peer=visible(peer), listener=visible(listener))
            return "===", "info", words
        case TlsHello():
            return "===", "info", tongue("TLS hello: {hello}", hello=hello_words(event, tongue))
        case TlsUp(version=version, cipher=cipher):
            up = said("TLS is up: {version} with {cipher}", version=version, cipher=cipher)
            return "===", "info", tongue(up if version else said("TLS is up"))
        case TlsFailed(by=by, reason=reason, alert=alert):
            failed = said(
                "TLS failed: {who} ended the handshake: {reason}", who=names[by], reason=visible(tongue(reason))
            )
            number = f" {tongue('(alert {alert})', alert=alert)}" if alert is not None else ""
            return "***", "error", tongue(failed) + number
        case Encrypted(client=octets, server=answered):
            words = tongue(
                "in TLS, and not to be read here: {octets:,} octets of the device, {answered:,} in answer",
                octets=octets,
                answered=answered,
            )
            return "***", "info", words
        case Closed(by=by, how=how, lag=lag):
            late = tongue("(times may be {ms:.0f} ms late: relayprobe was busy)", ms=lag * 1000) if lag > 0.005 else ""
            closed = tongue(said(_CLOSED[how].template, who=names[by]))
            return "===", "info", f"{closed} {late}" if late else closed
        case Missing(sender=sender, octets=lost):
            if not lost:
                return "***", "info", tongue("what came before is missing in the text")
            words = tongue("{octets:,} octets of {who} are missing in the capture", octets=lost, who=names[sender])
            return "***", "info", words


def _message(event: Body) -> Said:
    seconds, how = f"{event.until - event.at:.3f}", _ENDS[event.end]  # a time of the dialogue, in all languages
    if event.purged and not event.size:
        if event.refused:
            return said(
                "message: of unknown size in {seconds} s, {how}, although DATA had been refused",
                seconds=seconds,
                how=how,
            )
        return said("message: of unknown size in {seconds} s, {how}", seconds=seconds, how=how)
    if event.refused:
        return said(
            "message: {size:,} octets in {seconds} s, {how}, although DATA had been refused",
            size=event.size,
            seconds=seconds,
            how=how,
        )
    return said("message: {size:,} octets in {seconds} s, {how}", size=event.size, seconds=seconds, how=how)


def secret_words(line: Credentials, tongue: Tongue = ENGLISH) -> str:
    """What the mask hides, as far as it may be told; empty where there is nothing to tell."""
    facts = []
    if line.stage == "stray":
        facts.append(tongue("not a command: perhaps a piece of a password"))
    elif line.stage == "cut":
        facts.append(tongue("left unfinished"))
    if line.stage != "cut" and not line.valid_base64:
        facts.append(tongue("not base64"))
    if line.user is not None:
        facts.append(tongue("user {user}", user=visible(line.user)) if line.user else tongue("empty user name"))
    if line.secret is not None:
        facts.append(tongue("empty password") if line.secret.empty else tongue("password hidden"))
        if line.secret.likeness not in (None, "equal"):
            facts.append(tongue("not the expected one"))
    return ", ".join(facts)


def hello_words(event: TlsHello, tongue: Tongue = ENGLISH) -> str:
    """What the device offers, in words."""
    hello = event.hello
    if hello is None:
        return tongue("{n} octets that cannot be read as one", n=len(event.raw))
    told = event.raw or hello.suites
    parts = [
        ", ".join(hello.version_names),
        tongue("{n} cipher suites", n=len(hello.suites)) if told else tongue("cipher suites not told"),
        tongue("for {name}", name=visible(hello.sni)) if hello.sni else tongue("no server name"),
    ]
    if hello.form == "sslv2":
        parts.append(tongue("in SSLv2 form"))
    if event.moment in _MOMENTS:
        parts.append(tongue(_MOMENTS[event.moment]))
    return "; ".join(parts)


def dialogue(session: Session, findings: Sequence[Finding] = (), tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """The whole dialogue; a finding's name stands under the line that shows it."""
    marks: dict[int, list[Finding]] = {}
    for finding in findings:
        for evidence in finding.evidence[:3]:
            marks.setdefault(evidence.event, []).append(finding)
    server = server_of(session)
    for index, event in enumerate(session.events):
        yield event_line(event, server, tongue=tongue)
        for finding in marks.get(index, ()):
            severity = tongue(SEVERITIES[finding.severity]).lower()
            yield finding.severity, f"{'':11} ^^   {severity}: {finding.rule.id}"


def findings_text(session: Session, findings: Sequence[Finding], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """The findings in words: what happened, why Office 365 minds, what to do."""
    if not findings:
        yield "good", tongue(_nothing(bool(refusals_of(session)), session.encrypted is not None))
        return
    if findings[0].severity == "note":
        if refusals_of(session):
            yield "good", tongue("Nothing more was found that Office 365 would refuse or put off.")
        else:
            yield "good", tongue("Nothing was found that Office 365 would refuse or put off.")
    for before, finding in zip([None, *findings], findings, strict=False):
        if finding.severity == "note" and (before is None or before.severity != "note"):
            yield "", ""
        yield from one_finding(finding, tongue)


def _nothing(refused: bool, encrypted: bool) -> Said:
    if refused and encrypted:
        return said("Nothing more was found in what could be read that Office 365 would mind.")
    if refused:
        return said("Nothing more was found that Office 365 would mind.")
    if encrypted:
        return said("Nothing was found in what could be read that Office 365 would mind.")
    return said("Nothing was found that Office 365 would mind.")


def one_finding(finding: Finding, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """One finding in words."""
    severity = tongue(SEVERITIES[finding.severity])
    if finding.severity == "note":  # the manual has the rest
        for evidence in finding.evidence[:1]:
            yield from _wrapped("note", f"{severity}  {visible(tongue(evidence.says))}  [{finding.rule.id}]", "      ")
        return
    yield "", ""
    yield finding.severity, f"{severity}  {tongue(finding.rule.title)}  [{finding.rule.id}]"
    for evidence in finding.evidence[:5]:
        yield from _part("seen", tongue("Seen:"), visible(tongue(evidence.says)))
    if (more := len(finding.evidence) - 5) > 0:
        yield "seen", f"        {times_more(more, tongue)}"
    yield from _part("", tongue("Why:"), tongue(finding.rule.why.partition("\n\n")[0]))
    if finding.answer:
        yield from _part("", answered(finding, tongue), finding.answer)
    if finding.doubt:
        yield from _part("info", tongue("Not certain:"), tongue(finding.doubt))
    if finding.fix:
        yield from _part("fix", tongue("Do:"), tongue(finding.fix))


def times_more(n: int, tongue: Tongue) -> str:
    """Of evidence that is not shown: how much."""
    return tongue.counted("and once more", "and {n} times more", n)


def answered(finding: Finding, tongue: Tongue) -> str:
    """What stands before the answer of Office 365."""
    return tongue(_ANSWERS_AT.get(finding.stage or "", _ANSWERS))


def _part(style: str, label: str, text: str) -> Iterator[Styled]:
    yield from _wrapped(style, f"  {label:5} {text}", "        ")


def verdicts_text(
    verdicts: Iterable[Verdict], findings: Sequence[Finding] = (), tongue: Tongue = ENGLISH
) -> Iterator[Styled]:
    """One line a way. What would remove a block is said once, and only where no finding above says it."""
    told = {finding.rule.id for finding in findings if finding.severity != "note"}
    yield "", ""
    yield "heading", tongue("Would it work, as the device is set up now?")
    for verdict in verdicts:
        style = "error" if not verdict.works else "warning" if verdict.risks else "good"
        yield from _wrapped(style, f"  {tongue(WAY_NAMES[verdict.mode])}: {tongue(_word(verdict))}", "    ")
        for removal in verdict.remove if not verdict.works else ():
            if removal.blocker not in told:
                told.add(removal.blocker)
                yield from _wrapped("", f"    {removal.blocker}: {first_sentence(tongue(removal.do))}", "      ")


def _word(verdict: Verdict) -> Said:
    """Whether a way works, and what is in it."""
    if not verdict.works:
        return said("no ({blockers})", blockers=", ".join(verdict.blockers))
    if verdict.proven:
        return said("yes, but mind {risks}", risks=", ".join(verdict.risks)) if verdict.risks else said("yes")
    if verdict.risks:
        return said(
            "nothing seen speaks against it; no message was seen, but mind {risks}", risks=", ".join(verdict.risks)
        )
    return said("nothing seen speaks against it; no message was seen")


def first_sentence(text: str) -> str:
    """The first sentence of a text, as it is said in any language."""
    head, stop, rest = text.partition(". ")
    return f"{head}." if stop and rest[:1].isupper() else text


def advice_text(advice: Advice, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """The way to use, and what to type."""
    yield "", ""
    yield from _wrapped("heading", tongue(WAYS_TO_USE[advice.way]), "  ")
    yield from _wrapped("", f"  {visible(tongue(advice.because))}", "  ")
    if advice.device:
        yield from _wrapped("", f"  {visible(seems(advice.device, tongue))}", "  ")
    labels = {label: f"{tongue(label)}:" for label in (*advice.settings, *advice.fields)}
    width = max(map(len, [" " * 10, *labels.values()]))
    in_menu = {label: tongue("in its menu: {name}", name=name) for label, name in advice.fields.items()}
    indent = " " * (5 + width)
    for label, value in advice.settings.items():
        yield from _wrapped("fix", f"    {labels[label]:{width}} {visible(tongue(value))}", indent)
        if label in in_menu:
            yield from _wrapped("", f"{indent}{in_menu[label]}", " " * 28)
    for label, name in in_menu.items():
        if label not in advice.settings:
            yield from _wrapped("", f"{indent}{name}", " " * 28)
    for warning in advice.warnings:
        yield from _wrapped("warning", f"  {tongue('Note:')} {visible(tongue(warning))}", "        ")
    for question in advice.questions:
        yield from _wrapped("info", f"  {tongue('To be told:')} {tongue(question)}", "        ")
    if advice.relay:
        yield from _wrapped("info", f"  {by_relay(advice, tongue)}", "        ")


def seems(device: str, tongue: Tongue) -> str:
    """What a device seems to be."""
    return tongue("It seems to be of {device}.", device=device)


def by_relay(advice: Advice, tongue: Tongue) -> str:
    """What a relay in between would do."""
    steps = "; ".join(tongue(step) for step in advice.relay)
    return tongue("Through a relay in between (`relayprobe relay`): {steps}.", steps=steps)


def report(
    session: Session,
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    advice: Advice,
    tongue: Tongue = ENGLISH,
) -> Iterator[Styled]:
    """All of it."""
    yield heading(session, tongue)
    yield from dialogue(session, findings, tongue)
    yield from conclusion(session, findings, verdicts, advice, tongue)


def heading(session: Session, tongue: Tongue = ENGLISH) -> Styled:
    """Which session it is."""
    return "heading", tongue("Session {id} from {peer}", id=session.id, peer=visible(session.peer))


def conclusion(
    session: Session,
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    advice: Advice,
    tongue: Tongue = ENGLISH,
) -> Iterator[Styled]:
    """What stands under the dialogue."""
    for sentence in unseen(session):
        yield from _wrapped("warning", f"{tongue('Not seen:')} {visible(tongue(sentence))}", "          ")
    yield from findings_text(session, findings, tongue)
    yield from verdicts_text(verdicts, findings, tongue)
    yield from advice_text(advice, tongue)


def wrapped(style: str, text: str, indent: int) -> Iterator[Styled]:
    """A text as lines that fit; all but the first are indented by so many blanks."""
    yield from _wrapped(style, text, " " * indent)


def _wrapped(style: str, text: str, indent: str) -> Iterator[Styled]:
    for line in textwrap.wrap(
        " ".join(text.split(" ")), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ):
        yield style, line
