"""The history of one process: samples itself every second while it runs, and answers questions about it."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from media.clock import Clock
from pipelines.runtime.child_process import CHILDREN
from pipelines.runtime.usage import LEDGER, Ledger, Usage
from pipelines.runtime.worker import Worker
from server.observability.history.book import Book, Question
from server.observability.history.disk import STEP, Disk
from server.observability.history.gpu import Gpus
from server.observability.history.notes import Noted, Notes
from server.observability.history.resources import Resources
from server.observability.history.rings import Point
from server.observability.history.sampler import Look, sample_of
from server.observability.history.series import SERIES, Key, Sample

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 1.0
THREADS_EVERY = 5
"""Samples between readings of what each thread has cost, which takes the longest."""
FAILED_REST = 30.0
"""Seconds after a defect of ours before the next sample: what is optional must not fill the log."""


_WAIT = "visavis_worker_wait_seconds"


@dataclass(slots=True)
class Watched:
    """What the history looks at beside the system. On the event loop."""

    sessions: Callable[[], Collection[str]] = tuple
    pools: Callable[[], Mapping[str, int]] = dict


class History:
    """``disk``: where it is kept, too. ``wall`` tells the time of day in seconds since 1970."""

    def __init__(
        self,
        clock: Clock,
        disk: Disk | None = None,
        *,
        ledger: Ledger = LEDGER,
        resources: Resources | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.notes = Notes()
        self.watched = Watched()
        self.totals: Mapping[Key, float] = {}
        """Of series that are rates: how much in all since the start."""
        self.latest: Mapping[Key, float] = {}
        """The last value of each series."""
        self._clock = clock
        self._wall = wall
        self._disk = disk
        self._ledger = ledger
        self._resources = resources or Resources()
        self._book = Book()
        self._worker = Worker("history", inbox=64)
        self._gpus: Gpus | None = None
        self._closed = False
        self._looked = clock.now()
        self._threads_looked = clock.now()
        self._samples = 0
        self._usage = Usage()
        """Since the threads were read last."""
        self._slot: dict[Key, list[float]] = defaultdict(list)
        self._slot_began: float | None = None

    async def run(self) -> None:
        """Sample until cancelled. A sample that fails is told, and the next one is later."""
        while True:
            await self._clock.sleep(SAMPLE_SECONDS)
            try:
                await self.sample()
            except Exception:
                log.exception("the history could not be sampled")
                await self._clock.sleep(FAILED_REST)

    async def sample(self) -> None:
        """Look once."""
        noted, late = self.notes.take()
        sessions, pools = tuple(self.watched.sessions()), dict(self.watched.pools())
        await self._worker.run(self._sample, noted, late, sessions, pools)

    async def ask(self, question: Question) -> dict[Key, list[Point]]:
        """Points by series; times of the question and of the answer are those of the day."""
        return await self._worker.run(self._ask, question)

    async def on_disk(self, question: Question) -> dict[tuple[int, Key], list[Point]]:
        """What other processes have written, by their number and series."""
        return await self._worker.run(self._written, question)

    async def keys(self) -> list[Key]:
        """The series that there are."""
        return await self._worker.run(self._book.keys)

    @property
    def gpu_reason(self) -> str:
        """Why there is nothing about GPUs; empty where all is told."""
        return self._gpus.reason if self._gpus is not None else "not looked at yet"

    async def close(self) -> None:
        """Write what is left, and end the thread. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._worker.run(self._end)
            self._worker.close()

    # ------------------------------------------------------------------------------------------------ on the worker

    def _sample(self, noted: Noted, late: float, sessions: Collection[str], pools: Mapping[str, int]) -> None:
        if self._gpus is None:
            self._gpus = Gpus()
        now = self._clock.now()
        seconds, self._looked = max(1e-3, now - self._looked), now
        with_threads = self._samples % THREADS_EVERY == 0
        self._samples += 1
        used = self._resources.read(CHILDREN.serving(), threads=with_threads)
        usage = self._ledger.take()
        _join(self._usage, usage)
        look = Look(seconds, used, usage, noted, late, sessions, self._gpus.read(), pools)
        sample = sample_of(look)
        if with_threads:
            look.cpu_seconds, self._threads_looked = max(1e-3, now - self._threads_looked), now
            look.usage, self._usage = self._usage, Usage()
            whole = sample_of(look).values
            sample.values |= {key: value for key, value in whole.items() if key[0] in _OF_THREADS}
        self._complete(sample, with_threads)
        self._book.add(now, sample, sessions)
        self._sum_up(sample.values, seconds, look.cpu_seconds or seconds)
        self._keep(sample.values)

    def _complete(self, sample: Sample, with_threads: bool) -> None:
        """What grew once and does not now is at rest, which is a value, too; what never grew is no curve.

        So it is with workers without a job, for which nobody waits, and with engines whose processes have ended. Of a
        worker with a job that began none, what waits for it is not known to be less: its last value stays.
        """
        for name, labels in self.latest:
            busy = ("visavis_worker_busy_seconds_total", labels)
            if name == "visavis_engine_resident_bytes" or (name == _WAIT and busy not in sample.values):
                sample.values.setdefault((name, labels), 0.0)
        for key in self.totals:
            if with_threads or key[0] not in _OF_THREADS:
                sample.values.setdefault(key, 0.0)
        for key, value in list(sample.values.items()):
            if key[0] == "visavis_engine_cpu_seconds_total" and not value and key not in self.totals:
                del sample.values[key]

    def _sum_up(self, values: Mapping[Key, float], seconds: float, cpu_seconds: float) -> None:
        totals = dict(self.totals)
        for key, value in values.items():
            if SERIES[key[0]].kind == "rate" and "session" not in SERIES[key[0]].labels:
                totals[key] = totals.get(key, 0.0) + value * (cpu_seconds if key[0] in _OF_THREADS else seconds)
        self.totals, self.latest = totals, self._book.latest()

    def _keep(self, values: Mapping[Key, float]) -> None:
        if self._disk is None:
            return
        slot = self._wall() // STEP * STEP
        if self._slot_began is not None and slot != self._slot_began:
            self._flush()
        self._slot_began = slot
        for key, value in values.items():
            self._slot[key].append(value)

    def _flush(self) -> None:
        if self._disk is not None and self._slot_began is not None:
            rows = [(key, sum(some) / len(some), max(some)) for key, some in self._slot.items()]
            self._disk.write(self._slot_began, rows)
        self._slot.clear()

    def _ask(self, question: Question) -> dict[Key, list[Point]]:
        offset = self._wall() - self._clock.now()
        inside = replace(question, begin=question.begin - offset, end=question.end - offset)
        found = {
            key: [Point(point.time + offset, point.mean, point.peak) for point in points]
            for key, points in self._book.ask(inside).items()
        }
        known = {key: {int((point.time - question.begin) // question.step) for point in found[key]} for key in found}
        for _, key, point in self._disk.read(question) if self._disk is not None else ():
            if int((point.time - question.begin) // question.step) not in known.get(key, ()):
                found.setdefault(key, []).append(point)
        return {key: sorted(points, key=lambda point: point.time) for key, points in found.items()}

    def _written(self, question: Question) -> dict[tuple[int, Key], list[Point]]:
        found: dict[tuple[int, Key], list[Point]] = {}
        for worker, key, point in self._disk.read(question, -1) if self._disk is not None else ():
            found.setdefault((worker, key), []).append(point)
        return found

    def _end(self) -> None:
        if self._disk is not None:
            self._flush()
            self._disk.close()


_OF_THREADS = frozenset({"visavis_engine_cpu_seconds_total", "visavis_session_cpu_seconds_total"})
"""What can only be told when the threads have been read."""


def _join(all_: Usage, more: Usage) -> None:
    """Add what :func:`~server.observability.history.sampler.shared` goes by."""
    for key, seconds in more.busy.items():
        all_.busy[key] = all_.busy.get(key, 0.0) + seconds
    for key, seconds in more.engine_seconds.items():
        all_.engine_seconds[key] = all_.engine_seconds.get(key, 0.0) + seconds
