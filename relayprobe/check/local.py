"""What this machine itself allows: its ports, its OpenSSL, its firewall as far as that can be seen, its clock."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import ssl
import tempfile
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from relayprobe.capture.listener import Port
from relayprobe.capture.tls import own_certificate, server_context
from relayprobe.check.checked import Checked
from relayprobe.check.talk import Heard
from relayprobe.tongue import all_of, said

# Ports


def port(place: Port) -> Checked:
    """`local:port:` and its number: whether `listen` could take it now. It is taken and given back at once."""
    name = f"local:port:{place.number}"
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if os.name != "nt":  # as the listener does; on Windows it would let two have one port
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((place.host, place.number))
    except OSError as error:
        return _taken(name, place, error)
    return Checked(name, "ok", said("{place} is free for devices", place=place.name), observed={"place": place.name})


def _taken(name: str, place: Port, error: OSError) -> Checked:
    observed = {"place": place.name, "why": errno.errorcode.get(error.errno or 0, "")}
    match error.errno:
        case errno.EADDRINUSE:
            says = said("{place} is in use: a relayprobe that runs already, or another mail server", place=place.name)
            fix = said(
                "nothing, if that is relayprobe; else `ss -ltnp` names the program: stop it, or take another port"
            )
        case errno.EACCES:
            says = said("{place} is kept for privileged programs, and this one is not", place=place.name)
            fix = said("take a port from 1024 on, or let the service manager hand the port over (see the README)")
        case errno.EADDRNOTAVAIL:
            says = said("{place} is no address of this machine", place=place.name)
            fix = said("write 0.0.0.0 in its place, or an address of this machine")
        case _:
            why = error.strerror or type(error).__name__
            says = said("{place} cannot be taken: {why}", place=place.name, why=why)
            fix = said("take another port")
    return Checked(name, "warning", says, fix, observed=observed)


# OpenSSL

VERSIONS = {
    "TLS 1.0": ssl.TLSVersion.TLSv1,
    "TLS 1.1": ssl.TLSVersion.TLSv1_1,
    "TLS 1.2": ssl.TLSVersion.TLSv1_2,
    "TLS 1.3": ssl.TLSVersion.TLSv1_3,
}


def old_tls() -> Checked:
    """`local:tls`: which versions devices can be served, each tried in a handshake with ourselves."""
    with tempfile.TemporaryDirectory() as folder:
        context = server_context(*own_certificate(Path(folder), "relayprobe.local"))
        served = [name for name, version in VERSIONS.items() if _shakes_hands(context, version)]
    observed = {"served": served, "openssl": ssl.OPENSSL_VERSION}
    lost = [name for name in VERSIONS if name not in served]
    if lost:
        says = said(
            "this machine's OpenSSL ({openssl}) serves devices {served}, and not {lost}",
            openssl=ssl.OPENSSL_VERSION,
            served=", ".join(served),
            lost=", ".join(lost),
        )
        fix = said("for devices that know nothing newer, allow it in openssl.cnf, or have them send without TLS")
        return Checked("local:tls", "warning", says, fix, observed=observed)
    says = said(
        "this machine's OpenSSL ({openssl}) serves devices {served}",
        openssl=ssl.OPENSSL_VERSION,
        served=", ".join(served),
    )
    return Checked("local:tls", "ok", says, observed=observed)


def _shakes_hands(server: ssl.SSLContext, version: ssl.TLSVersion) -> bool:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is deprecated, and devices have it
            client.minimum_version = client.maximum_version = version
    except ValueError:
        return False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname="relayprobe.local"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
        if len(done) == len(sides):
            return True
    return False


# The firewall

TABLES = (("nft", "list", "ruleset"), ("iptables", "-S"), ("ip6tables", "-S"))


async def firewall(places: Sequence[Port]) -> Checked:
    """`local:firewall`: whether this machine has rules of its own. What they let through is not worked out."""
    numbers = all_of([str(place.number) for place in places])
    ask = said("see that it lets devices in to port {ports}, and out to 25 and 587", ports=numbers)
    if os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        says = said("the firewall of this machine cannot be seen without being root")
        return Checked("local:firewall", "unknown", says, ask)
    listed = [(command[0], rules) for command in TABLES if (rules := await _listed(command)) is not None]
    observed = {"by": [program for program, _ in listed], "rules": sum(len(rules.splitlines()) for _, rules in listed)}
    for program, rules in listed:
        if any(word in rules for word in (b"drop", b"reject", b"DROP", b"REJECT")):
            says = said("this machine has a firewall with rules that drop or reject ({program})", program=program)
            return Checked("local:firewall", "unknown", says, ask, observed=observed)
    if listed:
        programs = ", ".join(program for program, _ in listed)
        says = said("this machine's firewall drops and rejects nothing ({program})", program=programs)
        return Checked("local:firewall", "ok", says, observed=observed)
    says = said("the firewall of this machine cannot be seen: neither nft nor iptables says anything")
    return Checked("local:firewall", "unknown", says, ask)


async def _listed(command: Sequence[str]) -> bytes | None:
    """The rules that a program lists; None where it is not there, or does not say."""
    program = shutil.which(command[0])
    if program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(3.0):
            out, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out if process.returncode == 0 else None


# The clock

TOLERATED = 300.0
"""Seconds. OAuth's tokens and certificates go by the clock."""


def clock(heard: Sequence[Heard], now: datetime) -> Checked:
    """`local:clock`: against the time in a greeting of Office 365. `now`: in UTC, for
    those of which it is not known when they came."""
    for one in heard:
        told = one.banner.text.partition(" ready at ")[2].partition("[")[0].strip() if one.banner else ""
        try:
            there = parsedate_to_datetime(told)
        except (ValueError, TypeError, IndexError):
            continue
        there = there if there.tzinfo else there.replace(tzinfo=UTC)
        off = ((one.greeted or now) - there).total_seconds()
        observed = {"seconds": round(off), "by": one.target.host}
        if abs(off) <= TOLERATED:
            says = said("the clock of this machine agrees with {host}'s", host=one.target.host)
            return Checked("local:clock", "ok", says, observed=observed)
        says = said(
            "the clock of this machine is {minutes} minutes off that of {host}",
            minutes=f"{abs(off) / 60:.0f}",
            host=one.target.host,
        )
        return Checked("local:clock", "warning", says, said("set it right, by NTP"), observed=observed)
    return Checked("local:clock", "unknown", said("no server told the time, so the clock was not compared"))
