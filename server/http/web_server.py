"""The port: listening, and what holds for every connection before its first request."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from server.admission import Doors
from server.descriptors import own_descriptors
from server.http.aiohttp_internals import Connection, Limits
from server.http.errors import HttpError, shaped
from server.http.proxies import Proxies
from server.http.request_ids import X_REQUEST_ID, request_id
from server.http.tls.context import take_up, tls_context
from server.http.tls.listener import EVERYWHERE, TlsListener, both_families
from server.settings import Settings, SettingsError

log = logging.getLogger(__name__)

RENEW_SECONDS = 3600.0
"""Between looks at the certificate, which may have been renewed."""
_LINGER_SECONDS = 2.0
"""How long the rest of a body that nobody wants is read, so that the client sees the answer."""
_END_SECONDS = 1.0
"""How long requests may take to end when the server stops."""
_BACKLOG = 512
_BEHIND_A_FRONT = 1 << 20
"""Connections: the front has counted those who came."""
_GREETED, _GREETED_PER_ADDRESS = 256, 32
"""TLS connections that are being set up at a time."""


class WebServer:
    """An application on a port, or on a Unix socket behind a front, where neither TLS nor limits of connections are.

    ``raw``: bodies are left as they were packed. Raises :class:`SettingsError` for a certificate that cannot be used.
    """

    def __init__(
        self, app: web.Application, settings: Settings, unix: Path | None = None, *, raw: bool = False
    ) -> None:
        self._settings = settings
        self._unix = unix
        self._raw = raw
        proxies, descriptors = Proxies(settings.trusted_proxies), own_descriptors()
        places = (settings.max_connections, settings.max_connections_per_address)
        self.doors = Doors(*(places if unix is None else (_BEHIND_A_FRONT, _BEHIND_A_FRONT)), proxies, descriptors)
        self._context = tls_context(settings) if unix is None else None
        self._greeting = Doors(_GREETED, _GREETED_PER_ADDRESS, proxies, descriptors)
        self._runner = _runner(app)
        self._server: asyncio.Server | None = None
        self._tls: TlsListener | None = None
        self._renewal: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._tls is not None:
            scheme, (host, port) = "https", self._tls.address
        elif self._server is not None:
            scheme, (host, port) = "http", self._server.sockets[0].getsockname()[:2]
        else:
            raise RuntimeError("start() first")
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Start the application and listen. Raises :class:`SettingsError` when the port cannot be had."""
        await _set_up(self._runner)
        loop = asyncio.get_running_loop()
        host, port = self._settings.host, self._settings.port
        timeouts = {"keepalive_timeout": self._settings.idle_timeout, "lingering_time": _LINGER_SECONDS}
        limits = Limits(self.doors, self._settings.request_timeout)
        packed = {"auto_decompress": False} if self._raw else {}

        def protocol() -> Connection:
            return Connection(_server_of(self._runner), limits, loop=loop, access_log=None, **timeouts, **packed)

        try:
            if self._unix is not None:
                self._server = await loop.create_unix_server(protocol, str(self._unix), backlog=_BACKLOG)
            elif self._context is None:
                where = {"sock": both_families(port)} if host == EVERYWHERE else {"host": host, "port": port}
                self._server = await loop.create_server(protocol, backlog=_BACKLOG, **where)
            else:
                listener = TlsListener(protocol, self._context, self._greeting, self._settings.request_timeout)
                await listener.start(host, port, _BACKLOG)
                self._tls = listener
                self._renewal = asyncio.create_task(_renew(self._context, self._settings), name="tls-renewal")
        except OSError as error:
            place = f"[{host}]" if ":" in host else host
            raise SettingsError(f"cannot listen on {place}:{port}: {error.strerror}") from error

    async def hand_over(self, app: web.Application) -> None:
        """From now on ``app`` serves, and the application of before ends with its connections."""
        runner = _runner(app)
        await _set_up(runner)
        before, self._runner = self._runner, runner
        await before.cleanup()

    async def close(self) -> None:
        """Accept nobody any more, end the application and every connection. Idempotent."""
        if self._server is not None:
            self._server.close()
        if self._tls is not None:
            await self._tls.close()
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal
        await self._runner.cleanup()


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, access_log=None, shutdown_timeout=_END_SECONDS)


async def _set_up(runner: web.AppRunner) -> None:
    await runner.setup()
    server = _server_of(runner)
    server.request_handler = partial(_outermost, handler=server.request_handler)


def _server_of(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("the application was not set up")
    return runner.server


async def _renew(context: ssl.SSLContext, settings: Settings) -> None:
    """Take up certificates that are renewed while the server runs."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            take_up(context, settings)
        except SettingsError as error:
            log.warning("the certificate of before is kept: %s", error)


async def _outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp does before the middlewares: finding the route, and the headers that it acts upon by itself."""

    request_id(request)  # now, for all that the request is cloned to

    async def understood(request: web.Request) -> web.StreamResponse:
        if request.version not in (HttpVersion10, HttpVersion11):
            raise HttpError(400, "invalid_request", "this server speaks HTTP/1.0 and HTTP/1.1")
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            raise HttpError(417, "expectation_failed", "only 100-continue can be expected", hdrs.EXPECT)
        return await handler(request)

    response = await shaped(request, understood)
    if not response.prepared:  # what is answered before the application is asked has none of its headers
        response.headers[X_REQUEST_ID] = request_id(request)
    return response
