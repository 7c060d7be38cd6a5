"""What is wrong with a dialogue: one small pure function per misbehaviour, one file per theme.

Importing this fills `RULES`. The themes come in the order of a dialogue, and so do the rules in each of them.
"""

# isort: off
from relayprobe.rules import (
    connection,
    tls,
    greeting,
    auth,
    credentials,
    envelope,
    recipients,
    header,
    text,
    behaviour,
    traffic,
)
from relayprobe.rules.rule import RULES, Evidence, Rule, Severity
# isort: on

__all__ = [
    "RULES",
    "Evidence",
    "Rule",
    "Severity",
    "auth",
    "behaviour",
    "connection",
    "credentials",
    "envelope",
    "greeting",
    "header",
    "recipients",
    "text",
    "tls",
    "traffic",
]
