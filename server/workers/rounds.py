"""Looks after workers that have not ended and are not well: one that hangs is ended, one that grows is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from media.clock import Clock
from server.workers.board import Seat
from server.workers.health import ASLEEP_SECONDS, MEMORY_SECONDS, Looked, judge, memory_of
from server.workers.process import WorkerFailedError
from server.workers.supervisor import Supervisor

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.5
EXPLAIN_SECONDS = 0.3
"""For a worker that is about to be ended to print where its threads are."""


class Rounds:
    """One look after another (:meth:`run`). ``memory`` tells MiB of a process."""

    def __init__(self, supervisor: Supervisor, clock: Clock, memory: Callable[[int], int | None] = memory_of) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._memory = memory
        self._weighed = clock.now() - MEMORY_SECONDS
        self._replacing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                due = self._clock.now() + ROUND_SECONDS
                await self._clock.sleep(ROUND_SECONDS)
                await self.look(late=self._clock.now() - due)
        finally:
            if self._replacing is not None:
                self._replacing.cancel()

    async def look(self, late: float = 0.0) -> None:
        """Once, at all of them. ``late``: how much too late this one is."""
        now, supervisor = self._clock.now(), self._supervisor
        weigh = now - self._weighed >= MEMORY_SECONDS
        self._weighed = now if weigh else self._weighed
        for seat in supervisor.board.seats:
            if late > ASLEEP_SECONDS or seat.pid is None:
                seat.heard = now  # it may have told much that has not been read yet, or there is no process yet
            if weigh and seat.pid is not None:
                seat.memory_mib = self._memory(seat.pid)
            looked = Looked(now - seat.heard, now - seat.since, seat.memory_mib)
            match judge(seat, looked, supervisor.crew.settings.worker_memory_mb):
                case "dead":
                    await self._end(seat)
                case "quiet" if seat.state == "ready":
                    log.warning("worker %d has told nothing for %.1f s: its sessions move", seat.number, looked.quiet)
                    seat.state = "quiet"
                    supervisor.watches.tell(seat.number, "gone")
                case "large" if self._replacing is None or self._replacing.done():
                    log.warning("worker %d has %s MiB (worker_memory_mb) and is replaced", seat.number, seat.memory_mib)
                    self._replacing = asyncio.create_task(self._replace(seat), name="replace-large")

    async def _end(self, seat: Seat) -> None:
        worker = self._supervisor.worker(seat)
        if worker is None:
            return
        log.error("worker %d hangs and is ended; where its threads are it may have printed", seat.number)
        if seat.state != "leaving":  # one that leaves has been replaced already
            seat.state = "ended"
        worker.explain()
        await self._clock.sleep(EXPLAIN_SECONDS)
        self._supervisor.lost(seat)

    async def _replace(self, seat: Seat) -> None:
        try:
            await self._supervisor.restart(seat.number)
        except (WorkerFailedError, OSError) as error:
            log.error("worker %d stays as large as it is: %s", seat.number, error)
