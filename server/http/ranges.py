"""Files over HTTP: the whole of one, or the range that is asked for (RFC 9110, 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from aiohttp import hdrs, web

from server.http.errors import error_response

BLOCK = 256 * 1024
"""Bytes that are read at a time."""
Read = Callable[..., Awaitable[Any]]
"""Runs a function that blocks with its arguments, on a worker."""


def is_ranged(request: web.Request, etag: str) -> bool:
    """Whether a part of the version ``etag`` is asked for."""
    return hdrs.RANGE in request.headers and request.headers.get(hdrs.IF_RANGE, etag) == etag


def range_of(request: web.Request, size: int) -> tuple[int, int]:
    """From, and up to; not before that when it is none."""
    try:
        start, end, _ = request.http_range.indices(size)
    except ValueError:
        return size, size
    return start, end


async def send_file(request: web.Request, path: Path, headers: dict[str, str], read: Read) -> web.StreamResponse:
    """The file, as it is now, or a range of it. ``headers`` are those of its kind. Raises ``OSError``."""
    with await read(Path.open, path, "rb") as opened:
        size = await read(_size, opened)
        ranged = hdrs.RANGE in request.headers
        start, end = range_of(request, size) if ranged else (0, size)
        headers = {**headers, hdrs.ACCEPT_RANGES: "bytes"}
        if ranged and start >= end:
            message = f"{request.headers[hdrs.RANGE][:80]} is not a range of the {size} bytes of {path.name}"
            unmet = {str(hdrs.CONTENT_RANGE): f"bytes */{size}"}
            return error_response(416, "range_not_satisfiable", message, headers=unmet)
        if ranged:
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            await copy(opened, response, start, end, read)
        await response.write_eof()
        return response


async def copy(file: IO[bytes], response: web.StreamResponse, start: int, end: int, read: Read) -> None:
    """Write a part of a file to a response that has begun."""
    file.seek(start)
    while start < end:
        block = await read(file.read, min(BLOCK, end - start))
        if not block:
            raise ConnectionResetError("the file has become shorter")  # the client sees that it is not whole
        await response.write(block)
        start += len(block)


def _size(file: IO[bytes]) -> int:
    return file.seek(0, 2)
