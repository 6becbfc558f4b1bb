"""What happens in a prediction: pure values, which the outside turns into its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from media.frames import Pixels
from pipelines.foresight.quality import Plan

Method = Literal["motion-extrapolation", "push-in", "generated"]
"""How a video is made: what moves goes on; the camera comes closer, and nothing is foretold; a model makes it up."""


@dataclass(frozen=True, slots=True)
class By:
    """Who makes it."""

    method: Method
    model: str = ""
    """Of a generated video."""
    describer: str = ""
    """Who writes the text."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first event."""

    plan: Plan
    by: By


@dataclass(frozen=True, slots=True)
class TextChunk:
    """The next words."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The next frame of the video."""

    index: int
    total: int
    pts: float
    """Seconds from the first frame."""
    pixels: Pixels
    confidence: float | None
    """0–1: how far the method trusts this frame; 1 for the picture itself, 0 where nothing is foretold, ``None`` where
    the method cannot tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What a frame is going to be like, as the generator sees it after one of its steps."""

    index: int
    total: int
    pts: float
    pixels: Pixels
    step: int
    """From 1."""
    steps: int


@dataclass(frozen=True, slots=True)
class TextDone:
    """All has been said; ``code`` and ``message`` tell why not."""

    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class VideoStartedOver:
    """There was no room for the video, or who made it is gone: it is made once more, smaller or in another way."""

    plan: Plan
    reason: str


@dataclass(frozen=True, slots=True)
class VideoDone:
    """All frames are there."""

    frames: int
    horizon: float
    """Seconds that it looks ahead."""


@dataclass(frozen=True, slots=True)
class VideoFailed:
    """There will be no more frames. The text stands."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The last event."""

    text: str


Event = Started | TextChunk | Frame | Preview | TextDone | VideoStartedOver | VideoDone | VideoFailed | Completed
