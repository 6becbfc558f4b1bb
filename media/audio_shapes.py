"""Chunks of sound in other shapes: windows of a fixed size, and the last moments before speech is noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from media.frames import AudioChunk, Samples


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
