"""``GET /v1/realtime``: OpenAI's Realtime protocol over a WebSocket.

``?model=…`` begins a conversation, ``?intent=transcription`` a session that writes down what it hears, and
``?call_id=rtc_…`` joins a call that runs already (https://developers.openai.com/api/docs/guides/realtime-websocket).
Events that are ours and not the service's are told with ``events=all``: some of its clients take one for an error.
What cannot be served is answered with an HTTP status, before the handshake.
"""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.web import WebSocketResponse

from server.dialects.openai.fields import SessionPatch
from server.http.access.granted import GRANTED
from server.http.access.load import prioritised
from server.http.errors import HttpError
from server.http.signaling.offer import REGISTRY
from server.sessions import TooManySidebandsError, UnknownCallError
from server.transports.websocket.event_socket import CLOSE_SECONDS, LARGEST_RECEIVED

REALTIME = "/v1/realtime"
SUBPROTOCOL = "realtime"
"""What is spoken, among the subprotocols that a client offers; browsers offer their key beside it."""


async def get_realtime(request: web.Request) -> WebSocketResponse:
    """A conversation, or another client of one, until it ends."""
    socket, registry = _socket(request), request.app[REGISTRY]
    own = _own_events(request)
    wishes = request[GRANTED].begins(prioritised(request, _wishes(request)))

    async def connect() -> WebSocketResponse:
        await socket.prepare(request)
        return socket

    if (call := request.query.get("call_id")) is None:
        await registry.converse(connect, wishes, own_events=own)
        return socket
    try:
        await registry.attend(call, connect, own_events=own)
    except UnknownCallError as error:
        raise HttpError(404, "call_not_found", str(error), "call_id") from error
    except TooManySidebandsError as error:
        raise HttpError(429, "too_many_clients", str(error), "call_id") from error
    return socket


def _socket(request: web.Request) -> WebSocketResponse:
    """The WebSocket that is asked for, before its handshake. Nothing is compressed: sound does not get smaller."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL)
    if offered is not None and SUBPROTOCOL not in (name.strip() for name in offered.split(",")):
        message = f"{hdrs.SEC_WEBSOCKET_PROTOCOL}: a client that offers subprotocols must offer {SUBPROTOCOL!r}"
        raise HttpError(400, "invalid_subprotocol", message, hdrs.SEC_WEBSOCKET_PROTOCOL)
    socket = WebSocketResponse(
        timeout=CLOSE_SECONDS,
        autoping=False,
        protocols=(SUBPROTOCOL,),
        compress=False,
        max_msg_size=LARGEST_RECEIVED,
    )
    if not socket.can_prepare(request):
        error = HttpError(426, "upgrade_required", f"{REALTIME} is a WebSocket (RFC 6455, version 13)", hdrs.UPGRADE)
        error.response.headers.update({hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade"})
        raise error
    return socket


def _wishes(request: web.Request) -> SessionPatch:
    """The settings that the address asks for. ``model`` is a wish, as in ``session.update``: one model serves all."""
    intent = request.query.get("intent")
    if intent not in (None, "conversation", "transcription"):
        message = f'intent: must be "transcription", or left out for a conversation, not {intent[:40]!a}'
        raise HttpError(400, "invalid_value", message, "intent")
    return SessionPatch(type="transcription") if intent == "transcription" else SessionPatch()


def _own_events(request: web.Request) -> bool:
    events = request.query.get("events")
    if events not in (None, "all"):
        message = f'events: must be "all", or left out for those of the service alone, not {events[:40]!a}'
        raise HttpError(400, "invalid_value", message, "events")
    return events == "all"
