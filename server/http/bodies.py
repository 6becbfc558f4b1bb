"""The bodies of requests: read whole, within bounds of size and time, before a handler is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from server.http.errors import HttpError
from server.http.json_input import JsonInputError, read_json

LARGEST_BODY = 1 << 20
"""Bytes of a request body, after decompression, where a route does not allow more."""
LARGE_SECONDS = 6.0
"""A body that may be larger may take so many times as long to arrive."""
LARGE_BODIES = 192 << 20
"""Bytes of all larger bodies that are held at a time; who brings one more is asked to come again."""


def bodies(seconds: float, larger: Mapping[str, int] | None = None, streamed: Collection[str] = ()) -> Middleware:
    """Reads the body of every request that has a handler; it may take this many seconds to arrive.

    ``larger``: paths of routes → bytes, where these are more than usual. ``streamed``: paths of routes whose handlers
    read the body themselves, within bounds of their own.
    """
    held = 0

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal held
        if not request.body_exists or request.match_info.http_exception is not None:
            return await handler(request)
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else ""
        if path in streamed:
            return await handler(request)
        most = (larger or {}).get(path, LARGEST_BODY)
        size = most if _is_unknown(request) else request.content_length or 0
        if size <= LARGEST_BODY or most == LARGEST_BODY:
            await read_body(request, seconds)
            return await handler(request)
        if size > most:
            raise HttpError(413, "body_too_large", f"the body has {size:,} bytes; {most:,} are taken here")
        if held + size > LARGE_BODIES:
            raise HttpError(503, "server_busy", "too much is being uploaded at this moment")
        held += size
        try:
            request = request.clone(client_max_size=most)
            await read_body(request, seconds * LARGE_SECONDS)
            return await handler(request)
        finally:
            held -= size

    return read


def _is_unknown(request: web.Request) -> bool:
    """Whether nothing tells how large the body will be in memory."""
    return request.content_length is None or hdrs.CONTENT_ENCODING in request.headers


async def read_body(request: web.Request, seconds: float) -> None:
    """Read all of it, which the request keeps. Raises :class:`HttpError`, and what aiohttp raises for a larger one."""
    try:
        async with asyncio.timeout(seconds):
            await request.read()  # which keeps it
    except TimeoutError as error:
        message = f"the body did not arrive within {seconds:g} s"
        raise HttpError(408, "request_timeout", message) from error
    except web.RequestPayloadError as error:
        message = "the body is not what Content-Encoding or Transfer-Encoding say it is, or has not come whole"
        raise HttpError(400, "invalid_body", message) from error


async def text_body(request: web.Request) -> str:
    """The body as UTF-8 text. Raises :class:`HttpError`."""
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "invalid_body", "the body is no UTF-8 text") from error


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
