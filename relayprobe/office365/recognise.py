"""Which reply of Office 365 a text holds: a reply line, a log line, an exception, a report of non-delivery.

People paste what they have. It may be wrapped anywhere, one reply may stand within another, kilobytes of an Exchange
server's insides may follow, and the codes may come after the words. So the text is cut where a reply's codes stand; in
each piece the words are looked for without their blanks, and weighed with the codes; where no words fit, the codes
alone say what is known by them. A text is read to `LONGEST` characters, and `MOST_REPLIES` replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from relayprobe.office365.replies import ANSWERS, FOREIGN_BANNER, Answer
from relayprobe.office365.replies.normal import NORMAL, Normal
from relayprobe.tongue import Said, said

LONGEST = 64 * 1024
"""Characters of a text that are read."""
MOST_REPLIES = 200
"""Replies in a text that are looked at."""

_ENHANCED = r"[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)"
_START = re.compile(rf"(?<![\w.\-])(?:([2-5]\d\d)[\s,\-#b'\"(:]{{1,6}})?({_ENHANCED})")
# RFC 5321 4.2: a code alone counts only where a reply begins, for the ports 465 and 587 look like codes.
_BARE = re.compile(
    r"(?:^|[\"'(;,=>]|: |code |code\. \[|returned ) ?([45]\d\d)(?=[ \-][^\d]|[\"',;)\]]| ?$)", re.MULTILINE
)
_PREFIX = r"^ ?(?:[\d.,:TZ+\-]{4,32} ){0,2}(?:S:|<[-~=]{1,3}|<|\[S\]|SERVER(?: -> CLIENT)?:)? ?(?:b['\"])?"
_GOOD = re.compile(_PREFIX + r"([23]\d\d(?:[ \-].*)?)$", re.MULTILINE)
_CONTINUED = re.compile(_PREFIX + rf"([2-5]\d\d)([ \-]) ?(?:({_ENHANCED}) ?)?")
_BRACKETS = re.compile(r"\[([^\[\]]{1,300})\]")
_SERVER = re.compile(r"Hostname=|outlook\.com|office365\.com|\.prod\.|\d{4}-\d\d-\d\dT", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_WRAPS = re.compile(r"Error: ?$", re.IGNORECASE)

CLASSES = {
    "2": said("accepted"),
    "3": said("accepted so far; the server waits for more"),
    "4": said("refused for now: the same may be accepted later"),
    "5": said("refused for good: the same will be refused again"),
}
"""What the first digit of a code says (RFC 5321 4.2.1)."""
SUBJECTS = {
    "1": said("an address"),
    "2": said("a mailbox"),
    "3": said("the mail system"),
    "4": said("the network or the route"),
    "5": said("the dialogue itself"),
    "6": said("the form of the message"),
    "7": said("security or policy"),
}
"""What the second number of an enhanced code says it is about (RFC 3463 3)."""


@dataclass(frozen=True, slots=True)
class Match:
    """A reply that is known, and how: by its words, or by its number alone, which may have several meanings."""

    answer: Answer
    by: Literal["words", "number"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A reply that is not known, and what the class of its code says."""

    code: int | None
    enhanced: str | None

    @property
    def line(self) -> str:
        """The codes as they stand in a dialogue."""
        return " ".join(str(part) for part in (self.code, self.enhanced) if part)

    @property
    def meaning(self) -> Said:
        """What can be said of it: `refused for good: the same will be refused again; about an address`."""
        says = CLASSES[self.line[0]]
        subject = SUBJECTS.get(self.enhanced.split(".")[1]) if self.enhanced else None
        return said("{says}; about {subject}", says=says, subject=subject) if subject else says


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was found in a text. Of replies that wrap another the inner one comes first. `cut`: not all was read."""

    matches: tuple[Match, ...]
    normal: tuple[Normal, ...]
    unknown: tuple[Unknown, ...]
    cut: bool

    def __bool__(self) -> bool:
        return bool(self.matches or self.normal)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the text that begins with codes, where it has any."""

    code: int | None
    enhanced: str | None
    words: str  # without blanks, in lower case
    wraps: bool = False


def recognise(text: str) -> Recognised:
    """The replies in a text, whatever else is in it. Never raises."""
    cut = len(text) > LONGEST
    lines = _unfolded(text[:LONGEST])
    flat = " ".join(lines)
    starts = len(_START.findall(flat))
    pieces = _pieces(flat) if starts else _bare_pieces("\n".join(lines))
    found: list[Match] = []
    unknown: list[Unknown] = []
    whole = _squeezed(flat)
    for piece in _inner_first(pieces):
        matches = _matches(piece, whole)
        found += matches
        if not matches and (piece.code or piece.enhanced):
            unknown.append(Unknown(piece.code, piece.enhanced))
    good, foreign = _good(lines)
    if foreign and not found:
        found.append(Match(FOREIGN_BANNER, "words"))
    unknown = [one for one in unknown if one.line[0] in "45"]
    return Recognised(_settled(found), good, tuple(dict.fromkeys(unknown)), cut or starts > MOST_REPLIES)


def _unfolded(text: str) -> list[str]:
    """The lines, with those of a multi-line reply as one, and without what a server puts behind its reply."""
    text = text.replace("\\r", "").replace("\\n", "\n").replace("=\r\n", "").replace("=\n", "").replace("\u2019", "'")
    lines: list[str] = []
    continued: tuple[str, str] | None = None
    for line in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        head = _CONTINUED.match(line)
        if continued and head and head[1] == continued[0] and head[3] in (None, continued[1]):
            lines[-1] += " " + line[head.end() :]
        else:
            lines.append(line)
            continued = (head[1], head[3]) if head else None
        if head and head[2] == " ":
            continued = None
    return _BRACKETS.sub(_without_server, "\n".join(lines)).split("\n")


def _without_server(bracketed: re.Match[str]) -> str:
    return " " if _SERVER.search(bracketed[1]) else bracketed[0]


def _squeezed(text: str) -> str:
    return _BLANKS.sub("", text).lower()


def _pieces(flat: str) -> list[_Piece]:
    """The text cut where an enhanced code stands."""
    starts = list(islice(_START.finditer(flat), MOST_REPLIES))
    pieces = [_Piece(_code_before(flat[: starts[0].start()]), None, _squeezed(flat[: starts[0].start()]))]
    for start, end in zip(starts, [*(following.start() for following in starts[1:]), len(flat)], strict=True):
        text = flat[start.end() : end]
        code = int(start[1]) if start[1] else _code_before(flat[max(0, start.start() - 80) : start.start()])
        pieces.append(_Piece(code, start[2], _squeezed(text), bool(_WRAPS.search(text[-20:]))))
    if not pieces[0].words or pieces[0].code:
        return [*([_Piece(None, None, pieces[0].words)] if pieces[0].words else []), *pieces[1:]]
    return pieces


def _code_before(text: str) -> int | None:
    """`SMTP code: 554 Additional SMTP info: 5.2.252` has the code some words before."""
    codes = _BARE.findall(text)
    return int(codes[-1]) if codes else None


def _bare_pieces(text: str) -> list[_Piece]:
    """The text cut where a code without an enhanced one stands."""
    starts = list(islice(_BARE.finditer(text), MOST_REPLIES))
    if not starts:
        return [_Piece(None, None, _squeezed(text))]
    ends = [*(following.start() for following in starts[1:]), len(text)]
    pieces = [_Piece(None, None, _squeezed(text[: starts[0].start()]))]
    for start, end in zip(starts, ends, strict=True):
        pieces.append(_Piece(int(start[1]), None, _squeezed(text[start.end() : end])))
    return pieces


def _inner_first(pieces: list[_Piece]) -> Iterator[_Piece]:
    """`530 5.7.57 ... Error: 535 5.7.139 ...`: what is wrapped tells more."""
    held: list[_Piece] = []
    for piece in pieces:
        held.append(piece)
        if not piece.wraps:
            yield from reversed(held)
            held = []
    yield from reversed(held)


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Words of a reply, squeezed. `telling`: they say the reply whatever its code is; `sure`: without a code, too.

    `own`: no other reply has just these words, so that half of its codes is enough.
    """

    words: str
    answer: Answer
    telling: bool
    sure: bool
    own: bool


def _phrases() -> Iterator[_Phrase]:
    texts = [(_worded(answer.text), answer) for answer in ANSWERS if answer.text]
    wordings = [(_worded(wording), answer) for answer in ANSWERS for wording in answer.wordings]
    for words, answer in texts:
        within = any(words in other and answer is not one for other, one in texts)
        own = all(words != other or answer is one for other, one in (*texts, *wordings))
        yield _Phrase(words, answer, False, len(words) >= _SURE and not within, own)
    for words, answer in wordings:
        yield _Phrase(words, answer, True, True, True)


def _worded(text: str) -> str:
    return _squeezed(text).rstrip(".;:")


_SURE = 17  # `Invaliddomainname`; what is shorter is said by others, too
_PHRASES = tuple(_phrases())


def _matches(piece: _Piece, whole: str) -> list[Match]:
    """The reply that a piece is, by words; or those that its number may be."""
    numbered = _numbered(piece)
    coded = piece.code or piece.enhanced
    fitting = [
        (phrase.answer in numbered, phrase.answer.code == piece.code, len(phrase.words), phrase.answer)
        for phrase in _PHRASES
        if phrase.words in piece.words
        and (
            (phrase.answer in numbered and (phrase.own or piece.code is not None))
            or phrase.telling
            or (phrase.sure if not coded else phrase.answer.code == piece.code and not piece.enhanced)
        )
    ]
    best = max(fitting, key=lambda one: one[:3], default=None)
    wordless = [answer for answer in numbered if not answer.text]
    if best and (best[0] or not wordless):
        return [Match(best[3], "words")]
    worded = [answer for answer in numbered if answer.text and _worded(answer.text) in whole]
    if worded:
        return [Match(worded[0], "words")]
    return [Match(answer, "number") for answer in numbered]


def _numbered(piece: _Piece) -> list[Answer]:
    """The replies that have the codes of a piece; one with its own number goes before a range of numbers."""
    if piece.enhanced is None:
        return []
    numbers = _numbers(piece.enhanced)
    found = [
        answer
        for answer in ANSWERS
        if answer.enhanced and _numbers(answer.enhanced) <= numbers <= _numbers(answer.until or answer.enhanced)
    ]
    narrowest = min((_width(answer) for answer in found), default=0)
    found = [answer for answer in found if _width(answer) == narrowest]
    return [answer for answer in found if piece.code is None or answer.code in (None, piece.code)] or found


def _width(answer: Answer) -> int:
    return _numbers(answer.until)[2] - _numbers(answer.enhanced)[2] if answer.enhanced and answer.until else 0


def _numbers(enhanced: str) -> tuple[int, ...]:
    return tuple(map(int, enhanced.split(".")))


def _settled(found: list[Match]) -> tuple[Match, ...]:
    """Each reply once; what is known by its number alone only where no words settle what that number means."""
    said = {match.answer: match for match in reversed(found) if match.by == "words"}
    settled = {answer.enhanced for answer in said}
    order: dict[Answer, Match] = {}
    for match in found:
        if match.answer in said:
            order.setdefault(match.answer, said[match.answer])
        elif match.answer.enhanced not in settled:
            order.setdefault(match.answer, match)
    return tuple(order.values())


def _good(lines: list[str]) -> tuple[tuple[Normal, ...], bool]:
    """The lines of an ordinary dialogue, and whether there is a banner that is not Office 365's."""
    good: dict[Normal, None] = {}
    foreign = False
    for line in lines[:MOST_REPLIES]:
        found = _GOOD.match(line)
        if not found:
            continue
        said = found[1]
        normal = next((one for one in NORMAL if one.form.match(said)), None)
        if normal:
            good[normal] = None
        elif said.startswith("220") and not re.match(r"220[ \-]2\.", said):
            foreign = True
    return tuple(good), foreign
