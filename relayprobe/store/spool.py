"""The spool: mail that was taken and what became of it, in the same database as the captures.

A mail is an envelope and a pointer to the text that was captured; nothing is written twice. It is handed to the
writer's thread with its session, so both are committed by one transaction, and 250 is said after that. Every attempt
is on the disk before it is made: one that never ended tells of a crash. What changes a mail's state asks for the state
it expects, so that an administrator's `relayprobe queue` and a running relay never undo each other's doing.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Any

from relayprobe.store.mail import MOST_CRASHES, Attempt, Mail, State

Statement = tuple[str, tuple[Any, ...]]

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
