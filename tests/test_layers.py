"""The plan of the house: a module imports only from rooms above its own, and the pure rooms touch no IO. And the
project speaks of itself alone: no file names a package registry's host or a folder of the machine it was written on.

The imports are read from the source, so one inside a function or under TYPE_CHECKING counts too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PURE = ("tongue", "wire", "office365", "rules", "advice", "report")
ROOMS = (*PURE, "settings", "logs", "store", "dossier", "capture", "relay", "check", "web", "cli")
IO = set("asyncio ssl socket os pathlib time logging structlog click aiosmtpd aiosmtplib".split())
ONLY_IN = {"aiosmtpd": "capture", "aiosmtplib": "relay"}
DOORS = ("relayprobe", "relayprobe.__main__")  # they stand before the first room, and may import from any


def imports(module: str, source: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Each import, with its line; `from x import y` counts as x.y, since y may be a module."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                above = package[: len(package) - level + 1] if level else []
                start = ".".join([*above, *([origin] if origin else [])])
                yield from ((node.lineno, f"{start}.{name.name}") for name in names)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """What the module imports and may not."""
    if module in DOORS:
        return []
    room = module.split(".")[1]
    if room not in ROOMS:
        return [f"{module}: {room} is not a room of the house"]
    found = []
    for line, name in imports(module, source, is_package):
        top, *rest = name.split(".")
        where = f"{module}:{line} imports {name}"
        if top == "relayprobe" and rest and rest[0] in ROOMS and ROOMS.index(rest[0]) > ROOMS.index(room):
            found.append(f"{where}: {rest[0]} is below {room}")
        elif room in PURE and top in IO:
            found.append(f"{where}: {room} is pure")
        elif ONLY_IN.get(top, room) != room:
            found.append(f"{where}: only {ONLY_IN[top]} may")
    return found


def test_modules_import_only_from_rooms_above_their_own() -> None:
    found = []
    for path in sorted((ROOT / "relayprobe").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        found += violations(module, path.read_text(encoding="utf-8"), is_package)
    assert found == []


@pytest.mark.parametrize(
    ("module", "source", "says"),
    [
        ("wire.session", "from relayprobe.rules import rule", "rules is below wire"),
        ("wire.session", "from relayprobe import rules", "rules is below wire"),
        ("wire.session", "from ..store.row import Row", "store is below wire"),
        ("wire.session", "from .. import store", "store is below wire"),
        ("wire.session", "import relayprobe.store.row", "store is below wire"),
        ("wire.session", "def f():\n    import relayprobe.cli", "cli is below wire"),
        ("advice.verdict", "from relayprobe.report import text", "report is below advice"),
        ("settings", "from relayprobe.logs import set_up", "logs is below settings"),
        ("rules.tls", "def f():\n    import ssl", "rules is pure"),
        ("report.text", "from os.path import join", "report is pure"),
        ("store.writer", "from aiosmtpd.smtp import SMTP", "only capture may"),
        ("capture.smtp", "import aiosmtplib", "only relay may"),
        ("utils", "", "utils is not a room of the house"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, says: str) -> None:
    assert [found.rpartition(": ")[2] for found in violations(f"relayprobe.{module}", source)] == [says]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "rules.tls",
            "from relayprobe import __version__\nfrom relayprobe.wire.events import Line\nfrom .rule import rule",
        ),
        ("capture.smtp", "import asyncio, ssl\nfrom aiosmtpd.smtp import SMTP\nfrom relayprobe.logs import set_up"),
        ("__main__", "from relayprobe.cli import main"),
    ],
)
def test_what_the_plan_allows_is_allowed(module: str, source: str) -> None:
    assert violations(f"relayprobe.{module}", source) == []


def test_a_package_counts_dots_from_itself() -> None:
    assert list(imports("relayprobe.wire", "from .events import Line", is_package=True)) == [
        (1, "relayprobe.wire.events.Line")
    ]


MADE = {
    "__pycache__",
    "build",
    "demo-data",
    "dist",
    "node_modules",
    "relayprobe-demo",
}  # and what begins with a dot, but for .ci
# Each has a class of one letter, so that this file does not name it itself.
FOREIGN = re.compile(r"pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.(org|com)|deb\.debia[n]\.org|(?<![\w.])/wor[k]/")


def test_no_file_names_a_registry_host_or_a_place_on_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {foreign[0]}"
        for path in files(ROOT)
        for foreign in FOREIGN.finditer(path.read_text(encoding="latin-1"))
    ]
    assert found == []


def files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name == ".ci" or (path.name not in MADE and not path.name.startswith(".")):
                yield from files(path)
        elif path.is_file():
            yield path
