"""``GET /v1/sessions/{session}/watch`` of a node without workers: answered when it is about to end, or after ``wait``.

Whoever watches a session of another node learns here that it is gone: a connection to it breaks when it ends.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Literal

from aiohttp import hdrs, web

from server.http.errors import HttpError
from server.http.signaling.offer import REGISTRY

WATCH = "/v1/sessions/{session}/watch"
WATCH_SECONDS, MOST_WATCH_SECONDS = 25.0, 55.0
"""For which a request waits for news of a session: proxies give up after 30 or 60 s."""
MOST_WATCHING = 1024
"""Requests that may wait at a time; one more is to come again later."""
_WATCH = re.compile(r"/v1/sessions/(sess_[^/]{1,100})/watch")
State = Literal["serving", "leaving", "gone"]


def watched_in(path: str) -> str | None:
    """The session that a request wants to watch."""
    found = _WATCH.fullmatch(path)
    return found[1] if found is not None else None


def told(session: str, state: State, again: float = 0.0) -> web.Response:
    """``again``: seconds after which the client is to ask once more, if it is not to do so at once."""
    body = {"session_id": session, "state": state, "again_in": again}
    return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})


class Watch:
    """The handler. ``leaving`` is set when the sessions of this node are asked to go on elsewhere."""

    def __init__(self, leaving: asyncio.Event) -> None:
        self._leaving = leaving
        self._watching = 0

    async def get(self, request: web.Request) -> web.Response:
        """What becomes of a session's node."""
        session, seconds = request.match_info["session"], seconds_in(request.query.get("wait"))
        if request.app[REGISTRY].find(session) is None:
            return told(session, "gone")
        if self._watching >= MOST_WATCHING:
            return told(session, "serving", seconds)
        self._watching += 1
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), seconds)
        finally:
            self._watching -= 1
        return told(session, "leaving" if self._leaving.is_set() else "serving")


def seconds_in(text: str | None) -> float:
    """How long a client wants to wait. Raises :class:`HttpError` (400)."""
    if text is None:
        return WATCH_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MOST_WATCH_SECONDS:
        message = f"wait: legal values are seconds from 0 to {MOST_WATCH_SECONDS:g}"
        raise HttpError(400, "invalid_value", message, "wait")
    return seconds
