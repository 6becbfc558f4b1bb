"""Which of a peer's ICE candidates are tried: an offer must not make this machine send to wherever it likes. Pure.

Candidates of the peer are a convenience: it checks ours itself, and its address is then learnt from its own packets
(RFC 8445 §7.3.1.3). They are needed where packets from outside come in only after one has gone out: behind a NAT or a
relay.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Literal

from server.transports.webrtc.sdp import is_number

AddressRange = Literal["public", "private", "link-local", "loopback"]

DEFAULT_RANGES: tuple[AddressRange, ...] = ("public", "private")

MOST_TRIED = 8
"""Per transport. Each costs up to seven STUN requests of 100 bytes from each local address, over 30 s."""

_MOST_READ = 64
"""Per transport: to tell where an address lies takes 20 µs."""

_TYPES = ("host", "srflx", "relay")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")


def range_of(address: str) -> AddressRange | None:
    """Where an address lies; ``None`` for what nobody is to be reached at.

    That is multicast, broadcast, unspecified and reserved addresses, IPv4 written as IPv6, an IPv6 address that names
    an interface of its own machine, and everything that is no address: names are never looked up.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    if ip.is_loopback:
        return "loopback"
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved or (ip.version == 4 and ip in _THIS_NETWORK):
        return None
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped is not None or ip.scope_id is not None):
        return None
    if ip.is_link_local:
        return "link-local"
    return "public" if ip.is_global else "private"


def usable(values: Sequence[str], ranges: Collection[AddressRange]) -> list[str]:
    """The candidates (values of ``a=candidate``, RFC 8839 §5.1) to try, best first, rewritten without extensions.

    Only UDP of the first component: RTCP is multiplexed, and aioice has no TCP.
    """
    found: dict[tuple[str, int], tuple[int, str]] = {}
    for value in values[:_MOST_READ]:
        words = value.split()
        if len(words) < 8 or words[6] != "typ" or words[7] not in _TYPES:
            continue
        foundation, component, transport, priority, address, port = words[:6]
        if component != "1" or transport.lower() != "udp" or not _is_word(foundation):
            continue
        if not (is_number(priority, 2**31 - 1) and is_number(port, 65_535)) or port == "0":
            continue
        if range_of(address) in ranges:
            address = str(ipaddress.ip_address(address))
            text = f"{foundation} 1 udp {priority} {address} {port} typ {words[7]}"
            found.setdefault((address, int(port)), (int(priority), text))
    best = sorted(found.values(), key=lambda one: -one[0])
    return [text for _, text in best[:MOST_TRIED]]


def address_of(value: str) -> tuple[str, int]:
    """Address and port of a candidate that :func:`usable` has written."""
    words = value.split()
    return words[4], int(words[5])


def _is_word(text: str) -> bool:
    return len(text) <= 32 and text.isascii() and text.isprintable()
