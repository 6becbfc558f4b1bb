"""Settings → what HTTPS is served with."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from server.http.origins import parse_origin
from server.http.tls.certificates import SelfSigned, expiry, self_signed
from server.settings import Settings, SettingsError

_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """``None`` when plain HTTP is served. Raises :class:`SettingsError` for a certificate that cannot be used."""
    if not settings.serves_tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    take_up(context, settings)
    return context


def take_up(context: ssl.SSLContext, settings: Settings) -> None:
    """Serve new connections with the certificate as it is now: it may have been renewed. Raises as above."""
    if settings.tls_self_signed:
        certificate = key = made_here(settings).path
    else:
        assert settings.tls_cert is not None and settings.tls_key is not None  # settings have seen to it
        certificate, key = settings.tls_cert, settings.tls_key
    _load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), certificate, key)  # a half would stay in the real one
    _load(context, certificate, key)


def made_here(settings: Settings) -> SelfSigned:
    """The certificate of ``tls_self_signed``, made if need be. Raises :class:`SettingsError`."""
    folder = tls_folder(settings)
    try:
        return self_signed(folder, certificate_names(settings))
    except OSError as error:
        raise SettingsError(f"tls_self_signed: nothing can be kept in {folder}: {error.strerror or error}") from error


def tls_folder(settings: Settings) -> Path:
    """Where that certificate is kept."""
    return settings.cache.expanduser() / "tls"


def certificate_names(settings: Settings) -> list[str]:
    """Under which the server may be reached, as far as it can know: the machine's name and address in its network, the
    address it listens on, and those in the settings."""
    origins = [origin for text in settings.public_origins if (origin := parse_origin(text)) is not None]
    names = [socket.gethostname().lower(), settings.host, settings.external_address or ""]
    names += [origin.host.strip("[]") for origin in origins]
    if not settings.on_loopback:
        from server.transports.webrtc.ice import own_addresses  # a second of imports, for those who need them

        names += own_addresses()
    return [name for name in dict.fromkeys(names) if _is_name(name)]


def days_left(path: Path) -> float:
    """Until the certificate expires. Raises ``OSError``, and ``ValueError`` when there is none in the file."""
    return (expiry(path) - datetime.now(UTC)).total_seconds() / 86_400


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for name, path in (("tls_cert", certificate), ("tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{name}: {path}: {error.strerror or error}") from error
    try:
        context.load_cert_chain(certificate, key, password=_refuse)
    except ssl.SSLError as error:
        what = "is not the key of that certificate" if "MISMATCH" in (error.reason or "") else "cannot be read"
        raise SettingsError(f"tls_cert, tls_key: {certificate}, {key}: the key {what}; both must be PEM") from error


def _refuse() -> str:
    """OpenSSL would ask whoever sits at the terminal, and a server has nobody there."""
    raise SettingsError("tls_key: is encrypted; give one that is not, readable by the server alone")


def _is_name(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return _DNS_NAME.fullmatch(name) is not None
