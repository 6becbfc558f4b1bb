"""The ports of Wyoming and gRPC, of which there is one each: the oldest worker has them, and the next takes them over.

Connections to them are long and few, and what they ask for needs no session, so one worker serves them all. A worker
that leaves hears nobody new and ends what goes on; the next listens already by then (``SO_REUSEPORT``), and clients of
one that was killed connect again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from aiohttp import web

from server.grpc.extra import GRPC_SHARED, grpc_listener, grpc_served
from server.settings import Settings, SettingsError
from server.wyoming.listener import listening

if TYPE_CHECKING:
    from server.grpc.listener import GrpcListener

log = logging.getLogger(__name__)

TRIES, PAUSE_SECONDS = 20, 0.25
"""To open a port that its last owner may just be losing."""


class Doors:
    """Of one worker: closed until :meth:`open`. ``settings`` name the ports, ``app`` serves already."""

    def __init__(self, app: web.Application, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._leaving = asyncio.Event()
        self._stack = AsyncExitStack()
        self._grpc: GrpcListener | None = None
        self._is_open = False

    async def open(self) -> str:
        """Take the ports; returns what is wrong, or nothing. Idempotent."""
        problem = ""
        for _ in range(TRIES):
            if self._is_open:
                return ""
            try:
                await self._opened()
                self._is_open = True
            except SettingsError as error:
                problem = str(error)
                await self._stack.aclose()
                await asyncio.sleep(PAUSE_SECONDS)
        if not self._is_open:
            log.error("nobody speaks Wyoming or gRPC any more: %s", problem)
        return "" if self._is_open else problem

    def leave(self, seconds: float) -> None:
        """Take no new connections; calls that go on have so long to end."""
        self._leaving.set()
        if self._grpc is not None:
            self._grpc.drain(seconds)

    async def close(self) -> None:
        """End everything. Idempotent."""
        await self._stack.aclose()

    async def _opened(self) -> None:
        settings, engines = self._settings, self._app[GRPC_SHARED].engines
        if settings.wyoming_port is not None:
            await self._stack.enter_async_context(
                listening(settings, engines.voice, engines.conversation_settings, self._leaving)
            )
        if settings.grpc_port is not None:
            await asyncio.to_thread(_import_grpc)  # calls go on meanwhile
        self._grpc = grpc_listener(settings, shared=True)
        if self._grpc is not None:
            await self._stack.enter_async_context(grpc_served(self._app[GRPC_SHARED], self._grpc, self._app))


class Claim:
    """A port that is kept for our workers, and refused to any other server. Raises :class:`SettingsError`."""

    def __init__(self, name: str, host: str, port: int) -> None:
        family, kind, protocol, _, place = _resolved(name, host, port)
        with suppress(OSError), socket.socket(family, kind, protocol) as asked:
            if asked.connect_ex(place) == 0:  # it would be shared with whoever listens there
                raise SettingsError(f"{name}: cannot listen on {host}:{port}: somebody else listens there")
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(place)
        except OSError as error:
            self._socket.close()
            raise SettingsError(f"{name}: cannot listen on {host}:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Nobody needs it any more. Idempotent."""
        self._socket.close()


def _import_grpc() -> None:
    for name in ("server.grpc.listener", "server.grpc.runs", "server.grpc.services"):
        import_module(name)


def _resolved(name: str, host: str, port: int) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple]:  # type: ignore[type-arg]
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SettingsError(f"{name}: cannot listen on {host}:{port}: {error.strerror}") from error
