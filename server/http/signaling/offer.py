"""HTTP ↔ SDP: ``POST /offer``, as in the aiortc examples and beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import offered_session
from server.http.access.granted import GRANTED
from server.http.access.load import prioritised
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.sessions import CallKind, Registry
from server.settings import Settings
from server.transports.webrtc.answers import announce, ask_for_fec
from server.transports.webrtc.offers import Offer, read_offer

REGISTRY = web.AppKey("registry", Registry)
SETTINGS = web.AppKey("settings", Settings)
WATCHED = web.AppKey("watched", bool)
"""Whether a front answers ``GET /v1/sessions/{session}/watch``: this process may end without others ending."""


async def post_offer(request: web.Request) -> web.Response:
    """``{"sdp", "type": "offer"}`` and perhaps ``session``, ``pipeline`` and ``resume`` → ``{"sdp", "type": "answer",
    "session_id", "resumed", "watched"}``.

    ``session``: the settings that the session begins with, as ``session.update`` takes them.
    ``resume``: the id of a session whose conversation and settings this one goes on with, if they are still known.
    """
    body = await json_body(request)
    wanted, pipeline, wishes = resume_in(body), pipeline_in(body), session_in(body)
    read = readable(request, body)
    await asyncio.sleep(0)  # some milliseconds are over: let audio go first
    known = wanted is not None and request[GRANTED].may_reach(wanted) and request.app[REGISTRY].remembers(wanted)
    kind = CallKind(resumable=True, previous=wanted if known else None, pipeline=pipeline)
    session_id, sdp = await opened(request, read, wishes, kind)
    about = {"session_id": session_id, "resumed": known, "watched": request.app[WATCHED]}
    return web.json_response({"sdp": sdp, "type": "answer", **about})


def resume_in(body: object) -> str | None:
    """The session whose conversation a body wants to go on with. Raises :class:`HttpError` (400)."""
    name = body.get("resume") if isinstance(body, Mapping) else None
    if not isinstance(name, str | None):
        raise HttpError(400, "invalid_value", "resume: must be the session_id of an answer, or null", "resume")
    return name


def session_in(body: object) -> SessionPatch:
    """The settings that a body begins its session with. Raises
    :class:`~server.dialects.openai.settings.RefusedError`."""
    return offered_session(body.get("session") if isinstance(body, Mapping) else None)


def pipeline_in(body: object) -> str | None:
    """The id of the pipeline that a body asks for. Raises :class:`HttpError` (400)."""
    name = body.get("pipeline") if isinstance(body, Mapping) else None
    if not isinstance(name, str | None):
        raise HttpError(400, "invalid_value", "pipeline: must be the id of a pipeline, or null", "pipeline")
    return name


async def answered(
    request: web.Request, offer: object, wishes: SessionPatch, kind: CallKind | None = None
) -> tuple[str, str]:
    """A session for ``{"sdp", "type"}``: its id, and the SDP for its peer. Raises as
    :func:`~server.transports.webrtc.offers.read_offer` and :meth:`~server.sessions.Registry.open` do."""
    read = readable(request, offer)
    await asyncio.sleep(0)  # some milliseconds are over: let audio go first
    return await opened(request, read, wishes, kind)


async def opened(
    request: web.Request, offer: Offer, wishes: SessionPatch, kind: CallKind | None = None
) -> tuple[str, str]:
    """The same for an offer that was read."""
    granted = request[GRANTED]
    session_id, answer = await request.app[REGISTRY].open(offer, granted.begins(prioritised(request, wishes)), kind)
    granted.made(session_id)
    return session_id, for_peer(request, answer)


def readable(request: web.Request, offer: object) -> Offer:
    """``{"sdp", "type"}`` as it is to be answered. Raises as :func:`~server.transports.webrtc.offers.read_offer`."""
    return read_offer(offer, request.app[SETTINGS].peer_ranges)


def for_peer(request: web.Request, answer: str) -> str:
    """The answer as a peer gets it: with the address under which this machine is reached."""
    return ask_for_fec(announce(answer, request.app[SETTINGS].external_address))
