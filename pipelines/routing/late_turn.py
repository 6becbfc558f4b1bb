"""A place for a turn detector whose model is still being fetched."""

from __future__ import annotations

from media.frames import Samples
from pipelines.interfaces.turn import TurnDetector


class LateTurnDetector:
    """Implements :class:`~pipelines.interfaces.turn.TurnDetector`: has no opinion until there is a detector to ask."""

    def __init__(self) -> None:
        self._detector: TurnDetector | None = None

    @property
    def name(self) -> str:
        """Of the detector; ``rules`` while words and pauses decide alone."""
        return self._detector.name if self._detector is not None else "rules"

    def take(self, detector: TurnDetector) -> None:
        """Ask ``detector`` from now on."""
        self._detector = detector

    async def completeness(self, samples: Samples) -> float | None:
        """What the detector says."""
        return await self._detector.completeness(samples) if self._detector is not None else None

    async def close(self) -> None:
        """Close the detector, if there is one."""
        if self._detector is not None:
            await self._detector.close()
