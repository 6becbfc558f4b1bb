"""Who may use the API: a bearer key when one is set, and only pages that belong here."""

from __future__ import annotations

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.http_errors import error_response
from server.settings import Settings

OPEN_PATHS = ("/healthz", "/")
"""Served without a key: the page must load before it can ask for one."""


def is_open(path: str) -> bool:
    """Whether ``path`` needs no key."""
    return path in OPEN_PATHS or path.startswith("/static/")


def guard(settings: Settings) -> Middleware:
    """Checks the key and the origin of every request."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and not _same_site(origin, request) and not _allowed(origin, settings):
            message = f"pages from {origin} may not use this server; add it to allowed_origins"
            return error_response(403, "origin_not_allowed", message)
        if request.method == "OPTIONS" and origin is not None:
            return web.Response(status=204, headers=_cors(origin))
        if settings.api_key is not None and not is_open(request.path):
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), settings.api_key.get_secret_value().encode()):
                message = "give the server's key as `Authorization: Bearer KEY`"
                return error_response(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
        response = await handler(request)
        if origin is not None and not response.prepared:
            response.headers.update(_cors(origin))
        return response

    return check


def _same_site(origin: str, request: web.Request) -> bool:
    return origin.partition("://")[2] == request.host


def _allowed(origin: str, settings: Settings) -> bool:
    return "*" in settings.allowed_origins or origin in settings.allowed_origins


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Vary": "Origin",
    }
