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
from relayprobe.report.queue import OTHER_SIDE, STATE_NAMES, result_of
from relayprobe.report.style import STYLE
from relayprobe.report.text import (
    DEVICE,
    MODE_NAMES,
    RELAYPROBE,
    SEVERITIES,
    WAY_NAMES,
    WAYS_TO_USE,
    answered,
    by_relay,
    event_parts,
    first_sentence,
    seems,
    server_of,
    times_more,
)
from relayprobe.report.unseen import unseen
from relayprobe.report.visible import visible, visible_line
from relayprobe.tongue import ENGLISH, Said, Tongue, said
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
_SPOKEN = {
    "->": said("The device"),
    "<-": said("The server"),
    "~>": said("The device, in TLS"),
    "<~": said("The server, in TLS"),
    "===": said("What happened"),
    "***": said("What went wrong"),
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
    tongue: Tongue = ENGLISH,
) -> str:
    """The whole file. `sent_on`: what became of the session's mail, as in `show --json`; `remarks`: sentences about
    the report itself."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(digest)),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"relayprobe: {_title(session, inside=True, tongue=tongue)}"),
        el("style", Html(STYLE)),
    )
    served = server_of(session)
    body = el(
        "body",
        el("header", el("h1", _title(session, inside=False, tongue=tongue)), facts_of(session, advice, tongue)),
        el(
            "main",
            [el("p", prose(tongue(remark)), class_="remark") for remark in remarks],
            [_labelled(tongue("Not seen:"), tongue(sentence), "remark") for sentence in unseen(session)],
            findings_section(session, findings, tongue),
            verdicts_section(verdicts, findings, tongue),
            advice_section(advice, tongue),
            el(
                "section",
                el("h2", tongue("The dialogue")),
                el("p", legend(served, tongue), class_="doubt"),
                dialogue(session.events, marks_of(findings), served, tongue=tongue),
                id="dialogue",
            ),
            hellos_section(session, tongue),
            sent_on_section(sent_on, tongue),
        ),
        el(
            "footer",
            el(
                "p",
                tongue(
                    "Written by relayprobe {version}. Passwords are kept nowhere: ******** stands for one.",
                    version=__version__,
                ),
            ),
        ),
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang=tongue.code)}\n"


def _title(session: Session, inside: bool, tongue: Tongue) -> str:
    named = {"id": session.id, "peer": session.peer}
    if session.peer:
        return tongue("session {id} from {peer}", **named) if inside else tongue("Session {id} from {peer}", **named)
    return tongue("session {id}", **named) if inside else tongue("Session {id}", **named)


def _labelled(label: str, text: str, class_: str | None = None) -> Html:
    """A paragraph with what it is about in front of it."""
    return el("p", el("strong", f"{label} "), prose(text), class_=class_)


def facts_of(session: Session, advice: Advice, tongue: Tongue = ENGLISH) -> Html:
    """What the session was, at a glance."""
    mode = MODE_NAMES.get(session.mode or session.imitate or "")
    told = [
        (tongue("Begun"), _time(session.started) if session.started else None),
        (tongue("Listener"), session.listener or None),
        (tongue("Device"), tongue(advice.device) if advice.device else None),
        (tongue("Meant to use"), tongue(mode) if mode else None),
        (tongue("TLS"), _tls(session, tongue)),
        (tongue("Login"), tongue(_login(session))),
        (tongue("From"), ", ".join(dict.fromkeys(e.sender or "<>" for e in session.envelopes)) or None),
        (tongue("To"), _some([r.path.address for e in session.envelopes for r in e.recipients], tongue)),
    ]
    return _list(told, "facts")


def _list(told: Iterable[tuple[str, str | None]], class_: str) -> Html:
    return el("dl", [el("div", el("dt", name), el("dd", text)) for name, text in told if text], class_=class_)


def _tls(session: Session, tongue: Tongue) -> str:
    if session.tls:
        ups = (
            said("{version} with {cipher}", version=up.version, cipher=up.cipher) if up.version else said("yes")
            for _, up in session.tls
        )
        return ", ".join(map(tongue, ups))
    if session.tls_failures:
        return tongue("failed: {reason}", reason=session.tls_failures[-1][1].reason)
    return tongue("none")


def _login(session: Session) -> Said:
    login = session.login
    if login is None:
        return said("none")
    if login.user:
        return said("{mechanism} as {user}", mechanism=login.mechanism, user=login.user)
    return said("{mechanism}", mechanism=login.mechanism)


def _some(addresses: Sequence[str], tongue: Tongue) -> str | None:
    distinct = list(dict.fromkeys(addresses))
    some = ", ".join(distinct[:5])
    return (tongue("{some} and {n} more", some=some, n=len(distinct) - 5) if len(distinct) > 5 else some) or None


# What was found


def findings_section(session: Session, findings: Sequence[Finding], tongue: Tongue = ENGLISH) -> Html:
    """Each with the lines that show it, what it means, and what to do."""
    serious = [finding for finding in findings if finding.severity != "note"]
    notes = [finding for finding in findings if finding.severity == "note"]
    refused = [
        el(
            "article",
            el("h3", _badge("error", tongue), " ", tongue("The server refused {to}", to=refusal.to)),
            el("p", el("code", refusal.reply.text[:300], dir="ltr"), " ", _at(refusal.event, tongue)),
            [el("p", prose(text)) for _, text in explanation(refusal.found, tongue=tongue) if text],
            class_="finding error",
        )
        for refusal in refusals_of(session)
    ]
    nothing = None
    if not findings:
        nothing = tongue("Nothing was found that Office 365 would mind.")
    elif not serious:
        nothing = tongue("Nothing was found that Office 365 would refuse or put off.")
    return el(
        "section",
        el("h2", tongue("What was found")),
        refused,
        el("p", nothing, class_="good") if nothing and not refused else None,
        [_finding(finding, tongue) for finding in serious],
        el("h3", tongue("Of less weight")) if notes else None,
        el("ul", [_note(finding, tongue) for finding in notes], class_="notes") if notes else None,
        id="findings",
    )


def _finding(finding: Finding, tongue: Tongue) -> Html:
    more = len(finding.evidence) - EVIDENCE
    seen = [
        el("li", prose(tongue(evidence.says)), " ", _at(evidence.event, tongue))
        for evidence in finding.evidence[:EVIDENCE]
    ]
    title, rule = tongue(finding.rule.title), el("code", finding.rule.id, class_="rule")
    return el(
        "article",
        el("h3", _badge(finding.severity, tongue), " ", title, " ", rule),
        el("ul", seen, el("li", times_more(more, tongue)) if more > 0 else None, class_="seen"),
        el("p", prose(tongue(finding.rule.why.partition("\n\n")[0]))),
        _answer(finding, tongue),
        _labelled(tongue("Not certain:"), tongue(finding.doubt), "doubt") if finding.doubt else None,
        _labelled(tongue("Do:"), tongue(finding.fix), "fix") if finding.fix else None,
        class_=f"finding {finding.severity}",
        id=f"finding-{finding.rule.id}",
    )


def _note(finding: Finding, tongue: Tongue) -> Html:
    first = finding.evidence[0]
    rule = el("code", finding.rule.id, class_="rule")
    told = prose(tongue(first.says))
    return el("li", told, " ", rule, " ", _at(first.event, tongue), id=f"finding-{finding.rule.id}")


def _answer(finding: Finding, tongue: Tongue) -> Html | None:
    if not finding.answer:
        return None
    head = el("strong", f"{answered(finding, tongue)} ")
    return el("p", head, el("code", finding.answer, dir="ltr"), class_="answer")


def _badge(severity: str, tongue: Tongue) -> Html:
    return el("span", tongue(SEVERITIES.get(severity, severity)), class_=f"badge {severity}")


def _at(event: int, tongue: Tongue) -> Html:
    return el("a", tongue("line {n}", n=str(event + 1)), href=f"#line-{event + 1}", class_="at")


# What follows from it


def verdicts_section(verdicts: Sequence[Verdict], findings: Sequence[Finding], tongue: Tongue = ENGLISH) -> Html:
    """A row for each way to send."""
    known = {finding.rule.id for finding in findings if finding.severity != "note"}
    rows = []
    for verdict in verdicts:
        removals = {removal.blocker: removal.do for removal in verdict.remove if removal.blocker not in known}
        known |= removals.keys()  # what removes a block is said once
        do = [
            el("div", el("code", blocker, class_="rule"), " ", prose(first_sentence(tongue(text))), class_="do")
            for blocker, text in removals.items()
        ]
        rows.append(
            el(
                "tr",
                el("th", tongue(WAY_NAMES[verdict.mode]), scope="row"),
                el("td", tongue(_word(verdict)), class_=f"word {_style(verdict)}"),
                el("td", _because(verdict, findings, tongue), do if not verdict.works else None),
            )
        )
    names = (tongue("Way"), tongue("Works"), tongue("In its way"))
    return el(
        "section",
        el("h2", tongue("Would it work, as the device is set up now?")),
        el("table", el("thead", _head(*names)), el("tbody", rows), class_="verdicts"),
        id="verdicts",
    )


def _head(*names: str) -> Html:
    return el("tr", [el("th", name, scope="col") for name in names])


def _word(verdict: Verdict) -> Said:
    if not verdict.works:
        return said("no")
    return said("yes") if verdict.proven else said("nothing speaks against it")


def _style(verdict: Verdict) -> str:
    if not verdict.works:
        return "error"
    return "warning" if verdict.risks else "good"


def _because(verdict: Verdict, findings: Sequence[Finding], tongue: Tongue) -> Html | str | None:
    if not verdict.works:
        return _rules(verdict.blockers, findings)
    if verdict.risks:
        return together(tongue("mind"), " ", _rules(verdict.risks, findings))
    return None if verdict.proven else tongue("no message was seen")


def _rules(rules: Iterable[str], findings: Sequence[Finding]) -> Html:
    here = {finding.rule.id for finding in findings}
    links = [el("a", rule, href=f"#finding-{rule}") if rule in here else el("span", rule) for rule in rules]
    return together(*(together(", " if at else None, link) for at, link in enumerate(links)))


def advice_section(advice: Advice, tongue: Tongue = ENGLISH) -> Html:
    """The way to use, and what to type into the device."""
    labels = [*advice.settings, *(label for label in advice.fields if label not in advice.settings)]
    rows = [
        el(
            "tr",
            el("th", tongue(label), scope="row"),
            el("td", prose(tongue(advice.settings.get(label, "")))),
            el("td", advice.fields.get(label)) if advice.fields else None,
        )
        for label in labels
    ]
    names = [tongue("Setting"), tongue("What to type")]
    head = _head(*names, tongue("In its menu")) if advice.fields else _head(*names)
    return el(
        "section",
        el("h2", tongue(WAYS_TO_USE[advice.way])),
        el("p", prose(tongue(advice.because))),
        el("p", seems(advice.device, tongue)) if advice.device else None,
        el("table", el("thead", head), el("tbody", rows), class_="settings") if rows else None,
        [_labelled(tongue("Note:"), tongue(warning), "doubt") for warning in advice.warnings],
        [_labelled(tongue("To be told:"), tongue(question)) for question in advice.questions],
        el("p", prose(by_relay(advice, tongue))) if advice.relay else None,
        id="settings",
    )


# The dialogue


def marks_of(findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    marks: dict[int, list[Finding]] = {}
    for finding in findings:
        for evidence in finding.evidence[:MARKED]:
            marks.setdefault(evidence.event, []).append(finding)
    return marks


def legend(server: str, tongue: Tongue = ENGLISH) -> Html:
    """What the marks in a dialogue mean. `server`: who answers in it."""
    return prose(
        tongue(
            "\u2192 the device speaks, \u2190 {server} answers, \u00b7 what happened beside that. "
            "Lines marked TLS went in TLS. Times are in seconds.",
            server=tongue(server),
        )
    )


def dialogue(
    events: Iterable[Event],
    marks: Mapping[int, Sequence[Finding]],
    server: str,
    client: str = DEVICE,
    anchors: bool = True,
    tongue: Tongue = ENGLISH,
) -> Html:
    """Line by line, with who speaks, when, and what was found there."""
    names = (
        ("", tongue("Line")),
        (tongue("Seconds"), tongue("Since the start")),
        (tongue("Since before"), tongue("Since the line before")),
        ("", tongue("Who speaks")),
        ("", tongue("In TLS")),
        (tongue("What was said"), tongue("What was said")),
    )
    head = el("tr", [el("th", word, scope="col", title=name) for word, name in names])
    rows = dialogue_rows(events, marks, server, client, anchors=anchors, tongue=tongue)
    return el("table", el("thead", head), el("tbody", rows), class_="dialogue")


def dialogue_rows(
    events: Iterable[Event],
    marks: Mapping[int, Sequence[Finding]],
    server: str,
    client: str = DEVICE,
    start: int = 0,
    before: float = 0.0,
    anchors: bool = True,
    tongue: Tongue = ENGLISH,
) -> Iterator[Html]:
    """The rows of a dialogue, or those that are new in it: `events` begin with the one that has the index `start`, and
    `before` is the time of the one before that, in seconds since the start. `marks`: findings by index."""
    for at, event in enumerate(events, start):
        mark, style, words = event_parts(event, server, client, tongue)
        since = event.at - before
        before = event.at
        told = [el("code", words, dir="ltr")]
        if isinstance(event, Body):
            told += _header(event, tongue)
        in_tls = mark in ("~>", "<~")
        yield el(
            "tr",
            el("td", str(at + 1), class_="number"),
            el("td", f"{event.at:.6f}", class_="time"),
            el("td", f"+{since:.6f}" if at else None, class_="time slow" if since >= SLOW else "time"),
            el("td", _ARROWS[mark], class_="arrow", title=tongue(_SPOKEN[mark])),
            el("td", "TLS" if in_tls else None, class_="tls"),
            el("td", told, [_marked(finding, tongue) for finding in marks.get(at, ())], class_="said"),
            id=f"line-{at + 1}" if anchors else None,
            class_=f"{style} in-tls" if in_tls else style,
        )


def _marked(finding: Finding, tongue: Tongue) -> Html:
    answer = None
    if finding.answer:
        answer = together(el("br"), answered(finding, tongue), " ", el("code", finding.answer, dir="ltr"))
    link = el("a", tongue(finding.rule.title), href=f"#finding-{finding.rule.id}")
    return el("div", _badge(finding.severity, tongue), " ", link, answer, class_=f"mark {finding.severity}")


def _header(body: Body, tongue: Tongue) -> list[Html]:
    """The header of a message, as far as it is kept. Its text is not in the report."""
    lines = header(body.raw).splitlines()
    if not lines or body.end == "bdat":
        return []
    shown = [visible_line(line + b"\r\n") for line in lines[:MOST_HEADER]]
    if len(lines) > MOST_HEADER:
        shown.append(tongue.counted("and {n} line more", "and {n} lines more", len(lines) - MOST_HEADER))
    return [el("div", [together(el("span", line), el("br")) for line in shown], class_="header", dir="ltr")]


# TLS, and the way on


def hellos_section(session: Session, tongue: Tongue = ENGLISH) -> Html | None:
    """What the device offers in TLS, in full."""
    if not session.hellos:
        return None
    return el(
        "section",
        el("h2", tongue("What the device offers in TLS")),
        [_hello(event, sent, tongue) for event, sent in session.hellos],
        id="tls",
    )


_MOMENTS = {
    "on-connect": said("at once, before any greeting"),
    "after-starttls": said("after STARTTLS"),
    "late": said("after the greeting had gone out"),
}


def _hello(event: int, sent: TlsHello, tongue: Tongue) -> Html:
    hello = sent.hello
    if hello is None:
        told = tongue("{n:,} octets that cannot be read as a hello", n=len(sent.raw))
        return el("p", told, " ", _at(event, tongue))
    return _list(
        [
            (tongue("Sent"), together(tongue(_MOMENTS[sent.moment]), " ", _at(event, tongue))),
            (tongue("Form"), "SSLv2" if hello.form == "sslv2" else None),
            (tongue("Versions"), ", ".join(hello.version_names)),
            (tongue("Server name"), hello.sni or tongue("none")),
            (tongue("Cipher suites"), ", ".join(hello.suite_names) or tongue("not told")),
            (tongue("Groups"), ", ".join(hello.group_names) or None),
            (tongue("Signatures"), ", ".join(hello.signature_names) or None),
            (tongue("Protocols (ALPN)"), ", ".join(hello.alpn) or None),
            (tongue("Fingerprint"), hello.fingerprint if hello.suites else None),
        ],
        "hello",
    )


def sent_on_section(mails: Sequence[Mapping[str, Any]], tongue: Tongue = ENGLISH) -> Html | None:
    """What became of the session's mail, as in `show --json`."""
    if not mails:
        return None
    return el("section", el("h2", tongue("What the relay did")), [_mail(mail, tongue) for mail in mails], id="relay")


def _mail(mail: Mapping[str, Any], tongue: Tongue) -> Html:
    told = [
        (tongue("From"), mail["sender"] or "<>"),
        (tongue("Route"), mail["route"]),
        (tongue("Why"), tongue(mail["why"]) if mail["why"] else None),
        (tongue("Noted"), "; ".join(map(tongue, mail["changed"])) or None),
    ]
    outcomes = [
        el(
            "tr",
            el("td", one["address"]),
            el("td", tongue(STATE_NAMES.get(one["state"], one["state"])), class_=_state_class(one["state"])),
            el("td", one["reply"]),
        )
        for one in mail["outcomes"]
    ]
    head = _head(tongue("To"), tongue("State"), tongue("Reply"))
    state = el("span", tongue(STATE_NAMES.get(mail["state"], mail["state"])), class_=_state_class(mail["state"]))
    return el(
        "article",
        el("h3", tongue("Mail {id}:", id=mail["id"]), " ", state),
        _list(told, "facts"),
        el("table", el("thead", head), el("tbody", outcomes), class_="settings"),
        [_attempt(number, attempt, tongue) for number, attempt in enumerate(mail["tries"], 1)],
        el("p", tongue("Nothing was tried yet.")) if not mail["tries"] else None,
        class_="mail",
    )


def _state_class(state: str) -> str:
    return f"word {_STATES.get(state, 'note')}"


def _attempt(number: int, attempt: Mapping[str, Any], tongue: Tongue) -> Html:
    head = tongue(
        "Attempt {number}, {time}, by {route} ({place}): {result}",
        number=number,
        time=_time(attempt["began"]),
        route=attempt["route"],
        place=attempt["place"],
        result=result_of(attempt["result"]),
    )
    reply = attempt["reply"]
    return el(
        "div",
        el("h4", head),
        el("p", el("strong", f"{tongue('Reply:')} "), el("code", reply, dir="ltr")) if reply else None,
        _meaning(reply, tongue) if reply else None,
        [_repair(repair, tongue) for repair in attempt["repairs"]],
        dialogue(map(from_object, attempt["dialogue"]), {}, OTHER_SIDE, RELAYPROBE, anchors=False, tongue=tongue)
        if attempt["dialogue"]
        else None,
        class_="attempt",
    )


def _repair(repair: Mapping[str, Any], tongue: Tongue) -> Html:
    count = repair.get("count", 1)
    times = f" {tongue('({n} times)', n=count)}" if count > 1 else ""
    rule = el("code", repair["id"], class_="rule")
    return el("p", el("strong", f"{tongue('Put right:')} "), prose(tongue(repair["says"])), f"{times} ", rule)


def _meaning(reply: str, tongue: Tongue) -> Iterator[Html]:
    """What a reply of Office 365 means and what to do, where it is one that is known."""
    for match in recognise(reply).matches[:2]:
        answer = match.answer
        doubt = f" ({tongue(answer.doubt)})" if answer.doubt else ""
        yield _labelled(tongue("Means:"), tongue(answer.meaning) + doubt)
        if answer.fix:
            yield _labelled(tongue("Do:"), tongue(answer.fix), "fix")


def _time(at: float) -> str:
    return visible(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
