"""HTTP ↔ SDP: ``POST /offer``, as in the aiortc examples and beyond."""

from __future__ import annotations

import asyncio

from aiohttp import web

from server.dialects.openai.models import SessionPatch
from server.dialects.openai.settings import offered_vision
from server.http.bodies import json_body
from server.sessions import Registry
from server.settings import Settings
from server.transports.webrtc.answers import announce, ask_for_fec
from server.transports.webrtc.offers import read_offer

REGISTRY = web.AppKey("registry", Registry)
SETTINGS = web.AppKey("settings", Settings)


async def post_offer(request: web.Request) -> web.Response:
    """``{"sdp", "type": "offer"}`` and perhaps ``session.vision`` → ``{"sdp", "type": "answer", "session_id"}``."""
    settings = request.app[SETTINGS]
    body = await json_body(request)
    offer, vision = read_offer(body, settings.peer_ranges), offered_vision(body)
    await asyncio.sleep(0)  # some milliseconds are over: let audio go first
    session_id, answer = await request.app[REGISTRY].open(offer, SessionPatch(vision=vision))
    sdp = ask_for_fec(announce(answer, settings.external_address))
    return web.json_response({"sdp": sdp, "type": "answer", "session_id": session_id})
