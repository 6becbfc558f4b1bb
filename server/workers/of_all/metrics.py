"""The metrics of all workers as one page: every series gets the label ``worker``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from server.workers.board import Seat

LABEL = "worker"


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def merged(texts: Mapping[int, str], seats: Iterable[Seat], more: Iterable[Metric] = ()) -> bytes:
    """The exposition of each worker, by its number, and what the front knows of them and ``more``, in Prometheus' text
    format."""
    families: dict[str, Metric] = {}
    for number, text in texts.items():
        for family in text_string_to_metric_families(text):
            known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = {**sample.labels, LABEL: str(number)}
                known.add_sample(sample.name, labels, sample.value, sample.timestamp, sample.exemplar)
    registry = CollectorRegistry()
    registry.register(_Merged([*families.values(), _up(seats), *more]))
    return generate_latest(registry)


def _up(seats: Iterable[Seat]) -> Metric:
    family = GaugeMetricFamily("visavis_worker_ready", "Whether a worker takes sessions", labels=[LABEL])
    for seat in seats:
        family.add_metric([str(seat.number)], float(seat.state == "ready"))
    return family
