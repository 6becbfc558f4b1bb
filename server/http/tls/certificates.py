"""A certificate made here, for whoever has none: kept in the cache folder until it is about to expire.

Nobody vouches for it: browsers warn once, and programs are told to trust the file ``self-signed.crt``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LASTS = timedelta(days=365)
"""Some systems trust none that lasts longer than 398 days."""
RENEWED = timedelta(days=30)
"""Before it expires."""
SKEW = timedelta(days=1)
"""By which clocks of clients may be late."""
ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names that every certificate has."""


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """Where it is kept."""

    path: Path
    """PEM with the private key and the certificate; readable by its owner alone."""
    public: Path
    """The certificate alone, for clients that are to trust it."""


def self_signed(folder: Path, names: Iterable[str], now: datetime | None = None) -> SelfSigned:
    """The certificate for these host names and addresses, from ``folder`` or made anew. Raises ``OSError``.

    It is made anew when it is about to expire, lacks a name or cannot be read.
    """
    now = now or datetime.now(UTC)
    wanted = tuple(dict.fromkeys(map(_normal, (*ALWAYS, *names))))
    kept = SelfSigned(folder / "self-signed.pem", folder / "self-signed.crt")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (certificate := _kept(kept.path)) is None or not _is_good(certificate, wanted, now):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _made(key, wanted, now)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(kept.path, secret + certificate.public_bytes(serialization.Encoding.PEM))
    os.chmod(kept.path, 0o600)
    _write(kept.public, certificate.public_bytes(serialization.Encoding.PEM))
    return kept


def expiry(path: Path) -> datetime:
    """When the first certificate of a PEM file expires. Raises ``OSError``, and ``ValueError`` when it has none."""
    return x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc


def fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate of a PEM file, as browsers show it."""
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _kept(path: Path) -> x509.Certificate | None:
    """The certificate of a file that has its private key as well."""
    with suppress(OSError, ValueError, TypeError):
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificates(data)[0]
        if certificate.public_key() == key.public_key():
            return certificate
    return None


def _is_good(certificate: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    has = {*known.get_values_for_type(x509.DNSName), *map(str, known.get_values_for_type(x509.IPAddress))}
    return has.issuperset(names) and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWED


def _made(key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "visavis, self-signed")])
    public = key.public_key()
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )


def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and never readable by others, not even while it is written."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
