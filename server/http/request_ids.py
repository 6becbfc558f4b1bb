"""``X-Request-Id`` of every response: what a client's report and the log's lines of a failure have in common."""

from __future__ import annotations

import secrets

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
    """Put it into a response whose headers are about to be sent."""
    response.headers[X_REQUEST_ID] = request_id(request)
