"""The relay with OAuth: tokens of a host over real HTTPS, and the stand-in for Office 365 that takes them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from relayprobe.capture.tls import own_certificate
from tests.clients.listening import Listening, relayprobe, until
from tests.operation.working import Relaying
from tests.relay.token_server import TokenServer

USER, SECRET = "scanner@contoso.com", "Marker-Of-Secret!"
RELAY = '[relay]\ndevices = ["127.0.0.1"]\nretry = ["1s"]\ntoken_key_file = "token.key"\n{more}\n'
TO = "anna@contoso.com"


class Site:
    """An office with a token host, and what a relay needs to know of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tokens", "app", "relay"):
            (folder / name).mkdir()
        self.office = Listening(folder / "office", "--imitate", "submission")
        self.tokens = TokenServer(folder / "tokens")
        self.tokens.secrets["app"] = SECRET
        self.relay: Relaying | None = None

    def settings(self, oauth: str, user: str = USER, more: str = "") -> str:
        return (
            RELAY.format(more=more)
            + f'[[route]]\nname = "office"\nmode = "submission"\nhost = "127.0.0.1"\nport = {self.office.port}\n'
            f'tls_name = "relayprobe.local"\nca_file = "{self.office.data / "ca.pem"}"\nuser = "{user}"\n'
            f'[route.oauth]\ntenant = "contoso.test"\nauthority = "{self.tokens.authority}"\n'
            f'ca_file = "{self.tokens.ca_file}"\n{oauth}\n'
        )

    def relaying(self, oauth: str, user: str = USER, more: str = "") -> Relaying:
        self.relay = Relaying(self.folder / "relay", self.settings(oauth, user, more))
        return self.relay

    def secret(self) -> str:
        file = self.folder / "relay" / "secret"
        file.touch(0o600)
        file.write_text(SECRET + "\n")
        return 'client_id = "app"\nsecret_file = "secret"'

    def arrived(self, count: int) -> int:
        """How many messages the office has, once there are so many."""
        return int(until(lambda: n if (n := sum(row.messages for row in self.office.ended(0))) >= count else 0))

    def leaks(self) -> list[str]:
        """Where a token or the secret stands, in clear, base64 at any offset, or hex."""
        marks = [SECRET, *self.tokens.issued, *self.tokens.refresh_tokens]
        needles = {needle for mark in marks for needle in needles_of(mark.encode())}
        assert self.relay is not None
        files = [path for path in self.relay.data.rglob("*") if path.is_file()]
        assert files
        return [
            str(path)
            for path in (*files, self.relay.err, self.relay.out)
            if any(needle in path.read_bytes() for needle in needles)
        ]


def needles_of(secret: bytes) -> set[bytes]:
    """What of it shows whatever stands around it."""
    encoded = {base64.b64encode(b"x" * n + secret)[(n * 8 + 5) // 6 : -4] for n in range(3)}
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), *encoded}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.tokens:
        yield made
    made.office.stop()
    assert made.leaks() == []


def send(relay: Relaying) -> None:
    assert relay.send(TO, sender=USER)[0] == 250


def test_a_secret(site: Site) -> None:
    """One token serves until half of its short life is over; then there is a new one."""
    with site.relaying(site.secret()) as relay:
        for _ in range(2):
            send(relay)
            relay.until_mail("delivered")
        assert len(site.tokens.issued) == 1
        assert site.tokens.asked[0]["scope"].endswith("/.default")
        shown = relay.mail()["tries"][0]["dialogue"]
        assert any(event.get("raw", "").startswith("AUTH XOAUTH2") for event in shown)
    assert site.arrived(2) == 2


def test_tokens_that_end_are_renewed(site: Site) -> None:
    site.tokens.lifetime = 1
    more = "[relay.notify]\nwaiting = '1h'"
    with site.relaying(site.secret(), more=more) as relay:
        send(relay)
        relay.until_mail("delivered")
        relay.reload(site.settings(site.secret() + "\nsecret_expires = 2099-01-01", more=more))  # a new connection
        until(lambda: site.arrived(1))
        send(relay)
        relay.until_mail("delivered")
        assert len(site.tokens.issued) == 2


def test_a_certificate(site: Site) -> None:
    certificate, key = own_certificate(site.folder / "app", "app.test")
    pair = site.folder / "relay" / "app.pem"
    pair.touch(0o600)
    pair.write_bytes(key.read_bytes() + certificate.read_bytes())
    site.tokens.certificates["app"] = x509.load_pem_x509_certificate(certificate.read_bytes())
    with site.relaying('client_id = "app"\ncertificate = "app.pem"') as relay:
        send(relay)
        relay.until_mail("delivered")
    assert "client_assertion" in site.tokens.asked[0]


def test_the_host_refuses(site: Site) -> None:
    """The route stops, its mail is kept, and it is said why. With the right secret it goes on."""
    site.tokens.secrets["app"] = "another"
    notices = site.folder / "notices"
    more = f'[relay.notify]\ncommand = ["/bin/sh", "-c", "cat >> {notices}"]\n'
    with site.relaying(site.secret(), more=more) as relay:
        send(relay)
        relay.logged("route cannot", state="stopped")
        mail = relay.until_mail("waiting")
        assert "AADSTS7000215" in mail["why"]
        assert mail["attempts"] == 1
        listed = relay.run("queue list").stdout.decode()
        assert "Route office is stopped: no token, for" in listed
        assert relay.run("health").returncode == 1
        until(lambda: notices.exists() and "AADSTS7000215" in notices.read_text())
        assert len(site.tokens.asked) <= 2
        site.tokens.secrets["app"] = SECRET
        assert relay.run("queue retry", "last").returncode == 0
        relay.until_mail("delivered")
        until(lambda: '"working"' in notices.read_text())


def test_the_host_is_down(site: Site) -> None:
    """The route waits, and comes back by itself."""
    site.tokens.refuse("temporarily_unavailable", status=503, retry_after="1")
    with site.relaying(site.secret()) as relay:
        send(relay)
        assert "HTTP 503" in relay.logged("route cannot", state="waiting")["why"]
        site.tokens.trouble = None
        relay.until_mail("delivered")
        relay.logged("route works again")


def test_the_office_refuses_the_token(site: Site) -> None:
    """Once more with a new token, and then the route stops."""
    with site.relaying(site.secret(), user="stranger@contoso.com") as relay:
        send(relay)
        relay.logged("route cannot", state="stopped")
        relay.until_mail("waiting")
        assert len(site.tokens.issued) == 2
        assert len(site.office.ended(2)) == 2


def test_somebody_signs_in(site: Site) -> None:
    """Before it, the route is stopped; after it, it goes on by itself, and so it does after a sign-in that was revoked.
    The key is made beside the configuration."""
    device = 'client_id = "app-device"\nflow = "device-code"'
    site.tokens.pending = 1
    site.tokens.lifetime = 1
    with site.relaying(device) as relay:
        send(relay)
        relay.logged("route cannot", state="stopped")
        mail = relay.until_mail("waiting")
        assert "relayprobe login" in mail["why"]
        done = relay.run("login")
        assert done.returncode == 0, done.stderr
        assert b"open https://login.test/device in any browser and enter the code QWER-1234" in done.stdout
        assert b"Signed in as anna@contoso.test." in done.stdout
        key = site.folder / "relay" / "token.key"
        assert key.stat().st_mode & 0o777 == 0o600
        relay.until_mail("delivered")
        site.tokens.revoke()
        relay.reload(site.settings(device + "\nsecret_expires = 2099-01-01"))
        send(relay)
        until(lambda: "AADSTS50173" in (relay.mail()["why"] or ""))
        done = relay.run("login", "office", "--json")
        assert (done.returncode, b'"account": "anna@contoso.test"' in done.stdout) == (0, True)
        relay.until_mail("delivered")


@pytest.mark.parametrize(
    ("oauth", "relay", "says"),
    [
        ('client_id = "x"\nsecret = "s"', "token_key_file = 'k'", "no route uses OAuth with a device code"),
        ('client_id = "x"\nflow = "device-code"', "", "a sign-in is kept encrypted, so it needs a key"),
        ('client_id = "x"\nflow = "device-code"', "token_key_file = 'no/k'", "the key "),
        ('client_id = "x"\nflow = "device-code"', "token_key = 'short'", "is no key: make one with"),
    ],
)
def test_nobody_can_sign_in(tmp_path: Path, oauth: str, relay: str, says: str) -> None:
    config = tmp_path / "relayprobe.toml"
    config.touch(0o600)
    config.write_text(
        f'[relay]\n{relay}\n[[route]]\nname = "o"\nmode = "submission"\nuser = "a@b.test"\n[route.oauth]\n'
        f'tenant = "b.test"\nauthority = "https://127.0.0.1:1/b"\n{oauth}\n'
    )
    done = relayprobe("login", "--config", config, "--data", tmp_path / "data")
    assert done.returncode in (1, 2)
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
