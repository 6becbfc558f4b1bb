"""What comes to one stage, from all its sources in the order of arrival.

There is one inbox for all of them, so a stage that waits for one source never keeps another from going on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from media.frames import Picture
from pipelines.execution.pipe import Holds, Pipe
from pipelines.routing.items import Data, Item, Sound, Text
from pipelines.routing.stage_types import Medium


def size_of(item: Item) -> int:
    """Bytes that it keeps, roughly."""
    match item:
        case Sound():
            return item.samples.nbytes
        case Picture():
            return item.pixels.nbytes
        case Data():
            return 8 * len(item.value) + sum(8 * len(part) for part in item.value.values() if isinstance(part, list))
        case _:
            return len(item.text)


def input_of(medium: Medium) -> str:
    """How the source is called that is this part of the pipeline's input."""
    return f"input {medium}"


class Inbox:
    """Of one stage. ``accepts`` are the items that it computes on; others are dropped at the door."""

    def __init__(self, sources: Mapping[str, Medium], accepts: tuple[type, ...], *, holds: Holds) -> None:
        self.sources = dict(sources)
        """Stage ids and :func:`input_of`, with what comes from each."""
        self.pipe: Pipe[tuple[str, Item]] = Pipe(lambda pair: size_of(pair[1]), holds=holds)
        self._accepts = accepts
        self._open = set(sources)
        self._came = asyncio.Event()
        self._ended = asyncio.Event()
        if not self._open:
            self._end()

    async def send(self, source: str, item: Item) -> None:
        """The next item of a source, waiting for room."""
        if isinstance(item, self._accepts):
            await self.pipe.send((source, item))
            self._came.set()

    def end(self, source: str) -> None:
        """The source has given all. Idempotent."""
        self._open.discard(source)
        if not self._open:
            self._end()

    def _end(self) -> None:
        self.pipe.close()
        self._came.set()
        self._ended.set()

    async def begun(self) -> None:
        """Return once there is something to work on, or there will be nothing."""
        await self._came.wait()

    async def complete(self) -> None:
        """Return once all has come."""
        await self._ended.wait()

    @property
    def drained(self) -> bool:
        """Whether all that has come so far has been taken."""
        return not len(self.pipe)

    async def tagged(self) -> AsyncIterator[tuple[str, Item]]:
        """Source and item, in the order of arrival."""
        async for pair in self.pipe:
            yield pair

    async def texts(self) -> AsyncIterator[Text]:
        """The text that comes, from whichever source."""
        async for _, item in self.pipe:
            if isinstance(item, Text):
                yield item

    async def sounds(self) -> AsyncIterator[Sound]:
        """The sound that comes."""
        async for _, item in self.pipe:
            if isinstance(item, Sound):
                yield item

    async def pictures(self) -> AsyncIterator[Picture]:
        """The pictures that come."""
        async for _, item in self.pipe:
            if isinstance(item, Picture):
                yield item
