"""Stored sessions and mail in the spool as the JSON objects that are promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relayprobe.store import Attempt, Mail, Row, Spool


def row_object(row: Row) -> dict[str, Any]:
    """A row as the JSON object that is promised."""
    return {
        "id": row.id,
        "started": row.started,
        "ended": row.ended,
        "peer": row.peer,
        "listener": row.listener,
        "findings": list(row.findings),
        "worst": row.worst,
        "messages": row.messages,
        "users": list(row.users),
        "senders": list(row.senders),
        "octets": row.octets,
        "recipients": list(row.recipients),
        "codes": list(row.codes),
        "tls": row.tls or None,
        "login": row.login or None,
        "device": row.device or None,
        "verdict": row.verdict or None,
    }


def mail_object(mail: Mail, last_reply: str | None) -> dict[str, Any]:
    """One line of `queue list --json`. `next`: Unix time, 0 for at once."""
    return {
        "id": mail.id,
        "session": mail.session if mail.kind == "device" else None,
        "sender": mail.sender,
        "recipients": [one.address for one in mail.recipients],
        "state": mail.state,
        "attempts": mail.attempts,
        "next": mail.due,
        "last_reply": last_reply,
        "route": mail.route,
        "why": mail.why,
        "arrived": mail.arrived,
        "host": mail.host,
        "size": mail.size,
    }


def whole_object(spool: Spool, mail: Mail) -> dict[str, Any]:
    """One mail with all that was tried."""
    attempts = spool.attempts(mail.id)
    return {
        **mail_object(mail, next((one.reply for one in reversed(attempts) if one.reply), None)),
        "user": mail.user,
        "kind": mail.kind,
        "changed": list(mail.changed),
        "outcomes": [{"address": r.address, "state": r.state, "reply": r.reply} for r in mail.recipients],
        "tries": [attempt_object(one) for one in attempts],
    }


def attempt_object(attempt: Attempt) -> dict[str, Any]:
    """One attempt at delivery."""
    return {
        "began": attempt.began,
        "ended": attempt.ended,
        "route": attempt.route,
        "place": attempt.place,
        "result": attempt.result,
        "stage": attempt.stage,
        "reply": attempt.reply,
        "repairs": list(attempt.repairs),
        "dialogue": [json.loads(event) for event in attempt.dialogue],
    }


def sent_on(folder: Path, session: str) -> list[dict[str, Any]]:
    """What became of a session's mail, where it came through the relay."""
    from relayprobe.store import Spool
    from relayprobe.store.mail import EVERY
    from relayprobe.store.queue import Wanted

    spool = Spool.open(folder)
    try:
        return [whole_object(spool, mail) for mail in spool.mails(Wanted(EVERY, session=session))]
    finally:
        spool.close()
