"""What Prometheus sees. Everything is read off the events that sessions emit anyway, and off counters at the scrape.

One :class:`Metrics` per application, with a registry of its own: two applications in a process do not mix.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from media.opus import RATE
from pipelines.assistant.events import Event
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.routing.definition import Pipeline
from pipelines.routing.known_first import KnownFirst
from pipelines.routing.routes.route import Route
from pipelines.routing.routes.speech import FallbackVoice
from pipelines.routing.run import StageRecord
from pipelines.routing.second_opinion import SecondOpinion
from pipelines.routing.stage_types import StageType
from pipelines.voice.events import (
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    TranscriptFailed,
    TurnLatency,
)
from server.engines.build import Engines
from server.observability.model_metrics import ModelMetrics, WorkerMetrics
from server.observability.run_metrics import MILLISECONDS, RunMetrics
from server.transports.interface import SessionCounts

STAGES = ("endpoint", "transcript", "first_token", "first_clause", "first_audio")
DELAY_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class Counted(Protocol):
    """What metrics need of a session."""

    def counts(self) -> SessionCounts:
        """The counters as they stand; they never go back."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether the overlay trails the camera now."""
        ...


class Metrics:
    """The meters of one application."""

    def __init__(self, engines: Engines) -> None:
        self.registry = CollectorRegistry()
        self._engines = engines
        self.registry.register(ModelMetrics(engines.residency))
        self.registry.register(WorkerMetrics(engines.workers))
        self.runs = RunMetrics(self.registry, engines.pipeline)
        _listen(engines, self.runs)
        self._saved = Histogram(
            "visavis_speculation_saved_ms",
            "Work done before the turn was known to be over",
            registry=self.registry,
            buckets=MILLISECONDS,
        )
        counter = partial(Counter, registry=self.registry)
        self.turns = counter("visavis_turns", "Turns by how they ended", ["outcome"])
        self.unjudged = counter("visavis_turns_unjudged", "Turns that the turn detector had no time to judge")
        self.barge_ins = counter("visavis_barge_in", "Replies that the user cut off by speaking")
        self.loop_delay = Histogram(
            "visavis_event_loop_delay_seconds",
            "Lateness of a heartbeat on the event loop",
            registry=self.registry,
            buckets=DELAY_SECONDS,
        )
        self.longest_delay = Gauge(
            "visavis_event_loop_delay_longest_seconds", "The worst since the start", registry=self.registry
        )
        self.viewers = Gauge("visavis_viewers", "Who watches sessions of others (WHEP)", registry=self.registry)
        for outcome in ("completed", "interrupted", "failed"):
            self.turns.labels(outcome)  # a series that is there from the start can be alerted on
        self._sessions = _Sessions()
        self.registry.register(self._sessions)
        self.registry.register(_EngineCounts(engines, self.runs.forwards))
        ProcessCollector(registry=self.registry)

    def join(self, session: Counted) -> None:
        """A session has begun."""
        self._sessions.live.add(session)

    def leave(self, session: Counted) -> None:
        """It is over; its counts stay. Idempotent."""
        if session in self._sessions.live:
            self._sessions.live.remove(session)
            self._sessions.ended += session.counts()

    def observer(self, engines: Engines | None = None) -> Callable[[Event], None]:
        """To be given every event of one session, in order; ``engines`` are its own, where it has others."""
        return _Turns(self, engines or self._engines).observe

    def latency(self, turn: TurnLatency, engines: Engines) -> None:
        """A response has begun to sound."""
        backends = _backends(engines)
        parts = ((stage, backends.get(stage, ""), seconds) for stage, seconds in turn.parts.items())
        self.runs.observe_turn(engines.pipeline, parts, turn.voice_to_voice)
        self._saved.observe(turn.saved * 1000)
        if turn.unjudged:
            self.unjudged.inc()

    def observe_run(self, pipeline: Pipeline, records: Iterable[StageRecord], total: float) -> None:
        """A single run of a pipeline has ended, after ``total`` seconds; see :class:`RunMetrics`."""
        self.runs.observe_run(pipeline, records, total)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Turns:
    """Counts how the turns of one session end. A turn that failed and plays out what there is has failed, once."""

    def __init__(self, metrics: Metrics, engines: Engines) -> None:
        self._metrics = metrics
        self._engines = engines
        self._open: dict[str, bool] = {}
        """Whether the response with this id is spoken, until its outcome is known."""

    def observe(self, event: Event) -> None:
        """The next event of the session."""
        match event:
            case ResponseStarted(response_id, _, spoken):
                self._open[response_id] = spoken
            case ResponseGenerated(response_id) if not self._open.get(response_id):
                self._end(response_id, "completed")
            case ResponseAudioStopped(response_id):
                self._end(response_id, "completed")
            case ResponseFailed(response_id):
                self._end(response_id, "failed")
            case ResponseInterrupted(response_id, reason):
                self._end(response_id, "interrupted")
                if reason == "turn_detected":
                    self._metrics.barge_ins.inc()
            case TranscriptFailed():
                self._metrics.turns.labels("failed").inc()
            case TurnLatency():
                self._metrics.latency(event, self._engines)

    def _end(self, response_id: str, outcome: str) -> None:
        if self._open.pop(response_id, None) is not None:
            self._metrics.turns.labels(outcome).inc()


class _Sessions(Collector):
    """Sums the sessions that live and those that have ended."""

    def __init__(self) -> None:
        self.live: set[Counted] = set()
        self.ended = SessionCounts()

    def collect(self) -> Iterator[Metric]:
        counts = sum((session.counts() for session in self.live), self.ended)
        yield GaugeMetricFamily("visavis_sessions", "Peers being served", len(self.live))
        yield CounterMetricFamily("visavis_events_dropped", "Events for peers that do not read", counts.events_dropped)
        concealed = counts.concealed_samples / RATE
        yield CounterMetricFamily("visavis_audio_concealed_seconds", "Audio made up for what was lost", concealed)
        repeated = counts.repeated_samples / RATE
        yield CounterMetricFamily(
            "visavis_audio_repeated_seconds", "Audio that was lost and sent again (FEC)", repeated
        )
        yield CounterMetricFamily("visavis_packets_lost", "Audio packets lost or too late", counts.packets_lost)
        video = CounterMetricFamily("visavis_video_frames", "Video frames", labels=["direction"])
        video.add_metric(["in"], counts.video_in)
        video.add_metric(["out"], counts.video_out)
        yield video
        looked, milliseconds = counts.pictures_looked_at, counts.looking_ms
        yield _summary("visavis_vision_look_seconds", "Pictures looked at, and how long it took", looked, milliseconds)
        lag = "How far the overlay is behind the camera, over all frames"
        yield _summary("visavis_vision_lag_seconds", lag, counts.lag_frames, counts.lag_ms)
        behind = sum(session.is_behind for session in self.live)
        yield GaugeMetricFamily("visavis_vision_behind", "Sessions whose overlay trails the camera now", behind)
        repaired = counts.timestamps_repaired
        yield CounterMetricFamily("visavis_video_timestamps_repaired", "Frames with a senseless timestamp", repaired)


def _summary(name: str, text: str, count: int, milliseconds: int) -> Metric:
    return SummaryMetricFamily(name, text, count_value=count, sum_value=milliseconds / 1000)


class _EngineCounts(Collector):
    """What shared engines count themselves."""

    def __init__(self, engines: Engines, forwards: Mapping[tuple[str, str], int]) -> None:
        self._engines = engines
        self._forwards = forwards

    def collect(self) -> Iterator[Metric]:
        voice = self._engines.voice
        # A CounterMetricFamily would be called …_total; this name is given by the pipelines' words.
        forwards = Metric("pipeline_forward_count", "Requests handed to the next backend", "unknown")
        counts = Tally(self._forwards)
        for engine in (voice.stt, voice.llm, voice.tts) if self._engines.pipeline.options.collect_metrics else ():
            for one in (engine, *engine.engines) if isinstance(engine, Route) else ():
                counts.update(one.forwarded if isinstance(one, Route | KnownFirst | SecondOpinion) else {})
        for (origin, target), count in counts.items():
            forwards.add_sample("pipeline_forward_count", {"from": origin, "to": target}, count)
        yield forwards
        phrases = CounterMetricFamily("visavis_phrase_cache", "Clauses by where they came from", labels=["result"])
        voices = voice.tts.engines if isinstance(voice.tts, FallbackVoice) else (voice.tts,)
        caches = [engine for engine in voices if isinstance(engine, CachedVoice)]
        if caches:
            phrases.add_metric(["hit"], sum(cache.hits for cache in caches))
            phrases.add_metric(["miss"], sum(cache.misses for cache in caches))
        yield phrases


def _listen(engines: Engines, runs: RunMetrics) -> None:
    """Let the conversation's routes tell how sure they are."""
    voice, pipeline = engines.voice, engines.pipeline
    kinds: dict[StageType, object] = {"audio_to_text": voice.stt, "text_generation": voice.llm}
    for kind, engine in kinds.items():
        stage = pipeline.stage(kind)
        if stage is not None and isinstance(engine, Route):
            engine.listen(runs.confidence_of(stage.id))


def _backends(engines: Engines) -> dict[str, str]:
    """Which engine each part of a turn's latency is owed to."""
    voice = engines.voice
    judge = voice.turn.name if voice.turn is not None else "rules"
    return dict(zip(STAGES, (judge, voice.stt.name, voice.llm.name, voice.llm.name, voice.tts.name), strict=True))
