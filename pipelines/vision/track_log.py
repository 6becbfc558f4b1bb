"""The whole way of everything that was followed through a film: told once it has gone. Pure; media time in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.interfaces.vision import Detection, DetectionKind, centre

GONE_SECONDS = 1.5
"""Longer than anything is missed and still followed (:data:`pipelines.vision.tracking.FOLLOWING`)."""
MOST_POINTS = 256
"""Of one way; of a longer one every second point is left out, again and again."""
FOLLOWED: tuple[DetectionKind, ...] = ("face", "hand", "pose", "object")


@dataclass(slots=True)
class Way:
    """Where one thing has been."""

    kind: DetectionKind
    id: int
    """Unique within its kind."""
    label: str
    points: list[tuple[float, float, float]] = field(default_factory=list)
    """Time in seconds, and its centre in 0–1: across, down."""
    score: float = 0.0
    """The best."""
    last: float = 0.0
    """When it was seen last."""
    step: int = 1
    """Of how many places one is kept."""
    seen: int = 0
    """In how many pictures."""

    def add(self, found: Detection, time: float) -> None:
        """It is there at ``time``."""
        if self.seen % self.step == 0:
            self.points.append((time, *centre(found.box)))
            if len(self.points) > MOST_POINTS:
                self.points, self.step = self.points[::2], self.step * 2
        self.seen += 1
        self.score, self.last = max(self.score, found.score), time


class TrackLog:
    """What is on its way through one film."""

    def __init__(self) -> None:
        self._ways: dict[tuple[DetectionKind, int], Way] = {}

    def see(self, found: Sequence[Detection], time: float) -> list[Way]:
        """Take what is told of the picture at ``time``, with ids that last; return what has gone since."""
        for one in found:
            if one.kind in FOLLOWED:
                self._ways.setdefault((one.kind, one.id), Way(one.kind, one.id, one.label)).add(one, time)
        gone = [key for key, way in self._ways.items() if not 0 <= time - way.last <= GONE_SECONDS]
        return [self._ways.pop(key) for key in gone]

    def end(self) -> list[Way]:
        """The film is over: all that is left."""
        ways, self._ways = list(self._ways.values()), {}
        return ways
