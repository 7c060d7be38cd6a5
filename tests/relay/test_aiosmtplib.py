"""What relayprobe relies on in aiosmtplib beyond what it promises: a new release that changes it is met here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from itertools import pairwise

import aiosmtplib.protocol
import pytest
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.protocol import COMMAND_INJECTION_REGEX, SMTPProtocol
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.relay.outcome import Reply, Trouble
from relayprobe.relay.protocol import LINE_LIMIT, REPLY_LIMIT, UpstreamProtocol
from relayprobe.relay.record import Record


def overridden() -> Iterator[str]:
    for name, value in vars(UpstreamProtocol).items():
        if callable(value) and not name.startswith("_") and hasattr(SMTPProtocol, name):
            yield name


def test_what_is_overridden_is_there_and_nothing_else_shares_a_name() -> None:
    assert set(overridden()) == {
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "execute_command",
        "pause_writing",
        "read_response",
        "resume_writing",
        "write",
    }
    for name in overridden():
        ours = inspect.signature(getattr(UpstreamProtocol, name))
        assert list(ours.parameters) == list(inspect.signature(getattr(SMTPProtocol, name)).parameters)


async def test_no_attribute_of_ours_hides_one_of_its_own() -> None:
    theirs = vars(SMTPProtocol(asyncio.get_running_loop()))
    ours = vars(UpstreamProtocol(asyncio.get_running_loop(), Record()))
    assert {"_buffer", "_over_ssl", "_loop", "transport", "_command_lock"} <= set(theirs)
    added = set(ours) - set(theirs)
    assert not {name for name in added if hasattr(SMTPProtocol, name)}


def test_start_tls_writes_reads_and_empties_the_buffer_in_this_order() -> None:
    source = inspect.getsource(SMTPProtocol.start_tls)
    steps = ['self.write(b"STARTTLS\\r\\n")', "self.read_response(", "del self._buffer[:]", "_loop.start_tls("]
    places = [source.index(step) for step in steps]
    assert places == sorted(places)
    # Between the reply and the handshake nothing is awaited, so that no clear text can slip in unseen.
    assert source[places[1] : places[3]].count("await") == 1  # that of start_tls itself


def test_commands_are_guarded_against_control_characters() -> None:
    for octet in (*range(32), 127):
        assert COMMAND_INJECTION_REGEX.search(bytes([octet]))
    assert "COMMAND_INJECTION_REGEX" in inspect.getsource(SMTPProtocol.execute_command)


def test_offers_are_parsed_so() -> None:
    said = "mail.example hi\nSIZE 35882577\nAUTH LOGIN XOAUTH2\nAUTH=LOGIN\nSTARTTLS"
    extensions, mechanisms = parse_esmtp_extensions(said)
    assert extensions == {"size": "35882577", "auth": "LOGIN", "starttls": ""}
    assert mechanisms == ["login", "xoauth2", "login"]


def test_the_release_is_one_that_was_read() -> None:
    assert aiosmtplib.__version__.startswith("5.")


# The reader of replies, without a socket


class _Away(asyncio.Transport):
    """A connection that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def is_closing(self) -> bool:
        return self.gone

    def abort(self) -> None:
        self.gone = True

    def write(self, data: object) -> None:
        pass


def read(octets: bytes, cuts: list[int], due: int) -> tuple[list[Reply], Reply | None, Trouble | None, int]:
    """What becomes of these octets: replies, what came unasked, trouble, and the most that was held."""
    loop = asyncio.new_event_loop()
    try:
        protocol = UpstreamProtocol(loop, Record())
        protocol.connection_made(_Away())
        protocol._due = due
        held = 0
        places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
        for begin, end in pairwise(places):
            protocol.data_received(octets[begin:end])
            held = max(held, len(protocol._buffer))
        return list(protocol._replies), protocol.unasked, protocol.trouble, held
    finally:
        loop.close()


PIECES = st.lists(
    st.sampled_from(
        [
            b"250 ok\r\n",
            b"250-a\r\n",
            b"250\r\n",
            b"550 no\n",
            b"354 go\r\n",
            b"\r\n",
            b"2",
            b"\xff",
            b"550-x\r\n",
            b" ",
            b"\0",
        ]
    ),
    max_size=10,
).map(b"".join)


@given(PIECES | st.binary(max_size=200), st.lists(st.integers(0, 100), max_size=6), st.integers(0, 4))
def test_replies_are_the_same_however_they_are_cut(octets: bytes, cuts: list[int], due: int) -> None:
    assert read(octets, [], due)[:3] == read(octets, cuts, due)[:3]


@pytest.mark.parametrize("octet", [b"2", b"\n", b"250-a\r\n", b"250 a\r\n", b"\0", b"\xff"])
def test_nothing_that_a_server_sends_is_held_without_bound(octet: bytes) -> None:
    octets = octet * (2**21 // len(octet))
    replies, _, trouble, held = read(octets, list(range(0, len(octets), 16384)), due=3)
    assert trouble is not None
    assert held <= LINE_LIMIT + 16384
    assert sum(len(reply.text) for reply in replies) <= REPLY_LIMIT


async def test_nothing_with_a_control_character_goes_out_in_a_group() -> None:
    protocol = UpstreamProtocol(asyncio.get_running_loop(), Record())
    protocol.connection_made(_Away())
    with pytest.raises(ValueError, match="control"):
        protocol.say([b"RCPT TO:<a@x.com>\r\nRSET"])
