"""``GET /v1/realtime/ice_servers``: the STUN and TURN servers that a client needs before it makes its offer."""

from __future__ import annotations

import time

from aiohttp import hdrs, web

from server.http.access.granted import GRANTED
from server.http.signaling.offer import SETTINGS
from server.transports.webrtc.ice_servers import GivenServer, for_session


def ice_servers_for(request: web.Request) -> list[GivenServer]:
    """The servers for whoever sends this request, with credentials of its own where they are made from a secret.

    ``[server.json() for …]`` are RTCIceServers, ``[server.link() for …]`` the ``Link`` headers of WHIP.
    """
    secret = request[GRANTED].secret
    name = "client" if secret is None else secret.id
    return for_session(request.app[SETTINGS].ice_servers, name, time.time())


async def get_ice_servers(request: web.Request) -> web.Response:
    """As WebRTC's RTCConfiguration names them."""
    servers = [server.json() for server in ice_servers_for(request)]
    return web.json_response({"ice_servers": servers}, headers={hdrs.CACHE_CONTROL: "no-store"})
