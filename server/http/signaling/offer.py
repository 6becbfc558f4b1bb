"""HTTP ↔ SDP: ``POST /offer``, as in the aiortc examples and beyond."""

from __future__ import annotations

import asyncio

from aiohttp import web

from server.dialects.openai.fields import SessionPatch
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
    body = await json_body(request)
    session_id, sdp = await answered(request, body, SessionPatch(vision=offered_vision(body)))
    return web.json_response({"sdp": sdp, "type": "answer", "session_id": session_id})


async def answered(request: web.Request, offer: object, wishes: SessionPatch) -> tuple[str, str]:
    """A session for ``{"sdp", "type"}``: its id, and the SDP for its peer. Raises as
    :func:`~server.transports.webrtc.offers.read_offer` and :meth:`~server.sessions.Registry.open` do."""
    settings = request.app[SETTINGS]
    read = read_offer(offer, settings.peer_ranges)
    await asyncio.sleep(0)  # some milliseconds are over: let audio go first
    session_id, answer = await request.app[REGISTRY].open(read, wishes)
    return session_id, ask_for_fec(announce(answer, settings.external_address))
