"""The application with its gRPC port, and clients of its services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="the extra grpc is not installed")
pytest.importorskip("grpc_health", reason="the extra grpc is not installed")
pytest.importorskip("google.rpc", reason="the extra grpc is not installed")

from pipelines.models.residency import Residency  # noqa: E402
from pipelines.tasks.service import TaskOptions, TaskService  # noqa: E402
from server.grpc.extra import GRPC_PORT  # noqa: E402
from server.grpc.listener import SERVICES  # noqa: E402
from tests.conftest import fake_engines  # noqa: E402
from tests.fakes.devices import only_cpu  # noqa: E402
from tests.fakes.grpc_client import Client  # noqa: E402


@dataclass
class Spoken:
    """A server that speaks gRPC."""

    app: Any
    port: int
    channel: Any

    def client(self, service: str, key: str | None = None) -> Client:
        """Of ``ChatService`` and the like."""
        found = next(one for name, one in SERVICES.items() if name.endswith(f".{service}"))
        return Client(self.channel, found, key)


@pytest.fixture
async def spoken(serve: Callable[..., Any], tmp_path: Any) -> AsyncIterator[Callable[..., Any]]:
    """``server = await spoken(llm=…, folders=(…,), grpc_message_mb=…)``: engines that do as told, and settings."""
    async with AsyncExitStack() as stack:

        async def start(
            *, folders: tuple[Any, ...] = (), settings: dict[str, Any] | None = None, **engines: Any
        ) -> Spoken:
            tasks = TaskService(None, residency := Residency(), only_cpu, TaskOptions(folders=folders))
            made = replace(fake_engines(**engines), tasks=tasks, residency=residency)
            _, app = await serve(made, cache=tmp_path, grpc_port=0, **(settings or {}))
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{app[GRPC_PORT]}")
            await stack.enter_async_context(channel)
            return Spoken(app, app[GRPC_PORT], channel)

        yield start
