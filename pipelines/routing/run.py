"""What one run of a pipeline is asked for beside its input, and what it leaves behind: who did what, and why."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Priority = Literal["low", "normal", "high", "critical"]
PRIORITIES: tuple[str, ...] = get_args(Priority)
EfficiencyMode = Literal["Performance", "Balanced", "Efficiency", "UltraEfficiency"]
EFFICIENCY_MODES: tuple[str, ...] = get_args(EfficiencyMode)
Outcome = Literal["running", "served", "failed", "late", "unsure", "hot", "busy", "resting", "unable", "cancelled"]
"""What became of an attempt. ``late``: another backend was started beside it and was first; ``unsure``: its result was
not sure enough; ``hot``, ``busy``, ``resting`` and ``unable``: it was passed over."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for: the ``X-`` headers of :http:post:`/v1/pipelines/{id}`."""

    priority: Priority = "normal"
    latency_critical: bool | None = None
    """``None``: as the pipeline says."""
    max_latency_ms: float | None = None
    """Of the whole run, to the first piece of its output when that is streamed."""
    target_backend: str = ""
    """The id of the only backend that may be asked; empty: whichever the policy takes."""
    efficiency_mode: EfficiencyMode = "Balanced"


@dataclass(slots=True)
class Attempt:
    """One backend that was asked, or passed over."""

    backend: str
    hardware: str
    model: str
    reason: str
    """Why it was its turn, for people."""
    outcome: Outcome = "running"
    started: float = 0.0
    """Seconds since the stage's beginning."""
    seconds: float | None = None
    """To its result or end; ``None`` for one that was passed over."""
    confidence: float | None = None
    """0–1."""
    message: str = ""
    """What went wrong, or why its result did not do."""


@dataclass(slots=True)
class StageRecord:
    """What happened in one stage."""

    stage: str
    """Its id."""
    type: str
    attempts: list[Attempt] = field(default_factory=list)
    started: float | None = None
    """Seconds since the run's beginning, as the next two."""
    first_output: float | None = None
    ended: float | None = None
    error: str = ""
    begun: float | None = None
    """Seconds on the routes' clock that the times of the attempts count from; the first route sets it."""

    @property
    def served(self) -> Attempt | None:
        """The attempt whose result was taken."""
        return next((attempt for attempt in self.attempts if attempt.outcome == "served"), None)

    def json(self) -> dict[str, Any]:
        """For clients."""
        served = self.served
        spent = None if self.ended is None or self.started is None else round((self.ended - self.started) * 1000, 1)
        return {
            "stage": self.stage,
            "type": self.type,
            "backend": served.backend if served else None,
            "model": served.model if served else None,
            "confidence": served.confidence if served else None,
            "forwarded": any(attempt.outcome not in ("served", "cancelled") for attempt in self.attempts),
            "start_ms": _ms(self.started),
            "first_output_ms": _ms(self.first_output),
            "duration_ms": spent,
            "error": self.error or None,
            "attempts": [
                {
                    "backend": one.backend,
                    "hardware": one.hardware,
                    "model": one.model,
                    "reason": one.reason,
                    "outcome": one.outcome,
                    "start_ms": _ms(one.started),
                    "duration_ms": _ms(one.seconds),
                    "confidence": one.confidence,
                    "message": one.message or None,
                }
                for one in self.attempts
            ],
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


wishes: ContextVar[Wishes] = ContextVar("wishes", default=Wishes())  # noqa: B039 (frozen)
"""Of the run that the running task works for."""
record: ContextVar[StageRecord | None] = ContextVar("record", default=None)
"""Where the routes that the running task asks write down what they do; ``None``: nobody reads it."""
tried: ContextVar[list[Attempt] | None] = ContextVar("tried", default=None)
"""Every attempt at the running task's piece of work, those that :data:`record` leaves out as well; ``None``: nobody
reads it."""
