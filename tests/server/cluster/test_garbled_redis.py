"""What answers at the address of Redis and is none, or is out of order, is a store that is away; and too many who ask
at once wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.cluster.store import StoreAwayError
from tests.patience import until

pytest.importorskip("redis", reason="needs the extra `cluster`")
from server.cluster.redis_store import MOST_CONNECTIONS, RedisStore

GARBLED = (
    b":abc\r\n",
    b"$xyz\r\n",
    b"*q\r\n",
    b"!!!\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'\r\n",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    b"-MISCONF Redis is configured to save\r\n",
)


class Answering:
    """Says the same to whatever it is asked; ``held``: asked and not answered yet."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.open = asyncio.Event()
        self.open.set()
        self.held = self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while said := await reader.read(1 << 16):
                self.held += 1
                await self.open.wait()
                self.held -= 1
                writer.write(b"+OK\r\n" * said.count(b"CLIENT\r\n") + self.answer * (b"CLIENT\r\n" not in said))
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[Answering, RedisStore]]:
    made = Answering(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield made, store
    finally:
        await store.close()
        server.close()


@pytest.mark.parametrize("answer", GARBLED)
async def test_whatever_it_says_it_is_away(answer):
    async with answering(answer) as (_, store):
        for ask in (
            lambda: store.hold("a", "token", "report", 5.0),
            store.reports,
            lambda: store.get(["one", "two"]),
            lambda: store.put({"one": b"1"}, 5.0),
            lambda: store.touch(["one"], 5.0),
            lambda: store.drop(["one"]),
            lambda: store.release("a", "token"),
            lambda: store.spend({"one": 1.0, "two": 1.0}),
        ):
            with pytest.raises(StoreAwayError):
                await ask()


@pytest.mark.parametrize("answer", [b"*1\r\n*1\r\n:3\r\n", b"+OK\r\n", b"*1\r\n:3\r\n", b"*3\r\n$-1\r\n$-1\r\n$-1\r\n"])
async def test_so_it_is_with_answers_of_another_shape(answer):
    async with answering(answer) as (_, store):
        for ask in (store.reports, lambda: store.get(["one", "two"])):
            with pytest.raises(StoreAwayError):
                await ask()


async def test_so_it_is_with_as_many_answers_as_nobody_has_asked_for():
    async with answering(b"*1\r\n:3\r\n") as (_, store):
        with pytest.raises(StoreAwayError):
            await store.spend({"one": 1.0, "two": 1.0})


async def test_more_who_ask_than_there_are_connections_wait_and_are_answered():
    async with answering(b"*1\r\n$1\r\nx\r\n") as (server, store):
        server.open.clear()
        asking = [asyncio.create_task(store.get(["one"])) for _ in range(3 * MOST_CONNECTIONS)]
        await until(lambda: server.held == MOST_CONNECTIONS)
        server.open.set()
        assert await asyncio.gather(*asking) == [[b"x"]] * len(asking)
        assert server.connections <= MOST_CONNECTIONS
