"""A worker that takes jobs in turn from all sessions and runs those that fit together as one batch."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from media.clock import Clock, MonotonicClock
from pipelines.errors import EngineBusyError, EngineStuckError
from pipelines.runtime.crew import Crew, Hand
from pipelines.runtime.worker import client, fail, post, session, succeed


class Queued(Protocol):
    """What lines up."""

    client: str
    """Whose it is."""
    session: str
    """For which of its sessions."""
    group: Hashable
    """What it can be served together with."""


J = TypeVar("J", bound=Queued)


class FairQueue(Generic[J]):
    """Jobs that wait: in order within a session, the sessions of a client in turn, clients in turn. Not thread-safe.

    A session whose job is taken goes to the end of the line, and so does its client, so that twenty requests of one do
    not delay the single request of another by more than one job.
    """

    def __init__(self) -> None:
        self._clients: dict[str, dict[str, deque[J]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: J) -> None:
        """Line up."""
        self._clients.setdefault(job.client, {}).setdefault(job.session, deque()).append(job)
        self._count += 1

    def remove(self, job: J) -> bool:
        """Leave the line. False if the job is not in it (any more)."""
        sessions = self._clients.get(job.client, {})
        line = sessions.get(job.session)
        if line is None or job not in line:
            return False
        line.remove(job)
        self._count -= 1
        if not line:
            del sessions[job.session]
        if not sessions:
            del self._clients[job.client]
        return True

    def take(self, like: J | None = None) -> J | None:
        """The next job; with ``like`` the next of its group, past sessions whose next job is of another."""
        for who, sessions in self._clients.items():
            for name, line in sessions.items():
                if like is None or line[0].group == like.group:
                    job = line.popleft()
                    self._count -= 1
                    del sessions[name], self._clients[who]
                    if line:
                        sessions[name] = line
                    if sessions:
                        self._clients[who] = sessions
                    return job
        return None


log = logging.getLogger(__name__)

Q = TypeVar("Q")
R = TypeVar("R")


class Job(Generic[Q]):
    """One request, as the function that runs the batch sees it. Made on the event loop of its caller."""

    def __init__(self, request: Q, group: Hashable, deadline: float | None, arrived: float) -> None:
        self.request = request
        self.group = group
        self.session = session.get()
        self.client = client.get() or self.session
        self.deadline = deadline
        """Monotonic seconds after which there is no use in beginning."""
        self.arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    # ---- for the worker's thread

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone away. Cheap, and true at once: look at it between steps."""
        return self._future.cancelled()

    def settle(self, result: object) -> None:
        """Give the caller its result, or raise it there if it is an exception."""
        post(self._loop, fail if isinstance(result, BaseException) else succeed, self._future, result)

    # ---- for the caller

    async def result(self) -> Any:
        """Wait for the result; cancelling that cancels the job."""
        return await self._future

    def abandon(self) -> None:
        """Nobody waits any more."""
        if not self._future.cancel() and not self._future.cancelled():
            self._future.exception()  # an error that its reader did not stay for need not be logged


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """What a worker has done since it was made."""

    batches: int = 0
    """Calls of the run function, those that crashed included."""
    jobs: int = 0
    """Jobs in those batches."""
    crashes: int = 0
    """Batches that ended in an exception."""
    restarts: int = 0
    """Times the engine was restarted after a crash."""
    expired: int = 0
    """Jobs whose deadline passed before they began."""
    refused: int = 0
    """Jobs that found the inbox full."""
    stuck: int = 0
    """Batches that hung and were given up."""


_NEWEST = 0.2
"""Weight of the newest batch in the mean time of a job."""


class BatchWorker(Generic[Q, R]):
    """One thread that runs batches of up to ``max_batch`` jobs of one group with ``run(jobs)``.

    ``max_batch`` may be a function that tells it of the first request of a batch.

    ``run`` returns one result or exception per job; it should look at :attr:`Job.cancelled` between steps. What it
    raises itself is a crash: it fails this batch only, of which each job is run once more, alone, if there were
    several; ``restart`` is called before the next run. ``max_wait`` is how many seconds after its arrival a job may be
    kept to fill a batch: with 0 a batch is what is queued already. ``inbox`` is the number of jobs that may wait.
    A batch that takes longer than ``limit`` seconds hangs: its jobs raise :class:`EngineStuckError`, and another thread
    goes on as after a crash; ``run`` may allow itself more (:func:`pipelines.runtime.crew.allow`).
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Job[Q]]], Sequence[R | Exception]],
        *,
        max_batch: int | Callable[[Q], int] = 1,
        max_wait: float = 0.0,
        inbox: int = 64,
        restart: Callable[[], None] | None = None,
        limit: float | None = None,
    ) -> None:
        self.name = name
        self.clock: Clock = MonotonicClock()
        self._run = run
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._inbox = inbox
        self._restart = restart
        self._crashed = False
        self._closed = False
        self._counts = WorkerCounts()
        self._queue: FairQueue[Job[Q]] = FairQueue()
        self._changed = threading.Condition()  # guards the queue, the counts and ``_closed``
        self._busy = 0
        """Jobs in the batch in hand."""
        self._seconds = 0.0
        """What a job takes, the newest batches weighing most."""
        self.crew = Crew(name, self._work, 1, limit)

    # ------------------------------------------------------------------------------------------------ callers

    async def submit(self, request: Q, *, group: Hashable = None, deadline: float | None = None) -> R:
        """Have the request run and return its result, or raise the exception that ``run`` gave for it.

        Raises :class:`EngineBusyError`: ``engine_busy`` when the inbox is full, ``deadline`` when the request has not
        begun by then (monotonic seconds), ``engine_closed``.
        """
        with self._lined_up(request, group, deadline) as job:
            result: R = await job.result()
            return result

    @property
    def waiting(self) -> int:
        """Jobs in the inbox."""
        return len(self._queue)

    @property
    def expected_wait(self) -> float:
        """Seconds that a job put into the inbox now would wait before it begins, by what jobs took lately; cheap.

        0 while the thread is idle, and until the first job is done.
        """
        return (len(self._queue) + self._busy) * self._seconds

    def counts(self) -> WorkerCounts:
        """The counters as they stand; they never go back."""
        return self._counts

    def close(self) -> None:
        """Finish the batch in hand, refuse those waiting, end the thread. Idempotent; does not wait."""
        self.crew.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while (job := self._queue.take()) is not None:
                job.settle(self._closed_error())

    @contextmanager
    def _lined_up(self, request: Q, group: Hashable, deadline: float | None) -> Iterator[Job[Q]]:
        """A job in the inbox; what has not begun when the context ends will not."""
        job = Job(request, group, deadline, self.clock.now())
        self._put(job)
        timer = None
        if deadline is not None:  # the caller is told in time, however long the batch in hand takes
            timer = asyncio.get_running_loop().call_later(deadline - self.clock.now(), self._expire, job)
        try:
            yield job
        finally:
            if timer is not None:
                timer.cancel()
            job.abandon()
            with self._changed:
                self._queue.remove(job)

    def _put(self, job: Job[Q]) -> None:
        with self._changed:
            if self._closed:
                raise self._closed_error()
            self.crew.check()
            if self._is_late(job):
                self._count(expired=1)
                raise self._deadline_error()
            if len(self._queue) >= self._inbox:
                self._count(refused=1)
                raise EngineBusyError("engine_busy", f"the {self.name} worker has {self._inbox} jobs waiting")
            self._queue.add(job)
            self._changed.notify()

    def _expire(self, job: Job[Q]) -> None:
        with self._changed:
            if self._queue.remove(job):
                self._count(expired=1)
                job.settle(self._deadline_error())

    def _is_late(self, job: Job[Q]) -> bool:
        return job.deadline is not None and self.clock.now() >= job.deadline

    def _deadline_error(self) -> EngineBusyError:
        return EngineBusyError("deadline", f"the {self.name} worker did not come to the request in time")

    def _closed_error(self) -> EngineBusyError:
        return EngineBusyError("engine_closed", f"the {self.name} worker has been closed")

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})

    # ------------------------------------------------------------------------------------------------ thread

    def _work(self, hand: Hand) -> None:
        while (batch := self._next_batch()) is not None:
            waited = self.clock.now() - batch[0].arrived
            hand.begin(partial(self._given_up, batch), [job.session for job in batch], waited)
            self._serve(batch, hand)
            del batch  # what was asked is not kept in memory until something else is
            if not hand.end():
                return

    def _given_up(self, batch: Sequence[Job[Q]], error: EngineStuckError) -> None:
        self._crashed = True
        with self._changed:
            self._count(stuck=1)
        for job in batch:
            job.settle(error)

    def _next_batch(self) -> list[Job[Q]] | None:
        """Wait for jobs; ``None`` when the worker has been closed."""
        with self._changed:
            while not self._closed:
                if not (batch := self._fill([])):
                    self._changed.wait()
                    continue
                until = batch[0].arrived + self._max_wait
                while (
                    0 < len(batch) < self._most(batch) and not self._closed and (left := until - self.clock.now()) > 0
                ):
                    self._changed.wait(left)
                    batch = self._fill(batch)
                if batch:
                    return batch
            return None

    def _fill(self, batch: list[Job[Q]]) -> list[Job[Q]]:
        """``batch``, without who has left, with as many jobs as are queued and fit; the late ones are told so."""
        batch = [job for job in batch if not job.cancelled]
        while len(batch) < self._most(batch) and (job := self._queue.take(batch[0] if batch else None)) is not None:
            if self._is_late(job):
                self._count(expired=1)
                job.settle(self._deadline_error())
            elif not job.cancelled:
                batch.append(job)
        return batch

    def _most(self, batch: Sequence[Job[Q]]) -> int:
        """How many jobs ``batch`` may have."""
        if isinstance(self._max_batch, int):
            return self._max_batch
        return self._max_batch(batch[0].request) if batch else 1

    def _serve(self, batch: Sequence[Job[Q]], hand: Hand) -> None:
        results, crashed = self._attempt(batch, hand)
        for job, result in zip(batch, results, strict=True):
            if hand.abandoned:  # all of them were told so, and another thread may be in the engine
                return
            if crashed and len(batch) > 1 and not job.cancelled and not self._closed:
                result = self._attempt([job], hand)[0][0]
            job.settle(result)

    def _attempt(self, batch: Sequence[Job[Q]], hand: Hand) -> tuple[Sequence[R | BaseException], bool]:
        """One result per job, and whether they are all the exception that the engine crashed with."""
        if self._crashed:
            try:
                self._begin_anew()
            except BaseException as error:  # noqa: BLE001 - handed to the callers, whatever it is
                return [error] * len(batch), False
        with self._changed:
            self._count(batches=1, jobs=len(batch))
            self._busy += len(batch)
        began = self.clock.now()
        try:
            results = self._run(batch)
            if len(results) != len(batch):
                raise RuntimeError(f"the {self.name} engine gave {len(results)} results for {len(batch)} requests")
        except BaseException as error:
            log.exception("the %s engine crashed in a batch of %d", self.name, len(batch))
            if not hand.abandoned:  # whoever has taken its place has begun anew already
                self._crashed = True
            with self._changed:
                self._count(crashes=1)
            return [error] * len(batch), True
        finally:
            taken = (self.clock.now() - began) / len(batch)
            with self._changed:
                self._busy -= len(batch)
                self._seconds += (taken - self._seconds) * (_NEWEST if self._seconds else 1.0)
        return results, False

    def _begin_anew(self) -> None:
        if self._restart is not None:
            self._restart()
            with self._changed:
                self._count(restarts=1)
        self._crashed = False
