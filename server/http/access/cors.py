"""What a browser is told when the page of another site asks (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

CORS_ORIGIN = web.RequestKey("cors_origin", str)
"""The origin that may read the response, or ``*``."""
METHODS = "GET, POST, PATCH, DELETE, OPTIONS"
HEADERS = ("Authorization", "Content-Type", "X-OpenAI-Agents-SDK", "If-Match", "ETag")
"""By name, as ``*`` does not cover ``Authorization``. Some WHIP clients send ``ETag`` with a request."""
EXPOSED = "Location, ETag, Link, Accept-Patch, Accept-Post, X-Request-Id, Retry-After, X-Run-Id, X-Pipeline, X-Partial"
PREFLIGHT_SECONDS = 600
"""For which a browser need not ask again."""
_ASKED = re.compile(r"[A-Za-z0-9-]{1,60}(?:, ?[A-Za-z0-9-]{1,60}){0,40}")


async def allow_reading(request: web.Request, response: web.StreamResponse) -> None:
    """Let the page that asked read the response, whose headers are about to be sent."""
    if (origin := request.get(CORS_ORIGIN)) is None:
        return
    response.headers.update(
        {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: allowed_headers(
                request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
            ),
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_SECONDS),
            hdrs.VARY: hdrs.ORIGIN,
        }
    )


def allowed_headers(asked: str) -> str:
    """Those that clients are known to send, and those that the browser asks for: clients have headers of their own."""
    extra = re.split(r", ?", asked) if _ASKED.fullmatch(asked) else []
    known = {name.lower() for name in HEADERS}
    return ", ".join([*HEADERS, *(name for name in extra if name.lower() not in known)])
