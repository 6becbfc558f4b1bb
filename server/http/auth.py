"""Who may use the API: only pages that belong here, so often, and with a key when one is set."""

from __future__ import annotations

import logging
from collections.abc import Collection
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from server.admission import neighbourhood
from server.http.access.admittance import Admittance
from server.http.access.cors import CORS_ORIGIN
from server.http.access.granted import CLIENT, GRANTED
from server.http.access.keys import Denied, asking, key_of
from server.http.access.neighbours import NEIGHBOURS
from server.http.errors import error_response, shaped
from server.http.origins import Asked, OwnNames, parse_authority
from server.http.proxies import NEIGHBOUR
from server.http.request_ids import named
from server.settings import Settings

log = logging.getLogger(__name__)

OPEN = frozenset({"/", "/foresight", "/static/{name}", "/docs", "/docs/{name}", "/healthz", "/readyz"})
"""Routes without secrets or effects, served to everybody under any name: the page must load before it can ask for a
key, or say what to configure; probes have no key."""

PARTLY_OPEN = frozenset({"/v1/status"})
"""Routes that everybody may ask, and that tell less to whom they do not know: there is no ``request[GRANTED]`` then."""


def is_open(request: web.Request) -> bool:
    """Whether this request is served to everybody."""
    return _route(request) in OPEN


def guard(settings: Settings, admittance: Admittance, behind: Collection[str] = ()) -> Middleware:
    """Checks the name asked for, the origin, the rate and the key of every request but those to :data:`OPEN` routes.

    Handlers find what let the request in as ``request[GRANTED]``. ``behind``: routes whose keys are judged by a server
    behind this one.
    """
    checks = _Checks(settings, admittance)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        neighbours = request.app.get(NEIGHBOURS)
        if neighbours is not None:
            request = neighbours.received(request)
        origin = checks.names.grant(request.headers.get(hdrs.ORIGIN))
        if origin is not None:
            request[CORS_ORIGIN] = origin
        if is_open(request):
            return await handler(request)
        refusal = checks.before_the_key(request)
        if _route(request) in behind:

            async def counted(request: web.Request) -> web.StreamResponse:
                return checks.count(request) or await handler(request)

            return refusal or await _wherever(request, counted)
        if _route(request) in PARTLY_OPEN and (refusal is None or refusal.status == HTTPStatus.FORBIDDEN):
            if refusal is None:
                checks.key(request)
            return await handler(request)
        if refusal is None and request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
            # A browser asks before it sends, without the key.
            is_served = request.match_info.http_exception is None
            return await handler(request) if is_served else web.Response(status=204)

        async def with_key(request: web.Request) -> web.StreamResponse:
            return checks.key(request) or await handler(request)

        return refusal or await _wherever(request, with_key)

    return check


async def _wherever(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer of this node, or of the one that the request is for."""
    neighbours = request.app.get(NEIGHBOURS)
    if neighbours is None:
        return await handler(request)

    async def wherever(request: web.Request) -> web.StreamResponse:
        return await neighbours.served(request, handler)

    return await shaped(request, wherever)


class _Checks:
    def __init__(self, settings: Settings, admittance: Admittance) -> None:
        self.names = OwnNames(settings.public_origins, settings.allowed_origins, keyed=admittance.keyed)
        self._admittance = admittance

    def before_the_key(self, request: web.Request) -> web.Response | None:
        """Refuses what is no sound request, what is asked for under a foreign name or from a foreign page, and what an
        address asks too often: keys that are guessed included."""
        if (refusal := _unsound(request)) is not None:
            return refusal
        asked = self._admittance.proxies.asked(request.headers, request.host, request.remote)
        if (refusal := self._foreign(request, asked)) is not None:
            return refusal
        request[CLIENT] = neighbourhood(asked.client)
        if request.method == hdrs.METH_OPTIONS or request.remote == NEIGHBOUR:  # the other node has counted it
            return None
        return _too_many(self._admittance.wait_of(asked.client), f"requests from {request[CLIENT]}")

    def key(self, request: web.Request) -> web.Response | None:
        """Refuses what the key does not open; else notes what does."""
        asked = asking(_route(request), request.match_info, request.query)
        granted = self._admittance.judge(key_of(request.headers), asked)
        if isinstance(granted, Denied):
            challenge = {str(hdrs.WWW_AUTHENTICATE): granted.challenge}
            return error_response(granted.status, granted.code, granted.message, headers=challenge)
        request[GRANTED] = granted
        request[CLIENT] += f" {granted.secret.id}" if granted.secret is not None else ""
        return _too_many(self._admittance.wait_with(granted), "requests with this key")

    def count(self, request: web.Request) -> web.Response | None:
        """Refuses what is asked too often with a key that is judged elsewhere."""
        if request.method == hdrs.METH_OPTIONS:
            return None
        return _too_many(self._admittance.wait_of_key(key_of(request.headers)), "requests with this key")

    def _foreign(self, request: web.Request, asked: Asked) -> web.Response | None:
        """Refuses what is asked for under a foreign name, or from a foreign page, in words that help its owner."""
        if not self.names.knows(asked.host):
            host = asked.host.host
            code, param = "host_not_allowed", hdrs.HOST
            message = (
                f"this server does not go by the name {host}: without an API key it serves this machine only, as "
                "localhost or 127.0.0.1. If people are to reach it under that name, for instance through a reverse "
                f"proxy, list its address in the setting public_origins (VISAVIS_PUBLIC_ORIGINS=https://{host})"
            )
        elif not self.names.welcomes(asked):
            shown = ascii(asked.origin)[1:-1]
            code, param = "origin_not_allowed", hdrs.ORIGIN
            message = (
                f"pages from {shown} may not use this server. If that is its own page behind a reverse proxy, list it "
                f"in the setting public_origins (VISAVIS_PUBLIC_ORIGINS={shown}); if it is another site's, in "
                "allowed_origins"
            )
        else:
            return None
        log.info("refused %s from %s: %s", named(request), asked.client, code)
        return error_response(403, code, message, param)


def _too_many(seconds: int, what: str) -> web.Response | None:
    if not seconds:
        return None
    message = f"too many {what}: come again in {seconds} s"
    return error_response(429, "rate_limit_exceeded", message, headers={hdrs.RETRY_AFTER: str(seconds)})


def _unsound(request: web.Request) -> web.Response | None:
    if len(request.headers.getall(hdrs.HOST, ())) <= 1 and parse_authority(request.host) is not None:
        return None
    return error_response(400, "invalid_host", "the Host header must be one host, perhaps with a port", hdrs.HOST)


def _route(request: web.Request) -> str:
    """As it was added to the router; empty when nothing is served there."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
