"""A bundle: a session in one zip file, to be handed over."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

SESSION = "session.json"
IN_MEMORY = 8 * 1024 * 1024
"""Octets of a zip file that are kept in memory; of a larger one they are in a temporary file."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file knows: the same session makes the same octets


def packed(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Files as a zip file, in pieces. The same files come out as the same octets."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as made:
        with ZipFile(made, "w", ZIP_DEFLATED) as bundle:
            for name, content in files:
                info = ZipInfo(name, _LONG_AGO)
                info.external_attr = 0o600 << 16
                info.create_system = 3  # whose modes these are
                bundle.writestr(info, content, ZIP_DEFLATED)
        made.seek(0)
        while piece := made.read(1 << 16):
            yield piece
