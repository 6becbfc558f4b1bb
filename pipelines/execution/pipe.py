"""What one task gives and another takes: bounded in number and in bytes, and whoever gives waits for room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, Literal, TypeVar

from media.channel import Channel, ChannelClosedError, Policy
from pipelines.errors import PipelineError

T = TypeVar("T")

MOST_ITEMS = 64
"""That wait between two stages."""
MOST_BYTES = 8 << 20
"""Of them together; one more than that may be larger."""
MOST_HELD = 128 << 20
"""Bytes that are held for a stage that works on all or nothing."""
MOST_WAITING = 32 << 20
"""Bytes that wait for a stage whose turn has not come."""
Holds = Literal["nothing", "turn", "all"]
"""What the reader waits for: nothing, so that senders wait as soon as it is slow; its turn, which comes sooner when too
much waits; or all that is sent, of which too much is an error."""
_SMALLEST = 256
"""Bytes that an item counts at least."""


class Pipe(Generic[T]):
    """A queue for one reader in which nothing is lost: :meth:`send` waits while it is full."""

    def __init__(self, size_of: Callable[[T], int], *, holds: Holds = "nothing") -> None:
        self.bytes = 0
        """That wait now."""
        self.most_bytes = 0
        """That have waited at once."""
        self.abandoned = False
        """Whether nobody reads any more: what is sent is forgotten."""
        self.full = asyncio.Event()
        """Set once more waits than may wait for a turn."""
        self._holds = holds
        self._size_of = size_of
        # the bounds are kept by send(); the channel's own is never reached
        self._channel: Channel[T] = Channel(MOST_HELD // _SMALLEST, Policy.DROP_NEWEST)
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._channel)

    @property
    def closed(self) -> bool:
        """Whether all has been sent."""
        return self._channel.closed

    async def send(self, item: T) -> None:
        """Give the next item, waiting for room. Raises :class:`PipelineError` (``input_too_large``) where all is to be
        held."""
        while not self.abandoned and self._is_full(item):
            self._room.clear()
            await self._room.wait()
        self.put(item)

    def _is_full(self, item: T) -> bool:
        if self._holds == "nothing":
            return len(self) >= MOST_ITEMS or self.bytes >= MOST_BYTES
        more = self.bytes + self._size(item)
        if self._holds == "turn":
            if more > MOST_WAITING:
                self.full.set()
            return more > MOST_WAITING
        if more > MOST_HELD:
            raise PipelineError(
                "input_too_large",
                f"more than {MOST_HELD >> 20} MiB would have to be kept until a stage may begin: "
                "send less, or let it begin at once (options: enable_streaming: true)",
            )
        return False

    def put(self, item: T) -> None:
        """Give an item whether there is room or not: for the few that must not wait."""
        if self.abandoned or self.closed:
            return
        self.bytes += self._size(item)
        self.most_bytes = max(self.most_bytes, self.bytes)
        self._channel.put(item)

    def close(self) -> None:
        """Nothing more will be sent. Idempotent."""
        self._channel.close()

    def abandon(self) -> None:
        """Nothing more will be read."""
        self.abandoned = True
        self._channel.take()
        self.bytes = 0
        self._channel.close()
        self._room.set()

    def release(self) -> None:
        """The reader begins: from now on senders wait when it is slow."""
        self._holds = "nothing"

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                item = await self._channel.get()
            except ChannelClosedError:
                return
            self.bytes -= self._size(item)
            self._room.set()
            yield item

    def _size(self, item: T) -> int:
        return max(_SMALLEST, self._size_of(item))
