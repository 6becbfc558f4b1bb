"""The door to this folder: gRPC is an optional extra, and what needs its packages is imported when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aiohttp import web

from media.clock import MonotonicClock
from pipelines.models.store import ModelStore
from server.engines.build import Engines
from server.http.access.admittance import Admittance
from server.http.access.load import LOAD
from server.http.pipelines.house import Pipelines
from server.http.pipelines.routes import PLACES, STORE
from server.http.rest.routes import CHATS, SPEAKING
from server.http.signaling.offer import REGISTRY
from server.http.tasks.routes import DOOR
from server.settings import Settings, SettingsError

if TYPE_CHECKING:
    from server.grpc.listener import GrpcListener

GRPC_PORT = web.AppKey("grpc_port", int)
_PACKAGES = ("grpc", "grpc_health", "grpc_reflection", "google.rpc")


@dataclass(frozen=True, slots=True)
class Shared:
    """What an application shares with gRPC beside what lies in it."""

    settings: Settings
    engines: Engines
    admittance: Admittance
    store: ModelStore
    house: Pipelines


def grpc_listener(settings: Settings, *, shared: bool = False) -> GrpcListener | None:
    """The port that ``settings`` name; it does not listen yet. ``None``: none is wanted. ``shared``: as for
    :class:`~server.grpc.listener.GrpcListener`.

    Raises :class:`SettingsError` where packages are missing, or a certificate cannot be used.
    """
    if settings.grpc_port is None:
        return None
    if missing := [name for name in _PACKAGES if not _is_there(name)]:
        raise SettingsError(f"grpc_port: needs the extra grpc ({missing[0]} is missing): pip install '.[grpc]'")
    from server.grpc.listener import GrpcListener

    return GrpcListener(settings, shared=shared)


GRPC_SHARED = web.AppKey("grpc_shared", Shared)
"""What is served as soon as there is a port."""


def add_grpc(app: web.Application, shared: Shared, listener: GrpcListener | None) -> None:
    """Serve gRPC as long as ``app`` lasts, if the settings want it; ``listener`` listens already, else one is made."""
    app[GRPC_SHARED] = shared
    made = listener or grpc_listener(shared.settings)
    if made is None:
        return

    async def drain(app: web.Application) -> None:
        made.drain(shared.settings.shutdown_timeout)

    app.on_shutdown.append(drain)
    app.cleanup_ctx.append(partial(_serve, shared, made, listener is not None))


async def _serve(shared: Shared, listener: GrpcListener, listens: bool, app: web.Application) -> AsyncIterator[None]:
    async with grpc_served(shared, listener, app, listens=listens):
        app[GRPC_PORT] = listener.port
        yield


@asynccontextmanager
async def grpc_served(
    shared: Shared, listener: GrpcListener, app: web.Application, *, listens: bool = False
) -> AsyncIterator[None]:
    """Serve gRPC for as long as the context lasts. Raises :class:`SettingsError` when the port cannot be had."""
    from server.grpc.runs import PipelineRuns
    from server.grpc.services import Served, Services

    runs = PipelineRuns(shared.house, app[PLACES], app[STORE])
    registry = app[REGISTRY]
    services = Services(
        Served(
            shared.settings,
            shared.engines,
            shared.store,
            app[DOOR],
            runs,
            app[CHATS],
            app[SPEAKING],
            lambda: registry.has_room,
            MonotonicClock(),
        )
    )
    try:
        if not listens:
            await listener.start()
        await listener.open(services.all, shared.admittance, app[LOAD])
        yield
    finally:
        await listener.close()
        services.close()


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
