"""What goes up: the captured text of a mail, put right for its route. The same in every attempt, and for those who ask
afterwards what the relay changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from relayprobe.relay.repair.address import repaired_sender
from relayprobe.relay.repair.difference import difference
from relayprobe.relay.repair.terms import Mended, Repair, Source, Terms
from relayprobe.relay.repair.text import repaired
from relayprobe.relay.routes import Route, is_among, matches, routes_of
from relayprobe.settings import Settings
from relayprobe.store import Mail, Spool
from relayprobe.wire.events import BodyEnd, LineFacts


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rule on the sender: for these devices and senders (none named: all) it becomes `sender`, or stays (None)."""

    devices: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class Habit:
    """What the relay does to every text. `domain` completes an address that has none; `off`: repairs that are not
    made."""

    name: str
    domain: str | None = None
    off: frozenset[str] = frozenset()
    rewrites: tuple[Rewrite, ...] = ()


def habit_of(settings: Settings) -> Habit:
    """The habit by the settings."""
    return Habit(
        name=settings.listen.name,
        domain=settings.relay.sender_domain or next(iter(settings.site.domains), None),
        off=frozenset(settings.relay.repairs_off),
        rewrites=tuple(Rewrite(one.devices, one.domains, one.sender) for one in settings.rewrite),
    )


def mailbox_for(mail: Mail, route: Route, habit: Habit) -> str | None:
    """The address that the sender of a mail becomes; None where it stays."""
    rule = _rule_for(mail, habit)
    return rule.sender if rule else route.rewrites(mail.sender)


def author_for(mail: Mail, route: Route, habit: Habit) -> tuple[str | None, Callable[[str], bool]]:
    """The address that From becomes (None: it stays), and whether another one may stay there.

    Office 365 looks at From as it does at the sender of the envelope, and the two may differ.
    """
    rule = _rule_for(mail, habit)
    if rule is not None or route.mailbox is None:
        return rule.sender if rule else None, lambda address: False
    return route.rewrites(mail.sender) or mail.sender or route.mailbox, lambda one: route.rewrites(one) is None


def _rule_for(mail: Mail, habit: Habit) -> Rewrite | None:
    """The first rule on the sender that is meant for a mail."""
    for rule in habit.rewrites:
        if rule.devices and not is_among(rule.devices, mail.host, mail.user):
            continue
        if rule.domains and not matches(rule.domains, mail.sender):
            continue
        return rule
    return None


def sender_for(mail: Mail, route: Route, habit: Habit) -> tuple[str, tuple[Repair, ...]]:
    """The sender of a mail's envelope as it goes up, and what was put right about it."""
    if mail.kind != "device":
        return mail.sender, ()
    sender, repairs = repaired_sender(mail.sender, mailbox_for(mail, route, habit), habit.domain, habit.off)
    return (mail.sender if sender is None else sender), repairs


def source_of(spool: Spool, mail: Mail) -> Source:
    """The captured text."""
    lines = [text.lines for text in mail.texts]
    whole = LineFacts(
        bare_lf=sum(one.bare_lf for one in lines),
        bare_cr=sum(one.bare_cr for one in lines),
        overlong=sum(one.overlong for one in lines),
        eight_bit=any(one.eight_bit for one in lines),
        nul=any(one.nul for one in lines),
        unstuffed_dots=sum(one.unstuffed_dots for one in lines),
    )
    end: BodyEnd = mail.texts[-1].end if mail.texts else "crlf"
    return Source(open=lambda: spool.text(mail), end=end, lines=whole)


def mended(
    spool: Spool, mail: Mail, route: Route, habit: Habit, *, eight_bit: bool = True, smtputf8: bool = False
) -> Mended:
    """The text as it goes up to a server that offers this."""
    author, stays = author_for(mail, route, habit)
    mailbox = author if mail.kind == "device" else None
    terms = Terms(
        id=mail.id,
        name=habit.name,
        arrived=mail.arrived,
        received=_received(mail, habit.name),
        sender=mail.sender,
        mailbox=mailbox,
        rewrite=mailbox is not None,
        stays=stays,
        eight_bit=eight_bit,
        smtputf8=smtputf8,
        domain=habit.domain,
        off=habit.off,
    )
    return repaired(source_of(spool, mail), terms)


def _received(mail: Mail, name: str) -> str:
    """RFC 5321 4.4. The device's name is not repeated: what it says of itself helps nobody on the way."""
    when = format_datetime(datetime.fromtimestamp(max(0.0, mail.arrived), UTC))
    host = f"[IPv6:{mail.host}]" if ":" in mail.host else f"[{mail.host}]"
    origin = f"from {host} by" if mail.kind == "device" else "by"
    return f"{origin} {name} (relayprobe) with ESMTP id {mail.id};\r\n\t{when}"


# For those who ask afterwards


def changes_of(spool: Spool, mail: Mail, settings: Settings, config: Path | None) -> Iterator[str]:
    """What the relay changes, as a diff."""
    route, habit = _route_of(mail, settings, config), habit_of(settings)
    yield from difference(source_of(spool, mail), mended(spool, mail, route, habit))


def sent_text(spool: Spool, mail: Mail, settings: Settings, config: Path | None) -> Iterator[bytes]:
    """The text as it is sent on."""
    yield from mended(spool, mail, _route_of(mail, settings, config), habit_of(settings)).chunks()


def _route_of(mail: Mail, settings: Settings, config: Path | None) -> Route:
    """The route of a mail; a plain one where it is not configured, as without --config."""
    base = config.parent if config else Path()
    found = (route for route in routes_of(settings.route, base) if route.name == mail.route)
    return next(found, Route(mail.route, "smart-host"))
