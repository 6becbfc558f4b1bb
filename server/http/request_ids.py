"""What a request is called in the log: its route, and the ``X-Request-Id`` that its response carries."""

from __future__ import annotations

import secrets
from contextlib import suppress

from aiohttp import web

X_REQUEST_ID = "X-Request-Id"
_REQUEST_ID = web.RequestKey("request_id", str)


def new_request_id() -> str:
    """Made here, never taken from the client: it could imitate another's."""
    return f"req_{secrets.token_hex(12)}"


def request_id(request: web.BaseRequest) -> str:
    """The request's; made when it is first asked for."""
    if (known := request.get(_REQUEST_ID)) is None:
        request[_REQUEST_ID] = known = new_request_id()
    return known


async def tell_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put it into a response whose headers are about to be sent, unless it is another process's answer: then the log of
    that one knows it."""
    if X_REQUEST_ID not in response.headers:
        response.headers[X_REQUEST_ID] = request_id(request)


def named(request: web.BaseRequest) -> str:
    """Method and route, such as ``DELETE /v1/realtime/calls/{id}``: what a client puts into a path may be a secret."""
    match: web.UrlMappingMatchInfo | None = None
    with suppress(AssertionError):  # aiohttp has not looked for the route yet
        match = request.match_info if isinstance(request, web.Request) else None
    resource = match.route.resource if match is not None else None
    return f"{request.method} {resource.canonical if resource is not None else '(no route)'}"
