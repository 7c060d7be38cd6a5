"""The commands. Each verb has a file of its own, read when it is called: `show` need not wait for a TLS library."""

from __future__ import annotations

import importlib
import sys

import click

from relayprobe import __version__

VERBS = {
    "listen": "Capture and diagnose; never forwards.",
    "relay": "The same, and forward to Office 365.",
    "sessions": "List captured sessions, newest first.",
    "show": "One session: dialogue, findings, advice.",
    "diagnose": "The rules again, over stored sessions, texts, pcaps.",
    "export": "A session to hand over: text, JSON, mail, HTML, packets, bundle.",
    "rules": "What is looked for; `rules ID` explains one.",
    "explain": "What a reply of Office 365 means.",
    "check": "What this site can reach, and what its DNS says.",
    "queue": "Mail accepted and not yet delivered.",
    "login": "Sign in for OAuth.",
    "health": "Whether the relay is at work.",
    "reload": "Have it read its configuration anew.",
    "config": "Check the configuration, or show it.",
    "password": "Hash a password for devices' logins.",
    "demo": "A tour without a printer.",
}


class Verbs(click.Group):
    """Finds a verb in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which they are used."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"relayprobe.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without reading their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="relayprobe")
def main() -> None:
    """See why a device cannot send mail through Microsoft 365, and what to type into it.

    Exit codes: 0 done, 1 findings or a failed check, 2 wrong usage.
    """


if __name__ == "__main__":
    sys.exit(main())
