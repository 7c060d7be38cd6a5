"""What Office 365 takes in a TLS handshake: from TLS 1.2 on, and these cipher suites."""

from __future__ import annotations

from relayprobe.office365 import sources

OLDEST_VERSION = 0x0303
"""TLS 1.2. Older ones have been refused at the MX endpoint since January 2021 and, by and by, at smtp.office365.com
since February 2022."""

SUITES = {
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC028: "ECDHE-RSA-AES256-SHA384",
    0xC027: "ECDHE-RSA-AES128-SHA256",
    0xC014: "ECDHE-RSA-AES256-SHA",
    0xC013: "ECDHE-RSA-AES128-SHA",
    0x009D: "AES256-GCM-SHA384",
    0x009C: "AES128-GCM-SHA256",
}
"""Cipher suites by number, with OpenSSL's names, the strongest first."""

SUITES_TLS13 = {
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
}
"""The suites of TLS 1.3. Whether smtp.office365.com does it is not known; nobody offers these alone."""

TAKEN = frozenset(SUITES) | frozenset(SUITES_TLS13)

SOURCES = (sources.ENCRYPTION, sources.LEGACY_TLS, sources.TLS_AT_MX)
DOUBT = "the list of cipher suites is of about 2023; those with CBC or without ECDHE may have been dropped since"
