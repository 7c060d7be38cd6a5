"""`check --login` and `check --dry-run-to`: one login for each route, an envelope without a message, and what Office
365 says to them, told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relayprobe.store import Archive
from tests.check.name_server import name_server
from tests.check.places import MX, SUBMISSION, ZONE, Office365, office_365
from tests.clients.listening import PASSWORD, SETTINGS, USER, Listening, relayprobe, until
from tests.clients.postfix import smart_host
from tests.relay.token_server import TokenServer

ROUTE = """
[site]
domains = ["contoso.com"]
[[route]]
name = "office"
mode = "submission"
host = "127.0.0.1"
port = {port}
tls_name = "{name}"
ca_file = "{ca}"
user = "{user}"
"""


def check(
    office: Office365, folder: Path, route: str, *more: str, secret: str = PASSWORD
) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    file = folder / "secret"
    file.touch(0o600)
    file.write_text(secret)
    config = folder / "relayprobe.toml"
    config.write_text(ROUTE.format(port=office.submission.port, name=SUBMISSION, ca=office.ca, user=USER) + route)
    with name_server(ZONE) as server:
        ran = relayprobe(
            "check",
            *("--config", config, "--data", folder / "data", "--json", "--patience", "3", "--ca-file", office.ca),
            *("--resolver", f"127.0.0.1:{server.address[1]}"),
            *("--submission-host", f"{SUBMISSION}:{office.submission.port}", "--mx-host", f"{MX}:{office.mx.port}"),
            *more,
        )
    assert ran.stderr == b""
    assert secret.encode() not in ran.stdout
    thing: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, thing


def logins(listening: Listening) -> int:
    """AUTH commands that came."""
    with Archive.open(listening.data) as stored:
        texts = [text for row in stored.sessions() for text in stored.events(row.id)]
    return sum(json.loads(text).get("raw", "").startswith("AUTH ") for text in texts)


def sign_in(thing: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in thing["checks"] if one["id"] == "sign-in:office")
    return found


WITH_PASSWORD = 'password_file = "secret"\n'


@contextmanager
def imitated(folder: Path, more: str = "", mode: str = "direct-send") -> Iterator[Office365]:
    with office_365(folder, f"{SETTINGS}\n[imitate]\n{more}", mode) as there:
        yield there


def test_one_login_is_made_and_no_more(tmp_path: Path) -> None:
    with imitated(tmp_path / "office") as office:
        code, thing = check(office, tmp_path / "here", WITH_PASSWORD, "--login")
        assert code == 0
        assert sign_in(thing)["says"].startswith(
            f"127.0.0.1:{office.submission.port} takes the login of {USER} (password)"
        )
        assert thing["verdicts"][0]["untested"] == []
        until(lambda: logins(office.submission))
        assert logins(office.submission) == 1
        check(office, tmp_path / "here", WITH_PASSWORD)
        assert logins(office.submission) == 1  # without --login there is none
        kept = (tmp_path / "here" / "data").rglob("*")
        assert not any(PASSWORD.encode() in path.read_bytes() for path in kept if path.is_file())


@pytest.mark.parametrize(
    ("smtp_auth", "means", "do"),
    [
        ("off-tenant", "5.7.139", "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false"),
        ("off-mailbox", "5.7.139", "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false"),
        ("basic-off", "5.7.139", "Use OAuth, or a relay that does"),
        ("basic-retired", "5.7.30", "Use OAuth, or a relay that does"),
        ("security-defaults", "5.7.139", "security defaults"),
        ("conditional-access", "5.7.139", "leaves the account, or the site's public address, out of that policy"),
    ],
)
def test_a_login_that_is_not_allowed(smtp_auth: str, means: str, do: str, tmp_path: Path) -> None:
    with imitated(tmp_path / "office", f'smtp_auth = "{smtp_auth}"') as office:
        code, thing = check(office, tmp_path / "here", WITH_PASSWORD, "--login")
        until(lambda: logins(office.submission))
        assert logins(office.submission) == 1
    found = sign_in(thing)
    assert code == 1
    assert (found["status"], found["blocks"]) == ("failed", ["submission"])
    assert means in found["says"]
    assert do in found["fix"]
    assert thing["verdicts"][0]["blockers"] == ["sign-in:office"]
    assert do in thing["todo"][0]


def test_a_wrong_password(tmp_path: Path) -> None:
    with imitated(tmp_path / "office") as office:
        code, thing = check(office, tmp_path / "here", WITH_PASSWORD, "--login", secret="Wrong-Passw0rd!")
    assert code == 1
    assert "535 5.7.3 Authentication unsuccessful" in sign_in(thing)["says"]
    assert "password" in sign_in(thing)["fix"]


APP = "Secret-Of-The-App-1"


@contextmanager
def token_host(folder: Path, secret: str = APP) -> Iterator[tuple[TokenServer, str]]:
    """A token host, and the table of a route that asks it."""
    folder.mkdir(parents=True)
    with TokenServer(folder) as tokens:
        tokens.secrets["app"] = secret
        yield (
            tokens,
            f'[route.oauth]\ntenant = "contoso.test"\nauthority = "{tokens.authority}"\n'
            f'ca_file = "{tokens.ca_file}"\nclient_id = "app"\nsecret_file = "secret"\n',
        )


@pytest.mark.parametrize(("smtp_auth", "code"), [("on", 0), ("off-tenant", 1)])
def test_oauth_signs_in_once_even_where_the_token_is_refused(smtp_auth: str, code: int, tmp_path: Path) -> None:
    with (
        imitated(tmp_path / "office", f'smtp_auth = "{smtp_auth}"') as office,
        token_host(tmp_path / "t") as (host, table),
    ):
        result, thing = check(office, tmp_path / "here", table, "--login", secret=APP)
        assert result == code
        until(lambda: logins(office.submission))
        assert logins(office.submission) == 1
        assert len(host.issued) == 1
        assert host.issued[0] not in json.dumps(thing)
    assert sign_in(thing)["status"] == ("ok" if code == 0 else "failed")
    assert "(OAuth)" in sign_in(thing)["says"] or "5.7.139" in sign_in(thing)["says"]


def test_a_token_that_cannot_be_had(tmp_path: Path) -> None:
    with imitated(tmp_path / "office") as office, token_host(tmp_path / "t", "another") as (_, table):
        code, thing = check(office, tmp_path / "here", table, "--login", secret=APP)
        assert logins(office.submission) == 0
    assert code == 1
    assert f"the login of {USER} cannot be made" in sign_in(thing)["says"]


def test_login_without_a_route_is_said(tmp_path: Path) -> None:
    ran = relayprobe("check", "contoso.com", "--login", "--data", tmp_path)
    assert ran.returncode == 2
    assert "none has one: name a configuration with --config" in ran.stderr.decode()


# The envelope


@pytest.mark.parametrize(
    ("mode", "more", "to", "status", "says", "verdict"),
    [
        ("connector", "", "eve@example.org", "ok", "a connector knows this site", ("connector", True)),
        (
            "direct-send",
            "",
            "eve@example.org",
            "failed",
            "no connector knows the sending address",
            ("connector", False),
        ),
        ("direct-send", "", "anna@contoso.com", "ok", "only a real one is final", ("direct-send", True)),
        (
            "direct-send",
            "reject_direct_send = true",
            "anna@contoso.com",
            "failed",
            "switched Direct Send off (RejectDirectSend)",
            ("direct-send", False),
        ),
        (
            "direct-send",
            'recipients = ["otto@contoso.com"]',
            "anna@contoso.com",
            "unknown",
            "does not exist in this domain",
            ("direct-send", True),
        ),
    ],
)
def test_an_envelope(
    mode: str, more: str, to: str, status: str, says: str, verdict: tuple[str, bool], tmp_path: Path
) -> None:
    with imitated(tmp_path / "office", more, mode) as office:
        _, thing = check(office, tmp_path / "here", WITH_PASSWORD, "--dry-run-to", to, "--mode", "connector")
        rows = office.mx.ended(2)
        with Archive.open(office.mx.data) as stored:
            said = [json.loads(text).get("raw", "") for row in rows for text in stored.events(row.id)]
    found = next(one for one in thing["checks"] if one["id"].startswith("dry-run:"))
    assert found["status"] == status
    assert says in found["says"]
    name, works = verdict
    assert next(one["works"] for one in thing["verdicts"] if one["mode"] == name) is works
    assert sum(line.startswith("RCPT TO:") for line in said) == 1
    assert "RSET\r\n" in said
    assert not any(line.startswith("DATA") for line in said)
    assert "MAIL FROM:<relayprobe@contoso.com>\r\n" in said


def test_what_is_no_address_is_said(tmp_path: Path) -> None:
    for option in ("--dry-run-to", "--from"):
        ran = relayprobe(
            "check", "contoso.com", "--data", tmp_path, "--dry-run-to", "a@b.example", option, "a b>@c\r\nX"
        )
        assert ran.returncode == 2
        assert "is no address" in ran.stderr.decode()


def test_a_gateway_in_front(tmp_path: Path) -> None:
    """Postfix at the MX: it is no host of Office 365, and says so itself."""
    with imitated(tmp_path / "office") as office, smart_host() as gateway:
        zone = {**ZONE, "contoso.com": [("MX", (0, "mx.gateway.example"))], "mx.gateway.example": [("A", "127.0.0.1")]}
        with name_server(zone) as server:
            ran = relayprobe(
                *("check", "contoso.com", "--json", "--data", tmp_path / "data", "--patience", "3"),
                *("--resolver", f"127.0.0.1:{server.address[1]}", "--ca-file", office.ca),
                *("--submission-host", f"{SUBMISSION}:{office.submission.port}"),
                *("--mx-host", f"mx.gateway.example:{gateway.port}", "--dry-run-to", "eve@example.org"),
            )
        thing = json.loads(ran.stdout)
    known = {one["id"]: one for one in thing["checks"]}
    for verdict in thing["verdicts"][1:]:  # nothing of Office 365's MX endpoint was reached
        assert verdict["works"] is None
        assert "--mx-host" in verdict["untested"][-1]
    assert known["mx-kind"]["status"] == "warning"
    assert "a gateway" in known["mx-kind"]["says"]
    assert known["greeting:mx:ipv4"]["observed"]["found"] == "gateway"
    assert "--mx-host" in known["greeting:mx:ipv4"]["fix"]
    assert known["dry-run:outside"]["status"] == "failed"
    assert "is refused: 554 5.7.1" in known["dry-run:outside"]["says"]
