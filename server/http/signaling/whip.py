"""Publishing by WHIP (RFC 9725) and watching by WHEP (draft-ietf-wish-whep): an SDP offer, an answer, and no more.

What is published becomes a session: it is heard and seen. What the session says and shows is watched at
``/whep/SESSION``, and so is that of every other session with a peer connection; ``/whep`` is the only one there is.

The answer holds all candidates of the server, the offer needs none; those of the client may follow by ``PATCH``.
``If-Match`` is taken when it is there and not missed when it is not, as most clients send none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiohttp import hdrs, web

from media.clock import MonotonicClock
from server.dialects.openai.fields import SessionPatch
from server.http.bodies import text_body
from server.http.errors import HttpError
from server.http.signaling.calls import SDP
from server.http.signaling.ice_servers import ice_servers_for
from server.http.signaling.offer import REGISTRY, SETTINGS, for_peer, opened
from server.sessions import CallKind
from server.transports.webrtc.offers import Offer, OfferError, read_offer
from server.transports.webrtc.peer import PeerConnection
from server.transports.webrtc.trickle import TRICKLE, Trickled, parse_fragment
from server.transports.webrtc.viewer import Viewer
from server.viewers import Viewers

WHIP = "/whip"
WHEP = "/whep"
VIEWERS = web.AppKey("viewers", Viewers)

_NOT_SPOKEN = ("no_opus", "no_codec")


def add_whip(app: web.Application) -> Viewers:
    """The routes. Viewers end with the application."""
    app[VIEWERS] = viewers = Viewers(app[SETTINGS], MonotonicClock())
    app.on_shutdown.append(_close_viewers)
    router = app.router
    router.add_post(WHIP, _publish)
    router.add_patch(f"{WHIP}/{{session}}", _trickle_published)
    router.add_delete(f"{WHIP}/{{session}}", _unpublish)
    for path in (WHEP, f"{WHEP}/{{session}}"):
        router.add_post(path, _watch)
    router.add_patch(f"{WHEP}/{{session}}/{{viewer}}", _trickle_viewer)
    router.add_delete(f"{WHEP}/{{session}}/{{viewer}}", _leave)
    for path in (WHIP, WHEP, f"{WHEP}/{{session}}"):
        router.add_route(hdrs.METH_OPTIONS, path, _options)
    return viewers


async def _close_viewers(app: web.Application) -> None:
    await app[VIEWERS].close_all(app[SETTINGS].shutdown_timeout)


async def _options(request: web.Request) -> web.Response:
    return web.Response(status=204, headers={"Accept-Post": SDP})


# ---------------------------------------------------------------------------------------------------- publishing


async def _publish(request: web.Request) -> web.Response:
    offer = await _offered(request)
    if not any(one.direction in ("sendonly", "sendrecv") for one in offer.negotiation.media):
        raise HttpError(406, "nothing_sent", "the offer sends neither audio nor video (a=sendonly)", "sdp")
    kind = CallKind(pipeline=request.query.get("pipeline"))
    session_id, answer = await opened(request, replace(offer, published=True), SessionPatch(), kind)
    return _created(request, f"{WHIP}/{session_id}", session_id, answer)


async def _trickle_published(request: web.Request) -> web.Response:
    session = _session(request)
    return await _trickled(request, session.id, session.add_candidates)


async def _unpublish(request: web.Request) -> web.Response:
    _session(request).close("it was ended over HTTP")
    return web.Response()


def _session(request: web.Request) -> PeerConnection:
    session_id = request.match_info["session"]
    session = request.app[REGISTRY].find(session_id)
    if session is None:
        raise HttpError(404, "session_not_found", f"there is no session {session_id!a}", "session")
    return session


# ---------------------------------------------------------------------------------------------------- watching


async def _watch(request: web.Request) -> web.Response:
    session = _session(request) if "session" in request.match_info else _only_session(request)
    offer, watched = await _offered(request), session.watched
    if not (offer.wants_audio and watched.voice is not None) and not (offer.wants_video and watched.video is not None):
        has = [what for what, there in (("a voice", watched.voice), ("video", watched.video)) if there is not None]
        message = f"nothing of the session is asked for: it has {' and '.join(has) or 'neither voice nor video'}"
        raise HttpError(406, "nothing_to_watch", f"{message} (a=recvonly)", "sdp")
    viewer_id, answer = await request.app[VIEWERS].open(offer, watched)
    answer = for_peer(request, answer)
    return _created(request, f"{WHEP}/{session.id}/{viewer_id}", viewer_id, answer)


async def _trickle_viewer(request: web.Request) -> web.Response:
    viewer = _viewer(request)
    return await _trickled(request, viewer.id, viewer.add_candidates)


async def _leave(request: web.Request) -> web.Response:
    _viewer(request).close("it was ended over HTTP")
    return web.Response()


def _viewer(request: web.Request) -> Viewer:
    session_id, viewer_id = request.match_info["session"], request.match_info["viewer"]
    viewer = request.app[VIEWERS].find(session_id, viewer_id)
    if viewer is None:
        raise HttpError(404, "viewer_not_found", f"the session has no viewer {viewer_id!a}", "viewer")
    return viewer


def _only_session(request: web.Request) -> PeerConnection:
    sessions = request.app[REGISTRY].all
    if not sessions:
        raise HttpError(404, "session_not_found", "there is no session to watch", "session")
    if len(sessions) > 1:
        message = f"there are {len(sessions)} sessions: watch one of them at {WHEP}/SESSION"
        raise HttpError(409, "several_sessions", message, "session")
    return sessions[0]


# ---------------------------------------------------------------------------------------------------- the exchange


async def _offered(request: web.Request) -> Offer:
    """The offer, if all of its audio and video can be served: a section that is refused would just stay dark."""
    if request.content_type != SDP:
        error = HttpError(415, "unsupported_media_type", f"Content-Type: give the offer as {SDP}", hdrs.CONTENT_TYPE)
        error.response.headers["Accept-Post"] = SDP
        raise error
    body = {"type": "offer", "sdp": await text_body(request)}
    try:
        offer = read_offer(body, request.app[SETTINGS].peer_ranges)
    except OfferError as error:
        if error.code in _NOT_SPOKEN:
            raise HttpError(406, error.code, str(error), error.param) from error
        raise
    taken = {one.section.index for one in offer.negotiation.taken}
    for section in offer.negotiation.description.sections:
        if section.kind in ("audio", "video") and section.is_offered and section.index not in taken:
            what = "audio must include Opus, video VP8 or H264 (packetization-mode 1, baseline)"
            raise HttpError(406, "not_acceptable", f"{section.name} cannot be served: {what}", "sdp")
    await asyncio.sleep(0)  # some milliseconds are over: let audio go first
    return offer


def _created(request: web.Request, location: str, tag: str, answer: str) -> web.Response:
    headers = {hdrs.LOCATION: location, hdrs.ETAG: f'"{tag}"', "Accept-Patch": TRICKLE}
    response = web.Response(status=201, text=answer, content_type=SDP, headers=headers)
    for server in ice_servers_for(request):
        response.headers.add(hdrs.LINK, server.link())
    return response


async def _trickled(
    request: web.Request, tag: str, add: Callable[[Sequence[Trickled]], Awaitable[None]]
) -> web.Response:
    if request.content_type != TRICKLE:
        error = HttpError(415, "unsupported_media_type", f"Content-Type must be {TRICKLE}", hdrs.CONTENT_TYPE)
        error.response.headers["Accept-Patch"] = TRICKLE
        raise error
    given = {one.strip().removeprefix("W/").strip('"') for one in request.headers.get(hdrs.IF_MATCH, "").split(",")}
    if not given & {"", "*", tag}:
        raise HttpError(412, "precondition_failed", f'If-Match must be "{tag}", or left out', hdrs.IF_MATCH)
    candidates = parse_fragment(await text_body(request))
    if "*" in given and not all(one.ufrag for one in candidates):
        message = "If-Match: * asks for an ICE restart, which this server cannot: make a new offer"
        raise HttpError(422, "ice_restart_unsupported", message, hdrs.IF_MATCH)
    await add(candidates)
    return web.Response(status=204)
