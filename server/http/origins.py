"""Which names of this server and which pages are its own: ``Host`` and ``Origin``, as sent or as a proxy reports them.

Without a key the only protection is that nobody else can reach the port, and a web page can: its browser runs on this
machine. A page whose name was pointed to 127.0.0.1 (DNS rebinding) sends that name as ``Host``, so only loopback names
and configured ones pass; ``Origin`` (RFC 6454) is compared with those. With a key that page lacks the key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_AUTHORITY = re.compile(r"(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Authority:
    """``host[:port]``, lower case, without a final dot."""

    host: str
    port: int | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant (RFC 6761 for names)."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Origin:
    """A web page's origin; the port is always given."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the page comes from this machine."""
        return Authority(self.host).is_loopback

    def names(self, authority: Authority) -> bool:
        """Whether a request from this page to itself has this ``Host``."""
        return self.host == authority.host and self.port == (authority.port or _DEFAULT_PORTS[self.scheme])


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about itself."""

    host: Authority
    origin: str | None = None
    """The ``Origin`` header; browsers send it with everything that can do harm."""
    scheme: str | None = None
    """``http`` or ``https`` where a trusted proxy tells; else unknown, as somebody may end TLS in front of us."""
    client: str = ""
    """The client's address, for the log."""


def parse_authority(text: str) -> Authority | None:
    """Read ``host[:port]``; ``None`` when it is none."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    host = found["host"].removesuffix(".")
    return Authority(host, port) if host and (port is None or port <= 65535) else None


def parse_origin(text: str) -> Origin | None:
    """Read ``http(s)://host[:port]``; ``None`` for anything else, ``null`` and other schemes included."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    authority = parse_authority(rest)
    if scheme not in _DEFAULT_PORTS or authority is None:
        return None
    return Origin(scheme, authority.host, authority.port or _DEFAULT_PORTS[scheme])


def is_scheme(text: str) -> bool:
    """Whether this is the scheme of a web page."""
    return text in _DEFAULT_PORTS


class OwnNames:
    """The decision, from the settings."""

    def __init__(self, public: Iterable[str], allowed: Collection[str], *, keyed: bool) -> None:
        self._public = {origin for text in public if (origin := parse_origin(text)) is not None}
        self._allowed = {parse_origin(text) or text for text in allowed}
        self._everybody = "*" in allowed
        self._keyed = keyed

    def knows(self, host: Authority) -> bool:
        """Whether a request for this ``Host`` may be served."""
        return self._keyed or host.is_loopback or any(origin.host == host.host for origin in self._public)

    def grant(self, origin: str | None) -> str | None:
        """What to tell the browser of a page of another site that may use the server (CORS); ``None`` for others."""
        if origin is None:
            return None
        if self._everybody:
            return "*"
        return origin if (parse_origin(origin) or origin) in self._allowed else None

    def welcomes(self, asked: Asked) -> bool:
        """Whether the page that sent this, if any did, is the server's own or may use it."""
        return asked.origin is None or self.grant(asked.origin) is not None or self._is_own(asked.origin, asked)

    def _is_own(self, text: str, asked: Asked) -> bool:
        origin = parse_origin(text)
        if origin is None:
            return False
        if origin in self._public:
            return True
        if asked.scheme is not None and asked.scheme != origin.scheme:
            return False
        if origin.names(asked.host):
            return self.knows(asked.host)
        same_port = origin.port == (asked.host.port or _DEFAULT_PORTS[origin.scheme])
        return origin.is_loopback and asked.host.is_loopback and same_port
