"""What one source sends, for any number of followers: none of them can hold it up, and without one nothing is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.channel import Channel, ChannelClosedError

T = TypeVar("T")
Sent = TypeVar("Sent", bound="av.VideoFrame | av.Packet[Any]")


class FanOut(Generic[T]):
    """Gives every item to every follower, each of which has ``capacity`` places and loses the oldest items."""

    def __init__(self, capacity: int) -> None:
        self.wanted = asyncio.Event()
        """Set when somebody begins to follow; whoever waits for it clears it."""
        self._capacity = capacity
        self._followers: list[tuple[Channel[T], Callable[[T], T]]] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self, changed: Callable[[T], T] = lambda item: item) -> Channel[T]:
        """Every item from now on, as ``changed`` makes it at the moment when it comes; closed when the source ends."""
        channel: Channel[T] = Channel(self._capacity)
        if self._closed:
            channel.close()
        else:
            self._followers.append((channel, changed))
            self.wanted.set()
        return channel

    def leave(self, channel: Channel[T]) -> None:
        """Follow no longer. Idempotent."""
        channel.close()
        self._followers = [follower for follower in self._followers if follower[0] is not channel]

    def put(self, item: T) -> None:
        """Give the next item to all. Never waits."""
        for channel, changed in self._followers:
            channel.put(changed(item))

    def close(self) -> None:
        """The source has ended. Idempotent."""
        self._closed = True
        for channel, _ in self._followers:
            channel.close()
        self._followers.clear()


class Relay(MediaStreamTrack, Generic[Sent]):
    """An outgoing track with what one follower gets: it follows from the first ``recv`` to :meth:`stop`.

    ``own`` makes the follower's own item of a shared one, where whoever takes it from here changes it.
    """

    def __init__(self, kind: str, source: FanOut[Sent], own: Callable[[Sent], Sent] = lambda item: item) -> None:
        super().__init__()
        self.kind = kind
        self.given = 0
        """Items so far."""
        self._source = source
        self._own = own
        self._items: Channel[Sent] | None = None

    async def recv(self) -> Sent:
        """The next item. Raises ``MediaStreamError`` when the source has ended, or after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._items is None:
            self._items = self._source.follow()
        try:
            item = await self._items.get()
        except ChannelClosedError:
            raise MediaStreamError from None
        self.given += 1
        return self._own(item)

    def stop(self) -> None:
        """Follow no longer. Idempotent."""
        super().stop()
        if self._items is not None:
            self._source.leave(self._items)
