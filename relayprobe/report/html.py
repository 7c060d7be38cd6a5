"""The report as one HTML file, to be attached to a ticket: it loads nothing, runs nothing, and prints.

What is found comes first, with links to the lines that show it; then the verdicts and what to type into the device;
then the dialogue, line by line, and in the end what the device offers in TLS and what the relay did.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from relayprobe import __version__
from relayprobe.advice.choice import Advice
from relayprobe.advice.findings import Finding
from relayprobe.advice.refused import refusals_of
from relayprobe.advice.verdicts import Verdict
from relayprobe.office365.recognise import recognise
from relayprobe.report.explained import explanation
from relayprobe.report.markup import Html, el, prose, together
from relayprobe.report.queue import RESULTS
from relayprobe.report.style import STYLE
from relayprobe.report.text import ANSWER_STAGES, MODE_NAMES, SEVERITIES, WAY_NAMES, event_parts
from relayprobe.report.unseen import unseen
from relayprobe.report.visible import visible, visible_line
from relayprobe.tongue import ENGLISH, Tongue
from relayprobe.wire.codec import from_object
from relayprobe.wire.events import Body, Event, TlsHello
from relayprobe.wire.message import header
from relayprobe.wire.session import Session

EVIDENCE = 5
"""Pieces of evidence that a finding shows; of more, the number is told."""

MARKED = 3
"""Lines at which a finding is marked, as in the text."""

MOST_HEADER = 60
"""Lines of a message's header that are shown."""

SLOW = 1.0
"""Seconds between two lines that stand out."""

_POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
LEGEND = (
    "\u2192 the device speaks, \u2190 {} answers, \u00b7 what happened beside that. Lines marked TLS went in TLS. "
    "Times are in seconds."
)
_SPOKEN = {
    "->": "The device",
    "<-": "The server",
    "~>": "The device, in TLS",
    "<~": "The server, in TLS",
    "===": "What happened",
    "***": "What went wrong",
}
_ARROWS = {"->": "\u2192", "~>": "\u2192", "<-": "\u2190", "<~": "\u2190", "===": "\u00b7", "***": "!"}
_STATES = {"delivered": "good", "failed": "error", "held": "warning", "waiting": "warning", "sending": "note"}


def report_html(
    session: Session,
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    advice: Advice,
    sent_on: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
) -> str:
    """The whole file. `sent_on`: what became of the session's mail, as in `show --json`; `remarks`: sentences about
    the report itself."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    peer = f" from {session.peer}" if session.peer else ""
    title = f"relayprobe: session {session.id}{peer}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(digest)),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(STYLE)),
    )
    served = "relayprobe" if session.source in ("live", "export") else "the server"
    body = el(
        "body",
        el("header", el("h1", f"Session {session.id}{peer}"), facts_of(session, advice)),
        el(
            "main",
            [el("p", prose(remark), class_="remark") for remark in remarks],
            [el("p", el("strong", "Not seen: "), prose(sentence), class_="remark") for sentence in unseen(session)],
            findings_section(session, findings),
            verdicts_section(verdicts, findings),
            advice_section(advice),
            el(
                "section",
                el("h2", "The dialogue"),
                el("p", prose(LEGEND.format(served)), class_="doubt"),
                dialogue(session.events, marks_of(findings), served),
                id="dialogue",
            ),
            hellos_section(session),
            sent_on_section(sent_on),
        ),
        el(
            "footer",
            el("p", f"Written by relayprobe {__version__}. Passwords are kept nowhere: ******** stands for one."),
        ),
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def facts_of(session: Session, advice: Advice, tongue: Tongue = ENGLISH) -> Html:
    """What the session was, at a glance."""
    login = session.login
    told = {
        "Begun": _time(session.started) if session.started else None,
        "Listener": session.listener or None,
        "Device": advice.device,
        "Meant to use": MODE_NAMES.get(session.mode or session.imitate or ""),
        "TLS": ", ".join(f"{up.version} with {up.cipher}" if up.version else "yes" for _, up in session.tls)
        or (f"failed: {session.tls_failures[-1][1].reason}" if session.tls_failures else "none"),
        "Login": f"{login.mechanism}{f' as {login.user}' if login.user else ''}" if login else "none",
        "From": ", ".join(dict.fromkeys(e.sender or "<>" for e in session.envelopes)) or None,
        "To": _some([r.path.address for e in session.envelopes for r in e.recipients]),
    }
    return el("dl", [el("div", el("dt", name), el("dd", said)) for name, said in told.items() if said], class_="facts")


def _some(addresses: Sequence[str]) -> str | None:
    distinct = list(dict.fromkeys(addresses))
    return (", ".join(distinct[:5]) + (f" and {len(distinct) - 5} more" if len(distinct) > 5 else "")) or None


# What was found


def findings_section(session: Session, findings: Sequence[Finding], tongue: Tongue = ENGLISH) -> Html:
    serious = [finding for finding in findings if finding.severity != "note"]
    notes = [finding for finding in findings if finding.severity == "note"]
    refused = [
        el(
            "article",
            el("h3", _badge("error"), f" The server refused {refusal.to}"),
            el("p", el("code", refusal.reply.text[:300], dir="ltr"), " ", _at(refusal.event)),
            [el("p", prose(text)) for _, text in explanation(refusal.found) if text],
            class_="finding error",
        )
        for refusal in refusals_of(session)
    ]
    nothing = "Nothing was found that Office 365 would mind." if not findings else None
    if findings and not serious:
        nothing = "Nothing was found that Office 365 would refuse or put off."
    return el(
        "section",
        el("h2", "What was found"),
        refused,
        el("p", nothing, class_="good") if nothing and not refused else None,
        [_finding(finding) for finding in serious],
        el("h3", "Of less weight") if notes else None,
        el("ul", [_note(finding) for finding in notes], class_="notes") if notes else None,
        id="findings",
    )


def _finding(finding: Finding) -> Html:
    more = len(finding.evidence) - EVIDENCE
    seen = [el("li", prose(evidence.says), " ", _at(evidence.event)) for evidence in finding.evidence[:EVIDENCE]]
    why = finding.rule.why.partition("\n\n")[0]
    return el(
        "article",
        el("h3", _badge(finding.severity), " ", finding.rule.title, " ", el("code", finding.rule.id, class_="rule")),
        el("ul", seen, el("li", f"and {more} times more") if more > 0 else None, class_="seen"),
        el("p", prose(why)),
        _answer(finding),
        el("p", el("strong", "Not certain: "), prose(finding.doubt), class_="doubt") if finding.doubt else None,
        el("p", el("strong", "Do: "), prose(finding.fix), class_="fix") if finding.fix else None,
        class_=f"finding {finding.severity}",
        id=f"finding-{finding.rule.id}",
    )


def _note(finding: Finding) -> Html:
    first = finding.evidence[0]
    rule = el("code", finding.rule.id, class_="rule")
    return el("li", prose(first.says), " ", rule, " ", _at(first.event), id=f"finding-{finding.rule.id}")


def _answer(finding: Finding) -> Html | None:
    if not finding.answer:
        return None
    stage = ANSWER_STAGES.get(finding.stage or "", "Office 365 answers")
    return el("p", el("strong", f"{stage}: "), el("code", finding.answer, dir="ltr"), class_="answer")


def _badge(severity: str) -> Html:
    return el("span", SEVERITIES.get(severity, severity), class_=f"badge {severity}")


def _at(event: int) -> Html:
    return el("a", f"line {event + 1}", href=f"#line-{event + 1}", class_="at")


# What follows from it


def verdicts_section(verdicts: Sequence[Verdict], findings: Sequence[Finding], tongue: Tongue = ENGLISH) -> Html:
    said = {finding.rule.id for finding in findings if finding.severity != "note"}
    rows = []
    for verdict in verdicts:
        if verdict.works:
            word = "yes" if verdict.proven else "nothing speaks against it"
            style = "warning" if verdict.risks else "good"
            because = together("mind ", _rules(verdict.risks, findings)) if verdict.risks else None
            if not verdict.proven and because is None:
                because = together("no message was seen")
        else:
            word, style = "no", "error"
            because = _rules(verdict.blockers, findings)
        removals = {removal.blocker: removal.do for removal in verdict.remove if removal.blocker not in said}
        said |= removals.keys()  # what removes a block is said once
        do = [
            el("div", el("code", blocker, class_="rule"), " ", prose(_first_sentence(text)), class_="do")
            for blocker, text in removals.items()
        ]
        rows.append(
            el(
                "tr",
                el("th", WAY_NAMES[verdict.mode], scope="row"),
                el("td", word, class_=f"word {style}"),
                el("td", because, do),
            )
        )
    head = el("tr", el("th", "Way", scope="col"), el("th", "Works", scope="col"), el("th", "In its way", scope="col"))
    return el(
        "section",
        el("h2", "Would it work, as the device is set up now?"),
        el("table", el("thead", head), el("tbody", rows), class_="verdicts"),
        id="verdicts",
    )


def _first_sentence(text: str) -> str:
    head, stop, rest = text.partition(". ")
    return f"{head}." if stop and rest[:1].isupper() else text


def _rules(rules: Iterable[str], findings: Sequence[Finding]) -> Html:
    here = {finding.rule.id for finding in findings}
    links = [el("a", rule, href=f"#finding-{rule}") if rule in here else el("span", rule) for rule in rules]
    return together(*(together(", " if at else None, link) for at, link in enumerate(links)))


def advice_section(advice: Advice, tongue: Tongue = ENGLISH) -> Html:
    verb = "Send" if advice.way == "relayprobe" else "Use"
    labels = [*advice.settings, *(label for label in advice.fields if label not in advice.settings)]
    rows = [
        el(
            "tr",
            el("th", label, scope="row"),
            el("td", prose(advice.settings.get(label, ""))),
            el("td", advice.fields.get(label)) if advice.fields else None,
        )
        for label in labels
    ]
    head = el(
        "tr",
        el("th", "Setting", scope="col"),
        el("th", "What to type", scope="col"),
        el("th", "In its menu", scope="col") if advice.fields else None,
    )
    relay = f"Through a relay in between (`relayprobe relay`): {'; '.join(advice.relay)}." if advice.relay else None
    return el(
        "section",
        el("h2", f"{verb} {WAY_NAMES[advice.way]}"),
        el("p", prose(advice.because)),
        el("p", f"It seems to be of {advice.device}.") if advice.device else None,
        el("table", el("thead", head), el("tbody", rows), class_="settings") if rows else None,
        [el("p", el("strong", "Note: "), prose(warning), class_="doubt") for warning in advice.warnings],
        [el("p", el("strong", "To be told: "), prose(question)) for question in advice.questions],
        el("p", prose(relay)) if relay else None,
        id="settings",
    )


# The dialogue


def marks_of(findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    marks: dict[int, list[Finding]] = {}
    for finding in findings:
        for evidence in finding.evidence[:MARKED]:
            marks.setdefault(evidence.event, []).append(finding)
    return marks


def dialogue(
    events: Iterable[Event],
    marks: Mapping[int, Sequence[Finding]],
    server: str,
    client: str = "the device",
    anchors: bool = True,
    tongue: Tongue = ENGLISH,
) -> Html:
    """Line by line, with who speaks, when, and what was found there."""
    rows, before = [], 0.0
    for at, event in enumerate(events):
        mark, style, words = event_parts(event, server, client)
        since = event.at - before
        before = event.at
        told = [el("code", words, dir="ltr")]
        if isinstance(event, Body):
            told += _header(event)
        in_tls = mark in ("~>", "<~")
        rows.append(
            el(
                "tr",
                el("td", str(at + 1), class_="number"),
                el("td", f"{event.at:.6f}", class_="time"),
                el("td", f"+{since:.6f}" if at else None, class_="time slow" if since >= SLOW else "time"),
                el("td", _ARROWS[mark], class_="arrow", title=_SPOKEN[mark]),
                el("td", "TLS" if in_tls else None, class_="tls"),
                el("td", told, [_marked(finding) for finding in marks.get(at, ())], class_="said"),
                id=f"line-{at + 1}" if anchors else None,
                class_=f"{style} in-tls" if in_tls else style,
            )
        )
    names = ("Line", "Since the start", "Since the line before", "Who speaks", "In TLS", "What was said")
    short = ("", "Seconds", "Since before", "", "", "What was said")
    head = el("tr", [el("th", word, scope="col", title=name) for word, name in zip(short, names, strict=True)])
    return el("table", el("thead", head), el("tbody", rows), class_="dialogue")


def _marked(finding: Finding) -> Html:
    answer = None
    if finding.answer:
        stage = ANSWER_STAGES.get(finding.stage or "", "Office 365 answers")
        answer = together(el("br"), f"{stage}: ", el("code", finding.answer, dir="ltr"))
    link = el("a", finding.rule.title, href=f"#finding-{finding.rule.id}")
    return el("div", _badge(finding.severity), " ", link, answer, class_=f"mark {finding.severity}")


def _header(body: Body) -> list[Html]:
    """The header of a message, as far as it is kept. Its text is not in the report."""
    lines = header(body.raw).splitlines()
    if not lines or body.end == "bdat":
        return []
    shown = [visible_line(line + b"\r\n") for line in lines[:MOST_HEADER]]
    if len(lines) > MOST_HEADER:
        shown.append(f"and {len(lines) - MOST_HEADER} lines more")
    return [el("div", [together(el("span", line), el("br")) for line in shown], class_="header", dir="ltr")]


# TLS, and the way on


def hellos_section(session: Session, tongue: Tongue = ENGLISH) -> Html | None:
    if not session.hellos:
        return None
    return el(
        "section",
        el("h2", "What the device offers in TLS"),
        [_hello(event, sent) for event, sent in session.hellos],
        id="tls",
    )


_MOMENTS = {
    "on-connect": "at once, before any greeting",
    "after-starttls": "after STARTTLS",
    "late": "after the greeting had gone out",
}


def _hello(event: int, sent: TlsHello) -> Html:
    hello = sent.hello
    if hello is None:
        return el("p", f"{len(sent.raw):,} octets that cannot be read as a hello ", _at(event))
    told: dict[str, str | Html | None] = {
        "Sent": together(_MOMENTS[sent.moment], " ", _at(event)),
        "Form": "SSLv2" if hello.form == "sslv2" else None,
        "Versions": ", ".join(hello.version_names),
        "Server name": hello.sni or "none",
        "Cipher suites": ", ".join(hello.suite_names) or "not told",
        "Groups": ", ".join(hello.group_names) or None,
        "Signatures": ", ".join(hello.signature_names) or None,
        "Protocols (ALPN)": ", ".join(hello.alpn) or None,
        "Fingerprint": hello.fingerprint if hello.suites else None,
    }
    return el("dl", [el("div", el("dt", name), el("dd", said)) for name, said in told.items() if said], class_="hello")


def sent_on_section(mails: Sequence[Mapping[str, Any]], tongue: Tongue = ENGLISH) -> Html | None:
    if not mails:
        return None
    return el("section", el("h2", "What the relay did"), [_mail(mail) for mail in mails], id="relay")


def _mail(mail: Mapping[str, Any]) -> Html:
    told: dict[str, Any] = {
        "From": mail["sender"] or "<>",
        "Route": mail["route"],
        "Why": mail["why"],
        "Noted": "; ".join(mail["changed"]) or None,
    }
    outcomes = [
        el(
            "tr",
            el("td", one["address"]),
            el("td", one["state"], class_=f"word {_STATES.get(one['state'], 'note')}"),
            el("td", one["reply"]),
        )
        for one in mail["outcomes"]
    ]
    head = el("tr", [el("th", name, scope="col") for name in ("To", "State", "Reply")])
    return el(
        "article",
        el(
            "h3", f"Mail {mail['id']}: ", el("span", mail["state"], class_=f"word {_STATES.get(mail['state'], 'note')}")
        ),
        el("dl", [el("div", el("dt", name), el("dd", said)) for name, said in told.items() if said], class_="facts"),
        el("table", el("thead", head), el("tbody", outcomes), class_="settings"),
        [_attempt(number, attempt) for number, attempt in enumerate(mail["tries"], 1)],
        el("p", "Nothing was tried yet.") if not mail["tries"] else None,
        class_="mail",
    )


def _attempt(number: int, attempt: Mapping[str, Any]) -> Html:
    result = attempt["result"]
    words = RESULTS.get(result, result) if result else "under way"
    return el(
        "div",
        el("h4", f"Attempt {number}, {_time(attempt['began'])}, by {attempt['route']} ({attempt['place']}): {words}"),
        el("p", el("strong", "Reply: "), el("code", attempt["reply"], dir="ltr")) if attempt["reply"] else None,
        _meaning(attempt["reply"]) if attempt["reply"] else None,
        [el("p", el("strong", "Put right: "), prose(repair["says"]), _times(repair)) for repair in attempt["repairs"]],
        dialogue(map(from_object, attempt["dialogue"]), {}, "the other side", "relayprobe", anchors=False)
        if attempt["dialogue"]
        else None,
        class_="attempt",
    )


def _times(repair: Mapping[str, Any]) -> Html:
    count = f" ({repair['count']} times)" if repair.get("count", 1) > 1 else ""
    return together(f"{count} ", el("code", repair["id"], class_="rule"))


def _meaning(reply: str) -> Iterator[Html]:
    """What a reply of Office 365 means and what to do, where it is one that is known."""
    for match in recognise(reply).matches[:2]:
        answer = match.answer
        doubt = f" ({answer.doubt})" if answer.doubt else ""
        yield el("p", el("strong", "Means: "), prose(answer.meaning + doubt))
        if answer.fix:
            yield el("p", el("strong", "Do: "), prose(answer.fix), class_="fix")


def _time(at: float) -> str:
    return visible(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
