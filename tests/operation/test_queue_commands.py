"""`relayprobe queue` and `relayprobe health`, beside a relay that runs and after one that ran."""

from __future__ import annotations

import json
import re
import urllib.request
from itertools import product
from pathlib import Path

from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.kept import run
from tests.clients.listening import until
from tests.operation.working import OtherSide, Relaying, free_port

HERE = '[relay]\ndevices = ["127.0.0.1"]\nretry = ["{retry}"]\n{more}\n'
VERBS = ("show", "export", "retry", "hold", "release", "drop")
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


class Queue:
    """The command in this process, on the folder of a relay."""

    def __init__(self, relay: Relaying) -> None:
        self.relay = relay

    def __call__(self, verb: str, *arguments: str) -> Result:
        return run("queue", verb, "--data", self.relay.data, "--config", self.relay.config, *arguments)

    def says(self, verb: str, *arguments: str) -> str:
        done = self(verb, *arguments)
        assert done.exit_code == 0, done.output
        return done.output

    def states(self) -> list[str]:
        return [json.loads(line)["state"] for line in self.says("list", "--json", "--all").splitlines()]


def test_hold_release_retry_and_drop(tmp_path: Path) -> None:
    with (
        OtherSide(MAIL="451 4.3.2 not now") as other,
        Relaying(tmp_path / "relay", HERE.format(retry="1h", more="") + other.route()) as relay,
    ):
        queue = Queue(relay)
        assert queue.says("list") == "Nothing is waiting.\n"
        ids = []
        for n in range(3):
            assert relay.send(f"anna{n}@contoso.test")[0] == 250
            ids.append(relay.until_mail("waiting")["id"])
            until(lambda: relay.mail()["attempts"] and relay.mail()["state"] == "waiting")
        held, dropped, tried = ids
        [first, *_] = [json.loads(line) for line in queue.says("list", "--json").splitlines()]
        assert {key: first[key] for key in "id session sender recipients state attempts last_reply route".split()} == {
            "id": held,
            "session": held.partition("-")[0],
            "sender": "scanner@contoso.test",
            "recipients": ["anna0@contoso.test"],
            "state": "waiting",
            "attempts": 1,
            "last_reply": "451 4.3.2 not now",
            "route": "out",
        }
        assert isinstance(first["next"], float)
        assert queue.says("hold", held) == f"{held}: held\n"
        assert queue("hold", held).exit_code == 1
        assert queue("release", tried).exit_code == 1
        assert queue.says("drop", "--yes", dropped) == f"{dropped}: dropped\n"
        assert queue("drop", dropped).exit_code == 1  # nobody said yes
        assert queue.states() == ["held", "dropped", "waiting"]
        other.answers.clear()
        assert queue.says("retry", tried[:8]) == f"{tried}: tried now\n"
        assert other.arrived()[0][1] == ["anna2@contoso.test"]
        assert json.loads(queue.says("release", "--json", held)) == {"id": held, "changed": True}
        assert other.arrived(2)[1][1] == ["anna0@contoso.test"]
        until(lambda: queue.states() == ["delivered", "dropped", "delivered"])
        assert queue.says("list", "--all", "ANNA1@").count("\n") == 3
        assert queue.says("retry", dropped)
        other.arrived(3)
    assert Queue(relay).says("list") == "Nothing is waiting.\n"


def test_ids_that_are_none(tmp_path: Path) -> None:
    with OtherSide() as other, Relaying(tmp_path / "r", HERE.format(retry="1s", more="") + other.route()) as relay:
        assert relay.send()[0] == 250
        for verb, id in product(VERBS, ("", "nonsense", "%", "\x1b[31m", "last ")):
            done = Queue(relay)(verb, *(["--yes"] if verb == "drop" else []), id)
            assert (done.exit_code, "there is no mail" in done.output) == (2, True)
            assert not RAW.search(done.output.replace("\n", ""))
        relay.until_mail("delivered")


def test_a_folder_in_which_nothing_is(tmp_path: Path) -> None:
    for arguments in (["list"], ["show", "last"], ["hold", "--all"], ["retry", "x"], ["retry", "--route", "x"]):
        done = run("queue", arguments[0], "--data", tmp_path, *arguments[1:])
        assert done.exit_code == 2
        assert done.output.startswith("Error: ")
        assert str(tmp_path) in done.output
    assert run("health", "--data", tmp_path).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_which_mails_are_meant_has_to_be_said(tmp_path: Path) -> None:
    for arguments in ([], ["--all", "last"]):
        done = run("queue", "hold", "--data", tmp_path, *arguments)
        assert (done.exit_code, "name the mails" in done.output) == (2, True)


def test_retry_tries_a_route_that_waits(tmp_path: Path) -> None:
    """A mail that somebody wants tried now is tried now, whatever its route has met; so is a route by its name."""
    with (
        OtherSide(banner="421 4.3.2 not now") as other,
        Relaying(tmp_path / "relay", HERE.format(retry="1h", more="") + other.route()) as relay,
    ):
        queue = Queue(relay)
        assert relay.send()[0] == 250
        relay.logged("route cannot")
        until(lambda: relay.mail()["state"] == "waiting" and relay.mail()["why"])
        assert "Route out is waiting: 421 4.3.2 not now" in queue.says("list")
        done = queue("retry", "--route", "uot")
        assert (done.exit_code, "there is no route uot: known are out" in done.output) == (2, True)
        before = other.connections
        queue.says("retry", "last")
        until(lambda: other.connections > before)
        until(lambda: relay.mail()["state"] == "waiting")
        other.answers.clear()
        queue.says("retry", "--route", "out")
        other.arrived()


def test_nothing_acts_on_a_terminal(tmp_path: Path) -> None:
    """What a device or the other side put into addresses, logins and replies."""
    with (
        OtherSide(RCPT="451 4.1.1 \x1b[31mred\x07 \u202e\x9b2J") as other,
        Relaying(tmp_path / "relay", HERE.format(retry="1h", more="") + other.route(), json_log=False) as relay,
    ):
        with relay.device() as device:
            device.docmd("MAIL", "FROM:<a\x1b[2Jb@contoso.test>")
        assert (
            relay.send(sender='"a b"@contoso.test', text="Subject: \x1b[31m\r\nX\x1b: y\r\n\r\n\x1b]0;x\x07\r\n")[0]
            == 250
        )
        until(lambda: relay.mail()["attempts"] and relay.mail()["state"] == "waiting")
        queue = Queue(relay)
        shown = [queue.says("list"), queue.says("show", "last"), queue.says("show", "--changes", "last")]
        shown += [queue.says("list", "--json"), queue.says("show", "--json", "last")]
        shown += [run("show", "--data", relay.data, "last").output, run("health", "--data", relay.data).output]
    shown += [relay.err.read_text(), relay.out.read_text()]
    assert any("red" in text for text in shown)
    for text in shown:
        assert not RAW.search(text.replace("\n", "")), text


def test_what_was_changed_and_what_is_sent(tmp_path: Path) -> None:
    rewritten = 'mailbox = "office@contoso.test"'
    with (
        OtherSide() as other,
        Relaying(tmp_path / "relay", HERE.format(retry="1s", more="") + other.route(more=rewritten)) as relay,
    ):
        queue = Queue(relay)
        assert relay.send(text="From: <{sender}>\r\nSubject: x\r\n\r\n.. a dot\r\n")[0] == 250
        _, _, sent = other.arrived()[0]
        relay.until_mail("delivered")
        diff = queue.says("show", "--changes", "last").splitlines()
        assert "-From: <scanner@contoso.test>" in diff
        assert any(line.startswith("+From:") and "office@contoso.test" in line for line in diff)
        assert any(line.startswith("+Reply-To:") for line in diff)
        to = tmp_path / "mail.eml"
        queue.says("export", "last", "--output", str(to))
        assert to.read_bytes() == sent
        assert queue("export", "last", "--output", str(to)).exit_code == 2
        captured = queue("export", "last", "--as-captured").stdout_bytes
        assert captured == b"From: <scanner@contoso.test>\r\nSubject: x\r\n\r\n... a dot\r\n.\r\n"


def test_health_and_figures(tmp_path: Path) -> None:
    port = free_port()
    metrics = f'metrics = "127.0.0.1:{port}"'

    def figures() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        return {
            sample.name + "".join(f",{value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    with OtherSide() as other:
        with Relaying(tmp_path / "relay", HERE.format(retry="1h", more=metrics) + other.route()) as relay:

            def health(*arguments: str) -> tuple[int, dict[str, object]]:
                done = run("health", "--json", "--data", relay.data, *arguments)
                return done.exit_code, json.loads(done.output)

            assert relay.send()[0] == 250
            relay.until_mail("delivered")
            assert relay.send(source="127.0.0.2")[0] == 550
            assert health()[0] == 0
            other.answers["."] = "451 4.3.2 not now"
            assert relay.send()[0] == 250
            until(lambda: relay.mail()["attempts"] and relay.mail()["state"] == "waiting")
            code, said = health()
            assert (code, said["ok"], said["process"], said["queue"]) == (0, True, relay.process.pid, {"waiting": 1})
            code, said = health("--waiting", "0")
            assert (code, said["ok"], len(said["faults"])) == (1, False, 1)
            aside = relay.data / "relayprobe.db.damaged-20261126T000000Z"
            aside.touch()
            assert "set aside" in str(health()[1]["faults"])
            aside.unlink()
            config = relay.data.parent / "large.toml"
            config.write_text('[limits]\nmessage_size = "1000TiB"\n')
            assert "too little room" in str(health("--config", str(config))[1]["faults"])
            found = figures()
            assert found["relayprobe_mails_taken_total"] == 2
            assert found["relayprobe_devices_refused_total"] == 1
            assert found["relayprobe_attempts_total,delivered,out"] == 1
            assert found["relayprobe_attempts_total,deferred,out"] == 1
            assert found["relayprobe_queue_mails,waiting"] == 1
            assert found["relayprobe_route_state,out,ok"] == 1
            assert found["relayprobe_disk_free_bytes"] > 0
        code, said = health()
        assert (code, said["process"]) == (1, None)
        assert said["faults"] == [f"no relayprobe is at work on {relay.data}"]
