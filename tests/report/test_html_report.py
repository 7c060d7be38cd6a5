"""The HTML report: all that is known stands in it, and nothing that a stranger sent does anything."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from relayprobe.advice.findings import diagnose
from relayprobe.dossier.judging import Judgement, judge
from relayprobe.report.html import dialogue_rows, marks_of, report_html
from relayprobe.report.markup import el, prose
from relayprobe.report.objects import session_from_object
from relayprobe.report.text import SEVERITIES
from relayprobe.wire.codec import to_object
from relayprobe.wire.events import Body, Connected, Credentials, Event, Line, LineFacts, TlsFailed, TlsHello
from relayprobe.wire.hello import ClientHello
from relayprobe.wire.session import Session, Site, session_of
from tests.rules.written import Written, dialogues
from tests.transcript import events, said

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would make of it: elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


def judged(path: Path) -> Judgement:
    return judge(session_from_object(json.loads(path.read_text())))


def page_of(found: Judgement, sent_on: list[dict[str, Any]] | None = None, remarks: tuple[str, ...] = ()) -> str:
    return report_html(found.session, found.findings, found.verdicts, found.advice, sent_on or [], remarks)


def one_line(text: str) -> str:
    return " ".join(text.replace("`", "").split())


# What is in it


@pytest.mark.parametrize("written", dialogues(), ids=lambda written: written.name)
def test_every_finding_leads_to_its_line_and_back(written: Written) -> None:
    visits, session = written.last()
    found = judge(session, visits)
    page = Page(page_of(found))
    anchors = page.attributes("id")
    assert len(anchors) == len(set(anchors))
    assert {link.removeprefix("#") for link in page.attributes("href")} <= set(anchors)
    for finding in found.findings:
        assert f"finding-{finding.rule.id}" in anchors
        assert f"#line-{finding.evidence[0].event + 1}" in page.attributes("href")
        assert f"#finding-{finding.rule.id}" in page.attributes("href")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_all_that_the_text_says_is_in_the_page(path: Path) -> None:
    found = judged(path)
    text = one_line(Page(page_of(found)).text)
    for at, event in enumerate(found.session.events, 1):
        assert f"{at}{event.at:.6f}" in text
    for finding in found.findings:
        assert SEVERITIES[finding.severity] in text
        assert one_line(finding.evidence[0].says) in text
        if finding.severity != "note":
            assert one_line(finding.fix) in text
            assert finding.answer is None or one_line(finding.answer) in text
    for label, value in found.advice.settings.items():
        assert one_line(f"{label}{value}") in text
    for _, sent in found.session.hellos:
        assert sent.hello is None or all(name in text for name in sent.hello.suite_names)
    for verdict in found.verdicts:
        assert all(blocker in text for blocker in verdict.blockers)


def test_times_since_the_line_before_are_told() -> None:
    found: list[Event] = [Line(1.5, "server", b"220 a\r\n"), Line(4.0, "client", b"QUIT\r\n")]
    page = page_of(judge(session_of(found)))
    assert re.search(r'<td class="time slow">\+2\.500000</td>', page)


def test_rows_that_are_new_are_those_of_the_whole_dialogue() -> None:
    found = judged(EXAMPLES[0])
    events, marks = found.session.events, marks_of(found.findings)
    rows = list(dialogue_rows(events, marks, "relayprobe"))
    for start in range(1, len(events)):
        later = list(dialogue_rows(events[start:], marks, "relayprobe", start=start, before=events[start - 1].at))
        assert later == rows[start:]


def test_what_a_capture_cannot_show_and_remarks_are_told() -> None:
    session = session_of(events(said("S: 220 a\nC: QUIT")), source="text")
    text = Page(page_of(judge(session), remarks=("Names are made up.",))).text
    assert "Names are made up." in text
    assert "Not seen: The dialogue was read from a text" in text


MAIL: dict[str, Any] = {
    "id": "m1",
    "session": "aa00000001",
    "sender": "scanner@contoso.com",
    "recipients": ["anna@contoso.com"],
    "state": "failed",
    "attempts": 1,
    "next": 0,
    "last_reply": None,
    "route": "office",
    "why": "Office 365 refused it",
    "arrived": 1_700_000_000.0,
    "host": "192.168.1.20",
    "size": 100,
    "user": None,
    "kind": "device",
    "changed": ["the sender was put right"],
    "outcomes": [{"address": "anna@contoso.com", "state": "failed", "reply": "550 5.7.60 SMTP; Client does not have"}],
    "tries": [
        {
            "began": 1_700_000_001.0,
            "ended": 1_700_000_002.0,
            "route": "office",
            "place": "smtp.office365.com:587",
            "result": "refused",
            "stage": "message",
            "reply": "550 5.7.64 TenantAttribution; Relay Access Denied",
            "repairs": [{"id": "bare-lf", "says": "line ends were put right", "count": 3}],
            "dialogue": [to_object(event) for event in events(said("S: 220 office\nC: EHLO relay\nS: 250 office"))],
        }
    ],
}


def test_what_the_relay_did_is_told() -> None:
    text = one_line(Page(page_of(judged(EXAMPLES[0]), [MAIL])).text)
    for told in (
        "Mail m1: failed",
        "Office 365 refused it",
        "the sender was put right",
        "Attempt 1, 2023-11-14 22:13:21 UTC, by office (smtp.office365.com:587): refused",
        "550 5.7.64 TenantAttribution; Relay Access Denied",
        "Means: ",
        "line ends were put right (3 times) bare-lf",
        "EHLO relay",
    ):
        assert told in text


# It does nothing


def test_it_loads_nothing_and_runs_nothing() -> None:
    for path in EXAMPLES:
        page = page_of(judged(path), [MAIL])
        read = Page(page)
        assert {tag for tag, _ in read.elements} <= set(
            "html head meta title style body header main footer section article h1 h2 h3 h4 p dl div dt dd ul li table "
            "thead tbody tr th td a code span strong br".split()
        )
        assert all(link.startswith("#") for link in read.attributes("href"))
        assert not [name for _, given in read.elements for name in given if name.startswith("on") or name == "style"]
        assert not read.attributes("src")
        [style] = re.findall(r"<style>(.*?)</style>", page, re.S)
        assert not re.search(r"url\(|@import|expression", style)
        digest = b64encode(sha256(style.encode()).digest()).decode()
        policy = next(given["content"] for _, given in read.elements if given.get("http-equiv"))
        assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")


HOSTILE = (
    '</style></script><script>alert(1)</script><img src=x onerror=alert(1)>" onmouseover="alert(1)\' `x` --> ]]> '
    "javascript:alert(1) &lt;b&gt; {{7*7}} ;id; {0.__class__} %n \x1b[31m\x07\x9b\u202e\u2066\u200f\x00\r\u2028"
)


def hostile() -> tuple[Session, list[dict[str, Any]]]:
    """A session and its mail in which every text is hostile."""
    raw = HOSTILE.encode() + b"\r\n"
    hello = ClientHello("tls", 0x0303, (0x0303, 0x9999), (0x9999,), sni=HOSTILE, alpn=(HOSTILE,))
    found: list[Event] = [
        Connected(0.0, f"{HOSTILE}:1", f"{HOSTILE}:25"),
        Line(0.1, "server", b"220 " + raw),
        Line(0.2, "client", b"EHLO " + raw),
        Line(0.3, "server", b"250-" + raw),
        Line(0.3, "server", b"250 AUTH LOGIN\r\n"),
        TlsHello(0.4, b"", hello, "after-starttls"),
        TlsFailed(0.5, "client", HOSTILE),
        Credentials(0.6, b"AUTH LOGIN " + raw, "initial", "LOGIN", user=HOSTILE),
        Line(0.7, "server", b"535 " + raw),
        Line(0.8, "client", b"MAIL FROM:<" + raw),
        Line(0.9, "server", b"550 " + raw),
        Line(1.0, "client", b"RCPT TO:<a@" + raw),
        Line(1.1, "server", b"550 " + raw),
        Line(1.2, "client", b"DATA\r\n"),
        Line(1.3, "server", b"354 \r\n"),
        Body(1.4, 1.5, b"From: " + raw + b"X-Mailer: " + raw + b"\r\n" + raw, 999, "crlf", LineFacts()),
        Line(1.6, "server", b"550 " + raw),
    ]
    session = session_of(found, id=HOSTILE, site=Site(domains=(HOSTILE,), mx=HOSTILE), source="pcap")

    def made(thing: Any) -> Any:
        if isinstance(thing, str):
            return HOSTILE
        if isinstance(thing, dict):
            return {
                key: thing[key] if key in ("dialogue", "tries") and not thing[key] else made(thing[key])
                for key in thing
            }
        return [made(one) for one in thing] if isinstance(thing, list) else thing

    mail = made({**MAIL, "tries": [{**MAIL["tries"][0], "dialogue": []}]})
    mail["tries"][0]["dialogue"] = [to_object(event) for event in found]
    return session, [mail]


def test_hostile_content_does_nothing() -> None:
    session, mails = hostile()
    found = judge(session)
    page = page_of(replace(found, session=session), mails, (HOSTILE,))
    read = Page(page)
    assert not {tag for tag, _ in read.elements} & {"script", "img", "b", "iframe", "svg"}
    assert not [name for _, given in read.elements for name in given if name.startswith("on")]
    assert all(re.fullmatch(r"#(?:line-\d+|finding-[a-z0-9-]+)", link) for link in read.attributes("href"))
    assert page.count("<style>") == page.count("</style>") == 1
    assert [c for c in set(page) if not c.isprintable() and c != "\n"] == []
    assert "alert(1)" in read.text
    assert "49" not in re.sub(r"[\d.]{3,}", "", page[page.index("{{7*7}}") - 9 : page.index("{{7*7}}") + 9])


def test_findings_of_hostile_content_are_those_of_the_session() -> None:
    session, _ = hostile()
    page = Page(page_of(judge(session)))
    assert {f"finding-{finding.rule.id}" for finding in diagnose(session)} <= set(page.attributes("id"))


def test_markup() -> None:
    assert (
        el("p", "<b>", el("br"), None, ["a", "&"], class_='"x"') == '<p class="&quot;x&quot;">&lt;b&gt;<br>a&amp;</p>'
    )
    assert prose("say `a<b` now") == 'say <code dir="ltr">a&lt;b</code> now'
    assert prose("a ` b") == "a ` b"
