"""`python -m relayprobe`."""

from relayprobe.cli import main

main(prog_name="relayprobe")
