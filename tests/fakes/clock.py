"""A clock whose hands the test turns."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Implements :class:`media.clock.Clock`; sleepers wake when :meth:`advance` passes their time."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, wake))
        await wake

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass and wake who is due."""
        self._now += seconds
        due = [wake for at, wake in self._sleepers if at <= self._now + 1e-9]
        self._sleepers = [(at, wake) for at, wake in self._sleepers if at > self._now + 1e-9]
        for wake in due:
            if not wake.done():
                wake.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not wake.done() for _, wake in self._sleepers)
