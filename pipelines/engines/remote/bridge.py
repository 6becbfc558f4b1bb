"""The process between visavis and Ray: a driver of the cluster that may crash without ending a call.

A process that has joined a Ray cluster is ended by Ray when the cluster's head, or the Ray of this machine, has been
gone for a while; a media server must not be. So calls go through this process, over its standard input and output, and
when it ends, only what was under way is lost and the local engines take over.

What travels is in :mod:`pipelines.engines.remote.messages`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
from contextlib import aclosing, suppress
from typing import Any

from pipelines.engines.remote.calls import Deployments, connect
from pipelines.engines.remote.messages import AHEAD, Ask, Call, Cancel, More, Orders, Said, What
from pipelines.engines.remote.wire import LARGEST, Failed, RemoteError, framed, next_message


class Desk:
    """Answers calls from one pipe until that ends."""

    def __init__(self, deployments: Deployments, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._deployments = deployments
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._room: dict[int, asyncio.Semaphore] = {}

    async def run(self) -> None:
        """Until the other end is gone; whatever goes on then is cancelled."""
        try:
            while True:
                self._take(await next_message(self._reader))
        except EOFError:
            pass
        finally:
            running = list(self._calls.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _take(self, said: Said) -> None:
        if isinstance(said, Ask):
            self._room[said.number] = asyncio.Semaphore(AHEAD)
            self._calls[said.number] = asyncio.create_task(self._answer(said.number, said.call))
        elif isinstance(said, More) and (room := self._room.get(said.number)) is not None:
            for _ in range(said.pieces):
                room.release()
        elif isinstance(said, Cancel) and (task := self._calls.get(said.number)) is not None:
            task.cancel()

    async def _answer(self, number: int, call: Call) -> None:
        try:
            async with aclosing(self._deployments.pieces(call)) as pieces:
                async for piece in pieces:
                    await self._room[number].acquire()
                    await self._tell(number, "piece", piece)
            await self._tell(number, "end", None)
        finally:
            del self._room[number], self._calls[number]

    async def _tell(self, number: int, what: What, value: Any) -> None:
        try:
            message = framed((number, what, value))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            message = framed((number, "piece", Failed("failed", f"what came back cannot be passed on: {error}")))
        with suppress(ConnectionError):
            self._writer.write(message)
            await self._writer.drain()


async def main() -> None:
    """Serve one visavis, over the pipes it was started with."""
    reader, writer = await _pipes()
    orders: Orders = await next_message(reader)
    try:
        await asyncio.to_thread(connect, orders.address)
    except RemoteError as error:
        writer.write(framed(Failed(error.code, error.message)))
        await writer.drain()
        return
    writer.write(framed(None))
    await Desk(Deployments(orders.application), reader, writer).run()


async def _pipes() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Standard input and output; what libraries print from now on goes to the standard error."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LARGEST)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", buffering=0))
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(answers, "wb", buffering=0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with suppress(KeyboardInterrupt, EOFError):
        asyncio.run(main())
    os._exit(0)  # Ray's threads are not waited for
