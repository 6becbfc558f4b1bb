"""The way to Ray within one process: the bridge's desk at the other end of a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipelines.engines.remote.bridge import Desk
from pipelines.engines.remote.calls import Deployments
from pipelines.engines.remote.messages import Deployed, Orders
from pipelines.engines.remote.replica import Loaded, Replica
from pipelines.engines.remote.wire import LARGEST, Failed, RemoteError, framed, next_message


class InProcess:
    """Implements :class:`~pipelines.engines.remote.link.Wire`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, desk: asyncio.Task[None]) -> None:
        self.reader = reader
        self.writer = writer
        self.desk = desk

    def end(self) -> None:
        self.desk.cancel()
        self.writer.close()


class Bridges:
    """Starts bridges to ``deployments`` and knows them."""

    def __init__(self, deployments: Deployments, problem: Failed | None = None) -> None:
        self.deployments = deployments
        self.problem = problem
        self.orders: list[Orders] = []
        self.started: list[InProcess] = []

    async def start(self) -> InProcess:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here, limit=LARGEST)
        desk = asyncio.create_task(self._serve(*await asyncio.open_connection(sock=there, limit=LARGEST)))
        wire = InProcess(reader, writer, desk)
        self.started.append(wire)
        return wire

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.orders.append(await next_message(reader))
            writer.write(framed(self.problem))
            if self.problem is None:
                await Desk(self.deployments, reader, writer).run()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class Handles:
    """A deployment whose method is a function of the test: what ``options(...).remote(...)`` of Ray Serve gives."""

    def __init__(self, answer: Callable[..., object]) -> None:
        self.answer = answer
        self.options_seen: list[dict[str, object]] = []
        self.cancelled = 0

    def options(self, **options: object) -> Handles:
        self.options_seen.append(options)
        return self

    def remote(self, *arguments: object) -> _Response:
        return _Response(self, self.answer(*arguments))


class _Response:
    def __init__(self, owner: Handles, value: object) -> None:
        self._owner = owner
        self._value = value

    def __await__(self):
        value = self._value
        return (value if isinstance(value, Awaitable) else _ready(value)).__await__()

    def __aiter__(self):
        return self._value.__aiter__()

    def cancel(self) -> None:
        self._owner.cancelled += 1


async def _ready(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


class ReplicaHandles:
    """The handle of a deployment with one replica in this process, without Ray."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def options(self, method_name: str, **options: object) -> Handles:
        own = {"describe": lambda: self.replica.about, "transcribe": self.replica.transcribed}
        return Handles(own.get(method_name) or getattr(self.replica, method_name))


class Cluster:
    """Deployments by stage, which come and go as the test says."""

    def __init__(self, **engines: Loaded) -> None:
        self.replicas = {stage: ReplicaHandles(Replica(loaded, "node")) for stage, loaded in engines.items()}
        self.away: Failed | None = None
        self.bridges = Bridges(Deployments("app", self._find, self._look))

    async def start(self) -> InProcess:
        self.bridges.problem = self.away
        return await self.bridges.start()

    def _find(self, application: str, stage: str) -> ReplicaHandles:
        if stage not in self.replicas:
            raise RemoteError("not_deployed", f"there is no {application}-{stage}")
        return self.replicas[stage]

    def _look(self, application: str) -> dict[str, Deployed]:
        return {stage: Deployed("RUNNING", 2, 3) for stage in self.replicas}
