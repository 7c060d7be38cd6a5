"""A password is nowhere: however a device brings it, in clear or in TLS, rightly or in pieces.

Every dialogue is held with a listener that says all it can (`-v`). Then every file of the data folder, all that the
listener said, and all that the reading commands say is searched for the password and for its base64 and hex forms: for
any eight characters of them in a row, in whatever case.
"""

from __future__ import annotations

import contextlib
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from relayprobe.cli import main
from tests.clients.listening import PASSWORD, USER, Listening
from tests.clients.programs import context

P, U = PASSWORD.encode(), USER.encode()


def b64(*parts: bytes) -> bytes:
    return b64encode(b"".join(parts))


LOGIN = [b"AUTH LOGIN", b64(U), b64(P)]
PLAIN = b64(b"\0", U, b"\0", P)
# Between its parts belongs octet 1, which manuals write as ^A and devices send as they understand it.
BEARER_WITH = {a: b64(b"user=", U, a, b"auth=Bearer ", P, a, a) for a in (b"\1", b"^A", rb"\x01", b" ", b"\n")}
BEARER = BEARER_WITH[b"\1"]

# Lines are sent one by one, each after the reply to the one before; what is not a line is sent as it stands.
DIALOGUES: dict[str, list[bytes]] = {
    "login": LOGIN,
    "login-lower-case": [b"auth login", b64(U), b64(P)],
    "login-initial-response": [b"AUTH LOGIN " + b64(U), b64(P)],
    "login-all-in-one-line": [b"AUTH LOGIN " + b64(U) + b" " + b64(P)],
    "login-without-padding": [b"AUTH LOGIN", b64(U), b64(P, b"x").rstrip(b"=")],
    "login-with-line-end-inside": [b"AUTH LOGIN", b64(U), b64(P, b"\n")],
    "login-cut-password": [b"AUTH LOGIN", b64(U), b64(P[:16])],
    "login-not-base64": [b"AUTH LOGIN", U, P, P],
    "login-password-not-base64": [b"AUTH LOGIN", b64(U), P],
    "login-of-nobody": [b"AUTH LOGIN", b64(b"nobody"), b64(P)],
    "login-twice": [*LOGIN, *LOGIN],
    "login-then-password-again": [*LOGIN, b64(P)],
    "login-then-password-in-clear": [*LOGIN, P],
    "login-wrapped": [b"AUTH LOGIN", b64(U), b64(P)[:12], b64(P)[12:]],
    "plain": [b"AUTH PLAIN " + PLAIN],
    "plain-in-two-steps": [b"AUTH PLAIN", PLAIN],
    "plain-wrapped": [b"AUTH PLAIN " + PLAIN[:44], PLAIN[44:]],
    "plain-without-first-nul": [b"AUTH PLAIN " + b64(U, b"\0", P)],
    "plain-without-second-nul": [b"AUTH PLAIN " + b64(b"\0", U, P)],
    "plain-without-any-nul": [b"AUTH PLAIN " + b64(U, b" ", P)],
    "plain-password-alone": [b"AUTH PLAIN " + b64(P)],
    "plain-not-base64": [b"AUTH PLAIN \\0" + U + b"\\0" + P],
    "plain-with-tabs": [b"AUTH\tPLAIN\t" + PLAIN],
    "plain-joined": [b"AUTHPLAIN " + PLAIN],
    "plain-with-equals-sign": [b"AUTH=PLAIN " + PLAIN],
    "plain-behind-telnet-negotiation": [b"\xff\xfb\x1fAUTH PLAIN " + PLAIN],
    "token-of-plain-for-login": [b"AUTH LOGIN " + PLAIN],
    "token-of-plain-for-the-user": [b"AUTH LOGIN", PLAIN, b64(P)],
    "token-of-plain-for-xoauth2": [b"AUTH XOAUTH2 " + PLAIN],
    "token-of-xoauth2-for-login": [b"AUTH LOGIN " + BEARER],
    "token-of-xoauth2-for-plain": [b"AUTH PLAIN " + BEARER],
    "mechanism-left-out": [b"AUTH " + PLAIN],
    "mechanism-on-a-line-of-its-own": [b"AUTH", b"PLAIN " + PLAIN],
    "mechanism-without-auth": [b"PLAIN " + PLAIN],
    "mechanism-unknown": [b"AUTH X-SECRET " + PLAIN],
    "authenticate": [b"AUTHENTICATE PLAIN " + PLAIN],
    "xoauth2": [b"AUTH XOAUTH2 " + BEARER],
    "xoauth2-in-two-steps": [b"AUTH XOAUTH2", BEARER],
    "xoauth2-with-a-caret": [b"AUTH XOAUTH2 " + BEARER_WITH[b"^A"]],
    "xoauth2-with-an-escape": [b"AUTH XOAUTH2 " + BEARER_WITH[rb"\x01"]],
    "xoauth2-with-a-space": [b"AUTH XOAUTH2 " + BEARER_WITH[b" "]],
    "xoauth2-with-a-line-feed": [b"AUTH XOAUTH2 " + BEARER_WITH[b"\n"]],
    "oauthbearer": [b"AUTH OAUTHBEARER " + b64(b"n,a=", U, b",\1auth=Bearer ", P, b"\1\1"), BEARER],
    "cram-md5-answered-in-clear": [b"AUTH CRAM-MD5", b"AUTH CRAM-MD5", b64(U, b" ", P)],
    "ntlm": [
        b"AUTH NTLM",
        b"AUTH NTLM",
        b64(b"NTLMSSP\0\1\0\0\0" + bytes(24)),
        b64(b"NTLMSSP\0\3\0\0\0", P, bytes(60)),
    ],
    "refused-then-password": [b"AUTH DIGEST-MD5", P, b64(P), b"my word is " + P],
    "cancelled-then-password": [b"AUTH LOGIN", b"*", b64(P), P],
    "cancelled-at-the-password": [b"AUTH LOGIN", b64(U), b"*", P],
    "typed-with-a-slip": [b"AUHT PLAIN " + PLAIN],
    "typed-with-an-arrow-key": [b"\x1b[AAUTH PLAIN " + PLAIN],
    "tokens-without-auth": [b64(U), b64(P)],
    "bare-lf": [b"AUTH PLAIN " + PLAIN + b"\n"],
    "bare-cr-pipelined": [b"NOOP\rAUTH PLAIN " + PLAIN],
    "bare-cr": [b"AUTH PLAIN " + PLAIN + b"\r"],
    "cut-in-the-line": [b"AUTH PLAIN " + PLAIN[:-4] + b"\x04"],
    "cut-in-the-password": [b"AUTH LOGIN", b64(U), b64(P)[:-4] + b"\x04"],
    "pipelined": [b"\r\n".join([*LOGIN, b"NOOP", b""])],
    "pipelined-wrong": [b"\r\n".join([b"AUTH LOGIN", b64(b"nobody"), b64(P), P, b"QUIT", b""])],
    "behind-starttls": [b"STARTTLS\r\nAUTH PLAIN " + PLAIN + b"\r\n" + b64(P) + b"\r\n"],
    "too-long": [b"AUTH PLAIN " + PLAIN * 2000],
    "http-basic": [
        b"POST / HTTP/1.1\r\nAuthorization: Basic " + b64(U, b":", P) + b"\r\n\r\nuser=x&password=" + P + b"\r\n"
    ],
    "http-proxy": [
        b"CONNECT a:25 HTTP/1.1\r\nProxy-Authorization: Basic " + b64(U, b":", P) + b"\r\nCookie: " + P + b"\r\n"
    ],
    "pop3": [b"USER " + U, b"PASS " + P],
    "login-name-and-password-in-one": [b"AUTH LOGIN " + b64(U, b":", P), b64(P)],
    "cram-md5-name-and-password": [b"AUTH CRAM-MD5", b"AUTH CRAM-MD5", b64(U, b" ", P, b" x")],
    "noop-with-auth": [b"NOOP AUTH PLAIN " + PLAIN],
    "refused-then-in-a-refused-text": [b"AUTH DIGEST-MD5", b"DATA", P, b"."],
    "http-query": [b"GET /?user=x&password=" + P + b" HTTP/1.1"],
    "http-address": [b"GET http://" + b"user:" + P + b"@host/ HTTP/1.1"],
    "imap-login": [b"a1 LOGIN " + U + b" " + P],
    "imap-authenticate": [b"a1 AUTHENTICATE PLAIN " + PLAIN],
}


def needles() -> set[bytes]:
    """All that must be nowhere, in lower case."""
    forms = [P, P.hex().encode()]
    for before in range(3):  # base64 of a thing depends on how many octets stand before it
        whole = b64encode(bytes(before) + P + bytes(-(before + len(P)) % 3))
        forms.append(whole[4 if before else 0 : -4])
    return {form[at : at + 8].lower() for form in forms for at in range(len(form) - 7)}


def hold(port: int, pieces: list[bytes], tls: bool) -> None:
    """Say the pieces, whatever is answered. One that ends in EOT (4) is sent without it and followed by the end."""
    with contextlib.ExitStack() as stack:
        device: socket.socket = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        if tls:
            device = stack.enter_context(context().wrap_socket(device))
        stack.enter_context(contextlib.suppress(OSError))
        device.recv(65536)
        for piece in [b"EHLO mfp01.contoso.com", *pieces]:
            if piece.endswith(b"\x04"):
                device.sendall(piece[:-1])
                return
            device.sendall(piece if piece.endswith((b"\r", b"\n")) else piece + b"\r\n")
            device.recv(65536)


@pytest.fixture(scope="module", params=["console", "json"])
def heard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A listener that has heard every dialogue, in clear and in TLS: its folder, and which session was which."""
    folder = tmp_path_factory.mktemp(request.param)
    listening = Listening(folder, "-v", "--log-format", request.param, "--log-file", str(folder / "relayprobe.log"))
    dialogues = [(name, tls) for tls in (True, False) for name in DIALOGUES]  # a late hello would be waited for
    try:
        for name, tls in dialogues:
            hold(listening.port, DIALOGUES[name], tls)
        oldest_first = reversed(listening.ended(len(dialogues)))
    finally:
        listening.stop()
    return folder, {
        row.id: f"{name} in {'TLS' if tls else 'clear'}"
        for row, (name, tls) in zip(oldest_first, dialogues, strict=True)
    }


def test_the_search_finds_what_it_should() -> None:
    for before in range(3):
        assert leaks(b64(U[:before], P, U))
    for said in (P, P.upper(), P[3:12], P.hex().encode(), PLAIN, BEARER, f"{P!r}".encode()):
        assert leaks(said)
    assert not leaks(b64(U))


def test_no_file_of_the_listener_holds_a_password(heard: Any) -> None:
    folder, _ = heard
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    assert {"stdout", "stderr", "relayprobe.log", "relayprobe.db", "lock"} <= {path.name for path in files}
    found = {path.name: leaks(path.read_bytes()) for path in files}
    assert not any(found.values()), found


def test_no_command_shows_a_password(heard: Any) -> None:
    folder, told = heard
    for verb in WAYS_TO_SHOW:
        found = [name for id, name in told.items() if leaks(shown(folder, verb, id))]
        assert not found, f"{verb}: {', '.join(found)}"


def test_no_list_shows_a_password(heard: Any) -> None:
    folder, _ = heard
    for command in ("sessions --limit 1000", "sessions --limit 1000 --json", "diagnose --all --json"):
        assert not leaks(shown(folder, command)), command


WAYS_TO_SHOW = ["show", "show --json", "diagnose", "diagnose --json"]
WAYS_TO_SHOW += [f"export --as {form}" for form in ("text", "json", "html", "pcapng")]


def shown(folder: Path, command: str, *session: str) -> bytes:
    verb, *options = command.split()
    done = CliRunner().invoke(main, [verb, "--data", str(folder / "data"), *options, *session])
    assert done.exit_code in (0, 1), done.output
    return done.stdout_bytes + done.stderr_bytes


def leaks(said: bytes) -> list[bytes]:
    said = said.lower()
    return sorted(needle for needle in needles() if needle in said)
