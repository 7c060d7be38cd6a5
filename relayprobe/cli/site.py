"""The site, for commands that read what was captured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relayprobe.wire.session import Site


def site_given(config: Path | None) -> Site | None:
    """The site by a configuration that is named; None where none is: then what was kept with a session holds."""
    if config is None:
        return None
    from relayprobe.cli.options import settings
    from relayprobe.settings.site import site_of

    return site_of(settings(config, {}))
