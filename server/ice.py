"""ICE as browsers and machines really need it; the one file that reaches into aioice.

aioice never gathers 127.0.0.1 and has no setting for local addresses; offers whose only candidates are mDNS names
(``….local``) would be waited for and never connect, while the same offers without these lines connect through
peer-reflexive candidates (RFC 8445 §7.3.1.3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer

from server.settings import IceServer

_gather_all = aioice.ice.get_host_addresses

_USELESS = re.compile(r"^a=(?:candidate:\S+ \d+ \S+ \d+ \S+\.local \d+ .*|end-of-candidates)\r?\n", re.MULTILINE)
_HOST_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ \S+ \d+ )(\S+)( \d+ typ host.*)$", re.MULTILINE)


def gather_from(addresses: Sequence[str] | None) -> None:
    """Offer exactly these local addresses from now on, for the whole process; ``None`` for every interface's."""
    if addresses is None:
        aioice.ice.get_host_addresses = _gather_all
        return

    def chosen(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [address for address in addresses if (use_ipv6 if ":" in address else use_ipv4)]

    aioice.ice.get_host_addresses = chosen


def configuration(servers: Sequence[IceServer]) -> RTCConfiguration:
    """For a peer connection. The list is always given: without one aiortc asks a public STUN server and waits."""
    ice_servers = [
        RTCIceServer(
            urls=server.urls,
            username=server.username,
            credential=server.credential.get_secret_value() if server.credential is not None else None,
        )
        for server in servers
    ]
    return RTCConfiguration(iceServers=ice_servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)


def normalise_offer(sdp: str) -> str:
    """Drop mDNS candidates and ``end-of-candidates``: the peer's address is learnt from its own checks."""
    return _USELESS.sub("", sdp)


def announce(sdp: str, external: str | None) -> str:
    """Replace the addresses of host candidates by ``external`` (1:1 NAT); unchanged when it is ``None``."""
    if external is None:
        return sdp
    return _HOST_CANDIDATE.sub(lambda match: f"{match[1]}{external}{match[3]}", sdp)
