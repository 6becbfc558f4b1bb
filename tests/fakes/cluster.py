"""Several nodes in one process: a store in memory, and real servers with fake engines that share it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from server.cluster.build import among_of, node_of, shared_of
from server.cluster.local import OneProcess
from server.cluster.node import Node
from server.cluster.store import StoreAwayError
from server.http.access.load import LOAD
from server.http.app import create_app
from server.http.signaling.offer import REGISTRY
from server.http.web_server import WebServer
from server.sessions import Registry
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.worker import CountingModel

SECRET = "a secret of all nodes"


class FakeStore:
    """Implements :class:`~server.cluster.store.Store`. Nothing expires by itself; see :meth:`expire`."""

    def __init__(self) -> None:
        self.leases: dict[str, tuple[str, str]] = {}
        self.values: dict[str, bytes] = {}
        self.away = False
        self.open = asyncio.Event()
        """While it is not set, nothing is answered."""
        self.open.set()
        self.asked = 0
        self.spent: dict[str, float] = {}

    def expire(self, name: str) -> None:
        """The lease of a node has ended."""
        self.leases.pop(name, None)

    async def _answer(self) -> None:
        self.asked += 1
        await self.open.wait()
        if self.away:
            raise StoreAwayError("it is away")

    async def hold(self, name: str, token: str, report: str, seconds: float) -> bool:
        await self._answer()
        if self.leases.get(name, (token,))[0] != token:
            return False
        self.leases[name] = token, report
        return True

    async def release(self, name: str, token: str) -> None:
        await self._answer()
        if self.leases.get(name, ("",))[0] == token:
            del self.leases[name]

    async def reports(self) -> list[str]:
        await self._answer()
        return [report for _, report in self.leases.values()]

    async def put(self, values: Mapping[str, bytes], seconds: float) -> None:
        await self._answer()
        self.values.update(values)

    async def touch(self, names: list[str], seconds: float) -> list[bool]:
        await self._answer()
        return [name in self.values for name in names]

    async def get(self, names: list[str]) -> list[bytes | None]:
        await self._answer()
        return [self.values.get(name) for name in names]

    async def drop(self, names: list[str]) -> None:
        await self._answer()
        for name in names:
            self.values.pop(name, None)

    async def spend(self, seconds: Mapping[str, float]) -> list[float]:
        await self._answer()
        for name, one in seconds.items():
            self.spent[name] = self.spent.get(name, 0.0) + one
        return [self.spent[name] for name in seconds]

    async def close(self) -> None:
        pass


@dataclass
class Running:
    """One node."""

    node: Node
    url: str
    app: Any
    http: aiohttp.ClientSession
    server: WebServer

    @property
    def name(self) -> str:
        return self.node.membership.name

    @property
    def sessions(self) -> Registry:
        registry: Registry = self.app[REGISTRY]
        return registry

    async def crash(self) -> None:
        """Be gone, without a goodbye to the others: as a killed process is."""
        self.node.membership._task.cancel()  # type: ignore[union-attr]
        self.node._shared.leave()  # type: ignore[union-attr]  # what it has said stays
        await self.server.close()


@dataclass
class Nodes:
    """All of them. ``nodes["a"]`` is the node of that name."""

    store: FakeStore = field(default_factory=FakeStore)
    running: dict[str, Running] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Running:
        return self.running[name]

    async def renew(self) -> None:
        """Every node tells of itself, and learns of the others."""
        for _ in range(2):
            for one in self.running.values():
                if not one.node.membership._task.cancelled():  # type: ignore[union-attr]
                    await one.node.membership.renew()


@asynccontextmanager
async def nodes(places: Mapping[str, int], **given: Any) -> AsyncIterator[Nodes]:
    """Nodes by name, each with so many places."""
    made = Nodes()
    async with AsyncExitStack() as stack:
        for name, count in places.items():
            made.running[name] = await _start(stack, made.store, name, count, given)
        await made.renew()
        yield made


async def _start(stack: AsyncExitStack, store: FakeStore, name: str, count: int, given: Mapping[str, Any]) -> Running:
    settings = load_settings(
        {
            "port": 0,
            "shutdown_timeout": 0.5,
            "ice_address": ("127.0.0.1",),
            "max_sessions": count,
            "cluster_url": "redis://127.0.0.1:1",
            "cluster_secret": SECRET,
            "node_name": name,
            "drain_seconds": 30.0,
            **given,
        }
    )
    engines = fake_engines(llm=CountingModel())
    stack.push_async_callback(engines.close)
    shared = shared_of(settings, store)
    app = create_app(settings, engines, among=among_of(settings, shared))
    server = WebServer(app, settings)
    local = OneProcess(app[REGISTRY], settings, app[LOAD])
    # The port is known when it listens, and the routes are there before.
    node = node_of(settings, "http://127.0.0.1:0", local, shared)
    assert node is not None
    node.add_to(app)
    await server.start()
    node.membership.address = server.url
    stack.push_async_callback(server.close)
    stack.push_async_callback(node.close)
    await node.start()
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    http = await stack.enter_async_context(aiohttp.ClientSession(server.url, headers=headers))
    return Running(node, server.url, app, http, server)
