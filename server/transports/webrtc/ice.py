"""ICE as browsers and machines really need it; the one file that reaches into aioice.

aioice never gathers 127.0.0.1 and has no setting for local addresses.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence

import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCIceTransportPolicy

from media.aiortc_internals.ports import bind_within
from media.aiortc_internals.relays import REST_SECONDS, watch_relays
from media.clock import MonotonicClock
from server.settings import Settings
from server.transports.webrtc.ice_servers import GivenServer, IceServer, for_session

log = logging.getLogger(__name__)

OWN_NAME = "visavis"
"""Of this server's own side, where a TURN server logs who relays."""
_gather_all = aioice.ice.get_host_addresses

_ELSEWHERE = (("0.0.0.0", "198.51.100.1"), ("::", "2001:db8::1"))
"""The wildcard of each family, and an address of nobody (RFC 5737, RFC 3849): the way there is the default route."""


def gather_as_set(settings: Settings) -> None:
    """Offer the addresses of ``ice_address``; without it every interface's, or :func:`own_addresses` on loopback.

    At each of them media goes through the ports of ``ice_port_range``. What is wrong with a TURN server is told.
    """
    watch_relays(_tell_relay, MonotonicClock())
    ports = settings.ice_port_range
    bind_within(None if ports is None else range(ports.first, ports.last + 1))
    if settings.ice_address:
        gather_from(settings.ice_address)
    elif settings.on_loopback:
        _choose((lambda: ["::1", *own_addresses()]) if ":" in settings.host else own_addresses)
    else:
        gather_from(None)


def _tell_relay(server: str, why: str) -> None:
    log.warning(
        "the TURN server %s gives this server no relay: %s. Calls go on without; it is asked again in %g s",
        server, why, REST_SECONDS,
    )  # fmt: skip


def gather_from(addresses: Sequence[str] | None) -> None:
    """Offer exactly these local addresses from now on, for the whole process; ``None`` for every interface's."""
    if addresses is None:
        aioice.ice.get_host_addresses = _gather_all
    else:
        _choose(lambda: addresses)


def own_addresses() -> list[str]:
    """What a browser on this machine can reach: 127.0.0.1, and the address under which the machine is in its network.

    The second is for Firefox, which never sends to a loopback candidate (``media.peerconnection.ice.loopback``). One is
    enough, for every local address leads here. Looked up anew each time: the network may have changed.
    """
    outward = next(filter(None, (_outward(any_address, there) for any_address, there in _ELSEWHERE)), None)
    if outward is None:  # no default route: any interface will do, but an address that needs to name its own will not
        others = (a for a in _gather_all(use_ipv4=True, use_ipv6=True) if not ipaddress.ip_address(a).is_link_local)
        outward = next(others, None)
    return ["127.0.0.1"] if outward is None else ["127.0.0.1", outward]


def _choose(addresses: Callable[[], Sequence[str]]) -> None:
    def chosen(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [address for address in addresses() if (use_ipv6 if ":" in address else use_ipv4)]

    aioice.ice.get_host_addresses = chosen


def _outward(any_address: str, there: str) -> str | None:
    """The local address that packets to ``there`` would carry; none is sent."""
    family = socket.AF_INET6 if ":" in there else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((there, 9))
            found = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if found == any_address or ipaddress.ip_address(found).is_loopback else found


def configuration(servers: Sequence[IceServer], *, answers: bool = False) -> RTCConfiguration:
    """For a peer connection. The list is always given: without one aiortc asks a public STUN server and waits.

    ``answers``: for one that answers. It gives each section a transport and joins those that the offer bundles: with
    max-bundle aiortc shares the first one beforehand, and then stops it with the others unless the offer names that
    section first. One that offers wants max-bundle, and audio or video before its data channel.
    """
    given = for_session(servers, OWN_NAME, time.time(), "server")
    policy = RTCBundlePolicy.MAX_COMPAT if answers else RTCBundlePolicy.MAX_BUNDLE
    return RTCConfiguration(iceServers=_for_aiortc(given), bundlePolicy=policy)


def relayed(servers: Sequence[GivenServer]) -> RTCConfiguration:
    """For a peer connection that offers, and is reached through a TURN server only: the first of these."""
    return RTCConfiguration(
        iceServers=_for_aiortc(servers),
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
    )


def _for_aiortc(servers: Sequence[GivenServer]) -> list[RTCIceServer]:
    return [RTCIceServer(urls=one.urls, username=one.username, credential=one.credential) for one in servers]
