"""What reverse proxies tell of the requests they pass on: the client's address, the scheme and the host asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from multidict import CIMultiDictProxy

from server.http.origins import Asked, Authority, is_scheme, parse_authority

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NEIGHBOUR = "another node"
"""In place of the address that a request came from, once it is known that a node of ours has passed it on."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Reverse proxies whose word on the client, the scheme and the host is taken."""

    def __init__(self, trusted: Iterable[Network], *, front: bool = False) -> None:
        self._networks = tuple(trusted)
        self._front = front
        """Whether requests come through a Unix socket from a front of ours: such a peer has no address."""

    def trusts(self, address: str | None) -> bool:
        """Whether a connection from this address is a trusted proxy's."""
        if (self._front and not address) or address == NEIGHBOUR:
            return True
        ip = read_address(address or "")
        return ip is not None and any(ip in network for network in self._networks)

    def asked(self, headers: CIMultiDictProxy[str], host: str, peer: str | None) -> Asked:
        """The request as the browser sent it: ``X-Forwarded-For``, ``-Proto`` and ``-Host``, else ``Forwarded``
        (RFC 7239). Of several values the last is the one that our proxy added. ``host`` is the ``Host`` header."""
        origin, client = headers.get("Origin"), str(read_address(peer or "") or peer or "")
        own = parse_authority(host) or Authority("")
        if not self.trusts(peer):
            return Asked(own, origin, client=client)
        told = _x_forwarded(headers) or _forwarded(_joined(headers, "Forwarded"))
        scheme = told.get("proto", "").lower()
        return Asked(
            parse_authority(told.get("host", "")) or own,
            origin,
            scheme if is_scheme(scheme) else None,
            self._client(told.get("for", ""), client),
        )

    def _client(self, chain: str, peer: str) -> str:
        """The last address that no trusted proxy has."""
        for hop in reversed(chain.split(",")):
            ip = read_address(hop.strip().strip('"'))
            if ip is None:
                return peer
            peer = str(ip)
            if not self.trusts(peer):
                break
        return peer


def _x_forwarded(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    names = {"for": "X-Forwarded-For", "proto": "X-Forwarded-Proto", "host": "X-Forwarded-Host"}
    told = {key: _joined(headers, name) for key, name in names.items() if name in headers}
    return {key: value if key == "for" else value.rpartition(",")[2].strip() for key, value in told.items()}


def _forwarded(value: str) -> dict[str, str]:
    elements = [dict(_pairs(element)) for element in value.split(",")]
    chain = [element["for"] for element in elements if "for" in element]
    return {**elements[-1], "for": ",".join(chain)}


def _pairs(element: str) -> Iterable[tuple[str, str]]:
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        yield name.strip().lower(), value.strip().strip('"')


def _joined(headers: CIMultiDictProxy[str], name: str) -> str:
    return ",".join(headers.getall(name, ()))


def read_address(text: str) -> Address | None:
    """An IP address, perhaps with a port or in brackets; an IPv4 address in IPv6 clothes is taken out of them."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
