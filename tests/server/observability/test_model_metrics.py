"""What the scrape says of models and workers, after each has done a known thing."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from media.clock import MonotonicClock
from pipelines.errors import EngineBusyError
from pipelines.models.memory import MIB
from pipelines.models.plans import Limits, Loadable
from pipelines.models.residency import Residency
from pipelines.runtime.batching import BatchWorker
from server.observability.model_metrics import ModelMetrics, WorkerMetrics
from tests.fakes.clock import FakeClock
from tests.fakes.heap import Heap


class Scrape:
    """The values that a registry gives, by name and labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = text_string_to_metric_families(generate_latest(registry).decode())
        self._values = {(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples}

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, *sorted(labels.items())]


def test_models_before_during_and_after_their_use():
    clock, heap = FakeClock(), Heap()
    residency = Residency(Limits(headroom=0, idle_seconds=0.0), memory=heap, clock=clock)
    plan = Loadable("stt", heap.loader(120), lambda model: clock.advance(2.5), precision="int8", estimate=50 * MIB)
    resident = residency.add(plan)
    registry = CollectorRegistry()
    registry.register(ModelMetrics(residency))
    labels = {"model": "stt", "precision": "int8", "device": "cpu"}

    get = Scrape(registry)
    assert get("visavis_model_loaded_bytes", **labels) == 0
    assert get("visavis_model_transitions_total", **labels, transition="out_of_memory") == 0
    with resident.lease():
        get = Scrape(registry)
        assert get("visavis_model_loaded_bytes", **labels) == 120 * MIB
        assert get("visavis_model_leases", **labels) == 1
    residency.sweep(clock.now())
    get = Scrape(registry)
    assert get("visavis_model_loaded_bytes", **labels) == get("visavis_model_leases", **labels) == 0
    assert get("visavis_model_load_seconds_sum", **labels) == 2.5
    assert get("visavis_model_load_seconds_count", **labels) == 1
    for transition in ("loading", "ready", "idle_unloaded"):
        assert get("visavis_model_transitions_total", **labels, transition=transition) == 1


async def test_workers():
    def run(jobs):
        if any(job.request == "bad" for job in jobs):
            raise ValueError("cannot digest that")
        return [job.request for job in jobs]

    worker: BatchWorker[str, str] = BatchWorker("stt", run, restart=lambda: None)
    registry = CollectorRegistry()
    registry.register(WorkerMetrics([worker]))
    await worker.submit("good")
    with pytest.raises(ValueError, match="digest"):
        await worker.submit("bad")
    await worker.submit("good again")
    with pytest.raises(EngineBusyError):
        await worker.submit("late", deadline=MonotonicClock().now() - 1)
    worker.close()

    get = Scrape(registry)
    assert get("visavis_worker_queue_depth", worker="stt") == 0
    assert get("visavis_worker_batch_size_sum", worker="stt") == 3
    assert get("visavis_worker_batch_size_count", worker="stt") == 3
    assert get("visavis_worker_crashes_total", worker="stt") == 1
    assert get("visavis_worker_restarts_total", worker="stt") == 1
    assert get("visavis_worker_deadline_misses_total", worker="stt") == 1
    assert get("visavis_worker_refused_total", worker="stt") == 0
