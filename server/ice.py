"""ICE as browsers and machines really need it; the one file that reaches into aioice.

aioice never gathers 127.0.0.1 and has no setting for local addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer

from server.settings import IceServer

_gather_all = aioice.ice.get_host_addresses


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
