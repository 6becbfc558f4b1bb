"""``GET /v1/sessions/{session}/watch`` of a node without workers: answered when it is about to end, or after ``wait``.

Whoever watches a session of another node learns here that it is gone: a connection to it breaks when it ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from aiohttp import web

from server.http.signaling.offer import REGISTRY
from server.http.signaling.watching import seconds_in, told
from server.workers.watches import MOST_OF_ONE

MOST_WATCHING = 1024
"""Requests that may wait at a time; one more is to come again later."""


class Watch:
    """The handler. ``leaving`` is set when the sessions of this node are asked to go on elsewhere."""

    def __init__(self, leaving: asyncio.Event) -> None:
        self._leaving = leaving
        self._watching: Counter[str] = Counter()

    async def get(self, request: web.Request) -> web.Response:
        """What becomes of a session's node."""
        session, seconds = request.match_info["session"], seconds_in(request.query.get("wait"))
        if request.app[REGISTRY].find(session) is None:
            return told(session, "gone")
        if self._watching.total() >= MOST_WATCHING or self._watching[session] >= MOST_OF_ONE:
            return told(session, "serving", seconds)
        self._watching[session] += 1
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), seconds)
        finally:
            self._watching[session] -= 1
            if not self._watching[session]:
                del self._watching[session]
        return told(session, "leaving" if self._leaving.is_set() else "serving")
