"""Real nodes as processes, with a real Redis, for what is measured of them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.peer import Peer
from tests.fakes.redis_process import RedisProcess

SERVE = (sys.executable, "-m", "server", "serve", "--profile", "bench", "--port", "0")
START_SECONDS = 300.0
NAMES = "abcdefgh"


@dataclass
class NodeProcess:
    """One node; ``settings`` are its environment."""

    name: str
    settings: dict[str, str]
    flags: Sequence[str] = ()
    url: str = ""
    log: bytearray = field(default_factory=bytearray)
    http: Any = None
    _process: Any = None
    _reading: Any = None

    async def start(self) -> None:
        """Returns when it serves."""
        environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **self.settings}
        pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        self._process = await asyncio.create_subprocess_exec(
            *SERVE, *self.flags, env=environment, stdout=pipe, stderr=both
        )
        async with asyncio.timeout(START_SECONDS):
            while not self.url:
                line = await self._process.stdout.readline()
                self.log += line
                if not line:
                    raise SystemExit(f"node {self.name} did not start: {self.log.decode()}")
                if found := re.search(rb"ready: (http://[^ ]+)", line):
                    self.url = found[1].decode()
        self._reading = asyncio.create_task(self._read_on())
        self.http = aiohttp.ClientSession(self.url)

    async def _read_on(self) -> None:
        while block := await self._process.stdout.read(65536):
            self.log += block

    async def ask(self, path: str) -> Any:
        """JSON of it."""
        async with self.http.get(path) as told:
            return await told.json()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; its status."""
        await self._process.wait()
        if self.http is not None:
            await self.http.close()
        return int(self._process.returncode)

    async def close(self) -> None:
        """End it, by force. Idempotent."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None:
            await self.ended()


@dataclass
class Fleet:
    """Nodes and their Redis."""

    redis: RedisProcess
    nodes: list[NodeProcess]

    def named(self, name: str) -> NodeProcess:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    async def until_known(self, state: dict[str, str], at: NodeProcess, seconds: float = 30.0) -> float:
        """Wait until a node says this of the states of all; the seconds that it took."""
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while True:
                told = {one["name"]: one["state"] for one in (await at.ask("/v1/nodes"))["data"]}
                if {name: told.get(name, "gone") for name in state} == state:
                    return time.monotonic() - begun
                await asyncio.sleep(0.05)


def environment_of(name: str, places: int, redis: RedisProcess, **given: str) -> dict[str, str]:
    """The settings of a node, as variables. ``given``: more of them."""
    settings = {
        "CLUSTER_URL": redis.url,
        "CLUSTER_SECRET": "a-secret-of-these-nodes-alone",
        "NODE_NAME": name,
        "MAX_SESSIONS": str(places),
        "ICE_ADDRESS": "127.0.0.1",
        "SHUTDOWN_TIMEOUT": "1",
        "CONNECT_TIMEOUT": "300",
        **given,
    }
    return {f"VISAVIS_{key}": value for key, value in settings.items()}


@asynccontextmanager
async def fleet(folder: Path, places: Sequence[int], flags: Sequence[str] = (), **given: str) -> AsyncIterator[Fleet]:
    """Nodes ``a``, ``b``, … with so many places each. ``given``: settings, as in the environment."""
    async with AsyncExitStack() as stack:
        redis = RedisProcess(folder)
        await redis.start()
        stack.push_async_callback(redis.kill)
        nodes = []
        for name, count in zip(NAMES, places, strict=False):
            nodes.append(NodeProcess(name, environment_of(name, count, redis, **given), flags))
            stack.push_async_callback(nodes[-1].close)
        await asyncio.gather(*(node.start() for node in nodes))
        made = Fleet(redis, nodes)
        for node in nodes:
            await made.until_known(dict.fromkeys(NAMES[: len(nodes)], "ready"), node)
        yield made


class Caller(Peer):
    """A client that may go on with a session, and puts words into the conversation to look for them later."""

    previous: str | None = None

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        return await super()._signal({**offer, "resume": self.previous})

    @property
    def id(self) -> str:
        """Of its session."""
        return str(self.answer["session_id"])

    async def tell(self, name: str, text: str) -> None:
        """Add an item of this name, and wait until it is there."""
        await self.event("session.created")
        count = len(self.named("conversation.item.done"))
        content = [{"type": "input_text", "text": text}]
        item = {"id": name, "type": "message", "role": "user", "content": content}
        self.send({"type": "conversation.item.create", "item": item})
        await self.event("conversation.item.done", count + 1)

    async def recall(self, name: str) -> str:
        """The text of an item, of the server's memory."""
        await self.event("session.created")
        count = len(self.named("conversation.item.retrieved")) + len(self.named("error"))
        self.send({"type": "conversation.item.retrieve", "item_id": name})
        await self.until(
            lambda: len(self.named("conversation.item.retrieved")) + len(self.named("error")) > count, 20.0
        )
        if self.named("conversation.item.retrieved"):
            text: str = self.named("conversation.item.retrieved")[-1]["item"]["content"][0]["text"]
            return text
        return ""


async def again(url: str, before: Caller) -> tuple[Caller, float]:
    """A client that goes on with the conversation of another one, as soon as a node lets it; and how long that took."""
    begun = time.monotonic()
    while True:
        caller = Caller(url)
        caller.previous = before.id
        try:
            await caller.connect()
        except (AssertionError, OSError):
            await caller.close()
            if time.monotonic() - begun > 30.0:
                raise
            await asyncio.sleep(0.1)
            continue
        await caller.event("session.created")
        return caller, time.monotonic() - begun
