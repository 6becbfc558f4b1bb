"""Calls as OpenAI's Realtime clients make them: ``POST /v1/realtime/calls`` with an SDP offer, and their end.

The body is the offer itself (``application/sdp``), or a form with the fields ``sdp`` and ``session``; the answer is 201
with the call's own address in ``Location`` (https://developers.openai.com/api/docs/guides/realtime-webrtc).
"""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from server.dialects.live.models import HUNG_UP
from server.dialects.openai.settings import offered_session
from server.http.bodies import text_body
from server.http.errors import HttpError
from server.http.json_input import JsonInputError, read_json
from server.http.multipart import MultipartError, read_form
from server.http.signaling.offer import REGISTRY, answered
from server.sessions import CallKind, call_id

CALLS = "/v1/realtime/calls"
SDP = "application/sdp"


def add_calls(app: web.Application) -> None:
    """The routes."""
    app.router.add_post(CALLS, _open)
    app.router.add_post(f"{CALLS}/{{id}}/hangup", _hang_up)
    app.router.add_delete(f"{CALLS}/{{id}}", _hang_up)


async def _open(request: web.Request) -> web.Response:
    sdp, session = await _offered(request)
    kind = CallKind(pipeline=request.query.get("pipeline"))
    call, answer = await answered(request, {"type": "offer", "sdp": sdp}, offered_session(session), kind)
    return web.Response(status=201, text=answer, content_type=SDP, headers={hdrs.LOCATION: f"{CALLS}/{call_id(call)}"})


async def _offered(request: web.Request) -> tuple[str, Any]:
    """The SDP, and the JSON of the session if there is one."""
    if request.content_type == SDP:
        return await text_body(request), None
    if request.content_type != "multipart/form-data":
        message = f"Content-Type: give the offer as {SDP}, or as a form (multipart/form-data) with the field sdp"
        raise HttpError(415, "unsupported_media_type", message, hdrs.CONTENT_TYPE)
    try:
        fields = {field.name: field for field in read_form(request.headers[hdrs.CONTENT_TYPE], await request.read())}
        if "sdp" not in fields:
            raise HttpError(400, "invalid_sdp", "sdp: the form has no field of that name", "sdp")
        session = read_json(fields["session"].data) if "session" in fields else None
        return fields["sdp"].text, session
    except MultipartError as error:
        raise HttpError(400, "invalid_body", str(error)) from error
    except JsonInputError as error:
        raise HttpError(400, "invalid_json", f"session: {error}", "session") from error


async def _hang_up(request: web.Request) -> web.Response:
    call = request.match_info["id"]
    if not request.app[REGISTRY].close(call, HUNG_UP):
        raise HttpError(404, "call_not_found", f"there is no call {call!a}", "id")
    return web.Response(status=200)
