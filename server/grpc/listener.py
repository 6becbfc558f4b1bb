"""The port: it listens from the beginning, serves once the engines are loaded, and ends politely.

While models load, and while calls end, ``grpc.health.v1`` says ``NOT_SERVING``; everything else is ``UNAVAILABLE``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection

from media.clock import MonotonicClock
from server.grpc.generated import (
    chat_pb2,
    embeddings_pb2,
    grpc_service_pb2,
    models_pb2,
    speech_pb2,
    vision_pb2,
)
from server.grpc.shell import Call, Servicer, Shell, ShellLimits
from server.http.access.admittance import Admittance
from server.http.access.client_secrets import ClientSecrets
from server.http.tls.context import made_here, tls_context
from server.load.state import Load
from server.settings import Settings, SettingsError

log = logging.getLogger(__name__)

SERVICES: Mapping[str, Any] = {
    service.full_name: service
    for module in (chat_pb2, embeddings_pb2, speech_pb2, vision_pb2, models_pb2, grpc_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
"""Full name → descriptor, of all that is served here beside health and reflection."""
OIP = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
_REFLECTION_NOW = "grpc.reflection.v1.ServerReflection"
"""How the same service is called since it is stable; its messages are the same on the wire."""
_OPEN = ("ServerLive", "ServerReady")
"""Calls of the inference protocol that everybody may make: probes have no key."""
_MEGABYTE = 1 << 20
_KEEPALIVE = 30_000
"""Milliseconds."""


class GrpcListener:
    """A port that speaks gRPC. ``shared``: another process of ours may listen there, too, while one follows the other.

    Raises :class:`SettingsError` for a certificate that cannot be used."""

    def __init__(self, settings: Settings, *, shared: bool = False) -> None:
        self.port = 0
        """Where it listens, after :meth:`start`."""
        self._settings = settings
        self._is_shared = shared
        admittance = Admittance(settings, ClientSecrets(time.time), MonotonicClock())
        self._shell = Shell(admittance, ShellLimits(settings.max_connections_per_address, settings.request_timeout))
        self._health = health.HealthServicer()
        self._credentials = _credentials(settings)
        self._server: Any = None
        self._draining: asyncio.Task[None] | None = None

    @property
    def calls(self) -> int:
        """That go on now."""
        return self._shell.calls

    async def start(self) -> None:
        """Listen. Raises :class:`SettingsError` when the port cannot be had."""
        host, port = self._settings.host_of_grpc, self._settings.grpc_port
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server = server = grpc.aio.server(
            options=_options(self._settings, shared=self._is_shared),
            maximum_concurrent_rpcs=self._settings.max_connections,
        )
        server.add_generic_rpc_handlers(self._handlers())
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(place)
            else:
                self.port = server.add_secure_port(place, self._credentials)
        except RuntimeError as error:
            raise SettingsError(f"grpc_port: cannot listen on {place}") from error
        await self._tell(serving=False)
        await server.start()
        log.info("gRPC is spoken on %s port %d", host, self.port)

    async def open(self, servicers: Mapping[str, Servicer], admittance: Admittance, load: Load | None = None) -> None:
        """From now on these serve: the full name of each of :data:`SERVICES` → its servicer; ``load`` as for
        :meth:`Shell.open`."""
        if missing := SERVICES.keys() - servicers.keys():
            raise ValueError(f"nobody serves {', '.join(sorted(missing))}")
        self._shell.open(servicers, admittance, load)
        await self._tell(serving=True)

    def drain(self, seconds: float) -> None:
        """Take no new calls; those that go on have so long to end."""
        if self._draining is None and self._server is not None:
            self._draining = asyncio.create_task(self._drain(seconds), name="grpc-drain")

    async def close(self) -> None:
        """End what is left. Idempotent."""
        self.drain(0.0)
        if self._draining is not None:
            await self._draining

    # ------------------------------------------------------------------------------------------------ inside

    async def _drain(self, seconds: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        shell = self._shell
        shell.always(_HEALTH.full_name, _Health(self._health), keyless=True)
        reflecting = _Reflection((*SERVICES, _HEALTH.full_name, _REFLECTION.full_name))
        for name in (_REFLECTION.full_name, _REFLECTION_NOW):
            shell.always(name, reflecting)
        for name in _OPEN:
            shell.keyless(f"/{OIP}/{name}")
        shell.always(OIP, _Loading())
        own = [shell.handler(service) for service in SERVICES.values()]
        return [*own, shell.handler(_HEALTH), shell.handler(_REFLECTION), shell.handler(_REFLECTION, _REFLECTION_NOW)]

    async def _tell(self, *, serving: bool) -> None:
        kinds = health_pb2.HealthCheckResponse
        for name in ("", *SERVICES):
            await self._health.set(name, kinds.SERVING if serving else kinds.NOT_SERVING)


@dataclass(frozen=True, slots=True)
class _Health:
    """Of its package, as a servicer."""

    of: Any

    async def check(self, request: Any, call: Call) -> Any:
        return await self.of.Check(request, call.context)

    async def watch(self, request: Any, call: Call) -> Any:
        await self.of.Watch(request, call.context)
        yield  # it writes by itself, until it is cancelled


class _Reflection:
    """Of its package, as a servicer."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._of = reflection.ReflectionServicer(names)

    def server_reflection_info(self, requests: Any, call: Call) -> Any:
        return self._of.ServerReflectionInfo(requests, call.context)


class _Loading:
    """What the inference protocol says before the engines are there."""

    async def server_live(self, request: Any, call: Call) -> grpc_service_pb2.ServerLiveResponse:
        """The process is up."""
        return grpc_service_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, request: Any, call: Call) -> grpc_service_pb2.ServerReadyResponse:
        """Nothing would be served yet."""
        return grpc_service_pb2.ServerReadyResponse(ready=False)


def _options(settings: Settings, *, shared: bool) -> list[tuple[str, int]]:
    size = settings.grpc_message_mb * _MEGABYTE
    return [
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", size),
        ("grpc.max_send_message_length", size),
        ("grpc.max_connection_idle_ms", int(settings.idle_timeout * 1000)),
        ("grpc.keepalive_time_ms", _KEEPALIVE),
        ("grpc.keepalive_timeout_ms", int(settings.peer_timeout * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE // 3),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _credentials(settings: Settings) -> Any:
    """With the certificate of HTTPS, also after it has been renewed; ``None`` where none is used."""
    if tls_context(settings) is None:
        return None
    certificate = _Certificate(settings)
    return grpc.dynamic_ssl_server_credentials(certificate.read(), certificate.renewed, False)


@dataclass(slots=True)
class _Certificate:
    """Files that may be renewed while the server runs."""

    settings: Settings
    stamps: tuple[int, ...] = field(default=())

    def read(self) -> Any:
        """The certificate as it is now."""
        certificate, key = self._paths()
        self.stamps = tuple(path.stat().st_mtime_ns for path in (certificate, key))
        return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())])

    def renewed(self) -> Any:
        """Another one than before, or ``None``. Called with each connection, on a thread of gRPC."""
        try:
            stamps = tuple(path.stat().st_mtime_ns for path in self._paths())
            return self.read() if stamps != self.stamps else None
        except (OSError, SettingsError) as error:
            log.warning("the certificate of before is kept: %s", error)
            return None

    def _paths(self) -> tuple[Path, Path]:
        if self.settings.tls_self_signed:
            path = made_here(self.settings).path
            return path, path
        assert self.settings.tls_cert is not None and self.settings.tls_key is not None  # settings have seen to it
        return self.settings.tls_cert, self.settings.tls_key
