"""`make translations`: brings the Italian catalogue up to date with what the code says, and compiles it.

What the code says is found in two ways. Templates that stand in it as literals, in `said(...)`, `counted(...)` and
`tongue(...)`, are read from its syntax; where such a call names a table of its module, all texts of the table are
meant. And the texts that are data (what rules, replies, and the rows of the advice say of themselves) are taken from
the tables that hold them. New messages are added to the .po without a translation, and those that are gone leave it;
the .mo is kept beside it, so that nothing has to be compiled where relayprobe is installed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import relayprobe
from relayprobe.advice import devices, table
from relayprobe.office365 import endpoints, replies, sign_in
from relayprobe.office365.replies.normal import NORMAL
from relayprobe.rules import RULES, codes

CODE = Path(relayprobe.__file__).parent
PO = CODE / "tongue" / "catalogues" / "it.po"
MO = PO.with_suffix(".mo")

Messages = dict[tuple[str, str], list[str]]
"""The template, and that for more than one or an empty text; with the files that it stands in."""


def main() -> None:
    """Write both files, and say what has no translation yet."""
    PO.write_text(updated(PO.read_text(encoding="utf-8")), encoding="utf-8")
    MO.write_bytes(compiled(PO.read_text(encoding="utf-8")))
    left = untranslated(catalogue(PO.read_text(encoding="utf-8")))
    for places, template in left:
        print(f"{places}: {template}")
    print(f"{len(messages())} messages, {len(left)} of them without a translation")


def messages() -> Messages:
    """All that is said to people, in the order of the files."""
    found: Messages = {}
    for path in sorted(CODE.rglob("*.py")):
        for one, many in in_code(path):
            _add(found, one, many, path)
    for text, path in in_tables():
        _add(found, text, "", path)
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def _add(found: Messages, one: str, many: str, path: Path) -> None:
    place = path.relative_to(CODE.parent).as_posix()
    if one and place not in found.setdefault((one, many), []):
        found[one, many].append(place)


# In the code

SAYING = frozenset(("said", "inside", "tongue", "_tongue", "counted"))


def in_code(path: Path) -> Iterator[tuple[str, str]]:
    """The templates in a module. ValueError for one that is put together before it is said: nobody could find it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in SAYING and node.args]
    for node in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if _called(node) == "counted":
            templates = [template for arg in node.args[:2] for template in _meant(path, arg)]
            if len(templates) == 2:
                yield templates[0], templates[1]
            continue
        for template in _meant(path, node.args[0]):
            yield template, ""


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _meant(path: Path, node: ast.expr) -> Iterator[str]:
    """The templates that an argument may be: a literal, one of two, or one out of a table."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            raise ValueError(f"{path}:{node.lineno}: a template is a literal, and its values are named")
        case ast.IfExp(body=one, orelse=other) | ast.BoolOp(values=[one, other]):
            yield from _meant(path, one)
            yield from _meant(path, other)
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            yield from _of_module(path, name)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get")):
            yield from _of_module(path, name)


def _of_module(path: Path, name: str) -> Iterator[str]:
    if name.strip("_").isupper():  # a table, by its name
        module = import_module(".".join(path.relative_to(CODE.parent).with_suffix("").parts).removesuffix(".__init__"))
        yield from _texts(getattr(module, name))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield getattr(value, "template", value)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


# In tables of data


def in_tables() -> Iterator[tuple[str, Path]]:
    """What is said by the data: each text, with the file that holds it."""
    for texts, path in _tables():
        for text in texts:
            if text:
                yield getattr(text, "template", text), CODE / path


def _tables() -> Iterator[tuple[Iterable[str | None], str]]:
    for rule in RULES.values():
        told = (rule.title, *rule.why.split("\n\n"), *rule.fix.values(), rule.repair, rule.devices, rule.doubt)
        yield told, f"rules/{rule.theme}.py"
    for code in codes.CODES:
        yield (code.text, code.about, code.doubt), "rules/codes.py"
    for text in codes.TEXTS:
        yield (text.program, text.cause), "rules/codes.py"
    for answer in replies.ANSWERS:
        yield (answer.meaning, answer.fix, answer.doubt), "office365/replies/__init__.py"
    for normal in NORMAL:
        yield (normal.meaning, normal.doubt), "office365/replies/normal.py"
    for notice in vars(endpoints).values():
        if isinstance(notice, endpoints.Notice):
            yield (notice.text,), "office365/endpoints.py"
    for refusal in (*sign_in.CODES.values(), *sign_in.ERRORS.values(), sign_in.OTHER):
        yield (refusal.means, refusal.fix), "office365/sign_in.py"
    yield (sign_in.MAY_BE_BLOCKED,), "office365/sign_in.py"
    for row in (*table.ROWS, *table.TERMS):
        yield (row.says, row.relay, row.do), "advice/table.py"
    for device in devices.DEVICES:
        yield (device.brand if device.brand.startswith("a ") else None,), "advice/devices.py"
    for sign in (*devices.HOST_NAMES, *devices.SENDERS):
        yield (sign.what,), "advice/devices.py"
    yield devices.SETTINGS, "advice/devices.py"


# The catalogue


def updated(po: str) -> str:
    """A .po with the messages of the code and no others. What stands before the first message stays as it is."""
    of_code = Catalog(locale="it")
    for (one, many), places in messages().items():
        of_code.add((one, many) if many else one, locations=[(place, 1) for place in places])
    catalog = catalogue(po)
    catalog.update(of_code, no_fuzzy_matching=True)
    body = BytesIO()
    write_po(body, catalog, width=110, omit_header=True, include_lineno=False, ignore_obsolete=True)
    head, blank, _ = po.partition("\n\n")
    return f"{head}{blank}{body.getvalue().decode().strip()}\n"


def compiled(po: str) -> bytes:
    """The .mo of a .po."""
    mo = BytesIO()
    write_mo(mo, catalogue(po))
    return mo.getvalue()


def catalogue(po: str) -> Catalog:
    """A .po, read."""
    return read_po(BytesIO(po.encode()), locale="it", abort_invalid=True)


def untranslated(catalog: Catalog) -> list[tuple[str, str]]:
    """What has no translation, with the files that it stands in."""
    return [
        (" ".join(place for place, _ in message.locations), str(message.id))
        for message in catalog
        if message.id and not (all(message.string) if isinstance(message.string, tuple) else message.string)
    ]


if __name__ == "__main__":
    sys.exit(main())
