"""What is said to people, in their language: English as it is written in the code, and Italian.

A sentence stands in the code in English, with the names of what is put into it: `said("the sender is {sender}",
sender=...)`. That is a text like any other, which also remembers how it was put together, so that a `Tongue` can say
it again in another language when somebody is there to read it. Nothing needs a language before that.

The catalogues are gettext's. What Office 365 and devices say stays as it is.
"""

from relayprobe.tongue.kept import found_again, kept
from relayprobe.tongue.said import Said, all_of, counted, inside, joined, said
from relayprobe.tongue.tongue import ENGLISH, LANGUAGES, Tongue, preferred, tongue_of

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Said",
    "Tongue",
    "all_of",
    "counted",
    "found_again",
    "inside",
    "joined",
    "kept",
    "preferred",
    "said",
    "tongue_of",
]
