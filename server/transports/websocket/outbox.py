"""What is on its way to a client that may read slowly, or not at all. Nobody who has something to say waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

ROOM_BYTES = 128 * 1024
"""With more on the way, sound waits (a second and a half of PCM is as much): it can, and events go ahead of it."""
FULL_BYTES = 2 << 20
"""With more on the way the client counts as one that does not read."""


class Outbox:
    """Texts, in order. :meth:`run` sends them."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        """Something was put in or has left."""

    def put(self, text: str) -> bool:
        """Send this when its turn comes; ``False`` when too much is on the way already."""
        if self._bytes > FULL_BYTES:
            return False
        self._texts.append(text)
        self._bytes += len(text)
        self._changed.set()
        return True

    async def room(self) -> None:
        """Return once there is room for sound."""
        while self._bytes > ROOM_BYTES:
            await self._change()

    async def sent(self) -> None:
        """Return once all has been handed to the system."""
        while self._texts:
            await self._change()

    async def run(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send what comes, until cancelled. ``send`` waits for as long as the client takes nothing."""
        while True:
            while not self._texts:
                await self._change()
            await send(self._texts[0])
            self._bytes -= len(self._texts.popleft())
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
