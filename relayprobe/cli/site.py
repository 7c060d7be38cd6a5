"""What the settings tell of the site, as the pure rooms take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relayprobe.wire.session import Site

if TYPE_CHECKING:
    from pathlib import Path

    from relayprobe.settings import Settings


def site_of(chosen: Settings) -> Site:
    """The site by the settings."""
    return Site(
        domains=tuple(domain.lower().rstrip(".") for domain in chosen.site.domains),
        accounts=tuple(chosen.passwords),
        public_ip=chosen.site.public_ip,
        connector=chosen.site.connector,
        mx=chosen.site.mx,
    )


def site_given(config: Path | None) -> Site | None:
    """The site by a configuration that is named; None where none is: then what was kept with a session holds."""
    if config is None:
        return None
    from relayprobe.cli.options import settings

    return site_of(settings(config, {}))
