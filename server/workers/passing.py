"""Requests and WebSockets passed on to another process of ours, and its answers back: a reverse proxy.

The other is a worker of this machine, behind a Unix socket, or another node (:mod:`server.cluster.door`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import WSMsgType, hdrs, web
from aiohttp.typedefs import LooseHeaders
from multidict import CIMultiDict
from yarl import URL

from server.http.errors import HttpError
from server.http.json_input import read_json
from server.http.proxies import Proxies
from server.transports.websocket.event_socket import LARGEST_RECEIVED

log = logging.getLogger(__name__)

LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.1, 0.5
"""Between looks at whether the client is still there; the longer it waits, the rarer."""
LARGEST_HEADER = 64 << 10
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "x-visavis-node",  # of a request between two nodes
    }
)
"""Of one connection and not of the request (RFC 9110, 7.6.1)."""
_HANDSHAKE = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "content-length",
    }
)
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker's answer to a handshake that it does not complete."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


T = TypeVar("T")
Mark = Callable[[web.Request, CIMultiDict[str]], None]
"""Adds to the headers of a request what only this way needs."""
Lost = Callable[[], bool]
"""Whether the other was found to stand still: then nobody waits for it any more."""
CLOSE_SECONDS = 2.0
"""For the other to end a WebSocket, too."""
_refusal: ContextVar[list[Refused] | None] = ContextVar("refusal", default=None)


class Passing:
    """The connections to one other. ``connector`` reaches it at ``base``; ``scheme`` is the one that is spoken here; it
    is told whose request it is. Close it with :meth:`close`."""

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
        proxies: Proxies,
        scheme: str,
        base: str = "http://localhost",
        mark: Mark = lambda request, headers: None,
    ) -> None:
        self._proxies = proxies
        self._scheme = scheme
        self._base = base
        self._mark = mark
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(_keep_refusal)
        self._client = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
            auto_decompress=False,
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.CONTENT_TYPE, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=LARGEST_HEADER,
            max_field_size=LARGEST_HEADER,
            trace_configs=[trace],
        )

    async def close(self) -> None:
        """End all of them. Idempotent."""
        await self._client.close()

    async def answer(
        self,
        request: web.Request,
        body: bytes | None = None,
        held: Collection[int] = (),
        lost: Lost = lambda: False,
    ) -> web.StreamResponse:
        """The other's answer, as it comes. ``body``: what has been read of the request already, all of it. One with a
        status among ``held`` is returned whole, and the client has not been answered yet. Raises :class:`AwayError`;
        of one that is ``lost`` before it has answered, :class:`StoppedError`."""
        if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket" and request.method == hdrs.METH_GET:
            return await self._socket(request, lost)
        async with await self._asked(request, body, lost) as told:
            if told.status in held:
                return web.Response(status=told.status, body=await told.read(), headers=_end_to_end(told.headers))
            response = web.StreamResponse(status=told.status, reason=told.reason, headers=_end_to_end(told.headers))
            await response.prepare(request)
            try:
                await _for_client(request, _copied(told, response), lost)
            except (aiohttp.ClientError, StoppedError) as error:
                log.warning("a worker has broken an answer off: %s", error)
                told.close()
                if request.transport is not None:
                    request.transport.abort()  # the client must not take what it has for all of it
                raise ConnectionResetError("the worker has broken its answer off") from error
            await response.write_eof()
            return response

    async def post(self, path: str, headers: LooseHeaders, body: bytes) -> int:
        """Tell the other something of our own; the status. Raises :class:`aiohttp.ClientError`."""
        async with self._client.post(f"{self._base}{path}", headers=headers, data=body) as told:
            return told.status

    async def fetch(self, path: str, headers: LooseHeaders) -> tuple[int, bytes]:
        """What this process itself wants to know of the other: status and body. Raises :class:`aiohttp.ClientError`."""
        async with self._client.get(f"{self._base}{path}", headers=headers) as told:
            return told.status, await told.read()

    def headers_of(self, request: web.Request) -> CIMultiDict[str]:
        """Those of the request as the other is to get them: who asks is told by us and nobody else."""
        asked = self._proxies.asked(request.headers, request.host, request.remote)
        headers = _end_to_end(request.headers)
        for name in _FORWARDED:
            headers.popall(name, None)
        headers["X-Forwarded-For"] = asked.client
        headers["X-Forwarded-Proto"] = asked.scheme or self._scheme
        host, port = asked.host.host, asked.host.port
        headers["X-Forwarded-Host"] = host if port is None else f"{host}:{port}"
        self._mark(request, headers)
        return headers

    # ------------------------------------------------------------------------------------------------ inside

    def _url(self, request: web.Request) -> URL:
        """Where the other is asked: as it was asked here, letter by letter."""
        if not request.raw_path.startswith("/"):
            raise HttpError(400, "invalid_request", "the target of a request must be a path (RFC 9112, 3.2.1)")
        return URL(f"{self._base}{request.raw_path}", encoded=True)

    async def _asked(self, request: web.Request, body: bytes | None, lost: Lost) -> aiohttp.ClientResponse:
        """The head of the answer; a client that leaves before has its request taken back."""
        streamed = _Streamed(request) if body is None and request.body_exists else None
        call = self._client.request(
            request.method,
            self._url(request),
            headers=self.headers_of(request),
            data=body if streamed is None else streamed.pieces(),
            allow_redirects=False,
        )
        try:
            return await _for_client(request, _awaited(call), lost)
        except aiohttp.ClientError as error:
            if streamed is not None and streamed.broken:
                message = "the body is not what Transfer-Encoding or Content-Length say it is, or has not come whole"
                raise HttpError(400, "invalid_body", message) from error
            raise away() from error

    async def _socket(self, request: web.Request, lost: Lost) -> web.StreamResponse:
        """A WebSocket of the worker's, and the client's, joined: every message goes through, in its order."""
        refused: list[Refused] = []
        _refusal.set(refused)
        headers = self.headers_of(request)
        for name in _HANDSHAKE:
            headers.popall(name, None)
        offered = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
        protocols = [name.strip() for text in offered for name in text.split(",") if name.strip()]
        try:
            call = self._client.ws_connect(
                self._url(request),
                headers=headers,
                protocols=protocols,
                autoclose=False,
                autoping=False,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            )
            inner = await _for_client(request, _awaited(call), lost)
        except aiohttp.WSServerHandshakeError as error:
            if not refused:
                raise away() from error
            told = refused[0]
            return web.Response(status=told.status, body=told.body, headers=_end_to_end(told.headers))
        except aiohttp.ClientError as error:
            raise away() from error
        chosen = (inner.protocol,) if inner.protocol else ()
        outer = web.WebSocketResponse(
            autoping=False, autoclose=False, protocols=chosen, compress=False, max_msg_size=LARGEST_RECEIVED
        )
        try:
            await outer.prepare(request)
            await _joined(outer, inner, lost)
        finally:
            await inner.close()
        return outer


def to_socket(path: Path) -> aiohttp.BaseConnector:
    """Connections to who listens on a Unix socket."""
    return aiohttp.UnixConnector(str(path), limit=0, keepalive_timeout=15.0)


class _Streamed:
    """The body of a request as it comes. ``broken``: it did not come whole, which is no fault of whom it is for."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self.broken = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """As they come."""
        try:
            async for piece in self._content.iter_any():
                yield piece
        except Exception:
            self.broken = True
            raise


async def _awaited(call: Awaitable[T]) -> T:
    return await call


async def _copied(told: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for piece in told.content.iter_any():
        await response.write(piece)


async def _for_client(request: web.Request, work: Coroutine[Any, Any, T], lost: Lost) -> T:
    """What ``work`` returns; it is taken back when the client leaves before: the other may never say another word. And
    when that is known (``lost``): :class:`StoppedError`."""
    task, pause = asyncio.create_task(work, name="passing"), LOOK_SECONDS
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=pause)
            if not task.done() and (request.transport is None or request.transport.is_closing()):
                raise ConnectionResetError("the client has left")
            if not task.done() and lost():
                raise StoppedError(503, "worker_restarting", "this part of the server does not answer: come again")
            pause = min(1.2 * pause, LONGEST_LOOK_SECONDS)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _joined(outer: web.WebSocketResponse, inner: aiohttp.ClientWebSocketResponse, lost: Lost) -> None:
    ways = {
        asyncio.create_task(_pump(outer, inner), name="passing-in"),
        asyncio.create_task(_pump(inner, outer), name="passing-out"),
    }
    done: set[asyncio.Task[None]] = set()
    try:
        while not done and not lost():
            done, _ = await asyncio.wait(ways, timeout=LONGEST_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    if not done:
        await outer.close(code=1011)


async def _pump(source: Any, sink: Any) -> None:
    """Every message of one to the other, and then how it ended."""
    while True:
        message = await source.receive()
        match message.type:
            case WSMsgType.TEXT:
                await sink.send_str(message.data)
            case WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            case WSMsgType.PING:
                await sink.ping(message.data)
            case WSMsgType.PONG:
                await sink.pong(message.data)
            case WSMsgType.CLOSE:
                await sink.close(code=message.data or 1000, message=(message.extra or "").encode())
                return
            case _:  # it is broken off
                await sink.close(code=1011 if source.close_code in (None, 1006) else source.close_code)
                return


async def _keep_refusal(session: aiohttp.ClientSession, context: Any, told: aiohttp.TraceRequestEndParams) -> None:
    """aiohttp tells of a refused handshake only its status: keep what the worker says."""
    refused, response = _refusal.get(), told.response
    if refused is not None and response.status != 101:
        refused.append(Refused(response.status, CIMultiDict(response.headers), await response.read()))


def _end_to_end(headers: Any) -> CIMultiDict[str]:
    named = {name.strip().lower() for text in headers.getall(hdrs.CONNECTION, ()) for name in text.split(",")}
    skipped = _HOP_BY_HOP | (named - {"close", "upgrade", "keep-alive"})
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in skipped)


class AwayError(HttpError):
    """The worker is gone, and has answered nothing; another may be about to take its place."""


class StoppedError(AwayError):
    """It has not ended, and answers nothing any more."""


def away() -> AwayError:
    """What a client is told then."""
    return AwayError(503, "worker_restarting", "this part of the server is being restarted: come again")


def json_of(body: bytes) -> Any:
    """The JSON in a body; ``None`` where there is none: whoever serves the request says what is wrong with it."""
    try:
        return read_json(body)
    except ValueError:
        return None
