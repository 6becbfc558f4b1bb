"""Who runs and who waits: so many runs at a time, so many requests that wait for that, the urgent ones first.

A request that comes when all places in the queue are taken is refused, unless it is more urgent than one of those that
wait: then the last of the least urgent goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipelines.routing.run import PRIORITIES, Priority
from server.http.errors import HttpError


@dataclass(slots=True, eq=False)
class _Waiting:
    urgency: int
    number: int
    turn: asyncio.Future[None]


class Places:
    """``running`` at a time, and ``waiting`` more may wait."""

    def __init__(self, running: int, waiting: int) -> None:
        self._free = running
        self._most_running = running
        self._most_waiting = waiting
        self._queue: list[_Waiting] = []
        self._count = 0
        self.refused = 0
        """Requests that found no place, so far."""

    @property
    def running(self) -> int:
        """Runs that go on now."""
        return self._most_running - self._free

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, priority: Priority = "normal") -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises :class:`HttpError` (503) for those that there is no room for."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn(PRIORITIES.index(priority))
        try:
            yield
        finally:
            self._leave()

    async def _turn(self, urgency: int) -> None:
        """Wait; afterwards the place is ours."""
        if len(self._queue) >= self._most_waiting:
            self._make_room(urgency)
        self._count += 1
        waiting = _Waiting(urgency, self._count, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self._leave()  # it was given the place in the same moment
            raise

    def _make_room(self, urgency: int) -> None:
        last = min(self._queue, key=lambda one: (one.urgency, -one.number), default=None)
        self.refused += 1
        if last is None or last.urgency >= urgency:
            raise self._full()
        self._queue.remove(last)
        if not last.turn.done():
            last.turn.set_exception(self._full())

    def _leave(self) -> None:
        """Hand the place on: to the most urgent, and among these to the first that came."""
        while self._queue:
            first = max(self._queue, key=lambda one: (one.urgency, -one.number))
            self._queue.remove(first)
            if not first.turn.done():
                first.turn.set_result(None)
                return
        self._free += 1

    def _full(self) -> HttpError:
        message = f"{self._most_running} pipelines run and {self._most_waiting} requests wait already: come again"
        return HttpError(503, "server_busy", message)
