"""The text of a message as it goes up: derived from the capture, the same at each attempt, in constant memory.

Lines are put right first (`lines`), then the header (`header`, `head`). Only where the capture counted long lines,
letters beyond ASCII, NUL octets or bare line ends is the rest taken apart (`parts`): once to see what each part has in
it, and again whenever the text is sent, with the parts written anew that need it (`leaf`, `recoding`). All other texts
pass in whole chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from relayprobe.relay.repair import fields as header
from relayprobe.relay.repair.fields import Field
from relayprobe.relay.repair.head import Change, mended
from relayprobe.relay.repair.header import HEADER_LIMIT, Header, header_of
from relayprobe.relay.repair.leaf import Count, Plan, planned, told, written
from relayprobe.relay.repair.lines import Lines
from relayprobe.relay.repair.parts import End, Head, Mark, Part, Parts, Text
from relayprobe.relay.repair.recoding import Recoding
from relayprobe.relay.repair.terms import ALWAYS, REPAIRS, Mended, Repair, Source, Terms
from relayprobe.report.visible import visible

_SAID = 5
"""Changes of one kind that are told one by one."""

_SIGNED = frozenset(["multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"])
EXCERPT = 2048
"""Octets of a changed part that are shown."""


def repaired(source: Source, terms: Terms) -> Mended:
    """The text with every repair that is due and not switched off."""
    off = terms.off - ALWAYS
    lines = Lines(source, off)
    start, whole = _start(lines)
    found = header_of(start, whole, "header-broken" not in off)
    if found is None:
        return _untouched(lines, terms)
    tally = _Tally()
    for says in found.mended:
        tally.add("header-broken", says)
    if lines.keeps_dots:
        tally.add("dots", "dots were kept that the device had not doubled", lines.facts.unstuffed_dots)
    fields = [_without_nul(one, tally) for one in found.fields] if "nul" not in off else list(found.fields)
    fields, changes, left = mended(fields, terms)
    scan = _scanned(lines, found, fields, terms, tally)
    fields = _told(fields, scan, tally)
    after = _received(terms) + header.joined(fields) + b"\r\n"
    before = start[: found.size]
    fates = _Fates(header.joined(fields), found.size, scan.plans, terms)

    def chunks() -> Iterator[bytes]:
        yield after
        body = _behind(lines, found.size)
        yield from fates.applied(body) if scan.apart else body

    def places() -> Iterator[tuple[bytes, bytes]]:
        if scan.apart:
            yield from fates.places(_behind(lines, found.size))

    tally.changes(changes)
    signatures = _Signatures(fields, scan.signed)
    return Mended(
        repairs=tuple(tally.repairs(signatures)),
        left=tuple(dict.fromkeys(visible(says) for says in [*left, *scan.left])),
        chunks=chunks,
        size=sum(map(len, chunks())) if whole else None,
        before=before,
        after=after,
        places=places,
        eight_bit=scan.eight_bit or not after.isascii(),
        smtputf8=scan.smtputf8 or not after.isascii(),
    )


def _start(lines: Lines) -> tuple[bytes, bool]:
    """The text up to the largest size of a header or its own end, and whether that is all of it."""
    start = bytearray()
    for chunk in lines:
        start += chunk
        if len(start) > HEADER_LIMIT:
            return bytes(start[:HEADER_LIMIT]), False
    return bytes(start), True


def _behind(lines: Lines, size: int) -> Iterator[bytes]:
    """The text from an octet on."""
    for chunk in lines:
        if size >= len(chunk):
            size -= len(chunk)
        elif size:
            yield chunk[size:]
            size = 0
        else:
            yield chunk


def _received(terms: Terms) -> bytes:
    return header.field(b"Received", " ".join(terms.received.split()).encode("ascii", "replace")).raw


def _without_nul(one: Field, tally: _Tally) -> Field:
    if b"\0" not in one.raw:
        return one
    tally.add("nul", "NUL octets in the header were taken away", one.raw.count(b"\0"))
    return header.parsed(one.raw.replace(b"\0", b""))[0]


def _untouched(lines: Lines, terms: Terms) -> Mended:
    """A text whose header has no end in sight."""
    front = _received(terms)

    def chunks() -> Iterator[bytes]:
        yield front
        yield from lines

    facts = lines.facts
    says = f"the header has no end within {HEADER_LIMIT // 1024} KiB: nothing but the line ends was put right"
    count = facts.bare_lf + facts.bare_cr
    ends = (Repair("line-ends", count, f"{count:,} line ends were made CR LF"),) if count else ()
    return Mended(ends, (says,), chunks, None, b"", front, lambda: iter(()), facts.eight_bit, smtputf8=facts.eight_bit)


@dataclass(slots=True)
class _Scan:
    """What the first pass found. `apart`: the text has to be taken apart when it is sent."""

    plans: dict[int, Plan] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    signed: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    apart: bool = False


def _scanned(lines: Lines, found: Header, fields: list[Field], terms: Terms, tally: _Tally) -> _Scan:
    scan = _Scan(signed=header.media_type(header.first(fields, "content-type")) in _SIGNED)
    facts = lines.facts
    if not (facts.overlong or facts.eight_bit or facts.nul or lines.ends_badly):
        return scan
    top = header.joined(fields)
    parts = Parts(top, _behind(lines, found.size))
    count, block = Count(), top
    for piece in parts:
        match piece:
            case Head(part, block):
                count = Count()
                _note_head(scan, *written(piece, Plan(), terms), tally)
                scan.signed = scan.signed or part.type in _SIGNED
            case Text(data=data):
                count.feed(data)
            case End(part=part):
                _note(scan, part, planned(part, count, block, terms), count, tally)
            case Mark():
                count, block = Count(), b""
    if lines.ends:
        tally.add("line-ends", "line ends were made CR LF", lines.ends)
    return scan


def _note_head(scan: _Scan, block: bytes, ids: tuple[str, ...], tally: _Tally) -> None:
    for id in ids:
        tally.add(id, "the header of a part was put right")
        scan.apart = True
    if header.overlong(block):
        scan.left.append("the header of a part has a line of more than 998 octets without a blank to fold it at")
    if not block.isascii():
        scan.left.append("the header of a part has letters beyond ASCII, which the other side may refuse")
        scan.smtputf8 = scan.eight_bit = True


_SAYS = {
    "long-lines": "parts with long lines were wrapped or encoded",
    "eight-bit": "parts with letters beyond ASCII were encoded",
    "nul": "parts were rid of NUL octets, or encoded",
    "text-declared": "parts say now how their letters beyond ASCII are to be read",
}


def _note(scan: _Scan, part: Part, plan: Plan, count: Count, tally: _Tally) -> None:
    scan.left += plan.left
    recoded = plan.encoding in ("base64", "quoted-printable") or "eight-bit" in plan.ids
    scan.eight_bit = scan.eight_bit or (count.facts.eight_bit and not recoded)
    if plan.changes:
        scan.plans[part.number] = plan
        scan.apart = True
        for id in plan.ids:
            tally.add(id, _SAYS[id], count.nuls if id == "nul" else 1)


def _told(fields: list[Field], scan: _Scan, tally: _Tally) -> list[Field]:
    """The header of the message, with what the plan for its own text has it say."""
    plan = scan.plans.get(1, Plan())
    fields = told(fields, plan)
    if any(plan.encoding or plan.charset for plan in scan.plans.values()) and not header.first(fields, "mime-version"):
        fields = [*(one for one in fields if one.name != "mime-version"), header.field(b"MIME-Version", b"1.0")]
    return fields


@dataclass(frozen=True, slots=True)
class _Fates:
    """The second pass: the parts of a text written as planned."""

    top: bytes
    size: int
    plans: Mapping[int, Plan]
    terms: Terms

    def applied(self, body: Iterator[bytes]) -> Iterator[bytes]:
        """The text behind the header as it goes up."""
        for _, after in self._pairs(body):
            if after:
                yield after

    def places(self, body: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The beginning of each changed stretch, before and after."""
        before, after = b"", b""
        for old, new in self._pairs(body):
            if old is None:
                if before != after:
                    yield before, after
                before, after = b"", b""
                continue
            before, after = _apart(before + old, after + new)
            before, after = before[:EXCERPT], after[:EXCERPT]

    def _pairs(self, body: Iterator[bytes]) -> Iterator[tuple[bytes | None, bytes]]:
        """Octets as they were, and as they go up; None between two stretches."""
        recoding: Recoding | None = None
        fresh = True
        for piece in Parts(self.top, body):
            match piece:
                case Head():
                    yield None, b""
                    yield piece.block, written(piece, self.plans.get(piece.part.number, Plan()), self.terms)[0]
                    fresh = True
                case Text(part, data):
                    if fresh:
                        plan = self.plans.get(part.number)
                        recoding = plan.recoding() if plan and plan.recoding else None
                        fresh = False
                        yield None, b""
                    yield data, recoding.feed(data) if recoding else data
                case End(divided=divided):
                    yield b"", recoding.end(divided) if recoding else b""
                    recoding = None
                case Mark(data):
                    yield data, data
                    fresh = True
        yield None, b""


def _apart(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What is left of two texts from the line on in which they differ."""
    alike = 0
    step = min(len(before), len(after))
    while step:
        if before[alike : alike + step] == after[alike : alike + step]:
            alike += step
        step //= 2
    begin = before.rfind(b"\n", 0, alike) + 1
    return before[begin:], after[begin:]


@dataclass(frozen=True, slots=True)
class _Signatures:
    """What signs the message, and so may be broken by a repair."""

    fields: list[Field]
    signed: bool

    def broken(self, id: str, names: set[str]) -> str:
        """What a repair did to signatures, in words; empty where it did nothing to any."""
        says = []
        covered = b":".join(_signed_fields(one) for one in self.fields if one.name == "dkim-signature").lower()
        if any(one.name == "dkim-signature" for one in self.fields) and (
            id in _BODY or any(name.encode() in map(bytes.strip, covered.split(b":")) for name in names)
        ):
            says.append("The DKIM signature of the message may not fit any more.")
        if self.signed and id in ("line-ends", "dots", "nul"):
            says.append("The message is signed (S/MIME or PGP), and the signature may not fit any more.")
        if self.signed and id in ("from-rewritten", "from-missing"):
            says.append("The message is signed (S/MIME or PGP), by an address that is not in From any more.")
        return " ".join(says)


_BODY = frozenset(["line-ends", "dots", "nul", "eight-bit", "long-lines", "header-broken"])


def _signed_fields(one: Field) -> bytes:
    tags = dict(tag.strip().partition(b"=")[::2] for tag in one.value.split(b";"))
    return next((value for name, value in tags.items() if name.strip() == b"h"), b"")


@dataclass(slots=True)
class _Tally:
    """The repairs made so far."""

    _counts: dict[str, int] = field(default_factory=dict)
    _says: dict[str, dict[str, int]] = field(default_factory=dict)
    _names: dict[str, set[str]] = field(default_factory=dict)

    def add(self, id: str, says: str, count: int = 1) -> None:
        """One more, or several."""
        self._counts[id] = self._counts.get(id, 0) + count
        said = self._says.setdefault(id, {})
        said[says] = said.get(says, 0) + count

    def changes(self, changes: Iterable[Change]) -> None:
        """Those of the header."""
        for change in changes:
            for says in change.says:
                self.add(change.id, says)
            self._names.setdefault(change.id, set()).update(change.names)

    def repairs(self, signatures: _Signatures) -> Iterator[Repair]:
        """What was done, in the order of the table."""
        for id in REPAIRS:
            if id not in self._counts:
                continue
            said = [says if count == 1 else f"{says} ({count:,})" for says, count in self._says[id].items()]
            more = [f"and {len(said) - _SAID:,} more"] if len(said) > _SAID else []
            broken = signatures.broken(id, self._names.get(id, set()))
            says = "; ".join(said[:_SAID] + more)
            yield Repair(id, self._counts[id], visible(f"{says}. {broken}" if broken else says))
