"""The store in a real Redis: leases that only their holder renews, and a Redis that is away or stands still."""

from __future__ import annotations

import asyncio

import pytest

from server.cluster.store import StoreAwayError
from tests.fakes import redis_process
from tests.fakes.redis_process import RedisProcess


@pytest.fixture
async def redis(tmp_path):
    redis_process.needed()
    process = RedisProcess(tmp_path)
    await process.start()
    yield process
    await process.kill()


@pytest.fixture
async def store(redis):
    from server.cluster.redis_store import RedisStore

    made = RedisStore(redis.url)
    yield made
    await made.close()


async def test_a_lease_is_renewed_by_its_holder_alone_and_ends_by_itself(store):
    assert await store.hold("a", "mine", "report 1", 60.0)
    assert await store.hold("a", "mine", "report 2", 60.0)
    assert not await store.hold("a", "min", "of another", 60.0)
    assert not await store.hold("a", "mine2", "of another", 60.0)
    assert await store.hold("b", "other", "report b", 60.0)
    assert await store.reports() == ["report 2", "report b"]
    await store.release("b", "mine")
    assert await store.reports() == ["report 2", "report b"]
    await store.release("b", "other")
    assert await store.reports() == ["report 2"]
    assert await store.hold("c", "short", "report c", 0.05)
    async with asyncio.timeout(20.0):
        while len(await store.reports()) > 1:
            pass
    assert await store.hold("c", "somebody else", "report of another", 60.0)
    assert not await store.hold("c", "short", "too late", 60.0), "who comes back overwrites nobody"


async def test_what_is_kept_is_found_and_expires(store):
    await store.put({"one": b"1", "two": b"\x00\xff"}, 60.0)
    await store.put({"short": b"x"}, 0.05)
    assert await store.get(["two", "none", "one"]) == [b"\x00\xff", None, b"1"]
    assert await store.touch(["one", "none"], 60.0) == [True, False]
    await store.drop(["one"])
    assert await store.get(["one"]) == [None]
    async with asyncio.timeout(20.0):
        while await store.get(["short"]) != [None]:
            pass


async def test_what_was_used_up_adds_up_and_becomes_less_by_itself(store):
    assert await store.spend({"a": 2.0, "b": 60.0}) == [2.0, 60.0]
    [a, c] = await store.spend({"a": 3.0, "c": 0.00001})
    assert 3.0 < a <= 5.0 and c == 0.001
    assert await store.spend({"c": 0.5}) == [pytest.approx(0.5, abs=0.002)]
    await store.spend({"short": 0.05})
    async with asyncio.timeout(20.0):
        while await store.get(["short"]) != [None]:
            pass


async def test_one_that_is_away_or_stands_still_is_told_soon_and_comes_back(redis, store, monkeypatch):
    await store.put({"one": b"1"}, 60.0)
    monkeypatch.setattr("server.cluster.redis_store.ANSWER_SECONDS", 0.1)
    redis.hold(still=True)
    with pytest.raises(StoreAwayError):
        await store.get(["one"])
    redis.hold(still=False)
    assert await _comes_back(store) == [b"1"]
    await redis.kill()
    for ask in (store.get(["one"]), store.reports(), store.hold("a", "t", "r", 1.0), store.put({"one": b""}, 1.0)):
        with pytest.raises(StoreAwayError):
            await ask
    await redis.start()
    assert await _comes_back(store) == [None], "it has forgotten all"


async def _comes_back(store) -> list[bytes | None]:
    async with asyncio.timeout(20.0):
        while True:
            try:
                return await store.get(["one"])
            except StoreAwayError:
                continue
