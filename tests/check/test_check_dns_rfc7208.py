"""The test suite of RFC 7208, release 2014.04, as pyspf's source package has it, with its zones served by a real name server.

Its licence stands beside it. Where a zone says TIMEOUT, the server answers SERVFAIL: both are a temporary error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from relayprobe.check.resolver import Resolver
from relayprobe.check.spf import evaluate
from tests.check.name_server import name_server

SUITE = [one for one in yaml.safe_load_all((Path(__file__).parent / "rfc7208-tests.yml").read_bytes()) if one]

CASES = [(one["zonedata"], name, case) for one in SUITE for name, case in one["tests"].items()]


def zone_of(data: dict[str, list[Any]]) -> dict[str, Any]:
    """The suite's records; SPF's own type (99) stands for TXT too, unless TXT is said (see the suite's head)."""
    zone: dict[str, Any] = {}
    for name, records in data.items():
        if "TIMEOUT" in records:
            timed_out = [one for one in records if one != "TIMEOUT"]
            if not timed_out:
                zone[name] = "servfail"
                continue
            records = timed_out  # noqa: PLW2901
        pairs = [pair for one in records for pair in one.items()]
        if not any(kind == "TXT" for kind, _ in pairs):
            pairs += [("TXT", value) for kind, value in pairs if kind == "SPF"]
        zone[name] = [(kind, value) for kind, value in pairs if kind != "SPF" and value not in ("NONE", "TIMEOUT")]
        if any(value == "TIMEOUT" for _, value in pairs) and not zone[name]:
            zone[name] = "servfail"
    return zone


@pytest.mark.parametrize(("data", "name", "case"), CASES, ids=[name for _, name, _ in CASES])
async def test_rfc7208(data: dict[str, list[Any]], name: str, case: dict[str, Any]) -> None:
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    with name_server(zone_of(data)) as server:
        resolver = Resolver([server.address])
        found = await evaluate(resolver, case["host"], case["mailfrom"] or "", case["helo"])
        await resolver.close()
    assert found.result in allowed, found.why
