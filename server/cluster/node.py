"""A server as one node of several: its parts put together, its routes, and its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from media.clock import Clock
from server.cluster.credentials import Credentials
from server.cluster.door import Door
from server.cluster.limits import SharedLimits
from server.cluster.membership import Local, Membership
from server.cluster.metrics import families, written
from server.cluster.sharing import Sharing
from server.cluster.store import Store
from server.cluster.watch import Watch
from server.cluster.writer import Writer
from server.http.access.admittance import LIMITS
from server.http.access.client_secrets import ClientSecret
from server.http.access.neighbours import NEIGHBOURS
from server.http.app import METRICS
from server.http.signaling.watching import WATCH
from server.settings import Settings
from server.workers.memory import ToldMemory

log = logging.getLogger(__name__)

NODES, DRAIN = "/v1/nodes", "/v1/node/drain"
LOOK_SECONDS = 0.2
"""Between looks at whether a node that is to end still has sessions."""
FLUSH_SECONDS = 2.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Commons:
    """What the parts of a node use together."""

    store: Store
    credentials: Credentials
    clock: Clock


class Shared(Collector):
    """What a process with sessions shares with other nodes. Implements
    :class:`~server.http.access.neighbours.Neighbours` for a worker: its front passes requests on."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        assert settings.cluster_secret is not None
        self.credentials = Credentials(settings.cluster_secret.get_secret_value(), time.time)
        self.store = store
        self.writer = Writer(store, self.credentials, clock)
        self.memory = ToldMemory(self.writer.keep, self.writer.forget)
        """Where the conversations of a server without workers are kept."""
        self.limits = SharedLimits(store, self.credentials, clock)
        self._sharing = Sharing(self.writer, clock)

    def tell_secret(self, secret: ClientSecret) -> None:
        """A client secret was made here, or has changed."""
        self._sharing.leave_secret(secret)

    def received(self, request: web.Request) -> web.Request:
        """As it is."""
        return request

    async def served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Here, with what other nodes know."""
        return await self._sharing.served(request, handler)

    def status(self) -> Json | None:
        """A worker is no node."""
        return None

    def collect(self) -> Iterable[Metric]:
        """For ``GET /metrics``."""
        return written(self.writer)

    def leave(self) -> None:
        """This process is about to end, and its conversations go on elsewhere."""
        self.memory.tell_now()
        self.writer.leave()

    def start(self) -> None:
        """Begin to write."""
        self.writer.start()

    async def close(self) -> None:
        """Write what waits, and end. Idempotent."""
        await self.limits.close()
        await self.writer.close()
        await self.store.close()


def share(app: web.Application, shared: Shared) -> None:
    """Let the application of a worker share what it knows."""
    app[NEIGHBOURS] = shared
    app[METRICS].registry.register(shared)
    shared.limits.share(app[LIMITS])
    shared.start()


class Node(Collector):
    """``shared``: that of a server without workers; with workers each has its own, and the node ``None``."""

    def __init__(
        self,
        settings: Settings,
        membership: Membership,
        door: Door,
        local: Local,
        shared: Shared | None,
        commons: Commons,
    ) -> None:
        self.membership = membership
        self.door = door
        self.drained = asyncio.Event()
        """Set when it has been drained, by whoever asked for it."""
        self._settings = settings
        self._local = local
        self._shared = shared
        self._store, self._clock = commons.store, commons.clock
        self._limits = (
            shared.limits if shared is not None else SharedLimits(commons.store, commons.credentials, commons.clock)
        )
        self._draining: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()

    # ------------------------------------------------------------------------------------------------ requests

    def received(self, request: web.Request) -> web.Request:
        """As its client has sent it."""
        return self.door.received(request)

    async def served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Its answer, of whichever node."""
        if self._shared is None:
            return await self.door.served(request, handler)
        shared = self._shared

        async def here(request: web.Request) -> web.StreamResponse:
            return await shared.served(request, handler)

        return await self.door.served(request, here)

    def add_to(self, app: web.Application) -> None:
        """From now on the requests of ``app`` are those of a node."""
        app[NEIGHBOURS] = self
        self._limits.share(app[LIMITS])
        if METRICS in app:  # the front of several workers has none of its own
            app[METRICS].registry.register(self)
        app.router.add_get(NODES, self._list)
        app.router.add_post(DRAIN, self._drain)
        if self._shared is not None:  # the front of several workers has its own
            app.router.add_get(WATCH, Watch(self._leaving).get, allow_head=False)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "registry": self.membership.registry, "data": self.shown()})

    async def _drain(self, request: web.Request) -> web.Response:
        self.begin_to_drain()
        body = {"name": self.membership.name, "state": "draining", "sessions": self._local.used}
        return web.json_response(body, status=202)

    def shown(self) -> list[Json]:
        """All nodes, this one first."""
        own = self.membership.report()
        rows = [(own, "draining" if own.draining else "ready", True)]
        rows += [(peer.report, peer.state, False) for peer in self.membership.roster.peers]
        return [
            {
                "name": report.name,
                "address": report.address,
                "state": state,
                "self": is_own,
                "sessions": report.used,
                "max_sessions": report.capacity,
                "level": report.level,
                "workers": report.workers,
            }
            for report, state, is_own in rows
        ]

    def status(self) -> Json:
        """For ``GET /v1/status``."""
        membership = self.membership
        others = sum(peer.state != "gone" for peer in membership.roster.peers)
        state = "draining" if membership.draining else "ready"
        return {"name": membership.name, "state": state, "registry": membership.registry, "nodes": 1 + others}

    def collect(self) -> Iterable[Metric]:
        """For ``GET /metrics``."""
        yield from families(self.membership, self.door)
        if self._shared is not None:
            yield from self._shared.collect()

    # ------------------------------------------------------------------------------------------------ its end

    async def start(self) -> None:
        """Be found by the others."""
        if self._shared is not None:
            self._shared.start()
        await self.membership.start()

    def begin_to_drain(self) -> asyncio.Task[None]:
        """Take no sessions any more, and let those that are here go on elsewhere. Idempotent."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._let_go(), name="drain")
        return self._draining

    async def _let_go(self) -> None:
        seconds, membership = self._settings.drain_seconds, self.membership
        log.info("node %s is drained of %d sessions within %g s", membership.name, self._local.used, seconds)
        await membership.drain()
        if self._shared is not None:
            self._shared.leave()
            await self._shared.writer.flush(FLUSH_SECONDS)  # whoever comes elsewhere finds the last word
        self._local.leave(seconds)
        self._leaving.set()
        until = self._clock.now() + seconds
        while self._local.used and self._clock.now() < until:
            await self._clock.sleep(LOOK_SECONDS)
        log.info("node %s is drained; %d sessions are left", membership.name, self._local.used)
        self.drained.set()

    async def close(self) -> None:
        """Give the place up. Idempotent."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        await self.membership.close()
        await self.door.close()
        await self._limits.close()
        if self._shared is not None:
            await self._shared.close()
        await self._store.close()
