"""Who may connect: places in all, places for an address, and a reserve of file descriptors for those who are inside."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from server.descriptors import Descriptors
from server.http.proxies import Proxies, read_address


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is closed before its first request."""

    status: int
    code: str
    message: str


class Doors:
    """Counts the open connections."""

    def __init__(self, places: int, per_address: int, proxies: Proxies, descriptors: Descriptors) -> None:
        self._places = places
        self._per_address = per_address
        self._proxies = proxies
        self._descriptors = descriptors
        self._inside: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, descriptor: int) -> Refusal | None:
        """Let a connection in (``None``), or say why not. Who was let in must :meth:`leave`.

        A proxy that is trusted has all places: behind it is everybody.
        """
        who = neighbourhood(address)
        if self._descriptors.short(descriptor):
            return Refusal(503, "server_busy", "the server has no more file descriptors for connections")
        if self._count >= self._places:
            return Refusal(503, "server_busy", f"all {self._places} connections are taken")
        if self._inside[who] >= self._per_address and not self._proxies.trusts(address):
            return Refusal(429, "too_many_connections", f"{self._per_address} connections from {who} are open")
        self._inside[who] += 1
        self._count += 1
        return None

    def leave(self, address: str) -> None:
        """A connection has ended."""
        who = neighbourhood(address)
        self._count -= 1
        self._inside[who] -= 1
        if self._inside[who] <= 0:
            del self._inside[who]


def neighbourhood(address: str) -> str:
    """Whose connections are counted together: an IPv4 address, or the /64 of an IPv6 address, which one house has."""
    ip = read_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip or address)
