"""What Prometheus sees of models and of the workers that run them, read off their counters at the scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from pipelines.models.plans import TRANSITIONS
from pipelines.models.residency import Residency
from pipelines.runtime.batching import WorkerCounts


class CountingWorker(Protocol):
    """What is needed of a worker, as :class:`pipelines.runtime.batching.BatchWorker` has it."""

    name: str

    @property
    def waiting(self) -> int:
        """Jobs in the inbox."""
        ...

    def counts(self) -> WorkerCounts:
        """The counters as they stand; they never go back."""
        ...


class ModelMetrics(Collector):
    """The models of one residency; a model that is known has all its series, so that they can be alerted on."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency

    def collect(self) -> Iterator[Metric]:
        labels = ["model", "precision", "device"]
        size = GaugeMetricFamily("visavis_model_loaded_bytes", "Memory of the models that are loaded", labels=labels)
        leases = GaugeMetricFamily("visavis_model_leases", "Computations that use the model", labels=labels)
        loads = SummaryMetricFamily("visavis_model_load_seconds", "Loading and warming up", labels=labels)
        changes = CounterMetricFamily(
            "visavis_model_transitions", "Changes of a model's state", labels=[*labels, "transition"]
        )
        transitions = self._residency.transitions
        for status in self._residency.status():
            key = (status.name, status.precision, status.device)
            size.add_metric(key, status.size if status.state == "ready" else 0)
            leases.add_metric(key, status.leases)
            loads.add_metric(key, status.loads, status.load_seconds)
            for transition in TRANSITIONS:
                changes.add_metric([*key, transition], transitions.get((key, transition), 0))
        yield from (size, leases, loads, changes)


class WorkerMetrics(Collector):
    """The workers of the engines."""

    def __init__(self, workers: Sequence[CountingWorker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        labels = ["worker"]
        waiting = GaugeMetricFamily("visavis_worker_queue_depth", "Requests that wait", labels=labels)
        batches = SummaryMetricFamily("visavis_worker_batch_size", "Requests that were run together", labels=labels)
        crashes = CounterMetricFamily("visavis_worker_crashes", "Batches that the engine crashed in", labels=labels)
        restarts = CounterMetricFamily("visavis_worker_restarts", "Restarts after a crash", labels=labels)
        stuck = CounterMetricFamily("visavis_worker_stuck", "Batches that hung and were given up", labels=labels)
        expired = CounterMetricFamily("visavis_worker_deadline_misses", "Requests not begun in time", labels=labels)
        refused = CounterMetricFamily("visavis_worker_refused", "Requests that found the inbox full", labels=labels)
        for worker in self._workers:
            counts, key = worker.counts(), [worker.name]
            waiting.add_metric(key, worker.waiting)
            batches.add_metric(key, counts.batches, counts.jobs)
            crashes.add_metric(key, counts.crashes)
            restarts.add_metric(key, counts.restarts)
            stuck.add_metric(key, counts.stuck)
            expired.add_metric(key, counts.expired)
            refused.add_metric(key, counts.refused)
        yield from (waiting, batches, crashes, restarts, stuck, expired, refused)
