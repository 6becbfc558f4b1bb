"""Pools of threads or processes that grow when work waits for them and shrink when they idle.

The policy is pure: it is shown what a pool did and how full the machine is, and says another size or nothing. It grows
by one at a time, soon, and only where a processor and the memory are free; it shrinks by one at a time, late, and only
to where it would not grow again at once.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from media.clock import Clock
from pipelines.runtime.crew import Work
from pipelines.runtime.worker import Worker

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at every pool."""
WAIT_SECONDS = 0.05
"""What work may wait on average before a pool grows."""
GROW_BUSY = 0.8
"""Share of its threads' time that must be in use, too: work that waits for anything else is not helped by more."""
GROW_LOOKS = 3
"""Looks in a row at which that must be so."""
SHRINK_BUSY = 0.5
"""Share of the time that would be in use with one less, at most, for it to shrink."""
SHRINK_SECONDS = 60.0
"""For which that must be so."""
REST_SECONDS = 5.0
"""After a change before the next growth."""
MACHINE_BUSY = 0.9
"""Share of all processors in use from which nothing grows: more threads would only take turns."""
MEMORY_LEFT = 256 << 20
"""Bytes that must be left after a growth."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How few and how many there may be."""

    least: int
    most: int


class Pool(Protocol):
    """What can have more or fewer. All on the event loop."""

    name: str
    bounds: Bounds
    cost: int
    """Bytes that one more takes, about."""

    @property
    def size(self) -> int:
        """How many may work at a time."""
        ...

    @property
    def waiting(self) -> int:
        """Pieces of work that wait."""
        ...

    def work(self) -> Work:
        """What it has done."""
        ...

    async def resize(self, size: int) -> None:
        """So many from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """A pool and the machine, now and since the look before."""

    time: float
    size: int
    waiting: int
    waited: float
    """Seconds that a piece of work that began meanwhile had waited, on average."""
    busy: float
    """How many of it were at work on average."""
    machine: float | None = None
    """Share of all processors in use, 0–1."""
    free: int | None = None
    """Bytes of memory that may still be taken."""


class Scaling:
    """The policy, for one pool."""

    def __init__(self, bounds: Bounds, cost: int = 0) -> None:
        self._bounds = bounds
        self._cost = cost
        self._pressed = 0
        self._calm_since = math.inf
        self._changed = -math.inf

    def decide(self, look: Look) -> tuple[int, str] | None:
        """Another size, and why; ``None``: it stays as it is."""
        pressed = (look.waiting > 0 or look.waited > 0) and look.busy >= GROW_BUSY * look.size
        pressed = pressed and (look.waited > WAIT_SECONDS or look.waiting > look.size)
        self._pressed = self._pressed + 1 if pressed else 0
        calm = not look.waiting and look.waited <= WAIT_SECONDS and look.busy <= SHRINK_BUSY * (look.size - 1)
        self._calm_since = min(self._calm_since, look.time) if calm else math.inf
        if self._pressed >= GROW_LOOKS and self._may_grow(look):
            return self._to(look, look.size + 1, f"work waited {1000 * look.waited:.0f} ms, {look.waiting} pieces wait")
        if look.size > self._bounds.least and look.time - self._calm_since >= SHRINK_SECONDS:
            return self._to(look, look.size - 1, f"{look.busy:.1f} were at work on average")
        return None

    def _may_grow(self, look: Look) -> bool:
        fits = look.free is None or look.free - self._cost >= (MEMORY_LEFT if self._cost else 0)
        rested = look.time - self._changed >= REST_SECONDS
        spare = look.machine is None or look.machine < MACHINE_BUSY
        return look.size < self._bounds.most and fits and rested and spare

    def _to(self, look: Look, size: int, why: str) -> tuple[int, str]:
        self._changed, self._pressed, self._calm_since = look.time, 0, math.inf
        return size, why


class WorkerPool:
    """The threads of a worker as a :class:`Pool`."""

    cost = 0

    def __init__(self, worker: Worker, bounds: Bounds) -> None:
        self.name = worker.name
        self.bounds = bounds
        self._worker = worker

    @property
    def size(self) -> int:
        """Threads that it is to have."""
        return self._worker.crew.size

    @property
    def waiting(self) -> int:
        """Jobs in the inbox."""
        return self._worker.waiting

    def work(self) -> Work:
        """Of its threads."""
        return self._worker.crew.work()

    async def resize(self, size: int) -> None:
        """See :meth:`pipelines.runtime.worker.Worker.resize`."""
        self._worker.resize(size)


@dataclass(slots=True)
class _Known:
    policy: Scaling
    work: Work
    time: float
    why: str = ""


class Scaler:
    """Looks after pools. ``machine`` and ``free`` are those of :class:`Look`."""

    def __init__(
        self,
        pools: Callable[[], Sequence[Pool]],
        clock: Clock,
        machine: Callable[[], float | None] = lambda: None,
        free: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.changes: Counter[tuple[str, str]] = Counter()
        """By pool and ``grown`` or ``shrunk``."""
        self._pools = pools
        self._clock = clock
        self._machine = machine
        self._free = free
        self._known: dict[int, _Known] = {}

    def sizes(self) -> dict[str, int]:
        """Of each pool, by its name; of several of one name their sum."""
        found: Counter[str] = Counter()
        for pool in self._pools():
            found[pool.name] += pool.size
        return dict(found)

    def why(self, pool: Pool) -> str:
        """Why it has the size that it has; empty where it never changed."""
        known = self._known.get(id(pool))
        return known.why if known is not None else ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look at each pool once, and change what is to be changed. A pool that fails at it is told, and stays."""
        pools = list(self._pools())
        living = {id(pool) for pool in pools}
        self._known = {key: known for key, known in self._known.items() if key in living}
        for pool in pools:
            found = self._decided(pool)
            if found is None:
                continue
            before, (size, why) = pool.size, found
            try:
                await pool.resize(size)
            except Exception:
                log.exception("the pool %s keeps its size", pool.name)
                continue
            self._known[id(pool)].why = why
            self.changes[pool.name, "grown" if size > before else "shrunk"] += 1
            log.info("pool %s: %d instead of %d, for %s", pool.name, size, before, why)

    def _decided(self, pool: Pool) -> tuple[int, str] | None:
        now, work = self._clock.now(), pool.work()
        known = self._known.get(id(pool))
        if known is None:
            self._known[id(pool)] = _Known(Scaling(pool.bounds, pool.cost), work, now)
            return None
        seconds, jobs = max(1e-6, now - known.time), work.jobs - known.work.jobs
        waited = (work.waited - known.work.waited) / jobs if jobs else 0.0
        busy = (work.busy - known.work.busy) / seconds
        known.work, known.time = work, now
        look = Look(now, pool.size, pool.waiting, waited, busy, self._machine(), self._free())
        return known.policy.decide(look)
