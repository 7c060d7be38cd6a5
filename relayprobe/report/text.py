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
SEVERITIES = {"error": "ERROR", "warning": "WARNING", "note": "NOTE"}
MODE_NAMES = {
    "submission": "client submission (port 587, with a login)",
    "direct-send": "direct send (port 25, your own domain only)",
    "connector": "SMTP relay through a connector (port 25)",
}
WAY_NAMES = MODE_NAMES | {
    "submission-oauth": "client submission with OAuth",
    "high-volume-email": "High Volume Email (your own domain only)",
    "azure-communication-services": "Azure Communication Services",
    "relayprobe": "through a relay on your network",
}

ANSWER_STAGES = {"later": "Office 365 takes it, and the mail comes back with"}

_CLOSED = {
    "fin": "closed the connection",
    "rst": "reset the connection",
    "quit": "closed the connection after QUIT",
    "timeout": "closed the connection: it took too long",
    "limit": "closed the connection: a limit was reached",
    "shutdown": "closed the connection: relayprobe was stopped",
    "failed": "closed the connection: TLS had failed",
}
_ENDS = {
    "crlf": "ended by CRLF.CRLF",
    "bare-lf": "ended by a dot between bare line feeds, and silence",
    "bdat": "in a chunk of stated size",
    "cut": "never ended",
}


def event_line(event: Event, server: str = "relayprobe", client: str = "the device") -> Styled:
    """One event as one line. `server`: who answered; `client`: who was answered."""
    mark, style, words = event_parts(event, server, client)
    return style, f"{event.at:11.6f} {mark}  {words}"


def event_words(event: Event, server: str = "relayprobe", client: str = "the device") -> str:
    """An event in words, without its time and mark."""
    return event_parts(event, server, client)[2]


def event_parts(event: Event, server: str = "relayprobe", client: str = "the device") -> tuple[str, str, str]:
    """One event as its mark, its style and its words."""
    match event:
        case Line(sender=sender, raw=raw, tls=tls, omitted=omitted):
            more = f" [{omitted:,} octets more]" if omitted else ""
            return MARKS[sender, tls], sender, visible_line(raw) + more
        case Credentials(raw=raw, tls=tls):
            about = secret_words(event)
            return MARKS["client", tls], "client", visible_line(raw) + (f"  [{about}]" if about else "")
        case Body():
            how = _ENDS[event.end]
            size = "of unknown size" if event.purged and not event.size else f"{event.size:,} octets"
            seconds = event.until - event.at
            refused = ", although DATA had been refused" if event.refused else ""
            return (
                MARKS["client", event.tls],
                "client",
                f"[message: {size} in {seconds:.3f} s, {how}{refused}]",
            )
        case Connected(peer=peer, listener=listener):
            return "===", "info", f"{visible(peer)} connected to {visible(listener)}"
        case TlsHello():
            return "===", "info", "TLS hello: " + hello_words(event)
        case TlsUp(version=version, cipher=cipher):
            return "===", "info", f"TLS is up: {version} with {cipher}" if version else "TLS is up"
        case TlsFailed(by=by, reason=reason, alert=alert):
            who = client if by == "client" else server
            number = f" (alert {alert})" if alert is not None else ""
            return "***", "error", f"TLS failed: {who} ended the handshake: {visible(reason)}{number}"
        case Encrypted(client=octets, server=answered):
            return (
                "***",
                "info",
                f"in TLS, and not to be read here: {octets:,} octets of the device, {answered:,} in answer",
            )
        case Closed(by=by, how=how, lag=lag):
            who = client if by == "client" else server
            slow = f" (times may be {lag * 1000:.0f} ms late: relayprobe was busy)" if lag > 0.005 else ""
            return "===", "info", f"{who} {_CLOSED[how]}{slow}"
        case Missing(sender=sender, octets=lost):
            who = client if sender == "client" else server
            if not lost:
                return "***", "info", "what came before is missing in the text"
            return "***", "info", f"{lost:,} octets of {who} are missing in the capture"


def secret_words(said: Credentials) -> str:
    """What the mask hides, as far as it may be told; empty where there is nothing to tell."""
    facts = []
    if said.stage == "stray":
        facts.append("not a command: perhaps a piece of a password")
    elif said.stage == "cut":
        facts.append("left unfinished")
    if said.stage != "cut" and not said.valid_base64:
        facts.append("not base64")
    if said.user is not None:
        facts.append(f"user {visible(said.user)}" if said.user else "empty user name")
    if said.secret is not None:
        facts.append("empty password" if said.secret.empty else "password hidden")
        if said.secret.likeness not in (None, "equal"):
            facts.append("not the expected one")
    return ", ".join(facts)


def hello_words(event: TlsHello) -> str:
    """What the device offers, in words."""
    hello = event.hello
    if hello is None:
        return f"{len(event.raw)} octets that cannot be read as one"
    when = {"on-connect": "at once, before any greeting", "late": "after the greeting had gone out"}.get(event.moment)
    names = hello.version_names
    parts = [
        names[0] if len(names) == 1 else f"{', '.join(names)}",
        f"{len(hello.suites)} cipher suites" if event.raw or hello.suites else "cipher suites not told",
        f"for {visible(hello.sni)}" if hello.sni else "no server name",
    ]
    if hello.form == "sslv2":
        parts.append("in SSLv2 form")
    if when:
        parts.append(when)
    return "; ".join(parts)


def dialogue(session: Session, findings: Sequence[Finding] = ()) -> Iterator[Styled]:
    """The whole dialogue; a finding's name stands under the line that shows it."""
    marks: dict[int, list[Finding]] = {}
    for finding in findings:
        for evidence in finding.evidence[:3]:
            marks.setdefault(evidence.event, []).append(finding)
    server = "relayprobe" if session.source in ("live", "export") else "the server"
    for index, event in enumerate(session.events):
        yield event_line(event, server)
        for finding in marks.get(index, ()):
            yield finding.severity, f"{'':11} ^^   {SEVERITIES[finding.severity].lower()}: {finding.rule.id}"


def findings_text(session: Session, findings: Sequence[Finding]) -> Iterator[Styled]:
    """The findings in words: what happened, why Office 365 minds, what to do."""
    more = " more" if refusals_of(session) else ""
    if not findings:
        where = " in what could be read" if session.encrypted else ""
        yield "good", f"Nothing{more} was found{where} that Office 365 would mind."
        return
    if findings[0].severity == "note":
        yield "good", f"Nothing{more} was found that Office 365 would refuse or put off."
    for before, finding in zip([None, *findings], findings, strict=False):
        if finding.severity == "note" and (before is None or before.severity != "note"):
            yield "", ""
        yield from one_finding(finding)


def one_finding(finding: Finding) -> Iterator[Styled]:
    """One finding in words."""
    if finding.severity == "note":  # the manual has the rest
        for evidence in finding.evidence[:1]:
            yield from _wrapped("note", f"NOTE  {visible(evidence.says)}  [{finding.rule.id}]", "      ")
        return
    yield "", ""
    yield finding.severity, f"{SEVERITIES[finding.severity]}  {finding.rule.title}  [{finding.rule.id}]"
    for evidence in finding.evidence[:5]:
        yield from _wrapped("seen", f"  Seen: {visible(evidence.says)}", "        ")
    if len(finding.evidence) > 5:
        yield "seen", f"        and {len(finding.evidence) - 5} times more"
    yield from _wrapped("", f"  Why:  {finding.rule.why.partition(chr(10) * 2)[0]}", "        ")
    if finding.answer:
        stage = ANSWER_STAGES.get(finding.stage or "", "Office 365 answers")
        yield from _wrapped("", f"  {stage}: {finding.answer}", "        ")
    if finding.doubt:
        yield from _wrapped("info", f"  Not certain: {finding.doubt}", "        ")
    if finding.fix:
        yield from _wrapped("fix", f"  Do:   {finding.fix}", "        ")


def verdicts_text(verdicts: Iterable[Verdict], findings: Sequence[Finding] = ()) -> Iterator[Styled]:
    """One line a way. What would remove a block is said once, and only where no finding above says it."""
    said = {finding.rule.id for finding in findings if finding.severity != "note"}
    yield "", ""
    yield "heading", "Would it work, as the device is set up now?"
    for verdict in verdicts:
        name = WAY_NAMES[verdict.mode]
        if verdict.works:
            certain = "yes" if verdict.proven else "nothing seen speaks against it; no message was seen"
            mind = f", but mind {', '.join(verdict.risks)}" if verdict.risks else ""
            yield from _wrapped("warning" if mind else "good", f"  {name}: {certain}{mind}", "    ")
            continue
        yield from _wrapped("error", f"  {name}: no ({', '.join(verdict.blockers)})", "    ")
        for removal in verdict.remove:
            if removal.blocker not in said:
                said.add(removal.blocker)
                yield from _wrapped("", f"    {removal.blocker}: {_first_sentence(removal.do)}", "      ")


def _first_sentence(text: str) -> str:
    head, stop, rest = text.partition(". ")
    return f"{head}." if stop and rest[:1].isupper() else text


def advice_text(advice: Advice) -> Iterator[Styled]:
    """The way to use, and what to type."""
    yield "", ""
    verb = "Send" if advice.way == "relayprobe" else "Use"
    yield from _wrapped("heading", f"{verb} {WAY_NAMES[advice.way]}", "  ")
    yield from _wrapped("", f"  {visible(advice.because)}", "  ")
    if advice.device:
        yield from _wrapped("", f"  It seems to be of {visible(advice.device)}.", "  ")
    for label, value in advice.settings.items():
        yield from _wrapped("fix", f"    {label + ':':10} {visible(value)}", " " * 15)
        if label in advice.fields:
            yield from _wrapped("", f"{'':15}in its menu: {advice.fields[label]}", " " * 28)
    for label in advice.fields:
        if label not in advice.settings:
            yield from _wrapped("", f"    {'':10} in its menu: {advice.fields[label]}", " " * 28)
    for warning in advice.warnings:
        yield from _wrapped("warning", f"  Note: {visible(warning)}", "        ")
    for question in advice.questions:
        yield from _wrapped("info", f"  To be told: {question}", "        ")
    if advice.relay:
        yield from _wrapped(
            "info", f"  Through a relay in between (`relayprobe relay`): {'; '.join(advice.relay)}.", "        "
        )


def report(
    session: Session, findings: Sequence[Finding], verdicts: Sequence[Verdict], advice: Advice
) -> Iterator[Styled]:
    """All of it."""
    yield "heading", f"Session {session.id} from {visible(session.peer)}"
    yield from dialogue(session, findings)
    yield from conclusion(session, findings, verdicts, advice)


def conclusion(
    session: Session, findings: Sequence[Finding], verdicts: Sequence[Verdict], advice: Advice
) -> Iterator[Styled]:
    """What stands under the dialogue."""
    for sentence in unseen(session):
        yield from _wrapped("warning", f"Not seen: {visible(sentence)}", "          ")
    yield from findings_text(session, findings)
    yield from verdicts_text(verdicts, findings)
    yield from advice_text(advice)


def wrapped(style: str, text: str, indent: int) -> Iterator[Styled]:
    """A text as lines that fit; all but the first are indented by so many blanks."""
    yield from _wrapped(style, text, " " * indent)


def _wrapped(style: str, text: str, indent: str) -> Iterator[Styled]:
    for line in textwrap.wrap(
        " ".join(text.split(" ")), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ):
        yield style, line
