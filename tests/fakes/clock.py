"""A clock whose hands the test turns."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Implements :class:`media.clock.Clock`. Nothing passes until :meth:`advance`; sleepers wake in order of time."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        sleeper = (self._now + seconds, waking)
        self._sleepers.append(sleeper)
        self._changed.set()
        try:
            await waking
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass. Whoever slept until then goes on at the next turn of the event loop.

        May be called from another thread while nobody sleeps, as by a fake engine that takes its time.
        """
        self._now += seconds
        for due, waking in sorted(self._sleepers, key=lambda sleeper: sleeper[0]):
            if due <= self._now + 1e-9 and not waking.done():
                waking.set_result(None)

    @property
    def waits(self) -> list[float]:
        """Seconds until each sleeper is due, soonest first."""
        return sorted(due - self._now for due, waking in self._sleepers if not waking.done())

    async def sleeper(self) -> float:
        """Wait until somebody sleeps; return the seconds until the first of them is due."""
        while not self.waits:
            self._changed.clear()
            await self._changed.wait()
        return self.waits[0]
