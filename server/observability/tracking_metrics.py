"""What Prometheus sees of resources: totals and last values of the history that no other meter has."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.runtime.scaling import Scaler
from server.observability.history.history import History
from server.observability.reports.catcher import Catcher


class TrackingMetrics(Collector):
    """Reads a history, and nothing of the system, at a scrape."""

    def __init__(self, history: History, scaler: Scaler, catcher: Catcher) -> None:
        self._history = history
        self._scaler = scaler
        self._catcher = catcher

    def collect(self) -> Iterator[Metric]:
        yield from self._filled(*_engines())
        yield from self._filled(*_workers())
        yield from self._filled(*_machine())
        changes = CounterMetricFamily("visavis_pool_changes", "Changes of a pool's size", labels=["pool", "direction"])
        for (pool, direction), count in self._scaler.changes.items():
            changes.add_metric([pool, direction], count)
        yield changes
        caught = CounterMetricFamily("visavis_error_reports", "Unexpected errors that were reported", labels=["type"])
        kinds = dict(self._catcher.kinds)
        for kind, count in kinds.items():
            caught.add_metric([kind], count)
        yield caught
        # a series that begins with its first error does not increase by it, as an alert needs: this one is always there
        every = CounterMetricFamily("visavis_unexpected_errors", "Unexpected errors of all types that were reported")
        every.add_metric([], sum(kinds.values()))
        yield every

    def _filled(self, *families: Metric) -> Iterator[Metric]:
        for family in families:
            rate = isinstance(family, CounterMetricFamily)
            name = f"{family.name}_total" if rate else family.name
            for (known, labels), value in (self._history.totals if rate else self._history.latest).items():
                if known == name:
                    family.add_sample(name, dict(labels), value)
            yield family


def _engines() -> tuple[Metric, ...]:
    engine = ["engine"]
    return (
        CounterMetricFamily(
            "visavis_engine_cpu_seconds", "Processor time of an engine's threads and child processes", labels=engine
        ),
        GaugeMetricFamily("visavis_engine_resident_bytes", "Memory of an engine's child processes", labels=engine),
        CounterMetricFamily("visavis_engine_seconds", "Time in which an engine was at pieces of work", labels=engine),
        CounterMetricFamily("visavis_engine_errors", "Failures of an engine", labels=engine),
        GaugeMetricFamily("visavis_engine_answer_seconds", "Time to an engine's latest first result", labels=engine),
    )


def _workers() -> tuple[Metric, ...]:
    worker = ["worker_name"]
    return (
        CounterMetricFamily("visavis_worker_busy_seconds", "Time in which its threads had a job", labels=worker),
        GaugeMetricFamily("visavis_worker_wait_seconds", "How long its latest jobs had waited", labels=worker),
        GaugeMetricFamily("visavis_pool_size", "Threads or processes of a pool that scales", labels=["pool"]),
    )


def _machine() -> tuple[Metric, ...]:
    return (
        GaugeMetricFamily("visavis_machine_cpu_share", "Share of all processors of the machine in use, 0-1"),
        GaugeMetricFamily("visavis_machine_memory_available_bytes", "Memory that the machine could still give"),
        GaugeMetricFamily("visavis_gpu_busy_share", "Share of the time in which the GPU had work, 0-1", labels=["gpu"]),
        GaugeMetricFamily("visavis_gpu_memory_bytes", "Memory of the GPU in use", labels=["gpu"]),
    )
