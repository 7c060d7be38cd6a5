"""The test suite of RFC 7208, release 2014.04, as pyspf's source package has it; a real name server has its zones.

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
    """The suite's records; SPF's own type (99) stands for TXT too, unless TXT is said (see the suite's head).

    A text without a single string cannot be in DNS: it is left out.
    """
    zone: dict[str, Any] = {}
    for name, records in data.items():
        pairs = [pair for one in records if one != "TIMEOUT" for pair in one.items()]
        if not any(kind == "TXT" for kind, _ in pairs):
            pairs += [("TXT", value) for kind, value in pairs if kind == "SPF"]
        served = [(kind, value) for kind, value in pairs if kind != "SPF" and value not in ("NONE", "TIMEOUT", [])]
        silent = "TIMEOUT" in records or any(value == "TIMEOUT" for _, value in pairs)
        zone[name] = "servfail" if silent and not served else served
    return zone


@pytest.mark.parametrize(("data", "name", "case"), CASES, ids=[name for _, name, _ in CASES])
async def test_rfc7208(data: dict[str, list[Any]], name: str, case: dict[str, Any]) -> None:
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    with name_server(zone_of(data)) as server:
        resolver = Resolver([server.address])
        found = await evaluate(resolver, case["host"], case["mailfrom"] or "", case["helo"])
        await resolver.close()
    assert found.result in allowed, found.why
