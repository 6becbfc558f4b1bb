"""What vision has to say to the rest of the system."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.ports import Detection


@dataclass(frozen=True, slots=True)
class SceneChanged:
    """What the camera shows has changed (debounced)."""

    scene: str
    """In words: ``one person, right hand raised``; ``nobody in view`` when empty."""
    objects: tuple[Detection, ...]
    time: float
    """Media time of the picture, in seconds."""
