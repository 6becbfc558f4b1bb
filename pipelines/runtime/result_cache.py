"""Results that come out the same again: kept for a while, and computed once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from media.clock import Clock, MonotonicClock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What a cache has done since it was made."""

    hits: int
    """Results that were there."""
    joined: int
    """Askers who waited for a computation that had begun for another one."""
    misses: int
    """Computations."""
    entries: int
    """Results that are kept now."""
    weight: int
    """Of these."""


@dataclass(slots=True)
class _Running(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0


@dataclass(slots=True)
class _Kept(Generic[V]):
    value: V
    weight: int
    until: float = field(default=0.0)


class ResultCache(Generic[K, V]):
    """Key → result, the least recently used leaving first. On one event loop.

    ``most`` is how much may be kept, in the unit of ``weigh``; a result that weighs more than a quarter of it is not
    kept. Results are kept for ``seconds``. Errors are not kept. A computation is cancelled when the last one who waits
    for it leaves.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        *,
        weigh: Callable[[V], int] = lambda value: 1,
        clock: Clock | None = None,
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._weigh = weigh
        self._clock = clock or MonotonicClock()
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._running: dict[K, _Running[V]] = {}
        self._weight = self._hits = self._joined = self._misses = 0

    def counts(self) -> CacheCounts:
        """The counters as they stand."""
        return CacheCounts(self._hits, self._joined, self._misses, len(self._kept), self._weight)

    async def get(self, key: K, compute: Callable[[], Awaitable[V]], *, alone: bool = False) -> V:
        """The result that is kept, or that of ``compute()``, which is kept from now on.

        ``alone``: it is computed for this asker only, who gives it up at another time than others would.
        """
        if (kept := self._fresh(key)) is not None:
            self._hits += 1
            return kept.value
        if alone:
            self._misses += 1
            value = await compute()
            self._keep(key, value)
            return value
        if (running := self._running.get(key)) is None:
            self._misses += 1
            running = self._running[key] = _Running(asyncio.ensure_future(self._compute(key, compute)))
        else:
            self._joined += 1
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                running.task.cancel()
                if self._running.get(key) is running:  # who asks now begins anew
                    del self._running[key]

    def clear(self) -> None:
        """Forget what is kept."""
        self._kept.clear()
        self._weight = 0

    async def _compute(self, key: K, compute: Callable[[], Awaitable[V]]) -> V:
        task = asyncio.current_task()
        try:
            value = await compute()
            self._keep(key, value)
            return value
        finally:
            running = self._running.get(key)
            if running is not None and running.task is task:
                del self._running[key]

    def _fresh(self, key: K) -> _Kept[V] | None:
        if (kept := self._kept.get(key)) is None:
            return None
        if self._clock.now() >= kept.until:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: K, value: V) -> None:
        if (weight := self._weigh(value)) > max(1, self._most // 4) or weight > self._most:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = _Kept(value, weight, self._clock.now() + self._seconds)
        self._weight += weight
        while self._weight > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: K) -> None:
        self._weight -= self._kept.pop(key).weight
