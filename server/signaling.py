"""HTTP ↔ SDP: ``POST /offer``, as in the aiortc examples and beyond."""

from __future__ import annotations

from aiohttp import web

from server.bodies import json_body
from server.offers import read_offer
from server.registry import Registry
from server.sdp import announce, ask_for_fec
from server.settings import Settings

REGISTRY = web.AppKey("registry", Registry)
SETTINGS = web.AppKey("settings", Settings)


async def post_offer(request: web.Request) -> web.Response:
    """``{"sdp", "type": "offer"}`` → ``{"sdp", "type": "answer", "session_id"}``."""
    session, answer = await request.app[REGISTRY].open(read_offer(await json_body(request)))
    sdp = ask_for_fec(announce(answer.sdp, request.app[SETTINGS].external_address))
    return web.json_response({"sdp": sdp, "type": answer.type, "session_id": session.id})
