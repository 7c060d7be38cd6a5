"""TLS towards the device: a context that serves everything this host's OpenSSL can, and a certificate of our own.

A device whose TLS is old has to be talked to before it can be judged, so TLS 1.0 and weak suites are taken here, and
here only. The certificate is RSA, for old devices know nothing else; it is issued by a small authority of our own whose
`ca.pem` can be imported into a device that checks.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import stat
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relayprobe.office365.modes import Mode
from relayprobe.office365.tls import SUITES

OLDEST = ssl.TLSVersion.MINIMUM_SUPPORTED
CIPHERS = "ALL:COMPLEMENTOFALL:!aNULL:!eNULL:@SECLEVEL=0"

# RFC 7919 A.1, ffdhe2048. Without parameters OpenSSL serves no DHE suite, and some devices know no other.
FFDHE2048 = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class CertificateError(Exception):
    """A certificate or key cannot be used; the text says why and names the way out."""


def server_context(
    certificate: Path,
    key: Path,
    *,
    ciphers: str = CIPHERS,
    oldest: ssl.TLSVersion = OLDEST,
    newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """A context for the device's side. Raises CertificateError."""
    for path, what in ((certificate, "certificate"), (key, "key")):
        if not os.access(path, os.R_OK):
            raise CertificateError(f"the {what} {path} cannot be read: check that it exists and its permissions")
    if stat.S_IMODE(key.stat().st_mode) & 0o007:
        raise CertificateError(f"the key {key} can be read by others: run `chmod 600 {key}`")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = oldest, newest
    context.set_ciphers(ciphers)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # nobody is there to type one
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise CertificateError(
            f"the certificate {certificate} and the key {key} cannot be used ({reason}): "
            "both must be PEM, and belong together"
        ) from None
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as parameters:  # OpenSSL reads them from a file only
        parameters.write(FFDHE2048)
        parameters.flush()
        context.load_dh_params(parameters.name)
    return context


def imitated_context(certificate: Path, key: Path, mode: Mode) -> ssl.SSLContext:
    """A context with Office 365's cipher suites. The MX endpoint cuts a handshake older than TLS 1.2; client submission
    lets it through, and says why it hangs up (421 4.7.66). Raises CertificateError."""
    oldest = OLDEST if mode == "submission" else ssl.TLSVersion.TLSv1_2
    return server_context(certificate, key, ciphers=":".join([*SUITES.values(), "@SECLEVEL=0"]), oldest=oldest)


def own_certificate(folder: Path, name: str, now: datetime.datetime | None = None) -> tuple[Path, Path]:
    """The certificate and key in the data folder, made if they are missing, bear another name or end soon.

    `ca.pem`, `ca-key.pem`: the authority, for ten years. `cert.pem` (with the authority behind it), `key.pem`: for two.
    Raises CertificateError where one that is there cannot be read.
    """
    try:
        return _own_certificate(folder, name, now or datetime.datetime.now(datetime.UTC))
    except ValueError:
        raise CertificateError(
            f"the certificate that relayprobe made in {folder} is damaged: remove ca.pem, ca-key.pem, cert.pem and "
            "key.pem there, and it makes them anew"
        ) from None


def _own_certificate(folder: Path, name: str, now: datetime.datetime) -> tuple[Path, Path]:
    paths = {part: folder / f"{part}.pem" for part in ("ca", "ca-key", "cert", "key")}
    if all(path.exists() for path in paths.values()):
        made = x509.load_pem_x509_certificate(paths["cert"].read_bytes())
        if made.not_valid_after_utc > now + datetime.timedelta(days=30) and made.subject == _named(name):
            return paths["cert"], paths["key"]
    if paths["ca"].exists() and paths["ca-key"].exists():
        authority = x509.load_pem_x509_certificate(paths["ca"].read_bytes())
        authority_key = serialization.load_pem_private_key(paths["ca-key"].read_bytes(), None)
        assert isinstance(authority_key, rsa.RSAPrivateKey)
    else:
        authority_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = authority_key.public_key()
        authority = _certificate("relayprobe local authority", public, None, authority_key, now, 3650)
        _write(paths["ca-key"], _pem(authority_key))
        _write(paths["ca"], authority.public_bytes(serialization.Encoding.PEM))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = _certificate(name, key.public_key(), authority, authority_key, now, 730)
    _write(paths["key"], _pem(key))
    _write(
        paths["cert"],
        certificate.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM),
    )
    return paths["cert"], paths["key"]


def _certificate(
    name: str,
    key: rsa.RSAPublicKey,
    issuer: x509.Certificate | None,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    subject = _named(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of devices are seldom right
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if issuer is not None:
        names = [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
