"""What a pasted reply or a vendor's code means, in words for a terminal and as JSON objects.

Nothing of what was pasted is printed, only what is known of it; a server's refusal in a capture is quoted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from relayprobe.advice.refused import Refusal
from relayprobe.office365.modes import MODES
from relayprobe.office365.recognise import CLASSES, Match, Recognised, Unknown
from relayprobe.office365.replies import ANSWERS, Answer, Retry, Stage
from relayprobe.office365.replies.normal import Normal
from relayprobe.report.text import MODE_NAMES, WIDTH, Styled
from relayprobe.report.visible import visible
from relayprobe.rules import RULES, Rule
from relayprobe.rules.codes import Code, Text, rules_meant

STAGES: dict[Stage, str] = {
    "banner": "as soon as the device connects",
    "ehlo": "after HELO or EHLO",
    "tls": "around STARTTLS",
    "auth": "at the login (AUTH)",
    "mail": "after MAIL FROM",
    "rcpt": "after RCPT TO",
    "data": "after DATA, or while the message comes",
    "end-of-data": "after the message",
    "later": "later, as a report to the sender's mailbox",
}
RETRIES: dict[Retry, str] = {
    "retry": "Trying again helps, after a while.",
    "never": "Trying again does not help: the mail itself is refused.",
    "configuration": "Trying again does not help until the setting is changed.",
    "hold": "Trying again does not help, but the mail is not to blame: it can go out once this is set right.",
    "stop-hours": "Trying again makes it worse: send nothing for some hours.",
}
FEW = 2
"""Meanings of a number that are explained in full; of more, each gets a few lines."""

HEAD = "  "
QUOTED = 300
"""Characters of a refusal that are quoted: kilobytes of a server's insides may follow."""


def refusals_text(refusals: Sequence[Refusal]) -> Iterator[Styled]:
    """What another server refused, quoted and explained."""
    for refusal in refusals:
        quoted = visible(refusal.reply.text)
        shown = quoted if len(quoted) <= QUOTED else quoted[:QUOTED] + "..."
        yield from _said(f"The server refused {refusal.to}: {shown}", "", "error")
        yield from explanation(refusal.found)
        yield "", ""


def refusal_object(refusal: Refusal) -> dict[str, Any]:
    """One of them as a JSON object."""
    return {
        "event": refusal.event,
        "to": refusal.to,
        "reply": refusal.reply.text,
        "explained": explanation_object(refusal.found),
    }


def explanation(found: Recognised, texts: Sequence[Text] = (), codes: Sequence[Code] = ()) -> Iterator[Styled]:
    """All about what was recognised in a text; where nothing was, what can be said all the same."""
    blocks: list[Iterator[Styled]] = [_text(text) for text in texts]
    numbered = [match.answer for match in found.matches if match.by == "number"]
    if len(numbered) > FEW:
        blocks += [_answer(match) for match in found.matches if match.by == "words"]
        blocks.append(_meanings(numbered))
    else:
        blocks += [_answer(match) for match in found.matches]
    if not found.matches:
        blocks += [_normal(normal) for normal in found.normal]
    blocks += [_unknown(unknown) for unknown in found.unknown]
    blocks += [code_page(code) for code in codes]
    if found.cut:
        blocks.append(iter([("warning", "The text is too long: its end was not read.")]))
    for n, block in enumerate(blocks):
        if n:
            yield "", ""
        yield from block
    if not blocks:
        yield "warning", "Nothing in it is a reply of Office 365 that is known here."
        yield from _said("A reply begins with three digits, as `550 5.7.64 ...`; paste it whole, with its words.")


def explanation_object(found: Recognised, texts: Sequence[Text] = (), codes: Sequence[Code] = ()) -> dict[str, Any]:
    """The same as a JSON object."""
    return {
        "recognised": bool(found or texts or codes),
        "answers": [_answer_object(match) for match in found.matches],
        "normal": [
            {
                "line": normal.line,
                "stage": normal.stage,
                "meaning": normal.meaning,
                "source": normal.source,
                "seen": normal.seen or None,
                "doubt": normal.doubt,
            }
            for normal in found.normal
        ],
        "unknown": [{"line": unknown.line, "meaning": unknown.meaning} for unknown in found.unknown],
        "texts": [
            {
                "program": text.program,
                "text": text.text,
                "cause": text.cause,
                "rules": list(rules_meant(text.rules, RULES)),
                "source": text.source,
            }
            for text in texts
        ],
        "codes": [code_object(code) for code in codes],
        "cut": found.cut,
    }


def code_page(code: Code, written: str | None = None) -> Iterator[Styled]:
    """All about one vendor's code. `written`: as somebody wrote it."""
    yield "heading", f"{code.vendor}: {code.code}"
    yield from _said(f"{code.text}.")
    if code.about:
        yield from _said(f"It comes from: {code.about}.")
    if smtp := code.smtp(written or code.code):
        yield from _said(f"In it is the code of SMTP {smtp}: {CLASSES[str(smtp)[0]]}.")
        answers = [answer for answer in ANSWERS if answer.code == smtp]
        if answers:
            yield from _said("Office 365 answers so with these; `relayprobe explain` tells more of each:")
            for answer in answers:
                yield from _said(answer.line, "    ")
    yield from _leading(rules_meant(code.rules, RULES))
    yield from _said(f"Source: {code.source}")
    if code.doubt:
        yield from _said(f"Not certain: {code.doubt}.")


def code_object(code: Code, written: str | None = None) -> dict[str, Any]:
    """A vendor's code as a JSON object."""
    smtp = code.smtp(written or code.code)
    return {
        "vendor": code.vendor,
        "code": code.code,
        "text": code.text,
        "about": code.about,
        "smtp": smtp,
        "answers": [answer.line for answer in ANSWERS if smtp and answer.code == smtp],
        "rules": list(rules_meant(code.rules, RULES)),
        "source": code.source,
        "doubt": code.doubt,
    }


def rules_behind(answer: Answer) -> list[Rule]:
    """The rules that Office 365 answers so."""
    return [rule for rule in RULES.values() if answer in rule.answer.values()]


def _answer(match: Match) -> Iterator[Styled]:
    answer = match.answer
    yield "heading", answer.line if answer.text else f"{answer.line} (the source has no words for it)"
    if match.by == "number":
        yield (
            "warning",
            f"{HEAD}Known by its number alone, for its words are others or missing: it may mean something else.",
        )
    yield from _said(answer.meaning)
    stages = [STAGES[stage] for stage in (answer.stage, *answer.also)]
    yield from _said(f"When: {'; or '.join(stages)}.")
    yield from _said(f"Where: {_where(answer)}.")
    yield from _said(f"Do: {answer.fix}", style="fix")
    yield from _said(RETRIES[answer.retry])
    yield from _leading([rule.id for rule in rules_behind(answer)])
    yield from _said(f"{answer.dated[:1].upper()}{answer.dated[1:]}; {answer.source}")
    if answer.doubt:
        yield from _said(f"Not certain: {answer.doubt}.")


def _where(answer: Answer) -> str:
    if answer.only_at:
        return answer.only_at
    if set(answer.modes) == set(MODES):
        return "anywhere"
    return "; ".join(MODE_NAMES[mode] for mode in answer.modes)


def _meanings(answers: Sequence[Answer]) -> Iterator[Styled]:
    yield "heading", f"{answers[0].enhanced} has several meanings, and the words tell them apart"
    yield from _said("None of the words known for it are there, so it may be one of these, or another server's:")
    for answer in answers:
        yield from _said(answer.line, style="heading")
        yield from _said(answer.meaning, "    ")
        yield from _said(f"Do: {answer.fix}", "    ")
        if answer.doubt:
            yield from _said(f"Not certain: {answer.doubt}.", "    ")


def _normal(normal: Normal) -> Iterator[Styled]:
    yield "good", normal.line
    yield from _said(f"No fault. {normal.meaning}")
    if normal.doubt:
        yield from _said(f"Not certain: {normal.doubt}.")


def _unknown(unknown: Unknown) -> Iterator[Styled]:
    yield "heading", unknown.line
    yield "warning", f"{HEAD}No reply of Office 365 that is known here is like it; it may be another server's."
    yield from _said(f"By its class: {unknown.meaning}.")


def _text(text: Text) -> Iterator[Styled]:
    yield "heading", f"{text.program}: {text.text}"
    yield from _said(text.cause)
    yield from _leading(rules_meant(text.rules, RULES))
    yield from _said(f"Source: {text.source}")


def _leading(ids: Sequence[str]) -> Iterator[Styled]:
    if ids:
        yield "", f"{HEAD}Findings that may be behind it (`relayprobe rules NAME` explains one):"
        for id in ids:
            yield from _said(f"{id}: {RULES[id].title}", "    ")


def _said(text: str, indent: str = HEAD, style: str = "") -> Iterator[Styled]:
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    ):
        yield style, line


def _answer_object(match: Match) -> dict[str, Any]:
    answer = match.answer
    return {
        "line": answer.line,
        "code": answer.code,
        "enhanced": answer.enhanced,
        "by": match.by,
        "stages": [answer.stage, *answer.also],
        "modes": list(answer.modes),
        "only_at": answer.only_at,
        "meaning": answer.meaning,
        "fix": answer.fix,
        "retry": answer.retry,
        "rules": [rule.id for rule in rules_behind(answer)],
        "source": answer.source,
        "seen": answer.seen or None,
        "doubt": answer.doubt,
    }
