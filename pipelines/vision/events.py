"""What vision has to say to the rest of the system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.interfaces.vision import Detection


@dataclass(frozen=True, slots=True)
class SceneChanged:
    """What the camera shows has changed (debounced)."""

    scene: str
    """In words: ``one person, right hand raised``; ``nobody in view`` when empty."""
    objects: tuple[Detection, ...]
    time: float
    """Media time of the picture, in seconds."""


@dataclass(frozen=True, slots=True)
class PersonAppeared:
    """Somebody has come into view: a face, or a body whose face is turned away."""

    id: int
    """Names this person until they leave; not used again in the session."""
    time: float
    """Media time, as everywhere here."""


@dataclass(frozen=True, slots=True)
class PersonLeft:
    """They have been out of view for a while."""

    id: int
    time: float


@dataclass(frozen=True, slots=True)
class GestureStarted:
    """A hand shows a gesture."""

    hand: str
    """``left`` or ``right``; empty when not known."""
    gesture: str
    """In words: ``thumbs up``."""
    time: float
    """Of the first picture that shows it."""


@dataclass(frozen=True, slots=True)
class GestureEnded:
    """It no longer does."""

    hand: str
    gesture: str
    time: float
    """Of the last picture that shows it."""


@dataclass(frozen=True, slots=True)
class AttentionChanged:
    """Whether somebody faces the camera, or everybody looks away."""

    attention: Literal["facing", "away"]
    time: float


VisionEvent = SceneChanged | PersonAppeared | PersonLeft | GestureStarted | GestureEnded | AttentionChanged
