"""``GET /v1/sessions/{session}/watch``: a request that waits for news of a session's process, whose end tells no peer.

Served where there are several processes: by the front of workers, and by the nodes of a cluster.
"""

from __future__ import annotations

import re
from typing import Literal

from aiohttp import hdrs, web

from server.http.errors import HttpError

WATCH = "/v1/sessions/{session}/watch"
WATCH_SECONDS, MOST_WATCH_SECONDS = 25.0, 55.0
"""For which a request waits for news of a session: proxies give up after 30 or 60 s."""
_WATCH = re.compile(r"/v1/sessions/(sess_[^/]{1,100})/watch")
State = Literal["serving", "leaving", "gone"]
"""``leaving``: it still serves, and the session should go on elsewhere; ``gone``: it does not serve any more."""


def watched_in(path: str) -> str | None:
    """The session that a request wants to watch."""
    found = _WATCH.fullmatch(path)
    return found[1] if found is not None else None


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


def told(session: str, state: State, again: float = 0.0) -> web.Response:
    """``again``: seconds after which the client is to ask once more, if it is not to do so at once."""
    body = {"session_id": session, "state": state, "again_in": again}
    return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})
