"""What Prometheus sees of the stages of pipelines: of conversations and of single runs by the same names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Histogram

from pipelines.routing.definition import Pipeline
from pipelines.routing.run import Attempt, StageRecord

MILLISECONDS = (5, 10, 20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.84, 0.88, 0.92, 0.96, 1.0)


class RunMetrics:
    """The four meters of pipelines. ``pipeline`` is that of the conversation."""

    def __init__(self, registry: CollectorRegistry, pipeline: Pipeline) -> None:
        histogram = partial(Histogram, registry=registry)
        self._stage = histogram(
            "pipeline_stage_duration_ms",
            "Parts of a turn's latency, and whole stages of single runs",
            ["stage", "backend"],
            buckets=MILLISECONDS,
        )
        self._confidence = histogram(
            "pipeline_stage_confidence", "How sure results of stages were, 0-1", ["stage"], buckets=CONFIDENCE
        )
        self._total = histogram(
            "pipeline_total_latency_ms",
            "End of speech to first sound; of single runs from the request to the end",
            ["pipeline"],
            buckets=MILLISECONDS,
        )
        self._pipeline = pipeline
        self.forwards: Counter[tuple[str, str]] = Counter()
        """Of single runs; routes of the conversation count their own."""

    @property
    def collects(self) -> bool:
        """Whether the conversation is measured: ``options.collect_metrics``."""
        return self._pipeline.options.collect_metrics

    def observe_turn(self, pipeline: Pipeline, parts: Iterable[tuple[str, str, float]], seconds: float) -> None:
        """A turn of a conversation by ``pipeline``: (part, engine, seconds) of its latency, and the whole."""
        if pipeline.options.collect_metrics:
            for stage, backend, spent in parts:
                self._stage.labels(stage, backend).observe(spent * 1000)
            self._total.labels(pipeline.id).observe(seconds * 1000)

    def observe_run(self, pipeline: Pipeline, records: Iterable[StageRecord], total: float) -> None:
        """A single run that has ended, after ``total`` seconds. Of no effect where the pipeline says so."""
        if not pipeline.options.collect_metrics:
            return
        for record in records:
            served = record.served
            if record.started is not None and record.ended is not None and served is not None:
                spent = (record.ended - record.started) * 1000
                self._stage.labels(record.stage, served.backend).observe(spent)
            for attempt in record.attempts:
                if attempt.confidence is not None:
                    self._confidence.labels(record.stage).observe(attempt.confidence)
            self.forwards.update(forwards(record.attempts))
        self._total.labels(pipeline.id).observe(total * 1000)

    def confidence_of(self, stage: str) -> Callable[[float], None]:
        """To be told how sure each result of a stage of the conversation is."""
        observe: Callable[[float], None] = self._confidence.labels(stage).observe
        return observe if self.collects else _nothing


def forwards(attempts: Iterable[Attempt]) -> Iterator[tuple[str, str]]:
    """From whom to whom work was handed on: from each that did not serve to the next that was asked."""
    waiting: list[Attempt] = []
    for attempt in attempts:
        asked = attempt.outcome not in ("hot", "resting", "unable") and (attempt.outcome != "busy" or attempt.seconds)
        for other in waiting if asked else ():
            yield _names(other, attempt)
        if asked:
            waiting = []
        if attempt.outcome not in ("served", "cancelled", "running"):
            waiting.append(attempt)


def _names(origin: Attempt, target: Attempt) -> tuple[str, str]:
    """Their backends, or their models within one backend."""
    if origin.backend != target.backend:
        return origin.backend, target.backend
    return origin.model, target.model


def _nothing(confidence: float) -> None:
    pass
