"""The only queue between stages: bounded, with a stated policy for when it is full, and it counts what it drops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Policy(Enum):
    """What :meth:`Channel.put` does when the channel is full."""

    DROP_OLDEST = "drop oldest"
    """Forget the oldest item: for streams where the newest matters more."""
    DROP_NEWEST = "drop newest"
    """Refuse the new item: for streams where what came first must stay whole."""


class ChannelClosedError(Exception):
    """Nothing more will come."""


class Channel(Generic[T]):
    """A bounded queue for one consumer on the event loop.

    ``put`` never waits. A channel of capacity 1 that drops the oldest is a slot that always holds the newest item.
    """

    def __init__(self, capacity: int, policy: Policy = Policy.DROP_OLDEST) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._policy = policy
        self._arrival = asyncio.Event()
        self._closed = False
        self.dropped = 0
        """Items lost to the policy so far."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called; items already queued can still be taken."""
        return self._closed

    def put(self, item: T) -> None:
        """Queue ``item``, or apply the policy. Ignored after :meth:`close`."""
        if self._closed:
            return
        if len(self._items) >= self._capacity:
            self.dropped += 1
            if self._policy is Policy.DROP_NEWEST:
                return
            self._items.popleft()
        self._items.append(item)
        self._arrival.set()

    async def get(self) -> T:
        """The oldest item, waiting for one. Raises :class:`ChannelClosedError` when closed and empty."""
        await self._wait()
        return self._items.popleft()

    async def get_all(self) -> list[T]:
        """Everything queued, oldest first; waits until there is at least one item. Raises like :meth:`get`."""
        await self._wait()
        return self.take()

    def take(self) -> list[T]:
        """Everything queued, oldest first, without waiting; empty when there is nothing."""
        items = list(self._items)
        self._items.clear()
        return items

    async def _wait(self) -> None:
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            self._arrival.clear()
            await self._arrival.wait()

    def close(self) -> None:
        """No more items. Idempotent."""
        self._closed = True
        self._arrival.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                item = await self.get()
            except ChannelClosedError:
                return
            yield item
