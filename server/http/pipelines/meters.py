"""What Prometheus sees of requests for runs. The stages of runs are :mod:`server.observability.run_metrics`'s."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from server.http.pipelines.places import Places
from server.http.pipelines.store import RunStore


class RunMeters(Collector):
    """Runs by their end, and the queue in front of them."""

    def __init__(self, places: Places, store: RunStore) -> None:
        self._places = places
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """As things are now."""
        runs = CounterMetricFamily("visavis_pipeline_runs", "Runs over HTTP by how they ended", labels=["outcome"])
        for outcome, count in self._store.ended.items():
            runs.add_metric([outcome], count)
        yield runs
        yield GaugeMetricFamily("visavis_pipeline_running", "Runs over HTTP that go on", self._places.running)
        yield GaugeMetricFamily("visavis_pipeline_waiting", "Requests that wait for that", self._places.waiting)
        refused = "Requests for which there was no room"
        yield CounterMetricFamily("visavis_pipeline_refused", refused, self._places.refused)
