"""One model at work: items of all sessions in turn, in batches of like length, and streams piece by piece between them.

A stream is a generator on the model's thread of which each piece is a job of its own: so it is taken in turn with the
batches and streams of others, and a reader that takes its time delays nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.models.residency import Resident
from pipelines.runtime import batching

log = logging.getLogger(__name__)

Spec = TaskSpec[Any, Any, Any]

BUDGETS = {"cpu": 2048}
"""Device → what the items of a batch may cost together, in tokens."""
GPU_BUDGET = 16_384
GPU_WAIT = 0.003
"""Seconds that an item may wait for others where a batch pays; on a processor it does not."""
LIMIT = 900.0
"""Seconds after which a batch or a piece of a stream hangs."""
INBOX = 4096
"""Items that may wait for one model."""

deserted: ContextVar[Callable[[], bool]] = ContextVar("deserted", default=lambda: False)
"""On a worker's thread: whether nobody waits any more for any item of the batch in hand. Look at it between steps."""


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """An item in the queue."""

    job: Job[Any, Any]
    cost: int
    most: int

    @property
    def length(self) -> int:
        """Items of a batch have the same; the longest costs less than twice as much as the shortest."""
        return max(self.cost, 1).bit_length()


class _Stream:
    """A generator on the model's thread."""

    END = object()

    def __init__(self, resident: Resident[Any], spec: Spec, job: Job[Any, Any]) -> None:
        self._resident = resident
        self._spec = spec
        self._job = job
        self._iterator: Iterator[Any] | None = None
        self.stopped = False

    def step(self) -> Any:
        """The next piece, or :attr:`END`."""
        if self._iterator is None:
            self._iterator = self._produce()
        return next(self._iterator, self.END)

    def close(self) -> None:
        """End it and let go of the model."""
        self.stopped = True
        if (close := getattr(self._iterator, "close", None)) is not None:
            close()

    def _produce(self) -> Iterator[Any]:
        assert self._spec.stream is not None
        with self._resident.lease() as model:
            yield from self._spec.stream(model, self._job, lambda: self.stopped)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """The next piece of a stream, or its end."""

    stream: _Stream
    closes: bool = False


class ModelWorker:
    """One model on one device, for all tasks that run it in the same way."""

    def __init__(self, spec: Spec, resident: Resident[Any], device: str) -> None:
        self.name = resident.name
        self._run = spec.run
        self._resident = resident
        self._budget = BUDGETS.get(device, GPU_BUDGET)
        self._deserted: deque[_Stream] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._users = 0
        self._retired = False
        self.closed = False
        """Whether it takes nothing more."""
        self._worker: batching.BatchWorker[_Item | _Step, Any] = batching.BatchWorker(
            resident.name,
            self._serve,
            max_batch=self._most,
            max_wait=0.0 if device == "cpu" else GPU_WAIT,
            inbox=INBOX,
            limit=LIMIT,
        )

    async def run(self, spec: Spec, job: Job[Any, Any], deadline: float | None = None) -> Done:
        """The result of one item; ``deadline`` in monotonic seconds. Raises :class:`PipelineError`.

        What is computed one item after another anyway, and can be streamed, is made piece by piece: so others have
        their turn in between, and whoever leaves ends the work.
        """
        if spec.stream is not None and spec.batch == 1:
            try:
                return await self._drained(spec, job, deadline)
            except ModelError as error:
                if error.code != "out_of_memory":
                    raise
        item = _Item(job, spec.cost(job), spec.batch)
        with self.in_use():
            done: Done = await self._worker.submit(item, group=(spec.group(job), item.length), deadline=deadline)
        return done

    async def _drained(self, spec: Spec, job: Job[Any, Any], deadline: float | None) -> Done:
        """The last piece of a stream."""
        async with aclosing(self.stream(spec, job, deadline)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    return piece
        raise TaskError("task_failed", f"{self.name} has ended without a result")

    async def stream(self, spec: Spec, job: Job[Any, Any], deadline: float | None = None) -> AsyncGenerator[Any, None]:
        """Pieces, the last of which is :class:`Done`. Closing it ends the work. Raises :class:`PipelineError`."""
        stream = _Stream(self._resident, spec, job)
        group = ("stream", id(stream))
        with self.in_use():
            try:
                while (
                    piece := await self._worker.submit(_Step(stream), group=group, deadline=deadline)
                ) is not stream.END:
                    deadline = None
                    yield piece
            finally:
                stream.stopped = True
                self._deserted.append(stream)
                task = asyncio.ensure_future(self._close(stream, group))
                self._closing.add(task)
                task.add_done_callback(self._has_closed)

    def load(self) -> None:
        """Bring the model into memory. Blocks. Raises :class:`PipelineError`."""
        with self._resident.lease():
            pass

    def counts(self) -> batching.WorkerCounts:
        """What it has done."""
        return self._worker.counts()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return self._worker.waiting

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Until the context ends it may be asked, :meth:`retire` or not. On the event loop."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_done()

    def retire(self) -> None:
        """End the thread as soon as nobody uses it. On the event loop."""
        self._retired = True
        self._close_if_done()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self.closed = True
        self._worker.close()

    # ------------------------------------------------------------------------------------------------ inside

    def _has_closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self._users and not self._closing:
            self.close()

    async def _close(self, stream: _Stream, group: Any) -> None:
        with suppress(PipelineError):  # a full queue will come to it: what is deserted is ended before each batch
            await self._worker.submit(_Step(stream, closes=True), group=group)

    def _most(self, request: _Item | _Step) -> int:
        if isinstance(request, _Step):
            return 1
        return max(1, min(request.most, self._budget >> request.length))

    # ------------------------------------------------------------------------------------------------ thread

    def _serve(self, jobs: Sequence[batching.Job[_Item | _Step]]) -> list[Any]:
        while self._deserted:
            with suppress(IndexError):
                self._deserted.popleft().close()
        if isinstance(step := jobs[0].request, _Step):
            return [self._take(step)]
        token = deserted.set(lambda: all(job.cancelled for job in jobs))
        try:
            return self._computed([job.request.job for job in jobs if isinstance(job.request, _Item)])
        finally:
            deserted.reset(token)

    def _take(self, step: _Step) -> Any:
        try:
            return step.stream.END if step.closes else step.stream.step()
        except Exception as error:  # noqa: BLE001 - the reader's, and no crash of the worker
            return error

    def _computed(self, jobs: list[Job[Any, Any]], again: bool = True) -> list[Any]:
        """One result per item. When memory runs out, what is not in use is unloaded and the batch is tried once more,
        and then in halves."""
        loaded = False
        try:
            with self._resident.lease() as model:
                loaded = True
                return list(self._run(model, jobs))
        except PipelineError as error:
            if loaded and not isinstance(error, ModelError):
                raise
            if not loaded or error.code != "out_of_memory":
                return [error] * len(jobs)
            problem = error
        if again:
            return self._computed(jobs, again=False)
        if len(jobs) == 1:
            return [problem]
        middle = len(jobs) // 2
        return self._computed(jobs[:middle], again=False) + self._computed(jobs[middle:], again=False)
