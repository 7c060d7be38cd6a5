"""What a search of the sessions looks through: a narrow copy of what names them, in the order of the list.

All of a hundred thousand sessions is gone through in some hundredths of a second, so parts of names are found without
an index of words, and whatever is asked for together is one look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from relayprobe.store.errors import StoreError
from relayprobe.store.row import Row, host_of

PUT_SOUGHT = "INSERT OR REPLACE INTO sought VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

MOST = 2_000
"""Characters of each kind of name that are looked through: a session with a thousand recipients has more."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions are wanted: those to which all that is given applies.

    `peer` is a host, `host:port`, or a network (`192.168.1.0/24`); `finding` the id of a rule; `since` and `until` Unix
    time in seconds; `user`, `sender` and `recipient` a part of a name, in whatever case; `code` a reply code, an
    enhanced one, or both (`535 5.7.3`), as given or as Office 365 would give it; `text` a part of any of these, or the
    beginning of an id.
    """

    peer: str | None = None
    finding: str | None = None
    since: float | None = None
    user: str | None = None
    sender: str | None = None
    recipient: str | None = None
    code: str | None = None
    until: float | None = None
    text: str | None = None


def sought_of(row: Row) -> tuple[Any, ...]:
    """The record of a row."""
    return sought(row.started, row.id, row.peer, row.users, row.senders, row.recipients, row.codes, row.findings)


def sought(
    started: float,
    id: str,
    peer: str,
    users: Sequence[str] = (),
    senders: Sequence[str] = (),
    recipients: Sequence[str] = (),
    codes: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> tuple[Any, ...]:
    """The record of a session."""
    names = (_lines(each) for each in (users, senders, recipients, codes, findings))
    return (started, id, _place(host_of(peer)), *names, _spelt(peer))


def conditions(wanted: Filter) -> tuple[str, list[Any]]:
    """A filter as a condition of SQL over `sought`, with its values. Raises StoreError for a network that is none."""
    where, values = ["1"], list[Any]()

    def add(condition: str, *more: Any) -> None:
        where.append(condition)
        values.extend(more)

    if wanted.since is not None:
        add("started >= ?", wanted.since)
    if wanted.until is not None:
        add("started < ?", wanted.until)
    if wanted.finding is not None:
        add("instr(findings, ?)", f"\n{_spelt(wanted.finding)}\n")
    if wanted.peer is not None:
        if "/" in wanted.peer:
            add("host BETWEEN ? AND ?", *_range(wanted.peer))
        elif "]:" in wanted.peer or wanted.peer.count(":") == 1:
            add("peer = ?", _spelt(wanted.peer))
        else:
            add("host = ?", _place(host_of(wanted.peer)))
    for column, part in (("users", wanted.user), ("senders", wanted.sender), ("recipients", wanted.recipient)):
        if part is not None:
            add(f"instr({column}, ?)", _spelt(part))
    for code in (wanted.code or "").split():
        add("instr(codes, ?)", f"\n{_spelt(code)}\n")
    if wanted.text is not None:
        part = _spelt(wanted.text)
        columns = ("peer", "users", "senders", "recipients", "findings", "codes")
        anywhere = " OR ".join(f"instr({column}, ?)" for column in columns)
        add(f"({anywhere} OR substr(lower(id), 1, ?) = ?)", *[part] * len(columns), len(part), part)
    return " AND ".join(where), values


def _lines(names: Iterable[str]) -> str:
    text = _spelt("\n".join(names)[:MOST])
    return f"\n{text}\n" if text else ""


def _spelt(text: str) -> str:
    """A name as it is stored, and looked for: in small letters, without what SQLite does not take for text."""
    return text.casefold().encode("utf-8", "backslashreplace").decode()


@lru_cache(4096)  # devices come again and again
def _place(host: str) -> str:
    """An address as its version and its octets in hex; what is none, as it is."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return _spelt(host)
    return _hex(address)


def _hex(address: IPv4Address | IPv6Address) -> str:
    return f"{address.version}:{address.packed.hex()}"


def _range(text: str) -> tuple[str, str]:
    """The first and the last address of a network."""
    try:
        network: IPv4Network | IPv6Network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise StoreError(f"{text!r} is not a network ({error}): write it like 192.168.1.0/24") from error
    return _hex(network.network_address), _hex(network.broadcast_address)
