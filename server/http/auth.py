"""Who may use the API: a bearer key when one is set, and only pages that belong here."""

from __future__ import annotations

import hmac
import logging
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from server.http.errors import error_response
from server.http.origins import OwnNames, parse_authority
from server.http.proxies import Proxies
from server.settings import Settings

log = logging.getLogger(__name__)

GRANT = web.RequestKey("grant", str)
"""What to tell the browser of the page of another site that asked."""
_HEADERS = re.compile(r"[A-Za-z0-9-]{1,60}(?:, ?[A-Za-z0-9-]{1,60}){0,40}")
OPEN = frozenset({"/", "/static/{name}", "/healthz", "/readyz"})
"""Routes without secrets or effects, served to everybody under any name: the page must load before it can ask for a
key, or say what to configure; probes have no key."""


def is_open(request: web.Request) -> bool:
    """Whether this request is served to everybody."""
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in OPEN


def guard(settings: Settings) -> Middleware:
    """Checks the name asked for, the origin and the key of every request but those to :data:`OPEN` routes."""
    names = OwnNames(settings.public_origins, settings.allowed_origins, keyed=settings.api_key is not None)
    proxies = Proxies(settings.trusted_proxies)
    key = settings.api_key.get_secret_value().encode() if settings.api_key is not None else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        grant = names.grant(request.headers.get(hdrs.ORIGIN))
        if grant is not None:
            request[GRANT] = grant
        if is_open(request):
            return await handler(request)
        refusal = _unsound(request) or _foreign(request, names, proxies)
        if refusal is None and request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
            return web.Response(status=204)  # a browser asks before it sends, without the key
        if refusal is None and key is not None:
            refusal = _unauthorized(request, key)
        return refusal or await handler(request)

    return check


def _unsound(request: web.Request) -> web.Response | None:
    if len(request.headers.getall(hdrs.HOST, ())) <= 1 and parse_authority(request.host) is not None:
        return None
    return error_response(400, "invalid_host", "the Host header must be one host, perhaps with a port", hdrs.HOST)


def _foreign(request: web.Request, names: OwnNames, proxies: Proxies) -> web.Response | None:
    """Refuses what is asked for under a foreign name, or from a foreign page, in words that help its owner."""
    asked = proxies.asked(request.headers, request.host, request.remote)
    if not names.knows(asked.host):
        host = asked.host.host
        code, param = "host_not_allowed", hdrs.HOST
        message = (
            f"this server does not go by the name {host}: without an API key it serves this machine only, as localhost "
            "or 127.0.0.1. If people are to reach it under that name, for instance through a reverse proxy, list its "
            f"address in the setting public_origins (VISAVIS_PUBLIC_ORIGINS=https://{host})"
        )
    elif not names.welcomes(asked):
        shown = ascii(asked.origin)[1:-1]
        code, param = "origin_not_allowed", hdrs.ORIGIN
        message = (
            f"pages from {shown} may not use this server. If that is its own page behind a reverse proxy, list it in "
            f"the setting public_origins (VISAVIS_PUBLIC_ORIGINS={shown}); if it is another site's, in allowed_origins"
        )
    else:
        return None
    log.info("refused %s %s from %s: %s", request.method, request.path, asked.client, code)
    return error_response(403, code, message, param)


def _unauthorized(request: web.Request, key: bytes) -> web.Response | None:
    """Refuses what lacks the key. The scheme is case-insensitive (RFC 9110, 11.1); a key without a scheme is none."""
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
    bearer = scheme.lower() == "bearer"
    if bearer and hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), key):
        return None
    message = "this is not the server's key" if bearer else "give the server's key as `Authorization: Bearer KEY`"
    return error_response(401, "invalid_api_key", message, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})


async def granted(request: web.Request, response: web.StreamResponse) -> None:
    """Let the page that asked read the response (CORS), whose headers are about to be sent."""
    if (grant := request.get(GRANT)) is not None:
        response.headers.update(
            {
                hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: grant,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _headers_for(request),
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PATCH, DELETE, OPTIONS",
                hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Location, Retry-After",
                hdrs.VARY: hdrs.ORIGIN,
            }
        )


def _headers_for(request: web.Request) -> str:
    """The headers that a page may send: those its browser asks for, as clients send headers of their own."""
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return asked if _HEADERS.fullmatch(asked) else "Authorization, Content-Type"
