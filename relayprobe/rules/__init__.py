"""What is wrong with a dialogue: one small pure function per misbehaviour, one file per theme.

Importing this fills `RULES`. The themes come in the order of a dialogue, and so do the rules in each of them.
"""

# isort: off
from relayprobe.rules import tls, greeting, auth, envelope, text, behaviour
from relayprobe.rules.rule import RULES, Evidence, Rule, Severity
# isort: on

__all__ = ["RULES", "Evidence", "Rule", "Severity", "auth", "behaviour", "envelope", "greeting", "text", "tls"]
