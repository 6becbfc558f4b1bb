"""A server that is one node of two: the other one is killed or stands still, or their Redis is not well.

The quiet call is at the node that is asked and stays; those who speak are passed on to the other, which has more room.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.benchmarks.faults import Fault, Scene
from tests.benchmarks.node_processes import NodeProcess, environment_of
from tests.fakes.redis_process import PROGRAM, RedisProcess

HERE, OTHER = "a", "b"
PLACES = {HERE: 16, OTHER: 160}
"""All who speak are sent to the other: the largest share of its places is free."""
NOTICE_SECONDS = 30.0
"""For what is awaited to be told by the node that is asked; it is a note when it has not been."""


class TwoNodes(Fault):
    """The server that is watched is node ``a``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.redis = RedisProcess(folder)
        self.environment: Mapping[str, str] = environment_of(HERE, PLACES[HERE], self.redis)
        self.other = NodeProcess(OTHER, environment_of(OTHER, PLACES[OTHER], self.redis))

    def missing(self) -> str:
        return "" if PROGRAM is not None else "needs redis-server"

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[tuple[str, ...]]:
        await self.redis.start()
        try:
            await self.other.start()
            yield ()
        finally:
            await self.other.close()
            await self.redis.kill()

    async def noticed(self, scene: Scene, what: str, path: str, found: Callable[[Any], bool]) -> None:
        """Note the seconds until the node that is asked says so."""
        begun = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while time.monotonic() - begun < NOTICE_SECONDS:
                async with http.get(f"{scene.server.url}{path}") as told:
                    if found(await told.json()):
                        return scene.record.tell("note", what=what, seconds=round(time.monotonic() - begun, 1))
                await asyncio.sleep(0.1)
        scene.record.tell("note", what=f"not: {what}", seconds=NOTICE_SECONDS)
        return None

    async def state(self, scene: Scene, state: str) -> None:
        """Wait until the other node is told to be in this state."""

        def found(told: Any) -> bool:
            return {one["name"]: one["state"] for one in told["data"]}.get(OTHER, "gone") == state

        await self.noticed(scene, f"node {OTHER} is {state}", "/v1/nodes", found)

    async def registry(self, scene: Scene, state: str) -> None:
        """Wait until the node that is asked says this of its registry."""
        await self.noticed(scene, f"registry {state}", "/v1/status", lambda told: told["node"]["registry"] == state)


class NodeKilled(TwoNodes):
    """Those who spoke with it go on at the one that is left, once a watch has told them."""

    name, words = "node-killed", "SIGKILL to the node that has the sessions of all who speak"
    calls_survive = False

    async def strike(self, scene: Scene) -> None:
        self.other.signal(signal.SIGKILL)
        await self.state(scene, "gone")


class NodeStopped(TwoNodes):
    """As a machine that is frozen: no connection breaks, and nothing is answered. Then it goes on."""

    name, words = "node-stopped", "SIGSTOP for 20 s to the node that has the sessions of all who speak"
    calls_survive = False
    most_lost = 2

    async def strike(self, scene: Scene) -> None:
        self.other.signal(signal.SIGSTOP)
        over = time.monotonic() + 20
        try:
            await self.state(scene, "gone")
            await asyncio.sleep(max(0.0, over - time.monotonic()))
        finally:
            self.other.signal(signal.SIGCONT)
        await self.state(scene, "ready")


class RedisFault(TwoNodes):
    """Nobody who speaks may notice it."""

    most_lost = 0


class RedisKilled(RedisFault):
    """It comes back empty."""

    name, words = "redis-killed", "SIGKILL to Redis, and started again after 10 s"

    async def strike(self, scene: Scene) -> None:
        await self.redis.kill()
        await self.registry(scene, "away")
        await asyncio.sleep(10)
        await self.redis.start()
        await self.registry(scene, "connected")


class RedisSlow(RedisFault):
    """It takes up to half a second for each answer."""

    name, words = "redis-slow", "Redis answers in the last 50 of 500 ms, for 20 s"

    async def strike(self, scene: Scene) -> None:
        try:
            for _ in range(40):
                self.redis.hold(still=True)
                await asyncio.sleep(0.45)
                self.redis.hold(still=False)
                await asyncio.sleep(0.05)
        finally:
            self.redis.hold(still=False)
        await self.registry(scene, "connected")


class RedisRefuses(RedisFault):
    """It answers, and takes nothing."""

    seconds = 15.0
    ill: tuple[str, ...] = ()
    """The command that makes it so."""
    well: tuple[str, ...] = ()

    async def strike(self, scene: Scene) -> None:
        await self._told(*self.ill)
        try:
            await self.registry(scene, "away")
            await asyncio.sleep(self.seconds)
        finally:
            await self._told(*self.well)
        await self.registry(scene, "connected")

    async def _told(self, *words: str) -> None:
        if not (answer := await self.redis.command(*words)).startswith("+OK"):
            raise SystemExit(f"{' '.join(words)}: {answer}")


class RedisFull(RedisRefuses):
    """``maxmemory`` is reached and nothing may be evicted."""

    name, words = "redis-full", "Redis has no memory left, for 15 s"
    ill, well = ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")


class RedisReadOnly(RedisRefuses):
    """It is made a replica, as after a failover that the nodes have not heard of."""

    name, words = "redis-read-only", "Redis is a replica that takes no writes, for 15 s"
    ill, well = ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")


FAULTS = (NodeKilled, NodeStopped, RedisKilled, RedisSlow, RedisFull, RedisReadOnly)
