"""How fast the list is at a hundred thousand sessions: its first page, and each kind of search, as the page asks for
them; beside them the same search by reading rows until a page is full, which is how it was done before.

Two folders: one of two hundred devices that come again and again, one in which every sender is another.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sized
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import Path

from relayprobe.store import Archive, Filter, Retention, Row, Store, host_of

SESSIONS = 100_000
BEGAN = 1_760_000_000.0
RULES = ("no-tls", "no-auth", "mail-from-not-auth-user", "no-sni", "tls-1.0-only", "auth-wrong-password")
SEARCHES = {
    "first page": Filter(),
    "peer": Filter(peer="192.168.7.20"),
    "network": Filter(peer="192.168.7.0/24"),
    "user, rare": Filter(user="user-0000099"),
    "sender, common": Filter(sender="contoso"),
    "sender, none": Filter(sender="nobody-has-this"),
    "recipient": Filter(recipient="anna-77@"),
    "finding": Filter(finding="auth-wrong-password"),
    "finding, none": Filter(finding="data-timeout"),
    "reply code": Filter(code="535 5.7.3"),
    "code, none": Filter(code="421"),
    "time": Filter(since=BEGAN + 1000, until=BEGAN + 2000),
    "any text": Filter(text="nobody-has-this"),
    "all at once": Filter(peer="192.168.0.0/16", sender="contoso", finding="no-tls", code="535", text="zzz"),
}
LOOKS: dict[str, Callable[[Archive], Sized]] = {
    "devices": lambda archive: archive.devices(100),
    "a device's last": lambda archive: archive.history("192.168.7.20", 100),
}


def fill(folder: Path, distinct: bool) -> None:
    """A hundred thousand sessions."""
    store = Store.open(folder, Retention(session_age=None, body_age=None, sessions=None, size=None))
    for n in range(SESSIONS):
        device = n % 200
        name = f"user-{n if distinct else device:07}"
        store.finish(
            Row(
                f"{n:010x}",
                BEGAN + n,
                BEGAN + n + 2,
                f"192.168.{device % 20}.{20 + device // 20}:{40000 + n % 20000}",
                "0.0.0.0:2525",
                users=(f"{name}@contoso.com",),
                senders=(f"{name}@contoso.com",),
                findings=(RULES[n % 5],) if n % 1000 else (RULES[5],),
                worst="error",
                messages=1,
                octets=20_000,
                recipients=(f"anna-{n if distinct else n % 100}@contoso.com",),
                codes=("535", "5.7.3") if n % 7 == 0 else (),
                tls="TLSv1.2",
                login="LOGIN accepted",
                device="Canon",
                verdict="no",
            )
        )
        if n % 10_000 == 0:
            store.flushed().result()
    store.close()


def main() -> None:
    """Measure, and print a table."""
    for what, distinct in (("200 devices", False), ("every name another", True)):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), distinct)
            print(f"\n{SESSIONS:,} sessions, {what}: milliseconds, median and worst of 20; row by row, once")
            before = resident()
            for name, wanted in SEARCHES.items():
                found, times = timed(lambda wanted=wanted: page(Path(folder), wanted), 20)
                same, rowwise = timed(lambda wanted=wanted: by_row(Path(folder), wanted), 1)
                if same != found:
                    raise SystemExit(f"{name}: {found} found, and {same} row by row: that is not the same search")
                middle, worst = statistics.median(times), max(times)
                print(f"  {name:16} {middle:7.1f} {worst:7.1f}   {rowwise[0]:9.1f}   {found:4} found")
            for name, look in LOOKS.items():
                found, times = timed(lambda look=look: at_devices(Path(folder), look), 20)
                print(f"  {name:16} {statistics.median(times):7.1f} {max(times):7.1f}   {'':9}   {found:4} found")
            for _ in range(1000):
                page(Path(folder), SEARCHES["any text"])
            print(f"  memory: {before:.1f} MB before, {resident():.1f} MB after a thousand searches more")


def page(folder: Path, wanted: Filter) -> int:
    """As one request does it: open, look, close."""
    with Archive.open(folder) as archive:
        return len(archive.page(wanted, 100).rows)


def at_devices(folder: Path, look: Callable[[Archive], Sized]) -> int:
    """What is asked of the devices, likewise."""
    with Archive.open(folder) as archive:
        return len(look(archive))


def by_row(folder: Path, wanted: Filter) -> int:
    """The same without the narrow copy: every row is read and looked at, until the page is full."""
    with Archive.open(folder) as archive:
        return sum(1 for _ in islice(filter(lambda row: applies(wanted, row), archive.sessions()), 100))


def applies(wanted: Filter, row: Row) -> bool:
    """Whether a row is wanted, each thing asked for read from the row itself."""
    host = host_of(row.peer)
    names = {"user": row.users, "sender": row.senders, "recipient": row.recipients}
    anything = (row.peer, *row.users, *row.senders, *row.recipients, *row.findings, *row.codes)
    return (
        (wanted.since is None or row.started >= wanted.since)
        and (wanted.until is None or row.started < wanted.until)
        and wanted.finding in (None, *row.findings)
        and all(code in row.codes for code in (wanted.code or "").split())
        and all(_in(part, names[what]) for what in names if (part := getattr(wanted, what)) is not None)
        and (wanted.text is None or _in(wanted.text, anything) or row.id.startswith(wanted.text))
        and (wanted.peer is None or (_within(host, wanted.peer) if "/" in wanted.peer else host == wanted.peer))
    )


def _in(part: str, names: Iterable[str]) -> bool:
    return any(part.casefold() in name.casefold() for name in names)


def _within(host: str, network: str) -> bool:
    return ip_address(host) in ip_network(network)


def timed(run: Callable[[], int], times: int) -> tuple[int, list[float]]:
    """What it gives, and how many milliseconds it took each time."""
    took = []
    found = 0
    for _ in range(times):
        began = time.perf_counter()
        found = run()
        took.append((time.perf_counter() - began) * 1000)
    return found, took


def resident() -> float:
    """Megabytes of memory in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
