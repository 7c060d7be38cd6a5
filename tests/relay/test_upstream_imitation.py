"""Against the imitation of Office 365, and what the reader of a device's dialogue makes of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayprobe.capture.imitation import Imitation, Tenant
from relayprobe.capture.listener import Listener, Manner, Port
from relayprobe.capture.smtp import Limits
from relayprobe.capture.tls import imitated_context, own_certificate
from relayprobe.relay.judgement import judged
from relayprobe.relay.outcome import Delivered, Fault, Refused
from relayprobe.relay.place import Letter, Place, SignIn
from relayprobe.relay.record import Record
from relayprobe.relay.tls import client_context
from relayprobe.relay.upstream import Upstream
from relayprobe.store import Store
from relayprobe.wire.message import trimmed
from relayprobe.wire.session import session_of
from tests.relay.test_upstream import QUICK

USER, PASSWORD = "scanner@contoso.com", "Scan-2024!"
TEXT = b"From: %b\r\nTo: anna@contoso.com\r\nMessage-ID: <1@relay>\r\n\r\n.scan\r\n"


@pytest.mark.parametrize("password", [PASSWORD, "Scan-2023!"])
async def test_client_submission(tmp_path: Path, password: str) -> None:
    async def secret() -> str:
        return password

    paths = own_certificate(tmp_path, "relayprobe.local")
    store = Store.open(tmp_path / "data", trim=trimmed)
    told = Tenant(domains=("contoso.com",))
    answers = Imitation("x", "submission", told, accounts={USER: PASSWORD}, message_size=2**20)
    manner = Manner(answers, Limits(), accounts={USER: PASSWORD}, imitate="submission")
    listener = Listener(
        [Port("127.0.0.1", 0, None)],
        manner,
        imitated_context(*paths, "submission"),
        store,
        tmp_path,
        judged=lambda _: None,
    )
    await listener.start()
    context = client_context(tmp_path / "ca.pem")
    place = Place("127.0.0.1", listener.ports[0].number, "starttls", context, "relay.contoso.com", "relayprobe.local")
    record = Record()
    try:
        upstream = await Upstream.connect(place, SignIn(USER, "password", secret), QUICK, record)
        if password != PASSWORD:
            assert isinstance(upstream, Fault)
            what = judged(upstream.said, upstream.stage, "submission")
            assert (what.kind, what.scope) == ("route-stop", "route")
            assert session_of(record.transcript).auths
            return
        assert isinstance(upstream, Upstream), upstream
        for sender, kind in ((USER, Delivered), ("other@contoso.com", Refused), (USER, Delivered)):
            text = TEXT % sender.encode()
            came = await upstream.send(Letter(sender, ("anna@contoso.com",), lambda text=text: iter([text]), len(text)))  # type: ignore[misc]
            [outcome] = came.outcomes
            assert isinstance(outcome, kind), outcome
            if isinstance(outcome, Refused):
                what = judged(outcome.said, outcome.stage, "submission")
                assert (what.kind, what.scope) == ("never", "mail")
                assert what.answer is not None
                assert what.answer.text == "SendAsDenied"
        session = session_of(record.transcript)
        await upstream.quit()
        assert session.tls is not None
        [envelope] = session.envelopes
        assert envelope.sender == USER
    finally:
        await listener.stop()
        store.close()
