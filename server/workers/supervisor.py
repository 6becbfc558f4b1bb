"""The workers of a front: as many as are wanted, one more when one has ended, and one after another when asked to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.clock import Clock
from server.settings import Settings
from server.workers.board import Board, Seat
from server.workers.messages import Orders
from server.workers.process import COMMAND, Command, WorkerFailedError, WorkerProcess

log = logging.getLogger(__name__)

RESTS = (0.0, 1.0, 5.0, 30.0)
"""Seconds after which a worker that has ended is replaced: the more often one ended, the later."""
LONG_LIFE = 60.0
"""Seconds after which the ends before are forgotten."""
LOOK_SECONDS = 0.1
"""Between looks at whether a worker that is to end still has sessions."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What all workers of a front have in common."""

    settings: Settings
    count: int
    cores: int
    """Processors for each."""
    folder: Path
    """Where their sockets are; nobody else may look into it."""
    llama_host: Path | None = None
    command: Command = COMMAND


class Supervisor:
    """Owns the processes, and the tasks that look after them. ``news`` hears what the first start waits for."""

    def __init__(
        self, crew: Crew, clock: Clock, news: Callable[[Sequence[Any]], object] = lambda progress: None
    ) -> None:
        self.board = Board(crew.settings.max_sessions, crew.settings.reserved_sessions)
        self.crew = crew
        self._clock = clock
        self._news = news
        self._workers: dict[int, WorkerProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = 0
        self._closing = False
        self._restarting = asyncio.Lock()

    async def start(self) -> WorkerProcess:
        """Start them all and return the first one once it serves; the others follow, since what the first has fetched
        they find. Raises :class:`WorkerFailedError` for one that cannot serve."""
        first = await self._begin()
        self._keep(self._look_after(first, trial=True))
        await first.ready()
        for _ in range(self.crew.count - 1):
            self._keep(self._look_after(await self._begin()))
        return first

    def worker(self, seat: Seat) -> WorkerProcess | None:
        """Its process."""
        return self._workers.get(seat.number)

    def lost(self, seat: Seat) -> None:
        """It does not answer: nothing more is sent there, and another takes its place."""
        if seat.state != "leaving":
            seat.state = "ended"
        if (worker := self.worker(seat)) is not None:
            worker.kill()

    async def all_ready(self) -> None:
        """Wait until every worker serves that is being started."""
        for worker in list(self._workers.values()):
            with suppress(WorkerFailedError):
                await worker.ready()

    async def restart(self, number: int) -> bool:
        """Replace a worker by a new one, once that serves; its sessions are asked to go on there. ``False``: there is
        no such worker. One at a time: others wait."""
        async with self._restarting:
            seat = self.board.find(number)
            old = self._workers.get(number)
            if seat is None or old is None or seat.state == "leaving":
                return False
            new = await self._begin()
            self._keep(self._look_after(new, trial=True))
            try:
                await new.ready()
            except WorkerFailedError as error:
                log.error("worker %d stays: the one that was to replace it cannot serve: %s", number, error)
                raise
            seat.state = "leaving"
            seconds = self.crew.settings.drain_seconds
            old.send("leave", seconds=seconds)
            until = self._clock.now() + seconds
            while (seat.sessions or seat.coming) and seat.state == "leaving" and self._clock.now() < until:
                await self._clock.sleep(LOOK_SECONDS)
            log.info("worker %d ends with %d sessions; %d takes its place", number, seat.sessions, new.number)
            old.send("stop")
            return True

    async def restart_all(self) -> None:
        """Each worker that serves now, one after another."""
        for seat in self.board.seats:
            await self.restart(seat.number)

    async def close(self, seconds: float) -> None:
        """End all workers, by force after ``seconds``. Idempotent."""
        self._closing = True
        workers = list(self._workers.values())
        for worker in workers:
            worker.send("stop")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for worker in workers:
                worker.kill()
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------ inside

    async def _begin(self) -> WorkerProcess:
        self._last += 1
        number, crew = self._last, self.crew
        orders = Orders(number, crew.folder / f"{number}.sock", crew.settings, crew.cores, crew.llama_host)
        worker = WorkerProcess(orders, self.board.add(number), self._news)
        self._workers[number] = worker
        try:
            await worker.start(crew.command)
        except BaseException:
            self.board.remove(number, self._clock.now())
            self._workers.pop(number, None)
            raise
        return worker

    async def _look_after(self, worker: WorkerProcess, *, trial: bool = False) -> None:
        """Until it has ended; then another takes its place, unless that was wanted or it never served (``trial``)."""
        ends = 0
        while True:
            began = self._clock.now()
            status = await self._until_ended(worker)
            seat = worker.seat
            wanted, served = seat.state == "leaving" or self._closing, seat.state != "starting"
            self.board.remove(worker.number, self._clock.now())
            self._workers.pop(worker.number, None)
            if wanted or (trial and not served):
                return
            log.error("worker %d has ended with status %d and is replaced", worker.number, status)
            ends = 0 if self._clock.now() - began > LONG_LIFE else ends
            await self._clock.sleep(RESTS[min(ends, len(RESTS) - 1)])
            ends, trial = ends + 1, False
            worker = await self._begin()

    async def _until_ended(self, worker: WorkerProcess) -> int:
        try:
            return await worker.run()
        except asyncio.CancelledError:
            worker.kill()
            raise

    def _keep(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name="worker")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
