"""Kept results: bounded, for a while, computed once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipelines.runtime.result_cache import ResultCache
from tests.fakes.clock import FakeClock
from tests.patience import until


class Counter:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.cancelled = 0

    def of(self, key: str, error: Exception | None = None) -> Callable[[], Awaitable[str]]:
        async def compute() -> str:
            self.asked.append(key)
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if error is not None:
                raise error
            return key * 2

        return compute


async def test_it_is_computed_once_for_all_who_ask() -> None:
    cache: ResultCache[str, str] = ResultCache(10, 60.0)
    counter = Counter()
    asking = [asyncio.ensure_future(cache.get("a", counter.of("a"))) for _ in range(4)]
    await until(lambda: cache.counts().joined == 3)
    asking[0].cancel()
    counter.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError) and results[1:] == ["aa"] * 3
    assert await cache.get("a", counter.of("a")) == "aa"
    assert counter.asked == ["a"]
    counts = cache.counts()
    assert (counts.hits, counts.joined, counts.misses, counts.entries) == (1, 3, 1, 1)


async def test_when_the_last_one_leaves_the_work_ends_and_the_next_begins_anew() -> None:
    cache: ResultCache[str, str] = ResultCache(10, 60.0)
    counter = Counter()
    asking = [asyncio.ensure_future(cache.get("a", counter.of("a"))) for _ in range(2)]
    await until(lambda: counter.asked == ["a"])
    for one in asking:
        one.cancel()
    await until(lambda: counter.cancelled == 1)
    counter.gate.set()
    assert await cache.get("a", counter.of("a")) == "aa"
    assert counter.asked == ["a", "a"]


async def test_errors_reach_all_who_wait_and_are_not_kept() -> None:
    cache: ResultCache[str, str] = ResultCache(10, 60.0)
    counter = Counter()
    counter.gate.set()
    asking = [cache.get("a", counter.of("a", ValueError("no"))) for _ in range(2)]
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(one, ValueError) for one in results)
    with pytest.raises(ValueError, match="no"):
        await cache.get("a", counter.of("a", ValueError("no")))
    assert await cache.get("a", counter.of("a")) == "aa"


async def test_the_least_recently_used_leaves_first_and_the_old_are_forgotten() -> None:
    clock = FakeClock()
    cache: ResultCache[str, str] = ResultCache(8, 60.0, weigh=len, clock=clock)
    counter = Counter()
    counter.gate.set()
    for key in ("a", "b", "c", "d", "a", "e"):  # each weighs 2
        await cache.get(key, counter.of(key))
    assert counter.asked == ["a", "b", "c", "d", "e"]
    for key in ("a", "b"):
        await cache.get(key, counter.of(key))
    assert counter.asked[5:] == ["b"]
    assert cache.counts().weight == 8
    await cache.get("large", counter.of("large"))
    await cache.get("large", counter.of("large"))
    assert counter.asked[6:] == ["large", "large"]
    clock.advance(60.0)
    await cache.get("a", counter.of("a"))
    assert counter.asked[8:] == ["a"]
