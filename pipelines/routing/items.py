"""What flows from one stage of a pipeline to the next, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from media.frames import Picture, Samples


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The next samples of a sound."""

    samples: Samples
    """Mono, int16."""
    rate: int
    """Hertz."""
    start: float = 0.0
    """Seconds since the beginning of the pipeline's input or of this output."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is added to what came before and is not taken back."""

    text: str
    final: bool = False
    """Whether a unit ends here that the next stage may begin to work on: an utterance, a sentence, an answer."""
    start: float | None = None
    """Seconds of the media in which it was said or seen; ``None`` where that means nothing."""
    end: float | None = None
    language: str | None = None
    """Code such as ``en``; ``None`` when nobody tells."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What has been understood of the present unit so far; the next one takes its place, and a :class:`Text` ends it.

    For those who watch: no stage computes on it.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Data:
    """One result as JSON: a vector, the detections of one picture."""

    value: Mapping[str, Any]


Item = Sound | Text | Partial | Picture | Data
"""``Picture`` (:mod:`media.frames`) is an image, or with those before it a video."""
Flow = AsyncGenerator[Item, None]
"""The output of a stage. Closing it ends the stage's work."""
