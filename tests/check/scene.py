"""The run that the README shows: `relayprobe check` against servers on loopback that stand for a site whose port 25 is
closed and whose SPF record does not have its address. What differs from run to run is made the same in each."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from relayprobe.report.checks import lines
from tests.check.name_server import Zone, name_server
from tests.check.places import MX, SUBMISSION, ZONE, dropping, in_between, office_365, own_tls
from tests.clients.listening import COMMAND, SETTINGS, environment

ADDRESS = "52.1.2.3"
SITE: Zone = {
    **ZONE,
    "_dmarc.contoso.com": [("TXT", "v=DMARC1; p=none")],
    "selector1._domainkey.contoso.com": [("CNAME", "selector1-contoso-com._domainkey.contoso.onmicrosoft.com")],
    "selector1-contoso-com._domainkey.contoso.onmicrosoft.com": [("TXT", "v=DKIM1; k=rsa; p=MIGf")],
    "2.0.0.127.zen.spamhaus.org": [("A", "127.0.0.2")],
    "3.2.1.52.in-addr.arpa": [("PTR", "static-52-1-2-3.provider.example")],
    "static-52-1-2-3.provider.example": [("A", ADDRESS)],
}

SAME = (
    (r"ready at [^\[]+\[\w+\]", "ready at Thu, 26 Nov 2026 09:00:00 +0000 [08DEC1D0BEAFCF7F]"),
    (r"\d+\.\d\d s\)", "0.03 s)"),
    (r"\(until [\d-]+\)", "(until 2028-11-25)"),
    (r"OpenSSL \d\.\d+\.\d+[^()]*\)", "OpenSSL 3.0.22)"),
    (r'"seconds": \d+\.\d+, "network"', '"seconds": 4.2, "network"'),
)


def shown() -> str:
    """The command and what it says, as the README has it."""
    record = asyncio.run(_record())
    record["checks"] = [one for one in record["checks"] if one["id"] != "local:firewall"]  # each machine has its own
    text = json.dumps(record)
    for found, same in SAME:
        text = re.sub(found, same, text)
    return "\n".join(
        ["```text", "$ relayprobe check contoso.com", *(line for _, line in lines(json.loads(text))), "```"]
    )


async def _record() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, dropping() as closed:
        folder = Path(name)
        with office_365(folder / "office", SETTINGS) as office, name_server(SITE) as server:
            seen = f"[{ADDRESS}]".encode()
            context = own_tls(folder / "seen", SUBMISSION)
            authorities = folder / "authorities.pem"
            authorities.write_text(office.ca.read_text() + (folder / "seen" / "ca.pem").read_text())
            async with in_between(
                office.submission.port, lambda line: line.replace(b"[127.0.0.1]", seen), context
            ) as number:
                ran = await asyncio.to_thread(
                    subprocess.run,
                    [
                        *(
                            *COMMAND,
                            "check",
                            "contoso.com",
                            "--json",
                            "--data",
                            str(folder / "data"),
                            "--patience",
                            "1",
                        ),
                        *("--resolver", f"127.0.0.1:{server.address[1]}", "--ca-file", str(authorities)),
                        *("--submission-host", f"{SUBMISSION}:{number}", "--mx-host", f"{MX}:{closed}"),
                    ],
                    capture_output=True,
                    env=environment(),
                    timeout=60,
                    check=False,
                )
    assert ran.stderr == b""
    text = ran.stdout.decode()
    for port, usual in ((number, 587), (closed, 25)):
        text = text.replace(f":{port}", f":{usual}").replace(f"port {port} ", f"port {usual} ")
    record: dict[str, Any] = json.loads(text)
    return record
