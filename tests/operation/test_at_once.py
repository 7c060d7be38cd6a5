"""`when = "at-once"`: the device waits for the other side, is told what that says, and is told no only where nothing is
left in the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.listening import until
from tests.operation.working import OtherSide, Relaying

RELAY = '[relay]\ndevices = ["127.0.0.1"]\nwhen = "at-once"\nretry = ["1s"]\npatience = "{patience}"\n'
HERE = 'recipients = ["anna@contoso.test"]'
TWO = ("anna@contoso.test", "bert@contoso.test")


def relaying(folder: Path, *routes: str, patience: str = "20s") -> Relaying:
    return Relaying(folder, RELAY.format(patience=patience) + "".join(routes))


def test_what_the_other_side_says(tmp_path: Path) -> None:
    """At each stage; its dialogue is kept beside the device's, and no mail is left that the device has still."""
    with OtherSide() as other, relaying(tmp_path / "relay", other.route()) as relay:
        assert relay.send() == (250, b"2.0.0 kept as 4711 [Hostname=OTHER]")
        for stage in ("MAIL", "RCPT", "DATA", "."):
            for answer in ("451 4.3.2 not now", "552 5.2.3 too large"):
                other.answers = {stage: answer}
                code, text = relay.send()
                assert f"{code} {text.decode()}" == answer
                assert relay.queue() == []
                mail = relay.mail()
                assert (mail["state"], mail["tries"][0]["reply"]) == ("dropped", answer)
                said = [event.get("raw", "") for event in mail["tries"][0]["dialogue"]]
                assert any(line.startswith(answer) for line in said)
        assert len(other.mails) == 1
        shown = relay.run("show", mail["session"]).stdout.decode()
        assert "552 5.2.3 too large" in shown.partition("Sent on as")[2]


def test_a_fault_of_the_way_passes(tmp_path: Path) -> None:
    """A 5xx before MAIL is not about the mail: a device that reads it gives up for good."""
    with OtherSide(banner="554 5.3.2 no service") as other, relaying(tmp_path / "relay", other.route()) as relay:
        assert relay.send() == (451, b"4.4.0 554 5.3.2 no service")
        assert relay.send()[0] == 451  # the route waits
        assert relay.queue() == []


@pytest.mark.parametrize(("stage", "result"), [("MAIL", "deferred"), (".", "unknown")])
def test_the_other_side_stalls(tmp_path: Path, stage: str, result: str) -> None:
    with OtherSide(**{stage: "stall"}) as other, relaying(tmp_path / "r", other.route(), patience="1s") as relay:
        code, text = relay.send()
        assert (code, text[:5]) == (451, b"4.4.2")
        assert relay.queue() == []
        attempt = until(lambda: [one for one in relay.mail()["tries"] if one["ended"]])[0]
        assert (attempt["result"], attempt["reply"]) == (result, "no answer in the time that the device waits")
        assert any(event.get("raw", "").startswith("MAIL FROM") for event in attempt["dialogue"])


def test_two_routes_of_which_one_cannot(tmp_path: Path) -> None:
    """What one of them has is not sent again, and what the other has not is queued: the device is told 250 for both."""
    with (
        OtherSide() as good,
        OtherSide(RCPT="451 4.2.1 not now") as bad,
        relaying(tmp_path / "relay", good.route("good", HERE), bad.route("bad")) as relay,
    ):
        code, text = relay.send(*TWO)
        assert (code, b"queued by relayprobe" in text) == (250, True)
        assert [mail["recipients"] for mail in relay.queue()] == [["bert@contoso.test"]]
        bad.answers.clear()
        assert bad.arrived()[0][1] == ["bert@contoso.test"]
        relay.until_mail("delivered")
        assert [mail[1] for mail in good.mails] == [["anna@contoso.test"]]


def test_two_routes_of_which_one_stalls(tmp_path: Path) -> None:
    with OtherSide() as good, OtherSide(RCPT="stall") as bad:
        routes = (good.route("good", HERE), bad.route("bad"))
        with relaying(tmp_path / "relay", *routes, patience="1s") as relay:
            assert relay.send(*TWO)[0] == 250
            bad.answers.clear()
            assert bad.arrived()[0][1] == ["bert@contoso.test"]
            assert [mail[1] for mail in good.mails] == [["anna@contoso.test"]]


def test_two_routes_of_which_one_refuses(tmp_path: Path) -> None:
    """Of what is refused for good somebody is told, for the device is not."""
    with OtherSide() as good, OtherSide(RCPT="550 5.1.1 nobody") as bad:
        routes = (good.route("good", HERE), bad.route("bad"))
        notify = '[relay.notify]\nmail = ["admin@contoso.test"]\nroute = "good"\n'
        with relaying(tmp_path / "relay", notify, *routes) as relay:
            assert relay.send(*TWO)[0] == 250
            [failed] = relay.queue("failed")
            assert failed["recipients"] == ["bert@contoso.test"]
            told = good.arrived(3)[1:]
            assert {tuple(mail[1]) for mail in told} == {("admin@contoso.test",)}
            assert any(b"5.1.1" in mail[2] for mail in told)


def test_two_routes_that_both_say_no(tmp_path: Path) -> None:
    """Where one may take it later, the device is to come again."""
    with (
        OtherSide(RCPT="550 5.1.1 nobody") as one,
        OtherSide(RCPT="451 4.2.1 not now") as two,
        relaying(tmp_path / "relay", one.route("one", HERE), two.route("two")) as relay,
    ):
        assert relay.send(*TWO) == (451, b"4.2.1 not now")
        assert relay.queue() == []


def test_some_recipients_of_one_route(tmp_path: Path) -> None:
    """The one who may have it later gets it from the queue, and the other gets it once."""
    with (
        OtherSide(**{"RCPT bert@contoso.test": "451 4.2.1 not now"}) as other,
        relaying(tmp_path / "relay", other.route()) as relay,
    ):
        assert relay.send(*TWO)[0] == 250
        other.answers.clear()
        assert [mail[1] for mail in other.arrived(2)] == [["anna@contoso.test"], ["bert@contoso.test"]]
        relay.until_mail("delivered")


def test_nobody_knows_whether_it_arrived(tmp_path: Path) -> None:
    """It stays in the queue, so the device is not told to send it again."""
    with OtherSide(**{".": "close"}) as other, relaying(tmp_path / "relay", other.route()) as relay:
        code, text = relay.send()
        assert (code, b"queued by relayprobe" in text) == (250, True)
        other.answers.clear()
        relay.until_mail("delivered")
        assert len(other.mails) == 1


def test_a_kill_while_the_device_waits(tmp_path: Path) -> None:
    """It has had no answer and sends again, so nothing is sent from the queue."""
    with OtherSide(**{"MAIL": "stall"}) as other:
        relay = relaying(tmp_path / "relay", other.route())
        device = relay.device()
        device.mail("scanner@contoso.test")
        device.rcpt("anna@contoso.test")
        device.putcmd("data")
        device.getreply()
        device.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert other.stalled.wait(20)
        relay.kill()
        device.close()
        other.answers.clear()
        relay.start()
        with relay:
            assert relay.mail()["state"] == "dropped"
            assert relay.send()[0] == 250
            assert len(other.mails) == 1
