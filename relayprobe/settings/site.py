"""What the settings tell of the site, as the pure rooms take it."""

from __future__ import annotations

from relayprobe.settings import Settings
from relayprobe.wire.session import Site


def site_of(chosen: Settings) -> Site:
    """The site by the settings."""
    return Site(
        domains=tuple(domain.lower().rstrip(".") for domain in chosen.site.domains),
        accounts=tuple(chosen.passwords),
        public_ip=chosen.site.public_ip,
        connector=chosen.site.connector,
        mx=chosen.site.mx,
        static_ip=chosen.site.static_ip,
        basic_auth=chosen.site.basic_auth,
        oauth=chosen.site.oauth,
        hve=chosen.site.hve,
        acs=chosen.site.acs,
        reject_direct_send=chosen.site.reject_direct_send,
        blocked_ports=chosen.site.blocked_ports,
    )
