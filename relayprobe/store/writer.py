"""Sessions go to disk: one thread, one connection, and as many sessions in a transaction as have come in.

What is handed over waits in memory, gathered by session, so that a short session is one row of events. The thread
writes when somebody waits for it (`flushed`), when a session ends, when much has come in, or after a quarter of a
second. What comes in meanwhile goes into the next transaction: under load the batches grow by themselves.

A transaction that fails (a full disk, above all) is tried again together with the next one while it is small; its
waiters are told at once, for they have a device to answer. Between transactions the thread applies the retention.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock, Thread

from relayprobe.store import folder as folders
from relayprobe.store.errors import StoreDamaged, StoreError, in_words, is_damage
from relayprobe.store.folder import BodyFile
from relayprobe.store.log import mend
from relayprobe.store.mail import Mail
from relayprobe.store.retention import Retention, Trim, sweep
from relayprobe.store.row import SESSION_ID, Row, host_of
from relayprobe.store.salvage import salvage
from relayprobe.store.schema import Synchronous, open_to_read, open_to_write, transaction
from relayprobe.store.sought import PUT_SOUGHT, sought_of
from relayprobe.store.spool import Statement, has_text, put, recover

LINGER = 0.25
"""Seconds that events may wait in memory: what a crash of this process can cost."""

_MUCH = 256 * 1024  # octets handed over that are written at once
_KEPT = 16 * 1024 * 1024  # octets that are kept for another try after a failure; beyond that only who is connected
_RETRY = 5.0  # seconds until a failed transaction is tried again although nothing new came in
_SWEEP = 60.0  # seconds between two sweeps of the retention
_ROW = 512  # octets that a row is taken for in counting the backlog

_PUT_ROW = """
    INSERT INTO sessions (id, touched, started, ended, peer, host, listener, context, users, senders, findings, worst,
                          messages, octets, recipients, codes, tls, login, device, verdict)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        touched = excluded.touched, started = excluded.started, ended = excluded.ended, peer = excluded.peer,
        host = excluded.host, listener = excluded.listener, context = excluded.context, users = excluded.users,
        senders = excluded.senders, findings = excluded.findings, worst = excluded.worst, messages = excluded.messages,
        octets = excluded.octets, recipients = excluded.recipients, codes = excluded.codes, tls = excluded.tls,
        login = excluded.login, device = excluded.device, verdict = excluded.verdict"""
_TOUCH = """
    INSERT INTO sessions (id, touched, started, peer, host, listener, context, users, senders, findings, messages,
                          octets)
    VALUES (?, ?, ?, '', '', '', '{}', '[]', '[]', '[]', 0, 0)
    ON CONFLICT (id) DO UPDATE SET touched = excluded.touched"""
_PUT_PIECE = "INSERT INTO pieces (session, events) VALUES (?, ?)"
_PUT_BODY = """
    INSERT INTO bodies (session, n, head) VALUES (?, ?, ?)
    ON CONFLICT (session, n) DO UPDATE SET head = excluded.head"""
_PUT_LARGE = """
    INSERT INTO bodies (session, n, large) VALUES (?, ?, 1)
    ON CONFLICT (session, n) DO UPDATE SET large = 1"""


@dataclass(slots=True)
class _Waiting:
    """What was handed over for one session and is not committed."""

    row: Row | None = None
    events: list[str] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    large: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Batch:
    """What goes into one transaction, and who waits for it. `mails`: each with who waits for it."""

    sessions: dict[str, _Waiting] = field(default_factory=dict)
    mails: list[tuple[Mail, Future[None]]] = field(default_factory=list)
    changes: list[Statement] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # to be on the disk for good before the transaction is
    octets: int = 0
    waiters: list[Future[None]] = field(default_factory=list)
    since: float = 0.0  # monotonic time at which its first content came
    urgent: bool = False
    fresh: bool = False  # has content that was not tried before


class Store:
    """Writes sessions to the data folder. All methods may be called from any thread, and none waits for the disk,
    but for those of a `BodyFile` and `close`. After `close` they raise StoreError.

    A session is told by `begin` (a row without `ended`), any number of `append`, `body` and `open_body`, and `finish`.
    None of them needs the ones before it to have reached the disk.
    """

    @classmethod
    def open(
        cls,
        folder: Path,
        retention: Retention = Retention(),  # noqa: B008  frozen
        *,
        trim: Trim = lambda raw: b"",
        on_error: Callable[[StoreError], None] = lambda error: None,
        clock: Callable[[], float] = time.time,
        synchronous: Synchronous = "NORMAL",
        linger: float = LINGER,
    ) -> Store:
        """Take the folder for writing: make it, lock it, bring the database up to date, start the thread.

        Sessions that a dead process left open get an end: when the last of them was stored. A damaged database is set
        aside and said so to `on_error` (StoreDamaged). `on_error` is called in the thread, once per failure. `clock`
        gives Unix time. Raises StoreError: another process writes there, no permission, a newer database.
        """
        folders.make(folder)
        lock = folders.Lock(folder)
        try:
            return cls(
                folder,
                lock,
                retention,
                trim=trim,
                on_error=on_error,
                clock=clock,
                synchronous=synchronous,
                linger=linger,
            )
        except BaseException:
            lock.release()
            raise

    def __init__(
        self,
        folder: Path,
        lock: folders.Lock,
        retention: Retention,
        *,
        trim: Trim,
        on_error: Callable[[StoreError], None],
        clock: Callable[[], float],
        synchronous: Synchronous,
        linger: float,
    ) -> None:
        """Use `Store.open`."""
        self._folder = folder
        self._lock = lock
        self._retention = retention
        self._trim = trim
        self._on_error = on_error
        self._clock = clock
        self._synchronous: Synchronous = synchronous
        self._linger = linger

        self._changed = Condition(Lock())  # guards what follows, down to the blank line
        self._next = _Batch()
        self._in_hand = 0  # octets of the transaction that is being written
        self._purges: list[Future[None]] = []  # who asked for a sweep since the last batch was taken
        self._grown = 0  # octets stored since the last sweep
        self._finished = 0  # sessions finished since the last sweep
        self._closing = False
        self._doubted = False

        self._sweep: Iterator[None] | None = None
        self._sweep_for: list[Future[None]] = []
        self._asked: list[Future[None]] = []  # who waits for the sweep after this one
        self._swept: float | None = None  # Unix time of the last sweep
        self._lost = False  # there is no database: a damaged one was closed, and another could not be begun
        self._connection = self._connect()
        self._thread = Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    # Handing over

    def begin(self, row: Row) -> None:
        """A session begins; it is listed from now on."""
        self._put_row(row)

    def finish(self, row: Row) -> None:
        """A session is over: its last summary, with `ended`."""
        self._put_row(row)
        self._finished += 1

    def append(self, session: str, events: Sequence[str]) -> None:
        """More events of a session: JSON texts, in order."""
        if not events:
            return
        lines = [_one_line(event) for event in events]
        with self._changed:
            self._waiting(session).events += lines
            self._came(sum(map(len, lines)))

    def body(self, session: str, n: int, raw: bytes, *, in_file: bool = False) -> None:
        """Message `n` of a session: all of a small body, the first 64 KiB of one that is in a file."""
        with self._changed:
            self._waiting(session).bodies[n] = raw
            if in_file and self._synchronous == "FULL":
                self._next.files.append(folders.body_path(self._folder, session, n))
            self._came(len(raw))

    def take(self, mail: Mail) -> Future[None]:
        """A mail of a device, whose session has told its events and text before. Done when it is committed. Where its
        transaction fails, or its text was lost in one that failed, so does this: the device hears so, and sends again.

        `flushed` cannot say that: the transaction of the mail may have begun, and failed, before that was asked for.
        """
        future: Future[None] = Future()
        with self._changed:
            self._refuse_if_closed()
            self._next.mails.append((mail, future))
            self._came(_ROW * (1 + len(mail.recipients)))
        return future

    def change(self, statements: Sequence[Statement]) -> None:
        """Something has become of mail in the spool (see spool.py). It is tried again where the transaction fails."""
        with self._changed:
            self._refuse_if_closed()
            self._next.changes += statements
            self._came(sum(_ROW + sum(len(v) for v in values if isinstance(v, str)) for _, values in statements))

    def open_body(self, session: str, n: int) -> BodyFile:
        """A file for a body above 64 KiB. Raises OSError: no room, or a file of that name is there already.

        It counts as unfinished until `body` is called for it.
        """
        file = BodyFile(folders.body_path(self._folder, session, n), self._body_closed)
        try:
            with self._changed:
                self._waiting(session).large.add(n)
                self._came(0)
        except StoreError:
            file.close()
            raise
        return file

    def flushed(self) -> Future[None]:
        """Done when all that was handed over before is committed. Fails with StoreFull, or another StoreError."""
        future: Future[None] = Future()
        with self._changed:
            self._refuse_if_closed()
            self._next.waiters.append(future)
            self._hurry()
        return future

    def purge(self) -> Future[None]:
        """Apply the retention now, to the end, to all that was handed over before. Fails with StoreError.

        It is applied without this once a minute, and when much has come in.
        """
        future: Future[None] = Future()
        with self._changed:
            self._refuse_if_closed()
            self._purges.append(future)
            self._hurry()
        return future

    def doubt(self) -> None:
        """Somebody has met damage in reading: look the database through, and set it aside if it is so. A large one is
        not looked through when it is opened, and what is written may never touch the damaged place."""
        with self._changed:
            self._doubted = True
            self._hurry()

    @property
    def backlog(self) -> int:
        """Octets handed over and not yet committed, about."""
        return self._next.octets + self._in_hand

    def close(self) -> None:
        """Write what is left, empty the log into the database, give up the lock. A second call does nothing."""
        with self._changed:
            already, self._closing = self._closing, True
            self._changed.notify()
        self._thread.join()
        if not already:
            self._lock.release()

    def _put_row(self, row: Row) -> None:
        with self._changed:
            self._waiting(row.id).row = row
            self._came(_ROW)

    def _waiting(self, session: str) -> _Waiting:
        self._refuse_if_closed()
        waiting = self._next.sessions.get(session)
        if waiting is None:
            if not SESSION_ID.fullmatch(session):
                raise StoreError(f"{session!r} cannot be the id of a session: letters, digits, - and _ can")
            waiting = self._next.sessions[session] = _Waiting()
        return waiting

    def _came(self, octets: int) -> None:
        batch = self._next
        batch.octets += octets
        if not batch.fresh:
            batch.fresh = True
            batch.since = time.monotonic()  # the thread looks by itself: to wake it for each session costs too much
        if batch.octets >= _MUCH:
            self._hurry()

    def _hurry(self) -> None:
        if not self._next.urgent:
            self._next.urgent = True
            self._changed.notify()

    def _body_closed(self, octets: int) -> None:
        with self._changed:
            self._grown += octets

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise StoreError(f"the store in {self._folder} is closed: start relayprobe again")

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while (pause := self._pause()) > 0:
                    self._changed.wait(pause)
                batch = self._take() if self._until_due() <= 0 else None
                closing = self._closing
            began = time.perf_counter()
            if self._doubted:
                self._look_through()
            if batch is not None:
                self._commit(batch)
            if closing:
                break
            # As much time for purging as for writing, so that a flood of sessions cannot outrun it.
            enough = 2 * time.perf_counter() - began
            self._purge_a_bit()
            while self._sweep is not None and time.perf_counter() < enough:
                self._purge_a_bit()
        self._give_up()
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.Error):
            self._connection.close()

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        if self._closing or self._sweep is not None or self._asked:
            return 0
        return min(self._until_due(), self._until_sweep(), self._linger)

    def _until_due(self) -> float:
        """Seconds until the next transaction. Who waits, waits for nothing but the one before."""
        batch = self._next
        if self._closing or batch.urgent:
            return 0
        if not (batch.sessions or batch.mails or batch.changes):
            return _SWEEP
        return batch.since + (self._linger if batch.fresh else _RETRY) - time.monotonic()

    def _until_sweep(self) -> float:
        """Seconds until the next sweep: a minute after the last one, or now where much has come since."""
        if self._swept is None or self._is_much():
            return 0
        return _SWEEP - abs(self._clock() - self._swept)  # a clock put back does not stop it

    def _is_much(self) -> bool:
        """Whether a twentieth of what is kept has come since the last sweep: a minute may be too long then."""
        sessions, size = self._retention.sessions, self._retention.size
        return (sessions is not None and self._finished > max(100, sessions // 20)) or (
            size is not None and self._grown > size // 20
        )

    def _take(self) -> _Batch:
        batch, self._next = self._next, _Batch()
        self._in_hand = batch.octets
        self._asked += self._purges  # their sweep begins after this batch
        self._purges = []
        return batch

    def _commit(self, batch: _Batch) -> None:
        try:
            if self._lost:
                self._connection = self._connect()
                self._lost = False
            try:
                textless = self._write(batch)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._begin_anew(in_words(error, self._folder))
                textless = self._write(batch)
        except Exception as error:  # whatever it was, the thread goes on and the waiters know
            self._failed(batch, in_words(error, self._folder), retry=isinstance(error, (sqlite3.Error, StoreError)))
        else:
            with self._changed:
                self._in_hand = 0
                self._grown += batch.octets
            _answer(textless, StoreError(f"the text of a mail could not be stored in {self._folder}: send it again"))
            _answer((future for _, future in batch.mails if future not in textless), None)
            _answer(batch.waiters, None)

    def _write(self, batch: _Batch) -> list[Future[None]]:
        """Write it all, but for mail whose text was lost in a transaction that failed; says who waits for that."""
        if not (batch.sessions or batch.mails or batch.changes):
            return []
        now = self._clock()
        each = batch.sessions.items()
        if batch.files:
            try:
                folders.make_durable(batch.files)
            except OSError as error:
                raise in_words(error, self._folder) from error
        with transaction(self._connection):
            write = self._connection.executemany
            rows = [w.row for _, w in each if w.row is not None]
            write(_PUT_ROW, [_record(row, now) for row in rows])
            write(PUT_SOUGHT, [sought_of(row) for row in rows])
            write(_TOUCH, [(id, now, now) for id, w in each if w.row is None])
            write(_PUT_PIECE, [(id, "\n".join(w.events)) for id, w in each if w.events])
            write(_PUT_LARGE, [(id, n) for id, w in each for n in w.large])
            write(_PUT_BODY, [(id, n, raw) for id, w in each for n, raw in w.bodies.items()])
            textless = [future for mail, future in batch.mails if not has_text(self._connection, mail)]
            mails = [statement for mail, future in batch.mails if future not in textless for statement in put(mail)]
            for sql, values in (*mails, *batch.changes):
                self._connection.execute(sql, [_storable(v) if isinstance(v, str) else v for v in values])
        return textless

    def _failed(self, batch: _Batch, error: StoreError, retry: bool) -> None:
        """Tell the waiters, and keep what can be kept for the next transaction."""
        waiters = [*(future for _, future in batch.mails), *batch.waiters]
        with self._changed:
            self._in_hand = 0
            batch.mails = []  # who waits for them is told, and sends again
            if not retry or self._closing or batch.octets + self._next.octets > _KEPT:
                # Those who are connected are listed when there is room again; the rest is gone, and who waits knows.
                rows = [w.row for w in batch.sessions.values() if retry and w.row is not None and w.row.ended is None]
                batch.sessions, batch.files = {row.id: _Waiting(row) for row in rows}, []
                batch.octets = _ROW * (len(rows) + len(batch.changes))
                waiters += self._next.waiters
                self._next.waiters = []
            self._give_back(batch)
        if batch.fresh or waiters:
            self._tell(error)
        _answer(waiters, error)

    def _give_back(self, batch: _Batch) -> None:
        """Put what could not be written before what came in meanwhile."""
        for id, old in batch.sessions.items():
            new = self._next.sessions.setdefault(id, old)
            if new is not old:
                new.row = new.row or old.row
                new.events[:0] = old.events
                new.bodies = old.bodies | new.bodies
                new.large |= old.large
        self._next.changes[:0] = batch.changes
        self._next.files[:0] = [path for path in batch.files if path.exists()]  # the mail may be in the next one
        self._next.octets += batch.octets
        if not self._next.fresh:
            self._next.since = time.monotonic()

    def _purge_a_bit(self) -> None:
        """One bite of the retention, where one is due."""
        if self._sweep is None:
            with self._changed:
                if not self._asked and self._until_sweep() > 0:
                    return
                self._sweep_for, self._asked = self._asked, []
                thorough = bool(self._sweep_for) or not self._is_much()
                self._finished = self._grown = 0
            self._swept = self._clock()
            if self._lost:
                self._drop_sweep(StoreError(f"there is no database in {self._folder} at the moment: make room for one"))
                return
            self._sweep = sweep(
                self._connection, self._folder, self._retention, now=self._swept, trim=self._trim, thorough=thorough
            )
        try:
            next(self._sweep)
        except StopIteration:
            self._sweep = None
            _answer(self._sweep_for, None)
            self._sweep_for = []
        except Exception as failure:
            error = in_words(failure, self._folder)
            self._drop_sweep(error)
            if is_damage(failure):
                try:
                    self._begin_anew(error)
                except (StoreError, sqlite3.Error) as another:
                    self._tell(in_words(another, self._folder))
            else:
                self._tell(error)

    def _drop_sweep(self, error: StoreError) -> None:
        self._sweep = None
        _answer(self._sweep_for, error)
        self._sweep_for = []

    def _give_up(self) -> None:
        with self._changed:
            waiters = self._purges + self._asked + self._sweep_for
            left, self._next = self._next, _Batch()
        waiters += [future for _, future in left.mails]
        _answer(waiters + left.waiters, StoreError(f"the store in {self._folder} was closed before it was done"))

    def _tell(self, error: StoreError) -> None:
        with suppress(Exception):  # the thread must not end because a log cannot be written
            self._on_error(error)

    # The database

    def _connect(self) -> sqlite3.Connection:
        self._mend_log()
        try:
            connection = open_to_write(self._folder, self._synchronous)
        except StoreDamaged:
            return self._start_new()
        try:
            self._settle(connection)
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error):
                return self._start_new()
            raise in_words(error, self._folder) from error
        except OSError as error:
            connection.close()
            raise in_words(error, self._folder) from error
        return connection

    def _mend_log(self) -> None:
        aside = folders.free_name(self._folder, self._clock(), "-log")
        try:
            mended = mend(self._folder / f"{folders.DATABASE}-wal", aside)
        except OSError as error:
            raise in_words(error, self._folder) from error
        if mended:
            self._tell(
                StoreDamaged(
                    f"the log of the database in {self._folder} was damaged: it was mended, and what it was like is in "
                    f"{aside.name}; one page of it may be wrong, so a session or a mail of the last minutes may be"
                )
            )

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Put in order what a process left that did not end well: open sessions, body files that have no row."""
        with transaction(connection):
            connection.execute("UPDATE sessions SET ended = max(started, touched) WHERE ended IS NULL")
            connection.executemany(
                "INSERT OR IGNORE INTO bodies (session, n, large) SELECT id, ?, 1 FROM sessions WHERE id = ?",
                [(n, session) for session, n, _ in folders.body_files(self._folder)],
            )
            recover(connection, self._clock())

    def _begin_anew(self, damage: StoreError) -> None:
        """The database turned out to be damaged: another takes its place, and the work goes on."""
        self._drop_sweep(damage)
        self._lost = True
        with suppress(sqlite3.Error):
            self._connection.close()
        self._connection = self._start_new()
        self._lost = False

    def _look_through(self) -> None:
        self._doubted = False
        if self._lost:
            return
        try:  # with another connection, for this one may have read the page before
            with closing(open_to_read(self._folder)) as anew:
                (found,) = anew.execute("PRAGMA integrity_check(1)").fetchone()
        except StoreDamaged as error:
            found = str(error)
        except (StoreError, sqlite3.Error) as error:
            if not is_damage(error):
                return
            found = str(error)
        if found == "ok":
            return
        try:
            self._begin_anew(StoreDamaged(f"the database in {self._folder} is damaged"))
        except (StoreError, sqlite3.Error) as error:
            self._tell(in_words(error, self._folder))

    def _start_new(self) -> sqlite3.Connection:
        now = self._clock()
        try:
            aside = folders.set_aside(self._folder, now)
            folders.make(self._folder)
        except OSError as error:
            raise in_words(error, self._folder) from error
        connection = open_to_write(self._folder, self._synchronous)
        saved, lost = salvage(aside, connection)
        with transaction(connection):
            recover(connection, now)
        mail = f"; {saved} mails to be sent were carried over"
        mail += f", {lost} could not be read" if lost else ", as far as it could be read"
        self._tell(
            StoreDamaged(
                f"the database in {self._folder} was damaged: it was set aside as {aside.name} and a new one begun; "
                f"what it holds is no longer listed, and goes when captures of its age do{mail}"
            )
        )
        return connection


def _record(row: Row, now: float) -> tuple[object, ...]:
    """The values of `_PUT_ROW`."""
    return (
        row.id,
        now,
        row.started,
        row.ended,
        _storable(row.peer),
        _storable(host_of(row.peer)),
        _storable(row.listener),
        _storable(row.context),
        json.dumps(row.users),  # in ASCII, so that whatever a device said as its name can be stored
        json.dumps(row.senders),
        json.dumps(row.findings),
        row.worst,
        row.messages,
        row.octets,
        json.dumps(row.recipients),
        json.dumps(row.codes),
        row.tls,
        _storable(row.login),
        _storable(row.device),
        row.verdict,
    )


def _one_line(event: str) -> str:
    """The JSON text without line ends, which are white space in JSON wherever they may stand."""
    if "\n" in event:
        event = event.replace("\n", " ")
    return _storable(event)


def _storable(text: str) -> str:
    """The text, lone surrogates written as escapes: UTF-8 has no place for them, and one would fail a whole batch."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def _answer(waiters: Iterable[Future[None]], error: StoreError | None) -> None:
    for future in waiters:
        if future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
