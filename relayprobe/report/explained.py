"""What a pasted reply or a vendor's code means, in words for a terminal and as JSON objects.

Nothing of what was pasted is printed, only what is known of it; a server's refusal in a capture is quoted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import reduce
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
from relayprobe.tongue import ENGLISH, Said, Tongue, joined, said

STAGES: dict[Stage, Said] = {
    "banner": said("as soon as the device connects"),
    "ehlo": said("after HELO or EHLO"),
    "tls": said("around STARTTLS"),
    "auth": said("at the login (AUTH)"),
    "mail": said("after MAIL FROM"),
    "rcpt": said("after RCPT TO"),
    "data": said("after DATA, or while the message comes"),
    "end-of-data": said("after the message"),
    "later": said("later, as a report to the sender's mailbox"),
}
RETRIES: dict[Retry, Said] = {
    "retry": said("Trying again helps, after a while."),
    "never": said("Trying again does not help: the mail itself is refused."),
    "configuration": said("Trying again does not help until the setting is changed."),
    "hold": said("Trying again does not help, but the mail is not to blame: it can go out once this is set right."),
    "stop-hours": said("Trying again makes it worse: send nothing for some hours."),
}
FEW = 2
"""Meanings of a number that are explained in full; of more, each gets a few lines."""

HEAD = "  "
QUOTED = 300
"""Characters of a refusal that are quoted: kilobytes of a server's insides may follow."""


def refusals_text(refusals: Sequence[Refusal], tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """What another server refused, quoted and explained."""
    for refusal in refusals:
        quoted = visible(refusal.reply.text)
        shown = quoted if len(quoted) <= QUOTED else quoted[:QUOTED] + "..."
        told = tongue("The server refused {to}: {reply}", to=refusal.to, reply=shown)
        yield from _lines(told, "", "error")
        yield from explanation(refusal.found, tongue=tongue)
        yield "", ""


def refusal_object(refusal: Refusal, tongue: Tongue = ENGLISH) -> dict[str, Any]:
    """One of them as a JSON object."""
    return {
        "event": refusal.event,
        "to": tongue(refusal.to),
        "reply": refusal.reply.text,
        "explained": explanation_object(refusal.found, tongue=tongue),
    }


def explanation(
    found: Recognised, texts: Sequence[Text] = (), codes: Sequence[Code] = (), tongue: Tongue = ENGLISH
) -> Iterator[Styled]:
    """All about what was recognised in a text; where nothing was, what can be said all the same."""
    blocks: list[Iterator[Styled]] = [_text(text, tongue) for text in texts]
    numbered = [match.answer for match in found.matches if match.by == "number"]
    if len(numbered) > FEW:
        blocks += [_answer(match, tongue) for match in found.matches if match.by == "words"]
        blocks.append(_meanings(numbered, tongue))
    else:
        blocks += [_answer(match, tongue) for match in found.matches]
    if not found.matches:
        blocks += [_normal(normal, tongue) for normal in found.normal]
    blocks += [_unknown(unknown, tongue) for unknown in found.unknown]
    blocks += [code_page(code, tongue=tongue) for code in codes]
    if found.cut:
        blocks.append(iter([("warning", tongue("The text is too long: its end was not read."))]))
    for n, block in enumerate(blocks):
        if n:
            yield "", ""
        yield from block
    if not blocks:
        yield "warning", tongue("Nothing in it is a reply of Office 365 that is known here.")
        yield from _lines(
            tongue("A reply begins with three digits, as `550 5.7.64 ...`; paste it whole, with its words.")
        )


def explanation_object(
    found: Recognised, texts: Sequence[Text] = (), codes: Sequence[Code] = (), tongue: Tongue = ENGLISH
) -> dict[str, Any]:
    """The same as a JSON object."""
    return {
        "recognised": bool(found or texts or codes),
        "answers": [_answer_object(match, tongue) for match in found.matches],
        "normal": [
            {
                "line": normal.line,
                "stage": normal.stage,
                "meaning": tongue(normal.meaning),
                "source": normal.source,
                "seen": normal.seen or None,
                "doubt": or_none(normal.doubt, tongue),
            }
            for normal in found.normal
        ],
        "unknown": [{"line": unknown.line, "meaning": tongue(unknown.meaning)} for unknown in found.unknown],
        "texts": [
            {
                "program": tongue(text.program),
                "text": text.text,
                "cause": tongue(text.cause),
                "rules": list(rules_meant(text.rules, RULES)),
                "source": text.source,
            }
            for text in texts
        ],
        "codes": [code_object(code, tongue=tongue) for code in codes],
        "cut": found.cut,
    }


def code_page(code: Code, written: str | None = None, tongue: Tongue = ENGLISH) -> Iterator[Styled]:
    """All about one vendor's code. `written`: as somebody wrote it."""
    yield "heading", f"{code.vendor}: {code.code}"
    yield from _lines(f"{tongue(code.text)}.")
    if code.about:
        yield from _lines(tongue("It comes from: {about}.", about=tongue(code.about)))
    if smtp := code.smtp(written or code.code):
        yield from _lines(
            tongue("In it is the code of SMTP {code}: {says}.", code=str(smtp), says=CLASSES[str(smtp)[0]])
        )
        answers = [answer for answer in ANSWERS if answer.code == smtp]
        if answers:
            yield from _lines(tongue("Office 365 answers so with these; `relayprobe explain` tells more of each:"))
            for answer in answers:
                yield from _lines(answer.line, "    ")
    yield from _leading(rules_meant(code.rules, RULES), tongue)
    yield from _lines(f"{tongue('Source:')} {code.source}")
    yield from _uncertain(code.doubt, tongue)


def code_object(code: Code, written: str | None = None, tongue: Tongue = ENGLISH) -> dict[str, Any]:
    """A vendor's code as a JSON object."""
    smtp = code.smtp(written or code.code)
    return {
        "vendor": code.vendor,
        "code": code.code,
        "text": tongue(code.text),
        "about": or_none(code.about, tongue),
        "smtp": smtp,
        "answers": [answer.line for answer in ANSWERS if smtp and answer.code == smtp],
        "rules": list(rules_meant(code.rules, RULES)),
        "source": code.source,
        "doubt": or_none(code.doubt, tongue),
    }


def or_none(text: str | None, tongue: Tongue) -> str | None:
    """A text that may be missing."""
    return text if text is None else tongue(text)


def rules_behind(answer: Answer) -> list[Rule]:
    """The rules that Office 365 answers so."""
    return [rule for rule in RULES.values() if answer in rule.answer.values()]


def _answer(match: Match, tongue: Tongue) -> Iterator[Styled]:
    answer = match.answer
    if answer.text:
        yield "heading", answer.line
    else:
        yield "heading", f"{answer.line} {tongue('(the source has no words for it)')}"
    if match.by == "number":
        known = tongue("Known by its number alone, for its words are others or missing: it may mean something else.")
        yield "warning", f"{HEAD}{known}"
    yield from _lines(tongue(answer.meaning))
    yield from _lines(tongue("When: {stages}.", stages=_stages(answer)))
    yield from _lines(tongue("Where: {where}.", where=_where(answer)))
    yield from _lines(f"{tongue('Do:')} {tongue(answer.fix)}", style="fix")
    yield from _lines(tongue(RETRIES[answer.retry]))
    yield from _leading([rule.id for rule in rules_behind(answer)], tongue)
    yield from _lines(f"{capital(tongue(answer.dated))}; {answer.source}")
    yield from _uncertain(answer.doubt, tongue)


def capital(text: str) -> str:
    """A text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def _stages(answer: Answer) -> Said:
    first, *others = (STAGES[stage] for stage in (answer.stage, *answer.also))
    return reduce(lambda some, last: said("{some}; or {last}", some=some, last=last), others, first)


def _where(answer: Answer) -> str:
    if answer.only_at:
        return answer.only_at
    if set(answer.modes) == set(MODES):
        return said("anywhere")
    return joined((MODE_NAMES[mode] for mode in answer.modes), "; ")


def _meanings(answers: Sequence[Answer], tongue: Tongue) -> Iterator[Styled]:
    yield "heading", tongue("{code} has several meanings, and the words tell them apart", code=answers[0].enhanced)
    yield from _lines(
        tongue("None of the words known for it are there, so it may be one of these, or another server's:")
    )
    for answer in answers:
        yield from _lines(answer.line, style="heading")
        yield from _lines(tongue(answer.meaning), "    ")
        yield from _lines(f"{tongue('Do:')} {tongue(answer.fix)}", "    ")
        yield from _uncertain(answer.doubt, tongue, "    ")


def _normal(normal: Normal, tongue: Tongue) -> Iterator[Styled]:
    yield "good", normal.line
    yield from _lines(tongue("No fault. {meaning}", meaning=tongue(normal.meaning)))
    yield from _uncertain(normal.doubt, tongue)


def _unknown(unknown: Unknown, tongue: Tongue) -> Iterator[Styled]:
    yield "heading", unknown.line
    known = tongue("No reply of Office 365 that is known here is like it; it may be another server's.")
    yield "warning", f"{HEAD}{known}"
    yield from _lines(tongue("By its class: {meaning}.", meaning=unknown.meaning))


def _text(text: Text, tongue: Tongue) -> Iterator[Styled]:
    yield "heading", f"{tongue(text.program)}: {text.text}"
    yield from _lines(tongue(text.cause))
    yield from _leading(rules_meant(text.rules, RULES), tongue)
    yield from _lines(f"{tongue('Source:')} {text.source}")


def _leading(ids: Sequence[str], tongue: Tongue) -> Iterator[Styled]:
    if ids:
        yield "", f"{HEAD}{tongue('Findings that may be behind it (`relayprobe rules NAME` explains one):')}"
        for id in ids:
            yield from _lines(f"{id}: {tongue(RULES[id].title)}", "    ")


def _uncertain(doubt: str | None, tongue: Tongue, indent: str = HEAD) -> Iterator[Styled]:
    if doubt:
        yield from _lines(f"{tongue('Not certain:')} {tongue(doubt)}.", indent)


def _lines(text: str, indent: str = HEAD, style: str = "") -> Iterator[Styled]:
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    ):
        yield style, line


def _answer_object(match: Match, tongue: Tongue) -> dict[str, Any]:
    answer = match.answer
    return {
        "line": answer.line,
        "code": answer.code,
        "enhanced": answer.enhanced,
        "by": match.by,
        "stages": [answer.stage, *answer.also],
        "modes": list(answer.modes),
        "only_at": or_none(answer.only_at, tongue),
        "meaning": tongue(answer.meaning),
        "fix": tongue(answer.fix),
        "retry": answer.retry,
        "rules": [rule.id for rule in rules_behind(answer)],
        "source": answer.source,
        "seen": answer.seen or None,
        "doubt": or_none(answer.doubt, tongue),
    }
