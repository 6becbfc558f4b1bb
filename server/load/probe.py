"""Takes the measurements: of this process, of what its engines let wait, and of the machine around it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.models.memory import MachineMemory
from pipelines.routing.routes.route import Route
from server.load.readings import Growth, Lateness, Measure, Reading, Waits
from server.load.settings import LoadSettings
from server.observability.model_metrics import CountingWorker

CPU_PERIODS = 10
"""Over which the processor's use is averaged: 5 s."""
MEMORY_PERIODS = 4
"""Between two looks at the memory: 2 s."""
PRESSURE = Path("/proc/pressure/cpu")
"""Pressure stall information (https://docs.kernel.org/accounting/psi.html)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An engine that is asked through a route: how soon it gives something of late, and how much it has in hand."""

    name: str
    seconds: float
    running: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where figures come from; a test gives others."""

    cores: int
    """Processors that this process may count on."""
    cpu_seconds: Callable[[], float] = time.process_time
    """That this process has taken so far, in all threads."""
    stalled: Callable[[], float | None] = lambda: stalled_percent(PRESSURE)
    """Share of the last ten seconds in which something waited for a processor; ``None``: the kernel does not tell."""
    memory: Callable[[], int | None] = lambda: MachineMemory().free("cpu")
    """Bytes that are free, in the machine or in the container, whichever is less."""
    memory_total: int | None = None
    """Bytes that there are, likewise."""


class Probe:
    """Whoever sends sound and whoever watches the event loop notes how late they are; :meth:`read` tells all."""

    def __init__(
        self,
        settings: LoadSettings,
        machine: Machine,
        workers: Callable[[], Iterable[CountingWorker]] = tuple,
        asked: Callable[[float], Iterable[Asked]] = lambda now: (),
    ) -> None:
        self.loop = Lateness()
        """Of beats of the event loop."""
        self.sound = Lateness()
        """Of packets of sound."""
        self._settings = settings
        self._machine = machine
        self._workers = workers
        self._asked = asked
        self._waits = Waits()
        self._growth = Growth()
        self._cpu: deque[tuple[float, float]] = deque(maxlen=CPU_PERIODS)
        self._taken: float | None = None
        self._periods = 0

    def read(self, now: float) -> list[Reading]:
        """The measurements of the period that ends ``now``, in clock seconds."""
        settings, late = self._settings, self._settings.shed_late_ms
        readings = [
            Reading("event_loop", self.loop.turn(), late, "ms"),
            Reading("sound", self.sound.turn(), late, "ms"),
            self._longest_wait(now),
            self._longest_delay(now),
        ]
        if (busy := self._busy(now)) is not None:
            readings.append(Reading("cpu", busy, settings.shed_cpu_percent, "%"))
        if (stalled := self._machine.stalled()) is not None:
            readings.append(Reading("cpu_pressure", stalled, settings.shed_cpu_percent, "%"))
        if (taken := self._memory_taken()) is not None:
            readings.append(Reading("memory", taken, settings.shed_memory_percent, "%"))
        return readings

    def forget(self) -> None:
        """What was measured so far proves nothing."""
        for window in (self.loop, self.sound, self._waits):
            window.forget()
        self._cpu.clear()

    def _longest_wait(self, now: float) -> Reading:
        waits = {
            worker.name: self._waits.expect(worker.name, now, worker.counts().jobs, worker.waiting)
            for worker in self._workers()
        }
        return self._longest("engine_wait", waits)

    def _longest_delay(self, now: float) -> Reading:
        asked = self._asked(now)
        delays = {one.name: self._growth.beyond(one.name, one.seconds, one.running) for one in asked}
        return self._longest("engine_delay", delays)

    def _longest(self, measure: Measure, seconds: Mapping[str, float]) -> Reading:
        name = max(seconds, key=lambda name: seconds[name], default="")
        return Reading(measure, 1000.0 * seconds.get(name, 0.0), self._settings.shed_wait_ms, "ms", name)

    def _memory_taken(self) -> float | None:
        """Percent of what there is; read every few periods, for it takes some files of the system."""
        total = self._machine.memory_total
        if self._periods % MEMORY_PERIODS == 0:
            free = self._machine.memory()
            self._taken = 100.0 * max(0, total - free) / total if total and free is not None else None
        self._periods += 1
        return self._taken

    def _busy(self, now: float) -> float | None:
        """Percent of its processors; ``None`` before a second measurement."""
        self._cpu.append((now, self._machine.cpu_seconds()))
        (since, before), (_, used) = self._cpu[0], self._cpu[-1]
        return 100.0 * (used - before) / (self._machine.cores * (now - since)) if now > since else None


def asked_of(engines: Iterable[object], now: float) -> Iterator[Asked]:
    """The engines of those of ``engines`` that are routes, as far as they were asked of late."""
    for engine in engines:
        for rung in engine.rungs if isinstance(engine, Route) else ():
            if (latency := rung.latency_ms(now)) is not None:
                yield Asked(rung.engine.name, latency / 1000.0, rung.running)


def stalled_percent(path: Path) -> float | None:
    """``some avg10=12.34 …`` → 12.34; ``None`` where there is no such file, or nothing like that in it."""
    try:
        for line in path.read_text("ascii", errors="replace").splitlines():
            kind, *fields = line.split()
            for field in fields if kind == "some" else ():
                name, _, value = field.partition("=")
                if name == "avg10":
                    return float(value)
    except (OSError, ValueError):
        pass
    return None
