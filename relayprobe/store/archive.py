"""Captured sessions, found again. Reads beside a process that writes, and can change nothing.

No transaction stays open between two calls, nor between two rows of a list: a reader that takes its time must not keep
the writer from emptying its log. Of a damaged database whatever can be read is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from relayprobe.store.errors import StoreError, in_words
from relayprobe.store.folder import body_path, read_body
from relayprobe.store.reading import Reading
from relayprobe.store.row import SESSION_ID, Row, host_of
from relayprobe.store.sought import Filter, conditions

_COLUMNS = (
    "id, started, ended, peer, listener, context, users, senders, findings, worst, messages, octets, recipients, "
    "codes, tls, login, device, verdict"  # as Row has them
)
_PAGE = 500  # rows read at once
_CANDIDATES = 5

ALL = Filter()

_Key = tuple[float, str]
"""What the list is ordered by: when a session began, and its id."""

_CURSOR = re.compile(rf"(\d{{1,11}}(?:\.\d{{1,17}})?)-({SESSION_ID.pattern})")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, newest first. `next`: where the next one begins, None at the end."""

    rows: tuple[Row, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A device: its host, how many sessions it had, when the last began, and what that was."""

    host: str
    sessions: int
    last: Row


class Archive:
    """Reads the sessions in a data folder. May be used from several threads. Its methods raise StoreError."""

    @classmethod
    def open(cls, folder: Path) -> Archive:
        """Raises StoreError where nothing was captured yet, or the database is of another version."""
        return cls(folder, Reading(folder))

    def __init__(self, folder: Path, reading: Reading) -> None:
        """Use `Archive.open`."""
        self._folder = folder
        self._reading = reading
        self._select = reading.select

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._reading.close()

    # Sessions

    def sessions(self, wanted: Filter = ALL, limit: int | None = None, *, oldest_first: bool = False) -> Iterator[Row]:
        """The sessions wanted, newest first. Raises StoreError at once for a network that is none."""
        return islice(self._pages(*self._looked_through(wanted), oldest_first=oldest_first), limit)

    def page(self, wanted: Filter, limit: int, cursor: str | None = None) -> Page:
        """A page of the sessions wanted, newest first. Raises StoreError for a network or a cursor that is none."""
        after = None
        if cursor is not None:
            if (found := _CURSOR.fullmatch(cursor)) is None:
                raise StoreError(f"{cursor!r} is no cursor: take `next` of the answer before as it is")
            after = float(found[1]), found[2]
        pages = self._pages(*self._looked_through(wanted), after=after, size=limit + 1)
        rows = tuple(islice(pages, limit + 1))
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(rows[:limit], f"{last.started!r}-{last.id}" if last is not None else None)

    def history(self, host: str, limit: int) -> list[Row]:
        """The last sessions of a host, newest last."""
        return self._rows("host = ?", [host_of(host), limit], "ORDER BY started DESC, id DESC LIMIT ?")[::-1]

    def devices(self, limit: int) -> list[Seen]:
        """The hosts that were there last, the newest first."""
        found = self._select(
            "SELECT host, count(*), max(started) AS last FROM sessions GROUP BY host ORDER BY last DESC LIMIT ?",
            [limit],
        )
        seen = []
        for host, count, last in found:
            rows = self._rows("host = ? AND started = ?", [host, last], "ORDER BY id DESC LIMIT 1")
            seen += [Seen(str(host), int(count), row) for row in rows]
        return seen

    def count(self) -> int:
        """How many sessions there are."""
        [(count,)] = self._select("SELECT count(*) FROM sessions", [])
        return int(count)

    def find(self, id: str) -> Row:
        """The session of that id, or whose id alone begins so, or the newest one for `last`."""
        if id == "last":
            for row in self._pages("sessions", "1", []):
                return row
            raise StoreError(
                f"there is nothing captured in {self._folder} yet: start `relayprobe listen`, or name another folder "
                "with --data"
            )
        candidates = self._candidates(id) if SESSION_ID.fullmatch(id) else []
        if not candidates:
            raise StoreError(f"there is no session {id!r} in {self._folder}: `relayprobe sessions` lists them")
        if len(candidates) > 1 and id not in candidates:
            some = ", ".join(candidates[:_CANDIDATES]) + (", ..." if len(candidates) > _CANDIDATES else "")
            raise StoreError(f"{id!r} may be any of {some}: give more of it")
        wanted = id if id in candidates else candidates[0]
        for row in self._rows("id = ?", [wanted], "LIMIT 1"):
            return row
        raise StoreError(f"session {wanted} is damaged and cannot be shown: `relayprobe sessions` lists the others")

    def earlier(self, peer_host: str, before: float, within: float, limit: int) -> list[Row]:
        """Those of a host begun in the `within` seconds before Unix time `before`; the last `limit`, newest last."""
        values = [host_of(peer_host), before - within, before, limit]
        rows = self._rows("host = ? AND started >= ? AND started < ?", values, "ORDER BY started DESC, id DESC LIMIT ?")
        return rows[::-1]

    def _candidates(self, prefix: str) -> list[str]:
        found = self._select(
            "SELECT id FROM sessions WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            [prefix, prefix + "\x7f", _CANDIDATES + 1],  # ids are ASCII
        )
        return [id for (id,) in found]

    def _looked_through(self, wanted: Filter) -> tuple[str, str, list[Any]]:
        """The table that leads to the sessions wanted, and the condition there. Raises StoreError."""
        by_time = replace(wanted, since=None, until=None) == ALL  # then there need be nothing to look through
        return "sessions" if by_time else "sought", *conditions(wanted)

    def _pages(
        self,
        table: str,
        where: str,
        values: list[Any],
        *,
        oldest_first: bool = False,
        after: _Key | None = None,
        size: int = _PAGE,
    ) -> Iterator[Row]:
        """All rows to which a condition on a table applies, behind `after`, read page by page of `size`."""
        beyond, order, end = (">", "ASC", float("-inf")) if oldest_first else ("<", "DESC", float("inf"))
        last = after if after is not None else (end, "")
        while True:
            page = (
                f"SELECT started AS at, id AS key FROM {table} WHERE ({where}) AND (started, id) {beyond} (?, ?) "
                f"ORDER BY started {order}, id {order} LIMIT {size:d}"
            )
            try:
                found = self._select(
                    f"SELECT at, key, {_COLUMNS} FROM ({page}) LEFT JOIN sessions ON id = key "
                    f"ORDER BY at {order}, key {order}",
                    [*values, *last],
                )
                keys = [(at, key) for at, key, *_ in found]
                records = [record for _, _, *record in found]
            except StoreError:  # a damaged page: what leads to the rows may still lead to those around it
                keys = self._select(page, [*values, *last])
                records = [record for _, id in keys for record in self._undamaged(id)]
            yield from filter(None, map(_row, records))
            if len(keys) < size or not (
                keys[-1] > last if oldest_first else keys[-1] < last
            ):  # what a damaged row says of itself must not lead in a circle
                return
            last = keys[-1]

    def _undamaged(self, id: str) -> list[Any]:
        try:
            return self._select(f"SELECT {_COLUMNS} FROM sessions WHERE id = ?", [id])
        except StoreError:
            return []

    def _rows(self, where: str, values: list[Any], order: str) -> list[Row]:
        records = self._select(f"SELECT {_COLUMNS} FROM sessions WHERE {where} {order}", values)
        return [row for record in records if (row := _row(record)) is not None]

    # What belongs to a session

    def events(self, id: str) -> list[str]:
        """The events of a session as JSON texts, in order; none for a session that is not there."""
        pieces = self._select("SELECT events FROM pieces WHERE session = ? ORDER BY seq", [id])
        return [event for (piece,) in pieces if piece for event in piece.split("\n")]

    def body(self, id: str, n: int) -> bytes | None:
        """Message `n` of a session, whole; what is left of it if it was purged; None where there is none."""
        chunks = list(self.body_stream(id, n))
        return b"".join(chunks) if chunks else None

    def body_stream(self, id: str, n: int) -> Iterator[bytes]:
        """The same in chunks, the last or only one possibly empty; no chunk where there is no such message."""
        found = self._select(
            "SELECT head, large FROM bodies WHERE session = ?1 AND n = ?2 "
            "UNION ALL SELECT head, 0 FROM remains WHERE session = ?1 AND n = ?2 LIMIT 1",
            [id, n],
        )
        for head, large in found:
            if large:
                try:
                    yield from read_body(body_path(self._folder, id, n))
                    return
                except FileNotFoundError:
                    pass  # purged since, or by hand
                except OSError as error:
                    raise in_words(error, self._folder) from error
            if head is not None:
                yield head

    def purged(self, id: str, n: int) -> bool:
        """Whether only header fields are left of message `n`."""
        return bool(self._select("SELECT 1 FROM remains WHERE session = ? AND n = ?", [id, n]))

    def unfinished_bodies(self, id: str) -> list[int]:
        """Numbers of the large messages that were cut off, or are still coming in: there is no event for them."""
        found = self._select("SELECT n FROM bodies WHERE session = ? AND large AND head IS NULL ORDER BY n", [id])
        return [n for (n,) in found]


def _row(record: Sequence[Any]) -> Row | None:
    """The row, or None for one that a damaged page made up."""
    id, started, ended, peer, listener, context, users, senders, findings, worst, messages, octets, *more = record
    recipients, codes, tls, login, device, verdict = more
    try:
        return Row(
            id=str(id),
            started=float(started),
            ended=None if ended is None else float(ended),
            peer=str(peer),
            listener=str(listener),
            context=str(context),
            users=_names(users),
            senders=_names(senders),
            findings=_names(findings),
            worst=worst,
            messages=int(messages),
            octets=int(octets),
            recipients=_names(recipients),
            codes=_names(codes),
            tls=str(tls),
            login=str(login),
            device=str(device),
            verdict=str(verdict),
        )
    except (TypeError, ValueError):
        return None


def _names(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(json.loads(text))
