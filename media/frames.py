"""Audio and pictures as they cross from one stage to the next: frozen values that carry their media time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Rechunker:
    """Cuts a stream of chunks into windows of exactly ``size`` samples, keeping media time.

    When a chunk does not start where the last one ended, the incomplete window before it is dropped: a window never
    spans a hole.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: AudioChunk | None = None

    def push(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """The windows that ``chunk`` completes, oldest first."""
        held = self._held
        if held is not None and abs(held.end - chunk.time) < 0.5 / chunk.rate:
            chunk = AudioChunk(np.concatenate([held.samples, chunk.samples]), chunk.rate, held.time)
        whole = len(chunk.samples) - len(chunk.samples) % self.size
        for start in range(0, whole, self.size):
            yield self._part(chunk, start, start + self.size)
        self._held = self._part(chunk, whole, len(chunk.samples)) if whole < len(chunk.samples) else None

    @staticmethod
    def _part(chunk: AudioChunk, start: int, stop: int) -> AudioChunk:
        return AudioChunk(chunk.samples[start:stop], chunk.rate, chunk.time + start / chunk.rate)


class AudioRing:
    """The last ``seconds`` of a stream of chunks."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._chunks: deque[AudioChunk] = deque()

    def push(self, chunk: AudioChunk) -> None:
        """Add the next chunk and forget what is older than ``seconds`` before its end."""
        self._chunks.append(chunk)
        while self._chunks[0].end <= chunk.end - self.seconds:
            self._chunks.popleft()

    def since(self, time: float) -> Samples:
        """All samples kept whose chunk ends after media time ``time``; shape ``(n,)``, possibly empty."""
        kept = [chunk.samples for chunk in self._chunks if chunk.end > time]
        return np.concatenate(kept) if kept else np.zeros(0, np.int16)


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

    @property
    def silenced(self) -> AudioChunk:
        """The same time without a sound."""
        return AudioChunk(np.zeros_like(self.samples), self.rate, self.time)


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


class StreamResampler(Protocol):
    """A stream of mono samples of any rate → the same at one rate (:class:`media.resample.Resampler`)."""

    def push(self, samples: Samples, rate: int) -> Samples:
        """The next samples, at ``rate`` hertz; those that are ready at the output rate."""
        ...

    def flush(self) -> Samples:
        """The rest."""
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
