"""The spool: mail that was taken and what became of it, in the same database as the captures.

A mail is an envelope and a pointer to the text that was captured; nothing is written twice. It is handed to the
writer's thread with its session, so both are committed by one transaction, and 250 is said after that. Every attempt
is on the disk before it is made: one that never ended tells of a crash. What changes a mail's state asks for the state
it expects, so that an administrator's `relayprobe queue` and a running relay never undo each other's doing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from relayprobe.store.errors import StoreError, in_words
from relayprobe.store.folder import DATABASE, body_path, read_body
from relayprobe.store.reading import Reading
from relayprobe.store.schema import BUSY, open_to_read, transaction
from relayprobe.wire.events import BodyEnd, LineFacts

State = Literal["waiting", "sending", "held", "failed", "delivered", "dropped"]
OPEN: tuple[State, ...] = ("waiting", "sending", "held")
"""The states of mail that is still to be delivered: its session and its text are not purged."""
QUEUED: tuple[State, ...] = (*OPEN, "failed")
"""The states of mail that `queue list` shows."""

EVERY: tuple[State, ...] = (*QUEUED, "delivered", "dropped")

RecipientState = Literal["waiting", "delivered", "refused", "dropped"]
Kind = Literal["device", "notice", "report", "test"]
"""Whose mail it is: a device's, or one of relayprobe's own, about which nobody is told when it cannot be delivered."""

MOST_CRASHES = 3
"""Attempts that never ended, after which a mail is set aside: it may be what ends the process."""

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Text:
    """One captured text of a session: body `n`, its size in octets, its digest (BLAKE2b, 16 octets), how it ended."""

    n: int
    size: int
    digest: bytes
    end: BodyEnd
    lines: LineFacts


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient, and the latest reply about it."""

    address: str
    state: RecipientState = "waiting"
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in the spool. Times are Unix time in seconds, sizes octets.

    `session` names the captured session whose bodies its text is made of. `route` is the route it was given when it
    was taken. `due`: when it is tried next. `deferrals` counts attempts that count towards nothing but the waits
    between them; `crashes` attempts that never ended; `unknown` attempts after which nobody knows whether the other
    side kept the mail. `at_once`: the device waits for the reply of the other side.
    """

    id: str
    session: str
    texts: tuple[Text, ...]
    arrived: float
    host: str
    user: str | None
    sender: str
    recipients: tuple[Recipient, ...]
    route: str
    kind: Kind = "device"
    state: State = "waiting"
    due: float = 0.0
    attempts: int = 0
    deferrals: int = 0
    crashes: int = 0
    unknown: int = 0
    at_once: bool = False
    why: str | None = None
    changed: tuple[str, ...] = ()  # what was put right about its envelope, and why it took another route

    @property
    def size(self) -> int:
        """Of its text as it crossed the wire."""
        return sum(text.size for text in self.texts)

    @property
    def suspect(self) -> bool:
        """Whether one more crash sets it aside."""
        return self.crashes >= MOST_CRASHES - 1

    @property
    def waiting(self) -> tuple[str, ...]:
        """The recipients that it is still to be delivered to."""
        return tuple(one.address for one in self.recipients if one.state == "waiting")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at delivery, `ended` None while it is being made or where it never ended.

    `result` is a word: delivered, deferred, refused, unknown, mixed, interrupted. `dialogue`: its events as JSON
    texts. `repairs`: what was put right, `[{"id", "count", "says"}]`.
    """

    number: int
    mail: str
    began: float
    route: str
    place: str
    ended: float | None = None
    result: str | None = None
    stage: str | None = None
    reply: str | None = None
    dialogue: tuple[str, ...] = ()
    repairs: tuple[dict[str, Any], ...] = ()


# What the writer does

_PUT_MAIL = """
    INSERT INTO mails (id, session, texts, arrived, host, user, sender, route, kind, state, due, attempts, deferrals,
                       crashes, unknown, at_once, why, changed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_RECIPIENT = "INSERT INTO recipients (mail, n, address, state, reply) VALUES (?, ?, ?, ?, ?)"
_BEGIN = """
    INSERT INTO attempts (number, mail, began, route, place)
    SELECT ?, id, ?, ?, ? FROM mails WHERE id = ? AND state = 'waiting'"""
_SENDING = "UPDATE mails SET state = 'sending', attempts = attempts + 1 WHERE id = ? AND state = 'waiting'"
_END = """
    UPDATE attempts SET ended = ?, result = ?, stage = ?, reply = ?, dialogue = ?, repairs = ? WHERE number = ?"""
_NEXT = """
    UPDATE mails SET state = ?, due = ?, deferrals = ?, unknown = ?, crashes = 0, at_once = ?, why = ?
    WHERE id = ? AND state = 'sending'"""
_RECIPIENT = "UPDATE recipients SET state = ?, reply = ? WHERE mail = ? AND n = ?"


def put(mail: Mail) -> list[Statement]:
    """Take a mail."""
    texts = json.dumps(
        [[t.n, t.size, t.digest.hex(), t.end, asdict(t.lines)] for t in mail.texts], separators=(",", ":")
    )
    values = (
        *(mail.id, mail.session, texts, mail.arrived, mail.host, mail.user, mail.sender, mail.route, mail.kind),
        *(mail.state, mail.due, mail.attempts, mail.deferrals, mail.crashes, mail.unknown, mail.at_once, mail.why),
        json.dumps(mail.changed),
    )
    each = [(_PUT_RECIPIENT, (mail.id, n, r.address, r.state, r.reply)) for n, r in enumerate(mail.recipients)]
    return [(_PUT_MAIL, values), *each]


def has_text(connection: sqlite3.Connection, mail: Mail) -> bool:
    """Whether all that the text of a mail is made of is in the database."""
    found = connection.execute("SELECT n FROM bodies WHERE session = ?", (mail.session,)).fetchall()
    return {text.n for text in mail.texts} <= {n for (n,) in found}


def begun(attempt: Attempt) -> list[Statement]:
    """An attempt is about to be made; nothing changes where the mail is no longer waiting."""
    values = (attempt.number, attempt.began, attempt.route, attempt.place, attempt.mail)
    return [(_BEGIN, values), (_SENDING, (attempt.mail,))]


def ended(attempt: Attempt, mail: Mail) -> list[Statement]:
    """An attempt has ended, and this is how the mail stands now."""
    done = (
        *(attempt.ended, attempt.result, attempt.stage, attempt.reply, "\n".join(attempt.dialogue)),
        *(json.dumps(attempt.repairs), attempt.number),
    )
    stands = (mail.state, mail.due, mail.deferrals, mail.unknown, mail.at_once, mail.why, mail.id)
    each = [(_RECIPIENT, (r.state, r.reply, mail.id, n)) for n, r in enumerate(mail.recipients)]
    return [(_END, done), *each, (_NEXT, stands)]


def moved(mail: str, route: str, why: str) -> list[Statement]:
    """A mail takes another route than the one it had; why is kept with what was noted of it."""
    sql = (
        "UPDATE mails SET route = ?, why = ?, changed = json_insert(changed, '$[#]', ?) "
        "WHERE id = ? AND state = 'waiting'"
    )
    return [(sql, (route, why, f"route {route}: {why}", mail))]


def set_aside(mail: str, state: State, why: str) -> list[Statement]:
    """A waiting mail is held or given up without an attempt."""
    return [("UPDATE mails SET state = ?, why = ? WHERE id = ? AND state = 'waiting'", (state, why, mail))]


def put_off(mail: str, due: float, why: str | None) -> list[Statement]:
    """A waiting mail is tried later than it was to be."""
    return [("UPDATE mails SET due = ?, why = ? WHERE id = ? AND state = 'waiting'", (due, why, mail))]


def not_at_once(mail: str, why: str) -> list[Statement]:
    """Its device has had an answer, and this mail was not sent by then: it is the device's again."""
    return [("UPDATE mails SET state = 'dropped', why = ? WHERE id = ? AND at_once", (why, mail))]


def taken_over(mail: str, state: State, due: float, why: str) -> list[Statement]:
    """A mail of which the device was told that it is on its way, though it was not sent by then."""
    sql = "UPDATE mails SET state = ?, due = ?, at_once = 0, why = ? WHERE id = ? AND at_once"
    return [(sql, (state, due, why, mail))]


def shifted(seconds: float, now: float, window: float) -> list[Statement]:
    """The clock was put forward (or back) by so much, not longer ago than `window`: what counts from it moves along,
    but for what was said by the new clock already."""
    return [
        (
            "UPDATE mails SET arrived = arrived + ?1 "
            "WHERE state IN ('waiting', 'sending', 'held') AND NOT arrived BETWEEN ?2 - ?3 AND ?2",
            (seconds, now, window),
        ),
        (
            "UPDATE mails SET due = max(0, due + ?1) WHERE state = 'waiting' AND due > 0 AND NOT EXISTS "
            "(SELECT 1 FROM attempts WHERE mail = mails.id AND ended BETWEEN ?2 - ?3 AND ?2)",
            (seconds, now, window),
        ),
    ]


def settled(now: float, longest: float) -> list[Statement]:
    """Nothing has arrived later than now, or waits for longer than is ever set: a clock that was wrong has said so."""
    sql = (
        "UPDATE mails SET arrived = min(arrived, ?1), due = min(due, ?1 + ?2) "
        "WHERE state IN ('waiting', 'sending', 'held') AND (arrived > ?1 OR due > ?1 + ?2)"
    )
    return [(sql, (now, longest))]


def route_record(name: str, record: dict[str, Any]) -> list[Statement]:
    """What is to be remembered of a route over a restart."""
    sql = "INSERT INTO routes (name, record) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record"
    return [(sql, (name, json.dumps(record)))]


def recover(connection: sqlite3.Connection, now: float) -> None:
    """Put in order what a process left that did not end well. Within a transaction of the caller."""
    connection.execute(
        "UPDATE attempts SET ended = ?, result = 'interrupted' WHERE ended IS NULL", (now,)
    )  # what the device was not answered is the device's to send again
    connection.execute(
        "UPDATE mails SET state = 'dropped', why = 'relayprobe ended before the device had its answer; it sends again' "
        "WHERE state IN ('sending', 'waiting') AND at_once"
    )
    connection.execute(
        "UPDATE mails SET crashes = crashes + 1, state = 'waiting', due = 0, why = 'relayprobe ended while it was "
        "being sent: it may have arrived, and is sent again' WHERE state = 'sending'"
    )
    connection.execute(
        "UPDATE mails SET state = 'held', why = ? WHERE state = 'waiting' AND crashes >= ?",
        (f"relayprobe ended {MOST_CRASHES} times while sending it: it is set aside for somebody to look", MOST_CRASHES),
    )


def salvage(aside: Path, into: sqlite3.Connection) -> tuple[int, int]:
    """Copy mail that is still to be delivered out of a damaged database: how many were saved, how many were met and
    could not be. A text that has suffered is told by its digest when it is to be sent. Never raises.

    Row by row, for behind a damaged page there are others; `_MOST_GAPS` numbers are tried without finding one.
    """
    saved = lost = gaps = at = 0
    try:
        with closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as old:
            old.text_factory = lambda octets: octets.decode("utf-8", "replace")
            while gaps < _MOST_GAPS:
                try:
                    found = old.execute(_AFTER, (at,)).fetchone()
                except sqlite3.DatabaseError:
                    at, gaps = at + 1, gaps + 1
                    continue
                if found is None:
                    break
                at, state = found[0], found[10]
                if state in OPEN:
                    copied = _copied(old, found[1:], into)
                    saved, lost = saved + copied, lost + (not copied)
    except sqlite3.Error:
        pass
    return saved, lost


def _copied(old: sqlite3.Connection, record: tuple[Any, ...], into: sqlite3.Connection) -> bool:
    try:
        id, session = record[0], record[1]
        recipients = old.execute(f"SELECT {_RECIPIENTS} FROM recipients WHERE mail = ? ORDER BY n", (id,)).fetchall()
        mail = _mail(record, [Recipient(*one) for one in recipients])
        bodies = old.execute("SELECT session, n, head, large FROM bodies WHERE session = ?", (session,)).fetchall()
        if not mail.recipients or not {text.n for text in mail.texts} <= {body[1] for body in bodies}:
            return False
        with transaction(into):
            into.execute(
                "INSERT OR IGNORE INTO sessions (id, touched, started, ended, peer, host, listener, context, users, "
                "senders, findings, messages, octets) VALUES (?, ?, ?, ?, ?, ?, '', '{}', '[]', '[]', '[]', 1, ?)",
                (session, mail.arrived, mail.arrived, mail.arrived, mail.host, mail.host, mail.size),
            )
            into.executemany("INSERT OR IGNORE INTO bodies (session, n, head, large) VALUES (?, ?, ?, ?)", bodies)
            for sql, values in put(mail):
                into.execute(sql, values)
    except (sqlite3.Error, TypeError, ValueError, KeyError):
        return False
    return True


# Reading

_RECIPIENTS = "address, state, reply"
_MOST_GAPS = 5000
_COLUMNS = (
    "id, session, texts, arrived, host, user, sender, route, kind, state, due, attempts, deferrals, crashes, unknown, "
    "at_once, why, changed"
)
_AFTER = f"SELECT rowid, {_COLUMNS} FROM mails WHERE rowid > ? ORDER BY rowid LIMIT 1"


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
            f"SELECT {_COLUMNS} FROM mails WHERE state = 'waiting' AND route = ? AND host {{}} ? AND due <= ? "
            f"AND NOT at_once {without}ORDER BY host, due, id LIMIT 1"
        )
        for order in (">", "<="):
            for record in self._select(sql.format(order), [route, after_host, now, *busy]):
                return self._whole(record)
        return None

    def waiting_on(self, route: str, limit: int) -> list[Mail]:
        """Waiting mails of a route, those that are due first."""
        sql = f"SELECT {_COLUMNS} FROM mails WHERE state = 'waiting' AND route = ? ORDER BY due LIMIT ?"
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
        oldest = self._select(f"SELECT {_COLUMNS} FROM mails {such} ORDER BY arrived LIMIT 1", [*states, before])
        return next(((int(count), self._whole(record)) for record in oldest), None)

    def expired(self, before: float, but_of: Sequence[str] = (), limit: int = 100) -> list[Mail]:
        """Waiting mails that arrived before a time, but for those of some routes."""
        sql = (
            f"SELECT {_COLUMNS} FROM mails WHERE state = 'waiting' AND arrived < ? "
            f"AND route NOT IN ({', '.join('?' * len(but_of))}) ORDER BY arrived LIMIT ?"
        )
        return [self._whole(record) for record in self._select(sql, [before, *but_of, limit])]

    def mail(self, id: str) -> Mail | None:
        """The mail of that id."""
        for record in self._select(f"SELECT {_COLUMNS} FROM mails WHERE id = ?", [id]):
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
                f"SELECT {_COLUMNS} FROM mails WHERE {' AND '.join(where)} AND (arrived, id) > (?, ?) "
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
        sql = f"SELECT {_RECIPIENTS} FROM recipients WHERE mail = ? ORDER BY n"
        return _mail(record, [Recipient(*one) for one in self._select(sql, [record[0]])])


def _mail(record: tuple[Any, ...], recipients: Sequence[Recipient]) -> Mail:
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


# What an administrator asks for, beside a relay that may be running

_ASK = "INSERT INTO asked VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at"


@contextmanager
def wishes(folder: Path) -> Iterator[Callable[[str, Sequence[Any]], int]]:
    """One transaction of an administrator: yields a function that runs a statement, and says how many rows it changed.

    A running relay sees the change within a second. Raises StoreError.
    """
    open_to_read(folder).close()  # says what is wrong where there is nothing, or an older version's
    try:
        path = (folder / DATABASE).absolute()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY, isolation_level=None)) as base:
            base.execute("PRAGMA synchronous = FULL")
            base.execute("PRAGMA secure_delete = ON")
            with transaction(base):
                yield lambda sql, values: base.execute(sql, values).rowcount
    except sqlite3.Error as error:
        raise in_words(error, folder) from error


def retry(folder: Path, mail: Mail, now: float) -> bool:
    """Have a mail tried at once, and its route too, whatever has stopped that; one that was held or given up waits
    again. False where it is being sent."""
    with wishes(folder) as run:
        changed = run(
            "UPDATE mails SET state = 'waiting', due = 0, crashes = 0, unknown = 0, "
            "arrived = CASE state WHEN 'failed' THEN ? ELSE arrived END, "  # its lifetime begins anew
            "why = 'somebody asked for it' WHERE id = ? AND state IN ('waiting', 'held', 'failed', 'dropped') "
            "AND NOT at_once",
            (now, mail.id),
        )
        if changed and mail.state in ("failed", "dropped"):
            run(
                "UPDATE recipients SET state = 'waiting' WHERE mail = ? AND state IN ('refused', 'dropped')", (mail.id,)
            )
        if changed:
            run(_ASK, (mail.route, now))
        return bool(changed)


def hold(folder: Path, mail: Mail) -> bool:
    """Keep a waiting mail back until it is released."""
    with wishes(folder) as run:
        return bool(
            run("UPDATE mails SET state = 'held', why = 'held by hand' WHERE id = ? AND state = 'waiting'", (mail.id,))
        )


def release(folder: Path, mail: Mail) -> bool:
    """Let a held mail go on."""
    with wishes(folder) as run:
        return bool(
            run(
                "UPDATE mails SET state = 'waiting', due = 0, crashes = 0, unknown = 0, why = 'released by hand' "
                "WHERE id = ? AND state = 'held'",
                (mail.id,),
            )
        )


def drop(folder: Path, mail: Mail) -> bool:
    """Give a mail up without a word to anybody. False where it is being sent, or done with."""
    with wishes(folder) as run:
        changed = run(
            "UPDATE mails SET state = 'dropped', why = 'dropped by hand' "
            "WHERE id = ? AND state IN ('waiting', 'held', 'failed')",
            (mail.id,),
        )
        if changed:
            run("UPDATE recipients SET state = 'dropped' WHERE mail = ? AND state = 'waiting'", (mail.id,))
        return bool(changed)


def ask_for_route(folder: Path, route: str, now: float) -> None:
    """Have a route tried again now, whatever has stopped it."""
    with wishes(folder) as run:
        run(_ASK, (route, now))
