"""The curves of all series in memory: how many there may be, what is asked of them. Pure: times are passed in.

At most :data:`MOST_CURVES` of :func:`~server.observability.history.rings.bytes_of` bytes each, and for
:data:`MOST_SESSIONS` sessions the shorter ones: :data:`MOST_BYTES` in all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from server.observability.history.rings import BRIEF, RESOLUTIONS, Curve, Point, bytes_of
from server.observability.history.series import SERIES, Key, Sample

MOST_CURVES = 160
MOST_SESSIONS = 64
SESSION_SERIES = sum("session" in series.labels for series in SERIES.values())
MOST_BYTES = MOST_CURVES * bytes_of(RESOLUTIONS) + MOST_SESSIONS * SESSION_SERIES * bytes_of(BRIEF)
KEPT_SECONDS = 600.0
"""For which the curves of a session stay when it has ended."""
MOST_POINTS = 1500
"""Of one curve in one answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: ``begin`` and ``end`` in the seconds of the curves, ``step`` of the answer."""

    names: Collection[str]
    begin: float
    end: float
    step: float
    session: str | None = None
    """Only series of this session."""

    def wants(self, key: Key) -> bool:
        """Whether the series is asked for."""
        name, labels = key
        if self.names and name not in self.names:
            return False
        return self.session is None or dict(labels).get("session") == self.session


class Book:
    """Not thread-safe: one thread writes and reads."""

    def __init__(self) -> None:
        self._curves: dict[Key, Curve] = {}
        self._sessions: dict[str, dict[Key, Curve]] = {}
        self.refused = 0
        """Values of series for which there was no room."""

    def add(self, now: float, sample: Sample, live: Collection[str] = ()) -> None:
        """What was measured ``now``, while the sessions ``live`` lived."""
        self._forget(now, live)
        for key, value in sample.values.items():
            curve = self._curve(key)
            if curve is None or math.isnan(value):
                self.refused += curve is None
            else:
                curve.add(now, value)

    def latest(self) -> Mapping[Key, float]:
        """The last value of each series of the server."""
        return {key: curve.latest for key, curve in self._curves.items()}

    def keys(self) -> list[Key]:
        """All series that there are."""
        return [*self._curves, *(key for curves in self._sessions.values() for key in curves)]

    def ask(self, question: Question) -> dict[Key, list[Point]]:
        """What is known, by series."""
        return {
            key: curve.between(question.begin, question.end, question.step)
            for key, curve in self._all()
            if question.wants(key)
        }

    def _all(self) -> Iterable[tuple[Key, Curve]]:
        yield from self._curves.items()
        for curves in self._sessions.values():
            yield from curves.items()

    def _curve(self, key: Key) -> Curve | None:
        session = dict(key[1]).get("session")
        if session is not None:
            if session not in self._sessions and len(self._sessions) >= MOST_SESSIONS:
                return None
            curves = self._sessions.setdefault(session, {})
            return curves.get(key) or curves.setdefault(key, Curve(BRIEF))
        known = self._curves.get(key)
        if known is None and len(self._curves) < MOST_CURVES:
            known = self._curves[key] = Curve()
        return known

    def _forget(self, now: float, live: Collection[str]) -> None:
        for session, curves in list(self._sessions.items()):
            touched = max((curve.touched for curve in curves.values()), default=-math.inf)
            if session not in live and now - touched > KEPT_SECONDS:
                del self._sessions[session]
