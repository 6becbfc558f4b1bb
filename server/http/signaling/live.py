"""Sessions as clients of OpenAI's Live make them: ``POST /v1/live/sessions`` with an SDP offer in JSON, and their end.

Experimental. Source: ``openai.resources.live`` (``openai`` 3.57).
"""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web
from pydantic import ValidationError

from server.dialects.live.models import HUNG_UP, LiveCreate
from server.dialects.openai.settings import refusal
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.http.signaling.offer import REGISTRY, answered
from server.sessions import CallKind
from server.transports.webrtc.offers import OfferError

LIVE = "/v1/live/sessions"


def add_live(app: web.Application) -> None:
    """The routes."""
    app.router.add_post(LIVE, _open)
    app.router.add_post(f"{LIVE}/{{session}}/hangup", _hang_up)


async def _open(request: web.Request) -> web.Response:
    given = _read(await json_body(request))
    offer, kind = {"type": "offer", "sdp": given.transport.sdp}, CallKind(live=given.session)
    try:
        session_id, sdp = await answered(request, offer, given.session.patch(), kind)
    except OfferError as error:
        raise OfferError(error.code, f"transport.sdp: {error}", "transport.sdp", error.status) from error
    body = {"session": {"id": session_id}, "transport": {"type": "webrtc", "sdp": sdp}}
    return web.json_response(body, status=201, headers={hdrs.LOCATION: f"{LIVE}/{session_id}"})


def _read(body: Any) -> LiveCreate:
    if not isinstance(body, dict):
        raise HttpError(400, "invalid_body", "the body must be a JSON object; its fields are session and transport")
    try:
        return LiveCreate.model_validate(body)
    except ValidationError as error:
        raise refusal(error, body, tagged=False) from error


async def _hang_up(request: web.Request) -> web.Response:
    session = request.match_info["session"]
    if not request.app[REGISTRY].close(session, HUNG_UP):
        raise HttpError(404, "session_not_found", f"there is no session {session[:80]!a}", "session")
    return web.Response(status=200)
