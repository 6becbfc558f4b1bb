"""Signalling as Pipecat's SmallWebRTC clients do it: ``POST /start``, then offers and candidates as JSON.

``/start`` names a session, and the client derives ``/sessions/{id}/api/offer`` from its URL; ``/api/offer`` needs no
start. Source: ``@pipecat-ai/small-webrtc-transport`` 1.10 (``smallWebRTCTransport.ts``) and ``pipecat-ai`` 1.14
(``runner/run.py``). A client gives up upon a 4xx, and upon anything else offers a new connection up to three times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from media.clock import MonotonicClock
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import offered_session
from server.http.access.granted import GRANTED, Granted
from server.http.access.keys import expired
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.http.signaling.ice_servers import ice_servers_for
from server.http.signaling.offer import REGISTRY, answered, for_peer, pipeline_in, readable
from server.http.signaling.starts import Start, Starts
from server.sessions import CallKind
from server.transports.webrtc.trickle import Trickled

START, OFFER = "/start", "/api/offer"
SESSION_OFFER = "/sessions/{start}/api/offer"
TRANSPORTS = ("webrtc", "smallwebrtc")
LONGEST_ID = 100
"""Characters of a ``pc_id``."""

STARTS = web.AppKey("starts", Starts)


def add_small_webrtc(app: web.Application, ids: Callable[[str], str]) -> None:
    """The routes; ``ids`` makes new ids of a kind."""
    app[STARTS] = Starts(MonotonicClock(), app[REGISTRY].goes_on, ids)
    app.router.add_post(START, _start)
    for path in (OFFER, SESSION_OFFER):
        app.router.add_post(path, _offer)
        app.router.add_patch(path, _candidates)


def asked_for(body: Mapping[str, Any]) -> tuple[SessionPatch, str | None]:
    """What the body of a start asks for: settings, and the id of a pipeline."""
    return _wishes(body.get("body"), "body"), pipeline_in(body.get("body"))


async def _start(request: web.Request) -> web.Response:
    """``{"transport"?, "enableDefaultIceServers"?, "body"?}`` → ``{"sessionId", "iceConfig"?}``.

    ``body.session`` is what ``session.update`` takes, ``body.pipeline`` the pipeline that its sessions run; the rest of
    ``body`` is the application's own. The ICE servers are those of the settings, whatever ``enableDefaultIceServers``
    says: this server names no others.
    """
    body = _object(await json_body(request) if request.body_exists else {}, "the body")
    transport = body.get("transport") or ("daily" if body.get("createDailyRoom") is True else TRANSPORTS[0])
    if transport not in TRANSPORTS:
        legal = " and ".join(f'"{name}"' for name in TRANSPORTS)
        raise _wrong("transport", f"legal values are {legal}: this server has no other")
    wishes, pipeline = asked_for(body)
    request.app[REGISTRY].check_room(wishes.priority)  # sooner told than with the offer
    start = request.app[STARTS].add(wishes, pipeline)
    request[GRANTED].made(start.id)
    servers = [server.json() for server in ice_servers_for(request)]
    return web.json_response({"sessionId": start.id, **({"iceConfig": {"iceServers": servers}} if servers else {})})


async def _offer(request: web.Request) -> web.Response:
    """``{"sdp", "type", "pc_id"?, "restart_pc"?, "requestData"?}`` → ``{"sdp", "type": "answer", "pc_id"}``.

    With the ``pc_id`` of a connection that lives it is the same offer with more candidates, or with ``restart_pc`` that
    of a new connection, in which the conversation goes on.
    """
    start = _started(request)
    body = _object(await json_body(request), "the body")
    previous, restart = _identity(body, start, request[GRANTED]), body.get("restart_pc")
    if not isinstance(restart, bool | None):
        raise _wrong("restart_pc", "legal values are true, false and null")
    given = body.get("requestData") if body.get("requestData") is not None else body.get("request_data")
    wishes = _wishes(given, "requestData") if given is not None or start is None else start.wishes
    peer = request.app[REGISTRY].find(previous) if previous is not None else None
    if peer is not None and not peer.ended_because and not restart:
        again = await peer.answer_again(readable(request, body))
        if again is None:
            message = "a connection cannot be changed: offer a new one, with restart_pc true"
            raise HttpError(501, "renegotiation_unsupported", message, "sdp")
        pc_id, answer = peer.id, for_peer(request, again)
    else:
        _check_expiry(request[GRANTED], goes_on=previous is not None and request.app[REGISTRY].goes_on(previous))
        pipeline = pipeline_in(body) or pipeline_in(given) or (start.pipeline if start is not None else None)
        kind = CallKind(resumable=True, previous=previous, labelled=True, pipeline=pipeline)
        pc_id, answer = await answered(request, body, wishes, kind)
        if start is not None:
            request.app[STARTS].begun(start, pc_id)
    return web.json_response({"sdp": answer, "type": "answer", "pc_id": pc_id})


async def _candidates(request: web.Request) -> web.Response:
    """``{"pc_id", "candidates": [{"candidate", "sdp_mid", "sdp_mline_index"}]}`` → ``{"status": "success"}``."""
    start = _started(request)
    body = _object(await json_body(request), "the body")
    pc_id = _identity(body, start, request[GRANTED])
    peer = request.app[REGISTRY].find(pc_id) if pc_id is not None else None
    if peer is None:
        raise HttpError(404, "connection_not_found", f"pc_id: there is no connection {pc_id!a}", "pc_id")
    candidates = body.get("candidates", [])
    if not isinstance(candidates, list):
        raise _wrong("candidates", "must be a list")
    await peer.add_candidates([_candidate(one, f"candidates.{n}") for n, one in enumerate(candidates)])
    return web.json_response({"status": "success"})


# ---------------------------------------------------------------------------------------------------- reading


def _started(request: web.Request) -> Start | None:
    """The start in the path, if one is."""
    start_id = request.match_info.get("start")
    if start_id is None:
        return None
    start = request.app[STARTS].find(start_id)
    if start is None:
        message = f"there is no session {start_id[:LONGEST_ID]!a}, or no longer: begin with POST {START}"
        raise HttpError(404, "session_not_found", message, "session_id")
    return start


def _identity(body: Mapping[str, Any], start: Start | None, granted: Granted) -> str | None:
    """The connection meant; ``None`` for one that did not begin with this start, or is out of the key's reach."""
    pc_id = body.get("pc_id")
    if not isinstance(pc_id, str | None) or len(pc_id or "") > LONGEST_ID:
        raise _wrong("pc_id", "must be the pc_id of an answer, or null")
    if pc_id is None or not granted.may_reach(pc_id):
        return None
    return pc_id if start is None or pc_id in start.sessions else None


def _check_expiry(granted: Granted, *, goes_on: bool) -> None:
    """A conversation may outlast the secret that began it, but no start lends it the power to begin others."""
    if granted.secret is not None and granted.has_expired and not goes_on:
        raise HttpError(401, "client_secret_expired", expired(granted.secret))


def _wishes(value: object, name: str) -> SessionPatch:
    return offered_session(_object(value, name).get("session") if value is not None else None)


def _candidate(value: object, name: str) -> Trickled:
    given = _object(value, name)
    line, mid, index = given.get("candidate"), given.get("sdp_mid"), given.get("sdp_mline_index")
    if not isinstance(line, str):
        raise _wrong(f"{name}.candidate", "must be a string; an empty one says that there are no more")
    if not isinstance(mid, str | None):
        raise _wrong(f"{name}.sdp_mid", "must be a string or null")
    if type(index) not in (int, type(None)):
        raise _wrong(f"{name}.sdp_mline_index", "must be a whole number or null")
    return Trickled(line, mid, index)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "must be a JSON object")
    return value


def _wrong(name: str, message: str) -> HttpError:
    return HttpError(400, "invalid_value", f"{name}: {message}", name)
