"""Audio and pictures as they cross from one stage to the next: frozen values that carry their media time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
"""Mono PCM, shape ``(n,)``, full scale ±32767."""

Pixels = NDArray[np.uint8]
"""RGB, shape ``(height, width, 3)``."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A run of mono samples that starts at a known media time."""

    samples: Samples
    rate: int
    """Hertz."""
    time: float
    """Media time of the first sample, in seconds since the track began."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate

    @property
    def end(self) -> float:
        """Media time just after the last sample, in seconds."""
        return self.time + self.seconds


@dataclass(frozen=True, slots=True)
class Picture:
    """One camera frame, decoded to RGB."""

    pixels: Pixels
    time: float
    """Media time in seconds since the track began."""

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])


class VideoFrame(Protocol):
    """One video frame as its source holds it, in whatever colours: opaque but for its size and its time. Read only."""

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    @property
    def time(self) -> float | None:
        """Media time in seconds since the track began; ``None`` when it has none."""
        ...


class FrameConverter(Protocol):
    """Opaque frames of one source ↔ pictures, for one user at a time. Blocking: meant for a worker thread."""

    def picture(self, frame: VideoFrame, longest_side: int | None = None) -> Picture:
        """RGB, not larger than ``longest_side`` pixels."""
        ...

    def scaled(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """The frame at another size, ready to be encoded, with its time."""
        ...

    def frame(self, pixels: Pixels, like: VideoFrame) -> VideoFrame:
        """A frame that is ready to be encoded, with the time of ``like``; an odd row or column is cropped."""
        ...

    def is_encodable(self, frame: VideoFrame) -> bool:
        """Whether every encoder takes the frame as it is. Does not block."""
        ...


def reduced(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """A size of the same shape whose longest side has no more than ``longest_side`` pixels."""
    scale = min(1.0, longest_side / max(width, height)) if longest_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def silence(seconds: float, rate: int) -> Samples:
    """Zero samples lasting ``seconds`` at ``rate`` hertz."""
    return np.zeros(max(0, round(seconds * rate)), np.int16)


def rms(samples: Samples) -> float:
    """Root mean square of the samples, 0–32767; 0 for none."""
    if not len(samples):
        return 0.0
    wide = samples.astype(np.float32)
    return float(np.sqrt(np.dot(wide, wide) / len(wide)))
