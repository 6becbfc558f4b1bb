"""What settings make of pauses: how many they take for the end, and how long they take at the end. Pure.

A *policy* says how long a pause must last by what is known of it. Each is swept over its settings; of the points that
come out, those count that no other point beats in both figures (Pareto).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.voice.endpointing import Evidence, pause_needed
from pipelines.voice.turn import TurnSettings
from server.evaluation.endpointing.spans import WINDOW_SECONDS, Heard, Span

Needed = Callable[[Evidence], float]
BUDGETS_MS = (300.0, 600.0)
RATES = (0.05, 0.10)
PIPECAT_STOP_SECONDS, PIPECAT_LONGEST_SECONDS = 0.2, 3.0
"""Pipecat asks Smart Turn after so much silence, and ends an incomplete turn after so much."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a policy and what it makes of the pauses."""

    settings: str
    latency_ms: float
    """Mean, from the end of the speech to the end of the turn."""
    worst_ms: float
    cut: float
    """Share of the pauses that were taken for the end."""
    cut_clips: float
    """Share of the utterances with at least one of them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One policy: its points that no other point beats, by latency, and where its present settings are."""

    policy: str
    points: tuple[Point, ...]
    present: Point | None

    def cut_at(self, milliseconds: float) -> float | None:
        """The least share of false cut-offs within a latency; ``None``: it is never that fast."""
        return min((point.cut for point in self.points if point.latency_ms <= milliseconds), default=None)

    def latency_at(self, rate: float) -> float | None:
        """The least latency with so many false cut-offs at most; ``None``: it always has more."""
        return min((point.latency_ms for point in self.points if point.cut <= rate + 1e-9), default=None)


def ended_at(span: Span, needed: Needed) -> float | None:
    """When the turn is taken to be over in this pause; ``None``: it goes on before that."""
    evidence, moments = Evidence(), [(span.noticed, Evidence()), *span.known]
    for (since, new), until in zip(moments, [*(time for time, _ in moments[1:]), float("inf")], strict=True):
        evidence = evidence.with_(new)
        end = max(since, span.start + needed(evidence))
        steps = max(0.0, end - span.noticed) / WINDOW_SECONDS
        end = span.noticed + WINDOW_SECONDS * (int(steps) + (steps % 1 > 1e-6))
        if span.resumed is not None and min(end, until) >= span.resumed:
            return None
        if end < until:
            return end
    return None


def measured(heard: Sequence[Heard], needed: Needed, settings: str) -> Point:
    """What a setting makes of all of them."""
    delays: list[float] = []
    cut = cut_clips = pauses = 0
    for one in heard:
        cuts = 0
        for span in one.spans:
            end = ended_at(span, needed)
            if span.resumed is not None:
                cuts += end is not None
            elif end is not None:
                delays.append(end - span.true_end)
        cut, cut_clips, pauses = cut + cuts, cut_clips + (cuts > 0), pauses + max(one.pauses, cuts)
    latency = statistics.mean(delays) if delays else float("inf")
    return Point(
        settings, 1000 * latency, 1000 * max(delays, default=0.0), cut / max(1, pauses), cut_clips / max(1, len(heard))
    )


def curves(heard: Sequence[Heard]) -> list[Curve]:
    """All policies, the present one first."""
    usual = TurnSettings()
    now = (usual.min_delay_seconds, usual.silence_seconds, usual.max_delay_seconds)
    found = [
        _curve(heard, "pause, sound and words", lambda given: _fused(given, "sound", "text"), _triples(), now),
        _curve(heard, "pause and sound", lambda given: _fused(given, "sound"), _triples(), now),
        _curve(heard, "pause and words", lambda given: _fused(given, "text"), _triples(), now),
    ]
    silences = [(round(0.1 + 0.05 * n, 3),) for n in range(43)]
    found.append(_curve(heard, "pause alone", lambda s: lambda e: s[0], silences, (usual.silence_seconds,)))
    thresholds = [(n / 20, longest) for n in range(1, 20) for longest in (0.6, 1.0, 1.5, 2.0, 3.0)]
    now_pipecat = (0.5, PIPECAT_LONGEST_SECONDS)
    found.append(_curve(heard, "Smart Turn alone, as Pipecat asks it", _pipecat, thresholds, now_pipecat))
    return found


def _fused(settings: tuple[float, ...], *known: str) -> Needed:
    """The server's own way, by what of the evidence it may know."""
    shortest, usual, longest = settings

    def needed(evidence: Evidence) -> float:
        seen = Evidence(
            evidence.sound if "sound" in known else None,
            evidence.text if "text" in known else None,
        )
        return pause_needed(seen, shortest, usual, longest, awaits_words="text" in known)

    return needed


def _pipecat(settings: tuple[float, ...]) -> Needed:
    threshold, longest = settings

    def needed(evidence: Evidence) -> float:
        if evidence.sound is None:
            return longest
        return PIPECAT_STOP_SECONDS if evidence.sound > threshold else longest

    return needed


def _triples() -> Iterator[tuple[float, float, float]]:
    shortest = (0.064, 0.1, 0.125, 0.16, 0.2, 0.25, 0.3, 0.4)
    usual = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    longest = (0.4, 0.6, 0.8, 1.0, 1.28, 1.6, 2.0, 2.5)
    return ((a, b, c) for a, b, c in itertools.product(shortest, usual, longest) if a <= b <= c)


def _curve(
    heard: Sequence[Heard],
    policy: str,
    make: Callable[[tuple[float, ...]], Needed],
    settings: Sequence[tuple[float, ...]] | Iterator[tuple[float, ...]],
    now: tuple[float, ...],
) -> Curve:
    points = [measured(heard, make(one), " / ".join(f"{value:g}" for value in one)) for one in settings]
    present = measured(heard, make(now), " / ".join(f"{value:g}" for value in now))
    return Curve(policy, tuple(pareto([*points, present])), present)


def pareto(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both figures, by latency."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (one.latency_ms, one.cut)):
        if not best or point.cut < best[-1].cut:
            best.append(point)
    return best
