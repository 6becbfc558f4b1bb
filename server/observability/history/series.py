"""Every series of the history, once: its name as in ``/metrics``, what it tells, and whether workers add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["rate", "gauge"]
"""``rate``: how much a counter of that name grew in a second. ``gauge``: the value itself."""
Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Series:
    """``adds``: whether the series of several processes can be summed."""

    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    adds: bool = True


_SESSION = ("session",)
SERIES: Mapping[str, Series] = {
    "process_cpu_seconds_total": Series("rate", "Processors in use by this process"),
    "process_resident_memory_bytes": Series("gauge", "Its memory"),
    "visavis_machine_cpu_share": Series("gauge", "Share of all processors of the machine in use, 0-1", adds=False),
    "visavis_machine_memory_available_bytes": Series("gauge", "Memory that the machine could still give", adds=False),
    "visavis_engine_cpu_seconds_total": Series(
        "rate", "Processors in use by the threads and child processes of an engine", ("engine",)
    ),
    "visavis_engine_resident_bytes": Series("gauge", "Memory of an engine's child processes", ("engine",)),
    "visavis_gpu_busy_share": Series("gauge", "Share of the time in which the GPU had work, 0-1", ("gpu",), adds=False),
    "visavis_gpu_memory_bytes": Series("gauge", "Memory of the GPU in use", ("gpu",), adds=False),
    "visavis_sessions": Series("gauge", "Peers being served"),
    "visavis_event_loop_delay_seconds": Series("gauge", "The latest that the event loop was", adds=False),
    "visavis_turns_total": Series("rate", "Turns by how they ended", ("outcome",)),
    "pipeline_total_latency_ms": Series("gauge", "End of speech to first sound", adds=False),
    "pipeline_stage_duration_ms": Series("gauge", "Parts of that", ("stage",), adds=False),
    "visavis_engine_seconds_total": Series("rate", "Pieces of work that an engine had at a time", ("engine",)),
    "visavis_engine_answer_seconds": Series("gauge", "Time to an engine's first result", ("engine",), adds=False),
    "visavis_engine_errors_total": Series("rate", "Failures of an engine", ("engine",)),
    "visavis_worker_busy_seconds_total": Series("rate", "Threads of a worker that had a job", ("worker_name",)),
    "visavis_worker_wait_seconds": Series("gauge", "How long its jobs had waited", ("worker_name",), adds=False),
    "visavis_pool_size": Series("gauge", "Threads or processes of a pool", ("pool",)),
    "visavis_session_cpu_seconds_total": Series(
        "rate", "Processors in use for a session: its part of the engines' by their busy seconds", _SESSION
    ),
    "visavis_session_engine_seconds_total": Series("rate", "Pieces of its work that engines had at a time", _SESSION),
    "visavis_session_latency_ms": Series("gauge", "End of speech to first sound", _SESSION, adds=False),
    "visavis_session_errors_total": Series("rate", "What failed in it", _SESSION),
}
"""Series of sessions are not in ``/metrics``, whose labels must not grow with the users."""


@dataclass(slots=True)
class Sample:
    """What was measured at one time: values by series."""

    values: dict[Key, float] = field(default_factory=dict)

    def put(self, name: str, value: float | None, **labels: str) -> None:
        """A value, where there is one."""
        if value is not None:
            self.values[key(name, **labels)] = float(value)


def key(name: str, **labels: str) -> Key:
    """Of a series of the table."""
    assert set(labels) == set(SERIES[name].labels), name
    return name, tuple(sorted(labels.items()))
