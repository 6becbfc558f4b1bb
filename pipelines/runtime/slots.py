"""Places for work that goes on at a time, first come first served, of which there can be more or fewer later."""

from __future__ import annotations

import asyncio
from collections import deque

from media.clock import Clock, MonotonicClock
from pipelines.runtime.crew import Work


class Slots:
    """A semaphore that can be resized and writes down how long was waited. On one event loop."""

    def __init__(self, size: int, clock: Clock | None = None) -> None:
        self.size = size
        self._clock = clock or MonotonicClock()
        self._used = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._jobs = 0
        self._waited = 0.0
        self._busy = 0.0
        self._counted = self._clock.now()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not turn.done() for turn in self._line)

    def work(self) -> Work:
        """What was done in them; see :class:`~pipelines.runtime.crew.Work`."""
        self._count()
        return Work(self._jobs, self._waited, self._busy)

    async def acquire(self) -> None:
        """Wait for a place, and take it."""
        arrived = self._clock.now()
        if self._used >= self.size or self.waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # given in the same moment
                    self.release()
                elif turn in self._line:  # where every place hangs, those who gave up must not pile up
                    self._line.remove(turn)
                raise
        else:
            self._take()
        self._jobs += 1
        self._waited += self._clock.now() - arrived

    def release(self) -> None:
        """Give a place back."""
        self._count()
        self._used -= 1
        self._give()

    def resize(self, size: int) -> None:
        """So many from now on; who has one keeps it."""
        self.size = size
        self._give()

    def _give(self) -> None:
        while self._line and self._used < self.size:
            turn = self._line.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)

    def _take(self) -> None:
        self._count()
        self._used += 1

    def _count(self) -> None:
        now = self._clock.now()
        self._busy += self._used * (now - self._counted)
        self._counted = now
