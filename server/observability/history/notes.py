"""What sessions' own events tell the history: latencies, failures, outcomes, and the names of the latest events.

Of an event only its kind is kept, never what it holds. On the event loop.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipelines.assistant.events import Event
from pipelines.runtime.usage import Spread
from pipelines.voice.events import (
    Problem,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseInterrupted,
    TranscriptFailed,
    TurnLatency,
)

MOST_NAMES = 24
"""Names of events that are kept of one session."""
MOST_SESSIONS = 256
_FAILURES = (ResponseFailed, TranscriptFailed, Problem)
_OUTCOMES: dict[type[object], str] = {
    ResponseAudioStopped: "completed",
    ResponseInterrupted: "interrupted",
    ResponseFailed: "failed",
    TranscriptFailed: "failed",
}


@dataclass(slots=True)
class Noted:
    """Since the reading before; milliseconds."""

    latency: Spread = field(default_factory=Spread)
    stages: dict[str, Spread] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, Spread] = field(default_factory=dict)
    """Latency of each."""
    failures: Counter[str] = field(default_factory=Counter)
    """By session."""


class Notes:
    """Observes the sessions of a server."""

    def __init__(self) -> None:
        self._noted = Noted()
        self._names: dict[str, deque[str]] = {}
        self._late = 0.0

    def observer(self, session: str) -> Callable[[Event], None]:
        """To be given every event of one session, in order."""
        if len(self._names) >= MOST_SESSIONS:
            del self._names[next(iter(self._names))]
        names = self._names[session] = deque(maxlen=MOST_NAMES)

        def take(event: Event) -> None:
            names.append(type(event).__name__)
            self._take(session, event)

        return take

    def late(self, seconds: float) -> None:
        """The event loop was so late."""
        self._late = max(self._late, seconds)

    def latest(self, session: str) -> Sequence[str]:
        """The kinds of the latest events of a session, oldest first; for a while after its end, too."""
        return tuple(self._names.get(session, ()))

    def take(self) -> tuple[Noted, float]:
        """What was noted since the reading before, and the longest delay of the loop in seconds."""
        (noted, self._noted), (late, self._late) = (self._noted, Noted()), (self._late, 0.0)
        return noted, late

    def _take(self, session: str, event: Event) -> None:
        noted = self._noted
        if isinstance(event, TurnLatency):
            value = event.voice_to_voice * 1000
            noted.latency.add(value)
            noted.sessions.setdefault(session, Spread()).add(value)
            for stage, seconds in event.parts.items():
                noted.stages.setdefault(stage, Spread()).add(seconds * 1000)
        elif isinstance(event, _FAILURES):
            noted.failures[session] += 1
        outcome = _OUTCOMES.get(type(event))
        if outcome is not None:
            noted.outcomes[outcome] += 1
