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
from server.workers.of_all.secrets import SecretsOfAll
from server.workers.process import Message, WorkerFailedError, WorkerProcess
from server.workers.processes.nursery import Nursery
from server.workers.watches import Watches

log = logging.getLogger(__name__)

SETTLING_SECONDS = 3.0
"""After which a worker that has ended is replaced while others serve: what it loads must not be in the way of those who
come back just then."""
RESTS = (0.0, 1.0, 5.0, 30.0)
"""Seconds after which a worker is replaced at the least: the more often one ended, the later."""
LONG_LIFE = 60.0
"""Seconds after which the ends before are forgotten."""
LOOK_SECONDS = 0.1
"""Between looks at whether a worker that is to end still has sessions."""
WATCHES_PER_PLACE = 2


@dataclass(frozen=True, slots=True)
class Crew:
    """What all workers of a front have in common."""

    settings: Settings
    count: int
    cores: int
    """Processors for each."""
    folder: Path
    """Where their sockets are; nobody else may look into it."""
    nursery: Nursery
    """Where their processes come from."""
    llama_host: Path | None = None


class Supervisor:
    """Owns the processes, and the tasks that look after them. ``news`` hears what the first start waits for."""

    def __init__(
        self, crew: Crew, clock: Clock, news: Callable[[Sequence[Any]], object] = lambda progress: None
    ) -> None:
        self.board = Board(crew.settings.max_sessions, crew.settings.reserved_sessions)
        self.watches = Watches(WATCHES_PER_PLACE * crew.settings.max_sessions)
        self.secrets = SecretsOfAll(self._tell_others)
        self.crew = crew
        self._clock = clock
        self._news = news
        self._workers: dict[int, WorkerProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing: set[asyncio.Task[Any]] = set()
        """Those of them that let another worker begin, or wait until it may."""
        self._heirs: dict[int, asyncio.Future[bool]] = {}
        """Of workers that are to be replaced: whether the next one serves, once that is known."""
        self._last = 0
        self._doors: WorkerProcess | None = None
        """Who has the ports of other protocols."""
        self._closing = False
        self._restarting = asyncio.Lock()

    async def start(self) -> WorkerProcess:
        """Start them all and return the first one once it serves; the others follow, since what the first has fetched
        they find. Raises :class:`WorkerFailedError` for one that cannot serve."""
        first = await self._begin()
        self._keep(self._look_after(first, trial=True))
        await first.ready()
        await self._assign_doors()
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
        self.watches.tell(seat.number, "gone")
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
            log.info("worker %d is to be replaced", number)
            new = await self._heir(number)
            if self._workers.get(number) is old:  # it has not ended meanwhile
                await self._let_go(old, new.number)
            return True

    async def restart_all(self) -> None:
        """Each worker that serves now, one after another, the oldest last: it has what there is one of. Ends with the
        first that cannot be replaced: the others stay. Raises :class:`WorkerFailedError`, :class:`OSError`."""
        for seat in reversed(self.board.seats):
            await self.restart(seat.number)

    async def close(self, seconds: float) -> None:
        """End all workers, by force after ``seconds``. Idempotent."""
        self._closing = True
        for task in self._replacing:
            task.cancel()
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
        await self.crew.nursery.close()

    # ------------------------------------------------------------------------------------------------ inside

    async def _begin(self) -> WorkerProcess:
        self._last += 1
        number, crew = self._last, self.crew
        orders = Orders(number, crew.folder / f"{number}.sock", crew.settings, crew.cores, crew.llama_host)
        seat = self.board.add(number)
        seat.heard = self._clock.now()
        worker = WorkerProcess(orders, seat, lambda message: self._hear(worker, message))
        self._workers[number] = worker
        try:
            await worker.start(crew.nursery)
        except BaseException:
            self.board.remove(number, self._clock.now())
            self._workers.pop(number, None)
            raise
        return worker

    async def _heir(self, number: int) -> WorkerProcess:
        """Another worker, once it serves, to replace this one with; if this one ends meanwhile, it is replaced by no
        other. Raises :class:`WorkerFailedError`, :class:`OSError`."""
        heir = self._heirs[number] = asyncio.get_running_loop().create_future()
        serves = False
        try:
            new = await self._begin()
            self._keep(self._look_after(new, trial=True))
            await new.ready()
            serves = True
        except WorkerFailedError as error:
            log.error("worker %d stays: the one that was to replace it cannot serve: %s", number, error)
            raise
        finally:
            del self._heirs[number]
            heir.set_result(serves)
        return new

    async def _let_go(self, old: WorkerProcess, new: int) -> None:
        """End a worker whose place another has taken, when its sessions have gone on elsewhere or it is time."""
        seat, seconds = old.seat, self.crew.settings.drain_seconds
        seat.state = "leaving"
        await self._assign_doors()
        self.watches.tell(old.number, "leaving")
        old.send("leave", seconds=seconds)
        until = self._clock.now() + seconds
        while (seat.sessions or seat.coming) and seat.state == "leaving" and self._clock.now() < until:
            await self._clock.sleep(LOOK_SECONDS)
        log.info("worker %d ends with %d sessions; %d takes its place", old.number, seat.sessions, new)
        old.send("stop")

    async def _look_after(self, worker: WorkerProcess, *, trial: bool = False) -> None:
        """Until it has ended; then another takes its place, unless that was wanted or it never served (``trial``)."""
        ends = 0
        while True:
            began = self._clock.now()
            status = await self._until_ended(worker)
            seat = worker.seat
            wanted, heir = seat.state == "leaving" or self._closing, self._heirs.get(worker.number)
            self.board.remove(worker.number, self._clock.now())
            self._workers.pop(worker.number, None)
            self.watches.tell(worker.number, "gone")
            if not self._closing:
                await self._assign_doors()
            if wanted or (trial and not worker.served):
                return
            log.error("worker %d has ended with status %d and is replaced", worker.number, status)
            if (heir is not None and await asyncio.shield(heir)) or self._closing:
                return
            ends = 0 if self._clock.now() - began > LONG_LIFE else ends
            worker, ends = await self._replacement(ends)
            trial = False

    async def _replacement(self, ends: int) -> tuple[WorkerProcess, int]:
        """Another worker after a rest, and how often one has ended by now. The system may refuse a process for a while
        (memory, descriptors): then that is tried again, for otherwise there would be one less for good."""
        task = asyncio.current_task()
        assert task is not None
        self._replacing.add(task)
        try:
            while True:
                rest = RESTS[min(ends, len(RESTS) - 1)]
                await self._clock.sleep(max(rest, SETTLING_SECONDS) if self.board.house() is not None else rest)
                ends += 1
                try:
                    return await self._begin(), ends
                except OSError as error:
                    log.error("no worker can be started at this moment: %s", error)
        finally:
            self._replacing.discard(task)

    async def _until_ended(self, worker: WorkerProcess) -> int:
        try:
            return await worker.run()
        except asyncio.CancelledError:
            worker.kill()
            raise

    def _hear(self, worker: WorkerProcess, message: Message) -> None:
        seat, now = worker.seat, self._clock.now()
        seat.heard = now
        match message.get("type"):
            case "arrivals":
                self._news(message["progress"])
            case "ready":
                seat.since = now
                log.info("worker %d serves", worker.number)
                for secret in self.secrets.all():
                    worker.send("secret", secret=secret)
                if self._doors is not None and not self._closing:
                    self._keep(self._assign_doors())  # whoever had them may have ended while nobody else served
            case "secret":
                self.secrets.hear(worker.number, message["secret"])
            case _ if seat.state == "quiet":
                log.warning("worker %d answers again", worker.number)
                seat.state = "ready"

    def _tell_others(self, number: int, secret: Message) -> None:
        for worker in self._workers.values():
            if worker.number != number and worker.seat.state != "starting":
                worker.send("secret", secret=secret)

    async def _assign_doors(self) -> None:
        """The oldest worker that serves has the ports of other protocols."""
        if self.crew.settings.wyoming_port is None and self.crew.settings.grpc_port is None:
            return
        seat = self.board.house()
        worker = self.worker(seat) if seat is not None else None
        if worker is not None and worker is not self._doors:
            self._doors = worker
            await worker.open_doors()

    def _keep(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name="worker")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
