"""TLS towards the other side: verified, 1.2 or later, with a certificate of our own where a connector asks for one.

What fails is told in words that name the file, or what the server showed, and the way out.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from relayprobe.capture.tls import CertificateError
from relayprobe.relay.outcome import Trouble


def client_context(
    ca_file: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A context that trusts the system's authorities and those in `ca_file`, and shows `certificate` (with its chain)
    where the server asks for one. `key`: where it is not in the same file. Raises CertificateError."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        _readable(ca_file, "certificates")
        try:
            context.load_verify_locations(ca_file)
        except (ssl.SSLError, OSError):
            raise CertificateError(
                f"the certificates in {ca_file} cannot be used: `ca_file` must hold one or more certificates as PEM"
            ) from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the server's own certificate may be pinned
    if key is not None and certificate is None:
        raise CertificateError(f"the key {key} has no certificate: name that, too")
    if certificate is not None:
        _own(context, certificate, key or certificate)
    return context


def _own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _readable(certificate, "certificate")
    _readable(key, "key")
    if stat.S_IMODE(key.stat().st_mode) & 0o007:
        raise CertificateError(f"the key {key} can be read by others: run `chmod 600 {key}`")
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # nobody is there to type one
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise CertificateError(
            f"the certificate {certificate} and the key {key} cannot be used ({reason}): "
            "both must be PEM without a password, and belong together"
        ) from None


def _readable(path: Path, what: str) -> None:
    if not os.access(path, os.R_OK):
        raise CertificateError(f"the {what} {path} cannot be read: check that the file exists, and its permissions")


NOT_TRUSTED = "an authority that this machine does not know has issued it"
WRONG_NAME = "it is made out to another name"
UNVERIFIED = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it has issued itself, and is not one of those that are trusted",
    19: NOT_TRUSTED,
    20: NOT_TRUSTED,
    21: NOT_TRUSTED,
    23: "it has been revoked",
    62: WRONG_NAME,
    64: WRONG_NAME,
}
"""What OpenSSL's X509_V_ERR numbers say."""


def tls_trouble(error: Exception, name: str) -> Trouble:
    """Why the handshake with `name` came to nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = UNVERIFIED.get(error.verify_code, error.verify_message)
        return Trouble("certificate", f"the certificate of {name} cannot be trusted: {why}")
    if isinstance(error, ssl.SSLError):
        return Trouble("handshake", f"TLS with {name} came to nothing: {reason_word(error)}")
    if isinstance(error, TimeoutError):
        return Trouble("timeout", f"{name} did not finish the TLS handshake in time")
    return Trouble("handshake", f"{name} closed the connection in the TLS handshake")


def reason_word(error: Exception) -> str:
    """OpenSSL's reason as one word of ours, as events have it: `unsupported-protocol`."""
    reason = getattr(error, "reason", None) or "connection-lost"
    return str(reason).lower().replace("_", "-").replace(" ", "-")
