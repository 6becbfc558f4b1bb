"""Who has used which engine for how long: a ledger that workers and routes write, and one reader takes.

Two units. *Busy seconds* of a worker: a thread of it had a job of the session in hand. *Engine-seconds* of an engine:
an attempt of the session at it went on, waiting for a model server included. Both are wall time; which share of a
processor they cost is told by the operating system, by thread and process (:mod:`server.observability.history`).
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from media.clock import Clock, MonotonicClock

MOST_KEYS = 2048
"""Pairs of engine and session that are told apart between two readings; what comes beyond counts for no session."""

Key = tuple[str, str]
"""Engine or worker, and session; that is empty where work is done for none."""


@dataclass(slots=True)
class Spread:
    """How many values there were, their sum and the largest."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)

    @property
    def mean(self) -> float | None:
        """``None`` of nothing."""
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Usage:
    """What was used between two readings, in seconds."""

    busy: dict[Key, float] = field(default_factory=dict)
    """Of workers."""
    waits: dict[str, Spread] = field(default_factory=dict)
    """How long jobs of a worker had waited when they began."""
    engine_seconds: dict[Key, float] = field(default_factory=dict)
    answers: dict[str, Spread] = field(default_factory=dict)
    """Time to the first usable result of an engine."""
    errors: dict[Key, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Running:
    worker: str
    sessions: Sequence[str]
    since: float


class Ledger:
    """Any thread may write. What is running is counted up to the reading, and the rest at the next one."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()
        self._usage = Usage()
        self._running: dict[Hashable, _Running] = {}

    def begins(self, job: Hashable, worker: str, sessions: Sequence[str], waited: float) -> None:
        """A thread of the worker has a job in hand, which may be for several sessions in equal parts."""
        now = self._clock.now()
        with self._lock:
            self._running[job] = _Running(worker, sessions, now)
            self._usage.waits.setdefault(worker, Spread()).add(max(0.0, waited))

    def ends(self, job: Hashable) -> None:
        """It is done, or given up. Idempotent."""
        now = self._clock.now()
        with self._lock:
            running = self._running.pop(job, None)
            if running is not None:
                self._count(running, now)

    def used(self, engine: str, session: str, seconds: float) -> None:
        """An attempt at the engine is over."""
        with self._lock:
            _add(self._usage.engine_seconds, (engine, session), seconds)

    def answered(self, engine: str, seconds: float) -> None:
        """Its first usable result was there after ``seconds``."""
        with self._lock:
            self._usage.answers.setdefault(engine, Spread()).add(seconds)

    def failed(self, engine: str, session: str) -> None:
        """It failed at a piece of work."""
        with self._lock:
            _add(self._usage.errors, (engine, session), 1)

    def take(self) -> Usage:
        """What has been used since the last reading."""
        now = self._clock.now()
        with self._lock:
            for running in self._running.values():
                self._count(running, now)
            taken, self._usage = self._usage, Usage()
        return taken

    def _count(self, running: _Running, now: float) -> None:
        sessions = running.sessions or ("",)
        share = max(0.0, now - running.since) / len(sessions)
        for session in sessions:
            _add(self._usage.busy, (running.worker, session), share)
        running.since = now


def _add(counts: dict[Key, float] | dict[Key, int], key: Key, more: float) -> None:
    if key not in counts and len(counts) >= MOST_KEYS:
        key = (key[0], "")
    counts[key] = counts.get(key, 0) + more  # type: ignore[assignment]


LEDGER = Ledger()
"""Of this process."""
