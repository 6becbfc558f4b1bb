"""Turn detection: has the speaker finished?"""

from __future__ import annotations

from typing import Protocol

from media.frames import Samples


class TurnDetector(Protocol):
    """A model that judges from the sound whether the speaker has finished."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    async def completeness(self, samples: Samples) -> float | None:
        """Chance in 0–1 that the turn held by ``samples`` (16 kHz, up to 8 s) is finished; ``None``: no opinion."""
        ...

    async def close(self) -> None:
        """End workers."""
        ...
