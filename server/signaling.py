"""HTTP ↔ SDP: ``POST /offer``, as in the aiortc examples and beyond."""

from __future__ import annotations

from aiohttp import web

from server.json_input import JsonInputError, read_json
from server.offers import OfferError, read_offer
from server.registry import Registry
from server.sdp import announce, ask_for_fec
from server.settings import Settings

REGISTRY = web.AppKey("registry", Registry)
SETTINGS = web.AppKey("settings", Settings)


async def post_offer(request: web.Request) -> web.Response:
    """``{"sdp", "type": "offer"}`` → ``{"sdp", "type": "answer", "session_id"}``."""
    text = await request.text()
    try:
        body = read_json(text)
    except JsonInputError as error:
        raise OfferError(error.code, f"the body cannot be read: {error}") from error
    session, answer = await request.app[REGISTRY].open(read_offer(body))
    sdp = ask_for_fec(announce(answer.sdp, request.app[SETTINGS].external_address))
    return web.json_response({"sdp": sdp, "type": answer.type, "session_id": session.id})
