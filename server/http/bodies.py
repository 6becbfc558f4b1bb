"""The bodies of requests: read whole, within bounds of size and time, before a handler is asked."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from server.http.errors import HttpError
from server.http.json_input import JsonInputError, read_json

LARGEST_BODY = 1 << 20
"""Bytes of a request body, after decompression."""


def bodies(seconds: float) -> Middleware:
    """Reads the body of every request that has a handler; it may take this many seconds to arrive."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists and request.match_info.http_exception is None:
            await _read(request, seconds)
        return await handler(request)

    return read


async def _read(request: web.Request, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await request.read()  # which keeps it
    except TimeoutError as error:
        message = f"the body did not arrive within {seconds:g} s"
        raise HttpError(408, "request_timeout", message) from error
    except web.RequestPayloadError as error:
        message = "the body is not what Content-Encoding or Transfer-Encoding say it is, or has not come whole"
        raise HttpError(400, "invalid_body", message) from error


async def json_body(request: web.Request) -> Any:
    """The body as JSON, which is UTF-8 (RFC 8259). Raises :class:`HttpError`."""
    charset = (request.charset or "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii", "ascii"):
        message = f"JSON is UTF-8 (RFC 8259), not {ascii(charset[:40])[1:-1]}"
        raise HttpError(415, "unsupported_charset", message, hdrs.CONTENT_TYPE)
    try:
        return read_json(await request.read())
    except JsonInputError as error:
        raise HttpError(400, error.code, f"the body cannot be read: {error}") from error
