"""The spool, read: which mail is due, what waits, what was tried. Reads beside a process that writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relayprobe.store.errors import StoreError, in_words
from relayprobe.store.folder import body_path, read_body
from relayprobe.store.mail import MOST_CRASHES, QUEUED, Attempt, Mail, Recipient, State, Text
from relayprobe.store.reading import Reading
from relayprobe.wire.events import LineFacts

RECIPIENTS = "address, state, reply"  # as Recipient has them
COLUMNS = (
    "id, session, texts, arrived, host, user, sender, route, kind, state, due, attempts, deferrals, crashes, unknown, "
    "at_once, why, changed"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which mails are wanted: those to which all that is given applies. `text`: a part of sender or recipient."""

    states: Sequence[State] = QUEUED
    session: str | None = None
    route: str | None = None
    host: str | None = None
    text: str | None = None


class Spool:
    """Reads the spool in a data folder. May be used from several threads. Its methods raise StoreError."""

    @classmethod
    def open(cls, folder: Path) -> Spool:
        """Raises StoreError where there is no database yet."""
        return cls(folder, Reading(folder))

    def __init__(self, folder: Path, reading: Reading) -> None:
        """Use `Spool.open`."""
        self._folder = folder
        self._reading = reading
        self._select = reading.select

    def close(self) -> None:
        """Let go of the database."""
        self._reading.close()

    def next_due(
        self, route: str, now: float, after_host: str, busy: Sequence[str] = (), *, suspects: bool = True
    ) -> Mail | None:
        """The mail of a route that is due, of the first host behind `after_host` that has one, else of the first of
        all: so each device has its turn. Those in `busy` (ids) are passed over, and those whose device waits; without
        `suspects` also those that one more crash sets aside."""
        without = f"AND id NOT IN ({', '.join('?' * len(busy))}) " if busy else ""
        if not suspects:
            without += f"AND crashes < {MOST_CRASHES - 1} "
        sql = (
            f"SELECT {COLUMNS} FROM mails WHERE state = 'waiting' AND route = ? AND host {{}} ? AND due <= ? "
            f"AND NOT at_once {without}ORDER BY host, due, id LIMIT 1"
        )
        for order in (">", "<="):
            for record in self._select(sql.format(order), [route, after_host, now, *busy]):
                return self._whole(record)
        return None

    def waiting_on(self, route: str, limit: int) -> list[Mail]:
        """Waiting mails of a route, those that are due first."""
        sql = f"SELECT {COLUMNS} FROM mails WHERE state = 'waiting' AND route = ? ORDER BY due LIMIT ?"
        return [self._whole(record) for record in self._select(sql, [route, limit])]

    def next_time(self, route: str) -> float | None:
        """When the next mail of a route is due; None where none waits."""
        sql = "SELECT min(due) FROM mails WHERE state = 'waiting' AND NOT at_once AND route = ?"
        [(due,)] = self._select(sql, [route])
        return None if due is None else float(due)

    def routes_of_waiting(self) -> list[tuple[str, int, float]]:
        """Route, number of waiting mails, and when the oldest of them arrived."""
        sql = "SELECT route, count(*), min(arrived) FROM mails WHERE state = 'waiting' GROUP BY route"
        return [(str(route), int(n), float(arrived)) for route, n, arrived in self._select(sql, [])]

    def counts(self) -> dict[str, int]:
        """How many mails are in each state of the queue."""
        sql = "SELECT state, count(*) FROM mails WHERE state IN ('waiting', 'sending', 'held', 'failed') GROUP BY state"
        return {str(state): int(n) for state, n in self._select(sql, [])}

    def held_up(self, before: float, states: Sequence[State] = ("waiting", "held")) -> tuple[int, Mail] | None:
        """How many mails have waited since before a time, and the oldest of them; None where none has."""
        such = f"WHERE state IN ({', '.join('?' * len(states))}) AND kind <> 'notice' AND arrived < ?"
        [(count,)] = self._select(f"SELECT count(*) FROM mails {such}", [*states, before])
        oldest = self._select(f"SELECT {COLUMNS} FROM mails {such} ORDER BY arrived LIMIT 1", [*states, before])
        return next(((int(count), self._whole(record)) for record in oldest), None)

    def expired(self, before: float, but_of: Sequence[str] = (), limit: int = 100) -> list[Mail]:
        """Waiting mails that arrived before a time, but for those of some routes."""
        sql = (
            f"SELECT {COLUMNS} FROM mails WHERE state = 'waiting' AND arrived < ? "
            f"AND route NOT IN ({', '.join('?' * len(but_of))}) ORDER BY arrived LIMIT ?"
        )
        return [self._whole(record) for record in self._select(sql, [before, *but_of, limit])]

    def mail(self, id: str) -> Mail | None:
        """The mail of that id."""
        for record in self._select(f"SELECT {COLUMNS} FROM mails WHERE id = ?", [id]):
            return self._whole(record)
        return None

    def find(self, id: str) -> Mail:
        """The mail of that id, or whose id alone begins so, or the newest for `last`."""
        if not id:
            found = []  # all ids begin so
        elif id == "last":
            found = self._select("SELECT id FROM mails ORDER BY arrived DESC, id DESC LIMIT 1", [])
        else:
            found = self._select(
                "SELECT id FROM mails WHERE id = ?1 OR (id >= ?1 AND id < ?2) ORDER BY id = ?1 DESC, id LIMIT 2",
                [id, id + "\x7f"],
            )
        if not found:
            raise StoreError(f"there is no mail {id!r} in the queue: `relayprobe queue list --all` lists them")
        if len(found) > 1 and found[0][0] != id:
            raise StoreError(f"{id!r} may be {found[0][0]} or {found[1][0]}: give more of it")
        mail = self.mail(str(found[0][0]))
        assert mail is not None
        return mail

    def mails(self, wanted: Wanted = Wanted(), limit: int | None = None) -> Iterator[Mail]:
        """The mails wanted, oldest first, read page by page."""
        where, values = [f"state IN ({', '.join('?' * len(wanted.states))})"], list[Any](wanted.states)
        for column in ("session", "route", "host"):
            if (value := getattr(wanted, column)) is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if wanted.text is not None:
            where.append(
                "(instr(lower(sender), ?) OR EXISTS (SELECT 1 FROM recipients WHERE mail = mails.id "
                "AND instr(lower(address), ?)))"
            )
            values += [wanted.text.lower()] * 2
        after: tuple[float, str] = (float("-inf"), "")
        left = limit if limit is not None else -1
        while left:
            records = self._select(
                f"SELECT {COLUMNS} FROM mails WHERE {' AND '.join(where)} AND (arrived, id) > (?, ?) "
                f"ORDER BY arrived, id LIMIT {min(200, left) if left > 0 else 200}",
                [*values, *after],
            )
            for record in records:
                yield self._whole(record)
            if not records:
                return
            after = (records[-1][3], records[-1][0])
            left -= len(records) if left > 0 else 0

    def attempts(self, mail: str) -> list[Attempt]:
        """The attempts at delivering a mail, in order."""
        sql = (
            "SELECT number, mail, began, route, place, ended, result, stage, reply, dialogue, repairs FROM attempts "
            "WHERE mail = ? ORDER BY number"
        )
        return [_attempt(record) for record in self._select(sql, [mail])]

    def last_reply(self, mail: str) -> str | None:
        """What the other side said last about a mail."""
        sql = "SELECT reply FROM attempts WHERE mail = ? AND reply IS NOT NULL ORDER BY number DESC LIMIT 1"
        return next((str(reply) for (reply,) in self._select(sql, [mail])), None)

    def last_number(self) -> int:
        """The number of the newest attempt."""
        [(number,)] = self._select("SELECT coalesce(max(number), 0) FROM attempts", [])
        return int(number)

    def route_records(self) -> dict[str, dict[str, Any]]:
        """What was remembered of each route."""
        return {str(name): json.loads(record) for name, record in self._select("SELECT name, record FROM routes", [])}

    def asked(self) -> dict[str, float]:
        """Routes that somebody wants tried again now, and when that was asked for."""
        return {str(name): float(at) for name, at in self._select("SELECT name, at FROM asked", [])}

    def version(self) -> int:
        """A number that changes when another process has changed the database."""
        return int(self._select("PRAGMA data_version", [])[0][0])

    def text(self, mail: Mail) -> Iterator[bytes]:
        """The octets of its captured text, in chunks. Raises StoreError where something is missing."""
        for text in mail.texts:
            yield from self._body(mail.session, text)

    def _body(self, session: str, text: Text) -> Iterator[bytes]:
        found = self._select("SELECT head, large FROM bodies WHERE session = ? AND n = ?", [session, text.n])
        for head, large in found:
            if not large:
                yield bytes(head or b"")
                return
            try:
                yield from read_body(body_path(self._folder, session, text.n))
            except OSError as error:
                raise in_words(error, self._folder) from error
            return
        raise StoreError(f"the text of a mail of session {session} is no longer in {self._folder}")

    def _whole(self, record: tuple[Any, ...]) -> Mail:
        sql = f"SELECT {RECIPIENTS} FROM recipients WHERE mail = ? ORDER BY n"
        return mail_of(record, [Recipient(*one) for one in self._select(sql, [record[0]])])


def mail_of(record: tuple[Any, ...], recipients: Sequence[Recipient]) -> Mail:
    id, session, texts, arrived, host, user, sender, route, kind, state, due, *counts, at_once, why, changed = record
    attempts, deferrals, crashes, unknown = counts
    return Mail(
        id=id,
        session=session,
        texts=tuple(
            Text(n, size, bytes.fromhex(digest), end, LineFacts(**lines))
            for n, size, digest, end, lines in json.loads(texts)
        ),
        arrived=arrived,
        host=host,
        user=user,
        sender=sender,
        recipients=tuple(recipients),
        route=route,
        kind=kind,
        state=state,
        due=due,
        attempts=attempts,
        deferrals=deferrals,
        crashes=crashes,
        unknown=unknown,
        at_once=bool(at_once),
        why=why,
        changed=tuple(json.loads(changed)),
    )


def _attempt(record: tuple[Any, ...]) -> Attempt:
    *plain, dialogue, repairs = record
    events = tuple(dialogue.split("\n")) if dialogue else ()
    return replace(Attempt(*plain), dialogue=events, repairs=tuple(json.loads(repairs or "[]")))
